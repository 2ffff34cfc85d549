//! `/v2/members`: who is in the cluster. Checks and texts in etcd's order.

use std::rc::Rc;

use serde_json::Value;
use shard::command::{Command, SystemCommand};
use shard::ids::{MemberId, ShardId};
use shard::system::System;

use super::pages;
use crate::config::Url;
use crate::core::Core;
use crate::page::Page;

/// The shard that keeps the membership.
const SYSTEM_SHARD: ShardId = ShardId(0);

/// What to do about a request.
pub(super) enum Decision {
    /// Answer this.
    Page(Page),
    /// Change the membership, then answer 204.
    Change(SystemCommand),
}

/// `GET /v2/members` and `/v2/members/`.
pub(super) fn list(system: &System) -> Page {
    Page::of_cluster(200, pages::members(system))
}

/// `GET /v2/members/leader`.
pub(super) fn leader(core: &Core) -> Page {
    let system = core.node.system();
    let own = MemberId(core.node.member);
    match system.members().get(&own) {
        Some(member) if core.node.order.is_open() => Page::of_cluster(200, pages::member(own, member)),
        _ => Page::message(503, "During election"),
    }
}

/// `POST /v2/members`.
pub(super) fn add(core: &Core, content_type: Option<&[u8]>, body: &[u8]) -> Page {
    match checked_urls(content_type, body) {
        Err(page) => page,
        Ok(urls) if taken(&core.node.system(), None, &urls) => Page::message(409, "etcdserver: peerURL exists"),
        Ok(_) => Page::message(500, NO_SECOND_MEMBER),
    }
}

/// One line for who tries to grow a node into a cluster.
const NO_SECOND_MEMBER: &str = "uetcd: this version runs as a single member; a second one can not be added";

/// `PUT /v2/members/<id>`.
pub(super) fn update(core: &Core, id: &[u8], content_type: Option<&[u8]>, body: &[u8]) -> Decision {
    let Some(id) = parse_id(id) else { return Decision::Page(no_such_member(&String::from_utf8_lossy(id))) };
    let urls = match checked_urls(content_type, body) {
        Ok(urls) => urls,
        Err(page) => return Decision::Page(page),
    };
    let system = core.node.system();
    if let Some(page) = missing(&system, id) {
        return Decision::Page(page);
    }
    if taken(&system, Some(id), &urls) {
        return Decision::Page(Page::message(409, "etcdserver: peerURL exists"));
    }
    Decision::Change(SystemCommand::UpdateMember { id: id.0, peer_urls: urls })
}

/// `DELETE /v2/members/<id>`.
pub(super) fn remove(core: &Core, id: &[u8]) -> Page {
    let Some(id) = parse_id(id) else { return no_such_member(&String::from_utf8_lossy(id)) };
    missing(&core.node.system(), id)
        .unwrap_or_else(|| Page::message(500, "uetcd: the only member can not be removed; stop it instead"))
}

/// Proposes a change and waits until it is applied.
pub(super) async fn change(core: &Rc<Core>, command: SystemCommand) -> Page {
    match core.propose_and_wait(SYSTEM_SHARD, Command::System(command)).await {
        Some(200) => Page::no_content(true),
        _ => Page::message(500, "Internal Server Error"),
    }
}

fn missing(system: &System, id: MemberId) -> Option<Page> {
    if system.removed().contains(&id) {
        return Some(Page::message(410, &format!("Member permanently removed: {id:x}")));
    }
    (!system.members().contains_key(&id)).then(|| no_such_member(&format!("{id:x}")))
}

fn no_such_member(id: &str) -> Page {
    Page::message(404, &format!("No such member: {id}"))
}

fn taken(system: &System, except: Option<MemberId>, urls: &[String]) -> bool {
    let others = system.members().iter().filter(|(id, _)| Some(**id) != except);
    others.flat_map(|(_, member)| &member.peer_urls).any(|url| urls.contains(url))
}

/// Hex digits in either case, leading zeroes allowed, 64 bits at most.
fn parse_id(text: &[u8]) -> Option<MemberId> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(text, 16).ok().map(MemberId)
}

/// The peer URLs of a request body, trimmed, checked and sorted; or the refusal.
fn checked_urls(content_type: Option<&[u8]>, body: &[u8]) -> Result<Vec<String>, Page> {
    let content_type = String::from_utf8_lossy(content_type.unwrap_or_default());
    if content_type != "application/json" {
        let text = format!("Bad Content-Type {content_type}, accept application/json");
        return Err(Page::message(415, &text));
    }
    let bad = |text: &str| Page::message(400, text);
    let value: Value = serde_json::from_slice(body).map_err(|error| bad(&json_fault(&error, body)))?;
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Null => serde_json::Map::new(),
        other => return Err(bad(&wrong_type(&other, "Go value of type httptypes.MemberCreateRequest"))),
    };
    // Go matches member names in any case; the last one wins.
    let given = fields.into_iter().rfind(|(name, _)| name.eq_ignore_ascii_case("peerURLs"));
    let mut urls = Vec::new();
    match given.map(|(_, value)| value) {
        None | Some(Value::Null) => {}
        Some(Value::Array(items)) => {
            for item in items {
                let Value::String(text) = item else {
                    return Err(bad(&wrong_type(&item, "Go struct field .peerURLs of type string")));
                };
                urls.push(Url::parse(text.trim()).map_err(|text| bad(&text))?.as_str().to_owned());
            }
        }
        Some(other) => return Err(bad(&wrong_type(&other, "Go struct field .peerURLs of type []string"))),
    }
    if urls.is_empty() {
        return Err(bad("no valid URLs given"));
    }
    urls.sort_unstable();
    Ok(urls)
}

fn wrong_type(value: &Value, target: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!("json: cannot unmarshal {found} into {target}")
}

/// Go's words for the two commonest faults, serde's for the rest.
pub(super) fn json_fault(error: &serde_json::Error, body: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(first) if error.column() <= 1 => {
            format!("invalid character '{}' looking for beginning of value", char::from(*first))
        }
        _ => error.to_string(),
    }
}
