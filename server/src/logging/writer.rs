//! The thread that writes the log, and the form of a line.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::Severity;

/// Lines that may wait for the output: with 200 bytes each, 2 MB of memory, and a second of the worst storm seen in
/// etcd.
const QUEUE_LINES: usize = 8192;

/// Lines written at once: enough to make the call cheap, few enough that a terminal stays lively.
const BATCH_LINES: usize = 256;

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard error; with priorities instead of times when it leads to the journal.
    Default,
    /// Standard error as it is.
    Stderr,
    /// Standard output.
    Stdout,
}

/// One line on its way.
pub(super) struct Record {
    at: SystemTime,
    severity: Severity,
    package: String,
    text: String,
}

impl Record {
    /// A line of this moment.
    pub(super) fn now(severity: Severity, package: &str, text: String) -> Self {
        Self { at: SystemTime::now(), severity, package: package.to_owned(), text }
    }
}

enum Job {
    Line(Record),
    /// Answer when everything before it is written.
    Flush(Sender<()>),
}

/// The near end of the thread.
pub(super) struct Writer {
    jobs: Sender<Job>,
    dropped: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(output: Output) -> io::Result<Self> {
        let (jobs, queue) = bounded(QUEUE_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&dropped);
        let form = Form::of(output);
        thread::Builder::new().name("log".to_owned()).spawn(move || match output {
            Output::Stdout => write_all(&queue, &lost, form, &mut io::stdout()),
            Output::Default | Output::Stderr => write_all(&queue, &lost, form, &mut io::stderr()),
        })?;
        Ok(Self { jobs, dropped })
    }

    /// Queues a line; never waits.
    pub(super) fn submit(&self, record: Record) {
        if self.jobs.try_send(Job::Line(record)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was queued is written: at most `limit` for room in the queue, and as long again for the output.
    pub(super) fn flush(&self, limit: Duration) {
        let (done, written) = bounded(1);
        // A full queue may still empty within the limit.
        if self.jobs.send_timeout(Job::Flush(done), limit).is_ok() {
            let _ = written.recv_timeout(limit);
        }
    }

    /// How many lines found the queue full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Writes until the process ends. An output that fails (a closed pipe) loses the lines, not the server.
fn write_all(queue: &Receiver<Job>, dropped: &AtomicU64, form: Form, output: &mut dyn Write) {
    let mut batch = String::new();
    let mut reported = 0;
    while let Ok(first) = queue.recv() {
        let mut flushed = Vec::new();
        for job in std::iter::once(first).chain(queue.try_iter().take(BATCH_LINES - 1)) {
            match job {
                Job::Line(record) => form.append(&mut batch, &record),
                Job::Flush(done) => flushed.push(done),
            }
        }
        let lost = dropped.load(Ordering::Relaxed);
        if lost > reported {
            let text = format!("dropped {} log lines: the output does not keep up", lost - reported);
            form.append(&mut batch, &Record::now(Severity::Warning, "logging", text));
            reported = lost;
        }
        let _ = output.write_all(batch.as_bytes()).and_then(|()| output.flush());
        batch.clear();
        for done in flushed {
            let _ = done.send(());
        }
    }
}

/// Writes one line to standard error, waiting for it.
pub(super) fn write_directly(record: &Record) {
    let mut line = String::new();
    Form::of(Output::Default).append(&mut line, record);
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `2026-11-22 14:02:32.389656 I | etcdserver: text`
    Dated,
    /// `<6>etcdserver: text`: the journal has its own clock and reads the priority.
    Journal,
}

impl Form {
    /// capnslog takes to the journal when its parent is the first process. In a container that alone says nothing, so
    /// standard error must be the journal's stream, too.
    fn of(output: Output) -> Self {
        let from_init = || std::os::unix::process::parent_id() == 1;
        if output == Output::Default && from_init() && leads_to_journal(&io::stderr()) {
            Self::Journal
        } else {
            Self::Dated
        }
    }

    fn append(self, batch: &mut String, record: &Record) {
        let Record { at, severity, package, text } = record;
        // One record is one line, or a client could forge lines through the names it chooses.
        let text = text.trim_end().replace('\n', "\\n");
        match self {
            Self::Dated => {
                append_time(batch, *at);
                let _ = writeln!(batch, " {} | {package}: {text}", severity.letter());
            }
            Self::Journal => {
                let _ = writeln!(batch, "<{}>{package}: {text}", severity.priority());
            }
        }
    }
}

/// Whether systemd connected this descriptor to the journal: it then tells device and inode in `JOURNAL_STREAM`.
fn leads_to_journal(output: &impl AsFd) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(file) = output.as_fd().try_clone_to_owned().map(std::fs::File::from) else { return false };
    file.metadata().is_ok_and(|metadata| stream == format!("{}:{}", metadata.dev(), metadata.ino()))
}

/// `2026-11-22 14:02:32.389656` in local time.
fn append_time(batch: &mut String, at: SystemTime) {
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since_epoch.as_secs()).unwrap_or_default();
    // SAFETY: both pointers are valid for the call, and an all-zero `tm` is a valid value.
    let local = unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut local);
        local
    };
    let (year, month, day) = (local.tm_year + 1900, local.tm_mon + 1, local.tm_mday);
    let (hour, minute, second, micros) = (local.tm_hour, local.tm_min, local.tm_sec, since_epoch.subsec_micros());
    let _ = write!(batch, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(form: Form, text: &str) -> String {
        let mut batch = String::new();
        form.append(&mut batch, &Record::now(Severity::Info, "etcdserver", text.to_owned()));
        batch
    }

    #[test]
    fn a_line_has_the_form_of_etcd() {
        let dated = line(Form::Dated, "text");
        let (time, rest) = dated.split_at(26);
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00 00:00:00.000000");
        assert_eq!(rest, " I | etcdserver: text\n");
        assert_eq!(line(Form::Journal, "text"), "<6>etcdserver: text\n");
    }

    /// The output blocks until the test is done: the queue fills, lines are counted, and nobody waits.
    #[test]
    fn a_stuck_output_costs_lines_and_no_time() {
        let (jobs, queue) = bounded(4);
        let writer = Writer { jobs, dropped: Arc::default() };
        for _ in 0..10 {
            writer.submit(Record::now(Severity::Info, "p", "x".to_owned()));
        }
        assert_eq!(writer.dropped(), 6);
        writer.flush(Duration::from_millis(1));

        let lost = Arc::clone(&writer.dropped);
        let mut written = Vec::new();
        drop(writer);
        write_all(&queue, &lost, Form::Journal, &mut written);
        let text = String::from_utf8(written).expect("text");
        assert_eq!(text.matches("<6>p: x\n").count(), 4);
        assert!(text.ends_with("<4>logging: dropped 6 log lines: the output does not keep up\n"), "{text}");
    }

    #[test]
    fn a_flush_returns_when_all_is_written() {
        let writer = Writer::start(Output::Stderr).expect("a thread");
        writer.submit(Record::now(Severity::Debug, "logging", "a line of a test".to_owned()));
        writer.flush(Duration::from_secs(10));
        assert!(writer.jobs.is_empty());
    }
}
