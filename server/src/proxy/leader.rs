//! What goes through consensus waits while a member that has died may still be taken for the leader.
//!
//! A member of etcd whose leader has died takes writes at once, loses them, and says so with a 500 seven seconds later. Clients
//! whose request died with the member would fail twice, then. So when an endpoint has failed, the next one is asked who leads
//! before it gets a write; if that is somebody who can not be reached, or nobody, it is asked again until an election is over.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::endpoint::Endpoint;
use super::front::Front;
use super::probe;
use crate::peer::within;

/// How long a request waits at most: elections take a second or two with etcd's defaults. Then the members have the last word.
const HOLD_MAX: Duration = Duration::from_secs(5);
/// From one question to the next.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a member has to say who leads, or anything at all.
const PATIENCE: Duration = Duration::from_secs(1);

/// Waits until `endpoint` follows a leader that is there, if some endpoint has failed since one was last seen. Of all the
/// requests that wait on an executor one asks.
pub(super) async fn wait(front: &Front, endpoint: &Arc<Endpoint>) {
    let begun = Instant::now();
    while let Some(failures) = front.shared.director.is_shaken() {
        if begun.elapsed() >= HOLD_MAX || front.is_stopping() || !endpoint.is_available() {
            return;
        }
        if let Some(_asking) = Asking::begin(front)
            && leads(front, endpoint).await
        {
            front.shared.director.calm(failures);
            return;
        }
        glommio::timer::sleep(GLANCE).await;
    }
}

/// The one request of an executor that asks, until this is dropped: its client may go meanwhile.
struct Asking<'a>(&'a Front);

impl<'a> Asking<'a> {
    fn begin(front: &'a Front) -> Option<Self> {
        (!front.asking_for_leader.replace(true)).then(|| Self(front))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking_for_leader.set(false);
    }
}

/// Whether there is a leader as far as an endpoint knows, and it can be reached. Who does not say is not waited for.
async fn leads(front: &Front, endpoint: &Arc<Endpoint>) -> bool {
    match within(PATIENCE, ask(front, endpoint)).await {
        Ok(Said::Leader(urls)) => {
            let named = front.endpoints();
            let leader = named.iter().find(|named| urls.iter().any(|url| url == named.url().as_str()));
            match leader {
                // Whoever has just answered is there.
                Some(leader) if !Arc::ptr_eq(leader, endpoint) => is_there(front, leader).await,
                _ => true,
            }
        }
        Ok(Said::Election) => false,
        Ok(Said::Nothing) | Err(_) => true,
    }
}

/// That its port takes connections says nothing: the kernel still does that for a process that ends.
async fn is_there(front: &Front, leader: &Arc<Endpoint>) -> bool {
    !leader.is_hung() && within(PATIENCE, probe::ask(front, leader, "/version")).await.is_ok()
}

/// What a member says of the leader.
enum Said {
    /// Its client URLs.
    Leader(Vec<String>),
    Election,
    Nothing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Leader {
    #[serde(rename = "clientURLs")]
    client_urls: Vec<String>,
}

async fn ask(front: &Front, endpoint: &Arc<Endpoint>) -> io::Result<Said> {
    let (mut upstream, head) = probe::ask(front, endpoint, "/v2/members/leader").await?;
    if head.status != 200 {
        return Ok(if head.status == 503 { Said::Election } else { Said::Nothing });
    }
    let (body, _) = probe::body(front, &mut upstream, &head).await?;
    let leader = serde_json::from_slice(&body);
    Ok(leader.map_or(Said::Nothing, |Leader { client_urls }| Said::Leader(client_urls)))
}
