//! The log: `tracing` events in the line format of etcd's capnslog, so that what reads etcd's log reads this one.
//!
//! ```text
//! 2026-11-22 14:02:32.389656 I | etcdserver: text
//! ```
//!
//! The time is local; the letter is the [`Severity`]; the package is the event's target. `tracing` has no levels for
//! *critical* and *notice*: [`critical!`](crate::critical) and [`notice!`](crate::notice) mark an event of the level
//! below.
//!
//! An executor must not wait for a slow terminal or a full pipe: it formats the text and hands it to a thread with a
//! bounded queue. When the queue is full the line is dropped and counted; the count is logged when there is
//! room again, and is a metric.

mod filter;
mod severity;
mod writer;

use std::fmt::{self, Write as _};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use filter::Filter;
pub(crate) use severity::Severity;
pub(crate) use writer::Output;
use writer::{Record, Writer};

/// What the configuration says about the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where it goes.
    pub(crate) output: Output,
    /// What is shown of packages that are not named below.
    pub(crate) level: Severity,
    /// What is shown of these packages; `*` stands for every one.
    pub(crate) packages: Vec<(String, Severity)>,
}

/// One line, without its time: what was noticed before the log was running, or has a package of its own choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// How bad it is.
    pub(crate) severity: Severity,
    /// Who says it.
    pub(crate) package: &'static str,
    /// What it says, without a line end.
    pub(crate) text: String,
}

impl LogLine {
    /// Puts one together.
    pub(crate) fn new(severity: Severity, package: &'static str, text: impl Into<String>) -> Self {
        Self { severity, package, text: text.into() }
    }
}

/// The running log: one for the process, because `tracing` has one subscriber for the process.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    filter: Filter,
    writer: Writer,
}

/// Starts the log. Once only; a second call changes nothing and says so.
pub(crate) fn start(settings: &Settings) -> Result<(), StartError> {
    let log = Log {
        filter: Filter::new(settings.level, &settings.packages),
        writer: Writer::start(settings.output).map_err(StartError::Thread)?,
    };
    LOG.set(log).map_err(|_| StartError::Twice)?;
    let subscriber = tracing_subscriber::registry().with(CapnsLayer);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| StartError::Twice)
}

/// Why the log did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The process may have no more threads: raise its limit.
    #[error("could not start the thread that writes the log: {0}")]
    Thread(std::io::Error),
    /// Something else logs already.
    #[error("the log is already running")]
    Twice,
}

/// Logs one line, subject to the levels. Before [`start`] it goes to standard error at once, whatever its severity.
pub(crate) fn emit(line: &LogLine) {
    match LOG.get() {
        Some(log) if !log.filter.shows(line.package, line.severity) => {}
        Some(log) => log.writer.submit(Record::now(line.severity, line.package, line.text.clone())),
        None => writer::write_directly(&Record::now(line.severity, line.package, line.text.clone())),
    }
}

/// Shows from now on every package down to `level`, as `PUT /config/local/log` asks; the levels of single packages that
/// were configured are forgotten.
pub(crate) fn set_level(level: Severity) {
    if let Some(log) = LOG.get() {
        log.filter.set_all(level);
        // Call sites remember whether anyone is interested in them.
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Waits until everything submitted so far is written, but not much longer than `limit`. Call it before the process
/// ends.
pub(crate) fn flush(limit: Duration) {
    if let Some(log) = LOG.get() {
        log.writer.flush(limit);
    }
}

/// How many lines were dropped because the output did not keep up.
pub(crate) fn dropped_lines() -> u64 {
    LOG.get().map_or(0, |log| log.writer.dropped())
}

/// Logs an event that ends the process (`C`). Takes a target and what `format!` takes.
#[macro_export]
macro_rules! critical {
    ($target:expr, $($arg:tt)+) => {
        ::tracing::event!(target: $target, ::tracing::Level::ERROR, raised = true, $($arg)+)
    };
}

/// Logs something normal but important (`N`). Takes a target and what `format!` takes.
#[macro_export]
macro_rules! notice {
    ($target:expr, $($arg:tt)+) => {
        ::tracing::event!(target: $target, ::tracing::Level::INFO, raised = true, $($arg)+)
    };
}

/// The field by which [`critical!`](crate::critical) and [`notice!`](crate::notice) mark an event.
const RAISED: &str = "raised";

/// Hands the events of `tracing` to [`LOG`].
struct CapnsLayer;

impl<S: Subscriber> Layer<S> for CapnsLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if shows(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        shows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        LOG.get().map(|log| log.filter.most_detailed().level_filter())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(log) = LOG.get() else { return };
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        log.writer.submit(Record::now(severity_of(metadata), package_of(metadata.target()), text.0));
    }
}

fn shows(metadata: &Metadata<'_>) -> bool {
    // Spans carry nothing that a line could show.
    let severity = severity_of(metadata);
    metadata.is_event() && LOG.get().is_some_and(|log| log.filter.shows(package_of(metadata.target()), severity))
}

fn severity_of(metadata: &Metadata<'_>) -> Severity {
    Severity::of(*metadata.level(), metadata.fields().field(RAISED).is_some())
}

/// The package of a target: an event without a target of its own has the path of its module, whose first two parts name
/// the place well enough.
fn package_of(target: &str) -> &str {
    match target.match_indices("::").nth(1) {
        Some((at, _)) => &target[..at],
        None => target,
    }
}

/// The message of an event, then its other fields as `name=value`.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` cannot fail.
        let _ = match field.name() {
            RAISED => Ok(()),
            // The message comes first, whatever the order of the fields.
            "message" if self.0.is_empty() => write!(self.0, "{value:?}"),
            "message" => {
                let fields = std::mem::take(&mut self.0);
                write!(self.0, "{value:?} {fields}")
            }
            name if self.0.is_empty() => write!(self.0, "{name}={value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_a_target_or_the_first_two_parts_of_a_module() {
        for (target, want) in [
            ("etcdserver", "etcdserver"),
            ("uetcd::core", "uetcd::core"),
            ("uetcd::core::turn", "uetcd::core"),
            ("uetcd::http::keys::read", "uetcd::http"),
        ] {
            assert_eq!(package_of(target), want);
        }
    }

    /// What events become, seen by a subscriber of this test alone.
    #[test]
    fn an_event_becomes_a_text_and_a_severity() {
        use std::sync::{Arc, Mutex};

        struct Seen(Arc<Mutex<Vec<(Severity, String)>>>);
        impl<S: Subscriber> Layer<S> for Seen {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                let mut text = Text::default();
                event.record(&mut text);
                self.0.lock().expect("no panic").push((severity_of(event.metadata()), text.0));
            }
        }
        let seen = Arc::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Seen(Arc::clone(&seen))), || {
            tracing::info!(target: "p", "plain {}", 1);
            tracing::warn!(target: "p", shard = 3, name = "n", "with fields");
            tracing::debug!(target: "p", shard = 3);
            crate::notice!("p", "noticed {}", 2);
            crate::critical!("p", "the end");
        });
        let seen = seen.lock().expect("no panic");
        let want = [
            (Severity::Info, "plain 1"),
            (Severity::Warning, "with fields shard=3 name=n"),
            (Severity::Debug, "shard=3"),
            (Severity::Notice, "noticed 2"),
            (Severity::Critical, "the end"),
        ];
        assert_eq!(*seen, want.map(|(severity, text)| (severity, text.to_owned())));
    }
}
