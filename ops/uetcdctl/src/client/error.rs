//! Why a request failed, in the words of etcd's Go client.

use std::fmt;

use serde::Deserialize;

/// What the server refused, and why.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct ApiError {
    /// etcd's number, 100 for a missing key.
    #[serde(rename = "errorCode")]
    pub code: u64,
    /// The number in words.
    pub message: String,
    /// What it is about: the key, mostly.
    pub cause: String,
    /// etcd's index at the time.
    pub index: u64,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}) [{}]", self.code, self.message, self.cause, self.index)
    }
}

/// Why one endpoint gave no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The text for people.
    pub text: String,
    /// The endpoint as the user or the cluster names it.
    pub endpoint: String,
    /// What kind of trouble it was.
    pub trouble: Trouble,
}

/// Kinds of [`Attempt`], as far as somebody acts on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// No connection, or it broke.
    Connection,
    /// It ended without an answer.
    Closed,
    /// The name has no address.
    Name,
    /// No answer in time.
    Silence,
    /// The two could not agree on TLS.
    Tls,
    /// It does not do this: status 501.
    Missing,
    /// Another 5xx status.
    Server,
    /// Anything else.
    Other,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Error {
    /// The server said so.
    #[error("{0}")]
    Api(ApiError),
    /// No endpoint had an answer.
    #[error("client: etcd cluster is unavailable or misconfigured{}", each(.0))]
    Cluster(Vec<Attempt>),
    /// The only endpoint that may be asked had no answer.
    #[error("{}", .0.text)]
    Once(Attempt),
    /// The total time is over.
    #[error("context deadline exceeded")]
    Deadline,
    /// There is no endpoint to ask.
    #[error("client: no endpoints available")]
    NoEndpoints,
    /// An answer without a body.
    #[error("client: response body is empty")]
    EmptyBody,
    /// An answer that is no etcd's.
    #[error("client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint")]
    InvalidJson,
    /// An endpoint is no URL.
    #[error("{0}")]
    BadEndpoint(String),
    /// Another refusal, in the server's words or ours.
    #[error("{0}")]
    Said(String),
}

impl Error {
    /// Nobody could be reached, as opposed to somebody who answered something useless.
    pub(crate) fn is_connection(&self) -> bool {
        match self {
            Self::Deadline => true,
            Self::Cluster(attempts) => {
                attempts.iter().all(|attempt| matches!(attempt.trouble, Trouble::Connection | Trouble::Name))
            }
            _ => false,
        }
    }

    /// One line for each endpoint that was tried, each with its end of line; nothing for other failures.
    pub(crate) fn detail(&self) -> Option<String> {
        let Self::Cluster(attempts) = self else { return None };
        let lines = attempts.iter().enumerate().map(|(number, attempt)| format!("error #{number}: {}\n", attempt.text));
        Some(lines.collect::<Vec<_>>().concat())
    }
}

fn each(attempts: &[Attempt]) -> String {
    let each = attempts.iter().enumerate().map(|(number, attempt)| format!("; error #{number}: {}\n", attempt.text));
    each.collect::<Vec<_>>().concat()
}
