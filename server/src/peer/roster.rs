//! Who the peers are: those that shard 0 knows, and before it knows any those whom this member was born with.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use net::peer::{Frame, Refusal, Standing};
use shard::ids::MemberId;
use shard::system::System;

use super::{Ears, Links, Origin};
use crate::birth::Founder;
use crate::config::Url;
use crate::core::{Core, Node};

/// How often the membership is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The membership as the links need it.
pub(crate) struct Roster {
    node: Arc<Node>,
    core: Weak<Core>,
    founders: Vec<Founder>,
    /// What the links were last set by, and whether some group still had a member that is removed.
    seen: RefCell<Option<(Arc<System>, bool)>>,
    /// Where members are, or were: a group needs one that is removed to agree to its own removal.
    known: RefCell<BTreeMap<MemberId, Vec<Url>>>,
}

impl Roster {
    pub(crate) fn new(core: &Rc<Core>, founders: Vec<Founder>) -> Rc<Self> {
        let (node, core) = (Arc::clone(&core.node), Rc::downgrade(core));
        Rc::new(Self { node, core, founders, seen: RefCell::default(), known: RefCell::default() })
    }

    /// Sets the links by the membership whenever it has changed. Spawn it once; it never ends.
    pub(crate) async fn keep(self: Rc<Self>, links: Rc<Links>) {
        loop {
            self.refresh(&links);
            glommio::timer::sleep(LOOK).await;
        }
    }

    fn refresh(&self, links: &Links) {
        let (system, lingering) = (self.node.system(), self.node.has_lingering());
        if self.seen.borrow().as_ref().is_some_and(|(seen, was)| Arc::ptr_eq(seen, &system) && *was == lingering) {
            return;
        }
        let mut peers: BTreeMap<MemberId, Vec<Url>> = self.peers(&system).into_iter().collect();
        let mut known = self.known.borrow_mut();
        if lingering {
            let gone = known.iter().filter(|(member, _)| system.removed().contains(member));
            peers.extend(gone.map(|(member, urls)| (*member, urls.clone())));
        }
        known.extend(peers.iter().map(|(member, urls)| (*member, urls.clone())));
        drop(known);
        links.set_peers(peers);
        self.seen.replace(Some((system, lingering)));
    }

    fn peers(&self, system: &System) -> Vec<(MemberId, Vec<Url>)> {
        let founders = self.founders.iter().map(|founder| (MemberId(founder.id), &founder.peer_urls));
        let members = system.members().iter().map(|(id, member)| (*id, &member.peer_urls));
        let all: Vec<_> = if system.members().is_empty() { founders.collect() } else { members.collect() };
        let others = all.into_iter().filter(|(id, _)| id.0 != self.node.member);
        others.map(|(id, urls)| (id, urls.iter().filter_map(|url| Url::parse(url).ok()).collect())).collect()
    }
}

impl Ears for Roster {
    fn standing(&self, member: MemberId) -> Standing {
        let system = self.node.system();
        let is_founder = || self.founders.iter().any(|founder| founder.id == member.0);
        if system.removed().contains(&member) && self.node.has_lingering() {
            Standing::Member
        } else if system.removed().contains(&member) {
            Standing::Removed
        } else if system.members().contains_key(&member) || system.members().is_empty() && is_founder() {
            Standing::Member
        } else if !self.node.is_informed() {
            // It may have come while this one was away. Its groups decide; the handshake has compared the clusters.
            Standing::Member
        } else {
            Standing::Unknown
        }
    }

    fn receive(&self, from: Origin, frame: Frame) {
        if let Some(core) = self.core.upgrade() {
            core.receive(from.member, frame);
        }
    }

    fn link(&self, to: MemberId, up: bool) {
        if let Some(core) = self.core.upgrade() {
            core.link_changed(to, up);
        }
    }

    fn refused(&self, _by: MemberId, refusal: Refusal) {
        if refusal == Refusal::RemovedMember {
            self.node.leave();
        }
    }
}
