//! The watching side: gets events as a stream or one by one, and checks that none is missing.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use net::http::chunk::ChunkDecoder;

use super::event::Event;
use super::receipts::Receipts;
use super::writer::push_directory;
use crate::connection::Connection;
use crate::failure::Failure;
use crate::http::answer::read_head;
use crate::http::{RequestWriter, body};
use crate::local::Local;
use crate::op::Op;
use crate::seat::Seat;

/// A watch that has begun.
pub(crate) struct Watched {
    receipts: Receipts,
    /// Watches that ended early.
    pub(crate) resumed: u64,
}

/// One watcher.
pub(crate) struct Watcher {
    local: Rc<Local>,
    number: u32,
    seat: Rc<Seat>,
    requests: RequestWriter,
    connection: Option<Connection>,
    input: Vec<u8>,
    /// The answer that comes in is not to end.
    streams: bool,
    /// Events of the answer that comes in, and the decoder of its chunks.
    content: Vec<u8>,
    decoder: ChunkDecoder,
}

impl Watcher {
    /// Watcher `number`, not watching yet.
    pub(crate) fn new(local: &Rc<Local>, number: u32) -> Self {
        let requests = RequestWriter::new(&local.plan.endpoint(number).host);
        Self {
            local: Rc::clone(local),
            number,
            seat: local.seats.add(),
            requests,
            connection: None,
            input: Vec::new(),
            streams: !local.plan.long_poll,
            content: Vec::new(),
            decoder: ChunkDecoder::new(u64::MAX),
        }
    }

    /// Begins to watch: returns when the server has said that it does.
    pub(crate) async fn begin(&mut self) -> Result<Watched, Failure> {
        let query = if self.streams { "?wait=true&recursive=true&stream=true" } else { "?wait=true&recursive=true" };
        let index = self.ask(query).await?;
        let directory = self.local.stage.fanout.directory(self.number);
        Ok(Watched { receipts: Receipts::new(&self.local.stage.fanout, directory, index), resumed: 0 })
    }

    /// Takes events until all writers have ended and everything has come.
    pub(crate) async fn watch(&mut self, watched: &mut Watched) -> Result<(), Failure> {
        loop {
            // What has come with the head of the answer counts as well.
            if !self.input.is_empty() && self.take_events(watched)? {
                self.resume(watched).await?;
                continue;
            }
            if self.local.stage.fanout.is_settled() && watched.receipts.missing(&self.local.stage.fanout).is_none() {
                return Ok(());
            }
            match self.receive().await {
                Ok(true) => {}
                Ok(false) => self.look_for_missing(watched)?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.resume(watched).await?,
                Err(error) => return Err(self.failure(error.to_string())),
            }
        }
    }

    /// Goes on behind the last event. Always by asking for one event: etcd's streams from an index in the past hang.
    async fn resume(&mut self, watched: &mut Watched) -> Result<(), Failure> {
        // That an answer ends is the usual thing when one event is asked for; a lost connection never is.
        watched.resumed += u64::from(self.streams || self.connection.is_none());
        self.streams = false;
        let query = format!("?wait=true&recursive=true&waitIndex={}", watched.receipts.index + 1);
        self.ask(&query).await.map(drop)
    }

    /// Sends a watch and takes the head of its answer: the index at which it begins.
    async fn ask(&mut self, query: &str) -> Result<u64, Failure> {
        if self.connection.is_none() {
            let (plan, endpoint) = (&self.local.plan, self.local.plan.endpoint(self.number));
            let opened = Connection::open(endpoint, plan.timeout, Vec::new()).await;
            self.connection = Some(opened.map_err(|error| self.failure(error.to_string()))?);
            self.input.clear();
        }
        let Some(connection) = &mut self.connection else { unreachable!("opened above") };
        let (stage, number) = (&self.local.stage, self.number);
        let requests = self.requests.key(|path| push_directory(stage, path, stage.fanout.directory(number)));
        requests.plain(&mut connection.out, "GET", query);
        self.decoder = ChunkDecoder::new(u64::MAX);
        self.seat.wait_since(Some(Instant::now()));
        loop {
            if let Some((head, length)) = read_head(&self.input).map_err(|error| self.failure(error.to_string()))? {
                self.input.drain(..length);
                self.seat.wait_since(None);
                if head.status != 200 || !head.is_chunked() {
                    let text = String::from_utf8_lossy(&self.input).into_owned();
                    return Err(self.failure(format!("no watch, but {} {text}", head.status)));
                }
                return head.index.ok_or_else(|| self.failure("a watch without X-Etcd-Index".to_owned()));
            }
            match self.receive().await {
                Ok(true) => {}
                Ok(false) if !self.seat.is_late() => {}
                Ok(false) => return Err(self.failure("no answer to a watch".to_owned())),
                Err(error) => return Err(self.failure(error.to_string())),
            }
        }
    }

    /// Receives more input; false when there is another reason to look around.
    async fn receive(&mut self) -> io::Result<bool> {
        let mut is_woken = false;
        poll_fn(|cx| {
            self.seat.register(cx.waker());
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            if let Poll::Ready(Err(error)) = connection.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            let mut scratch = self.local.scratch.borrow_mut();
            match connection.poll_receive(cx, &mut scratch) {
                Poll::Ready(Ok(0)) => {
                    self.connection = None;
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(length)) => {
                    self.input.extend_from_slice(&scratch[..length]);
                    return Poll::Ready(Ok(true));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
            if std::mem::replace(&mut is_woken, true) { Poll::Ready(Ok(false)) } else { Poll::Pending }
        })
        .await
    }

    /// Takes the events that have come as a whole. True when the answer is over.
    fn take_events(&mut self, watched: &mut Watched) -> Result<bool, Failure> {
        let decoded = self.decoder.decode(&self.input, &mut self.content);
        let progress = decoded.map_err(|_| self.failure("the events' chunks are not well-formed".to_owned()))?;
        self.input.drain(..progress.consumed);
        let now = Instant::now();
        let content = std::mem::take(&mut self.content);
        let mut taken = 0;
        while let Some(length) = memchr::memchr(b'\n', &content[taken..]) {
            self.take_event(watched, &content[taken..taken + length], now)?;
            taken += length + 1;
        }
        self.content = content;
        self.content.drain(..taken);
        Ok(progress.finished)
    }

    fn take_event(&self, watched: &mut Watched, line: &[u8], now: Instant) -> Result<(), Failure> {
        let event = body::VALUE.text(line).and_then(Event::parse);
        let (Some(event), Some(index)) = (event, body::MODIFIED.number(line)) else {
            return Err(self.failure(format!("not an event of this run: {}", String::from_utf8_lossy(line))));
        };
        let fanout = &self.local.stage.fanout;
        watched.receipts.take(fanout, event, index).map_err(|what| self.failure(what))?;
        let due = fanout.instant_of(event.due_ns);
        self.local.record(Op::Delivery, due, due, now);
        self.seat.wait_since(None);
        Ok(())
    }

    /// Nothing came. When all is written, what is missing must come in time.
    fn look_for_missing(&self, watched: &Watched) -> Result<(), Failure> {
        let fanout = &self.local.stage.fanout;
        if let Some(missing) = watched.receipts.missing(fanout).filter(|_| fanout.is_settled()) {
            if self.seat.is_late() {
                return Err(self.failure(format!("lost events: {missing}")));
            }
            self.seat.wait_from(Instant::now());
        }
        Ok(())
    }

    fn failure(&self, what: String) -> Failure {
        Failure::Watch { watcher: self.number, host: self.local.plan.endpoint(self.number).host.clone(), what }
    }
}
