//! Ends early when the user wants it, so that nothing is left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether somebody has asked for an end.
#[derive(Clone)]
pub(crate) struct Stop(Arc<AtomicBool>);

/// How often waiting looks around.
const LOOK_AROUND: Duration = Duration::from_millis(10);

impl Stop {
    /// From now on signals only ask for an end.
    pub(crate) fn on_signals() -> Result<Self, String> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&asked)).map_err(|error| format!("signals: {error}"))?;
        }
        Ok(Self(asked))
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) { Err("interrupted".to_owned()) } else { Ok(()) }
    }

    /// Asks `look` again and again until it has something, nobody wants to wait any longer, or `limit` is over: then `None`.
    pub(crate) fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut() -> Result<Option<T>, String>,
    ) -> Result<Option<T>, String> {
        let until = Instant::now() + limit;
        loop {
            self.check()?;
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            sleep(LOOK_AROUND);
        }
    }

    /// Does nothing for a while.
    pub(crate) fn rest(&self, time: Duration) -> Result<(), String> {
        self.wait(time, || Ok(None::<()>)).map(drop)
    }
}
