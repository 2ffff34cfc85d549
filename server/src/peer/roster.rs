//! Who the peers are: those that shard 0 knows, and before it knows any those whom this member was born with.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use net::peer::{Frame, Held, Hello, Refusal, Standing};
use shard::ids::MemberId;
use shard::system::System;

use super::{Ears, Links, Origin};
use crate::config::Url;
use crate::core::{Core, Node, Strangers};

/// How often the membership is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The membership as the links need it.
pub(crate) struct Roster {
    node: Arc<Node>,
    core: Weak<Core>,
    /// What the links were last set by.
    seen: RefCell<Option<Seen>>,
    /// Where members are, or were: a group needs one that is removed to agree to its own removal.
    known: RefCell<BTreeMap<MemberId, Vec<Url>>>,
}

/// What decides whom the links go to.
struct Seen {
    system: Arc<System>,
    /// Some group still has a member that is removed.
    lingering: bool,
    strangers: Arc<Strangers>,
}

impl Seen {
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.system, &other.system)
            && self.lingering == other.lingering
            && self.strangers == other.strangers
    }
}

impl Roster {
    pub(crate) fn new(core: &Rc<Core>) -> Rc<Self> {
        let (node, core) = (Arc::clone(&core.node), Rc::downgrade(core));
        Rc::new(Self { node, core, seen: RefCell::default(), known: RefCell::default() })
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
        let now = Seen { system: Arc::clone(&system), lingering, strangers: self.node.strangers() };
        if self.seen.borrow().as_ref().is_some_and(|seen| seen.is(&now)) {
            return;
        }
        let mut peers = self.peers(&now);
        let mut known = self.known.borrow_mut();
        if lingering {
            let gone = known.iter().filter(|(member, _)| system.removed().contains(member));
            peers.extend(gone.map(|(member, urls)| (*member, urls.clone())));
        }
        known.extend(peers.iter().map(|(member, urls)| (*member, urls.clone())));
        drop(known);
        links.set_peers(peers);
        self.seen.replace(Some(now));
    }

    /// The other members, as far as they are known. Founders are members before the log says so: it says it one by one.
    fn peers(&self, now: &Seen) -> BTreeMap<MemberId, Vec<Url>> {
        let parse = |urls: &[String]| urls.iter().filter_map(|url| Url::parse(url).ok()).collect();
        let mut peers = now.strangers.as_ref().clone();
        for members in [self.node.founders(), now.system.members()] {
            peers.extend(members.iter().map(|(id, member)| (*id, parse(&member.peer_urls))));
        }
        peers.retain(|id, _| id.0 != self.node.member && !now.system.removed().contains(id));
        peers
    }
}

impl Ears for Roster {
    fn standing(&self, member: MemberId) -> Standing {
        let system = self.node.system();
        if system.removed().contains(&member) && self.node.has_lingering() {
            Standing::Member
        } else if system.removed().contains(&member) {
            Standing::Removed
        } else if system.members().contains_key(&member) || self.node.founders().contains_key(&member) {
            Standing::Member
        } else if !self.node.is_informed() {
            // It may have come while this one was away. Its groups decide; the handshake has compared the clusters.
            Standing::Member
        } else {
            Standing::Unknown
        }
    }

    fn is_outdated(&self, hello: &Hello) -> bool {
        self.node.remembered.is_outdated(hello)
    }

    fn held(&self) -> Held {
        self.node.held()
    }

    fn receive(&self, from: Origin, frame: Frame) {
        match frame {
            Frame::Address(address) => {
                let urls = address.urls.iter().filter_map(|url| Url::parse(url).ok()).collect();
                self.node.meet(from.member, urls);
            }
            Frame::Outdated(outdated) => self.node.found_outdated(from.member, outdated.urls),
            Frame::Held(held) => self.node.remembered.note(from.member, from.process, held),
            frame => {
                if let Some(core) = self.core.upgrade() {
                    core.receive(from.member, frame);
                }
            }
        }
    }

    fn link(&self, to: MemberId, up: bool) {
        if let Some(core) = self.core.upgrade() {
            core.link_changed(to, up);
        }
    }

    fn refused(&self, by: MemberId, refusal: Refusal) {
        match refusal {
            Refusal::RemovedMember => self.node.leave(),
            Refusal::Outdated => self.node.found_outdated(by, Vec::new()),
            _ => {}
        }
    }
}
