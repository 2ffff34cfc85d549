//! How a member gets its place in the cluster: it looks whether there is one, registers, and waits for the others.
//!
//! Source: etcd 2.3, request by request. Not etcd's: only a registration that is new counts as one while waiting, whatever
//! else happens has the registry read again; and a member that was ended while it waited may go on.

use std::time::Duration;

use thiserror::Error;

use super::registry::{Event, Node, Registry, Trouble};
use crate::config::Exit;
use crate::logging::{LogLine, Severity};

/// etcd's code for a key that is there although it must not be.
const NODE_EXISTS: u64 = 105;
/// etcd's code for an index whose events are forgotten.
const INDEX_CLEARED: u64 = 401;
/// The longest pause before an attempt: 2^8 s, as in etcd 3.4.
const DOUBLINGS_MAX: u32 = 8;

/// Why a member did not get a place. The texts are etcd's, but for those of `Removed` and `Local`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Fault {
    #[error("discovery: cluster is full")]
    Full,
    #[error("discovery: found duplicate id")]
    DuplicateId,
    #[error("discovery: found duplicate name")]
    DuplicateName,
    /// The cluster.
    #[error("discovery cluster {0} has duplicate url")]
    DuplicateUrl(String),
    #[error("discovery: size key is bad")]
    BadSize,
    #[error("discovery: invalid URL")]
    InvalidUrl,
    #[error("discovery: bad discovery endpoint")]
    BadEndpoint,
    #[error("discovery: the registration of this member was removed")]
    Removed,
    /// The service has answered, and does not have what was asked for.
    #[error("{0}")]
    Refused(String),
    /// No answer came, or none that means anything: what was asked for may have been done all the same.
    #[error("{0}")]
    Unanswered(String),
    /// Not the registry's: this machine's.
    #[error("the registration could not be noted")]
    Local(Exit),
}

impl Fault {
    /// Whether a registration may stand, and another start of this member may wait on. `came_before`: an earlier start has noted
    /// one; what was found under its id then, and is not this start's, is that start's.
    pub(super) fn leaves_a_place(&self, came_before: bool) -> bool {
        match self {
            Self::DuplicateId => came_before,
            Self::BadEndpoint | Self::Unanswered(_) | Self::Local(_) => true,
            Self::Full
            | Self::DuplicateName
            | Self::DuplicateUrl(_)
            | Self::BadSize
            | Self::InvalidUrl
            | Self::Removed
            | Self::Refused(_) => false,
        }
    }
}

/// The member that wants a place.
pub(super) struct Candidate<'a> {
    /// Its id.
    pub(super) id: &'a str,
    /// `name=url[,name=url...]`.
    pub(super) value: &'a str,
    /// A start before this one has registered it, and has founded nothing.
    pub(super) came_before: bool,
    /// Called right before it registers, so that a later start knows that it came before.
    pub(super) note: &'a dyn Fn() -> Result<(), Exit>,
}

/// One visit to the registry of a cluster.
pub(super) struct Visit<'a> {
    pub(super) registry: Registry<'a>,
    /// Lets time pass.
    pub(super) pause: &'a dyn Fn(Duration),
    /// Logs a line at once: the next may be minutes away.
    pub(super) say: &'a dyn Fn(&LogLine),
    /// Attempts that met nobody. They are never forgotten, as in etcd.
    pub(super) failures: u32,
}

/// The registry at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    size: usize,
    /// In the order in which they registered.
    nodes: Vec<Node>,
    index: u64,
}

impl Standing {
    /// Those who have a place.
    fn placed(&self) -> &[Node] {
        &self.nodes[..self.size.min(self.nodes.len())]
    }

    fn is_full(&self) -> bool {
        self.nodes.len() >= self.size
    }

    fn place_of(&self, id: &str) -> Option<&Node> {
        self.placed().iter().find(|node| node.id() == id)
    }
}

impl Visit<'_> {
    /// Registers and waits until all are there: what they have registered, in that order.
    pub(super) fn join(&mut self, candidate: &Candidate<'_>) -> Result<Vec<String>, Fault> {
        let standing = self.look()?;
        match standing.place_of(candidate.id) {
            None if standing.is_full() => return Err(Fault::Full),
            None => self.register(candidate)?,
            Some(node) if candidate.came_before && node.value == candidate.value => {
                self.notice("a start of this member has registered it before and was ended: waiting on".to_owned());
            }
            Some(_) => return Err(Fault::DuplicateId),
        }
        let standing = self.look()?;
        self.wait(standing, Some(candidate.id))
    }

    /// Waits until all are there, without being one of them.
    pub(super) fn watch(&mut self) -> Result<Vec<String>, Fault> {
        let standing = self.look()?;
        self.wait(standing, None)
    }

    fn register(&self, candidate: &Candidate<'_>) -> Result<(), Fault> {
        (candidate.note)().map_err(Fault::Local)?;
        let created = self.registry.register(candidate.id, candidate.value).map_err(|trouble| match trouble {
            Trouble::Refused { code: NODE_EXISTS, .. } => Fault::DuplicateId,
            trouble => final_fault(trouble),
        })?;
        // The next requests must reach a server that knows.
        self.registry.next(candidate.id, created).map_err(final_fault)?;
        Ok(())
    }

    fn wait(&mut self, mut standing: Standing, own: Option<&str>) -> Result<Vec<String>, Fault> {
        loop {
            if own.is_some_and(|id| standing.place_of(id).is_none()) {
                return Err(if standing.is_full() { Fault::Full } else { Fault::Removed });
            }
            for node in standing.placed() {
                let who = if own == Some(node.id()) { "self" } else { "peer" };
                self.notice(format!("found {who} {} in the cluster", node.id()));
            }
            match self.wait_from(&standing)? {
                Some(all) => return Ok(all),
                None => standing = self.look()?,
            }
        }
    }

    /// Waits as long as all that happens is that others register; `None`: look again.
    fn wait_from(&mut self, standing: &Standing) -> Result<Option<Vec<String>>, Fault> {
        let mut all = standing.placed().to_vec();
        let mut index = standing.index + 1;
        while all.len() < standing.size {
            self.notice(format!("found {} peer(s), waiting for {} more", all.len(), standing.size - all.len()));
            let event = loop {
                match self.registry.next("", index) {
                    Err(Trouble::TimedOut) => {}
                    answered => break answered,
                }
            };
            match event {
                Ok(event) if self.registers(&event, &all) => {
                    self.notice(format!("found peer {} in the cluster", event.node.id()));
                    index = event.node.modified_index + 1;
                    all.push(event.node);
                }
                Ok(_) | Err(Trouble::Refused { code: INDEX_CLEARED, .. }) => return Ok(None),
                Err(Trouble::Unavailable(detail)) => {
                    self.back_off("waiting for other nodes", &detail);
                    return Ok(None);
                }
                Err(trouble) => return Err(final_fault(trouble)),
            }
        }
        self.notice(format!("found {} needed peer(s)", all.len()));
        Ok(Some(all.into_iter().map(|node| node.value).collect()))
    }

    /// Whether someone not yet known has come.
    fn registers(&self, event: &Event, known: &[Node]) -> bool {
        let id = event.node.id();
        let is_new = ["create", "set"].contains(&event.action.as_str()) && known.iter().all(|node| node.id() != id);
        is_new && self.registry.is_member(&event.node)
    }

    fn look(&mut self) -> Result<Standing, Fault> {
        loop {
            match self.look_once()? {
                Ok(standing) => return Ok(standing),
                Err(detail) => self.back_off("cluster status check", &detail),
            }
        }
    }

    /// The inner error: nobody is there.
    fn look_once(&self) -> Result<Result<Standing, String>, Fault> {
        let size = match self.registry.size() {
            Ok(size) => size,
            Err(Trouble::NotEtcd) => return Err(Fault::BadEndpoint),
            Err(Trouble::Unavailable(detail)) => return Ok(Err(detail)),
            Err(trouble) => return Err(final_fault(trouble)),
        };
        let size = size.parse().ok().filter(|size| *size > 0).ok_or(Fault::BadSize)?;
        let (mut nodes, index) = match self.registry.members() {
            Ok(members) => members,
            Err(Trouble::Unavailable(detail)) => return Ok(Err(detail)),
            Err(trouble) => return Err(final_fault(trouble)),
        };
        nodes.sort_by_key(|node| node.created_index);
        Ok(Ok(Standing { size, nodes, index }))
    }

    fn back_off(&mut self, step: &str, detail: &str) {
        self.failures += 1;
        let pause = 1_u64 << self.failures.min(DOUBLINGS_MAX);
        let service = self.registry.token.service();
        (self.say)(&LogLine::new(Severity::Error, "discovery", format!("error #0: {detail}")));
        let text = format!("{step}: error connecting to {service}, retrying in {}", in_go(pause));
        (self.say)(&LogLine::new(Severity::Info, "discovery", text));
        (self.pause)(Duration::from_secs(pause));
    }

    fn notice(&self, text: String) {
        (self.say)(&LogLine::new(Severity::Notice, "discovery", text));
    }
}

/// What is not tried again.
fn final_fault(trouble: Trouble) -> Fault {
    Fault::Unanswered(match trouble {
        Trouble::TimedOut => "context deadline exceeded".to_owned(),
        Trouble::Unavailable(detail) => {
            format!("client: etcd cluster is unavailable or misconfigured; error #0: {detail}")
        }
        Trouble::NotEtcd => {
            "client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint.".to_owned()
        }
        Trouble::Refused { text, .. } => return Fault::Refused(text),
    })
}

/// Seconds as Go shows a duration.
fn in_go(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests;
