//! Who this member is: decided when its data directory is made, and read back at every later start.

use log::{DataDir, LogIdentity};
use serde::{Deserialize, Serialize};
use shard::group::{LOG_NOTHING, LOG_START, Members};
use shard::ids::{MemberId, RaftIndex, Term};
use shard::system::Member;

use crate::config::{self, Config};
use crate::failure::{End, Fatal};
use crate::logging;

/// What is written once and never changes: part of it is where every key lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Birth {
    /// This member's id.
    pub(crate) member: u64,
    /// The cluster's id.
    pub(crate) cluster: u64,
    /// The number of shards of the cluster.
    pub(crate) shards: u16,
    /// Its members when it was born, or when this member joined: whom to ask for everything else.
    pub(crate) founders: Vec<Founder>,
    /// This member joined a cluster that ran already, so its log begins with what the others send, and it promises
    /// nothing before it holds what they had committed.
    #[serde(default)]
    pub(crate) joined: bool,
    /// This member has lost its data: whom it may have promised something that it does not know of any more. It takes no
    /// part in decisions before all of them have said how far they are. Emptied when it has caught up.
    #[serde(default)]
    pub(crate) promised_to: Vec<u64>,
    /// Another member remembers that this one's disk has held more: the logs do not count any more. See [`crate::repair`].
    #[serde(default)]
    pub(crate) outdated: bool,
    /// The state that was staged, or the log that was mended, takes the place of what is there: see [`crate::staging`].
    #[serde(default)]
    pub(crate) staged: bool,
}

/// A member that was there from the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Founder {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) peer_urls: Vec<String>,
}

impl Founder {
    /// As the membership has it until it publishes its client URLs.
    pub(crate) fn unpublished(self) -> Member {
        Member { name: self.name, peer_urls: self.peer_urls, client_urls: Vec::new() }
    }
}

impl Birth {
    /// Writes it down, durably.
    pub(crate) fn write(&self, dir: &DataDir) -> Result<(), Fatal> {
        let text = serde_json::to_vec(self).map_err(|error| Fatal::Other(error.to_string()))?;
        dir.write_identity(&text).map_err(|error| Fatal::Other(error.to_string()))
    }

    /// Who has a vote where a group's log begins. Who joined learns that from a snapshot.
    pub(crate) fn first_members(&self) -> Members {
        Members::of_voters(self.founders.iter().filter(|_| !self.joined).map(|founder| MemberId(founder.id)))
    }

    /// Where the log of a group begins that has neither a snapshot nor entries. Who joined has no state before it is sent one.
    pub(crate) fn log_start(&self) -> (RaftIndex, Term) {
        if self.joined { LOG_NOTHING } else { LOG_START }
    }

    /// Whose log it is.
    pub(crate) fn log_identity(&self) -> LogIdentity {
        LogIdentity { cluster: self.cluster, member: self.member }
    }
}

/// Whether it is yet to be decided who this member is. `has_data`: there is a log.
pub(crate) fn is_unborn(config: &Config, has_data: bool) -> bool {
    !has_data && !config.member_dir().join("identity").exists()
}

/// Reads who this member is; in a directory that says nothing of that it is `newborn`. `has_data`: there is a log.
pub(crate) fn identify(config: &Config, dir: &DataDir, has_data: bool, newborn: Option<Birth>) -> Result<Birth, End> {
    let file = dir.read_identity().map_err(|error| Fatal::Other(error.to_string()))?;
    match file {
        Some(bytes) => {
            let birth: Birth = serde_json::from_slice(&bytes).map_err(|error| {
                let file = dir.member().join("identity");
                let file = file.display();
                Fatal::Other(format!("{file} can not be read: {error}. It was written by another version of uetcd"))
            })?;
            check(config, &birth)?;
            Ok(birth)
        }
        None if has_data => Err(Fatal::Other(format!(
            "there is a log in {} but no file {}/identity, which says whose it is. Put it back from a backup",
            config.log_dir().display(),
            dir.member().display()
        ))
        .into()),
        None => {
            let birth = newborn.map_or_else(|| bear(config), Ok)?;
            birth.write(dir)?;
            Ok(birth)
        }
    }
}

/// What the command line says must not contradict what was decided at birth.
pub(crate) fn check(config: &Config, birth: &Birth) -> Result<(), Fatal> {
    match config.shards {
        Some(given) if given != birth.shards => Err(Fatal::Other(format!(
            "--shards={given} was given, but this cluster was born with {born} shards, and the number can not change: start \
             without --shards, or with --shards={born}",
            born = birth.shards
        ))),
        _ => Ok(()),
    }
}

/// Decides who a new member is, and writes nothing: the cluster may not be what was expected.
pub(crate) fn bear(config: &Config) -> Result<Birth, End> {
    let founding = config::found(config, &config::fetch)?;
    founding.log.iter().for_each(logging::emit);
    let founder =
        |member: config::Founder| Founder { id: member.id.get(), name: member.name, peer_urls: member.peer_urls };
    Ok(Birth {
        member: founding.local.get(),
        cluster: founding.cluster.get(),
        shards: founding.shards,
        founders: founding.members.into_iter().map(founder).collect(),
        joined: founding.joined,
        promised_to: founding.promised_to,
        outdated: false,
        staged: false,
    })
}
