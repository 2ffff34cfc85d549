//! What the connections of one executor share.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use net::http::date::{DateCache, DateStamp};

use super::director::Director;
use super::endpoint::Endpoint;
use super::own::Own;
use super::upstream::Pool;
use crate::config::Config;
use crate::http::Registry;
use crate::metrics::ProcessStats;
use crate::metrics::proxy::{ProxyMetrics, encode_proxy};

/// Bytes read at once.
const SCRATCH_BYTES: usize = 64 << 10;
/// How often idle connections are asked whether they still are: each costs a system call.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What all executors share.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) director: Arc<Director>,
    pub(super) own: Arc<Own>,
    /// The part of each executor, which alone bumps it: the lock is free but during a scrape.
    metrics: Vec<Mutex<ProxyMetrics>>,
    stopping: AtomicBool,
}

impl Shared {
    pub(super) fn new(config: Config, director: Arc<Director>, own: Arc<Own>) -> Self {
        let metrics = config.cores.iter().map(|_| Mutex::default()).collect();
        Self { config, director, own, metrics, stopping: AtomicBool::new(false) }
    }

    /// The process stops.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// The page for `/metrics`.
    pub(super) fn metrics_page(&self) -> Vec<u8> {
        let mut total = ProxyMetrics::default();
        for part in &self.metrics {
            total.absorb(&part.lock().unwrap_or_else(PoisonError::into_inner));
        }
        // Figures that the kernel does not give are shown as 0.
        let process = ProcessStats::read().unwrap_or_default();
        encode_proxy(&total, self.director.available().len(), &process)
    }
}

/// One executor's share.
pub(super) struct Front {
    pub(super) shared: Arc<Shared>,
    me: usize,
    pub(super) registry: Rc<Registry>,
    pub(super) pool: Pool,
    scratch: RefCell<Box<[u8]>>,
    date: RefCell<DateCache>,
    /// The director's list, and its version.
    endpoints: RefCell<(u64, Rc<[Arc<Endpoint>]>)>,
    /// The director's alarms that have been passed on.
    alarms: Cell<u64>,
    /// A member is being asked who leads.
    pub(super) asking_for_leader: Cell<bool>,
    /// When the idle connections were looked at last.
    swept: Cell<Instant>,
    /// When each trouble was told last.
    told: RefCell<[Option<Instant>; 4]>,
}

/// Troubles that a flood of requests would tell as often.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    NobodyToAsk,
    NobodyAnswers,
    Failed,
    GoesRound,
}

impl Front {
    pub(super) fn new(me: usize, shared: Arc<Shared>) -> Self {
        Self {
            shared,
            me,
            registry: Rc::default(),
            pool: Pool::default(),
            scratch: RefCell::new(vec![0; SCRATCH_BYTES].into()),
            date: RefCell::new(DateCache::new(unix_seconds())),
            endpoints: RefCell::new((0, Rc::new([]))),
            alarms: Cell::new(0),
            asking_for_leader: Cell::new(false),
            swept: Cell::new(Instant::now()),
            told: RefCell::default(),
        }
    }

    /// A buffer for the length of one read.
    pub(super) fn scratch(&self) -> RefMut<'_, Box<[u8]>> {
        self.scratch.borrow_mut()
    }

    /// The current second.
    pub(super) fn date(&self) -> DateStamp {
        *self.date.borrow_mut().at(unix_seconds())
    }

    pub(super) fn count(&self, bump: impl FnOnce(&mut ProxyMetrics)) {
        bump(&mut self.shared.metrics[self.me].lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All endpoints in the order of asking.
    pub(super) fn endpoints(&self) -> Rc<[Arc<Endpoint>]> {
        let version = self.shared.director.version();
        let mut endpoints = self.endpoints.borrow_mut();
        if endpoints.0 != version {
            *endpoints = (version, self.shared.director.named().into());
        }
        Rc::clone(&endpoints.1)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.shared.is_stopping()
    }

    /// What has no event of its own: slow clients, endpoints that were found hung, idle connections that were closed.
    pub(super) fn look_around(&self) {
        let now = Instant::now();
        self.registry.sweep(now);
        let alarms = self.shared.director.alarms();
        if self.alarms.replace(alarms) != alarms {
            self.registry.wake_all();
        }
        if now - self.swept.get() >= SWEEP_EVERY {
            self.swept.set(now);
            self.pool.sweep();
        }
    }

    /// Tells of a trouble, unless it was told a moment ago.
    pub(super) fn tell(&self, trouble: Trouble, text: impl FnOnce() -> String) {
        let now = Instant::now();
        let told = &mut self.told.borrow_mut()[trouble as usize];
        if told.is_none_or(|told| now - told >= TELL_EVERY) {
            *told = Some(now);
            tracing::info!(target: "proxy", "{}", text());
        }
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
