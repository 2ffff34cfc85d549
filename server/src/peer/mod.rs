//! The other members: streams to them and from them, one executor's share of them.
//!
//! Every executor dials each peer once and *sends* on the stream that it dialled; what it *receives* comes on streams that
//! it accepted, whoever dialled them. So a stream carries frames one way, in order, from one executor of the
//! sender; which executor of the receiver gets it is the kernel's choice, and the core hands on what is for another.
//!
//! Nothing waits for a peer. What is sent goes into a bounded buffer ([`Outbox`](outbox)) and leaves with one write for
//! all of a turn; while a peer is not there, or takes less than it is given, frames are refused, and the caller is
//! told ([`Unsent`]): raft sends again, a client gets an error. A stream on which anything is wrong is closed and dialled
//! anew, first after 10 ms, in the end once a second.

mod backoff;
mod dial;
mod inbound;
mod link;
mod links;
mod outbox;
mod quiet;
mod remembered;
mod roster;
mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod translate;

pub(crate) use inbound::{is_peer, opening};
pub(crate) use links::{Links, Local};
pub(crate) use remembered::{News, Remembered};
pub(crate) use roster::Roster;
pub(crate) use stream::{Dialled, Stream, connect, within};

use net::peer::{Frame, Held, Hello, Refusal, Standing};
use shard::ids::MemberId;

/// Version of what the frames carry: commands, entries, snapshots. Members of different formats refuse each other.
pub(crate) const FORMAT: u16 = 1;

/// Who sent a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The member.
    pub(crate) member: MemberId,
    /// Its process: another one after every start.
    pub(crate) process: u64,
    /// The executor there. Frames of one are received in the order in which they were sent.
    pub(crate) executor: u16,
}

/// What the node makes of its peers. Called by the tasks of links, never from within a call of [`Links`].
pub(crate) trait Ears {
    /// Whether a member belongs to the cluster, as far as it is known here.
    fn standing(&self, member: MemberId) -> Standing;
    /// Somebody who belongs to it says hello. True: its disk has held more than it does now, so it does not know what it has
    /// promised.
    fn is_outdated(&self, hello: &Hello) -> bool;
    /// What the disk of this member holds.
    fn held(&self) -> Held;
    /// A frame has come. Its messages may be for groups of other executors.
    fn receive(&self, from: Origin, frame: Frame);
    /// The stream that this executor sends on was opened, or lost with all that was in the outbox.
    fn link(&self, to: MemberId, up: bool);
    /// A member does not talk to this one. [`Refusal::RemovedMember`]: this one has been removed from the cluster.
    /// [`Refusal::Outdated`]: its disk has held more than it does now.
    fn refused(&self, by: MemberId, refusal: Refusal);
}

/// Why a frame was not taken. The caller tells raft that the peer is unreachable, or the client that it was in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// There is no stream to this member now.
    Down,
    /// The peer takes less than it is given: too much waits for it already.
    Full,
    /// The frame is beyond the limits of [`net::peer`]: sending it again is in vain.
    Unfit,
}
