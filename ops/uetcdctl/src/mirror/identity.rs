//! Which cluster is which.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Plan;
use crate::client::{Client, Condition, Deadline, Error, Keys, Method, Read, Reply, Request, Write};
use crate::text::path_escape;

const PATIENCE: Duration = Duration::from_secs(20);
/// A mark that could not be removed vanishes by itself.
const MARK_SECONDS: i64 = 30;

/// etcd's code for a key that is not there.
pub(super) const KEY_NOT_FOUND: u64 = 100;

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

/// The id of a cluster.
pub(super) fn cluster(client: &Client) -> Result<String, Error> {
    Ok(ask(client, "")?.cluster_id)
}

/// Whether a cluster has the history that led to a place, as far as id and index tell it. It is asked for a directory that this user may read.
pub(super) fn is_beyond(client: &Client, directory: &str, place: &Place) -> Result<bool, Error> {
    let reply = ask(client, directory)?;
    // Some refusals name no index.
    let index = reply.index.unwrap_or(place.index);
    Ok(place.is_past_of(&Place { cluster: reply.cluster_id, index }))
}

/// Any answer tells where a cluster is, and this one is short: most likely there is nothing.
fn ask(client: &Client, directory: &str) -> Result<Reply, Error> {
    let path = format!("/v2/keys{}/_uetcdctl-mirror", path_escape(directory.as_bytes()));
    let request = Request { query: Some("quorum=true".into()), ..Request::new(Method::Get, path) };
    client.send(&request, Deadline::within(PATIENCE))
}

/// What is known about two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinship {
    Same,
    Different,
    /// They have one id, and nothing may be written to tell them apart.
    Unknown,
}

/// Whether what is written to the copy shows in the source. It is asked only of clusters with one id: that comes from names and URLs, which are
/// alike wherever nobody has set them. The mark is a hidden key.
pub(super) fn kinship(plan: &Plan, source: &Client, copy: &Client) -> Result<Kinship, Error> {
    let (source, copy) = (Keys::new(source), Keys::new(copy));
    let inner = if plan.to.len() > plan.from.len() { &plan.to } else { &plan.from };
    // Some users may do nothing outside the directory that they copy.
    for directory in ["", inner] {
        let key = format!("{directory}/_uetcdctl-mirror-{:016x}", fastrand::u64(..));
        let write = Write { value: Some(Vec::new()), ttl: MARK_SECONDS, ..Write::default() };
        match copy.put(&key, &write, Deadline::within(PATIENCE)) {
            Ok(_) => {}
            Err(Error::Api(_)) => continue,
            Err(error) => return Err(error),
        }
        let found = source.get(&key, Read { quorum: true, ..Read::default() }, Deadline::within(PATIENCE));
        // Best effort: it does not stay for long.
        let _ = copy.delete(&key, false, false, &Condition::default(), Deadline::within(PATIENCE));
        match found {
            Ok(_) => return Ok(Kinship::Same),
            Err(Error::Api(error)) if error.code == KEY_NOT_FOUND => return Ok(Kinship::Different),
            Err(Error::Api(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Kinship::Unknown)
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
