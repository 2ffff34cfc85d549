//! Requests to a cluster: the endpoint that answered last is asked first, then the others in turn.

use std::sync::Mutex;

use super::{Attempt, Deadline, Endpoint, Error, Member, Reply, Request, Trouble, Wire};

/// A client of one cluster; threads may share it.
#[derive(Debug)]
pub(crate) struct Client {
    wire: Wire,
    endpoints: Mutex<Ring>,
}

#[derive(Clone, Debug)]
struct Ring {
    all: Vec<Endpoint>,
    /// Who answered last.
    pinned: usize,
}

impl Client {
    /// A client of these endpoints, in random order.
    pub(crate) fn new(wire: Wire, mut endpoints: Vec<Endpoint>) -> Self {
        fastrand::shuffle(&mut endpoints);
        Self { wire, endpoints: Mutex::new(Ring { all: endpoints, pinned: 0 }) }
    }

    /// The endpoints, in the order in which they are tried.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.ring().all
    }

    /// What sends the requests.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    fn ring(&self) -> Ring {
        self.endpoints.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn set_ring(&self, ring: Ring) {
        *self.endpoints.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = ring;
    }

    /// Takes the client URLs of all members for the endpoints.
    ///
    /// # Errors
    /// `NoEndpoints` when no member publishes one; anything that keeps the members from being listed.
    pub(crate) fn sync(&self, deadline: Deadline) -> Result<(), Error> {
        let mut published: Vec<_> =
            super::members::list(self, deadline)?.into_iter().flat_map(|member: Member| member.client_urls).collect();
        if published.is_empty() {
            return Err(Error::NoEndpoints);
        }
        published.sort();
        let mut known: Vec<_> = self.endpoints().iter().map(ToString::to_string).collect();
        known.sort();
        if published == known {
            return Ok(());
        }
        let endpoints: Result<Vec<_>, _> = published.iter().map(|url| Endpoint::parse(url)).collect();
        let mut all = endpoints.map_err(Error::Said)?;
        fastrand::shuffle(&mut all);
        self.set_ring(Ring { all, pinned: 0 });
        Ok(())
    }

    /// Sends a request to one endpoint after the other until one gives an answer that is no server error.
    ///
    /// # Errors
    /// `Cluster` with what each of them did, `Once` if only one may be asked; `Deadline` as soon as that has passed.
    pub(crate) fn send(&self, request: &Request, deadline: Deadline) -> Result<Reply, Error> {
        let ring = self.ring();
        if ring.all.is_empty() {
            return Err(Error::NoEndpoints);
        }
        let mut attempts = Vec::new();
        for turn in 0..ring.all.len() {
            let at = (ring.pinned + turn) % ring.all.len();
            let endpoint = &ring.all[at];
            match self.wire.send(endpoint, request, deadline) {
                Ok(reply) if reply.status / 100 == 5 => attempts.push(server_error(endpoint, reply.status)),
                Ok(reply) => {
                    if at != ring.pinned {
                        self.set_ring(Ring { pinned: at, ..ring });
                    }
                    return Ok(reply);
                }
                Err(Error::Cluster(mut failed)) => attempts.append(&mut failed),
                Err(other) => return Err(other),
            }
            if request.once
                && let Some(failed) = attempts.pop()
            {
                return Err(Error::Once(failed));
            }
        }
        Err(Error::Cluster(attempts))
    }
}

fn server_error(endpoint: &Endpoint, status: u16) -> Attempt {
    let text = match status {
        500 | 503 => format!("client: etcd member {endpoint} has no leader"),
        other => format!("client: etcd member {endpoint} returns server error [{}]", status_text(other)),
    };
    let trouble = if status == 501 { Trouble::Missing } else { Trouble::Server };
    Attempt { text, endpoint: endpoint.to_string(), trouble }
}

fn status_text(status: u16) -> &'static str {
    ureq::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}
