//! How the history keeps an event: packed into a few bytes beside its key and its values.
//!
//! Nearly all events are forgotten before anybody asks for them. One that is a structure of its own takes twice the memory, all of which has to
//! be written when it happens, and is waited for when it goes.
//!
//! ```text
//! what (action, refresh, is there a prev?) │ key │ node │ prev
//! node, prev: which (the parts that follow) │ modified │ created │ expiration │ ttl │ value
//! ```
//!
//! Numbers have seven bits in each byte, the lowest first, and the eighth says that more follow.

use crate::event::{Action, Event, NodeView};
use crate::ids::Index;
use crate::view::NodeRef;
use std::rc::Rc;

/// Longer values are not copied, but shared with the tree and with other events.
const COPIED_MAX: usize = 128;

/// Values that a segment shares, by their position; those of forgotten events are gone.
pub(super) type Shared = Vec<Option<Rc<[u8]>>>;

const ACTION: u8 = 0b111;
const REFRESH: u8 = 1 << 3;
const PREV: u8 = 1 << 4;

const DIR: u8 = 1 << 0;
/// There is a value, copied or shared.
const COPIED: u8 = 1 << 1;
const SHARED: u8 = 1 << 2;
/// These follow; if not, `modified` is the event's index, and `created` is `modified`.
const MODIFIED: u8 = 1 << 3;
const CREATED: u8 = 1 << 4;
const EXPIRATION: u8 = 1 << 5;
const TTL: u8 = 1 << 6;

/// A kept event, to look at. [`Event`] says what its parts are.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What was done.
    pub action: Action,
    /// Position in the one order.
    pub index: Index,
    /// The node afterwards.
    pub node: NodeRef<'a>,
    /// The node before.
    pub prev: Option<NodeRef<'a>>,
    /// A TTL refresh.
    pub refresh: bool,
    shared: &'a Shared,
    /// Where in it the values of the two nodes are, if they are shared.
    places: [Option<usize>; 2],
}

impl Record<'_> {
    /// Whether the event took away a directory, and so perhaps nodes below `node.key`.
    pub fn removed_directory(&self) -> bool {
        self.action.removes() && self.node.dir
    }

    /// The event itself.
    pub fn to_event(&self) -> Event {
        let key: Rc<[u8]> = Rc::from(self.node.key);
        let view = |node: &NodeRef<'_>, place: Option<usize>| NodeView {
            key: Rc::clone(&key),
            value: place.and_then(|place| self.shared[place].clone()).or_else(|| node.value.map(Rc::from)),
            dir: node.dir,
            expiration: node.expiration,
            ttl: node.ttl,
            modified: node.modified,
            created: node.created,
        };
        Event {
            action: self.action,
            index: self.index,
            node: view(&self.node, self.places[0]),
            prev: self.prev.map(|prev| view(&prev, self.places[1])),
            refresh: self.refresh,
        }
    }

    /// Where its values are that are shared.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> + use<> {
        self.places.into_iter().flatten()
    }

    /// What it is charged for its shared values: the longer one. The other one is mostly held by the tree or by another event, too; after a
    /// restart, before which they were written, that is not so, and what is kept is twice what is counted.
    pub(super) fn shared_bytes(&self) -> usize {
        self.places().filter_map(|place| self.shared[place].as_ref()).map(charge).max().unwrap_or(0)
    }
}

/// Appends an event, without its index. Returns its [`Record::shared_bytes`].
pub(super) fn pack(event: &Event, bytes: &mut Vec<u8>, shared: &mut Shared) -> usize {
    let what = event.action as u8 | if event.refresh { REFRESH } else { 0 } | event.prev.as_ref().map_or(0, |_| PREV);
    bytes.push(what);
    push_bytes(bytes, &event.node.key);
    let now = pack_view(&event.node, event.index, bytes, shared);
    let before = event.prev.as_ref().map_or(0, |prev| {
        assert_eq!(prev.key, event.node.key, "another node before");
        pack_view(prev, event.index, bytes, shared)
    });
    now.max(before)
}

/// Returns the bytes of its value if it is shared.
fn pack_view(view: &NodeView, index: Index, bytes: &mut Vec<u8>, shared: &mut Shared) -> usize {
    let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
    let value = view.value.as_ref();
    let is_copied = |value: &Rc<[u8]>| value.len() <= COPIED_MAX;
    let which = flag(DIR, view.dir)
        | flag(COPIED, value.is_some_and(is_copied))
        | flag(SHARED, value.is_some_and(|value| !is_copied(value)))
        | flag(MODIFIED, view.modified != index)
        | flag(CREATED, view.created != view.modified)
        | flag(EXPIRATION, view.expiration.is_some())
        | flag(TTL, view.ttl != 0);
    bytes.push(which);
    let numbers = [
        (MODIFIED, view.modified.0),
        (CREATED, view.created.0),
        (EXPIRATION, view.expiration.unwrap_or_default()),
        (TTL, zigzag(view.ttl)),
    ];
    for (_, number) in numbers.into_iter().filter(|(flag, _)| which & flag != 0) {
        push(bytes, number);
    }
    match value {
        Some(value) if is_copied(value) => {
            push_bytes(bytes, value);
            0
        }
        Some(value) => {
            push(bytes, shared.len() as u64);
            shared.push(Some(Rc::clone(value)));
            charge(value)
        }
        None => 0,
    }
}

/// Reads what [`pack`] has written there of the event `index`.
pub(super) fn unpack<'a>(bytes: &'a [u8], index: Index, shared: &'a Shared) -> Record<'a> {
    let mut reader = Reader { bytes, shared };
    let what = reader.byte();
    let key = reader.bytes();
    let (node, place) = reader.view(key, index);
    let (prev, place_before) = (what & PREV != 0).then(|| reader.view(key, index)).unzip();
    let Some(&action) = Action::ALL.get(usize::from(what & ACTION)) else { unreachable!("there are eight") };
    Record { action, index, node, prev, refresh: what & REFRESH != 0, shared, places: [place, place_before.flatten()] }
}

/// A shared value with its counts, its place, and the allocator's rounding.
fn charge(value: &Rc<[u8]>) -> usize {
    value.len() + 48
}

struct Reader<'a> {
    bytes: &'a [u8],
    shared: &'a Shared,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.bytes.split_first().unwrap_or_else(|| unreachable!("a record has an end"));
        self.bytes = rest;
        *byte
    }

    fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return number;
            }
            shift += 7;
        }
    }

    fn bytes(&mut self) -> &'a [u8] {
        let len = self.number() as usize;
        let (bytes, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        bytes
    }

    /// A node, and where its value is if that is shared.
    fn view(&mut self, key: &'a [u8], index: Index) -> (NodeRef<'a>, Option<usize>) {
        let which = self.byte();
        let mut number = |flag: u8| (which & flag != 0).then(|| self.number());
        let modified = number(MODIFIED).map_or(index, Index);
        let created = number(CREATED).map_or(modified, Index);
        let expiration = number(EXPIRATION);
        let ttl = number(TTL).map_or(0, unzigzag);
        let place = (which & SHARED != 0).then(|| self.number() as usize);
        let value =
            if which & COPIED != 0 { Some(self.bytes()) } else { place.and_then(|at| self.shared[at].as_deref()) };
        (NodeRef { key, value, dir: which & DIR != 0, expiration, ttl, modified, created }, place)
    }
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn push_bytes(bytes: &mut Vec<u8>, what: &[u8]) {
    push(bytes, what.len() as u64);
    bytes.extend_from_slice(what);
}

/// Small numbers of either sign as small numbers.
fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..300_u64, Just(u64::MAX), any::<u64>()]
    }

    fn view(key: Rc<[u8]>) -> impl Strategy<Value = NodeView> {
        let value = proptest::option::of(prop_oneof![0..200_usize, Just(COPIED_MAX), Just(COPIED_MAX + 1)]);
        let times = (proptest::option::of(number()), any::<i64>().prop_map(|ttl| ttl >> (ttl & 63)));
        (value, any::<bool>(), times, number(), number()).prop_map(move |(value, dir, times, modified, created)| {
            NodeView {
                key: Rc::clone(&key),
                value: value.map(|len| (0..len).map(|at| at as u8).collect()),
                dir,
                expiration: times.0,
                ttl: times.1,
                modified: Index(modified),
                created: Index(if created % 3 == 0 { modified } else { created }),
            }
        })
    }

    fn event() -> impl Strategy<Value = Event> {
        let key = proptest::collection::vec(any::<u8>(), 1..200).prop_map(Rc::<[u8]>::from);
        key.prop_flat_map(|key| {
            (0..Action::ALL.len(), number(), view(Rc::clone(&key)), proptest::option::of(view(key)), any::<bool>())
        })
        .prop_map(|(action, index, mut node, prev, refresh)| {
            node.modified = if node.modified.0 % 2 == 0 { Index(index) } else { node.modified };
            Event { action: Action::ALL[action], index: Index(index), node, prev, refresh }
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(events in proptest::collection::vec(event(), 1..20)) {
            let (mut bytes, mut shared, mut starts) = (Vec::new(), Shared::new(), Vec::new());
            let mut packed = Vec::new();
            for event in &events {
                starts.push(bytes.len());
                packed.push(pack(event, &mut bytes, &mut shared));
            }
            starts.push(bytes.len());
            for ((event, at), packed) in events.iter().zip(starts.windows(2)).zip(packed) {
                let record = unpack(&bytes[at[0]..at[1]], event.index, &shared);
                prop_assert_eq!(&record.to_event(), event);
                prop_assert_eq!(record.removed_directory(), event.removed_directory());
                let values = [Some(&event.node), event.prev.as_ref()].into_iter().flatten();
                let values = values.filter_map(|view| view.value.as_ref()).map(|value| value.len());
                let longest = values.filter(|len| *len > COPIED_MAX).max().map_or(0, |len| len + 48);
                prop_assert_eq!((record.shared_bytes(), packed), (longest, longest));
            }
        }
    }

    fn file(value: Rc<[u8]>, modified: u64) -> NodeView {
        NodeView {
            key: Rc::from(b"/key".as_slice()),
            value: Some(value),
            dir: false,
            expiration: None,
            ttl: 0,
            modified: Index(modified),
            created: Index(modified),
        }
    }

    #[test]
    fn a_write_takes_few_bytes_beside_its_key_and_values() {
        let view = |modified| file(Rc::from([7; 64]), modified);
        let index = Index(1_000_100);
        let event =
            Event { action: Action::Set, index, node: view(index.0), prev: Some(view(999_000)), refresh: false };
        let mut bytes = Vec::new();
        pack(&event, &mut bytes, &mut Shared::new());
        assert_eq!(bytes.len(), 4 + 64 + 64 + 9);
    }

    #[test]
    fn a_large_value_is_shared() {
        let value: Rc<[u8]> = Rc::from([7; COPIED_MAX + 1]);
        let node = file(Rc::clone(&value), 1);
        let event = Event { action: Action::Set, index: Index(1), node, prev: None, refresh: false };
        let (mut bytes, mut shared) = (Vec::new(), Shared::new());
        pack(&event, &mut bytes, &mut shared);
        let again = unpack(&bytes, Index(1), &shared).to_event();
        assert!(again.node.value.is_some_and(|again| Rc::ptr_eq(&again, &value)));
    }
}
