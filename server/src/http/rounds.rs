//! Reading from sockets without being told that they are readable.
//!
//! A busy executor takes so long to come round to a connection again that the client's next request is mostly there when it does. Having the
//! kernel say so costs an entry of the ring, a place in the socket's queue, task work and a completion for each request: a twelfth of
//! a GET. Looking for it costs a call that is made anyway. So while requests come fast, a connection that has read something looks
//! again in the next round of its executor, and asks the kernel only if nothing is there. Whether that is worth it is measured all the time.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use glommio::timer::Timer;

/// Reads after which it is decided anew.
const WINDOW_READS: u32 = 256;
/// What so many reads take at most on an executor that is busy: 25,600 a second.
const WINDOW_BUSY: Duration = Duration::from_millis(10);
/// For how long it is true what a window has shown.
const WINDOW_VALID: Duration = Duration::from_millis(100);
/// Of so many looks ...
const LOOKS: u32 = 4;
/// ... so many must find something.
const HITS_MIN: u32 = 3;
/// Windows after which it is tried again at the latest, if it was not worth it.
const PAUSE_MAX: u32 = 64;
/// Long enough to be in the future when it is asked for, and over when the executor has done what it has to do.
const NEXT: Duration = Duration::from_micros(1);

thread_local! {
    static ROUNDS: Rounds = const { Rounds::new() };
}

/// The rounds of this thread's executor.
struct Rounds {
    /// Of the round under way.
    number: Cell<u64>,
    /// Connections that look for input in the next one.
    waiting: RefCell<Vec<Waker>>,
    /// Begins it. (glommio has no other way to say so than a timer.)
    timer: RefCell<Option<Timer>>,
    measured: RefCell<Measured>,
}

impl Rounds {
    const fn new() -> Self {
        Self {
            number: Cell::new(0),
            waiting: RefCell::new(Vec::new()),
            timer: RefCell::new(None),
            measured: RefCell::new(Measured::new()),
        }
    }

    /// Wakes a connection in the next round.
    fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        waiting.push(waker.clone());
        if waiting.len() == 1 {
            drop(waiting);
            self.have_next();
        }
    }

    fn have_next(&self) {
        let (begin, mut after) = (Waker::from(Arc::new(Begin)), NEXT);
        let timer = loop {
            let mut timer = Timer::new(after);
            // Over already if the thread was kept from its CPU meanwhile.
            if Pin::new(&mut timer).poll(&mut Context::from_waker(&begin)).is_pending() {
                break timer;
            }
            after *= 8;
        };
        *self.timer.borrow_mut() = Some(timer);
    }

    fn begin(&self) {
        self.number.set(self.number.get() + 1);
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}

/// What the timer wakes: all who wait, before any of them runs, so that what they read is worked off together.
struct Begin;

impl Wake for Begin {
    fn wake(self: Arc<Self>) {
        ROUNDS.with(Rounds::begin);
    }
}

/// How it goes.
struct Measured {
    /// Since when; the first read begins it.
    since: Option<Instant>,
    reads: u32,
    /// Times that somebody looked without being told to.
    looks: u32,
    /// Times that something was there.
    hits: u32,
    /// It is worth it.
    is_eager: bool,
    /// Busy windows until it is tried again.
    pause: u32,
    /// As many as that after the next failure.
    next_pause: u32,
}

impl Measured {
    const fn new() -> Self {
        Self { since: None, reads: 0, looks: 0, hits: 0, is_eager: false, pause: 0, next_pause: 1 }
    }

    fn read(&mut self, now: impl FnOnce() -> Instant) {
        self.reads += 1;
        if self.reads < WINDOW_READS {
            return;
        }
        let now = now();
        let is_busy = self.since.is_some_and(|since| now.saturating_duration_since(since) <= WINDOW_BUSY);
        let was_worth_it = self.hits * LOOKS >= self.looks * HITS_MIN;
        match (is_busy, self.is_eager) {
            (false, _) => self.is_eager = false,
            (true, true) if was_worth_it => self.next_pause = 1,
            (true, true) => {
                self.is_eager = false;
                self.pause = self.next_pause;
                self.next_pause = PAUSE_MAX.min(2 * self.next_pause);
            }
            (true, false) => {
                self.is_eager = self.pause == 0;
                self.pause = self.pause.saturating_sub(1);
            }
        }
        (self.since, self.reads, self.looks, self.hits) = (Some(now), 0, 0, 0);
    }
}

/// Whether connections look without being told to.
pub(super) fn are_fast(now: Instant) -> bool {
    ROUNDS.with(|rounds| {
        let measured = rounds.measured.borrow();
        let is_recent = measured.since.is_some_and(|since| now.saturating_duration_since(since) <= WINDOW_VALID);
        measured.is_eager && is_recent
    })
}

/// How a connection learns that there is something to read.
pub(super) struct Reader {
    /// Its TCP socket, if it has one.
    socket: Option<RawFd>,
    look: Look,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// When the kernel says so.
    WhenTold,
    /// After something was read: in the next round, if they are fast.
    Soon,
    /// In the round after this one.
    After(u64),
}

impl Reader {
    pub(super) fn new(socket: Option<RawFd>) -> Self {
        Self { socket, look: Look::WhenTold }
    }

    /// Something was read, however that became known.
    pub(super) fn has_read(&mut self) {
        if self.socket.is_some() {
            self.look = Look::Soon;
            ROUNDS.with(|rounds| rounds.measured.borrow_mut().read(Instant::now));
        }
    }

    /// To look at once, whatever round it is.
    pub(super) fn look_now(&mut self) {
        self.look = Look::WhenTold;
    }

    /// Reads from the socket, or waits for the next round. `None`: the kernel has to be asked.
    pub(super) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        into: &mut [u8],
    ) -> Option<Poll<io::Result<usize>>> {
        let socket = self.socket?;
        match self.look {
            Look::WhenTold => None,
            Look::Soon if !are_fast(now) => {
                self.look = Look::WhenTold;
                None
            }
            Look::Soon => {
                ROUNDS.with(|rounds| {
                    self.look = Look::After(rounds.number.get());
                    rounds.wait(cx.waker());
                });
                Some(Poll::Pending)
            }
            Look::After(number) if ROUNDS.with(|rounds| rounds.number.get()) == number => Some(Poll::Pending),
            Look::After(_) => {
                let read = receive(socket, into);
                ROUNDS.with(|rounds| {
                    let mut measured = rounds.measured.borrow_mut();
                    measured.looks += 1;
                    measured.hits += u32::from(read.is_some());
                });
                self.look = Look::WhenTold;
                read.map(Poll::Ready)
            }
        }
    }
}

/// What is there, without waiting for it; `None`: nothing.
fn receive(socket: RawFd, into: &mut [u8]) -> Option<io::Result<usize>> {
    // SAFETY: the buffer is as long as it says, and outlives the call.
    let read = unsafe { libc::recv(socket, into.as_mut_ptr().cast(), into.len(), libc::MSG_DONTWAIT) };
    if let Ok(read) = usize::try_from(read) {
        return Some(Ok(read));
    }
    let error = io::Error::last_os_error();
    let is_nothing = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted);
    (!is_nothing).then_some(Err(error))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use glommio::{LocalExecutorBuilder, Placement};

    use super::*;

    /// After a window of reads, so long after the last one, in which of so many looks so many found something.
    fn window(measured: &mut Measured, now: &mut Instant, took: Duration, looks: u32, hits: u32) -> bool {
        *now += took;
        (measured.looks, measured.hits) = (looks, hits);
        (0..WINDOW_READS).for_each(|_| measured.read(|| *now));
        measured.is_eager
    }

    #[test]
    fn only_a_busy_executor_looks_and_only_while_that_finds_something() {
        let (mut measured, mut now) = (Measured::new(), Instant::now());
        let (busy, idle) = (WINDOW_BUSY, WINDOW_BUSY + Duration::from_nanos(1));
        assert!(!window(&mut measured, &mut now, idle, 0, 0), "nothing is known before the first window");
        assert!(!window(&mut measured, &mut now, idle, 0, 0));
        assert!(window(&mut measured, &mut now, busy, 0, 0));
        assert!(window(&mut measured, &mut now, busy, 100, 75));
        assert!(!window(&mut measured, &mut now, idle, 100, 100));
        assert!(window(&mut measured, &mut now, busy, 0, 0));
        assert!(!window(&mut measured, &mut now, busy, 100, 74));
    }

    #[test]
    fn what_was_not_worth_it_is_tried_again_ever_less_often() {
        let (mut measured, mut now) = (Measured::new(), Instant::now());
        let mut pauses = Vec::new();
        window(&mut measured, &mut now, WINDOW_BUSY, 0, 0);
        for _ in 0..9 {
            let is_paused = |_: &u32| !window(&mut measured, &mut now, WINDOW_BUSY, 0, 0);
            pauses.push((0..100).take_while(is_paused).count() as u32);
            assert!(!window(&mut measured, &mut now, WINDOW_BUSY, 4, 0));
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 32, PAUSE_MAX, PAUSE_MAX]);
    }

    fn be_eager() {
        ROUNDS.with(|rounds| {
            let mut measured = rounds.measured.borrow_mut();
            (measured.is_eager, measured.since) = (true, Some(Instant::now() + WINDOW_BUSY));
        });
        assert!(are_fast(Instant::now()) && !are_fast(Instant::now() + WINDOW_BUSY + 2 * WINDOW_VALID));
    }

    /// What a read gives: `None` when the kernel has to be asked.
    async fn read(reader: &mut Reader, into: &mut [u8]) -> Option<io::Result<usize>> {
        poll_fn(|cx| match reader.poll_read(cx, Instant::now(), into) {
            None => Poll::Ready(None),
            Some(poll) => poll.map(Some),
        })
        .await
    }

    #[test]
    fn what_has_come_is_found_in_the_next_round_and_once_nothing_has_the_kernel_is_asked() {
        let done = LocalExecutorBuilder::new(Placement::Unbound).spawn(|| async {
            let (mut client, server) = UnixStream::pair().expect("sockets");
            let (mut reader, mut into) = (Reader::new(Some(server.as_raw_fd())), [0; 10]);
            let round = || ROUNDS.with(|rounds| rounds.number.get());
            client.write_all(b"1").expect("sent");
            assert!(read(&mut reader, &mut into).await.is_none(), "it was not told of anything yet");
            reader.has_read();
            assert!(read(&mut reader, &mut into).await.is_none(), "rounds are slow");
            be_eager();
            reader.has_read();
            let before = round();
            assert_eq!(read(&mut reader, &mut into).await.expect("no need to ask").expect("no error"), 1);
            assert_eq!(round(), before + 1);
            reader.has_read();
            assert!(read(&mut reader, &mut into).await.is_none(), "nothing was there");
            reader.has_read();
            client.write_all(b"22").expect("sent");
            reader.look_now();
            assert!(read(&mut reader, &mut into).await.is_none());
            drop(client);
            reader.has_read();
            assert_eq!(read(&mut reader, &mut into).await.expect("no need to ask").expect("no error"), 2);
            reader.has_read();
            assert_eq!(read(&mut reader, &mut into).await.expect("no need to ask").expect("no error"), 0, "the end");
            ROUNDS.with(|rounds| (rounds.measured.borrow().looks, rounds.measured.borrow().hits))
        });
        assert_eq!(done.expect("an executor").join().expect("no panic"), (4, 3));
    }

    #[test]
    fn without_a_socket_the_kernel_is_always_asked() {
        let mut reader = Reader::new(None);
        reader.has_read();
        assert!(reader.poll_read(&Context::from_waker(Waker::noop()), Instant::now(), &mut []).is_none());
    }
}
