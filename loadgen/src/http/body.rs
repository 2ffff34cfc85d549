//! What is looked for in JSON bodies. Values and keys of this program hold nothing that JSON escapes, so bytes are compared
//! in place.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// A member of an object, found by its name.
pub(crate) struct Member(LazyLock<Finder<'static>>);

macro_rules! members {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) static $name: Member = Member(LazyLock::new(|| Finder::new(concat!("\"", $text, "\":"))));)*
    };
}

members! {
    /// The full name of a node.
    KEY = "key";
    /// The value of a node.
    VALUE = "value";
    /// The index of a node's last change.
    MODIFIED = "modifiedIndex";
    /// The index at which a node was made.
    CREATED = "createdIndex";
    /// The node as it was before.
    PREVIOUS = "prevNode";
    /// Seconds that a node has to live.
    LIFETIME = "ttl";
    /// The number of an error.
    ERROR = "errorCode";
}

impl Member {
    /// What follows the first member of this name.
    pub(crate) fn rest<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        self.0.find(body).map(|at| &body[at + self.0.needle().len()..])
    }

    /// The text of the first member of this name.
    pub(crate) fn text<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        let text = self.rest(body)?.strip_prefix(b"\"")?;
        memchr::memchr(b'"', text).map(|end| &text[..end])
    }

    /// The number of the first member of this name.
    pub(crate) fn number(&self, body: &[u8]) -> Option<u64> {
        let text = self.rest(body)?;
        let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        net::decimal::parse_u64(&text[..end])
    }

    /// How many members of this name there are.
    pub(crate) fn count(&self, body: &[u8]) -> u64 {
        self.0.find_iter(body).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"action":"set","node":{"key":"/a","value":"x","modifiedIndex":12,"createdIndex":11},"prevNode":{"key":"/a","value":"","modifiedIndex":9}}"#;

    #[test]
    fn members_are_found() {
        assert_eq!(KEY.text(BODY), Some(&b"/a"[..]));
        assert_eq!((MODIFIED.number(BODY), CREATED.number(BODY)), (Some(12), Some(11)));
        let previous = PREVIOUS.rest(BODY).expect("there");
        assert_eq!((VALUE.text(previous), MODIFIED.number(previous)), (Some(&b""[..]), Some(9)));
        assert_eq!((KEY.count(BODY), ERROR.number(BODY)), (2, None));
        assert_eq!((KEY.number(BODY), MODIFIED.text(BODY)), (None, None));
    }
}
