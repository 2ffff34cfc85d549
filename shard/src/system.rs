//! What the cluster knows of itself: members, those gone for good, the common version. Kept by shard 0.

use crate::command::SystemCommand;
use crate::ids::MemberId;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name; empty until it has started.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
}

/// Why a change of the membership was refused. The texts are etcd 2.3's, for the members API.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MemberRefusal {
    /// 409.
    #[error("etcdserver: ID exists")]
    IdExists,
    /// 409.
    #[error("etcdserver: peerURL exists")]
    PeerUrlExists,
    /// 404.
    #[error("No such member: {0:x}")]
    NotFound(MemberId),
    /// 410. Ids are never used again.
    #[error("Member permanently removed: {0:x}")]
    Removed(MemberId),
}

/// The state. Invariant: no id is both a member and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    members: BTreeMap<MemberId, Member>,
    removed: BTreeSet<MemberId>,
    version: Option<String>,
}

impl System {
    /// State as a snapshot has it; none if an id is both a member and removed.
    pub fn from_parts(
        members: BTreeMap<MemberId, Member>,
        removed: BTreeSet<MemberId>,
        version: Option<String>,
    ) -> Option<Self> {
        members.keys().all(|id| !removed.contains(id)).then_some(Self { members, removed, version })
    }

    /// The members by numeric id.
    pub fn members(&self) -> &BTreeMap<MemberId, Member> {
        &self.members
    }

    /// Ids that will never be used again.
    pub fn removed(&self) -> &BTreeSet<MemberId> {
        &self.removed
    }

    /// The version that all members speak; none until it has been decided.
    pub fn cluster_version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// What [`System::apply`] would refuse right now.
    pub fn check(&self, command: &SystemCommand) -> Result<(), MemberRefusal> {
        match command {
            SystemCommand::AddMember { id, peer_urls, .. } => self.check_add(MemberId(*id), peer_urls),
            SystemCommand::UpdateMember { id, peer_urls } => {
                self.check_member(MemberId(*id)).and_then(|()| self.check_urls(MemberId(*id), peer_urls))
            }
            SystemCommand::RemoveMember { id } | SystemCommand::PublishAttributes { id, .. } => {
                self.check_member(MemberId(*id))
            }
            SystemCommand::SetClusterVersion(_) => Ok(()),
        }
    }

    /// Makes the change, or refuses it and changes nothing.
    pub fn apply(&mut self, command: &SystemCommand) -> Result<(), MemberRefusal> {
        self.check(command)?;
        match command.clone() {
            SystemCommand::AddMember { id, name, peer_urls } => {
                self.members.insert(MemberId(id), Member { name, peer_urls, client_urls: Vec::new() });
            }
            SystemCommand::UpdateMember { id, peer_urls } => {
                self.members.entry(MemberId(id)).and_modify(|member| member.peer_urls = peer_urls);
            }
            SystemCommand::RemoveMember { id } => {
                self.members.remove(&MemberId(id));
                self.removed.insert(MemberId(id));
            }
            SystemCommand::PublishAttributes { id, name, client_urls } => {
                self.members.entry(MemberId(id)).and_modify(|member| {
                    member.name = name;
                    member.client_urls = client_urls;
                });
            }
            SystemCommand::SetClusterVersion(version) => self.version = Some(version),
        }
        Ok(())
    }

    /// Leaves `me` as the only member; all others, and `others`, are gone for good. `member`: what is said of it if it is not
    /// known.
    pub(crate) fn keep_only(&mut self, me: MemberId, member: Member, others: &[MemberId]) {
        let member = self.members.remove(&me).unwrap_or(member);
        self.removed.extend(std::mem::take(&mut self.members).into_keys());
        self.removed.extend(others);
        self.removed.remove(&me);
        self.members.insert(me, member);
    }

    fn check_add(&self, id: MemberId, peer_urls: &[String]) -> Result<(), MemberRefusal> {
        if self.removed.contains(&id) {
            return Err(MemberRefusal::Removed(id));
        }
        if self.members.contains_key(&id) {
            return Err(MemberRefusal::IdExists);
        }
        self.check_urls(id, peer_urls)
    }

    fn check_member(&self, id: MemberId) -> Result<(), MemberRefusal> {
        if self.removed.contains(&id) {
            return Err(MemberRefusal::Removed(id));
        }
        if self.members.contains_key(&id) { Ok(()) } else { Err(MemberRefusal::NotFound(id)) }
    }

    fn check_urls(&self, id: MemberId, peer_urls: &[String]) -> Result<(), MemberRefusal> {
        let mut others = self.members.iter().filter(|(other, _)| **other != id);
        if others.any(|(_, member)| member.peer_urls.iter().any(|url| peer_urls.contains(url))) {
            return Err(MemberRefusal::PeerUrlExists);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(id: u64, url: &str) -> SystemCommand {
        SystemCommand::AddMember { id, name: String::new(), peer_urls: vec![url.into()] }
    }

    #[test]
    fn refusals_row_by_row() {
        let mut system = System::default();
        let rows = [
            ("first", add(1, "http://a"), Ok(())),
            ("same id", add(1, "http://b"), Err(MemberRefusal::IdExists)),
            ("same url", add(2, "http://a"), Err(MemberRefusal::PeerUrlExists)),
            ("second", add(2, "http://b"), Ok(())),
            (
                "moving onto another",
                SystemCommand::UpdateMember { id: 2, peer_urls: vec!["http://a".into()] },
                Err(MemberRefusal::PeerUrlExists),
            ),
            ("staying", SystemCommand::UpdateMember { id: 2, peer_urls: vec!["http://b".into()] }, Ok(())),
            ("unknown", SystemCommand::RemoveMember { id: 9 }, Err(MemberRefusal::NotFound(MemberId(9)))),
            ("leaving", SystemCommand::RemoveMember { id: 2 }, Ok(())),
            ("gone", SystemCommand::RemoveMember { id: 2 }, Err(MemberRefusal::Removed(MemberId(2)))),
            ("coming back", add(2, "http://c"), Err(MemberRefusal::Removed(MemberId(2)))),
        ];
        for (name, command, want) in rows {
            assert_eq!(system.apply(&command), want, "{name}");
        }
        assert_eq!(system.members().len(), 1);
    }

    #[test]
    fn the_last_one_left_is_the_only_member_and_the_others_never_return() {
        let mut system = System::default();
        for (id, url) in [(1, "http://a"), (2, "http://b"), (3, "http://c")] {
            system.apply(&add(id, url)).expect("added");
        }
        system.apply(&SystemCommand::RemoveMember { id: 3 }).expect("removed");
        let gone = |system: &System| system.removed().iter().map(|id| id.0).collect::<Vec<_>>();
        system.keep_only(MemberId(1), Member::default(), &[MemberId(1), MemberId(4)]);
        assert_eq!(system.members().keys().collect::<Vec<_>>(), [&MemberId(1)]);
        assert_eq!(system.members()[&MemberId(1)].peer_urls, ["http://a"]);
        assert_eq!(gone(&system), [2, 3, 4]);
        let other = Member { name: "n".into(), ..Member::default() };
        system.keep_only(MemberId(9), other.clone(), &[]);
        assert_eq!((system.members().get(&MemberId(9)), gone(&system)), (Some(&other), vec![1, 2, 3, 4]));
    }

    #[test]
    fn a_started_member_has_a_name_and_urls() {
        let mut system = System::default();
        system.apply(&add(1, "http://a")).expect("added");
        let publish =
            SystemCommand::PublishAttributes { id: 1, name: "n".into(), client_urls: vec!["http://c".into()] };
        system.apply(&publish).expect("published");
        system.apply(&SystemCommand::SetClusterVersion("2.3.0".into())).expect("set");
        let member = &system.members()[&MemberId(1)];
        assert_eq!((member.name.as_str(), member.client_urls.as_slice()), ("n", ["http://c".to_string()].as_slice()));
        assert_eq!(system.cluster_version(), Some("2.3.0"));
    }
}
