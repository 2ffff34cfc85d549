//! The handshake: who is on the other side, and whether one may talk to it.
//!
//! Who dials sends a [`Hello`] first, and frames only after an [`Answer`] without refusal. Both are the same 80 bytes, the
//! answer with the receiver's own data and a verdict, so that both sides can say what differs:
//!
//! ```text
//!  0       8          10        12  14       16        24     32   40        48       50       52         54
//!  | magic | protocol | verdict | 0 | length | cluster | from | to | process | format | shards | executor | executors |
//!  56        64      72          73    76    80
//!  | visible | terms | forgetful | 0 … | crc |
//! ```
//! Little endian; `crc` is CRC-32C over bytes 0..76. The first 16 bytes stay what they are in every version: a member of
//! another version reads them, and says which version it met.

#![allow(missing_docs, reason = "rkyv derives public fields that it leaves undocumented; ours are documented")]

use std::fmt;

use rkyv::{Archive, Deserialize, Serialize};

use super::PROTOCOL;

/// How every stream between members begins: bytes that begin neither an HTTP request nor a TLS session, and that a
/// transfer which changes line ends would damage.
pub const MAGIC: [u8; 8] = *b"\x89upeer\r\n";

/// Length of a hello and of an answer.
pub const HANDSHAKE_BYTES: usize = 80;
const CRC_AT: usize = HANDSHAKE_BYTES - 4;

/// Who a member is, as far as its peers must agree with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster: u64,
    /// The member's id.
    pub member: u64,
    /// A number drawn by this process: another one after every start.
    pub process: u64,
    /// Version of what the frames carry: commands, entries, snapshots.
    pub format: u16,
    /// Number of shards.
    pub shards: u16,
    /// Executors of this process.
    pub executors: u16,
}

/// What a member's disk surely holds, in numbers that only grow while it is the same disk: who has heard them once knows an
/// older one that is put in its place.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The highest index noted there as visible.
    pub visible: u64,
    /// The sum of all groups' terms.
    pub terms: u64,
    /// It has lost what it had and says so: it takes no part in decisions yet, and the numbers begin anew.
    pub forgetful: bool,
}

impl Held {
    /// Whether this is less than the same disk has held: not what a crash can take away.
    pub fn is_less_than(&self, before: &Self) -> bool {
        self.visible < before.visible || self.terms < before.terms
    }

    /// The most of both.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        let (visible, terms) = (self.visible.max(other.visible), self.terms.max(other.terms));
        Self { visible, terms, forgetful: self.forgetful && other.forgetful }
    }
}

/// What one side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its version of the protocol.
    pub protocol: u16,
    /// Who it is.
    pub identity: Identity,
    /// The member that it wants to talk to.
    pub to: u64,
    /// The executor that speaks.
    pub executor: u16,
    /// What its disk holds.
    pub held: Held,
}

/// What the other side says to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Why not; none: go on.
    pub refusal: Option<Refusal>,
    /// Who answers.
    pub hello: Hello,
}

/// Why two members do not talk. The order is that of the checks; the numbers are the verdicts on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Refusal {
    /// Another version of the protocol.
    Protocol = 1,
    /// Another cluster.
    Cluster = 2,
    /// Another version of what the frames carry.
    Format = 3,
    /// Another number of shards.
    Shards = 4,
    /// The receiver is not whom the sender wants.
    Receiver = 5,
    /// The sender is no member, or not known to be one yet.
    UnknownMember = 6,
    /// The sender was removed from the cluster for good.
    RemovedMember = 7,
    /// The sender claims to be the receiver.
    OwnEcho = 8,
    /// The sender's disk holds less than it did: an older one was put in its place.
    Outdated = 9,
}

/// Whether a member is one, in the eyes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Member,
    /// It is not, or not yet.
    Unknown,
    /// It was, and never will be again.
    Removed,
    /// It is, but does not remember what it has promised, and does not know that.
    Outdated,
}

/// Why bytes are no handshake of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Something else listens there.
    #[error("what is there does not speak uetcd's peer protocol; it may be etcd, or another service on the same port")]
    NotOurs,
    /// Another version, whose handshake goes on in another way.
    #[error("the other side speaks version {0} of the peer protocol, this side version {PROTOCOL}")]
    Protocol(u16),
    /// The checksum does not fit.
    #[error("the handshake was damaged on its way (checksum)")]
    Damaged,
}

impl Hello {
    /// The bytes.
    pub fn encode(&self) -> [u8; HANDSHAKE_BYTES] {
        self.encode_with(0)
    }

    /// Reads a hello.
    pub fn decode(bytes: &[u8; HANDSHAKE_BYTES]) -> Result<Self, HelloError> {
        if bytes[..8] != MAGIC {
            return Err(HelloError::NotOurs);
        }
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u64_at = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
        let protocol = u16_at(8);
        if protocol != PROTOCOL {
            return Err(HelloError::Protocol(protocol));
        }
        if crc32c::crc32c(&bytes[..CRC_AT]).to_le_bytes() != bytes[CRC_AT..] {
            return Err(HelloError::Damaged);
        }
        let identity = Identity {
            cluster: u64_at(16),
            member: u64_at(24),
            process: u64_at(40),
            format: u16_at(48),
            shards: u16_at(50),
            executors: u16_at(54),
        };
        let held = Held { visible: u64_at(56), terms: u64_at(64), forgetful: bytes[72] != 0 };
        Ok(Self { protocol, identity, to: u64_at(32), executor: u16_at(52), held })
    }

    /// What `own` says to it. `standing` is asked only about a sender with which everything else is right.
    pub fn judge(&self, own: &Identity, standing: impl FnOnce(u64) -> Standing) -> Result<(), Refusal> {
        let theirs = &self.identity;
        match () {
            () if self.protocol != PROTOCOL => Err(Refusal::Protocol),
            () if theirs.cluster != own.cluster => Err(Refusal::Cluster),
            () if theirs.format != own.format => Err(Refusal::Format),
            () if theirs.shards != own.shards => Err(Refusal::Shards),
            () if self.to != own.member => Err(Refusal::Receiver),
            () if theirs.member == own.member => Err(Refusal::OwnEcho),
            () => match standing(theirs.member) {
                Standing::Member => Ok(()),
                Standing::Unknown => Err(Refusal::UnknownMember),
                Standing::Removed => Err(Refusal::RemovedMember),
                Standing::Outdated => Err(Refusal::Outdated),
            },
        }
    }

    fn encode_with(&self, verdict: u16) -> [u8; HANDSHAKE_BYTES] {
        let identity = &self.identity;
        let mut bytes = [0; HANDSHAKE_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(8, &self.protocol.to_le_bytes());
        put(10, &verdict.to_le_bytes());
        put(14, &(HANDSHAKE_BYTES as u16).to_le_bytes());
        put(16, &identity.cluster.to_le_bytes());
        put(24, &identity.member.to_le_bytes());
        put(32, &self.to.to_le_bytes());
        put(40, &identity.process.to_le_bytes());
        put(48, &identity.format.to_le_bytes());
        put(50, &identity.shards.to_le_bytes());
        put(52, &self.executor.to_le_bytes());
        put(54, &identity.executors.to_le_bytes());
        put(56, &self.held.visible.to_le_bytes());
        put(64, &self.held.terms.to_le_bytes());
        put(72, &[u8::from(self.held.forgetful)]);
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

impl Answer {
    /// The bytes.
    pub fn encode(&self) -> [u8; HANDSHAKE_BYTES] {
        self.hello.encode_with(self.refusal.map_or(0, |refusal| refusal as u16))
    }

    /// Reads an answer. A verdict that this version does not know is a refusal for another version.
    pub fn decode(bytes: &[u8; HANDSHAKE_BYTES]) -> Result<Self, HelloError> {
        let hello = Hello::decode(bytes)?;
        let refusal = match u16::from_le_bytes([bytes[10], bytes[11]]) {
            0 => None,
            2 => Some(Refusal::Cluster),
            3 => Some(Refusal::Format),
            4 => Some(Refusal::Shards),
            5 => Some(Refusal::Receiver),
            6 => Some(Refusal::UnknownMember),
            7 => Some(Refusal::RemovedMember),
            8 => Some(Refusal::OwnEcho),
            9 => Some(Refusal::Outdated),
            _ => Some(Refusal::Protocol),
        };
        Ok(Self { refusal, hello })
    }
}

/// In words for an operator, without who is meant.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "peer protocol version mismatch",
            Self::Cluster => "cluster ID mismatch",
            Self::Format => "data format version mismatch",
            Self::Shards => "number of shards mismatch",
            Self::Receiver => "member ID mismatch",
            Self::UnknownMember => "the sender is not a member of the cluster",
            Self::RemovedMember => "the member has been permanently removed from the cluster",
            Self::OwnEcho => "the sender has the receiver's own ID",
            Self::Outdated => "the sender's disk holds less than it did: an older one was put in its place",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Identity = Identity { cluster: 10, member: 1, process: 99, format: 1, shards: 16, executors: 2 };

    fn hello(change: impl FnOnce(&mut Hello)) -> Hello {
        let identity = Identity { member: 2, process: 77, executors: 4, ..OWN };
        let held = Held { visible: 1 << 40, terms: 50, forgetful: true };
        let mut hello = Hello { protocol: PROTOCOL, identity, to: 1, executor: 3, held };
        change(&mut hello);
        hello
    }

    #[test]
    fn who_may_talk() {
        use Standing::{Member, Outdated, Removed, Unknown};
        for (name, hello, standing, want) in [
            ("a member", hello(|_| ()), Member, Ok(())),
            ("another number of executors", hello(|h| h.identity.executors = 1), Member, Ok(())),
            ("another protocol", hello(|h| h.protocol = PROTOCOL + 1), Member, Err(Refusal::Protocol)),
            ("another cluster", hello(|h| h.identity.cluster = 11), Member, Err(Refusal::Cluster)),
            ("another format", hello(|h| h.identity.format = 2), Member, Err(Refusal::Format)),
            ("other shards", hello(|h| h.identity.shards = 8), Member, Err(Refusal::Shards)),
            ("for somebody else", hello(|h| h.to = 3), Member, Err(Refusal::Receiver)),
            ("myself", hello(|h| h.identity.member = 1), Member, Err(Refusal::OwnEcho)),
            ("a stranger", hello(|_| ()), Unknown, Err(Refusal::UnknownMember)),
            ("somebody who was removed", hello(|_| ()), Removed, Err(Refusal::RemovedMember)),
            ("an older disk", hello(|_| ()), Outdated, Err(Refusal::Outdated)),
        ] {
            assert_eq!(hello.judge(&OWN, |_| standing), want, "{name}");
        }
    }

    #[test]
    fn a_handshake_comes_back_and_every_flipped_bit_is_noticed() {
        let hello = hello(|_| ());
        for refusal in [None, Some(Refusal::Cluster), Some(Refusal::OwnEcho), Some(Refusal::Protocol)] {
            let answer = Answer { refusal, hello };
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
        let bytes = hello.encode();
        assert_eq!(Hello::decode(&bytes), Ok(hello));
        for bit in 0..HANDSHAKE_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Hello::decode(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_disk_holds_less_if_either_number_is_lower() {
        let held = |visible, terms| Held { visible, terms, forgetful: false };
        assert!(held(4, 9).is_less_than(&held(5, 1)) && held(9, 4).is_less_than(&held(1, 5)));
        assert!(!held(5, 5).is_less_than(&held(5, 5)) && !held(6, 5).is_less_than(&held(5, 5)));
        assert_eq!(held(4, 9).max(held(5, 1)), held(5, 9));
    }

    #[test]
    fn another_version_is_named() {
        let bytes = hello(|h| h.protocol = 7).encode();
        assert_eq!(Hello::decode(&bytes), Err(HelloError::Protocol(7)));
        let mut http = [b' '; HANDSHAKE_BYTES];
        http[..24].copy_from_slice(b"HTTP/1.1 404 Not Found\r\n");
        assert_eq!(Hello::decode(&http), Err(HelloError::NotOurs));
    }
}
