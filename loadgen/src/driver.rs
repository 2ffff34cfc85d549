//! Drives one connection through a script: requests out when they are due, answers checked and timed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::connection::{Connection, OUT_HIGH_WATER};
use crate::failure::Failure;
use crate::http::{AnswerReader, Malformed, Progress};
use crate::local::Local;
use crate::op::Op;
use crate::order::Order;
use crate::pace::Pace;
use crate::script::{Ask, Script};
use crate::seat::Seat;

/// A request without an answer.
struct InFlight {
    ask: Ask,
    due: Instant,
    sent: Instant,
}

/// Why a turn did not go on; the driver adds whose turn it was.
enum Trouble {
    Io(io::Error),
    Late,
    Malformed(Malformed),
    Wrong(Ask, String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Malformed> for Trouble {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// One connection and what is under way on it.
pub(crate) struct Driver {
    local: Rc<Local>,
    number: u32,
    seat: Rc<Seat>,
    connection: Option<Connection>,
    /// The connection's output buffer while there is no connection.
    spare: Vec<u8>,
    reader: AnswerReader,
    /// Received, and no whole head yet.
    input: Vec<u8>,
    in_flight: VecDeque<InFlight>,
    depth: usize,
    /// Requests sent over this connection, and after how many it is replaced.
    sent: u64,
    sent_max: u64,
    order: Order,
}

impl Driver {
    /// Connection `number`, not open yet.
    pub(crate) fn new(local: &Rc<Local>, number: u32) -> Self {
        Self {
            local: Rc::clone(local),
            number,
            seat: local.seats.add(),
            connection: None,
            spare: Vec::new(),
            reader: AnswerReader::new(),
            input: Vec::new(),
            in_flight: VecDeque::with_capacity(local.plan.pipeline),
            depth: local.plan.pipeline,
            sent: 0,
            sent_max: u64::MAX,
            order: Order::default(),
        }
    }

    /// Requests under way from now on, and after how many the connection is replaced.
    pub(crate) fn configure(&mut self, depth: usize, sent_max: Option<u64>) {
        (self.depth, self.sent_max, self.sent) = (depth, sent_max.unwrap_or(u64::MAX), 0);
    }

    /// Goes on until nothing is due any more, or the script has nothing to ask, and all answers are there.
    pub(crate) async fn drive(&mut self, script: &mut dyn Script, pace: &Pace) -> Result<(), Failure> {
        loop {
            // Replaced before the next request is due, so that the request waits for its own connection only.
            if self.in_flight.is_empty() && self.sent >= self.sent_max {
                self.close();
            }
            let asks_more = self.encode(script, pace);
            if self.in_flight.is_empty() && (!asks_more || pace.is_over(Instant::now())) {
                return Ok(());
            }
            if self.connection.is_none() && !self.in_flight.is_empty() {
                self.open().await?;
            }
            self.turn(script, pace).await.map_err(|trouble| self.failure(script, trouble))?;
            if pace.is_closed() {
                // What has come for others is taken first: it takes several times as long to send a request, and answers that waited for that would
                // seem to be later than they were.
                futures_lite::future::yield_now().await;
            }
        }
    }

    /// Opens the connection if it is not.
    pub(crate) async fn open(&mut self) -> Result<(), Failure> {
        if self.connection.is_some() {
            return Ok(());
        }
        let endpoint = self.local.plan.endpoint(self.number);
        let begun = Instant::now();
        let out = std::mem::take(&mut self.spare);
        let opened = Connection::open(endpoint, self.local.plan.timeout, Vec::new()).await;
        let mut connection = opened.map_err(|source| Failure::Connect {
            connection: self.number,
            host: endpoint.host.clone(),
            source,
        })?;
        connection.out = out;
        self.connection = Some(connection);
        self.local.record(Op::Connect, begun, begun, Instant::now());
        Ok(())
    }

    fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.spare = connection.close();
        }
        self.sent = 0;
        self.reader = AnswerReader::new();
        self.input.clear();
    }

    /// Adds the requests that are due and have room. False when the script has nothing more to ask.
    fn encode(&mut self, script: &mut dyn Script, pace: &Pace) -> bool {
        let now = Instant::now();
        let out = self.connection.as_mut().map_or(&mut self.spare, |connection| &mut connection.out);
        while self.in_flight.len() < self.depth && self.sent < self.sent_max && out.len() < OUT_HIGH_WATER {
            let Some(due) = pace.take(now) else { break };
            let Some(ask) = script.next(due, out) else { return false };
            self.sent += 1;
            self.in_flight.push_back(InFlight { ask, due, sent: now });
            if pace.others_wait() {
                break;
            }
        }
        true
    }

    /// Sends what is to be sent, and waits for answers, or for something to be due.
    async fn turn(&mut self, script: &mut dyn Script, pace: &Pace) -> Result<(), Trouble> {
        let has_room = self.in_flight.len() < self.depth && self.sent < self.sent_max;
        self.seat.is_idle.set(false);
        if has_room {
            pace.wait(&self.seat);
        }
        self.seat.wait_since(self.in_flight.front().map(|oldest| oldest.sent));
        let mut is_woken = false;
        let received = poll_fn(|cx| {
            // The first poll goes to sleep; the second means that there was a reason to wake.
            let woken = std::mem::replace(&mut is_woken, true);
            self.poll_turn(cx, has_room && woken)
        })
        .await?;
        let Some(received) = received else { return Ok(()) };
        let local = Rc::clone(&self.local);
        let scratch = local.scratch.borrow();
        self.take_input(script, &scratch[..received])
    }

    /// The number of bytes received; `None` when there is another reason to look around.
    fn poll_turn(&mut self, cx: &mut Context<'_>, may_return: bool) -> Poll<Result<Option<usize>, Trouble>> {
        self.seat.register(cx.waker());
        if self.seat.is_late() {
            return Poll::Ready(Err(Trouble::Late));
        }
        if let Some(connection) = &mut self.connection {
            if let Poll::Ready(Err(error)) = connection.poll_send(cx) {
                return Poll::Ready(Err(error.into()));
            }
            let mut scratch = self.local.scratch.borrow_mut();
            match connection.poll_receive(cx, &mut scratch) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::Error::other("the server closed it").into())),
                Poll::Ready(Ok(length)) => return Poll::Ready(Ok(Some(length))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => {}
            }
        }
        if may_return { Poll::Ready(Ok(None)) } else { Poll::Pending }
    }

    /// Takes the answers out of what has been received.
    fn take_input(&mut self, script: &mut dyn Script, received: &[u8]) -> Result<(), Trouble> {
        let now = Instant::now();
        if self.input.is_empty() {
            let consumed = self.take_answers(script, received, now)?;
            self.input.extend_from_slice(&received[consumed..]);
            return Ok(());
        }
        self.input.extend_from_slice(received);
        let mut input = std::mem::take(&mut self.input);
        let consumed = self.take_answers(script, &input, now)?;
        input.drain(..consumed);
        self.input = input;
        Ok(())
    }

    fn take_answers(&mut self, script: &mut dyn Script, input: &[u8], now: Instant) -> Result<usize, Trouble> {
        let mut consumed = 0;
        loop {
            let (answer, length) = match self.reader.read(&input[consumed..])? {
                Progress::Partial(length) => return Ok(consumed + length),
                Progress::Complete(answer, length) => (answer, length),
            };
            consumed += length;
            let Some(asked) = self.in_flight.pop_front() else {
                let nothing = Ask { op: Op::Get, number: 0, detail: 0 };
                return Err(Trouble::Wrong(nothing, "an answer although nothing was asked".to_owned()));
            };
            let wrong = |what| Trouble::Wrong(asked.ask, what);
            let right = script.check(asked.ask, &answer).map_err(wrong)?;
            self.order.check(&answer, right.written).map_err(wrong)?;
            self.local.record(right.op, asked.due, asked.sent, now);
            if answer.closes {
                return self.closed_by_server(input.len());
            }
        }
    }

    /// The server has announced that it closes the connection: nothing may be under way.
    fn closed_by_server(&mut self, consumed: usize) -> Result<usize, Trouble> {
        if !self.in_flight.is_empty() {
            return Err(io::Error::other("the server closed it").into());
        }
        self.close();
        Ok(consumed)
    }

    fn failure(&self, script: &dyn Script, trouble: Trouble) -> Failure {
        let oldest = || self.in_flight.front().map_or_else(|| "nothing".to_owned(), |asked| script.describe(asked.ask));
        let (connection, host) = (self.number, self.local.plan.endpoint(self.number).host.clone());
        match trouble {
            Trouble::Io(source) => Failure::Broken { connection, host, request: oldest(), source },
            Trouble::Late => {
                let limit_s = self.local.plan.timeout.as_secs_f64();
                Failure::Silent { connection, host, request: oldest(), limit_s }
            }
            Trouble::Malformed(source) => Failure::Malformed { connection, host, request: oldest(), source },
            Trouble::Wrong(ask, what) => Failure::Wrong { connection, host, request: script.describe(ask), what },
        }
    }
}
