//! The routing tables of both ports, row by row.

use net::http::request::Method;
use net::router::{self, PeerRoute, Route};

const GET: &str = "GET";
const KEYS: &str = "HEAD,GET,PUT,POST,DELETE";
const MEMBERS: &str = "GET,POST,DELETE,PUT";
const ITEM: &str = "GET,PUT,DELETE";

const ALL: [&str; 10] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "get"];

fn client<'p>(method: &str, path: &'p str) -> Route<'p> {
    router::client(Method::from_bytes(method.as_bytes()), path.as_bytes())
}

#[test]
fn every_row_of_the_client_port() {
    for (methods, path, want) in [
        ("HEAD GET PUT POST DELETE", "/v2/keys", Route::Keys(b"")),
        ("HEAD GET PUT POST DELETE", "/v2/keys/", Route::Keys(b"/")),
        ("HEAD GET PUT POST DELETE", "/v2/keys/a/b/", Route::Keys(b"/a/b/")),
        ("PATCH TRACE CONNECT get put", "/v2/keys/a", Route::MethodNotAllowed(KEYS)),
        ("GET", "/v2/members", Route::Members),
        ("GET", "/v2/members/", Route::Members),
        ("GET", "/v2/members/leader", Route::MemberLeader),
        ("GET", "/v2/members/leader/", Route::MemberUnknown),
        ("GET", "/v2/members/8e9e05c52164694d", Route::MemberUnknown),
        ("POST", "/v2/members", Route::MemberAdd),
        ("POST", "/v2/members/anything", Route::MemberAdd),
        ("PUT", "/v2/members/8E9e", Route::MemberUpdate(b"8E9e")),
        ("PUT", "/v2/members/8e9e/", Route::MemberUpdate(b"8e9e/")),
        ("DELETE", "/v2/members/zzz", Route::MemberRemove(b"zzz")),
        ("PUT DELETE", "/v2/members", Route::MemberIdMissing),
        ("PUT DELETE", "/v2/members/", Route::MemberIdMissing),
        ("HEAD PATCH CONNECT", "/v2/members", Route::MethodNotAllowed(MEMBERS)),
        ("GET HEAD", "/v2/machines", Route::Machines),
        ("PUT POST DELETE PATCH", "/v2/machines", Route::MethodNotAllowed("GET,HEAD")),
        ("GET", "/v2/stats/store", Route::StatsStore),
        ("GET", "/v2/stats/self", Route::StatsSelf),
        ("GET", "/v2/stats/leader", Route::StatsLeader),
        ("HEAD PUT POST DELETE", "/v2/stats/store", Route::MethodNotAllowed(GET)),
        ("HEAD PUT POST DELETE", "/v2/stats/self", Route::MethodNotAllowed(GET)),
        ("HEAD PUT POST DELETE", "/v2/stats/leader", Route::MethodNotAllowed(GET)),
        ("GET", "/v2/auth/users", Route::Users),
        ("GET", "/v2/auth/users/", Route::Users),
        ("HEAD PUT POST DELETE PATCH", "/v2/auth/users/", Route::MethodNotAllowed(GET)),
        ("GET PUT DELETE", "/v2/auth/users/bob", Route::User(b"bob")),
        ("GET PUT DELETE", "/v2/auth/users/bob/", Route::User(b"bob")),
        ("HEAD POST PATCH", "/v2/auth/users/bob/", Route::MethodNotAllowed(ITEM)),
        ("GET PATCH", "/v2/auth/users/bob/x", Route::AuthInvalidPath),
        ("GET", "/v2/auth/roles", Route::Roles),
        ("POST", "/v2/auth/roles", Route::MethodNotAllowed(GET)),
        ("GET PUT DELETE", "/v2/auth/roles/r1", Route::Role(b"r1")),
        ("POST", "/v2/auth/roles/r1", Route::MethodNotAllowed(ITEM)),
        ("PUT", "/v2/auth/roles/r1/x/", Route::AuthInvalidPath),
        ("GET PUT DELETE", "/v2/auth/enable", Route::AuthEnable),
        ("HEAD POST", "/v2/auth/enable", Route::MethodNotAllowed(ITEM)),
        ("GET", "/uetcd/backup", Route::Backup),
        ("HEAD POST PUT DELETE", "/uetcd/backup", Route::MethodNotAllowed(GET)),
        ("GET", "/uetcd", Route::NotFound),
        ("GET", "/version", Route::Version),
        ("HEAD POST PUT DELETE", "/version", Route::MethodNotAllowed(GET)),
        ("GET", "/health", Route::Health),
        ("HEAD", "/health", Route::MethodNotAllowed(GET)),
        ("GET HEAD POST PUT DELETE TRACE PATCH", "/metrics", Route::Metrics),
        ("GET", "/debug/vars", Route::DebugVars),
        ("POST", "/debug/vars", Route::MethodNotAllowed(GET)),
        ("PUT", "/config/local/log", Route::LogLevel),
        ("GET POST", "/config/local/log", Route::MethodNotAllowed("PUT")),
        ("GET POST", "/debug/pprof", Route::Pprof(b"")),
        ("GET POST", "/debug/pprof/", Route::Pprof(b"")),
        ("GET POST", "/debug/pprof/heap", Route::Pprof(b"heap")),
    ] {
        for method in methods.split(' ') {
            assert_eq!(client(method, path), want, "{method} {path}");
        }
    }
}

#[test]
fn unknown_paths_of_the_client_port() {
    for path in [
        "/",
        "/v2",
        "/v2/",
        "/v2/keysx",
        "/v2/membersx",
        "/v2/machines/",
        "/v2/stats",
        "/v2/stats/",
        "/v2/stats/self/",
        "/v2/auth",
        "/v2/auth/",
        "/v2/auth/usersx",
        "/v2/auth/enable/",
        "/version/",
        "/health/",
        "/metrics/",
        "/debug/vars/",
        "/debug/pprof/nope",
        "/debug/pprofx",
        "/config/local/log/",
        "/members",
        "/raft/probing",
        "/V2/keys",
        "",
    ] {
        for method in ALL {
            let want = if method == "OPTIONS" { Route::Options } else { Route::NotFound };
            assert_eq!(client(method, path), want, "{method} {path}");
        }
    }
}

#[test]
fn options_is_answered_everywhere() {
    for path in ["/v2/keys", "/v2/keys/a", "/v2/members", "/version", "/nope", "*"] {
        assert_eq!(client("OPTIONS", path), Route::Options, "{path}");
    }
}

#[test]
fn every_row_of_the_peer_port() {
    for (methods, path, want) in [
        ("GET", "/members", PeerRoute::Members),
        ("GET", "/version", PeerRoute::Version),
        ("HEAD POST PUT OPTIONS CONNECT", "/members", PeerRoute::MethodNotAllowed(GET)),
        ("HEAD POST PUT OPTIONS CONNECT", "/version", PeerRoute::MethodNotAllowed(GET)),
        ("GET HEAD POST PUT OPTIONS TRACE", "/raft/probing", PeerRoute::Probing),
        ("POST", "/raft", PeerRoute::ForeignRaft),
        ("POST", "/raft/snapshot", PeerRoute::ForeignRaft),
        ("GET HEAD PUT", "/raft", PeerRoute::MethodNotAllowed("POST")),
        ("GET HEAD PUT", "/raft/snapshot", PeerRoute::MethodNotAllowed("POST")),
        ("GET", "/raft/stream/msgapp/1", PeerRoute::ForeignRaft),
        ("POST HEAD", "/raft/stream/msgapp/1", PeerRoute::MethodNotAllowed(GET)),
        ("GET HEAD POST OPTIONS", "/raft/stream", PeerRoute::StreamRoot),
        ("GET POST", "/", PeerRoute::NotFound),
        ("GET POST", "/members/", PeerRoute::NotFound),
        ("GET POST", "/metrics", PeerRoute::NotFound),
        ("GET POST OPTIONS", "/v2/keys", PeerRoute::NotFound),
        ("GET POST", "/raft/x", PeerRoute::NotFound),
    ] {
        for method in methods.split(' ') {
            assert_eq!(router::peer(Method::from_bytes(method.as_bytes()), path.as_bytes()), want, "{method} {path}");
        }
    }
}
