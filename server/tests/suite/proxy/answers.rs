//! Answers of members through a proxy: those that the members give, to the byte, but for the order of the headers.

use super::{in_front_of, peer_url, plan_of};
use crate::harness::{Connection, Flavor, Plan, Response, Server, encode, form, need};

/// Requests that leave nothing to chance: two servers of the same history answer them alike.
fn requests() -> Vec<(&'static str, &'static str, Option<String>)> {
    let long = "v".repeat(5000);
    let put = |pairs: &[(&str, &str)]| Some(form(pairs));
    vec![
        ("PUT", "/v2/keys/a", put(&[("value", "1")])),
        ("GET", "/v2/keys/a", None),
        ("HEAD", "/v2/keys/a", None),
        ("GET", "/v2/keys/a?quorum=true", None),
        ("PUT", "/v2/keys/a?prevValue=2", put(&[("value", "3")])),
        ("PUT", "/v2/keys/a?prevExist=false", put(&[("value", "3")])),
        ("PUT", "/v2/keys/sp%20ace%2Fb", put(&[("value", "a&b=c%")])),
        ("PUT", "/v2/keys/long", put(&[("value", &long)])),
        ("GET", "/v2/keys/long", None),
        ("GET", "/v2/keys/?recursive=true&sorted=true", None),
        ("POST", "/v2/keys/queue", put(&[("value", "x")])),
        ("PUT", "/v2/keys/dir?dir=true", None),
        ("DELETE", "/v2/keys/dir", None),
        ("DELETE", "/v2/keys/dir?recursive=true", None),
        ("DELETE", "/v2/keys/nothing", None),
        ("GET", "/v2/keys/nothing", None),
        ("GET", "/v2/keys/a?wait=true&waitIndex=1", None),
        ("GET", "/v2/keys/a?recursive=perhaps", None),
        ("PUT", "/v2/keys/a?ttl=soon", put(&[("value", "x")])),
        ("GET", "/v2/members/nobody", None),
        ("DELETE", "/v2/members/0", None),
        ("GET", "/version", None),
        ("GET", "/health", None),
        ("GET", "/nothing/here", None),
        ("FOO", "/v2/keys/a", None),
        ("PUT", "/v2/stats/self", put(&[("value", "x")])),
    ]
}

fn ask(connection: &mut Connection, method: &str, target: &str, body: Option<&str>) -> Response {
    connection.request(method, target, body).expect("it reads");
    connection.response(method).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
}

/// Without what differs from moment to moment.
fn timeless(mut response: Response) -> Response {
    response.headers.retain(|(name, _)| name != "Date" && name != "X-Raft-Index");
    response
}

fn sorted(mut response: Response) -> Response {
    response.headers.sort_by_key(|(name, _)| (name == "Connection" || name == "Transfer-Encoding", name.clone()));
    response
}

#[test]
fn answers_pass_unchanged_with_their_headers_in_alphabetical_order() {
    let (direct, behind) = (Server::start(), Server::start());
    let proxy = in_front_of(&behind).start();
    let mut to_member = Connection::open(direct.address()).expect("it accepts");
    let mut to_proxy = Connection::open(proxy.address()).expect("it accepts");
    // etcd's members and clusters have ids by their URLs.
    let anonymous = |mut response: Response| {
        response.headers.retain(|(name, _)| name != "X-Etcd-Cluster-Id");
        timeless(response)
    };
    for (method, target, body) in requests() {
        let plain = anonymous(ask(&mut to_member, method, target, body.as_deref()));
        let passed = anonymous(ask(&mut to_proxy, method, target, body.as_deref()));
        if direct.flavor() == Flavor::Etcd && target.contains("wait=true") {
            // proxy-flush: its proxy holds a short answer back until it is complete, and states its length.
            assert_eq!(passed.body, plain.body, "{method} {target}");
        } else {
            assert_eq!(passed, sorted(plain), "{method} {target}");
        }
    }
}

#[test]
fn what_is_asked_of_one_member_is_the_same_with_and_without_a_proxy() {
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    server.client().set("/a", "1");
    for target in ["/v2/members", "/v2/members/leader", "/v2/machines", "/v2/stats/leader", "/v2/auth/enable"] {
        let (plain, passed) = (server.client().get(target), proxy.client().get(target));
        assert_eq!((plain.status, plain.text()), (passed.status, passed.text()), "{target}");
    }
    let (plain, passed) = (server.client().get("/v2/stats/self").json(), proxy.client().get("/v2/stats/self").json());
    assert_eq!(plain["id"], passed["id"]);
    assert!(proxy.client().get("/v2/stats/store").json()["setsSuccess"].is_number());
}

/// The same member behind etcd's proxy and behind ours.
#[test]
fn etcd_s_own_proxy_gives_the_same_bytes() {
    need("etcd");
    let member = Plan::of(Flavor::Etcd).start();
    let peers = [peer_url(&member)];
    let (theirs, ours) = (plan_of(Flavor::Etcd, &peers).start(), plan_of(Flavor::Uetcd, &peers).start());
    let asked = |address, method, target: &str, version: &str, more: &str| {
        let mut connection = Connection::open(address).expect("it accepts");
        let request = format!("{method} {target} HTTP/{version}\r\nHost: x\r\n{more}\r\n");
        connection.send(request.as_bytes()).expect("it reads");
        let response = connection.response(method).unwrap_or_else(|e| panic!("{method} {target}: {e}"));
        // Whether the connection stays open shows in what becomes of another request.
        let again = connection.request("GET", "/version", None).and_then(|()| connection.response("GET"));
        (timeless(response), again.ok().map(timeless))
    };
    member.client().set("/a", "1");
    for (method, target) in [
        ("GET", "/v2/keys/a"),
        ("HEAD", "/v2/keys/a"),
        ("GET", "/v2//keys/a?x=1"),
        ("HEAD", "/v2//keys/a"),
        ("PUT", "/v2//keys/a"),
        ("OPTIONS", "/v2/keys/a"),
        ("OPTIONS", "*"),
        ("GET", "*"),
        ("CONNECT", "/v2/keys/a"),
        ("CONNECT", "x:1"),
        ("FOO", "/v2/keys/a"),
        ("GET", "http://other/version?a=b"),
        ("GET", "/v2/config/local/proxy"),
        ("HEAD", "/v2/config/local/proxy"),
        ("PUT", "/v2/config/local/proxy"),
        ("GET", "/v2/members"),
        ("DELETE", "/v2/members/nobody"),
        ("GET", "/nothing"),
    ] {
        for (version, more) in
            [("1.1", ""), ("1.1", "Connection: close\r\n"), ("1.0", ""), ("1.0", "Connection: keep-alive\r\n")]
        {
            let want = asked(theirs.address(), method, target, version, more);
            let got = asked(ours.address(), method, target, version, more);
            assert_eq!(got, want, "{method} {target} HTTP/{version} {more}");
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let mut connection = Connection::open(proxy.address()).expect("it accepts");
    let writes = (0..50).map(|n| encode("PUT", &format!("/v2/keys/p{n}"), Some(&format!("value={n}"))));
    let all: String = writes.chain([encode("GET", "/v2/keys/p49", None)]).collect();
    connection.send(all.as_bytes()).expect("it reads");
    for n in 0..50 {
        let answer = connection.response("PUT").expect("an answer");
        assert_eq!((answer.status, &answer.json()["node"]["key"]), (201, &format!("/p{n}").into()));
    }
    assert_eq!(connection.response("GET").expect("an answer").json()["node"]["value"], "49");
}

#[test]
fn long_bodies_pass_both_ways() {
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let value = "v".repeat(3 << 20);
    let mut client = proxy.client();
    for n in 0..4 {
        client.set(&format!("/long/{n}"), &value);
    }
    let listed = client.get("/v2/keys/long?recursive=true&sorted=true");
    assert_eq!(listed.body, server.client().get("/v2/keys/long?recursive=true&sorted=true").body);
    // A client that holds its body back is told to send it; one that has too much is not waited for.
    let mut connection = Connection::open(proxy.address()).expect("it accepts");
    let head = "PUT /v2/keys/held HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    connection.send(format!("{head}Expect: 100-continue\r\nContent-Length: 7\r\n\r\n").as_bytes()).expect("it reads");
    assert_eq!(connection.interim().expect("a word"), "HTTP/1.1 100 Continue");
    connection.send(b"value=1").expect("it reads");
    assert_eq!(connection.response("PUT").expect("an answer").status, 201);
}
