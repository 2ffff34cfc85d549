//! What the other members' disks have held, as they have said themselves.
//!
//! A member that comes back with less than that has another disk than it had, and does not know what it has promised. It is
//! told so in the handshake, before it can vote.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use net::peer::{Held, Hello};
use serde::{Deserialize, Serialize};
use shard::ids::MemberId;

/// Earlier processes of a member that are told from its present one: more than may have a word under way at once.
const REPLACED_MAX: usize = 16;

/// What is known of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The process that has said it: one process has one disk.
    process: u64,
    visible: u64,
    terms: u64,
    /// The processes before it, the last one first: they have ended, and what still comes of them changes nothing.
    #[serde(default)]
    replaced: Vec<u64>,
}

/// What is known of all of them. For any thread; off the request path.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<u64, Known>,
    news: Option<News>,
}

/// What is not on this member's own disk yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// A disk holds more than before: what is on the own disk is true, too.
    More,
    /// A disk begins anew: what is on the own disk would be held against its member.
    Anew,
}

impl Known {
    fn held(&self) -> Held {
        Held { visible: self.visible, terms: self.terms, forgetful: false }
    }
}

impl Remembered {
    /// Reads what [`Remembered::take_news`] gave; none: it is not that.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let members = serde_json::from_slice(text).ok()?;
        Some(Self(Mutex::new(State { members, news: None })))
    }

    /// What there is to write down, if it is at least this important.
    pub(crate) fn take_news(&self, least: News) -> Option<(News, Vec<u8>)> {
        let mut state = self.state();
        let news = state.news.take_if(|news| *news >= least)?;
        Some((news, serde_json::to_vec(&state.members).ok()?))
    }

    /// It could not be written down.
    pub(crate) fn keep_news(&self, news: News) {
        let mut state = self.state();
        state.news = state.news.max(Some(news));
    }

    /// Somebody says hello. True: its disk has held more, and it does not know.
    pub(crate) fn is_outdated(&self, hello: &Hello) -> bool {
        let (member, process) = (hello.identity.member, hello.identity.process);
        let mut state = self.state();
        let known = state.members.get(&member).filter(|known| known.process != process);
        if known.is_some_and(|known| known.replaced.contains(&process)) {
            return false;
        }
        if known.is_some_and(|known| !hello.held.forgetful && hello.held.is_less_than(&known.held())) {
            return true;
        }
        state.note(member, process, hello.held);
        false
    }

    /// A process that has said hello says what its disk holds by now. What comes late of an earlier one does not count.
    pub(crate) fn note(&self, member: MemberId, process: u64, held: Held) {
        let mut state = self.state();
        if state.members.get(&member.0).is_some_and(|known| known.process == process) {
            state.note(member.0, process, held);
        }
    }

    /// Of each member, the highest index that its disk has noted as visible.
    pub(crate) fn each(&self, mut then: impl FnMut(MemberId, u64)) {
        self.state().members.iter().for_each(|(member, known)| then(MemberId(*member), known.visible));
    }

    /// What a member's disk has held.
    pub(crate) fn held(&self, member: MemberId) -> Option<Held> {
        self.state().members.get(&member.0).map(Known::held)
    }

    /// Nobody needs to know any more of members that have left for good.
    pub(crate) fn forget(&self, is_gone: impl Fn(MemberId) -> bool) {
        self.state().members.retain(|member, _| !is_gone(MemberId(*member)));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panicking holder ends the process, so the lock is never poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, member: u64, process: u64, held: Held) {
        let before = self.members.get(&member);
        let held = match before {
            Some(before) if !held.forgetful => held.max(before.held()),
            _ => held,
        };
        let mut replaced = before.map_or(Vec::new(), |before| before.replaced.clone());
        if let Some(before) = before.filter(|before| before.process != process) {
            replaced.insert(0, before.process);
            replaced.truncate(REPLACED_MAX);
        }
        let now = Known { process, visible: held.visible, terms: held.terms, replaced };
        if before == Some(&now) {
            return;
        }
        let is_less = before.is_some_and(|before| now.held().is_less_than(&before.held()));
        self.news = self.news.max(Some(if is_less { News::Anew } else { News::More }));
        self.members.insert(member, now);
    }
}

#[cfg(test)]
mod tests {
    use net::peer::{Identity, PROTOCOL};

    use super::*;

    fn hello(process: u64, visible: u64, terms: u64, forgetful: bool) -> Hello {
        let identity = Identity { cluster: 1, member: 2, process, format: 1, shards: 16, executors: 1 };
        Hello { protocol: PROTOCOL, identity, to: 1, executor: 0, held: Held { visible, terms, forgetful } }
    }

    #[test]
    fn an_older_disk_shows_by_either_number() {
        let remembered = Remembered::default();
        assert!(!remembered.is_outdated(&hello(1, 100, 30, false)), "nothing was known");
        remembered.note(MemberId(2), 1, Held { visible: 200, terms: 31, forgetful: false });
        assert!(!remembered.is_outdated(&hello(1, 100, 30, false)), "a hello that was under way for long");
        for (visible, terms) in [(199, 31), (200, 30)] {
            assert!(remembered.is_outdated(&hello(3, visible, terms, false)));
        }
        assert!(!remembered.is_outdated(&hello(3, 200, 31, false)), "a crash takes away nothing");
        assert!(remembered.is_outdated(&hello(4, 150, 31, false)));
    }

    #[test]
    fn a_late_hello_of_an_earlier_process_does_not_keep_the_present_one_from_being_heard() {
        let remembered = Remembered::default();
        assert!(!remembered.is_outdated(&hello(1, 100, 30, false)));
        let lives = REPLACED_MAX as u64;
        for process in 2..=lives + 1 {
            assert!(!remembered.is_outdated(&hello(process, 100, 30, false)));
        }
        for earlier in 1..=lives {
            for visible in [90, 110] {
                assert!(
                    !remembered.is_outdated(&hello(earlier, visible, 30, false)),
                    "it says nothing of the disk of today"
                );
            }
            remembered.note(MemberId(2), lives + 1, Held { visible: 200 + earlier, terms: 31, forgetful: false });
            assert!(remembered.is_outdated(&hello(99, 199 + earlier, 31, false)));
        }
    }

    #[test]
    fn who_knows_that_it_has_forgotten_begins_anew() {
        let remembered = Remembered::default();
        assert!(!remembered.is_outdated(&hello(1, 200, 31, false)));
        assert_eq!(remembered.take_news(News::Anew), None);
        assert!(remembered.take_news(News::More).is_some());
        assert!(!remembered.is_outdated(&hello(2, 0, 0, true)));
        assert!(remembered.take_news(News::Anew).is_some(), "else a restart here would hold it against the member");
        remembered.note(MemberId(2), 1, Held { visible: 300, terms: 31, forgetful: false });
        remembered.note(MemberId(2), 2, Held { visible: 150, terms: 20, forgetful: false });
        assert!(remembered.is_outdated(&hello(3, 149, 20, false)));
        assert!(!remembered.is_outdated(&hello(3, 150, 20, false)));
    }

    #[test]
    fn what_is_written_down_comes_back() {
        let remembered = Remembered::default();
        for member in [2, 3] {
            let mut hello = hello(1, 200, 31, false);
            hello.identity.member = member;
            assert!(!remembered.is_outdated(&hello));
        }
        remembered.forget(|member| member == MemberId(3));
        let (news, text) = remembered.take_news(News::More).expect("something new");
        assert_eq!(remembered.take_news(News::More), None);
        remembered.keep_news(news);
        assert!(remembered.take_news(News::More).is_some(), "it was not written down");
        let back = Remembered::read(&text).expect("its own text");
        assert_eq!(back.state().members, remembered.state().members);
        assert!(back.is_outdated(&hello(2, 199, 31, false)));
        assert!(Remembered::read(b"{").is_none());
    }
}
