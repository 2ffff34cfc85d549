//! Why a run says nothing about the server's speed.

use std::io;

use crate::http::Malformed;

/// What ended a run. The first one is reported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// No connection.
    #[error(
        "connection {connection} to {host} cannot be opened: {source}. Is there an etcd v2 server, and is its descriptor limit high enough?"
    )]
    Connect {
        /// Its number.
        connection: u32,
        /// The server.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke, or was closed.
    #[error("lost answer on connection {connection} to {host}: {source}; under way: {request}")]
    Broken {
        /// Its number.
        connection: u32,
        /// The server.
        host: String,
        /// The oldest request without an answer.
        request: String,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing came.
    #[error("lost answer on connection {connection} to {host}: nothing within {limit_s} s after {request}")]
    Silent {
        /// Its number.
        connection: u32,
        /// The server.
        host: String,
        /// The oldest request without an answer.
        request: String,
        /// How long it was waited for.
        limit_s: f64,
    },
    /// The answer is no HTTP.
    #[error("wrong answer on connection {connection} from {host} to {request}: {source}")]
    Malformed {
        /// Its number.
        connection: u32,
        /// The server.
        host: String,
        /// What was asked.
        request: String,
        /// What is wrong.
        source: Malformed,
    },
    /// The answer is not what must be answered.
    #[error("wrong answer on connection {connection} from {host} to {request}: {what}")]
    Wrong {
        /// Its number.
        connection: u32,
        /// The server.
        host: String,
        /// What was asked.
        request: String,
        /// What is wrong.
        what: String,
    },
    /// A watcher has not got what it must get.
    #[error("watcher {watcher} at {host}: {what}")]
    Watch {
        /// Its number.
        watcher: u32,
        /// The server.
        host: String,
        /// What is wrong.
        what: String,
    },
    /// What stands in the store is not what was acknowledged.
    #[error("the store is wrong after the run: {0}")]
    Store(String),
    /// Not the server's fault.
    #[error("{0}")]
    Own(String),
}
