//! What all executors of a node share: a few atomics, mailboxes, and what is replaced as a whole off the request path.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::utils::CachePadded;
use shard::command::SystemCommand;
use shard::ids::{Index, MemberId, ShardId, Term};
use shard::membership::Groups;
use shard::order::Order;
use shard::route::Route;
use shard::system::{Member, System};

use super::backup;
use super::bodies::Bodies;
use super::budget::{self, Tallies};
use super::crowd::Tally;
use super::held::HeldCell;
use super::mailbox::Mailbox;
use super::message::Message;
use crate::birth::{Birth, Founder};
use crate::clock::Clock;
use crate::config::{Config, Url};
use crate::machine;
use crate::metrics::ScrubStats;
use crate::peer::Remembered;
use crate::recovery::Found;

/// What all executors of the node share.
pub(crate) struct Node {
    /// The configuration, as checked.
    pub(crate) config: Config,
    /// Bytes of memory that the requests under way may take, on all executors together.
    pub(crate) request_memory: usize,
    /// This member's id.
    pub(crate) member: u64,
    /// Marks this process' commands in the log: after a restart its tickets mean others.
    pub(crate) process: u64,
    /// The cluster's id as the `X-Etcd-Cluster-Id` header has it.
    pub(crate) cluster_id: String,
    /// Number of shards, fixed when the cluster was born.
    pub(crate) shards: u16,
    /// The one-order atomics.
    pub(crate) order: Order,
    /// The node's clock.
    pub(crate) clock: Clock,
    pub(super) mailboxes: Vec<Mailbox<Message>>,
    /// Per executor: it has watches over several executors, and wants to know when any of them has applied something.
    pub(super) spread: Vec<AtomicBool>,
    /// Per executor: the events that wait for its watches.
    pub(super) tallies: Vec<Tally>,
    /// The events that wait for watches.
    pub(crate) bodies: Bodies,
    /// What the requests of each executor hold of the memory.
    pub(super) held_by_requests: Tallies,
    /// Per executor: the bytes of large answers that are on their way to it.
    pub(super) under_way: Arc<[CachePadded<AtomicUsize>]>,
    /// What shard 0 says of members and versions, for everybody to read. Replaced as a whole, off the request path.
    pub(super) system: Mutex<Arc<System>>,
    /// The membership that this member was born with.
    pub(super) founders: Arc<System>,
    /// Peer URLs of those who came while this member was away, by what they say themselves: without an answer they could
    /// not tell it the rest.
    pub(super) strangers: Mutex<Arc<Strangers>>,
    pub(super) phase: AtomicU8,
    /// Executors that have nothing left to do for their own connections, while the process stops.
    pub(super) drained: AtomicUsize,
    /// Executors that have done what comes before clients are served.
    pub(super) prepared: AtomicUsize,
    pub(super) backups: backup::Backups,
    /// What the scrub has counted.
    pub(crate) scrubbed: ScrubStats,
    /// When the regime opened, in nanoseconds of the Unix epoch.
    pub(super) primary_since_ns: AtomicU64,
    /// Who leads group 0, as executor 0 knows it: the primary, or who is about to become it. 0: nobody.
    pub(super) primary: AtomicU64,
    /// The term of group 0.
    pub(super) term: AtomicU64,
    /// This member was removed from the cluster, for good.
    pub(super) removed: AtomicBool,
    /// Groups that have removed this member.
    pub(super) removed_from: AtomicUsize,
    /// In this process, something has been shown that a primary vouches for: the membership is not an old one.
    pub(super) informed: AtomicBool,
    /// Per executor: some of its groups still has a member that is removed from the cluster.
    pub(super) lingering: Vec<AtomicBool>,
    /// Executors with groups that do not know what they have promised.
    pub(super) forgetful: AtomicUsize,
    /// Per executor: its log has no room.
    pub(super) full: Vec<AtomicBool>,
    /// Per executor: its log's disk does not keep up with those of the other members.
    pub(super) slow: Vec<AtomicBool>,
    pub(super) held: HeldCell,
    /// Who the members of the groups are, for all executors. Looked at and changed once per round.
    pub(super) groups: Mutex<Groups>,
    /// What the other members' disks have held.
    pub(crate) remembered: Remembered,
    /// Who remembers that this member's disk has held more, and where they are found as far as they say so.
    pub(super) remembered_by: Mutex<BTreeMap<MemberId, Vec<String>>>,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Elections, replay of the log, publication of the own attributes.
    Starting = 0,
    /// Requests are served.
    Serving = 1,
    /// What was begun is finished, nothing new is taken.
    Stopping = 2,
}

/// Members, and where they are found.
pub(crate) type Strangers = BTreeMap<MemberId, Vec<Url>>;

/// The membership that this member was born with.
fn founding_system(birth: &Birth) -> System {
    let mut system = System::default();
    for founder in &birth.founders {
        let Founder { id, name, peer_urls } = founder.clone();
        // Two founders with one address were refused when the member was born.
        let _ = system.apply(&SystemCommand::AddMember { id, name, peer_urls });
    }
    system
}

impl Node {
    /// The shared part of a node with one mailbox per executor.
    ///
    /// `found`: what a start has found on the disk; `remembered`: what it knows of the others' disks.
    pub(crate) fn new(config: Config, birth: &Birth, found: &Found, remembered: Remembered) -> Self {
        let cores = config.cores.len();
        let clock = Clock::start();
        let request_memory =
            config.request_memory.unwrap_or_else(|| budget::request_memory(machine::memory_bytes()) as usize);
        Self {
            member: birth.member,
            // Another number after every start, also when two starts see the same clock.
            process: clock.started_ns() ^ u64::from(std::process::id()) << 48,
            cluster_id: format!("{:x}", birth.cluster),
            shards: birth.shards,
            order: Order::new(usize::from(birth.shards), cores, Index::ZERO),
            clock,
            mailboxes: (0..cores).map(|_| Mailbox::new()).collect(),
            spread: (0..cores).map(|_| AtomicBool::new(false)).collect(),
            tallies: (0..cores).map(|_| Tally::default()).collect(),
            held_by_requests: Tallies::new(cores),
            under_way: (0..cores).map(|_| CachePadded::default()).collect(),
            system: Mutex::new(Arc::new(System::default())),
            founders: Arc::new(founding_system(birth)),
            strangers: Mutex::default(),
            phase: AtomicU8::new(Phase::Starting as u8),
            drained: AtomicUsize::new(0),
            prepared: AtomicUsize::new(0),
            backups: backup::Backups::default(),
            scrubbed: ScrubStats::default(),
            primary_since_ns: AtomicU64::new(0),
            primary: AtomicU64::new(0),
            term: AtomicU64::new(0),
            removed: AtomicBool::new(false),
            removed_from: AtomicUsize::new(0),
            informed: AtomicBool::new(false),
            lingering: (0..cores).map(|_| AtomicBool::new(false)).collect(),
            full: (0..cores).map(|_| AtomicBool::new(false)).collect(),
            slow: (0..cores).map(|_| AtomicBool::new(false)).collect(),
            groups: Mutex::new(Groups::new(usize::from(birth.shards))),
            held: HeldCell::new(found.visible(), found.terms()),
            remembered,
            remembered_by: Mutex::default(),
            forgetful: AtomicUsize::new(if birth.promised_to.is_empty() { 0 } else { cores }),
            bodies: Bodies::new(request_memory),
            request_memory,
            config,
        }
    }

    /// Number of executors.
    pub(crate) fn cores(&self) -> usize {
        self.mailboxes.len()
    }

    /// The executor of a shard.
    pub(crate) fn core_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0) % self.cores()
    }

    /// Where a clean path lives.
    pub(crate) fn route(&self, path: &[u8]) -> Route {
        shard::route::route(path, self.shards)
    }

    /// Since when this node is the primary, in nanoseconds of the Unix epoch; meaningless while it is not.
    pub(crate) fn primary_since_ns(&self) -> u64 {
        self.primary_since_ns.load(Ordering::Relaxed)
    }

    /// The primary, as far as it is known here: who leads group 0.
    pub(crate) fn primary(&self) -> Option<MemberId> {
        Some(MemberId(self.primary.load(Ordering::Acquire))).filter(|primary| primary.0 != 0)
    }

    /// The term of group 0, which is that of the regime.
    pub(crate) fn term(&self) -> Term {
        Term(self.term.load(Ordering::Acquire))
    }

    /// Some group does not know what it has promised, because this member has lost its data.
    pub(crate) fn is_forgetful(&self) -> bool {
        self.forgetful.load(Ordering::Acquire) > 0
    }

    /// Another member remembers that this one's disk has held more.
    pub(crate) fn is_outdated(&self) -> bool {
        !self.remembering().is_empty()
    }

    /// One of them says so, and where it is found; if it is known.
    pub(crate) fn found_outdated(&self, by: MemberId, urls: Vec<String>) {
        self.remembering().insert(by, urls);
    }

    fn remembering(&self) -> MutexGuard<'_, BTreeMap<MemberId, Vec<String>>> {
        // A panicking holder ends the process, so the lock is never poisoned.
        self.remembered_by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other members that have ever been heard of here, and where they are found.
    pub(crate) fn known_urls(&self) -> BTreeMap<MemberId, Vec<String>> {
        let mut known: BTreeMap<MemberId, Vec<String>> =
            self.system().members().iter().map(|(id, member)| (*id, member.peer_urls.clone())).collect();
        for (id, urls) in self.strangers().iter() {
            known.insert(*id, urls.iter().map(|url| url.as_str().to_owned()).collect());
        }
        let by = self.remembering();
        known.extend(by.iter().filter(|(_, urls)| !urls.is_empty()).map(|(id, urls)| (*id, urls.clone())));
        known.remove(&MemberId(self.member));
        known
    }

    /// This member was removed from the cluster.
    pub(crate) fn leave(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// The membership that this node shows is not one from before its start.
    pub(crate) fn is_informed(&self) -> bool {
        self.informed.load(Ordering::Acquire)
    }

    /// Some group still has a member that is removed from the cluster: it needs that one to agree to its own removal.
    pub(crate) fn has_lingering(&self) -> bool {
        self.lingering.iter().any(|lingering| lingering.load(Ordering::Acquire))
    }

    /// Some more groups have removed this member. When all have, it is of no use any more.
    pub(super) fn removed_from(&self, groups: usize) {
        if self.removed_from.fetch_add(groups, Ordering::AcqRel) + groups >= usize::from(self.shards) {
            self.leave();
        }
    }

    /// Whether it was.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// An executor's own connections are done; it goes on for those of the others.
    pub(crate) fn report_drained(&self) {
        self.drained.fetch_add(1, Ordering::AcqRel);
    }

    /// No executor needs another any more.
    pub(crate) fn all_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire) >= self.cores()
    }

    /// An executor has done what comes before clients are served.
    pub(crate) fn report_prepared(&self) {
        self.prepared.fetch_add(1, Ordering::AcqRel);
    }

    /// All of them have.
    pub(crate) fn all_prepared(&self) -> bool {
        self.prepared.load(Ordering::Acquire) >= self.cores()
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Stopping,
        }
    }

    /// Enters a later phase and tells every executor.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        for mailbox in &self.mailboxes {
            mailbox.wake();
        }
    }

    /// Members and versions as of the last change applied.
    pub(crate) fn system(&self) -> Arc<System> {
        // A panicking holder ends the process, so the lock is never poisoned.
        self.system.lock().map_or_else(|poisoned| Arc::clone(&poisoned.into_inner()), |system| Arc::clone(&system))
    }

    /// The members that this one was born with.
    pub(crate) fn founders(&self) -> &BTreeMap<MemberId, Member> {
        self.founders.members()
    }

    /// The membership that others are told: the founding one, as long as the log says nothing.
    pub(crate) fn presumed_system(&self) -> Arc<System> {
        let system = self.system();
        if system.members().is_empty() { Arc::clone(&self.founders) } else { system }
    }

    /// Who came while this member was away; nobody, once it has heard of it from its log.
    pub(crate) fn strangers(&self) -> Arc<Strangers> {
        if self.is_informed() {
            return Arc::default();
        }
        self.strangers.lock().map_or_else(|poisoned| Arc::clone(&poisoned.into_inner()), |known| Arc::clone(&known))
    }

    /// Somebody whose stream was accepted says where it is found.
    pub(crate) fn meet(&self, stranger: MemberId, urls: Vec<Url>) {
        if self.is_informed() || urls.is_empty() {
            return;
        }
        // Looked at and changed under one lock: others may be met by other executors at the same moment.
        if let Ok(mut known) = self.strangers.lock()
            && known.get(&stranger) != Some(&urls)
        {
            Arc::make_mut(&mut known).insert(stranger, urls);
        }
    }

    pub(super) fn set_system(&self, system: System) {
        if let Ok(mut current) = self.system.lock() {
            if system.removed().len() > current.removed().len() {
                // Until the groups have been looked at: nobody may turn the member away before they have let it go.
                self.lingering.iter().for_each(|lingering| lingering.store(true, Ordering::Release));
            }
            *current = Arc::new(system);
        }
    }
}
