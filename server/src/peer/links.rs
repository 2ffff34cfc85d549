//! All streams of one executor.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use net::peer::{FRAME_BYTES_MAX, Frame, Held, Hello, Identity, PROTOCOL, RaftBatch, RaftMessage};
use shard::ids::MemberId;

use super::inbound::Inbound;
use super::link::Link;
use super::quiet::Quiet;
use super::{Ears, FORMAT, Origin, Unsent, dial};
use crate::config::Url;

/// How often links look at their time limits.
const SWEEP: Duration = Duration::from_millis(100);
/// Sweeps between two looks at whether those who talk to us still may.
const STANDING_SWEEPS: u32 = 10;
/// Bytes of messages that are put into one frame, unless one message alone is longer.
const BATCH_BYTES: usize = 1 << 20;
const _: () = assert!(BATCH_BYTES <= FRAME_BYTES_MAX);
/// Messages that are put into one frame.
const BATCH_MESSAGES: usize = 1024;

/// Who this executor is to its peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Local {
    pub(super) identity: Identity,
    pub(super) executor: u16,
}

impl Local {
    /// `process` is drawn at the start of the process, the same for all its executors, of which this is number `me`.
    pub(crate) fn new(cluster: u64, member: u64, process: u64, shards: u16, me: usize, executors: usize) -> Self {
        let identity = Identity { cluster, member, process, format: FORMAT, shards, executors: executors as u16 };
        Self { identity, executor: me as u16 }
    }

    pub(super) fn hello(&self, to: MemberId, held: Held) -> Hello {
        Hello { protocol: PROTOCOL, identity: self.identity, to: to.0, executor: self.executor, held }
    }
}

/// What the tasks of all streams share.
pub(super) struct Shared {
    pub(super) local: Local,
    /// Where this member is found.
    pub(super) urls: Vec<String>,
    pub(super) ears: Rc<dyn Ears>,
    /// By who it is about, and what it is.
    said: Quiet<(u64, u16)>,
    /// Who talks to this executor: the newest stream of each executor of a peer.
    pub(super) incoming: RefCell<HashMap<(MemberId, u16), Rc<Inbound>>>,
}

/// The streams of one executor to all other members, and from those that reached this executor.
pub(crate) struct Links {
    pub(super) shared: Rc<Shared>,
    outgoing: RefCell<BTreeMap<MemberId, Rc<Link>>>,
    seed: u64,
}

impl Links {
    /// No links yet. `urls` are this member's own; `seed` spreads the pauses between attempts to dial.
    pub(crate) fn new(local: Local, urls: Vec<String>, ears: Rc<dyn Ears>, seed: u64) -> Rc<Self> {
        let shared = Shared { local, urls, ears, said: Quiet::new(), incoming: RefCell::default() };
        Rc::new(Self { shared: Rc::new(shared), outgoing: RefCell::default(), seed })
    }

    /// Keeps the time limits of all streams. Spawn it once; it never ends.
    pub(crate) async fn keep_time(self: Rc<Self>) {
        let mut sweeps = 0_u32;
        loop {
            glommio::timer::sleep(SWEEP).await;
            sweeps = sweeps.wrapping_add(1);
            for link in self.outgoing.borrow().values() {
                link.sweep();
            }
            let incoming: Vec<Rc<Inbound>> = self.shared.incoming.borrow().values().map(Rc::clone).collect();
            for stream in incoming {
                stream.sweep();
                if sweeps.is_multiple_of(STANDING_SWEEPS) {
                    stream.check_standing(&*self.shared.ears);
                }
            }
        }
    }

    /// Has links to exactly these members, and dials them at these URLs. A member that has moved is dialled anew.
    pub(crate) fn set_peers(&self, peers: impl IntoIterator<Item = (MemberId, Vec<Url>)>) {
        let mut before = self.outgoing.take();
        let mut after = BTreeMap::new();
        let mut new = Vec::new();
        for (member, urls) in peers {
            assert!(member.0 != self.shared.local.identity.member, "a member does not dial itself");
            if urls.is_empty() {
                continue;
            }
            let link = before.remove(&member).unwrap_or_else(|| {
                let link = Rc::new(Link::new(member, urls.clone()));
                new.push(Rc::clone(&link));
                link
            });
            link.move_to(urls);
            after.insert(member, link);
        }
        self.outgoing.replace(after);
        for link in before.values() {
            link.close();
        }
        // glommio polls a task while it is spawned: nothing may be borrowed here.
        for link in new {
            let seed = self.seed ^ link.to.0 ^ u64::from(self.shared.local.executor) << 32;
            glommio::spawn_local(dial::keep(Rc::clone(&self.shared), link, seed)).detach();
        }
    }

    /// Sends a frame after this turn.
    pub(crate) fn send(&self, to: MemberId, frame: &Frame) -> Result<(), Unsent> {
        self.outgoing.borrow().get(&to).map_or(Err(Unsent::Down), |link| link.send(frame))
    }

    /// Sends raft's messages, of any groups, in as few frames as their size allows; takes them all out of `messages`. What
    /// follows a message that was refused is dropped with it: raft sends again.
    pub(crate) fn send_raft(&self, to: MemberId, messages: &mut Vec<RaftMessage>) -> Result<(), Unsent> {
        let mut waiting = std::mem::take(messages).into_iter().peekable();
        while let Some(first) = waiting.next() {
            let mut bytes = first.size_bytes();
            let mut batch = vec![first];
            while let Some(next) =
                waiting.next_if(|next| batch.len() < BATCH_MESSAGES && bytes + next.size_bytes() <= BATCH_BYTES)
            {
                bytes += next.size_bytes();
                batch.push(next);
            }
            self.send(to, &RaftBatch { messages: batch }.into())?;
        }
        Ok(())
    }

    /// Bytes that wait for the member for whom most wait.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.outgoing.borrow().values().map(|link| link.waiting_bytes()).max().unwrap_or(0)
    }

    /// Bytes that wait for this member.
    pub(crate) fn waiting_bytes_for(&self, to: MemberId) -> usize {
        self.outgoing.borrow().get(&to).map_or(0, |link| link.waiting_bytes())
    }

    /// Since when there is a stream to a member; none: there is none now.
    pub(crate) fn up_since(&self, to: MemberId) -> Option<Instant> {
        self.outgoing.borrow().get(&to).and_then(|link| link.up_since())
    }

    /// Closes everything, in both directions.
    pub(crate) fn close(&self) {
        for link in self.outgoing.take().values() {
            link.close();
        }
        for stream in self.shared.incoming.take().values() {
            stream.close();
        }
    }
}

impl Shared {
    /// What this executor says of itself.
    pub(super) fn hello(&self, to: MemberId) -> Hello {
        self.local.hello(to, self.ears.held())
    }

    /// Logs what is wrong with a member, once in a while.
    pub(super) fn say(&self, member: u64, what: u16, text: impl FnOnce() -> String) {
        if self.said.may_say((member, what), Instant::now()) {
            tracing::error!(target: "rafthttp", "{}", text());
        }
    }

    /// The stream to a member is open.
    pub(super) fn opened(&self, link: &Link) {
        self.said.forget(|(member, _)| *member == link.to.0);
        if self.local.executor == 0 {
            tracing::info!(target: "rafthttp", "the connection with {:x} became active", link.to);
        }
        self.ears.link(link.to, true);
    }

    /// The stream to a member is gone.
    pub(super) fn lost(&self, link: &Link, why: &str) {
        if self.local.executor == 0 {
            tracing::info!(target: "rafthttp", "the connection with {:x} became inactive: {why}", link.to);
        }
        self.ears.link(link.to, false);
    }

    /// Takes the place of an older stream of the same sender, which is closed.
    pub(super) fn enter(&self, from: Origin, stream: &Rc<Inbound>) {
        let older = self.incoming.borrow_mut().insert((from.member, from.executor), Rc::clone(stream));
        if let Some(older) = older {
            older.close();
        }
    }

    /// Gives the place back, if no newer stream has taken it.
    pub(super) fn leave(&self, from: Origin, stream: &Rc<Inbound>) {
        let mut incoming = self.incoming.borrow_mut();
        if incoming.get(&(from.member, from.executor)).is_some_and(|current| Rc::ptr_eq(current, stream)) {
            incoming.remove(&(from.member, from.executor));
        }
    }
}
