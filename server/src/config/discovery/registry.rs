//! The registry as etcd's v2 API shows it: what is asked, and what the answers mean.

use std::time::Duration;

use serde::Deserialize;

use super::super::blocking::NoAnswer;
use super::token::{Token, form_escaped};

/// How long the service may take for an answer that it has.
const ANSWER: Duration = Duration::from_secs(5);
/// How long one question for news stays open. A service that vanished without a word is noticed then.
const NEWS: Duration = Duration::from_mins(5);

/// A request to the discovery service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Path and query, escaped.
    pub(super) target: String,
    /// The form of a `PUT`; none: a `GET`.
    pub(super) form: Option<String>,
    /// How long the answer may take, all in all.
    pub(super) limit: Duration,
}

/// Its answer, after redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `X-Etcd-Index`, 0 if it is missing.
    pub(super) index: u64,
    pub(super) body: Vec<u8>,
}

/// The way to the service.
pub(super) trait Wire {
    /// Sends a request and waits for the answer.
    fn send(&self, request: &Request) -> Result<Answer, NoAnswer>;
}

/// Why the registry did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody is there, or nobody who can decide: it may be better in a while.
    Unavailable(String),
    /// The time was up.
    TimedOut,
    /// This is not etcd's API.
    NotEtcd,
    /// etcd refused.
    Refused { code: u64, text: String },
}

/// A key of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Node {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) nodes: Vec<Node>,
    pub(super) modified_index: u64,
    pub(super) created_index: u64,
}

impl Node {
    /// The last part of its key: the id of a member.
    pub(super) fn id(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }
}

/// What has happened to a key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Event {
    pub(super) action: String,
    pub(super) node: Node,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    error_code: u64,
    message: String,
    cause: String,
    index: u64,
}

/// The registry of one cluster.
pub(super) struct Registry<'a> {
    pub(super) token: &'a Token,
    pub(super) wire: &'a dyn Wire,
}

impl Registry<'_> {
    /// Whether a key is directly below the registry's and not hidden, so that it stands for a member.
    pub(super) fn is_member(&self, node: &Node) -> bool {
        let registry = self.token.path("");
        let registry = registry.strip_prefix("/v2/keys").unwrap_or(&registry);
        let Some(parent) = node.key.strip_suffix(node.id()) else { return false };
        // The path in the URL may be escaped; the number of its parts is not touched by that.
        let depth = |path: &str| path.split('/').filter(|piece| !piece.is_empty()).count();
        depth(parent) == depth(registry) && !node.id().starts_with('_')
    }

    /// The text under `_config/size`.
    pub(super) fn size(&self) -> Result<String, Trouble> {
        Ok(self.read("_config/size")?.0.value)
    }

    /// Who is registered, in no order, and the index of the service at that moment.
    pub(super) fn members(&self) -> Result<(Vec<Node>, u64), Trouble> {
        let (registry, index) = self.read("")?;
        Ok((registry.nodes.into_iter().filter(|node| node.id() != "_config").collect(), index))
    }

    /// Registers a member that must not be there yet; the index at which it was.
    pub(super) fn register(&self, id: &str, value: &str) -> Result<u64, Trouble> {
        let target = format!("{}?prevExist=false", self.token.path(id));
        let form = Some(format!("value={}", form_escaped(value)));
        let (event, _) = self.ask(&Request { target, form, limit: ANSWER })?;
        Ok(event.node.created_index)
    }

    /// The first event of a key that is not older than `index`, however long it takes to happen; [`Trouble::TimedOut`] now
    /// and then.
    pub(super) fn next(&self, key: &str, index: u64) -> Result<Event, Trouble> {
        let recursive = key.is_empty();
        let target = format!("{}?recursive={recursive}&wait=true&waitIndex={index}", self.token.path(key));
        let answer = self.send(&Request { target, form: None, limit: NEWS })?;
        // So a proxy ends a watch whose server is gone.
        if answer.status == 200 && answer.body.is_empty() {
            return Err(Trouble::Unavailable(format!(
                "client: etcd member {} has ended the watch",
                self.token.service()
            )));
        }
        Ok(self.understood(&answer)?.0)
    }

    fn read(&self, key: &str) -> Result<(Node, u64), Trouble> {
        let target = format!("{}?quorum=false&recursive=false&sorted=false", self.token.path(key));
        let (event, index) = self.ask(&Request { target, form: None, limit: ANSWER })?;
        Ok((event.node, index))
    }

    fn ask(&self, request: &Request) -> Result<(Event, u64), Trouble> {
        self.understood(&self.send(request)?)
    }

    fn send(&self, request: &Request) -> Result<Answer, Trouble> {
        self.wire.send(request).map_err(|none| match none {
            NoAnswer::TimedOut => Trouble::TimedOut,
            NoAnswer::Failed(text) => Trouble::Unavailable(text),
        })
    }

    fn understood(&self, answer: &Answer) -> Result<(Event, u64), Trouble> {
        match answer.status {
            200 | 201 => {
                let event = serde_json::from_slice(&answer.body).map_err(|_| Trouble::NotEtcd)?;
                Ok((event, answer.index))
            }
            status @ 500.. => Err(Trouble::Unavailable(self.server_error(status))),
            _ => Err(refusal(&answer.body)),
        }
    }

    /// Source: etcd's client.
    fn server_error(&self, status: u16) -> String {
        let service = self.token.service();
        match status {
            500 | 503 => format!("client: etcd member {service} has no leader"),
            502 => format!("client: etcd member {service} returns server error [Bad Gateway]"),
            504 => format!("client: etcd member {service} returns server error [Gateway Timeout]"),
            status => format!("client: etcd member {service} returns server error [{status}]"),
        }
    }
}

fn refusal(body: &[u8]) -> Trouble {
    serde_json::from_slice(body).map_or(Trouble::NotEtcd, |Refusal { error_code, message, cause, index }| {
        Trouble::Refused { code: error_code, text: format!("{error_code}: {message} ({cause}) [{index}]") }
    })
}
