//! Go's `flag` package, and the way in which etcdctl puts flags before the other words.

use super::arguments::Values;
use super::duration;
use super::spec::{Flag, Kind};
use super::word::Word;

/// Which of the flags that need no table were among the others.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// `--help` or `-h`.
    pub(super) help: bool,
    /// `--version` or `-v`, which only the program itself knows.
    pub(super) version: bool,
}

/// Whose flags are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Program,
    Command,
}

/// The flags that a command line may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// All that are in the table.
    pub(super) flags: &'static [Flag],
    /// With those that etcdctl does not have.
    pub(super) own: bool,
}

impl Known {
    fn find(self, name: &str) -> Option<&'static Flag> {
        self.flags.iter().find(|flag| flag.names.contains(&name) && (self.own || !flag.own))
    }
}

/// Puts the flags of a command, each with its value, before its other words. What stands behind `--` is never a flag, and neither is what looks
/// like one but is none of this command's: `set k -5` stores `-5`. Only directly behind a flag it stays there, to be refused if that flag takes no value.
pub(super) fn reorder(known: Known, words: &[Word]) -> Vec<Word> {
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    // The kind of the flag that the last word was, unless its value was in that word.
    let mut behind = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let stays = match behind.take() {
            None => false,
            Some(Kind::Bool) => word.starts_with('-') && !matches!(&**word, "-" | "--"),
            Some(_) => true,
        };
        match kind_of(known, word) {
            None if stays => first.push(word.clone()),
            None if &**word == "--" => {
                rest.insert(0, word.clone());
                rest.extend(words.by_ref().cloned());
            }
            None => rest.push(word.clone()),
            // etcdctl takes the word behind a boolean flag for its value, too, and then no longer sees the flags behind that word.
            Some(kind) => {
                behind = (!word.contains('=')).then_some(kind);
                first.push(word.clone());
            }
        }
    }
    first.append(&mut rest);
    first
}

fn kind_of(known: Known, word: &str) -> Option<Kind> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
    let name = name.split('=').next().unwrap_or_default();
    if is_help(name) { Some(Kind::Bool) } else { known.find(name).map(|flag| flag.kind) }
}

fn is_help(name: &str) -> bool {
    name == "help" || name == "h"
}

/// Reads flags up to the first word that is none, or past a `--`. Gives what was set, and the words that are left.
///
/// # Errors
/// Go's text for what is wrong.
pub(super) fn parse(level: Level, known: Known, words: &[Word]) -> Result<(Values, Asked, Vec<Word>), String> {
    let mut values = Values::of(known.flags);
    let mut asked = Asked::default();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        if !word.starts_with('-') || &**word == "-" {
            break;
        }
        at += 1;
        if &**word == "--" {
            break;
        }
        let body = word.strip_prefix("--").unwrap_or(&word[1..]);
        if body.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {word}"));
        }
        let (name, inline) = body.split_once('=').map_or((body, None), |(name, value)| (name, Some(value)));
        if is_help(name) {
            asked.help = boolean(name, inline.unwrap_or("true"))?;
            continue;
        }
        if level == Level::Program && (name == "version" || name == "v") {
            asked.version = boolean(name, inline.unwrap_or("true"))?;
            continue;
        }
        let flag = known.find(name).ok_or_else(|| format!("flag provided but not defined: -{name}"))?;
        let value = match (inline, flag.kind) {
            (Some(_), _) => word.behind_equals().unwrap_or_default(),
            (None, Kind::Bool) => "true".into(),
            (None, _) => {
                let value = words.get(at).ok_or_else(|| format!("flag needs an argument: -{name}"))?;
                at += 1;
                value.clone()
            }
        };
        check(flag, name, &value)?;
        values.put(flag, name, value);
    }
    Ok((values, asked, words[at..].to_vec()))
}

fn check(flag: &Flag, name: &str, value: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("invalid value {} for flag -{name}: {why}", crate::text::quote(value)));
    match flag.kind {
        Kind::Text | Kind::List => Ok(()),
        Kind::Bool => boolean(name, value).map(drop),
        Kind::Int => match integer(value) {
            Ok(_) => Ok(()),
            Err(OutOfRange(true)) => wrong("value out of range"),
            Err(OutOfRange(false)) => wrong("parse error"),
        },
        Kind::Duration => duration::parse(value).map_or_else(|| wrong("parse error"), |_| Ok(())),
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, String> {
    to_bool(value)
        .ok_or_else(|| format!("invalid boolean value {} for -{name}: parse error", crate::text::quote(value)))
}

/// A boolean as Go reads it.
pub(super) fn to_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Why a number is none: it is too large, or no number at all.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfRange(bool);

/// A number as Go reads it with base 0: with a sign, a prefix for the base, and underscores behind a prefix or between digits.
pub(super) fn integer(text: &str) -> Result<i64, OutOfRange> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    let prefixed = digits.len() != lower.len();
    let misplaced = digits.ends_with('_') || digits.contains("__") || (digits.starts_with('_') && !prefixed);
    let plain: String = digits.chars().filter(|&c| c != '_').collect();
    if misplaced || plain.is_empty() || !plain.chars().all(|c| c.is_digit(base)) {
        return Err(OutOfRange(false));
    }
    let signed = if negative { format!("-{plain}") } else { plain };
    i64::from_str_radix(&signed, base).map_err(|_| OutOfRange(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known = Known {
        flags: &[
            Flag::new(&["ttl"], Kind::Int, "").or("0"),
            Flag::new(&["in-order"], Kind::Bool, ""),
            Flag::new(&["recursive", "r"], Kind::Bool, ""),
            Flag::new(&["bogus"], Kind::Bool, "").own(),
        ],
        own: false,
    };

    fn words(line: &str) -> Vec<Word> {
        line.split_whitespace().map(Word::from).collect()
    }

    #[test]
    fn flags_come_first() {
        for (line, want) in [
            ("k v --ttl 60", "--ttl 60 k v"),
            ("k v --ttl=60", "--ttl=60 k v"),
            ("k -5", "k -5"),
            ("-- k --ttl 5", "-- k --ttl 5"),
            ("k -r -- x --ttl 5", "-r -- k x --ttl 5"),
            ("k --ttl -5", "--ttl -5 k"),
            ("--in-order /q v --ttl 20", "--in-order --ttl 20 /q v"),
            ("k --bogus --ttl 1", "--ttl 1 k --bogus"),
            ("k --in-order --bogus", "--in-order --bogus k"),
            ("k --in-order --bogus --ttl 1", "--in-order --bogus --ttl 1 k"),
            ("k --in-order=true --bogus", "--in-order=true k --bogus"),
            ("k --in-order - --bogus", "--in-order k - --bogus"),
            ("k -h", "-h k"),
        ] {
            assert_eq!(reorder(KNOWN, &words(line)), words(want), "{line}");
        }
    }

    #[test]
    fn numbers_are_gos() {
        for (text, want) in [
            ("0", Ok(0)),
            ("-5", Ok(-5)),
            ("0x10", Ok(16)),
            ("010", Ok(8)),
            ("1_000", Ok(1000)),
            ("0x_f", Ok(15)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(OutOfRange(true))),
            ("08", Err(OutOfRange(false))),
            ("_1", Err(OutOfRange(false))),
            ("", Err(OutOfRange(false))),
            ("1s", Err(OutOfRange(false))),
        ] {
            assert_eq!(integer(text), want, "{text}");
        }
    }
}
