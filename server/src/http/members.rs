//! `/v2/members`: who is in the cluster. Checks and texts in etcd's order.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use net::document::{self, Kind, Value};
use shard::command::{Command, SystemCommand};
use shard::ids::{MemberId, ShardId};
use shard::system::{Member, System};

use super::pages;
use crate::config::Url;
use crate::core::Core;
use crate::identity;
use crate::page::Page;

/// The shard that keeps the membership.
const SYSTEM_SHARD: ShardId = ShardId(0);

/// How often it is looked whether somebody is gone.
const GLANCE: Duration = Duration::from_millis(5);

/// What to do about a request.
pub(super) enum Decision {
    /// Answer this.
    Page(Page),
    /// Change the membership, then answer this.
    Change(SystemCommand, Page),
}

/// `GET /v2/members` and `/v2/members/`.
pub(super) fn list(system: &System) -> Page {
    Page::of_cluster(200, pages::members(system))
}

/// `GET /v2/members/leader`.
pub(super) fn leader(core: &Core) -> Page {
    let system = core.node.system();
    let leader = core.node.primary().and_then(|leader| system.members().get(&leader).map(|member| (leader, member)));
    match leader {
        Some((id, member)) => Page::of_cluster(200, pages::member(id, member)),
        None => Page::message(503, "During election"),
    }
}

/// `POST /v2/members`.
pub(super) fn add(core: &Core, content_type: Option<&[u8]>, body: &[u8]) -> Decision {
    let system = core.node.system();
    let peer_urls = match checked_urls(content_type, body) {
        Err(page) => return Decision::Page(page),
        Ok(urls) => urls,
    };
    let id = identity::MemberId::added(&peer_urls, core.node.clock.now_ns() / 1_000_000_000).get();
    if let Some(page) = clashes(&system, MemberId(id), &peer_urls) {
        return Decision::Page(page);
    }
    if core.node.config.strict_reconfig_check && !may_add(&system) {
        return Decision::Page(refused_strictly());
    }
    let member = Member { name: String::new(), peer_urls: peer_urls.clone(), client_urls: Vec::new() };
    let page = Page::of_cluster(201, pages::member(MemberId(id), &member));
    Decision::Change(SystemCommand::AddMember { id, name: String::new(), peer_urls }, page)
}

/// The same addresses within a second make the same id.
fn clashes(system: &System, id: MemberId, peer_urls: &[String]) -> Option<Page> {
    if system.members().contains_key(&id) || system.removed().contains(&id) {
        return Some(Page::message(409, "etcdserver: ID exists"));
    }
    taken(system, None, peer_urls).then(url_exists)
}

fn url_exists() -> Page {
    Page::message(409, "etcdserver: peerURL exists")
}

/// etcd 2.3: after the change, as many started members must be there as a quorum needs; a single one may grow.
fn may_add(system: &System) -> bool {
    let (started, all) = (started(system, None), system.members().len());
    (started, all) == (1, 1) || started > all.div_ceil(2)
}

fn may_remove(system: &System, id: MemberId) -> bool {
    let left = system.members().len() - 1;
    started(system, Some(id)) > left / 2
}

fn started(system: &System, except: Option<MemberId>) -> usize {
    let others = system.members().iter().filter(|(id, _)| Some(**id) != except);
    others.filter(|(_, member)| !member.name.is_empty()).count()
}

fn refused_strictly() -> Page {
    Page::message(500, "etcdserver: re-configuration failed due to not enough started members")
}

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
        return Decision::Page(url_exists());
    }
    Decision::Change(SystemCommand::UpdateMember { id: id.0, peer_urls: urls }, Page::no_content(true))
}

/// `DELETE /v2/members/<id>`.
pub(super) fn remove(core: &Core, id: &[u8]) -> Decision {
    let Some(id) = parse_id(id) else { return Decision::Page(no_such_member(&String::from_utf8_lossy(id))) };
    let system = core.node.system();
    if let Some(page) = missing(&system, id) {
        return Decision::Page(page);
    }
    if core.node.config.strict_reconfig_check && !may_remove(&system, id) {
        return Decision::Page(refused_strictly());
    }
    if system.members().len() == 1 {
        return Decision::Page(Page::message(500, "uetcd: the only member can not be removed; stop it instead"));
    }
    Decision::Change(SystemCommand::RemoveMember { id: id.0 }, Page::no_content(true))
}

/// Proposes a change and waits until it is applied.
pub(super) async fn change(core: &Rc<Core>, command: SystemCommand, done: Page) -> Page {
    let failed = || Page::message(500, "Internal Server Error");
    match carried_out(core, &command).await {
        Some(200) => {
            if let SystemCommand::RemoveMember { id } = command {
                let_go(core, MemberId(id)).await;
            }
            done
        }
        Some(400..500) => overtaken(&core.node.system(), &command).unwrap_or_else(failed),
        _ => failed(),
    }
}

/// The status of a change. One who has asked for the own removal may never apply it: when it is committed the others say so, and no more.
async fn carried_out(core: &Rc<Core>, command: &SystemCommand) -> Option<u16> {
    let applied = core.propose_and_wait(SYSTEM_SHARD, Command::System(command.clone()));
    match command {
        SystemCommand::RemoveMember { id } if *id == core.node.member => or(applied, told_to_leave(core)).await,
        _ => applied.await,
    }
}

async fn told_to_leave(core: &Rc<Core>) -> Option<u16> {
    while !core.node.is_removed() {
        glommio::timer::sleep(GLANCE).await;
    }
    Some(200)
}

/// Waits until no group of this member counts on one that was removed: whoever is told that it is gone may switch off
/// another one in the next moment. No longer than any request waits, for what is decided is decided; and not for this member
/// itself, which may not be told how it ends.
async fn let_go(core: &Rc<Core>, removed: MemberId) {
    let node = &core.node;
    let begun = Instant::now();
    while removed.0 != node.member && node.has_lingering() && begun.elapsed() < node.config.request_timeout() {
        glommio::timer::sleep(GLANCE).await;
    }
}

/// Why a change that looked possible was refused in its place: another one came before it.
fn overtaken(system: &System, command: &SystemCommand) -> Option<Page> {
    match command {
        SystemCommand::AddMember { id, peer_urls, .. } => clashes(system, MemberId(*id), peer_urls),
        SystemCommand::UpdateMember { id, .. } => missing(system, MemberId(*id)).or_else(|| Some(url_exists())),
        SystemCommand::RemoveMember { id } => missing(system, MemberId(*id)),
        SystemCommand::PublishAttributes { .. } | SystemCommand::SetClusterVersion(_) => None,
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

/// Whether `text` may name a member.
pub(super) fn is_id(text: &[u8]) -> bool {
    parse_id(text).is_some()
}

/// Whether a body of this type is looked at.
pub(super) fn is_json(content_type: Option<&[u8]>) -> bool {
    content_type == Some(b"application/json")
}

/// Hex digits in either case, leading zeroes allowed, 64 bits at most.
fn parse_id(text: &[u8]) -> Option<MemberId> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u64::from_str_radix(text, 16).ok().map(MemberId)
}

/// The peer URLs of a request body, trimmed, checked and sorted; or the refusal.
fn checked_urls(content_type: Option<&[u8]>, body: &[u8]) -> Result<Vec<String>, Page> {
    if !is_json(content_type) {
        let content_type = String::from_utf8_lossy(content_type.unwrap_or_default());
        let text = format!("Bad Content-Type {content_type}, accept application/json");
        return Err(Page::message(415, &text));
    }
    let urls = given_urls(body).and_then(|texts| {
        texts
            .iter()
            .map(|text| Url::parse(text.trim()).map(|url| url.as_str().to_owned()))
            .collect::<Result<Vec<_>, _>>()
    });
    let mut urls = urls.map_err(|text| Page::message(400, &text))?;
    if urls.is_empty() {
        return Err(Page::message(400, "no valid URLs given"));
    }
    urls.sort_unstable();
    Ok(urls)
}

/// The texts of `{"peerURLs":[…]}`, none if there is no such member; or what is wrong with the body, as Go says it. The
/// last of several members counts, yet a value of the wrong type is a fault wherever it stands.
fn given_urls(body: &[u8]) -> Result<Vec<String>, String> {
    let document = document::whole(body)?;
    if !matches!(document.kind(), Kind::Object | Kind::Null) {
        return Err(wrong_type(document, "Go value of type struct { PeerURLs []string \"json:\\\"peerURLs\\\"\" }"));
    }
    let mut urls = Vec::new();
    for (_, value) in document.members().filter(|(name, _)| document::is_field(name, "peerURLs")) {
        urls = match value.kind() {
            Kind::Null => Vec::new(),
            Kind::Array => value.items().map(url_text).collect::<Result<_, _>>()?,
            _ => return Err(wrong_type(value, "Go struct field .peerURLs of type []string")),
        };
    }
    Ok(urls)
}

/// `null` leaves the empty text that Go begins with.
fn url_text(item: Value<'_>) -> Result<String, String> {
    match item.string() {
        Some(text) => Ok(text),
        None if item.kind() == Kind::Null => Ok(String::new()),
        None => Err(wrong_type(item, "Go struct field .peerURLs of type string")),
    }
}

fn wrong_type(value: Value<'_>, target: &str) -> String {
    format!("json: cannot unmarshal {} into {target}", value.kind().name())
}
