//! One core's log on the disk.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::poll_fn;
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use glommio::io::{DmaBuffer, DmaFile};
use glommio::{TaskQueueHandle, spawn_local, spawn_local_into};

use super::LogReader;
use super::files::{Folder, learn_device, sync_dir, write_all};
use super::{LogError, is_out_of_space};
use crate::appender::{Appender, Closed, Start, WriteTicket};
use crate::dir::make_dir;
use crate::groups::GroupLog;
use crate::ids::{BatchSeq, CoreId, GroupId, LogIdentity, RaftIndex, SegmentSeq};
use crate::record::Record;
use crate::recovery::{Resume, core_dir};
use crate::segment::{DEFAULT_SEGMENT_BYTES, SegmentHeader};
use crate::whereabouts::{Place, Range};

/// When no further segment could be made ready, this part of the current one is left for what must still be written
/// (votes, commits, snapshot marks): a quarter.
const RESERVE_DIVISOR: u64 = 4;

/// How a log is written.
#[derive(Clone)]
pub struct LogOptions {
    /// Size of a segment in bytes, a multiple of 4096.
    pub segment_bytes: u64,
    /// Where segments are made ready and given up; `None`: in the queue that opens the log.
    pub background: Option<TaskQueueHandle>,
    /// Told how long each durable write took.
    pub on_synced: Option<Rc<dyn Fn(Duration)>>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: DEFAULT_SEGMENT_BYTES, background: None, on_synced: None }
    }
}

/// How much progress a waiter has seen (see [`LogWatch::poll_progress`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen(u64);

/// One core's log. Belongs to the executor that opened it.
pub struct LogWriter {
    watch: LogWatch,
    reader: LogReader,
}

/// A view of a [`LogWriter`], to wait with while others write.
#[derive(Clone)]
pub struct LogWatch {
    shared: Rc<RefCell<Shared>>,
}

struct Shared {
    appender: Appender,
    options: LogOptions,
    segment: Option<OpenFile>,
    next: Option<OpenFile>,
    /// Absent while the background task has it.
    folder: Option<Folder>,
    retired: VecDeque<Closed>,
    /// Segments that have rotted.
    condemned: BTreeSet<(CoreId, SegmentSeq)>,
    out_of_space: bool,
    failed: Option<LogError>,
    progress: u64,
    wakers: Vec<Waker>,
}

struct OpenFile {
    seq: SegmentSeq,
    file: Rc<DmaFile>,
}

impl LogWriter {
    /// Goes on where `resume` says, below `dir` (`DATA/member/log`): begins a new epoch with a new segment, and returns
    /// when the state of `groups`, all those that live on this core now, is durable in it.
    ///
    /// Needs space for a segment; the next one is made ready in the background. On a full disk it makes do with a small
    /// one, for which the start before has put space aside, and the log [is full](LogWriter::is_full) from the beginning.
    pub async fn open<'a>(
        dir: &Path,
        identity: LogIdentity,
        mut resume: Resume,
        groups: impl IntoIterator<Item = (GroupId, &'a GroupLog)>,
        options: LogOptions,
    ) -> Result<Self, LogError> {
        let path = core_dir(dir, resume.core);
        make_dir(&path).map_err(|error| LogError::prepare(&path, error))?;
        match learn_device(&path).await {
            Err(error) if !is_out_of_space(&error) => return Err(LogError::prepare(&path, error)),
            // There was a start with more space: no file of its log is empty.
            _ => {}
        }
        let (spares, litter) = (std::mem::take(&mut resume.spares), std::mem::take(&mut resume.litter));
        let headers = std::mem::take(&mut resume.headers);
        let folder = Folder::open(resume.core, path.clone(), headers, spares, litter).await;
        let folder = folder.map_err(|error| LogError::prepare(&path, error))?;
        sync_dir(dir).await.map_err(|error| LogError::prepare(dir, error))?;
        let segment_bytes = options.segment_bytes;
        let shared = Shared {
            appender: Appender::new(Start { identity, resume, segment_bytes }),
            options,
            segment: None,
            next: None,
            folder: Some(folder),
            retired: VecDeque::new(),
            condemned: BTreeSet::new(),
            out_of_space: false,
            failed: None,
            progress: 0,
            wakers: Vec::new(),
        };
        let watch = LogWatch { shared: Rc::new(RefCell::new(shared)) };
        let mut writer = Self { reader: LogReader::new(watch.clone(), path), watch };
        writer.begin(groups).await?;
        Ok(writer)
    }

    async fn begin<'a>(&mut self, groups: impl IntoIterator<Item = (GroupId, &'a GroupLog)>) -> Result<(), LogError> {
        self.first_segment().await?;
        for (group, log) in groups {
            for record in log.state_records(group) {
                self.push(&record);
            }
        }
        if let Some(ticket) = self.submit()? {
            self.watch.durable(ticket).await?;
        }
        self.watch.maintain(Retry::Later);
        Ok(())
    }

    async fn first_segment(&mut self) -> Result<(), LogError> {
        let (wanted, folder) = {
            let mut shared = self.watch.shared.borrow_mut();
            (shared.appender.wants_segment(), shared.folder.take())
        };
        let (Some(wanted), Some(mut folder)) = (wanted, folder) else {
            panic!("a new log has a first segment to make")
        };
        let made = folder.prepare_first(wanted).await;
        let made = made.map_err(|error| LogError::prepare(&folder.segment_path(&wanted), error));
        let mut shared = self.watch.shared.borrow_mut();
        shared.folder = Some(folder);
        let (header, file) = made?;
        shared.appender.prepared(header);
        shared.segment = Some(OpenFile { seq: header.seq, file });
        Ok(())
    }

    /// Copies a record into the batch being gathered.
    pub fn push(&mut self, record: &Record<'_>) {
        self.watch.shared.borrow_mut().appender.push(record);
    }

    /// Bytes gathered and not yet under way.
    pub fn pending_bytes(&self) -> usize {
        self.watch.shared.borrow().appender.pending_bytes()
    }

    /// Starts writing everything gathered as one durable disk write. Returns the batch's number: it is durable
    /// when [`LogWriter::durable_upto`] has reached it.
    ///
    /// `None`: nothing is gathered, or [`crate::MAX_IN_FLIGHT`] batches are under way, or the next segment is not ready
    /// yet. What is gathered stays, and more may be added; try again when there was progress
    /// ([`LogWatch::poll_progress`]).
    pub fn submit(&mut self) -> Result<Option<BatchSeq>, LogError> {
        let started = self.start_write()?;
        self.watch.maintain(Retry::Later);
        Ok(started)
    }

    fn start_write(&mut self) -> Result<Option<BatchSeq>, LogError> {
        let mut shared = self.watch.shared.borrow_mut();
        if let Some(failed) = &shared.failed {
            return Err(failed.clone());
        }
        let Some(ticket) = shared.appender.begin_write() else { return Ok(None) };
        let file = shared.file_of(ticket.segment);
        let mut buffer = file.alloc_dma_buffer(ticket.length);
        buffer.trim_to_size(ticket.length);
        shared.appender.encode(&ticket, buffer.as_bytes_mut());
        drop(shared);
        spawn_local(self.watch.clone().write(file, buffer, ticket)).detach();
        Ok(Some(ticket.seq))
    }

    /// Everything up to this batch is on the disk.
    pub fn durable_upto(&self) -> BatchSeq {
        self.watch.durable_upto()
    }

    /// A handle to wait with.
    pub fn watch(&self) -> LogWatch {
        self.watch.clone()
    }

    /// To read again what this start has written.
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// Gives up segments that are no longer needed; see [`Appender::compact`] for what the indices mean. Groups of other
    /// cores need not be named: their logs tell.
    pub fn compact(&mut self, upto: &[(GroupId, RaftIndex)]) {
        self.watch.shared.borrow_mut().appender.compact(upto);
        self.watch.maintain(Retry::Later);
    }

    /// What keeps the oldest segment: a group, and the index that it would have to be compacted to. Force a snapshot of
    /// it to let the log shrink. The group may be one that another core has now.
    pub fn oldest_pin(&self) -> Option<(GroupId, RaftIndex)> {
        self.watch.shared.borrow().appender.oldest_pin()
    }

    /// Segment `seq` of `core`'s log has rotted: when it is given up, its file is removed and not recycled. Returns which
    /// groups keep it, and to which index each would have to be compacted, or `None` when this log does not have it (any
    /// more). May be called again to see what is left to do.
    pub fn condemn(&mut self, core: CoreId, seq: SegmentSeq) -> Option<BTreeMap<GroupId, RaftIndex>> {
        let mut shared = self.watch.shared.borrow_mut();
        let pins = shared.appender.pins_upto(core, seq)?;
        shared.condemned.insert((core, seq));
        Some(pins)
    }

    /// Segments of earlier starts that are still needed: each start leaves one at least, however little is in it.
    pub fn inherited(&self) -> usize {
        self.watch.shared.borrow().appender.inherited()
    }

    /// Earlier starts of which the first segment is still needed.
    pub fn inherited_starts(&self) -> usize {
        self.watch.shared.borrow().appender.inherited_starts()
    }

    /// Whether segments are being given up or made ready. False after a failure.
    pub fn is_tidying(&self) -> bool {
        let shared = self.watch.shared.borrow();
        shared.failed.is_none() && (shared.folder.is_none() || !shared.retired.is_empty())
    }

    /// Bytes on the disk in segments, those of earlier starts included.
    pub fn size_bytes(&self) -> u64 {
        self.watch.shared.borrow().appender.size_bytes()
    }

    /// Whether writes should be refused: no space for a further segment, and the current one is down to its reserve. The
    /// log still takes what must be written (votes, commits, snapshot marks) while that lasts. Ends by itself when space
    /// is back, or segments were given up.
    pub fn is_full(&self) -> bool {
        let shared = self.watch.shared.borrow();
        shared.out_of_space && shared.appender.room_bytes() < shared.options.segment_bytes / RESERVE_DIVISOR
    }

    /// To be called every half second or so: tries again to make a segment ready after the disk was full, and lets go of
    /// what was read and is not needed.
    pub fn tick(&mut self) {
        self.reader.tidy();
        self.watch.maintain(Retry::Now);
    }

    /// Waits for what is under way, and closes the files. What is gathered and not submitted is not written.
    pub async fn close(self) -> Result<(), LogError> {
        let mut seen = Seen::default();
        while self.watch.is_busy() {
            poll_fn(|cx| self.watch.poll_progress(cx, &mut seen)).await?;
        }
        let files = {
            let mut shared = self.watch.shared.borrow_mut();
            [shared.segment.take(), shared.next.take()]
        };
        for open in files.into_iter().flatten() {
            // Everything acknowledged is on the disk: a failed close loses nothing.
            let _ = open.file.close_rc().await;
        }
        Ok(())
    }
}

impl LogWatch {
    /// Everything up to this batch is on the disk.
    pub fn durable_upto(&self) -> BatchSeq {
        self.shared.borrow().appender.durable_upto()
    }

    /// Ready when something has happened since `seen`: a batch became durable, a segment became ready, the log failed.
    /// Otherwise the task is woken when it does.
    pub fn poll_progress(&self, cx: &mut Context<'_>, seen: &mut Seen) -> Poll<Result<(), LogError>> {
        let mut shared = self.shared.borrow_mut();
        if let Some(failed) = &shared.failed {
            return Poll::Ready(Err(failed.clone()));
        }
        if shared.progress != seen.0 {
            *seen = Seen(shared.progress);
            return Poll::Ready(Ok(()));
        }
        if !shared.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            shared.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Resolves when batch `seq` is on the disk.
    pub async fn durable(&self, seq: BatchSeq) -> Result<(), LogError> {
        let mut seen = Seen::default();
        while self.durable_upto() < seq {
            poll_fn(|cx| self.poll_progress(cx, &mut seen)).await?;
        }
        Ok(())
    }

    pub(super) fn find(&self, group: GroupId, index: RaftIndex) -> Option<(Place, Range)> {
        self.shared.borrow().appender.whereabouts().find(group, index)
    }

    pub(super) fn first(&self, group: GroupId) -> Option<RaftIndex> {
        self.shared.borrow().appender.whereabouts().first(group)
    }

    fn is_busy(&self) -> bool {
        let shared = self.shared.borrow();
        shared.failed.is_none() && (shared.appender.in_flight() > 0 || shared.folder.is_none())
    }

    async fn write(self, file: Rc<DmaFile>, buffer: DmaBuffer, ticket: WriteTicket) {
        let begun = Instant::now();
        let path = file.path().map(|path| path.to_owned()).unwrap_or_default();
        let result = write_all(&file, buffer, ticket.offset).await.map_err(|error| LogError::write(&path, error));
        let on_synced = self.shared.borrow().options.on_synced.clone();
        if let Some(on_synced) = on_synced {
            on_synced(begun.elapsed());
        }
        {
            let mut shared = self.shared.borrow_mut();
            match result {
                // Nothing counts after a failure, not even an older write that succeeds: the order is gone.
                Ok(()) if shared.failed.is_none() => shared.appender.written(ticket.seq),
                Ok(()) => {}
                Err(error) => shared.fail(error),
            }
            shared.progressed();
        }
        self.maintain(Retry::Later);
        // Only the last user of a full segment's file closes it; a failure loses nothing, the data is synced.
        let _ = file.close_rc().await;
    }

    /// Starts the background task if there is something to do for it and it is not running. On a full disk a segment is
    /// tried for again only when told so, or when there is one to give up.
    fn maintain(&self, retry: Retry) {
        let mut shared = self.shared.borrow_mut();
        if shared.failed.is_some() || !shared.has_job() {
            return;
        }
        if shared.out_of_space && shared.retired.is_empty() && retry == Retry::Later {
            return;
        }
        let Some(folder) = shared.folder.take() else { return };
        let (task, background) = (self.clone().run_jobs(folder), shared.options.background);
        // A spawned task may run at once, within this call.
        drop(shared);
        match background {
            None => spawn_local(task).detach(),
            Some(queue) => match spawn_local_into(task, queue) {
                Ok(task) => task.detach(),
                Err(error) => panic!("the background queue of the log is gone: {error}"),
            },
        };
    }

    async fn run_jobs(self, mut folder: Folder) {
        loop {
            // The borrow must end before the job is awaited.
            let job = self.shared.borrow_mut().next_job();
            let done = match job {
                None => break,
                Some(Job::Retire(closed)) => self.give_up(&mut folder, closed).await,
                Some(Job::Prepare(wanted)) => self.make_ready(&mut folder, wanted).await,
            };
            if let Err(error) = done {
                self.shared.borrow_mut().job_failed(folder.path(), error);
                break;
            }
        }
        let mut shared = self.shared.borrow_mut();
        shared.folder = Some(folder);
        shared.progressed();
    }

    async fn make_ready(&self, folder: &mut Folder, wanted: SegmentHeader) -> std::io::Result<()> {
        let (header, file) = folder.prepare(wanted).await?;
        // Nobody changes over to a segment that is not handed in: the one being written is the same all the time.
        let naming = self.shared.borrow().appender.naming(header.seq);
        if let Some(before) = naming {
            folder.change_header(&before).await?;
        }
        self.shared.borrow_mut().take_segment(header, file);
        folder.keep_ballast(header.blocks).await
    }

    async fn give_up(&self, folder: &mut Folder, closed: Closed) -> std::io::Result<()> {
        let place = closed.place();
        let condemned = self.shared.borrow().condemned.contains(&place);
        let given_up = if condemned { folder.discard(&closed).await } else { folder.retire(closed.clone()).await };
        let mut shared = self.shared.borrow_mut();
        if given_up.is_ok() {
            shared.condemned.remove(&place);
        } else {
            // It must still go before the ones after it.
            shared.retired.push_front(closed);
        }
        given_up
    }
}

/// Whether to try again at once for space that was not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    Now,
    Later,
}

/// What the background task does.
enum Job {
    Retire(Closed),
    Prepare(SegmentHeader),
}

impl Shared {
    fn has_job(&mut self) -> bool {
        self.retired.extend(self.appender.take_retired());
        !self.retired.is_empty() || self.appender.wants_segment().is_some()
    }

    /// Segments are given up first: that makes space.
    fn next_job(&mut self) -> Option<Job> {
        if self.failed.is_some() {
            return None;
        }
        let wanted = self.appender.wants_segment();
        self.retired.extend(self.appender.take_retired());
        match self.retired.pop_front() {
            Some(closed) => Some(Job::Retire(closed)),
            None => wanted.map(Job::Prepare),
        }
    }

    fn take_segment(&mut self, header: SegmentHeader, file: Rc<DmaFile>) {
        self.appender.prepared(header);
        self.next = Some(OpenFile { seq: header.seq, file });
        if self.out_of_space {
            tracing::info!("the log has space again");
        }
        self.out_of_space = false;
        self.progressed();
    }

    fn job_failed(&mut self, path: &Path, error: std::io::Error) {
        if is_out_of_space(&error) {
            if !self.out_of_space {
                tracing::warn!("no space for the next segment of the log in {}: {error}", path.display());
            }
            self.out_of_space = true;
        } else {
            self.fail(LogError::prepare(path, error));
        }
    }

    fn fail(&mut self, error: LogError) {
        self.failed.get_or_insert(error);
    }

    fn progressed(&mut self) {
        self.progress += 1;
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
    }

    /// The file of the segment that is being written, changing over to the next one when that is meant.
    fn file_of(&mut self, seq: SegmentSeq) -> Rc<DmaFile> {
        if let Some(next) = self.next.take_if(|next| next.seq == seq) {
            self.segment = Some(next);
        }
        let Some(open) = self.segment.as_ref().filter(|open| open.seq == seq) else {
            panic!("segment {seq} is not open")
        };
        open.file.clone()
    }
}
