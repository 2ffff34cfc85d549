//! What a log entry asks of a shard, as values and as the rkyv bytes that are stored, sent and applied in place.
//!
//! The bytes of a [`Batch`] are made once and are the same in memory, on the wire and in the log. They are validated
//! once, where they enter the process ([`BatchBytes::new`]), and then read in place through [`CommandRef`].

#![allow(missing_docs, reason = "rkyv derives public fields that it leaves undocumented; ours are documented")]

use crate::error::Error;
use crate::ids::Index;
use crate::path;
use bytes::Bytes;
use rkyv::option::ArchivedOption;
use rkyv::rancor::{Panic, ResultExt as _};
use rkyv::rend::unaligned::u64_ule;
use rkyv::string::ArchivedString;
use rkyv::vec::ArchivedVec;
use rkyv::{Archive, Deserialize, Serialize};
use std::borrow::Cow;

/// One change to one shard. Paths are clean; `ttl` is in seconds, none = permanent (and clears an existing TTL).
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Write whatever is or is not there.
    Set {
        /// Where.
        path: Vec<u8>,
        /// Content of a file; ignored for a directory.
        value: Vec<u8>,
        /// Make a directory.
        dir: bool,
        /// Seconds to live.
        ttl: Option<u64>,
        /// Keep the value, change the TTL, tell no watcher.
        refresh: bool,
    },
    /// Write only where nothing is.
    Create {
        /// Where; for an in-order create the directory.
        path: Vec<u8>,
        /// Content of a file; ignored for a directory.
        value: Vec<u8>,
        /// Make a directory.
        dir: bool,
        /// Seconds to live.
        ttl: Option<u64>,
        /// Name the node by its index, 20 digits, below `path`.
        in_order: bool,
    },
    /// Write only where something is.
    Update {
        /// Where.
        path: Vec<u8>,
        /// New content; must be empty for a directory.
        value: Vec<u8>,
        /// Seconds to live.
        ttl: Option<u64>,
        /// Keep the value, change the TTL, tell no watcher.
        refresh: bool,
    },
    /// Write a file if it is as expected.
    CompareAndSwap {
        /// Where.
        path: Vec<u8>,
        /// New content.
        value: Vec<u8>,
        /// Seconds to live.
        ttl: Option<u64>,
        /// Keep the value, change the TTL, tell no watcher.
        refresh: bool,
        /// Content expected; none or empty = any.
        prev_value: Option<Vec<u8>>,
        /// `modifiedIndex` expected; 0 = any.
        prev_index: u64,
    },
    /// Remove a file, an empty directory (`dir`) or a subtree (`recursive`, which implies `dir`).
    Delete {
        /// Where.
        path: Vec<u8>,
        /// Allow an empty directory.
        dir: bool,
        /// Allow a directory with all below it.
        recursive: bool,
    },
    /// Remove a file if it is as expected.
    CompareAndDelete {
        /// Where.
        path: Vec<u8>,
        /// Content expected; none or empty = any.
        prev_value: Option<Vec<u8>>,
        /// `modifiedIndex` expected; 0 = any.
        prev_index: u64,
    },
    /// Remove a node whose time is up, if it is still the same one. Made by `Store::due` only.
    Expire {
        /// Where.
        path: Vec<u8>,
        /// The deadline it had, on the shard's own timeline, in nanoseconds.
        deadline: u64,
        /// The index of its creation.
        created: u64,
    },
    /// Shift the shard's timeline: a new primary's clock reads `by_ns` more than the clock the log left off with.
    Rebase {
        /// Nanoseconds, either way.
        by_ns: i64,
    },
    /// A change to what the cluster knows of itself. Shard 0 only.
    System(SystemCommand),
}

/// A change to the members and the version of the cluster.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum SystemCommand {
    /// A new member.
    AddMember {
        /// Its id.
        id: u64,
        /// Its name; empty until it has started.
        name: String,
        /// Where its peers reach it.
        peer_urls: Vec<String>,
    },
    /// A member moved.
    UpdateMember {
        /// Its id.
        id: u64,
        /// Where its peers reach it from now on.
        peer_urls: Vec<String>,
    },
    /// A member left for good; its id is never used again.
    RemoveMember {
        /// Its id.
        id: u64,
    },
    /// A member started and says who it is.
    PublishAttributes {
        /// Its id.
        id: u64,
        /// Its name.
        name: String,
        /// Where clients reach it.
        client_urls: Vec<String>,
    },
    /// The version that all members speak.
    SetClusterVersion(String),
}

impl Command {
    /// About how much memory it holds, in bytes.
    pub fn size_bytes(&self) -> usize {
        let held = match self {
            Self::Set { path, value, .. } | Self::Create { path, value, .. } | Self::Update { path, value, .. } => {
                path.len() + value.len()
            }
            Self::CompareAndSwap { path, value, prev_value, .. } => {
                path.len() + value.len() + prev_value.as_ref().map_or(0, Vec::len)
            }
            Self::CompareAndDelete { path, prev_value, .. } => path.len() + prev_value.as_ref().map_or(0, Vec::len),
            Self::Delete { path, .. } | Self::Expire { path, .. } => path.len(),
            Self::Rebase { .. } | Self::System(_) => 0,
        };
        size_of::<Self>() + held
    }
}

/// A command with its place in the one order and the proposer's ticket.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Added to [`Batch::first`]. Strictly growing; gaps are other shards' commands of the same turn.
    pub offset: u32,
    /// What to do.
    pub command: Command,
    /// Opaque to the shard: whoever proposed it finds its waiting client by this. 0 = nobody waits.
    pub origin: u64,
    /// The process that took the command from its client, on whichever member: it alone knows the ticket.
    pub process: u64,
}

/// The commands of one log entry.
///
/// All batches that are numbered in one turn count from the same index, though each holds only some of the turn's: so
/// `visible`, which stays below the first index of what is not committed, never comes to lie between two commands of a
/// batch, where it could be applied neither in part nor as a whole.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The index that offset 0 stands for: the first of the turn, which may be another batch's.
    pub first: u64,
    /// The primary's clock in nanoseconds of the Unix epoch; every replica computes TTLs from it.
    pub now: u64,
    /// In order.
    pub commands: Vec<Numbered>,
}

impl Batch {
    /// The bytes that are stored and sent.
    ///
    /// Indices after `first` must exist and the offsets must grow: the proposer numbers its own commands.
    pub fn encode(&self) -> BatchBytes {
        assert!(self.first.checked_add(u64::from(u32::MAX)).is_some(), "the total order has come to its end");
        assert!(self.commands.windows(2).all(|pair| pair[0].offset < pair[1].offset), "offsets must grow");
        let room =
            self.commands.iter().map(|numbered| size_of::<ArchivedNumbered>() + numbered.command.size_bytes()).sum();
        let bytes = rkyv::api::high::to_bytes_in::<_, Panic>(self, Vec::with_capacity(room)).always_ok();
        BatchBytes(Bytes::from(bytes))
    }
}

/// A batch's bytes, known to be valid. Cheap to clone: the bytes are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchBytes(Bytes);

impl BatchBytes {
    /// Validates bytes that come from a peer or a disk: the archive, the growth of the offsets, every path.
    pub fn new(bytes: Bytes) -> Result<Self, Error> {
        let batch =
            rkyv::access::<ArchivedBatch, rkyv::rancor::Error>(&bytes).map_err(|e| Error::Batch(e.to_string()))?;
        batch.validate()?;
        Ok(Self(bytes))
    }

    /// Takes bytes without looking at them.
    ///
    /// # Safety
    /// The bytes must come from [`Batch::encode`], or have passed [`BatchBytes::new`], unchanged.
    pub unsafe fn new_unchecked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The batch, read in place.
    pub fn batch(&self) -> &ArchivedBatch {
        // SAFETY: both constructors require a valid archive, and the bytes never change.
        unsafe { rkyv::access_unchecked::<ArchivedBatch>(&self.0) }
    }

    /// The commands as values of their own.
    pub fn to_batch(&self) -> Batch {
        rkyv::api::high::deserialize::<_, Panic>(self.batch()).always_ok()
    }

    /// The bytes themselves.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes themselves.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// One command of a batch as it is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<'a> {
    /// Its place in the one order.
    pub index: Index,
    /// The proposer's ticket, 0 if nobody waits.
    pub origin: u64,
    /// The process that the ticket is of.
    pub process: u64,
    /// What to do.
    pub command: CommandRef<'a>,
}

impl ArchivedBatch {
    /// The index that offset 0 stands for.
    pub fn first(&self) -> Index {
        Index(self.first.to_native())
    }

    /// The index of the last command; none if the batch is empty.
    pub fn last(&self) -> Option<Index> {
        self.commands.last().map(|last| Index(self.first.to_native() + u64::from(last.offset.to_native())))
    }

    /// The primary's clock, nanoseconds of the Unix epoch.
    pub fn now(&self) -> u64 {
        self.now.to_native()
    }

    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there are no commands.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The commands in order, borrowed from the bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        let first = self.first.to_native();
        self.commands.iter().map(move |numbered| Entry {
            index: Index(first + u64::from(numbered.offset.to_native())),
            origin: numbered.origin.to_native(),
            process: numbered.process.to_native(),
            command: CommandRef::from(&numbered.command),
        })
    }

    fn validate(&self) -> Result<(), Error> {
        if self.first.to_native().checked_add(u64::from(u32::MAX)).is_none() {
            return Err(Error::Batch(format!("first index {} is out of range", self.first)));
        }
        let offsets = self.commands.iter().map(|numbered| numbered.offset.to_native());
        if !offsets.clone().zip(offsets.skip(1)).all(|(a, b)| a < b) {
            return Err(Error::Batch("offsets do not grow".into()));
        }
        if self.iter().next().is_some_and(|entry| entry.index == Index::ZERO) {
            return Err(Error::Batch("index 0 is of no command".into()));
        }
        match self.iter().find_map(|entry| entry.command.path().filter(|path| !path::is_clean(path))) {
            Some(path) => Err(Error::Batch(format!("unclean path {:?}", String::from_utf8_lossy(path)))),
            None => Ok(()),
        }
    }
}

/// A command borrowed from wherever it is: the store works on nothing else, so applying copies only what it keeps.
/// The fields are those of [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandRef<'a> {
    /// See [`Command::Set`].
    Set { path: &'a [u8], value: &'a [u8], dir: bool, ttl: Option<u64>, refresh: bool },
    /// See [`Command::Create`].
    Create { path: &'a [u8], value: &'a [u8], dir: bool, ttl: Option<u64>, in_order: bool },
    /// See [`Command::Update`].
    Update { path: &'a [u8], value: &'a [u8], ttl: Option<u64>, refresh: bool },
    /// See [`Command::CompareAndSwap`].
    CompareAndSwap {
        path: &'a [u8],
        value: &'a [u8],
        ttl: Option<u64>,
        refresh: bool,
        prev_value: Option<&'a [u8]>,
        prev_index: u64,
    },
    /// See [`Command::Delete`].
    Delete { path: &'a [u8], dir: bool, recursive: bool },
    /// See [`Command::CompareAndDelete`].
    CompareAndDelete { path: &'a [u8], prev_value: Option<&'a [u8]>, prev_index: u64 },
    /// See [`Command::Expire`].
    Expire { path: &'a [u8], deadline: u64, created: u64 },
    /// See [`Command::Rebase`].
    Rebase { by_ns: i64 },
    /// See [`Command::System`]. So rare that an archived one is copied out.
    System(Cow<'a, SystemCommand>),
}

impl<'a> CommandRef<'a> {
    /// The key it is about; none for [`Rebase`](Self::Rebase) and [`System`](Self::System).
    pub fn path(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Set { path, .. }
            | Self::Create { path, .. }
            | Self::Update { path, .. }
            | Self::CompareAndSwap { path, .. }
            | Self::Delete { path, .. }
            | Self::CompareAndDelete { path, .. }
            | Self::Expire { path, .. } => Some(path),
            Self::Rebase { .. } | Self::System(_) => None,
        }
    }
}

impl<'a> From<&'a Command> for CommandRef<'a> {
    fn from(command: &'a Command) -> Self {
        match command {
            Command::Set { path, value, dir, ttl, refresh } => {
                Self::Set { path, value, dir: *dir, ttl: *ttl, refresh: *refresh }
            }
            Command::Create { path, value, dir, ttl, in_order } => {
                Self::Create { path, value, dir: *dir, ttl: *ttl, in_order: *in_order }
            }
            Command::Update { path, value, ttl, refresh } => Self::Update { path, value, ttl: *ttl, refresh: *refresh },
            Command::CompareAndSwap { path, value, ttl, refresh, prev_value, prev_index } => Self::CompareAndSwap {
                path,
                value,
                ttl: *ttl,
                refresh: *refresh,
                prev_value: prev_value.as_deref(),
                prev_index: *prev_index,
            },
            Command::Delete { path, dir, recursive } => Self::Delete { path, dir: *dir, recursive: *recursive },
            Command::CompareAndDelete { path, prev_value, prev_index } => {
                Self::CompareAndDelete { path, prev_value: prev_value.as_deref(), prev_index: *prev_index }
            }
            Command::Expire { path, deadline, created } => {
                Self::Expire { path, deadline: *deadline, created: *created }
            }
            Command::Rebase { by_ns } => Self::Rebase { by_ns: *by_ns },
            Command::System(system) => Self::System(Cow::Borrowed(system)),
        }
    }
}

impl<'a> From<&'a ArchivedCommand> for CommandRef<'a> {
    fn from(command: &'a ArchivedCommand) -> Self {
        use ArchivedCommand as A;
        match command {
            A::Set { path, value, dir, ttl, refresh } => {
                Self::Set { path, value, dir: *dir, ttl: seconds(ttl), refresh: *refresh }
            }
            A::Create { path, value, dir, ttl, in_order } => {
                Self::Create { path, value, dir: *dir, ttl: seconds(ttl), in_order: *in_order }
            }
            A::Update { path, value, ttl, refresh } => {
                Self::Update { path, value, ttl: seconds(ttl), refresh: *refresh }
            }
            A::CompareAndSwap { path, value, ttl, refresh, prev_value, prev_index } => Self::CompareAndSwap {
                path,
                value,
                ttl: seconds(ttl),
                refresh: *refresh,
                prev_value: prev_value.as_ref().map(ArchivedVec::as_slice),
                prev_index: prev_index.to_native(),
            },
            A::Delete { path, dir, recursive } => Self::Delete { path, dir: *dir, recursive: *recursive },
            A::CompareAndDelete { path, prev_value, prev_index } => Self::CompareAndDelete {
                path,
                prev_value: prev_value.as_ref().map(ArchivedVec::as_slice),
                prev_index: prev_index.to_native(),
            },
            A::Expire { path, deadline, created } => {
                Self::Expire { path, deadline: deadline.to_native(), created: created.to_native() }
            }
            A::Rebase { by_ns } => Self::Rebase { by_ns: by_ns.to_native() },
            A::System(system) => Self::System(Cow::Owned(SystemCommand::from(system))),
        }
    }
}

impl From<&ArchivedSystemCommand> for SystemCommand {
    fn from(command: &ArchivedSystemCommand) -> Self {
        use ArchivedSystemCommand as A;
        match command {
            A::AddMember { id, name, peer_urls } => {
                Self::AddMember { id: id.to_native(), name: name.to_string(), peer_urls: strings(peer_urls) }
            }
            A::UpdateMember { id, peer_urls } => {
                Self::UpdateMember { id: id.to_native(), peer_urls: strings(peer_urls) }
            }
            A::RemoveMember { id } => Self::RemoveMember { id: id.to_native() },
            A::PublishAttributes { id, name, client_urls } => Self::PublishAttributes {
                id: id.to_native(),
                name: name.to_string(),
                client_urls: strings(client_urls),
            },
            A::SetClusterVersion(version) => Self::SetClusterVersion(version.to_string()),
        }
    }
}

fn seconds(ttl: &ArchivedOption<u64_ule>) -> Option<u64> {
    ttl.as_ref().map(|ttl| ttl.to_native())
}

fn strings(urls: &ArchivedVec<ArchivedString>) -> Vec<String> {
    urls.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(commands: Vec<(u32, Command)>) -> Batch {
        let commands =
            commands.into_iter().map(|(offset, command)| Numbered { offset, command, origin: 9, process: 5 }).collect();
        Batch { first: 100, now: 5, commands }
    }

    fn of_every_kind() -> Vec<Command> {
        let (path, value, urls) = (b"/p\xff".to_vec(), b"v".to_vec(), vec!["http://a".to_string()]);
        let expected = (Some(b"old".to_vec()), 7);
        vec![
            Command::Set { path: path.clone(), value: value.clone(), dir: true, ttl: Some(3), refresh: true },
            Command::Create { path: path.clone(), value: value.clone(), dir: false, ttl: None, in_order: true },
            Command::Update { path: path.clone(), value: value.clone(), ttl: Some(0), refresh: false },
            Command::CompareAndSwap {
                path: path.clone(),
                value,
                ttl: None,
                refresh: true,
                prev_value: expected.0.clone(),
                prev_index: expected.1,
            },
            Command::Delete { path: path.clone(), dir: true, recursive: false },
            Command::CompareAndDelete { path: path.clone(), prev_value: None, prev_index: expected.1 },
            Command::Expire { path, deadline: u64::MAX, created: 1 },
            Command::Rebase { by_ns: -1 },
            Command::System(SystemCommand::AddMember { id: 1, name: "n".into(), peer_urls: urls.clone() }),
            Command::System(SystemCommand::UpdateMember { id: 1, peer_urls: urls.clone() }),
            Command::System(SystemCommand::RemoveMember { id: 1 }),
            Command::System(SystemCommand::PublishAttributes { id: 1, name: "n".into(), client_urls: urls }),
            Command::System(SystemCommand::SetClusterVersion("2.3.0".into())),
        ]
    }

    #[test]
    fn every_command_reads_the_same_from_its_bytes() {
        let commands = of_every_kind();
        let batch = batch((0..).step_by(3).zip(commands.clone()).collect());
        // An archive may lie anywhere in a frame.
        let shifted = Bytes::from([b"x", &batch.encode().into_bytes()[..]].concat()).slice(1..);
        let bytes = BatchBytes::new(shifted).expect("just encoded");
        let read = bytes.batch();
        assert_eq!((read.first(), read.now(), read.len()), (Index(100), 5, commands.len()));
        assert_eq!(read.last(), Some(Index(100 + 3 * (commands.len() as u64 - 1))));
        for ((n, entry), command) in (0..).zip(read.iter()).zip(&commands) {
            assert_eq!(
                entry,
                Entry { index: Index(100 + 3 * n), origin: 9, process: 5, command: CommandRef::from(command) }
            );
        }
    }

    #[test]
    fn bytes_that_are_no_batch_are_refused() {
        let set =
            |path: &[u8]| Command::Set { path: path.into(), value: vec![], dir: false, ttl: None, refresh: false };
        let raw = |batch: &Batch| Bytes::from(rkyv::api::high::to_bytes_in::<_, Panic>(batch, Vec::new()).always_ok());
        for (name, bytes) in [
            ("nothing", Bytes::new()),
            ("noise", Bytes::from_static(&[0xff; 64])),
            ("offsets that stand still", raw(&batch(vec![(1, set(b"/a")), (1, set(b"/a"))]))),
            ("an unclean path", raw(&batch(vec![(1, set(b"/a/"))]))),
            ("no room for indices", raw(&Batch { first: u64::MAX, ..batch(vec![]) })),
        ] {
            assert!(BatchBytes::new(bytes).is_err(), "{name}");
        }
        assert!(BatchBytes::new(raw(&batch(vec![]))).is_ok(), "an empty batch is one");
    }

    #[test]
    fn no_flipped_bit_brings_the_reader_down() {
        let good = batch((0..).zip(of_every_kind()).collect()).encode().into_bytes();
        for bit in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(bytes) = BatchBytes::new(Bytes::from(bad)) {
                assert!(bytes.batch().iter().count() <= u8::MAX.into());
            }
        }
    }
}
