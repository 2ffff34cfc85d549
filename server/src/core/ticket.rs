//! Tickets: how an answer finds the one who waits for it, across executors and without a table of channels.

/// Names one waiting request of the node. Opaque to shards; 0 is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// Executors that a ticket can name, minus one: 0 must stay free.
pub(crate) const CORES_MAX: usize = (1 << CORE_BITS) - 1;
/// Requests that can wait on one executor at a time; more are refused.
pub(crate) const WAITING_MAX: usize = 1 << SLOT_BITS;

const CORE_BITS: u32 = 10;
const SLOT_BITS: u32 = 20;

/// Those who wait on one executor.
///
/// A ticket carries the generation of its slot, so that an answer that comes after its waiter has given up (a timeout,
/// a closed connection) finds nobody instead of the slot's next tenant.
pub(crate) struct Waiting<T> {
    core: usize,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
}

struct Slot<T> {
    generation: u32,
    waiter: Option<T>,
}

impl Ticket {
    /// Nobody waits.
    pub(crate) const NOBODY: Self = Self(0);

    /// The executor on which the waiter is; none for [`Ticket::NOBODY`].
    pub(crate) fn core(self) -> Option<usize> {
        ((self.0 >> (64 - CORE_BITS)) as usize).checked_sub(1)
    }

    fn new(core: usize, slot: u32, generation: u32) -> Self {
        let generation = u64::from(generation) & ((1 << (64 - CORE_BITS - SLOT_BITS)) - 1);
        Self((core as u64 + 1) << (64 - CORE_BITS) | u64::from(slot) << (64 - CORE_BITS - SLOT_BITS) | generation)
    }

    fn slot(self) -> usize {
        (self.0 >> (64 - CORE_BITS - SLOT_BITS)) as usize & (WAITING_MAX - 1)
    }
}

impl<T> Waiting<T> {
    pub(crate) fn new(core: usize) -> Self {
        assert!(core < CORES_MAX, "executor {core} has no place in a ticket");
        Self { core, slots: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// Those who wait.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Lets `waiter` wait; gives it back if too many wait already.
    pub(crate) fn add(&mut self, waiter: T) -> Result<Ticket, T> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < WAITING_MAX => {
                self.slots.push(Slot { generation: 0, waiter: None });
                self.slots.len() as u32 - 1
            }
            None => return Err(waiter),
        };
        let place = &mut self.slots[slot as usize];
        place.waiter = Some(waiter);
        self.len += 1;
        Ok(Ticket::new(self.core, slot, place.generation))
    }

    /// The waiter of a ticket of this executor, if it still waits.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<T> {
        self.find(ticket)?;
        let slot = ticket.slot();
        let place = &mut self.slots[slot];
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot as u32);
        self.len -= 1;
        place.waiter.take()
    }

    /// The waiter of a ticket, which goes on waiting.
    pub(crate) fn find(&mut self, ticket: Ticket) -> Option<&mut T> {
        let place = self.slots.get_mut(ticket.slot())?;
        if ticket != Ticket::new(self.core, ticket.slot() as u32, place.generation) {
            return None;
        }
        place.waiter.as_mut()
    }

    /// All who wait.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.waiter.as_ref())
    }

    /// Tickets of those for whom `over` holds.
    pub(crate) fn select(&self, mut over: impl FnMut(&T) -> bool) -> Vec<Ticket> {
        let all = self.slots.iter().enumerate();
        all.filter(|(_, slot)| slot.waiter.as_ref().is_some_and(&mut over))
            .map(|(at, slot)| Ticket::new(self.core, at as u32, slot.generation))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_finds_its_waiter_once() {
        let mut waiting = Waiting::new(3);
        let a = waiting.add("a").expect("room");
        let b = waiting.add("b").expect("room");
        assert_eq!((a.core(), Ticket::NOBODY.core()), (Some(3), None));
        assert_eq!(waiting.take(b), Some("b"));
        assert_eq!(waiting.take(b), None);
        assert_eq!(waiting.find(a), Some(&mut "a"));
        assert_eq!(waiting.len(), 1);
    }

    #[test]
    fn a_late_answer_does_not_reach_the_slots_next_tenant() {
        let mut waiting = Waiting::new(0);
        let old = waiting.add("old").expect("room");
        waiting.take(old);
        let new = waiting.add("new").expect("room");
        assert_ne!(old, new);
        assert_eq!(waiting.take(old), None);
        assert_eq!(waiting.take(new), Some("new"));
    }

    #[test]
    fn selects_those_whose_time_is_over() {
        let mut waiting = Waiting::new(1);
        let tickets: Vec<Ticket> = (0..4).filter_map(|n| waiting.add(n).ok()).collect();
        assert_eq!(waiting.select(|n| n % 2 == 1), [tickets[1], tickets[3]]);
    }
}
