//! Forms and query strings with the rules, and the complaints, of Go 1.19.
//!
//! `+` is a space, `%XX` is decoded, empty pairs are skipped, `a` is `a=`, everything after the first `=` is the value,
//! and a `;` anywhere is an error.

use std::borrow::Cow;

pub use crate::percent::BadEscape;

use crate::percent::{self, Plus};

/// Why a form or a query string cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormError {
    /// There is a `;`.
    Semicolon,
    /// A `%` that begins no escape.
    Escape(BadEscape),
    /// The body is over the limit.
    TooLarge,
    /// The content type is malformed; Go's complaint.
    MediaType(&'static str),
}

impl FormError {
    /// The text that etcd puts into the `cause` of error 210.
    pub fn cause(&self) -> Cow<'static, str> {
        match self {
            Self::Semicolon => Cow::Borrowed("invalid semicolon separator in query"),
            Self::Escape(escape) => Cow::Owned(escape.cause()),
            Self::TooLarge => Cow::Borrowed("http: POST too large"),
            Self::MediaType(complaint) => Cow::Borrowed(complaint),
        }
    }
}

/// A name and its value, decoded; borrowed where nothing was escaped.
pub type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// The pairs of a form, in order, up to and including the first error.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a [u8],
    /// Most queries have nothing to decode: looked at once, rather than in every name and value.
    has_escapes: bool,
}

/// The pairs of `text`. A `;` is reported at once, wherever it stands, because in Go it wins over bad escapes before
/// it.
pub fn pairs(text: &[u8]) -> Result<Pairs<'_>, FormError> {
    if memchr::memchr(b';', text).is_some() {
        return Err(FormError::Semicolon);
    }
    Ok(Pairs { rest: text, has_escapes: memchr::memchr2(b'%', b'+', text).is_some() })
}

impl<'a> Iterator for Pairs<'a> {
    type Item = Result<Pair<'a>, FormError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let (pair, rest) = cut(self.rest, b'&');
            self.rest = rest;
            if !pair.is_empty() {
                let (name, value) = cut(pair, b'=');
                if !self.has_escapes {
                    return Some(Ok((Cow::Borrowed(name), Cow::Borrowed(value))));
                }
                let decoded = decode(name).and_then(|name| Ok((name, decode(value)?)));
                if decoded.is_err() {
                    self.rest = &[];
                }
                return Some(decoded);
            }
        }
        None
    }
}

fn decode(text: &[u8]) -> Result<Cow<'_, [u8]>, FormError> {
    percent::decode(text, Plus::Space).map_err(FormError::Escape)
}

/// What stands before and after the first `separator`; all of it and nothing when there is none.
fn cut(text: &[u8], separator: u8) -> (&[u8], &[u8]) {
    memchr::memchr(separator, text).map_or((text, &[]), |at| (&text[..at], &text[at + 1..]))
}
