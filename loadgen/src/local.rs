//! What the tasks of one thread share.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use crate::connection::SCRATCH_BYTES;
use crate::control::Control;
use crate::op::Op;
use crate::plan::Plan;
use crate::record::Recorder;
use crate::script::Stage;
use crate::seat::Seats;
use crate::slice::{Slice, Slices};

/// One thread's own.
pub(crate) struct Local {
    pub(crate) plan: Arc<Plan>,
    pub(crate) stage: Arc<Stage>,
    pub(crate) control: Arc<Control>,
    pub(crate) seats: Seats,
    pub(crate) recorder: RefCell<Recorder>,
    /// A busy thread is not to hold up the disk of the server that it measures.
    slices: RefCell<Slices>,
    /// Where everything is received; never borrowed while waiting.
    pub(crate) scratch: RefCell<Vec<u8>>,
}

impl Local {
    pub(crate) fn new(stage: Arc<Stage>, control: Arc<Control>, recorder: Recorder) -> Self {
        Self {
            plan: Arc::clone(&stage.plan),
            stage,
            control,
            seats: Seats::default(),
            recorder: RefCell::new(recorder),
            slices: RefCell::new(Slices::of_this_thread(Slice::Long)),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES]),
        }
    }

    /// Records a latency; see [`Recorder::record`].
    pub(crate) fn record(&self, op: Op, due: Instant, sent: Instant, now: Instant) {
        self.recorder.borrow_mut().record(op, due, sent, now);
    }

    /// What is to be done every few milliseconds.
    pub(crate) fn keep_house(&self, now: Instant) {
        self.seats.look_for_late(now, self.plan.timeout);
        self.recorder.borrow_mut().roll(now);
        self.slices.borrow_mut().look(false);
        if self.plan.watchers > 0 && self.stage.fanout.is_settled() {
            self.seats.wake_all();
        }
    }
}
