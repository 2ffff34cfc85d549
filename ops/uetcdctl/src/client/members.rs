//! The members API.

use serde::Deserialize;

use super::url::Url;
use super::{Client, Deadline, Error, Method, Reply, Request};
use crate::text::path_escape;

/// One member of the cluster.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Member {
    /// Hexadecimal.
    pub id: String,
    /// Empty until it has started.
    pub name: String,
    /// Where the other members reach it.
    #[serde(rename = "peerURLs", deserialize_with = "null_is_empty")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it.
    #[serde(rename = "clientURLs", deserialize_with = "null_is_empty")]
    pub client_urls: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Members {
    members: Vec<Member>,
}

/// An answer that says nothing is an empty message, as in etcd's client.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    message: String,
}

pub(super) fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// All members, in the server's order.
pub(super) fn list(client: &Client, deadline: Deadline) -> Result<Vec<Member>, Error> {
    let reply = client.send(&Request::new(Method::Get, "/v2/members"), deadline)?;
    expect(&reply, &[200])?;
    json::<Members>(&reply).map(|members| members.members)
}

impl Client {
    /// All members, in the server's order.
    ///
    /// # Errors
    /// As [`Client::send`], and for an answer that is none.
    pub(crate) fn members(&self, deadline: Deadline) -> Result<Vec<Member>, Error> {
        list(self, deadline)
    }

    /// The member that leads.
    ///
    /// # Errors
    /// As [`Client::send`]; a cluster without a leader answers 503.
    pub(crate) fn leader(&self, deadline: Deadline) -> Result<Member, Error> {
        let reply = self.send(&Request::new(Method::Get, "/v2/members/leader"), deadline)?;
        expect(&reply, &[200])?;
        json(&reply)
    }

    /// Adds a member with these peer URLs.
    ///
    /// # Errors
    /// The server's message when it refuses.
    pub(crate) fn add_member(&self, peer_urls: &[String], deadline: Deadline) -> Result<Member, Error> {
        let request = Request::new(Method::Post, "/v2/members").json(peer_urls_json(peer_urls));
        let reply = self.send(&request, deadline)?;
        expect(&reply, &[201, 409])?;
        if reply.status == 201 { json(&reply) } else { Err(message(&reply)) }
    }

    /// Gives a member these peer URLs.
    ///
    /// # Errors
    /// The server's message when it refuses.
    pub(crate) fn update_member(&self, id: &str, peer_urls: &[String], deadline: Deadline) -> Result<(), Error> {
        let request = Request::new(Method::Put, member_path(id)).json(peer_urls_json(peer_urls));
        let reply = self.send(&request, deadline)?;
        expect(&reply, &[204, 404, 409])?;
        if reply.status == 204 { Ok(()) } else { Err(message(&reply)) }
    }

    /// Removes a member; one that is removed already is fine.
    ///
    /// # Errors
    /// As [`Client::send`], and for any other answer.
    pub(crate) fn remove_member(&self, id: &str, deadline: Deadline) -> Result<(), Error> {
        let reply = self.send(&Request::new(Method::Delete, member_path(id)), deadline)?;
        expect(&reply, &[204, 410])
    }
}

/// Checks peer URLs as etcd does, and sorts them.
///
/// # Errors
/// What is wrong with which of them.
pub(crate) fn check_peer_urls(urls: &[&str]) -> Result<Vec<String>, String> {
    let check = |text: &&str| {
        let text = text.trim();
        let url = Url::parse(text)?;
        if !["http", "https", "unix", "unixs"].contains(&url.scheme.as_str()) {
            return Err(format!("URL scheme must be http, https, unix, or unixs: {text}"));
        }
        if !url.has_port() {
            return Err(format!("URL address does not have the form \"host:port\": {text}"));
        }
        if !url.path.is_empty() {
            return Err(format!("URL must not contain a path: {text}"));
        }
        Ok(url.to_string())
    };
    let mut good: Vec<_> = urls.iter().map(check).collect::<Result<_, _>>()?;
    good.sort();
    Ok(good)
}

fn member_path(id: &str) -> String {
    format!("/v2/members/{}", path_escape(id))
}

fn peer_urls_json(urls: &[String]) -> String {
    let urls: Vec<_> = urls.iter().map(|url| crate::text::json_string(url)).collect();
    format!("{{\"peerURLs\":[{}]}}", urls.join(","))
}

pub(super) fn expect(reply: &Reply, statuses: &[u16]) -> Result<(), Error> {
    if statuses.contains(&reply.status) {
        return Ok(());
    }
    Err(Error::Said(format!("unexpected status code {}", reply.status)))
}

pub(super) fn json<'a, T: Deserialize<'a>>(reply: &'a Reply) -> Result<T, Error> {
    serde_json::from_slice(&reply.body).map_err(|_| Error::InvalidJson)
}

/// The message of a refusal.
pub(super) fn message(reply: &Reply) -> Error {
    json::<Message>(reply).map_or_else(|error| error, |refused| Error::Said(refused.message))
}
