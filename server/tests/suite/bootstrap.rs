//! How a member without data finds its cluster, and how those who do not belong together are kept apart.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::harness::{Client, Flavor, PATIENCE, Plan, Server, eventually, uetcd_only};

/// A URL where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    format!("http://{}", listener.local_addr().expect("bound"))
}

/// Runs a member named `me` until it gives up; what it said.
fn refused(args: &[&str]) -> String {
    let (client, peer) = (nowhere(), nowhere());
    let own = ["--name", "me", "--listen-client-urls", &client, "--advertise-client-urls", &client];
    let peer = ["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer];
    let enabled: &[&str] = if Flavor::under_test() == Flavor::Etcd { &["--enable-v2"] } else { &[] };
    let args: Vec<String> =
        [&own[..], &peer, enabled, args].concat().iter().map(|arg| arg.replace("OWN", peer[1])).collect();
    let ended = Plan::new().run_to_exit(&args);
    assert_eq!(ended.code(), 1, "{args:?}: {ended:?}");
    ended.stderr
}

#[test]
fn what_can_not_be_founded_or_joined_is_refused_with_etcds_words() {
    let gone = nowhere();
    for (args, want) in [
        (&["--initial-cluster", "a=OWN"][..], "couldn't find local name \"me\" in the initial cluster configuration"),
        (&["--initial-cluster", "me=OWN,b=OWN"], "has duplicate url"),
        (
            &["--initial-cluster-state", "existing", "--initial-cluster", &format!("me=OWN,b={gone}")],
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given ",
        ),
        (
            &["--initial-cluster-state", "existing", "--initial-cluster", "me=OWN"],
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given ",
        ),
        (
            &[
                "--initial-cluster-state",
                "existing",
                "--discovery",
                &format!("{gone}/v2/keys/t"),
                "--discovery-fallback",
                "exit",
            ],
            "discovery URL should not be set when joining existing initial cluster",
        ),
    ] {
        let said = refused(args);
        assert!(said.contains(want), "{args:?}: want {want:?}: {said}");
    }
    let other = nowhere();
    let said = refused(&["--initial-cluster", &format!("me={other},b={gone}")]);
    let want = if Flavor::under_test() == Flavor::Etcd {
        "--initial-cluster has me="
    } else {
        "--initial-cluster must include me="
    };
    assert!(said.contains(want), "{said}");
}

#[test]
fn who_is_not_in_the_cluster_can_not_join_it() {
    let server = Server::start();
    let peer = format!("http://{}", server.peer_address());
    let join = ["--initial-cluster-state", "existing", "--initial-cluster"];
    let said = refused(&[&join[..], &[&format!("me=OWN,gd={peer}")]].concat());
    let id = server.client().get("/v2/members").json()["members"][0]["id"].as_str().expect("an id").to_owned();
    let want = [
        "error validating peerURLs {ClusterID:",
        &format!("Members:[&{{ID:{id} RaftAttributes:{{PeerURLs:[{peer}]"),
        &format!(
            "Attributes:{{Name:gd ClientURLs:[{}]}}}}] RemovedMemberIDs:[]}}: member count is unequal",
            server.url("")
        ),
    ];
    assert!(want.iter().all(|want| said.contains(want)), "{said}");
}

#[test]
fn a_founder_that_is_known_to_have_started_is_refused() {
    let server = Server::start();
    let (peer, other) = (format!("http://{}", server.peer_address()), nowhere());
    // The same member, as the others see it, with an empty directory: `other` stands for a second way to reach it.
    let port = server.peer_address().port();
    let ended = Plan::new().run_to_exit([
        "--name",
        "gd",
        "--listen-peer-urls",
        &other,
        "--listen-client-urls",
        &nowhere(),
        "--advertise-client-urls",
        "http://127.0.0.1:1",
        "--initial-advertise-peer-urls",
        &peer,
        "--initial-cluster",
        &format!("gd={peer},b=http://localhost:{port}"),
    ]);
    let id = server.client().get("/v2/members").json()["members"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains(&format!("member {id} has already been bootstrapped")), "{ended:?}");
}

#[test]
fn members_of_different_clusters_refuse_each_other_and_say_so_once() {
    uetcd_only!("etcd says it about fifty times a second");
    let server = Server::start();
    let peer = format!("http://{}", server.peer_address());
    let own = nowhere();
    let initial = format!("me={own},gd={peer}");
    let odd = Plan::new()
        .args(["--name", "me", "--listen-peer-urls", &own, "--initial-advertise-peer-urls", &own])
        .args(["--initial-cluster", &initial])
        .launch();
    odd.wait_for_log("request sent was ignored (cluster ID mismatch: remote[");
    server.wait_for_log("request cluster ID mismatch (got ");
    // Several attempts to connect later, once per executor of the one who dials.
    std::thread::sleep(Duration::from_millis(500));
    let lines = server.log().matches("request cluster ID mismatch").count();
    let executors = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(lines <= executors, "{lines} lines: {}", server.log());
    assert_eq!(
        server.client().put("/v2/keys/a", &[("value", "1")]).status,
        201,
        "it serves as if nothing had happened"
    );
}

#[test]
fn founders_reach_each_other_before_they_serve() {
    uetcd_only!("etcd logs its links in other words");
    let urls = [nowhere(), nowhere(), nowhere()];
    let names = ["a", "b", "c"];
    let pieces: Vec<String> = names.iter().zip(&urls).map(|(name, url)| format!("{name}={url}")).collect();
    let initial = pieces.join(",");
    let members: Vec<Server> = names
        .iter()
        .zip(&urls)
        .map(|(name, url)| {
            let own = ["--name", name, "--listen-peer-urls", url, "--initial-advertise-peer-urls", url];
            Plan::new().args(own).args(["--initial-cluster", &initial]).launch()
        })
        .collect();
    for member in &members {
        eventually("both links are up", PATIENCE, || {
            (member.log().matches(" became active").count() >= 2).then_some(())
        });
        assert!(!member.log().contains("mismatch"), "{}", member.log());
    }
}

/// The peer port of a running server, as bytes.
fn raw(server: &Server) -> TcpStream {
    let address: SocketAddr = server.peer_address();
    let stream = TcpStream::connect(address).expect("the peer port listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit can be set");
    stream
}

#[test]
fn the_peer_port_tells_members_from_http_by_the_first_byte() {
    uetcd_only!("etcd's members speak HTTP");
    let server = Server::start();
    let mut http = Client::new(server.peer_address());
    assert_eq!(http.get("/version").json()["shards"], 16);
    // In pieces: the first byte decides, the rest may take its time.
    let mut stream = raw(&server);
    for piece in [&b"G"[..], b"ET /vers", b"ion HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"] {
        stream.write_all(piece).expect("it listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // What begins like a member and is none gets no answer, but the end.
    let mut stream = raw(&server);
    stream.write_all(&[0x89; 80]).expect("it listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the end");
    assert_eq!(answer, b"");
    server.wait_for_log("a stream from a peer was refused");
}

#[test]
fn flags_that_say_how_a_cluster_begins_are_ignored_once_there_is_data() {
    uetcd_only!("etcd ignores them without a word");
    let plan = Server::start().kill();
    let server = plan.args(["--initial-cluster-state", "existing", "--initial-cluster-token", "another"]).start();
    let want = "-initial-advertise-peer-urls, -initial-cluster, -initial-cluster-state, -initial-cluster-token ignored since a \
                cluster has already been initialized";
    server.wait_for_log(want);
}

#[test]
fn who_waits_for_a_majority_still_ends_by_a_signal() {
    uetcd_only!("etcd serves reads meanwhile");
    let (own, gone) = (nowhere(), nowhere());
    let member = Plan::new()
        .args(["--name", "me", "--listen-peer-urls", &own, "--initial-advertise-peer-urls", &own])
        .args(["--initial-cluster", &format!("me={own},a={gone}")])
        .launch();
    member.wait_for_log("failed to dial");
    assert_eq!(member.terminate(libc::SIGTERM).code(), 143);
}
