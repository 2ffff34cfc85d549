//! The keys API.

use std::fmt::Write as _;

use serde::Deserialize;
use time::OffsetDateTime;

use super::members::null_is_empty;
use super::{ApiError, Client, Deadline, Error, Method, Reply, Request};
use crate::text::{form_escape, path_escape};

/// What `serde_json` reads by itself.
const NESTING_USUAL: usize = 128;
/// Deepest answer that is read: each directory is two levels. Whoever walks through a tree that was read does so on a usual stack.
const NESTING_MAX: usize = 4096;
/// The stack that the parser may need for one level. What is not used is never touched.
const STACK_BYTES: usize = 16 * 1024;

/// A key, or a directory with what is in it as far as it was asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Node {
    /// Empty for the root.
    pub key: String,
    pub dir: bool,
    pub value: String,
    #[serde(deserialize_with = "null_is_empty")]
    pub nodes: Vec<Node>,
    #[serde(rename = "createdIndex")]
    pub created_index: u64,
    #[serde(rename = "modifiedIndex")]
    pub modified_index: u64,
    /// RFC 3339; there only with a time to live.
    pub expiration: Option<String>,
    /// Seconds, rounded up; 0 for none.
    pub ttl: i64,
}

/// What a request did, or found.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Response {
    #[serde(default)]
    pub action: String,
    pub node: Node,
    #[serde(default, rename = "prevNode")]
    pub prev_node: Option<Node>,
    /// `X-Etcd-Index`.
    #[serde(skip)]
    pub index: u64,
    /// `X-Etcd-Cluster-Id`.
    #[serde(skip)]
    pub cluster_id: String,
    /// `Date`, if it is there.
    #[serde(skip)]
    pub date: Option<OffsetDateTime>,
}

impl Response {
    /// About as many bytes as it takes in memory. The node of an event has none below it.
    pub(crate) fn bytes(&self) -> usize {
        let of = |node: &Node| node.key.len() + node.value.len();
        size_of::<Self>() + of(&self.node) + self.prev_node.as_ref().map_or(0, of)
    }
}

/// How to read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Read {
    pub recursive: bool,
    pub sorted: bool,
    pub quorum: bool,
}

/// What must hold for a write to happen. Empty and zero are no condition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    /// `true`: the key must be there; `false`: it must not.
    pub exists: Option<bool>,
    pub value: Vec<u8>,
    pub index: u64,
}

/// What to write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Write {
    /// `None` for a directory.
    pub value: Option<Vec<u8>>,
    /// Seconds; none when it is zero or less.
    pub ttl: i64,
    /// Only the time to live changes, and nobody is notified.
    pub refresh: bool,
    pub condition: Condition,
}

/// The keys API of one cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys<'a> {
    client: &'a Client,
    once: bool,
}

impl<'a> Keys<'a> {
    /// The API of this cluster.
    pub(crate) fn new(client: &'a Client) -> Self {
        Self { client, once: false }
    }

    /// The same, with requests that only one endpoint gets: what makes or removes a key would find the work of its own first try.
    pub(crate) fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// Reads a key or a directory.
    ///
    /// # Errors
    /// `Api` when the server refuses, and as [`Client::send`]; here and below.
    pub(crate) fn get(
        self,
        key: &(impl AsRef<[u8]> + ?Sized),
        how: Read,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let Read { recursive, sorted, quorum } = how;
        let query = format!("quorum={quorum}&recursive={recursive}&sorted={sorted}");
        self.ask(Request { query: Some(query), ..Request::new(Method::Get, path(key.as_ref())) }, deadline)
    }

    /// Reads all that is below a directory, as of one moment; only the deadline limits how long that takes.
    pub(crate) fn tree(self, key: &(impl AsRef<[u8]> + ?Sized), deadline: Deadline) -> Result<Response, Error> {
        let query = "quorum=true&recursive=true&sorted=false".to_owned();
        self.ask(Request { query: Some(query), waits: true, ..Request::new(Method::Get, path(key.as_ref())) }, deadline)
    }

    /// Writes a key or a directory.
    pub(crate) fn put(
        self,
        key: &(impl AsRef<[u8]> + ?Sized),
        write: &Write,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let mut query = Vec::new();
        if write.value.is_none() {
            query.push("dir=true".to_owned());
        }
        if let Some(exists) = write.condition.exists {
            query.push(format!("prevExist={exists}"));
        }
        query.extend(compare(&write.condition));
        let request = Request { query: Some(query.join("&")), ..Request::new(Method::Put, path(key.as_ref())) };
        self.ask(with_form(request, write), deadline)
    }

    /// Makes a key below a directory, with a name that comes after all others.
    pub(crate) fn post(
        self,
        directory: &(impl AsRef<[u8]> + ?Sized),
        write: &Write,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        self.ask(with_form(Request::new(Method::Post, path(directory.as_ref())), write), deadline)
    }

    /// Removes a key or a directory.
    pub(crate) fn delete(
        self,
        key: &(impl AsRef<[u8]> + ?Sized),
        dir: bool,
        recursive: bool,
        condition: &Condition,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let mut query = Vec::new();
        if dir {
            query.push("dir=true".to_owned());
        }
        query.extend(compare(condition));
        if recursive {
            query.push("recursive=true".to_owned());
        }
        let form = Some("application/x-www-form-urlencoded");
        let request = Request {
            query: Some(query.join("&")),
            content_type: form,
            ..Request::new(Method::Delete, path(key.as_ref()))
        };
        self.ask(request, deadline)
    }

    /// Waits for the first event with an index of at least `from`; 0 stands for the next one.
    pub(crate) fn wait(self, key: &(impl AsRef<[u8]> + ?Sized), recursive: bool, from: u64) -> Result<Response, Error> {
        loop {
            match self.wait_until(key, recursive, from, Deadline::NEVER) {
                // The server ended the wait without an event: it was stopped, or a proxy lost patience.
                Err(Error::EmptyBody) => {}
                other => return other,
            }
        }
    }

    /// As `wait`, for a limited time; a wait that the server ends is an empty body.
    pub(crate) fn wait_until(
        self,
        key: &(impl AsRef<[u8]> + ?Sized),
        recursive: bool,
        from: u64,
        deadline: Deadline,
    ) -> Result<Response, Error> {
        let query = format!("recursive={recursive}&wait=true&waitIndex={from}");
        self.ask(Request { query: Some(query), waits: true, ..Request::new(Method::Get, path(key.as_ref())) }, deadline)
    }

    fn ask(self, request: Request, deadline: Deadline) -> Result<Response, Error> {
        let request = Request { once: self.once, ..request };
        read(&self.client.send(&request, deadline)?)
    }
}

fn path(key: &[u8]) -> String {
    let slash = if key.is_empty() || key.starts_with(b"/") { "" } else { "/" };
    format!("/v2/keys{slash}{}", path_escape(key))
}

fn compare(condition: &Condition) -> Vec<String> {
    let mut query = Vec::new();
    if condition.index != 0 {
        query.push(format!("prevIndex={}", condition.index));
    }
    if !condition.value.is_empty() {
        query.push(format!("prevValue={}", form_escape(&condition.value)));
    }
    query
}

fn with_form(request: Request, write: &Write) -> Request {
    let mut form = String::new();
    let mut field = |name: &str, value: &str| {
        let between = if form.is_empty() { "" } else { "&" };
        let _ = write!(form, "{between}{name}={value}");
    };
    if write.refresh {
        field("refresh", "true");
    }
    if write.ttl > 0 {
        field("ttl", &write.ttl.to_string());
    }
    if let Some(value) = write.value.as_ref().filter(|_| !write.refresh) {
        field("value", &form_escape(value));
    }
    Request { body: Some(form.into_bytes()), content_type: Some("application/x-www-form-urlencoded"), ..request }
}

fn read(reply: &Reply) -> Result<Response, Error> {
    if reply.status != 200 && reply.status != 201 {
        let refused = serde_json::from_slice::<ApiError>(&reply.body);
        return Err(refused.map_or(Error::InvalidJson, Error::Api));
    }
    if reply.body.is_empty() {
        return Err(Error::EmptyBody);
    }
    let mut response: Response = parse(&reply.body)?;
    response.index = reply.index.unwrap_or(0);
    response.cluster_id.clone_from(&reply.cluster_id);
    response.date = reply.date;
    Ok(response)
}

/// Parses an answer. `serde_json` stops at 128 brackets in each other, which guards its stack; a deeper tree is parsed where the stack is made for it.
fn parse(body: &[u8]) -> Result<Response, Error> {
    let found = serde_json::from_slice(body);
    let depth = if found.is_ok() { 0 } else { nesting(body) };
    if depth < NESTING_USUAL {
        return found.map_err(|_| Error::InvalidJson);
    }
    if depth > NESTING_MAX {
        return Err(Error::Said(format!(
            "the answer is nested {depth} levels deep, and more than {NESTING_MAX} can not be read"
        )));
    }
    let deep = || {
        let mut parser = serde_json::Deserializer::from_slice(body);
        parser.disable_recursion_limit();
        let response = Response::deserialize(&mut parser).map_err(|_| Error::InvalidJson)?;
        parser.end().map_err(|_| Error::InvalidJson)?;
        Ok(response)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(depth * STACK_BYTES).spawn_scoped(scope, deep);
        let thread = thread.map_err(|e| Error::Said(format!("a deep answer can not be read: {e}")))?;
        thread.join().expect("panics abort")
    })
}

/// How many brackets are open at a time, at most.
fn nesting(json: &[u8]) -> usize {
    let (mut open, mut most) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                open += 1;
                most = most.max(open);
            }
            b'}' | b']' if !in_string => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        let inner = r#"{"key":"/\"[","value":"{["}"#;
        let (before, after) = (r#"{"dir":true,"nodes":["#.repeat(levels), "]}".repeat(levels));
        format!("{{\"action\":\"get\",\"node\":{before}{inner}{after}}}")
    }

    #[test]
    fn trees_are_read_as_deep_as_they_may_be() {
        for levels in [0, 60, 63, 64, 65, 2000, (NESTING_MAX - 2) / 2] {
            let text = nested(levels);
            assert_eq!(nesting(text.as_bytes()), 2 * levels + 2, "{levels}");
            let response = parse(text.as_bytes()).expect("a tree");
            let mut node = &response.node;
            let mut found = 0;
            while let Some(below) = node.nodes.first() {
                node = below;
                found += 1;
            }
            assert_eq!((found, node.key.as_str(), node.value.as_str()), (levels, "/\"[", "{["));
        }
        for wrong in [nested(200) + "}", nested(200).replace("]}}", ""), "x".into(), "[".repeat(3000)] {
            assert_eq!(parse(wrong.as_bytes()).expect_err("no answer"), Error::InvalidJson);
        }
        let too_deep = parse(nested(NESTING_MAX).as_bytes()).expect_err("too deep");
        assert!(too_deep.to_string().contains("levels deep"), "{too_deep}");
    }
}
