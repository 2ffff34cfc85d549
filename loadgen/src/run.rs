//! One run: threads started, begun together, their results put together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::control::Control;
use crate::executor::{self, Message};
use crate::failure::Failure;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::record::{Tally, Window};
use crate::script::Stage;
use crate::timeline::{Row, Timeline};
use crate::verify;

/// What a run has measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Requests per second that were to be sent; `None` in a closed loop.
    pub(crate) offered: Option<f64>,
    pub(crate) tally: Tally,
    pub(crate) timeline: Vec<Row>,
    /// What was measured over: from the end of the warm-up until the end, or until the last answer if that came later.
    pub(crate) seconds: f64,
    /// It was ended by the user.
    pub(crate) is_interrupted: bool,
}

impl Measured {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.tally.answered() as f64 / self.seconds
    }
}

/// How often the main thread looks whether the user wants an end.
const LOOK_AROUND: Duration = Duration::from_millis(20);

/// Runs `plan` once.
pub(crate) fn run(plan: &Arc<Plan>, interrupted: &AtomicBool, progress: Progress) -> Result<Measured, Failure> {
    let (control, stage) = (Arc::new(Control::new()), Arc::new(Stage::new(Arc::clone(plan))));
    let (sender, messages) = channel();
    let starts =
        (0..plan.threads).map(|part| executor::start(Arc::clone(&stage), Arc::clone(&control), part, sender.clone()));
    let threads = starts
        .collect::<Result<Vec<_>, _>>()
        .inspect_err(|_| control.fail(Failure::Own("another thread could not start".to_owned())))?;
    drop(sender);
    let conductor = Conductor { plan, control: &control, messages: &messages, interrupted, progress };
    let measured = conductor.conduct();
    for thread in threads {
        thread.join().map_err(|_| Failure::Own("a thread panicked".to_owned()))?;
    }
    if let Some(failure) = control.take_failure() {
        return Err(failure);
    }
    let measured = measured.ok_or_else(|| Failure::Own("the run has not begun".to_owned()))?;
    verify::counters(&stage)?;
    Ok(measured)
}

struct Conductor<'a> {
    plan: &'a Plan,
    control: &'a Control,
    messages: &'a Receiver<Message>,
    interrupted: &'a AtomicBool,
    progress: Progress,
}

impl Conductor<'_> {
    /// `None` when the run has failed.
    fn conduct(&self) -> Option<Measured> {
        self.wait_until_ready()?;
        let window = self.window();
        self.control.start(window);
        let mut timeline = Timeline::new(window.interval.as_secs_f64(), self.plan.threads);
        let (mut tally, mut ended, mut stopped) = (Tally::new(), 0, None);
        while ended < self.plan.threads {
            match self.next() {
                Some(Message::Interval(interval)) => {
                    if let Some(row) = timeline.add(interval) {
                        self.progress.show(self.plan, window.interval, row);
                    }
                }
                Some(Message::Ended(part)) => {
                    tally.add(part?.as_ref());
                    ended += 1;
                }
                Some(Message::Ready) | None => {}
            }
            if stopped.is_none() && self.interrupted.load(Ordering::Relaxed) {
                stopped = Some(Instant::now());
                self.control.stop();
            }
        }
        self.progress.clear();
        let planned = stopped.map_or(window.until, |stopped| stopped.min(window.until));
        let end = tally.last.map_or(planned, |last| last.max(planned));
        let seconds = end.saturating_duration_since(window.from).as_secs_f64().max(1e-6);
        let offered = self.plan.rate;
        Some(Measured { offered, timeline: timeline.end(seconds), tally, seconds, is_interrupted: stopped.is_some() })
    }

    fn wait_until_ready(&self) -> Option<()> {
        let mut ready = 0;
        while ready < self.plan.threads {
            match self.next() {
                Some(Message::Ready) => ready += 1,
                Some(Message::Ended(_)) => return None,
                Some(Message::Interval(_)) | None => {}
            }
            if self.interrupted.load(Ordering::Relaxed) {
                self.control.fail(Failure::Own("interrupted before the run began".to_owned()));
                return None;
            }
        }
        Some(())
    }

    fn next(&self) -> Option<Message> {
        match self.messages.recv_timeout(LOOK_AROUND) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            // Every thread says that it ends before it does.
            Err(RecvTimeoutError::Disconnected) => Some(Message::Ended(None)),
        }
    }

    fn window(&self) -> Window {
        /// The threads look for the start every millisecond.
        const LEAD: Duration = Duration::from_millis(5);
        /// Points of a plot, and its finest resolution.
        const POINTS: u32 = 300;
        const FINEST: Duration = Duration::from_millis(100);
        let begun = Instant::now() + LEAD;
        let from = begun + self.plan.warm_up;
        // A second, unless the run is short or very long.
        let usual = Duration::from_secs(1).min(self.plan.duration / 20);
        let interval = usual.max(FINEST).max(self.plan.duration / POINTS);
        Window { begun, from, until: from + self.plan.duration, interval }
    }
}
