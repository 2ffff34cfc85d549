//! Why a request was refused: etcd's numbered errors.

use std::fmt;

/// The errors of the v2 keys API that a server can send. Numbers, texts and statuses are etcd 2.3's.
#[repr(u16)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Nothing at the path; the cause is the path up to the first missing component.
    KeyNotFound = 100,
    /// `prevValue` or `prevIndex` did not match; the cause is `[given != actual]`.
    CompareFailed = 101,
    /// A directory where only a file will do; the cause is its path (empty for the root).
    NotAFile = 102,
    /// A file in the middle of the path; the cause is the file's path.
    NotADirectory = 104,
    /// A create found something there; the cause is the path.
    KeyExists = 105,
    /// The root cannot be written; the cause is `/`.
    RootReadOnly = 107,
    /// A directory with children, hidden ones included, needs `recursive`; the cause is its path.
    DirectoryNotEmpty = 108,
    /// The user may not do this.
    Unauthorized = 110,
    /// `prevValue` was given but empty.
    PrevValueRequired = 201,
    /// `ttl` is no unsigned number.
    TtlNotANumber = 202,
    /// `prevIndex` or `waitIndex` is no unsigned number.
    IndexNotANumber = 203,
    /// A parameter does not parse, or does not go with the method.
    InvalidField = 209,
    /// The query or the form does not parse.
    InvalidForm = 210,
    /// A refresh must not carry a value.
    RefreshWithValue = 211,
    /// A refresh must carry a TTL.
    RefreshWithoutTtl = 212,
    /// The cluster could not take the request.
    RaftInternal = 300,
    /// An event that the watcher would have received is gone; the cause names the oldest index still usable.
    IndexCleared = 401,
}

impl Code {
    /// Every code, in numerical order.
    pub const ALL: [Self; 17] = [
        Self::KeyNotFound,
        Self::CompareFailed,
        Self::NotAFile,
        Self::NotADirectory,
        Self::KeyExists,
        Self::RootReadOnly,
        Self::DirectoryNotEmpty,
        Self::Unauthorized,
        Self::PrevValueRequired,
        Self::TtlNotANumber,
        Self::IndexNotANumber,
        Self::InvalidField,
        Self::InvalidForm,
        Self::RefreshWithValue,
        Self::RefreshWithoutTtl,
        Self::RaftInternal,
        Self::IndexCleared,
    ];

    /// The `errorCode` member of the body.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The `message` member of the body.
    pub const fn message(self) -> &'static str {
        match self {
            Self::KeyNotFound => "Key not found",
            Self::CompareFailed => "Compare failed",
            Self::NotAFile => "Not a file",
            Self::NotADirectory => "Not a directory",
            Self::KeyExists => "Key already exists",
            Self::RootReadOnly => "Root is read only",
            Self::DirectoryNotEmpty => "Directory not empty",
            Self::Unauthorized => "The request requires user authentication",
            Self::PrevValueRequired => "PrevValue is Required in POST form",
            Self::TtlNotANumber => "The given TTL in POST form is not a number",
            Self::IndexNotANumber => "The given index in POST form is not a number",
            Self::InvalidField => "Invalid field",
            Self::InvalidForm => "Invalid POST form",
            Self::RefreshWithValue => "Value provided on refresh",
            Self::RefreshWithoutTtl => "A TTL must be provided on refresh",
            Self::RaftInternal => "Raft Internal Error",
            Self::IndexCleared => "The event in requested index is outdated and cleared",
        }
    }

    /// The HTTP status of the answer.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::KeyNotFound => 404,
            Self::CompareFailed | Self::KeyExists => 412,
            Self::NotAFile | Self::DirectoryNotEmpty => 403,
            Self::Unauthorized => 401,
            Self::RaftInternal => 500,
            Self::NotADirectory
            | Self::RootReadOnly
            | Self::PrevValueRequired
            | Self::TtlNotANumber
            | Self::IndexNotANumber
            | Self::InvalidField
            | Self::InvalidForm
            | Self::RefreshWithValue
            | Self::RefreshWithoutTtl
            | Self::IndexCleared => 400,
        }
    }
}

/// A refused request. Whoever answers adds the index, which only the node as a whole knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub code: Code,
    /// The `cause` member, left out of the body when empty. Raw bytes: paths and values need not be UTF-8.
    pub cause: Vec<u8>,
}

impl Refusal {
    /// A refusal with its cause.
    pub fn new(code: Code, cause: impl Into<Vec<u8>>) -> Self {
        Self { code, cause: cause.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.code.number(), self.code.message(), String::from_utf8_lossy(&self.cause))
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the error table of etcd 2.3 that are ever sent.
    #[test]
    fn numbers_texts_and_statuses_are_etcds() {
        let rows = [
            (100, 404, "Key not found"),
            (101, 412, "Compare failed"),
            (102, 403, "Not a file"),
            (104, 400, "Not a directory"),
            (105, 412, "Key already exists"),
            (107, 400, "Root is read only"),
            (108, 403, "Directory not empty"),
            (110, 401, "The request requires user authentication"),
            (201, 400, "PrevValue is Required in POST form"),
            (202, 400, "The given TTL in POST form is not a number"),
            (203, 400, "The given index in POST form is not a number"),
            (209, 400, "Invalid field"),
            (210, 400, "Invalid POST form"),
            (211, 400, "Value provided on refresh"),
            (212, 400, "A TTL must be provided on refresh"),
            (300, 500, "Raft Internal Error"),
            (401, 400, "The event in requested index is outdated and cleared"),
        ];
        let ours = Code::ALL.map(|code| (code.number(), code.http_status(), code.message()));
        assert_eq!(ours, rows);
    }
}
