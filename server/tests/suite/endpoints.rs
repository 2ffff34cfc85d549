//! Everything on the client port but the keys, and what all answers have in common: routing, methods, redirects, CORS, headers.

use serde_json::Value;

use crate::harness::{Client, Connection, Flavor, PATIENCE, Plan, Response, Server, eventually};

/// The names of an answer's headers, in wire order.
fn names(response: &Response) -> String {
    response.header_names().join(" ")
}

/// `METHOD TARGET`, with a JSON body when there is one.
fn ask(client: &mut Client, request: &str, json: Option<&str>) -> Response {
    let (method, target) = request.split_once(' ').expect("METHOD TARGET");
    let Some(json) = json else { return client.request(method, target, None) };
    let text = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
        json.len()
    );
    client.send_raw(text.as_bytes()).expect("the server reads");
    client.receive(method).unwrap_or_else(|e| panic!("{request}: {e}"))
}

#[test]
fn unknown_paths_and_methods_are_404_and_405() {
    const KEYS: &str = "HEAD,GET,PUT,POST,DELETE";
    const MEMBERS: &str = "GET,POST,DELETE,PUT";
    let server = Server::start();
    let mut client = server.client();
    for (request, status, allow) in [
        ("GET /", 404, ""),
        ("GET /v2", 404, ""),
        ("GET /v2/", 404, ""),
        ("PUT /v2/keysx", 404, ""),
        ("GET /v2/stats/", 404, ""),
        ("GET /version/", 404, ""),
        ("GET /v2/auth", 404, ""),
        ("GET /debug/pprof/", 404, ""),
        ("PATCH /v2/keys/a", 405, KEYS),
        ("get /v2/keys/a", 405, KEYS),
        ("TRACE /v2/keys", 405, KEYS),
        ("MADE-UP /v2/keys", 405, KEYS),
        ("HEAD /v2/members", 405, MEMBERS),
        ("PATCH /v2/members/abc", 405, MEMBERS),
        ("POST /v2/machines", 405, "GET,HEAD"),
        ("HEAD /v2/stats/self", 405, "GET"),
        ("PUT /v2/stats/store", 405, "GET"),
        ("DELETE /v2/stats/leader", 405, "GET"),
        ("POST /version", 405, "GET"),
        ("PUT /health", 405, "GET"),
        ("POST /debug/vars", 405, "GET"),
        ("GET /config/local/log", 405, "PUT"),
    ] {
        let answer = ask(&mut client, request, None);
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        assert_eq!(answer.header("Allow").unwrap_or_default(), allow, "{request}");
        let allow_name = if allow.is_empty() { "" } else { "Allow " };
        let expected = format!("{allow_name}Content-Type X-Content-Type-Options Date Content-Length");
        assert_eq!(names(&answer), expected, "{request}");
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"), "{request}");
        let body = if status == 404 { "404 page not found\n" } else { "Method Not Allowed\n" };
        if !request.starts_with("HEAD") {
            assert_eq!(answer.text(), body, "{request}");
        }
    }
}

#[test]
fn options_is_200_and_empty_everywhere() {
    let server = Server::start();
    for target in ["/v2/keys/a", "/nowhere", "/v2/members", "*"] {
        let answer = server.client().request("OPTIONS", target, None);
        assert_eq!((answer.status, answer.header("Content-Length")), (200, Some("0")), "{target}");
        // Go answers `*` itself, with the two headers in the other order.
        assert!(target == "*" || names(&answer) == "Date Content-Length", "{target}: {answer:?}");
        assert_eq!(answer.headers.len(), 2, "{target}: {answer:?}");
    }
}

#[test]
fn unclean_paths_are_redirected_before_anything_else() {
    let server = Server::start();
    let mut client = server.client();
    for (target, location) in [
        ("/v2/keys//foo?recursive=true&x=1", "/v2/keys/foo?recursive=true&x=1"),
        ("/v2/keys/%2e%2e/%2E%2E/secret", "/secret"),
        ("/v2/keys/a%2f%2Fb?q=%20", "/v2/keys/a/b?q=%20"),
        ("/v2/keys/../../etc/passwd", "/etc/passwd"),
        ("//v2/keys/foo", "/v2/keys/foo"),
        ("/v2//keys/foo", "/v2/keys/foo"),
        ("/v2/keys/a/./b/", "/v2/keys/a/b/"),
    ] {
        let get = client.get(target);
        assert_eq!((get.status, get.header("Location")), (301, Some(location)), "{target}");
        assert_eq!(names(&get), "Content-Type Location Date Content-Length", "{target}");
        let html = format!("<a href=\"{}\">Moved Permanently</a>.\n\n", location.replace('&', "&amp;"));
        assert_eq!(get.text(), html, "{target}");
        let head = client.request("HEAD", target, None);
        assert_eq!((head.status, names(&head).as_str()), (301, "Content-Type Location Date"), "{target}");
        for method in ["PUT", "POST", "DELETE", "PATCH"] {
            let other = client.request(method, target, None);
            assert_eq!(
                (other.status, names(&other).as_str()),
                (301, "Location Date Content-Length"),
                "{method} {target}"
            );
            assert_eq!(other.header("Content-Length"), Some("0"));
        }
    }
}

#[test]
fn each_kind_of_keys_answer_has_its_headers() {
    let server = Server::start();
    let mut client = server.client();
    client.set("/a", "1");
    let success = "Content-Type X-Etcd-Cluster-Id X-Etcd-Index X-Raft-Index X-Raft-Term Date Content-Length";
    let failure = "Content-Type X-Etcd-Cluster-Id X-Etcd-Index Date Content-Length";
    for (request, status, expected) in [
        ("GET /v2/keys/a", 200, success),
        ("GET /v2/keys/a?quorum=true", 200, success),
        ("HEAD /v2/keys/a", 200, success),
        ("POST /v2/keys/q", 201, success),
        ("DELETE /v2/keys/q?recursive=true", 200, success),
        ("GET /v2/keys/missing", 404, failure),
        ("HEAD /v2/keys/missing", 404, failure),
        ("PUT /v2/keys/a?prevExist=false", 412, failure),
        ("PUT /v2/keys/a/b", 400, failure),
        ("PUT /v2/keys/a?ttl=x", 400, failure),
        ("DELETE /v2/keys/", 400, failure),
    ] {
        let answer = ask(&mut client, request, None);
        assert_eq!((answer.status, names(&answer).as_str()), (status, expected), "{request}");
        assert_eq!(answer.header("Content-Type"), Some("application/json"), "{request}");
        if !request.starts_with("HEAD") && status >= 400 {
            assert_eq!(answer.json()["index"].as_u64(), Some(answer.index()), "{request}");
            assert!(answer.body.ends_with(b"}\n"), "{request}");
        }
    }
    let date = client.get("/v2/keys/a").header("Date").unwrap_or_default().to_owned();
    assert!(date.ends_with(" GMT") && date.len() == "Sun, 22 Nov 2026 14:02:32 GMT".len(), "{date}");
}

#[test]
fn members_and_their_refusals() {
    const GO_VALUE: &str =
        r#"json: cannot unmarshal array into Go value of type struct { PeerURLs []string "json:\"peerURLs\"" }"#;
    const UNUSABLE: &str = "json: cannot unmarshal";
    const FIELD: &str = "into Go struct field .peerURLs of type";
    let server = Server::start();
    let mut client = server.client();
    let list = client.get("/v2/members");
    assert_eq!(names(&list), "Content-Type X-Etcd-Cluster-Id Date Content-Length");
    let id = list.json()["members"][0]["id"].as_str().expect("an id").to_owned();
    let (peer, own) = (format!("http://{}", server.peer_address()), server.url(""));
    let member = format!(r#"{{"id":"{id}","name":"gd","peerURLs":["{peer}"],"clientURLs":["{own}"]}}"#);
    assert_eq!(list.text(), format!("{{\"members\":[{member}]}}\n"));
    assert_eq!(client.get("/v2/members/").text(), list.text());
    assert_eq!(client.get("/v2/members/leader").text(), format!("{member}\n"));

    let zzz = "DELETE /v2/members/zzz";
    for (request, json, status, message) in [
        ("GET /v2/members/leader/", None, 404, "Not found"),
        (&*format!("GET /v2/members/{id}"), None, 404, "Not found"),
        (zzz, None, 404, "No such member: zzz"),
        ("DELETE /v2/members/00ABC", None, 404, "No such member: abc"),
        ("PUT /v2/members/zzz", Some("{}"), 404, "No such member: zzz"),
        ("POST /v2/members", None, 415, "Bad Content-Type , accept application/json"),
        ("POST /v2/members", Some(""), 400, "unexpected end of JSON input"),
        ("POST /v2/members", Some("{}"), 400, "no valid URLs given"),
        ("POST /v2/members", Some("null"), 400, "no valid URLs given"),
        ("POST /v2/members", Some("x"), 400, "invalid character 'x' looking for beginning of value"),
        ("POST /v2/members", Some("{}}"), 400, "invalid character '}' after top-level value"),
        ("POST /v2/members", Some("[]"), 400, GO_VALUE),
        ("POST /v2/members", Some(r#"{"peerURLs":"x"}"#), 400, &*format!("{UNUSABLE} string {FIELD} []string")),
        ("POST /v2/members", Some(r#"{"peerURLs":[1]}"#), 400, &*format!("{UNUSABLE} number {FIELD} string")),
        ("POST /v2/members", Some(r#"{"peerURLs":1,"peerurls":[]}"#), 400, &*format!("{UNUSABLE} number")),
        ("POST /v2/members", Some(r#"{"peerURLs":[null]}"#), 400, "URL scheme must be http, https, unix, or unixs: "),
        (
            "POST /v2/members",
            Some(r#"{"peerURLs":["\ud800"]}"#),
            400,
            "URL scheme must be http, https, unix, or unixs: \u{fffd}",
        ),
        ("POST /v2/members", Some(r#"{"peerURLs":["x"],"PEERURLS":null}"#), 400, "no valid URLs given"),
        ("POST /v2/members", Some(r#"{"peerURLs":["127.0.0.1"]}"#), 400, "URL scheme must be http"),
        (
            "POST /v2/members",
            Some(r#"{"peerURLs":["http://127.0.0.1"]}"#),
            400,
            "URL address does not have the form \"host:port\": http://127.0.0.1",
        ),
        (
            "POST /v2/members",
            Some(r#"{"peerURLs":["http://127.0.0.1:1/x"]}"#),
            400,
            "URL must not contain a path: http://127.0.0.1:1/x",
        ),
        (&*format!("PUT /v2/members/{id}"), Some(r#"{"peerURLs":[]}"#), 400, "no valid URLs given"),
    ] {
        let answer = ask(&mut client, request, json);
        assert_eq!(
            (answer.status, names(&answer).as_str()),
            (status, "Content-Type X-Etcd-Cluster-Id Date Content-Length"),
            "{request} {json:?}"
        );
        let got = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(got.starts_with(message), "{request} {json:?}: {got}");
        assert!(answer.body.ends_with(b"}"), "no newline: {request}");
    }
    let bare = client.delete("/v2/members");
    assert_eq!((bare.status, bare.text().as_str()), (405, "Method Not Allowed\n"));
    assert!(bare.header("X-Etcd-Cluster-Id").is_some());
}

#[test]
fn ids_are_computed_as_etcd_computes_them() {
    for (peer, member, cluster) in [
        ("http://127.0.0.1:20002", "58659dda25405e42", "ab8e2a87ae33bed8"),
        ("http://localhost:2380", "8e9e05c52164694d", "cdf818194e3a8c32"),
        // Fifteen digits: ids are not padded.
        ("http://127.0.0.1:20072", "", "c32531c60e63be3"),
    ] {
        let initial = format!("gd={peer}");
        let server = Plan::new().args(["--initial-advertise-peer-urls", peer, "--initial-cluster", &initial]).start();
        let answer = server.client().get("/v2/members");
        assert_eq!(answer.header("X-Etcd-Cluster-Id"), Some(cluster), "{peer}");
        let id = answer.json()["members"][0]["id"].clone();
        assert!(member.is_empty() || id == member, "{peer}: {id}");
    }
}

#[test]
fn machines_are_the_client_urls() {
    let server = Server::start();
    let answer = server.client().get("/v2/machines");
    assert_eq!((answer.status, answer.text()), (200, server.url("")));
    assert_eq!(names(&answer), "Date Content-Length Content-Type");
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    let head = server.client().request("HEAD", "/v2/machines", None);
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn statistics_have_the_fields_of_etcd() {
    let server = Server::start();
    let mut client = server.client();
    let fields = |answer: &Response| -> Vec<String> {
        assert_eq!((answer.status, names(answer).as_str()), (200, "Content-Type Date Content-Length"));
        assert!(answer.body.ends_with(b"}"), "no newline");
        let text = answer.text();
        let mut names: Vec<_> = answer.json().as_object().expect("an object").keys().cloned().collect();
        names.sort_by_key(|name| text.find(&format!("\"{name}\":")));
        names
    };
    let own = client.get("/v2/stats/self");
    let expected = ["name", "id", "state", "startTime", "leaderInfo", "recvAppendRequestCnt", "sendAppendRequestCnt"];
    assert_eq!(fields(&own), expected);
    let body = own.json();
    assert_eq!((&body["name"], &body["state"]), (&Value::from("gd"), &Value::from("StateLeader")));
    assert_eq!(body["id"], body["leaderInfo"]["leader"]);
    let leader = client.get("/v2/stats/leader");
    assert_eq!(leader.text(), format!("{{\"leader\":{},\"followers\":{{}}}}", body["id"]));
    assert_eq!(fields(&leader), ["leader", "followers"]);
    let store = client.get("/v2/stats/store");
    let operations = ["gets", "sets", "delete", "update", "create", "compareAndSwap", "compareAndDelete"];
    let mut expected: Vec<_> = operations.iter().flat_map(|op| [format!("{op}Success"), format!("{op}Fail")]).collect();
    expected.extend(["expireCount".into(), "watchers".into()]);
    assert_eq!(fields(&store), expected);
}

#[test]
fn statistics_count_each_operation() {
    let server = Server::start();
    let mut client = server.client();
    for (request, counter) in [
        ("PUT /v2/keys/a?value=1", "setsSuccess"),
        ("PUT /v2/keys/a/b", "setsFail"),
        ("PUT /v2/keys/b?prevExist=false", "createSuccess"),
        ("PUT /v2/keys/b?prevExist=false", "createFail"),
        ("POST /v2/keys/q", "createSuccess"),
        ("PUT /v2/keys/b?prevExist=true&value=2", "updateSuccess"),
        ("PUT /v2/keys/missing?prevExist=true", "updateFail"),
        ("PUT /v2/keys/b?prevValue=2&value=3", "compareAndSwapSuccess"),
        ("PUT /v2/keys/b?prevValue=2&value=3", "compareAndSwapFail"),
        ("DELETE /v2/keys/b?prevValue=3", "compareAndDeleteSuccess"),
        ("DELETE /v2/keys/missing?prevValue=3", "compareAndDeleteFail"),
        ("DELETE /v2/keys/a", "deleteSuccess"),
        ("DELETE /v2/keys/a", "deleteFail"),
        ("GET /v2/keys/q", "getsSuccess"),
        ("GET /v2/keys/missing", "getsFail"),
    ] {
        let count = |client: &mut Client| client.get("/v2/stats/store").json()[counter].as_u64().expect("a number");
        let before = count(&mut client);
        ask(&mut client, request, None);
        let counted = count(&mut client) - before;
        // etcd reads a flag for every request and counts that as a failed get (documented as statistics).
        let extra = u64::from(server.flavor() == Flavor::Etcd && counter == "getsFail");
        assert_eq!(counted, 1 + extra, "{request}: {counter}");
    }
}

#[test]
fn version_and_health_satisfy_clients() {
    let server = Server::start();
    let mut client = server.client();
    let version = client.get("/version");
    assert_eq!((version.status, names(&version).as_str()), (200, "Content-Type Date Content-Length"));
    assert_eq!(version.header("Content-Type"), Some("application/json"));
    let (wanted, health_text) = match server.flavor() {
        Flavor::Uetcd => ("2.3.", r#"{"health": "true"}"#),
        Flavor::Etcd => ("3.4.", r#"{"health":"true"}"#),
    };
    for field in ["etcdserver", "etcdcluster"] {
        let text = version.json()[field].as_str().unwrap_or_default().to_owned();
        assert!(text.starts_with(wanted), "{field}: {text}");
    }
    assert!(version.body.ends_with(b"}"), "no newline");
    let health = client.get("/health");
    assert_eq!((health.status, health.text().as_str()), (200, health_text));
    assert_eq!(names(&health), "Date Content-Length Content-Type");
    assert_eq!(health.header("Content-Type"), Some("text/plain; charset=utf-8"));
}

#[test]
fn metrics_are_prometheus_text_with_etcds_best_known_names() {
    let server = Server::start();
    let mut client = server.client();
    client.set("/a", "1");
    client.get("/v2/keys/missing");
    let answer = client.get("/metrics");
    let content_type = answer.header("Content-Type").unwrap_or_default();
    assert!(content_type.starts_with("text/plain; version=0.0.4"), "{content_type}");
    let text = answer.text();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(
            name.starts_with(|c: char| c.is_ascii_lowercase()) && (!name.contains('{') || name.ends_with('}')),
            "{line}"
        );
    }
    let etcd_3_4 = [
        "etcd_http_received_total",
        "etcd_http_failed_total",
        "etcd_server_has_leader",
        "etcd_disk_wal_fsync_duration_seconds",
    ];
    let etcd_2_3 = [
        "etcd_http_successful_duration_second",
        "etcd_store_reads_total",
        "etcd_store_writes_total",
        "etcd_store_expires_total",
        "etcd_store_watchers",
        "etcd_server_proposal_durations_seconds",
        "etcd_server_pending_proposal_total",
        "etcd_server_file_descriptors_used_total",
        "etcd_wal_fsync_durations_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
    ];
    let only_2_3: &[&str] = if server.flavor() == Flavor::Uetcd { &etcd_2_3 } else { &[] };
    for name in etcd_3_4.iter().chain(only_2_3) {
        assert!(text.contains(&format!("# TYPE {name} ")), "no {name}");
    }
    assert!(text.contains(r#"etcd_http_received_total{method="PUT"} 1"#), "the PUT was not counted");
    assert!(text.contains(r#"etcd_http_failed_total{code="404",method="GET"} 1"#), "the failed GET was not counted");
    assert_eq!(client.request("POST", "/metrics", None).status, 200, "any method will do");
}

#[test]
fn debug_vars_tell_the_command_line_and_the_raft_status() {
    let server = Server::start();
    let answer = server.client().get("/debug/vars");
    assert_eq!(answer.header("Content-Type"), Some("application/json; charset=utf-8"));
    let text = answer.text();
    assert!(text.starts_with("{\n\"cmdline\": ") && text.ends_with("\n}\n"), "{text}");
    let vars = answer.json();
    let arguments = vars["cmdline"].as_array().expect("an array");
    assert!(arguments.iter().any(|argument| argument == "--data-dir"), "{arguments:?}");
    assert!(vars["file_descriptor_limit"].as_u64().is_some_and(|limit| limit > 150));
    let raft = &vars["raft.status"];
    let raft: Value =
        raft.as_str().map_or_else(|| raft.clone(), |text| serde_json::from_str(text).expect("JSON in a string"));
    assert_eq!((&raft["raftState"], &raft["lead"]), (&Value::from("StateLeader"), &raft["id"]));
    assert_eq!((raft["term"].as_u64() > Some(0), &raft["vote"]), (true, &raft["id"]), "{raft}");
    let own = &raft["progress"][raft["id"].as_str().expect("an id")];
    let (matched, next) = (own["match"].as_u64().expect("a position"), own["next"].as_u64());
    assert!(next == Some(matched + 1) && raft["commit"].as_u64() <= Some(matched), "{raft}");
    assert!(own["state"].as_str().is_some_and(|state| state.contains("State")), "{raft}");
    for figure in ["Alloc", "Sys", "HeapAlloc", "HeapInuse"] {
        assert!(vars["memstats"][figure].as_u64() > Some(1 << 16), "{figure}: {}", vars["memstats"]);
    }
}

#[test]
fn the_log_level_changes_while_running() {
    let server = Server::start();
    let mut client = server.client();
    for (body, status, message) in [
        (r#"{"Level":"DEBUG"}"#, 204, ""),
        (r#"{"level":"info"}"#, 204, ""),
        (r#"{"LEVEL":"W"}"#, 204, ""),
        (r#"{"level":"3"}"#, 204, ""),
        (r#"{"level":"bogus"}"#, 400, "Invalid log level bogus"),
        (r#"{"level":5}"#, 400, "Invalid json body"),
        ("level=DEBUG", 400, "Invalid json body"),
        (r#"{"level":"info"} and more"#, 204, ""),
        (r#"{"level":"bogus","Level":"info"}"#, 204, ""),
        ("null", 400, "Invalid log level "),
    ] {
        let answer = ask(&mut client, "PUT /config/local/log", Some(body));
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        if status == 204 {
            assert_eq!(names(&answer), "Date", "{body}");
        } else {
            assert_eq!(answer.json()["message"], message, "{body}");
        }
    }
}

#[test]
fn requests_are_logged_for_whoever_debugs() {
    let server = Plan::new().args(["--debug"]).start();
    let mut client = server.client();
    client.get("/v2/keys/a?quorum=true&wait=false");
    let line = "D | etcdhttp: [GET] /v2/keys/a?quorum=true&wait=false remote:127.0.0.1:";
    // etcd 3.4 names the package by its path.
    server.wait_for_log(if server.flavor() == Flavor::Etcd { &line["D | etcdhttp".len()..] } else { line });
    ask(&mut client, "PUT /config/local/log", Some(r#"{"Level":"INFO"}"#));
    client.get("/v2/keys/b");
    assert!(!server.log().contains("/v2/keys/b"));
}

/// The value of the one CORS header that varies; all three headers must stand or fall together.
fn allowed_origin(answer: &Response) -> Option<&str> {
    let methods = answer.header("Access-Control-Allow-Methods");
    assert_eq!(methods, answer.header("Access-Control-Allow-Origin").map(|_| "POST, GET, OPTIONS, PUT, DELETE"));
    assert_eq!(answer.header("Access-Control-Allow-Headers"), methods.map(|_| "accept, content-type, authorization"));
    answer.header("Access-Control-Allow-Origin")
}

#[test]
fn cors_headers_are_for_the_configured_origins() {
    let with_origin = |client: &mut Client, target: &str, origin: &str| {
        client
            .send_raw(format!("GET {target} HTTP/1.1\r\nHost: x\r\nOrigin: {origin}\r\n\r\n").as_bytes())
            .expect("the server reads");
        client.receive("GET").expect("an answer")
    };
    let server = Plan::new().args(["--cors", "http://a.example:1, http://b.example:2 "]).start();
    let mut client = server.client();
    for target in ["/v2/keys/", "/v2/keys/missing", "/nowhere", "/v2/keys//unclean", "/version", "/v2/keys?ttl=x"] {
        let answer = with_origin(&mut client, target, "http://b.example:2");
        assert_eq!(allowed_origin(&answer), Some("http://b.example:2"), "{target}");
        let answer = with_origin(&mut client, target, "http://c.example:3");
        assert_eq!(allowed_origin(&answer), None, "{target}");
        assert_eq!(allowed_origin(&client.get(target)), None, "{target}");
    }
    let server = Plan::new().args(["--cors", "*"]).start();
    let mut client = server.client();
    assert_eq!(allowed_origin(&client.get("/v2/keys/")), Some("*"));
    assert_eq!(allowed_origin(&client.request("OPTIONS", "/x", None)), Some("*"));
    let off = Plan::new().start();
    assert_eq!(allowed_origin(&with_origin(&mut off.client(), "/v2/keys/", "http://b.example:2")), None);
}

#[test]
fn the_peer_port_knows_members_and_version_but_no_keys() {
    let server = Server::start();
    let mut peer = Client::new(server.peer_address());
    let members = eventually("the peer port answers", PATIENCE, || peer.attempt("GET", "/members", None).ok());
    let id = server.client().get("/v2/members").json()["members"][0]["id"].as_str().expect("an id").to_owned();
    let decimal = u64::from_str_radix(&id, 16).expect("hexadecimal");
    let (own, url) = (server.url(""), format!("http://{}", server.peer_address()));
    assert_eq!(
        members.text(),
        format!("[{{\"id\":{decimal},\"peerURLs\":[\"{url}\"],\"name\":\"gd\",\"clientURLs\":[\"{own}\"]}}]\n")
    );
    assert!(members.header("X-Etcd-Cluster-Id").is_some());
    assert_eq!(peer.get("/version").json()["etcdserver"], server.client().get("/version").json()["etcdserver"]);
    assert_eq!(peer.get("/v2/keys").status, 404);
    let moved = peer.get("/raft/stream?a=b");
    assert_eq!((moved.status, moved.header("Location")), (301, Some("/raft/stream/?a=b")));
    assert_eq!(server.client().get("/members").status, 404);
}

#[test]
fn several_listeners_ipv6_among_them_serve_the_same_keys() {
    let probe = std::net::TcpListener::bind(("::1", 0)).expect("IPv6 loopback is there");
    let six = probe.local_addr().expect("bound");
    drop(probe);
    let plan = Plan::new();
    let first = plan.start();
    let listen = format!("{},http://{six}", first.url(""));
    let plan = first.kill().args(["--listen-client-urls", &listen]);
    let server = plan.start();
    server.client().set("/k", "1");
    let mut other = Connection::open(six).expect("the second listener accepts");
    other.request("GET", "/v2/keys/k", None).expect("the server reads");
    assert_eq!(other.response("GET").expect("an answer").json()["node"]["value"], "1");
}
