//! The values of flags.

use std::time::Duration;

use super::spec::{Flag, Kind};
use super::word::Word;
use super::{duration, flags};

/// What was typed for the flags of one command. Every value has passed its flag's check.
#[derive(Debug)]
pub(crate) struct Values {
    flags: &'static [Flag],
    /// Long name, spelling used, value.
    given: Vec<(&'static str, String, Word)>,
}

impl Values {
    /// Nothing typed yet.
    pub(super) fn of(flags: &'static [Flag]) -> Self {
        Self { flags, given: Vec::new() }
    }

    pub(super) fn put(&mut self, flag: &Flag, spelling: &str, value: Word) {
        self.given.push((flag.names[0], spelling.to_owned(), value));
    }

    /// Counts what was typed for a flag of `others` as typed here, and later.
    pub(super) fn take_over(&mut self, name: &str, others: &Self) {
        self.given.extend(others.given.iter().filter(|(long, ..)| *long == name).cloned());
    }

    /// Both spellings of one flag, in the order in which etcdctl complains of them.
    pub(super) fn two_forms(&self) -> Option<String> {
        self.flags.iter().find_map(|flag| {
            let used = |name: &str| self.given.iter().any(|(_, spelling, _)| spelling == name);
            let used: Vec<_> = flag.names.iter().copied().filter(|name| used(name)).collect();
            (used.len() > 1).then(|| format!("{} {}", used[1], used[0]))
        })
    }

    fn last_word(&self, name: &str) -> Option<&Word> {
        self.given.iter().rev().find(|(long, ..)| *long == name).map(|(.., value)| value)
    }

    fn last(&self, name: &str) -> Option<&str> {
        self.last_word(name).map(|word| &**word)
    }

    fn flag(&self, name: &str, kind: Kind) -> &'static Flag {
        let flag = self.flags.iter().find(|flag| flag.names[0] == name);
        let flag = flag.unwrap_or_else(|| panic!("no flag {name} in the table"));
        assert_eq!(flag.kind, kind, "{name}");
        flag
    }

    /// The text of a flag; its default, or nothing, when it was not given.
    pub(crate) fn text(&self, name: &str) -> &str {
        let flag = self.flag(name, Kind::Text);
        self.last(name).unwrap_or(flag.default)
    }

    /// The bytes of a flag's text, which need not be UTF-8.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        let flag = self.flag(name, Kind::Text);
        self.last_word(name).map_or(flag.default.as_bytes(), Word::bytes)
    }

    /// All values of a flag that may be given often.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        self.flag(name, Kind::List);
        self.given.iter().filter(|(long, ..)| *long == name).map(|(.., value)| value.to_string()).collect()
    }

    /// Whether a flag was given.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.flag(name, Kind::Bool);
        self.last(name).and_then(flags::to_bool).unwrap_or(false)
    }

    /// A number.
    pub(crate) fn int(&self, name: &str) -> i64 {
        let flag = self.flag(name, Kind::Int);
        let text = self.last(name).unwrap_or(flag.default);
        flags::integer(text).unwrap_or_else(|_| panic!("{name}={text} passed its check"))
    }

    /// A time; zero when a negative one was given.
    pub(crate) fn duration(&self, name: &str) -> Duration {
        let flag = self.flag(name, Kind::Duration);
        let text = self.last(name).unwrap_or(flag.default);
        duration::parse(text).unwrap_or_else(|| panic!("{name}={text} passed its check"))
    }
}
