//! A client of the v2 API: requests to whichever endpoint answers.

mod auth;
mod cluster;
mod dns;
mod endpoint;
mod error;
mod http;
mod keys;
mod members;
mod pem;
mod socket;
mod tls;
mod url;

pub(crate) use auth::{Auth, Paths};
pub(crate) use cluster::Client;
pub(crate) use dns::discover;
pub(crate) use endpoint::Endpoint;
pub(crate) use error::{ApiError, Attempt, Error, Trouble};
pub(crate) use http::{Method, Reply, Request, Wire};
pub(crate) use keys::{Condition, Keys, Node, Read, Response, Write};
pub(crate) use members::{Member, check_peer_urls};
pub(crate) use tls::{Files, config as tls_config};

use std::time::{Duration, Instant};

/// When a request has to be answered. Watches have no end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// No limit.
    pub(crate) const NEVER: Self = Self(None);

    /// So long from now.
    pub(crate) fn within(limit: Duration) -> Self {
        Self(Instant::now().checked_add(limit))
    }

    /// What is left; `None` without a limit.
    ///
    /// # Errors
    /// It has passed.
    fn left(self) -> Result<Option<Duration>, Error> {
        let Some(at) = self.0 else { return Ok(None) };
        let left = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        left.map(Some).ok_or(Error::Deadline)
    }
}
