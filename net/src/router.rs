//! Which endpoint a method and a path mean, on the client port and on the peer port.

use crate::http::request::Method;

/// `Allow` texts: comma, no space, in etcd's order.
mod allow {
    pub(super) const KEYS: &str = "HEAD,GET,PUT,POST,DELETE";
    pub(super) const MEMBERS: &str = "GET,POST,DELETE,PUT";
    pub(super) const MACHINES: &str = "GET,HEAD";
    pub(super) const ITEM: &str = "GET,PUT,DELETE";
    pub(super) const GET: &str = "GET";
    pub(super) const PUT: &str = "PUT";
    pub(super) const POST: &str = "POST";
}

/// An endpoint of the client port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'p> {
    /// 200 with an empty body, whatever the path.
    Options,
    /// The key space. The path after `/v2/keys`: [`crate::target::key`] makes a key of it.
    Keys(&'p [u8]),
    /// The list of members.
    Members,
    /// The leader.
    MemberLeader,
    /// A GET below `/v2/members` that names nothing: 404 with a JSON message and the cluster id.
    MemberUnknown,
    /// POST: add a member.
    MemberAdd,
    /// PUT: the member's id, as given.
    MemberUpdate(&'p [u8]),
    /// DELETE: the member's id, as given.
    MemberRemove(&'p [u8]),
    /// PUT or DELETE without an id: 405 with the cluster id and without `Allow`.
    MemberIdMissing,
    /// A copy of the whole state; as sensitive as the list of members is powerful. Not etcd's: no path of etcd begins like it.
    Backup,
    /// The client URLs of all members.
    Machines,
    /// Statistics of the store.
    StatsStore,
    /// Statistics of this member.
    StatsSelf,
    /// Statistics of the leader about its followers.
    StatsLeader,
    /// GET: all users.
    Users,
    /// GET, PUT or DELETE of the named user.
    User(&'p [u8]),
    /// GET: all roles.
    Roles,
    /// GET, PUT or DELETE of the named role.
    Role(&'p [u8]),
    /// A path below a user or a role: 400 `{"message":"Invalid path"}` without cluster id, whatever the method.
    AuthInvalidPath,
    /// GET, PUT or DELETE of the switch of authentication.
    AuthEnable,
    /// The versions of server and cluster.
    Version,
    /// The health check.
    Health,
    /// Prometheus metrics; any method.
    Metrics,
    /// Go's expvar page.
    DebugVars,
    /// PUT: the log level.
    LogLevel,
    /// A profile, by name, empty for the index; any method, and only where profiling is switched on: else 404.
    Pprof(&'p [u8]),
    /// 405; the text is for `Allow`.
    MethodNotAllowed(&'static str),
    /// 404.
    NotFound,
}

/// The route of `method` and the decoded, clean `path` on the client port.
pub fn client<'p>(method: Method<'_>, path: &'p [u8]) -> Route<'p> {
    use Method::{Delete, Get, Head, Options, Post, Put};
    if method == Options {
        return Route::Options;
    }
    if let Some(rest) = below(path, b"/v2/keys") {
        return match method {
            Head | Get | Put | Post | Delete => Route::Keys(rest),
            _ => Route::MethodNotAllowed(allow::KEYS),
        };
    }
    match (path, method) {
        (b"/v2/machines", Get | Head) => Route::Machines,
        (b"/v2/machines", _) => Route::MethodNotAllowed(allow::MACHINES),
        (b"/v2/stats/store", Get) => Route::StatsStore,
        (b"/v2/stats/self", Get) => Route::StatsSelf,
        (b"/v2/stats/leader", Get) => Route::StatsLeader,
        (b"/v2/auth/enable", Get | Put | Delete) => Route::AuthEnable,
        (b"/v2/auth/enable", _) => Route::MethodNotAllowed(allow::ITEM),
        (b"/uetcd/backup", Get) => Route::Backup,
        (b"/version", Get) => Route::Version,
        (b"/health", Get) => Route::Health,
        (b"/debug/vars", Get) => Route::DebugVars,
        (
            b"/v2/stats/store" | b"/v2/stats/self" | b"/v2/stats/leader" | b"/version" | b"/health" | b"/debug/vars"
            | b"/uetcd/backup",
            _,
        ) => Route::MethodNotAllowed(allow::GET),
        (b"/metrics", _) => Route::Metrics,
        (b"/config/local/log", Put) => Route::LogLevel,
        (b"/config/local/log", _) => Route::MethodNotAllowed(allow::PUT),
        _ => subtree(method, path),
    }
}

/// The paths that have others below them.
fn subtree<'p>(method: Method<'_>, path: &'p [u8]) -> Route<'p> {
    if let Some(rest) = below(path, b"/v2/members") {
        return members(method, rest);
    }
    if let Some(rest) = below(path, b"/v2/auth/users") {
        return auth_items(method, rest, Route::Users, Route::User);
    }
    if let Some(rest) = below(path, b"/v2/auth/roles") {
        return auth_items(method, rest, Route::Roles, Route::Role);
    }
    match below(path, b"/debug/pprof").map(|rest| rest.strip_prefix(b"/").unwrap_or(rest)) {
        Some(
            name @ (b"" | b"profile" | b"symbol" | b"cmdline" | b"heap" | b"goroutine" | b"threadcreate" | b"block"),
        ) => Route::Pprof(name),
        _ => Route::NotFound,
    }
}

fn members<'p>(method: Method<'_>, rest: &'p [u8]) -> Route<'p> {
    match (method, rest.strip_prefix(b"/").unwrap_or(rest)) {
        (Method::Get, b"") => Route::Members,
        (Method::Get, b"leader") => Route::MemberLeader,
        (Method::Get, _) => Route::MemberUnknown,
        (Method::Post, _) => Route::MemberAdd,
        (Method::Put | Method::Delete, b"") => Route::MemberIdMissing,
        (Method::Put, id) => Route::MemberUpdate(id),
        (Method::Delete, id) => Route::MemberRemove(id),
        _ => Route::MethodNotAllowed(allow::MEMBERS),
    }
}

fn auth_items<'p>(
    method: Method<'_>,
    rest: &'p [u8],
    all: Route<'p>,
    one: impl FnOnce(&'p [u8]) -> Route<'p>,
) -> Route<'p> {
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    let name = rest.strip_suffix(b"/").unwrap_or(rest);
    if memchr::memchr(b'/', name).is_some() {
        return Route::AuthInvalidPath;
    }
    match (method, name) {
        (Method::Get, b"") => all,
        (_, b"") => Route::MethodNotAllowed(allow::GET),
        (Method::Get | Method::Put | Method::Delete, name) => one(name),
        _ => Route::MethodNotAllowed(allow::ITEM),
    }
}

/// What follows `prefix` in `path`, if `path` is `prefix` itself or below it.
fn below<'p>(path: &'p [u8], prefix: &[u8]) -> Option<&'p [u8]> {
    path.strip_prefix(prefix).filter(|rest| rest.first().is_none_or(|&byte| byte == b'/'))
}

/// An endpoint of the peer port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRoute {
    /// The members, with decimal ids.
    Members,
    /// The versions of server and cluster.
    Version,
    /// The probe of etcd's peers; any method.
    Probing,
    /// etcd's raft transport, which uetcd does not speak: 412 `incompatible version\n` in plain text, with the cluster
    /// id.
    ForeignRaft,
    /// 301 to the same with a slash, as Go has it for the root of a subtree.
    StreamRoot,
    /// 405; the text is for `Allow`.
    MethodNotAllowed(&'static str),
    /// 404.
    NotFound,
}

/// The route of `method` and the decoded, clean `path` on the peer port.
pub fn peer(method: Method<'_>, path: &[u8]) -> PeerRoute {
    use Method::{Get, Post};
    match (path, method) {
        (b"/members", Get) => PeerRoute::Members,
        (b"/version", Get) => PeerRoute::Version,
        (b"/members" | b"/version", _) => PeerRoute::MethodNotAllowed(allow::GET),
        (b"/raft/probing", _) => PeerRoute::Probing,
        (b"/raft" | b"/raft/snapshot", Post) => PeerRoute::ForeignRaft,
        (b"/raft" | b"/raft/snapshot", _) => PeerRoute::MethodNotAllowed(allow::POST),
        (b"/raft/stream", _) => PeerRoute::StreamRoot,
        _ if path.starts_with(b"/raft/stream/") && method == Get => PeerRoute::ForeignRaft,
        _ if path.starts_with(b"/raft/stream/") => PeerRoute::MethodNotAllowed(allow::GET),
        _ => PeerRoute::NotFound,
    }
}
