//! One executor of a proxy, from its listeners to the last connection.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use glommio::Placement;
use glommio::sync::Semaphore;

use super::connection::Door;
use super::front::{Front, Shared};
use super::probe;
use crate::failure::Fatal;
use crate::http::accept;
use crate::listen::Listener;
use crate::ring;

/// How often an executor looks for what has no event of its own.
const LOOK_AROUND: Duration = Duration::from_millis(100);
/// How long connections are given to finish what they have begun when the process stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the rest of a request is waited for then.
const HEARING: Duration = Duration::from_millis(250);

/// What an executor starts from.
pub(super) struct Seed {
    pub(super) me: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) listeners: Vec<Listener>,
    /// Client connections that this executor may have.
    pub(super) connections: usize,
    /// Dropped when the executor has ended.
    pub(super) alive: Sender<()>,
}

/// Starts an executor on its CPU. The thread ends when the process stops.
pub(super) fn start(seed: Seed) -> Result<JoinHandle<Option<()>>, Fatal> {
    let cpu = seed.shared.config.cores[seed.me];
    let (name, spin) = (format!("uetcd-{}", seed.me), seed.shared.config.spin);
    ring::launch(name, Placement::Fixed(cpu), spin, move || run(seed))
        .map_err(|error| Fatal::Other(format!("an executor can not start on CPU {cpu}: {error}")))
}

async fn run(seed: Seed) {
    let Seed { me, shared, listeners, connections, alive } = seed;
    let front = Rc::new(Front::new(me, shared));
    let probing = (me == 0).then(|| glommio::spawn_local(probe::keep(Rc::clone(&front))));
    let permits = Rc::new(Semaphore::new(connections as u64));
    let start = |listener| glommio::spawn_local(accept(Door(Rc::clone(&front)), Rc::clone(&permits), listener));
    let accepting: Vec<_> = listeners.into_iter().map(start).collect();
    while !front.is_stopping() {
        glommio::timer::sleep(LOOK_AROUND).await;
        front.look_around();
    }
    for listening in accepting {
        listening.cancel().await;
    }
    drain(&front).await;
    if let Some(probing) = probing {
        probing.cancel().await;
    }
    drop(alive);
}

/// Lets connections finish what they have begun.
async fn drain(front: &Front) {
    const PAUSE: Duration = Duration::from_millis(5);
    let begun = Instant::now();
    while front.registry.len() > 0 {
        if begun.elapsed() > DRAIN {
            tracing::warn!(target: "proxy", "{} connections are cut, they did not end in time", front.registry.len());
            return;
        }
        if begun.elapsed() > HEARING {
            front.registry.hear_no_more();
        }
        front.look_around();
        front.registry.wake_all();
        glommio::timer::sleep(PAUSE).await;
    }
}
