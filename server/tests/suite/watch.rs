//! Watches: what is delivered, when, how often, and what a connection looks like meanwhile.

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Client, Connection, Flavor, PATIENCE, Plan, Response, Server, eventually, uetcd_only};

/// Long enough that an event that wrongly came would have come.
const QUIET: Duration = Duration::from_millis(150);

/// A watch whose head has arrived, so that it is registered.
fn watch(server: &Server, target: &str) -> (Connection, Response) {
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    connection.request("GET", &format!("/v2/keys{target}"), None).expect("the server reads");
    let head = connection.head().unwrap_or_else(|e| panic!("watch {target}: {e}"));
    assert_eq!(head.status, 200, "{head:?}");
    (connection, head)
}

fn key(event: &Value) -> &str {
    event["node"]["key"].as_str().unwrap_or_default()
}

fn index(event: &Value) -> u64 {
    event["node"]["modifiedIndex"].as_u64().expect("an event has an index")
}

/// Does `METHOD /key[?query]`; writes have the value `v`.
fn act(client: &mut Client, action: &str) -> Response {
    let (method, target) = action.split_once(' ').expect("METHOD TARGET");
    let form = (method != "DELETE" && !target.contains("refresh") && !target.contains("dir=")).then_some("value=v");
    let response = client.request(method, &format!("/v2/keys{target}"), form.or((method == "PUT").then_some("")));
    assert!(response.status < 300, "{action}: {response:?}");
    response
}

#[test]
fn a_long_poll_answers_its_head_at_once_and_ends_after_one_event() {
    let server = Server::start();
    let mut client = server.client();
    let (mut poll, head) = watch(&server, "/w?wait=true");
    let names = [
        "Content-Type",
        "X-Etcd-Cluster-Id",
        "X-Etcd-Index",
        "X-Raft-Index",
        "X-Raft-Term",
        "Date",
        "Transfer-Encoding",
    ];
    assert_eq!(head.header_names(), names);
    assert_eq!((head.index(), head.header("Transfer-Encoding")), (3, Some("chunked")));
    assert!(poll.silent_for(QUIET));

    let written = client.put("/v2/keys/w", &[("value", "<1>")]);
    let chunk = poll.chunk().expect("the event").expect("not the end");
    assert_eq!(String::from_utf8_lossy(&chunk), written.text(), "the watcher sees the writer's bytes");
    assert_eq!(poll.chunk().expect("the final chunk"), None);

    poll.request("GET", "/v2/keys/w", None).expect("the connection is kept");
    assert_eq!(poll.response("GET").expect("an answer").json()["node"]["value"], "<1>");
    assert_eq!(client.watchers(), 0);
}

#[test]
fn a_stream_delivers_each_event_as_one_chunk_until_the_client_leaves() {
    let server = Server::start();
    let mut client = server.client();
    let (mut stream, _) = watch(&server, "/s?wait=true&stream=true");
    for n in 0..50 {
        let written = client.put("/v2/keys/s", &[("value", &n.to_string())]);
        let chunk = stream.chunk().expect("the event").expect("not the end");
        assert_eq!(String::from_utf8_lossy(&chunk), written.text());
    }
    assert!(stream.silent_for(QUIET));
    assert_eq!(client.watchers(), 1);
    drop(stream);
    eventually("the watcher of a client that left is gone", PATIENCE, || (client.watchers() == 0).then_some(()));
}

/// What exists, what is watched, what happens, and the key of the event that must arrive; `-` for none.
const MATCHING: [(&str, &str, &str, &str); 26] = [
    ("", "/a", "PUT /a", "/a"),
    ("", "/a", "PUT /ab", "-"),
    ("", "/a", "PUT /a/b", "-"),
    ("", "/a?recursive=true", "PUT /a/b", "/a/b"),
    ("", "/a?recursive=true", "PUT /a/b/c/d", "/a/b/c/d"),
    ("", "/a?recursive=true", "PUT /ab/c", "-"),
    ("", "/?recursive=true", "PUT /any/thing", "/any/thing"),
    ("", "/a/b/c", "PUT /a/b", "-"),
    ("PUT /f", "/f/below", "PUT /f", "-"),
    ("PUT /a/b", "/a", "PUT /a?dir=true&prevExist=true&ttl=1000", "/a"),
    ("PUT /a/b", "/a/b", "DELETE /a/b", "/a/b"),
    ("PUT /a/b", "/a/b", "DELETE /a?recursive=true", "/a"),
    ("PUT /a/b/c", "/a/b/c", "DELETE /a?recursive=true", "/a"),
    ("PUT /a/b/c", "/a/b?recursive=true", "DELETE /a?recursive=true", "/a"),
    ("PUT /a/b", "/?recursive=true", "DELETE /a?recursive=true", "/a"),
    ("PUT /wd/x;PUT /wdx", "/wdx", "DELETE /wd?recursive=true", "-"),
    ("PUT /wd/x;PUT /wdx/y", "/wdx/y", "DELETE /wd?recursive=true", "-"),
    ("PUT /_h/x", "/?recursive=true", "PUT /_h/x", "-"),
    ("", "/?recursive=true", "PUT /a/_h/x", "-"),
    ("", "/a?recursive=true", "PUT /a/b/_h", "-"),
    ("", "/_h?recursive=true", "PUT /_h/x", "/_h/x"),
    ("", "/_h/x", "PUT /_h/x", "/_h/x"),
    ("", "/_h?recursive=true", "PUT /_h/_deeper", "-"),
    ("PUT /_h/x", "/_h/x", "DELETE /_h?recursive=true", "/_h"),
    ("PUT /r?ttl=1000", "/r", "PUT /r?refresh=true&ttl=500&prevExist=true", "-"),
    ("", "/q?recursive=true", "POST /q", "/q/"),
];

/// Every top-level name of [`MATCHING`]: what one row leaves behind is cleared away before the next.
const TOPS: [&str; 10] = ["a", "ab", "any", "f", "wd", "wdx", "_h", "r", "q", "sentinel"];

/// Makes an event that a watch of this path gets in any case, whatever has become of the path.
fn sentinel(client: &mut Client, path: &str) {
    // Whatever stands in the way goes.
    let first = format!("/{}", path.split('/').nth(1).unwrap_or_default());
    if first != "/" {
        client.delete(&format!("/v2/keys{first}?recursive=true"));
    }
    act(client, &format!("PUT {}", if first == "/" { "/sentinel" } else { path }));
}

/// Plays one row with a watch that is there before the event, or one that asks for it afterwards.
fn check_matching(server: &Server, live: bool, row: &(&str, &str, &str, &str)) {
    let (setup, watched, action, wanted) = *row;
    let mut client = server.client();
    for top in TOPS {
        client.delete(&format!("/v2/keys/{top}?recursive=true"));
    }
    for step in setup.split(';').filter(|step| !step.is_empty()) {
        act(&mut client, step);
    }
    let (path, query) = watched.split_once('?').unwrap_or((watched, "recursive=false"));
    let open = |since: u64| watch(server, &format!("{path}?{query}&wait=true&waitIndex={since}")).0;
    let since = client.get("/v2/keys/").index() + 1;
    let early = live.then(|| open(0));

    let acted = act(&mut client, action).index();
    let mut poll = early.unwrap_or_else(|| open(since));
    if wanted == "-" {
        assert!(poll.silent_for(QUIET), "{row:?}: something arrived");
        sentinel(&mut client, path);
    }
    let event = poll.event().unwrap_or_else(|e| panic!("{row:?}: {e}"));
    if wanted == "-" {
        assert!(index(&event) > acted, "{row:?}: {event}");
    } else if wanted.ends_with('/') {
        assert!(key(&event).starts_with(wanted), "{row:?}: {event}");
    } else {
        assert_eq!((key(&event), index(&event)), (wanted, acted), "{row:?}");
    }
}

#[test]
fn live_watches_get_what_concerns_their_path_and_nothing_else() {
    let server = Server::start();
    for row in &MATCHING {
        check_matching(&server, true, row);
    }
}

#[test]
fn replays_follow_the_rules_of_live_watches() {
    let server = Server::start();
    for row in &MATCHING {
        // etcd's replays differ for hidden keys and removed directories (documented as replay-hidden and replay-prefix).
        let faulty_in_etcd = row.3 == "-" && (row.2.contains("/_") || row.2.starts_with("DELETE"));
        if server.flavor() == Flavor::Uetcd || !faulty_in_etcd {
            check_matching(&server, false, row);
        }
    }
}

#[test]
fn a_watch_of_the_root_alone_stays_quiet() {
    let server = Server::start();
    let (mut poll, _) = watch(&server, "/?wait=true");
    server.client().set("/any", "1");
    assert!(poll.silent_for(QUIET));
}

#[test]
fn the_stream_of_a_removed_node_gets_one_event() {
    let server = Server::start();
    let mut client = server.client();
    // etcd delivers a second copy (documented as stream-delete-once).
    let copies = if server.flavor() == Flavor::Uetcd { 1 } else { 2 };
    for removal in ["", "?prevValue=v", "?recursive=true"] {
        act(&mut client, "PUT /s");
        let (mut stream, _) = watch(&server, "/s?wait=true&stream=true");
        act(&mut client, &format!("DELETE /s{removal}"));
        act(&mut client, "PUT /s");
        let events: Vec<_> = (0..=copies).map(|_| stream.event().expect("an event")).collect();
        let actions: Vec<_> = events.iter().map(|event| event["action"].as_str().unwrap_or_default()).collect();
        let removed = if removal.contains("prevValue") { "compareAndDelete" } else { "delete" };
        assert!(actions[..copies].iter().all(|action| *action == removed), "{actions:?}");
        assert_eq!(actions[copies], "set");
        assert!(stream.silent_for(QUIET));
        act(&mut client, "DELETE /s");
    }
}

#[test]
fn wait_index_zero_now_future_and_past() {
    let server = Server::start();
    let mut client = server.client();
    let first = client.set("/k", "1");
    let second = client.set("/k", "2");
    let past = client.get(&format!("/v2/keys/k?wait=true&waitIndex={first}"));
    assert_eq!((index(&past.json()), past.index()), (first, second));
    let exact = client.get(&format!("/v2/keys/k?wait=true&waitIndex={second}"));
    assert_eq!(index(&exact.json()), second);
    // Nothing on this key since: waits, and another key's event does not end it.
    let (mut waiting, head) = watch(&server, &format!("/k?wait=true&waitIndex={}", second + 1));
    assert_eq!(head.index(), second);
    client.set("/other", "1");
    assert!(waiting.silent_for(QUIET));
    let (mut zero, _) = watch(&server, "/k?wait=true&waitIndex=0");
    let (mut future, _) = watch(&server, &format!("/k?wait=true&stream=true&waitIndex={}", second + 4));
    let third = client.set("/k", "3");
    assert_eq!(index(&waiting.event().expect("an event")), third);
    assert_eq!(index(&zero.event().expect("an event")), third);
    assert_eq!(third, second + 2);
    client.set("/k", "4");
    let awaited = client.set("/k", "5");
    let later = client.set("/k", "6");
    assert_eq!(index(&future.event().expect("an event")), awaited);
    assert_eq!(index(&future.event().expect("an event")), later);
}

#[test]
fn a_stream_from_the_past_replays_all_and_goes_live_without_a_gap() {
    uetcd_only!("a stream from the past goes silent after one event (stream-replay)");
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    let mut client = server.client();
    let first = client.set("/s/0", "0");
    for n in 1..500 {
        client.set(&format!("/s/{}", n % 7), &n.to_string());
    }
    for target in ["/s?recursive=true", "/?recursive=true"] {
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut client = server.client();
                (0..1500).map(|n| client.set(&format!("/s/{}", n % 7), &format!("live {n}"))).max().expect("some")
            });
            let (mut stream, _) = watch(&server, &format!("{target}&wait=true&stream=true&waitIndex={first}"));
            let mut next = first;
            let last = writer.join().expect("the writer finishes");
            while next <= last {
                let event = stream.event().expect("an event");
                assert_eq!(index(&event), next, "{target}: only /s is written, so no index may be missing");
                next += 1;
            }
            assert!(stream.silent_for(QUIET));
        });
    }
}

#[test]
fn an_index_that_left_the_history_is_401() {
    let server = Plan::new().uetcd_args(["--history-events", "1000"]).start();
    let mut client = server.client();
    let first = client.set("/bulk", "0");
    let last = (0..1100).map(|n| client.set("/bulk", &n.to_string())).max().expect("some");
    let gone = client.get(&format!("/v2/keys/bulk?wait=true&waitIndex={first}"));
    assert_eq!((gone.status, gone.index(), gone.header("X-Raft-Index")), (400, last, None), "{gone:?}");
    let error = gone.json();
    assert_eq!((error["errorCode"].as_u64(), error["index"].as_u64()), (Some(401), Some(last)));
    assert_eq!(error["message"], "The event in requested index is outdated and cleared");
    let cause = format!("the requested history has been cleared [{}/{first}]", last - 999);
    assert_eq!(error["cause"], cause.as_str());
    let kept = client.get(&format!("/v2/keys/bulk?wait=true&waitIndex={}", last - 999));
    assert_eq!((kept.status, index(&kept.json())), (200, last - 999));
}

#[test]
fn a_401_over_several_shards_names_an_index_that_all_can_serve() {
    uetcd_only!("etcd has one history");
    let server = Plan::new().args(["--cores", "2", "--history-events", "5"]).start();
    let mut client = server.client();
    let first = client.set("/first", "1");
    for n in 0..400 {
        client.set(&format!("/k{}", n % 40), "x");
    }
    let ask =
        |client: &mut Client, since: u64| client.get(&format!("/v2/keys/?recursive=true&wait=true&waitIndex={since}"));
    let refused = ask(&mut client, first).json();
    let cause = refused["cause"].as_str().expect("a cause").to_owned();
    let named = cause.split(['[', '/']).nth(1).and_then(|text| text.parse().ok());
    let oldest: u64 = named.unwrap_or_else(|| panic!("{refused}"));
    for _ in 0..20 {
        assert_eq!(ask(&mut client, first).json()["cause"], cause.as_str(), "whichever shard answers first");
    }
    assert_eq!(ask(&mut client, oldest - 1).status, 400, "it is the oldest: {cause}");
    let event = ask(&mut client, oldest);
    assert_eq!((event.status, index(&event.json())), (200, oldest), "{cause}");
}

#[test]
fn a_quiet_path_is_not_refused_because_others_are_busy() {
    uetcd_only!("etcd refuses whatever is older than its last 1000 events (history)");
    let server = Plan::new().args(["--history-events", "100"]).start();
    let mut client = server.client();
    let quiet = client.set("/quiet/key", "1");
    for n in 0..2000 {
        client.set(&format!("/busy{}", n % 50), "x");
    }
    for path in ["/quiet/key", "/quiet?recursive=true", "/never/there"] {
        let separator = if path.contains('?') { '&' } else { '?' };
        let (mut poll, _) = watch(&server, &format!("{path}{separator}wait=true&waitIndex={}", quiet + 1));
        assert!(poll.silent_for(QUIET), "{path}");
    }
}

#[test]
fn wait_belongs_to_get_alone_and_quorum_cancels_it() {
    let server = Server::start();
    let mut client = server.client();
    client.set("/k", "1");
    for method in ["HEAD", "PUT", "POST", "DELETE"] {
        let answer = client.request(method, "/v2/keys/k?wait=true", None);
        assert_eq!((answer.status, answer.index()), (400, 0), "{method}: {answer:?}");
        if method != "HEAD" {
            assert_eq!(answer.json()["cause"], "\"wait\" can only be used with GET requests");
        }
    }
    let read = client.get("/v2/keys/k?wait=true&quorum=true");
    assert_eq!((read.status, &read.json()["action"]), (200, &Value::from("get")));
    assert_eq!(client.watchers(), 0);
}

#[test]
fn clients_that_leave_take_their_watchers_along() {
    let server = Server::start();
    let mut client = server.client();
    let watches: Vec<_> = (0..40)
        .map(|n| {
            let stream = if n % 2 == 0 { "&stream=true" } else { "" };
            let recursive = if n % 3 == 0 { "&recursive=true" } else { "" };
            watch(&server, &format!("/d{}/k?wait=true{stream}{recursive}", n % 20))
        })
        .collect();
    let root = watch(&server, "/?wait=true&recursive=true&stream=true");
    eventually("all are counted", PATIENCE, || (client.watchers() == 41).then_some(()));
    drop((watches, root));
    eventually("none is left", PATIENCE, || (client.watchers() == 0).then_some(()));
}

#[test]
fn a_watch_from_now_is_never_refused_however_short_the_history() {
    uetcd_only!("the history of etcd has a fixed length");
    let server = Plan::new().args(["--cores", "2", "--history-events", "1"]).start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                let mut client = server.client();
                for n in (0_u64..).take_while(|_| !done.load(Ordering::Relaxed)) {
                    client.set(&format!("/n{}/k", (n * 2 + writer) % 32), "1");
                }
            });
        }
        for round in 0..200 {
            let stream = if round % 2 == 0 { "&stream=true" } else { "" };
            let (mut watching, head) = watch(&server, &format!("/?wait=true&recursive=true{stream}"));
            let first = index(&watching.event().expect("an event"));
            assert_eq!(first, head.index() + 1, "each index is a write of these");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// What a client gets that sends a request and shuts its side down.
fn half_closed(server: &Server, target: &str) -> String {
    let mut connection = Connection::open(server.address()).expect("the server accepts");
    connection.request("GET", &format!("/v2/keys{target}"), None).expect("the server reads");
    connection.socket().shutdown(Shutdown::Write).expect("shut down");
    String::from_utf8(connection.rest().expect("the connection is closed")).expect("text")
}

#[test]
fn a_client_that_shuts_its_side_down_gets_a_whole_answer() {
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    let mut client = server.client();
    let past = client.set("/h/k", "1");
    for n in 0..8 {
        client.set(&format!("/h{n}/k"), "1");
    }
    for round in 0..30 {
        let at = round % 8;
        for target in [&format!("/h{at}?wait=true&recursive=true"), "/?wait=true&recursive=true&stream=true"] {
            let answer = half_closed(&server, target);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{target}: {answer:?}");
            assert!(answer.ends_with("\r\n\r\n0\r\n\r\n"), "{target}: {answer:?}");
        }
        for target in [
            format!("/h{at}/k?wait=true&waitIndex={past}"),
            format!("/h{at}/k?wait=true&stream=true&waitIndex={past}"),
            format!("/?wait=true&recursive=true&waitIndex={past}"),
        ] {
            let answer = half_closed(&server, &target);
            assert!(answer.contains("{\"action\":\"set\""), "{target}: {answer:?}");
            assert!(answer.ends_with("}\n\r\n0\r\n\r\n"), "{target}: {answer:?}");
        }
    }
    eventually("no watch is left", PATIENCE, || (client.watchers() == 0).then_some(()));
}

#[test]
fn sigterm_ends_watches_and_the_process_at_once() {
    let server = Server::start();
    let (mut stream, _) = watch(&server, "/s?wait=true&stream=true");
    let (mut poll, _) = watch(&server, "/s/t?wait=true");
    let ended = server.terminate(libc::SIGTERM);
    assert_eq!(ended.code(), 143, "{}", ended.stderr);
    for connection in [&mut stream, &mut poll] {
        let rest = connection.rest().expect("the connection is closed");
        assert!(rest.is_empty() || rest == b"0\r\n\r\n", "{:?}", String::from_utf8_lossy(&rest));
    }
}

/// They are sent from where all who watch them have them, between what each of them is sent by itself.
#[test]
fn large_events_are_whole_among_small_ones_however_they_are_framed() {
    let server = Server::start();
    let mut client = server.client();
    let (mut stream, _) = watch(&server, "/large?wait=true&stream=true");
    let (mut poll, _) = watch(&server, "/large?wait=true&waitIndex=5");
    let mut old = Connection::open(server.address()).expect("the server accepts");
    old.send(b"GET /v2/keys/large?wait=true&stream=true HTTP/1.0\r\n\r\n").expect("the server reads");
    assert_eq!(old.head().expect("the head comes at once").status, 200);
    let values = [10, 100_000, 20, 1_000_000, 17_000, 30].map(|bytes| "v".repeat(bytes));
    let mut all = Vec::new();
    for value in &values {
        let body = client.put("/v2/keys/large", &[("value", value)]).body;
        let event = stream.chunk().expect("whole").expect("not the end");
        assert_eq!(event, body, "{} bytes", value.len());
        all.extend(body);
    }
    let event = poll.chunk().expect("whole").expect("not the end");
    assert!(event.len() > 100_000 && poll.chunk().expect("the end comes").is_none());
    // The connection is good for another request.
    poll.request("GET", "/v2/keys/large", None).expect("the server reads");
    assert!(poll.response("GET").expect("an answer").text().contains(&values[5]));
    assert_eq!(old.exactly(all.len()), all);
}
