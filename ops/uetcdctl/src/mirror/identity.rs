//! Which cluster is which.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::client::{Client, Deadline, Error, Method, Request};

const PATIENCE: Duration = Duration::from_secs(20);
/// A place in a cluster's history.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    /// The cluster's id; empty when it did not say.
    pub(super) cluster: String,
    pub(super) index: u64,
}

impl Place {
    /// Whether what is there at `now` has the history that led here. One that began anew under the same id is behind.
    pub(super) fn is_past_of(&self, now: &Self) -> bool {
        self.cluster == now.cluster && self.index <= now.index
    }
}

/// Where a cluster is now.
pub(super) fn place(client: &Client) -> Result<Place, Error> {
    // Any answer tells it, a refusal too, and this one is short.
    let request = Request { query: "quorum=true".into(), ..Request::new(Method::Get, "/v2/keys/_uetcdctl-mirror") };
    let reply = client.send(&request, Deadline::within(PATIENCE))?;
    Ok(Place { cluster: reply.cluster_id, index: reply.index.unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_goes_on_under_its_id_and_with_its_index() {
        let place = |cluster: &str, index| Place { cluster: cluster.into(), index };
        for (now, want) in
            [(place("a", 7), true), (place("a", 9), true), (place("a", 6), false), (place("b", 9), false)]
        {
            assert_eq!(place("a", 7).is_past_of(&now), want, "{now:?}");
        }
    }
}
