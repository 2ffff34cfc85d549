//! What a proxy answers itself.

use std::time::Duration;

use super::{in_front_of, plan};
use crate::harness::{Connection, Flavor, PATIENCE, Plan, Server, eventually, uetcd_only};

/// In 3.4 the package has another name, and its texts with it.
fn in_words_of_2_3(text: &str) -> String {
    text.replace("httpproxy: ", "proxy: ")
}

/// A peer URL where nobody is.
fn nobody() -> String {
    Plan::new().on_quiet_ports().peer_url()
}

#[test]
fn a_readonly_proxy_takes_nothing_but_get() {
    let server = Server::start();
    let index = server.client().set("/a", "1");
    let proxy = in_front_of(&server).args(["--proxy", "readonly"]).start();
    let mut client = proxy.client();
    for method in ["PUT", "POST", "DELETE", "HEAD", "OPTIONS", "FOO"] {
        let answer = client.request(method, "/v2/keys/a", None);
        assert_eq!((answer.status, answer.text().as_str()), (501, ""), "{method}");
    }
    assert_eq!(client.value("/a"), Some("1".to_owned()));
    assert_eq!(client.get("/v2/keys/a?quorum=true").status, 200);
    assert_eq!(client.get(&format!("/v2/keys/a?wait=true&waitIndex={index}")).json()["node"]["value"], "1");
    assert_eq!(client.get("/v2//keys/a").status, 301);
    assert_eq!(client.request("PUT", "/metrics", None).status, 200);
}

#[test]
fn nobody_to_ask_is_503_and_nobody_who_answers_is_502() {
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let mut client = proxy.client();
    let mut errors = Vec::new();
    let member = server.kill();
    for _ in 0..2 {
        let answer = client.get("/v2/keys/a");
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
        errors.push((answer.status, in_words_of_2_3(&answer.text())));
    }
    let want = [
        (502, r#"{"message":"proxy: unable to get response from 1 endpoint(s)"}"#.to_owned()),
        (503, r#"{"message":"proxy: zero endpoints currently available"}"#.to_owned()),
    ];
    assert_eq!(errors, want);
    assert_eq!(client.get("/v2/config/local/proxy").text(), "{\"endpoints\":[]}\n");
    // With nobody to ask the members are looked for once a second.
    let _again = member.start();
    eventually("the proxy finds the member again", PATIENCE, || (client.get("/v2/keys/").status == 200).then_some(()));
}

#[test]
fn a_proxy_starts_without_a_cluster_and_finds_it_later() {
    let member = Plan::new().on_quiet_ports();
    let proxy = plan(&[nobody(), member.peer_url()]).launch();
    let mut client = proxy.client();
    eventually("the proxy listens", PATIENCE, || {
        client.attempt("GET", "/v2/keys/a", None).is_ok_and(|answer| answer.status == 503).then_some(())
    });
    let server = member.start();
    eventually("the proxy has found the member", PATIENCE, || (client.get("/v2/keys/").status == 200).then_some(()));
    let want = format!("{{\"endpoints\":[\"{}\"]}}\n", server.url(""));
    assert_eq!(client.get("/v2/config/local/proxy").text(), want);
}

#[test]
fn its_own_metrics_are_counted_under_etcd_s_names() {
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let mut client = proxy.client();
    client.set("/a", "1");
    client.get("/v2/keys/nothing");
    let page = client.get("/metrics").text();
    let wanted = [
        "etcd_proxy_requests_total{method=\"PUT\"} 1\n",
        "etcd_proxy_handled_total{code=\"201\",method=\"PUT\"} 1\n",
        "etcd_proxy_handled_total{code=\"404\",method=\"GET\"} 1\n",
        "etcd_proxy_handling_duration_seconds_count{method=\"PUT\"} 1\n",
    ];
    for want in wanted {
        assert!(page.contains(want), "{want:?} is not in {page}");
    }
    server.kill();
    client.get("/v2/keys/a");
    client.get("/v2/keys/a");
    let page = client.get("/metrics").text();
    for reason in ["zero_endpoints", "failed_getting_response"] {
        let want = format!("etcd_proxy_dropped_total{{method=\"GET\",proxying_error=\"{reason}\"}} 1\n");
        assert!(page.contains(&want), "{want:?} is not in {page}");
    }
}

#[test]
fn its_own_cors_headers_stand_once() {
    uetcd_only!("proxy-cors: etcd's stand twice when the member has them, too");
    let server = Plan::new().args(["--cors", "*"]).start();
    let proxy = in_front_of(&server).args(["--cors", "http://a.example"]).start();
    for (method, target) in [("GET", "/v2/keys/"), ("OPTIONS", "/v2/keys/"), ("GET", "/v2/config/local/proxy")] {
        let mut connection = Connection::open(proxy.address()).expect("it accepts");
        let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\n\r\n");
        connection.send(request.as_bytes()).expect("it reads");
        let answer = connection.response(method).expect("an answer");
        let origins: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "Access-Control-Allow-Origin").collect();
        assert_eq!(origins, [&("Access-Control-Allow-Origin".to_owned(), "http://a.example".to_owned())]);
    }
    assert_eq!(proxy.client().get("/v2/keys/").header("Access-Control-Allow-Origin"), Some("*"), "the member's");
}

#[test]
fn a_body_that_no_member_would_take_is_refused() {
    uetcd_only!("proxy-limits: etcd's keeps a body of any length in memory");
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let mut connection = Connection::open(proxy.address()).expect("it accepts");
    let head = "PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    connection.send(format!("{head}Content-Length: {}\r\n\r\nvalue=", 11 << 20).as_bytes()).expect("it reads");
    let answer = connection.response("PUT").expect("an answer");
    let want = r#"{"message":"proxy: failed to read request body: http: request body too large"}"#;
    assert_eq!((answer.status, answer.text().as_str()), (413, want));
    assert_eq!(answer.header("Connection"), Some("close"));
}

#[test]
fn scrapers_have_their_own_port() {
    uetcd_only!("proxy-limits: etcd's does not open it");
    let server = Server::start();
    let plan = Plan::new().on_quiet_ports();
    let metrics = plan.peer_url();
    let proxy = in_front_of(&server).args(["--listen-metrics-urls", &metrics]).start();
    let mut scraper = crate::harness::Client::at(&metrics).patient(Duration::from_secs(5));
    assert!(scraper.get("/metrics").text().contains("uetcd_proxy_endpoints 1\n"));
    assert_eq!(scraper.get("/health").status, 200);
    assert_eq!(scraper.get("/v2/keys/").status, 404);
    assert_eq!(proxy.flavor(), Flavor::Uetcd);
}
