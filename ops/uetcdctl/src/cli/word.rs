//! The words of a command line. Values, keys and what commands are made of need not be UTF-8.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::text;

/// One word: its bytes, and a text of it in which U+FFFD stands for each byte that is not UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    bytes: Vec<u8>,
    text: String,
}

impl Word {
    /// The bytes as they were typed.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What stands behind the first equals sign, if there is one.
    pub(super) fn behind_equals(&self) -> Option<Self> {
        let at = self.bytes.iter().position(|&byte| byte == b'=')?;
        Some(self.bytes[at + 1..].to_vec().into())
    }
}

impl From<Vec<u8>> for Word {
    fn from(bytes: Vec<u8>) -> Self {
        let text = text::lossy(&bytes);
        Self { bytes, text }
    }
}

impl From<OsString> for Word {
    fn from(word: OsString) -> Self {
        word.into_vec().into()
    }
}

impl From<&str> for Word {
    fn from(word: &str) -> Self {
        word.as_bytes().to_vec().into()
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl AsRef<OsStr> for Word {
    fn as_ref(&self) -> &OsStr {
        OsStr::from_bytes(&self.bytes)
    }
}

impl AsRef<[u8]> for Word {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}
