//! When requests are due.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::control::Control;
use crate::record::Window;
use crate::seat::Seat;

/// Least time between two looks at the schedule: at higher rates several requests are due at a look.
const LOOK: Duration = Duration::from_micros(20);

/// Time until the next look while requests wait for connections, which take them without being told.
const BUSY_LOOK: Duration = Duration::from_micros(200);

/// When the requests of a connection are due.
#[derive(Clone)]
pub(crate) enum Pace {
    /// As soon as there is room, whatever the time: before the run.
    Unbounded(Arc<Control>),
    /// As soon as there is room: a closed loop.
    Closed(Window, Arc<Control>),
    /// At fixed times: an open loop.
    Open(Rc<Schedule>),
}

impl Pace {
    /// Whether the next request waits for an answer only.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(..))
    }

    /// Takes a request that is due: the time at which it was.
    pub(crate) fn take(&self, now: Instant) -> Option<Instant> {
        match self {
            Self::Unbounded(control) => (!control.is_stopped()).then_some(now),
            Self::Closed(window, control) => (now < window.until && !control.is_stopped()).then_some(now),
            Self::Open(schedule) => schedule.take(now),
        }
    }

    /// Nothing will be due any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Unbounded(control) => control.is_stopped(),
            Self::Closed(window, control) => now >= window.until || control.is_stopped(),
            Self::Open(schedule) => schedule.is_over(now),
        }
    }

    /// Whether others have room too: then one at a time is enough.
    pub(crate) fn others_wait(&self) -> bool {
        matches!(self, Self::Open(schedule) if !schedule.idle.borrow().is_empty())
    }

    /// This connection has room, and is to be woken when something is due.
    pub(crate) fn wait(&self, seat: &Rc<Seat>) {
        if let Self::Open(schedule) = self {
            schedule.wait(seat);
        }
    }
}

/// The requests of one thread in an open loop: one each `1 / rate` seconds, whether connections are free or not.
pub(crate) struct Schedule {
    window: Window,
    control: Arc<Control>,
    /// Nanoseconds between two requests.
    gap_ns: f64,
    /// When the first one was due.
    origin: Cell<Instant>,
    /// How many were taken since.
    taken: Cell<u64>,
    /// Connections with room, longest waiting first. Those that have found work meanwhile are passed over.
    idle: RefCell<VecDeque<Rc<Seat>>>,
}

impl Schedule {
    /// `rate` is this thread's; it is the `part`-th of `parts` threads, whose requests interleave.
    pub(crate) fn new(window: Window, control: Arc<Control>, rate: f64, part: u32, parts: u32) -> Self {
        let gap_ns = 1e9 / rate;
        let phase = Duration::from_nanos((gap_ns * f64::from(part) / f64::from(parts)) as u64);
        let window = Window { begun: window.begun + phase, from: window.from + phase, ..window };
        let origin = Cell::new(window.begun);
        Self { window, control, gap_ns, origin, taken: Cell::new(0), idle: RefCell::default() }
    }

    fn due(&self, number: u64) -> Instant {
        self.origin.get() + Duration::from_nanos((number as f64 * self.gap_ns) as u64)
    }

    /// What the warm-up has left undone is given up: what counts begins with nothing waiting.
    fn enter_window(&self, now: Instant) {
        if self.origin.get() != self.window.from && now >= self.window.from {
            self.origin.set(self.window.from);
            self.taken.set(0);
        }
    }

    fn take(&self, now: Instant) -> Option<Instant> {
        self.enter_window(now);
        let due = self.due(self.taken.get());
        if due > now || due >= self.window.until || self.is_over(now) {
            return None;
        }
        self.taken.set(self.taken.get() + 1);
        Some(due)
    }

    fn is_over(&self, now: Instant) -> bool {
        now >= self.window.until || self.control.is_stopped()
    }

    /// When the requests were due that have counted and were not taken until `end`.
    pub(crate) fn untaken(&self, end: Instant) -> impl Iterator<Item = Instant> {
        let end = end.min(self.window.until);
        self.enter_window(end);
        let counts = self.origin.get() == self.window.from;
        (self.taken.get()..).map(|number| self.due(number)).take_while(move |due| counts && *due < end)
    }

    fn wait(&self, seat: &Rc<Seat>) {
        seat.is_idle.set(true);
        if !seat.is_queued.replace(true) {
            self.idle.borrow_mut().push_back(Rc::clone(seat));
        }
    }

    /// Wakes as many connections as requests are due.
    fn wake(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let mut number = self.taken.get();
        while !idle.is_empty() && self.due(number) <= now {
            let Some(seat) = idle.pop_front() else { return };
            seat.is_queued.set(false);
            if seat.is_idle.replace(false) {
                seat.wake();
                number += 1;
            }
        }
    }

    /// Tells idle connections of what is due, until the end.
    pub(crate) async fn keep(self: Rc<Self>) {
        loop {
            let now = Instant::now();
            self.enter_window(now);
            if self.is_over(now) {
                return;
            }
            self.wake(now);
            let wait = self.due(self.taken.get()).saturating_duration_since(now);
            let least = if self.idle.borrow().is_empty() { BUSY_LOOK } else { LOOK };
            // Not longer than this, or a stop would not be seen.
            let wait = wait.clamp(least, Duration::from_millis(20)).min(self.until_window(now));
            glommio::timer::sleep(wait).await;
        }
    }

    fn until_window(&self, now: Instant) -> Duration {
        if now < self.window.from { (self.window.from - now).max(LOOK) } else { Duration::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn schedule(rate: f64) -> (Schedule, Window) {
        let begun = Instant::now();
        let window = Window { begun, from: begun + 100 * MS, until: begun + 200 * MS, interval: MS };
        (Schedule::new(window, Arc::new(Control::new()), rate, 0, 1), window)
    }

    #[test]
    fn requests_are_due_at_fixed_times_whenever_they_are_taken() {
        let (schedule, window) = schedule(1000.0);
        assert_eq!(schedule.take(window.begun), Some(window.begun));
        assert_eq!(schedule.take(window.begun), None);
        let late = window.begun + 5 * MS;
        let due: Vec<_> = std::iter::from_fn(|| schedule.take(late)).collect();
        assert_eq!(due, (1..=5).map(|n| window.begun + n * MS).collect::<Vec<_>>());
    }

    #[test]
    fn the_warm_up_leaves_nothing_behind_and_nothing_that_counts_is_forgotten() {
        let (schedule, window) = schedule(1000.0);
        let first = schedule.take(window.from);
        assert_eq!(first, Some(window.from), "a hundred were due in the warm-up");
        let end = window.until + 50 * MS;
        assert_eq!(schedule.take(end), None);
        let untaken: Vec<_> = schedule.untaken(end).collect();
        assert_eq!(untaken.len(), 99);
        assert_eq!((untaken[0], untaken[98]), (window.from + MS, window.from + 99 * MS));
    }

    #[test]
    fn an_end_before_the_window_leaves_nothing_undone() {
        let (schedule, window) = schedule(1000.0);
        assert_eq!(schedule.untaken(window.begun + MS).count(), 0);
    }

    #[test]
    fn one_connection_is_woken_for_each_request() {
        let (schedule, window) = schedule(1000.0);
        let seats: Vec<_> = (0..3).map(|_| Rc::new(Seat::default())).collect();
        for seat in &seats {
            schedule.wait(seat);
        }
        seats[0].is_idle.set(false);
        schedule.wake(window.begun);
        assert_eq!(seats.iter().map(|seat| seat.is_queued.get()).collect::<Vec<_>>(), [false, false, true]);
    }
}
