//! What the requests of an executor's connections may take of the memory, and what becomes of those that would take more.
//!
//! Three accounts, so that whoever fills one of them does not stand in the way of those who need another:
//!
//! - *Input*: what has come, and is about to come, of requests that are not complete. What of it every connection may hold
//!   anyway is not counted ([`FREE_BYTES`]). A larger request finds room as it comes, ahead of what has come, or is refused before the
//!   rest of it is read ([`net::http::reject::Reject::NoRoom`]).
//! - *Waiting*: requests that wait for their answers. Beyond, they are refused with "too many requests", or wait in their
//!   socket behind those that their connection has under way.
//! - *Answers* that are large, until their clients have taken them. Beyond, reads of much are refused ([`super::answers`]), and clients
//!   that take nothing are cut off ([`crate::http::Registry::end_stalled`]).

use std::rc::Rc;
use std::sync::Arc;

use super::crowd::Tally;

/// The part of the memory that a process may have which requests may take, unless `--request-memory` says otherwise: three eighths.
const PART: (u64, u64) = (3, 8);
/// The least that an account has, so that something gets through.
const LEAST_BYTES: usize = 256 << 10;
/// Per request that waits, beside its key and its value: the ticket, its place in a batch and the answer's head.
const REQUEST_BYTES: usize = 1 << 10;
/// A change is in memory about twice while it waits: as a command and as an entry of the log, later as an answer.
const COPIES: usize = 2;
/// Of what a connection holds so much is not counted: there may be many that hold little, and these are always served.
pub(crate) const FREE_BYTES: usize = 16 << 10;

/// What requests may take in all, in bytes, of `memory` that the process may have.
pub(crate) fn request_memory(memory: u64) -> u64 {
    memory / PART.1 * PART.0
}

/// What a request takes that waits for its answer, with so many bytes of path and value.
pub(crate) fn waiting_bytes(size: usize) -> usize {
    COPIES * size + REQUEST_BYTES
}

/// What all executors hold together, account by account; each changes its own numbers alone.
#[derive(Debug)]
pub(super) struct Tallies {
    input: Arc<[Tally]>,
    waiting: Arc<[Tally]>,
    answers: Arc<[Tally]>,
}

impl Tallies {
    pub(super) fn new(cores: usize) -> Self {
        let tallies = || (0..cores).map(|_| Tally::default()).collect();
        Self { input: tallies(), waiting: tallies(), answers: tallies() }
    }

    /// Bytes of large answers that clients of an executor have not taken.
    pub(super) fn answers(&self, of: usize) -> usize {
        self.answers[of].get()
    }

    /// The same of all.
    pub(super) fn all_answers(&self) -> usize {
        self.answers.iter().map(Tally::get).sum()
    }
}

/// The accounts of one executor.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pub(crate) input: Rc<Account>,
    pub(crate) waiting: Rc<Account>,
    pub(crate) answers: Rc<Account>,
}

impl Budget {
    /// That of executor `me`: a third each of its part of `bytes`.
    pub(super) fn of(bytes: usize, me: usize, tallies: &Tallies) -> Self {
        let account = |tallies: &Arc<[Tally]>| {
            let most = (bytes / 3 / tallies.len()).max(LEAST_BYTES);
            Rc::new(Account { me, most, tallies: Arc::clone(tallies) })
        };
        Self { input: account(&tallies.input), waiting: account(&tallies.waiting), answers: account(&tallies.answers) }
    }

    /// What is held in all.
    pub(crate) fn held(&self) -> usize {
        [&self.input, &self.waiting, &self.answers].iter().map(|account| account.held()).sum()
    }
}

/// Bytes that are held, and how many may be.
#[derive(Debug)]
pub(crate) struct Account {
    /// Whose it is.
    me: usize,
    /// What each executor may hold.
    most: usize,
    /// What each does.
    tallies: Arc<[Tally]>,
}

impl Account {
    pub(crate) fn held(&self) -> usize {
        self.tallies[self.me].get()
    }

    /// How many may be held.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// Whether `bytes` find room beside what others hold: `here`, on this executor, and on `all` of them. Anything does while these hold no
    /// more than half, or what is large would wait for a moment without anybody; and where all executors together hold little, one may have
    /// more than its part.
    pub(super) fn fits(&self, bytes: usize, here: usize, all: impl FnOnce() -> usize) -> bool {
        here <= self.most / 2 || here + bytes <= self.most || all() + bytes <= self.most * self.tallies.len() / 2
    }

    fn held_by_all(&self) -> usize {
        self.tallies.iter().map(Tally::get).sum()
    }

    /// What a request counts for that takes so many bytes while it waits: one alone leaves half to others.
    pub(super) fn counted(&self, bytes: usize) -> usize {
        bytes.min(self.most / 2)
    }

    /// Whether so many more may be held.
    pub(super) fn admits(&self, bytes: usize) -> bool {
        self.fits(bytes, self.held(), || self.held_by_all())
    }

    /// The same for what is small and comes first on its connection: a quarter more is left for those, or connections that have much
    /// under way would take the place of all others.
    pub(super) fn admits_first(&self, bytes: usize) -> bool {
        self.admits(bytes) || bytes <= waiting_bytes(FREE_BYTES) && self.held() + bytes <= self.most + self.most / 4
    }

    /// How much is to go where clients take nothing: what is beyond half of what may be held, unless all executors together hold little.
    pub(crate) fn excess(&self) -> usize {
        let is_little = self.held_by_all() <= self.most * self.tallies.len() / 4;
        if is_little { 0 } else { self.held().saturating_sub(self.most / 2) }
    }
}

/// What one connection holds of an account. Dropping it gives that back.
#[derive(Debug)]
pub(crate) struct Share {
    account: Rc<Account>,
    bytes: usize,
}

impl Share {
    /// So many bytes, whether they are there or not.
    pub(crate) fn of(account: &Rc<Account>, bytes: usize) -> Self {
        let mut share = Self { account: Rc::clone(account), bytes: 0 };
        share.set(bytes);
        share
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it may be so large.
    pub(crate) fn may_be(&self, bytes: usize) -> bool {
        let (account, own) = (&self.account, self.bytes);
        bytes <= own || account.fits(bytes, account.held() - own, || account.held_by_all() - own)
    }

    /// Holds so many from now on.
    pub(crate) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.account.tallies[self.account.me].moves(self.bytes, bytes);
            self.bytes = bytes;
        }
    }

    /// Holds so many more.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.set(self.bytes + bytes);
    }

    /// Gives so many back.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes, "{bytes} bytes are given back of {} that are held", self.bytes);
        self.set(self.bytes - bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1 << 20;

    /// Of the first of so many executors.
    fn budget(cores: usize) -> (Budget, Tallies) {
        let tallies = Tallies::new(cores);
        (Budget::of(3 * MOST * cores, 0, &tallies), tallies)
    }

    #[test]
    fn beyond_an_account_nothing_is_admitted_until_something_is_given_back() {
        let (budget, _) = budget(1);
        let waiting = &budget.waiting;
        let mut one = Share::of(waiting, MOST / 2);
        assert!(waiting.admits(2 * MOST), "while half is free anything is admitted");
        let other = Share::of(waiting, MOST / 2 - 100);
        assert!(waiting.admits(100) && !waiting.admits(101) && budget.input.admits(1));
        assert_eq!((budget.held(), waiting.excess()), (MOST - 100, MOST / 2 - 100));
        one.give_back(100);
        assert!(waiting.admits(200));
        drop(other);
        assert!(waiting.admits(2 * MOST) && waiting.excess() == 0);
        drop(one);
        assert_eq!(budget.held(), 0);
        assert_eq!((waiting.counted(100), waiting.counted(MOST)), (100, MOST / 2));
    }

    #[test]
    fn what_is_small_and_first_finds_room_where_others_have_much_under_way() {
        let (budget, _) = budget(1);
        let mut all = Share::of(&budget.waiting, MOST);
        let small = waiting_bytes(FREE_BYTES);
        assert!(budget.waiting.admits_first(small) && !budget.waiting.admits_first(small + 1));
        all.add(MOST / 4);
        assert!(!budget.waiting.admits_first(1));
    }

    #[test]
    fn a_share_may_grow_as_far_as_the_others_leave_room() {
        let (budget, _) = budget(1);
        let mut one = Share::of(&budget.input, 0);
        assert!(one.may_be(10 * MOST), "one that is alone may be as large as it likes");
        let other = Share::of(&budget.input, MOST * 3 / 4);
        one.set(MOST / 8);
        assert!(one.may_be(MOST / 4) && !one.may_be(MOST / 4 + 1));
        drop(other);
        assert!(one.may_be(10 * MOST));
    }

    #[test]
    fn one_executor_may_have_more_than_its_part_where_all_hold_little() {
        let (budget, tallies) = budget(8);
        let _own = Share::of(&budget.answers, MOST);
        assert!(budget.answers.admits(3 * MOST) && !budget.answers.admits(3 * MOST + 1));
        assert_eq!(budget.answers.excess(), 0);
        tallies.answers[5].moves(0, 3 * MOST);
        assert!(!budget.answers.admits(1));
        assert_eq!(budget.answers.excess(), MOST / 2);
    }

    #[test]
    fn the_least_is_enough_for_something() {
        assert_eq!(Budget::of(1, 0, &Tallies::new(2)).answers.most(), LEAST_BYTES);
        assert_eq!(request_memory(256 << 20), 96 << 20);
    }
}
