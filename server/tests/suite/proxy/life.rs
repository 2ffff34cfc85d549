//! How a proxy finds its cluster, again and again.

use std::fs;

use super::{in_front_of, peer_url, plan};
use crate::cluster::Setup;
use crate::harness::{Flavor, PATIENCE, Plan, Server, eventually, uetcd_only};

fn endpoints(proxy: &Server) -> Vec<String> {
    let listed = proxy.client().get("/v2/config/local/proxy").json();
    let mut urls: Vec<String> = listed["endpoints"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|url| url.as_str().expect("text").to_owned())
        .collect();
    urls.sort_unstable();
    urls
}

#[test]
fn the_cluster_file_is_etcd_s_and_wins_over_the_flags() {
    let server = Server::start();
    let proxy = in_front_of(&server).on_quiet_ports().start();
    let file = proxy.plan().data().join("proxy/cluster");
    let want = format!("{{\"PeerURLs\":[\"{}\"]}}", peer_url(&server));
    assert_eq!(fs::read_to_string(&file).expect("is there"), want);
    let first = proxy.plan().clone();
    assert_eq!(proxy.terminate(libc::SIGTERM).code(), 143);

    let elsewhere = Plan::new().on_quiet_ports().peer_url();
    let restarted = first.clone().args(["--proxy", "off", "--initial-cluster", &format!("gd={elsewhere}")]).start();
    restarted.wait_for_log("the server is already initialized as proxy before, starting as etcd proxy...");
    restarted.wait_for_log(&format!("from cluster file \"{}\"", file.display()));
    restarted.client().set("/a", "1");
    assert_eq!(server.client().value("/a"), Some("1".to_owned()));
    assert_eq!(fs::read_to_string(&file).expect("is there"), want);
}

#[test]
fn what_a_data_directory_was_it_stays() {
    let server = Server::start();
    // A member with --proxy stays a member.
    let plan = server.plan().clone();
    server.client().set("/mine", "1");
    assert_eq!(server.terminate(libc::SIGTERM).code(), 143);
    let member = plan.clone().args(["--proxy", "on"]).start();
    assert_eq!(member.client().value("/mine"), Some("1".to_owned()));
    assert_eq!(member.client().get("/v2/config/local/proxy").status, 404);
    member.kill();
    fs::create_dir(plan.data().join("proxy")).expect("writable");
    let Err(ended) = plan.try_start() else { panic!("it started with both") };
    assert_eq!(ended.code(), 1);
    assert!(ended.stderr.contains("invalid datadir. Both member and proxy directories exist."), "{}", ended.stderr);
}

#[test]
fn what_it_can_not_use_it_names() {
    uetcd_only!("the words are our own");
    for (flags, want) in [
        (["--initial-cluster", "a=https://h:1"], "TLS (https://h:1) is not supported"),
        (["--discovery", "ftp://h:1/v2/keys/t"], "unsupported protocol scheme \"ftp\""),
    ] {
        let home = tempfile::tempdir().expect("a temporary directory");
        let data = home.path().join("data");
        let data = data.to_str().expect("text");
        let urls = ["--listen-client-urls", "http://127.0.0.1:0"];
        let args = [&["--proxy", "on", "--data-dir", data][..], &urls[..], &flags[..]].concat();
        let ended = Plan::of(Flavor::Uetcd).run_to_exit(args);
        assert_eq!(ended.code(), 1);
        assert!(ended.stderr.contains(want), "{}", ended.stderr);
    }
    let server = Server::start();
    let proxy = in_front_of(&server).start();
    let plan = proxy.plan().clone();
    proxy.kill();
    fs::write(plan.data().join("proxy/cluster"), "{\"PeerURLs\":").expect("writable");
    let Err(ended) = plan.try_start() else { panic!("it started with half a file") };
    assert!(ended.code() == 1 && ended.stderr.contains("this is no list of peer URLs"), "{}", ended.stderr);
}

#[test]
fn members_that_come_and_go_are_followed() {
    let mut cluster = Setup::new().args(&["--strict-reconfig-check=false"]).start(1);
    let proxy = plan(&[cluster.peer_url(0)]).args(["--proxy-refresh-interval", "200"]).start();
    let url = |nth: usize, cluster: &crate::cluster::Cluster| format!("http://{}", cluster.address(nth));
    assert_eq!(endpoints(&proxy), [url(0, &cluster)]);
    let next = cluster.next_plan();
    let body = format!("{{\"peerURLs\":[\"{}\"]}}", next.peer_url());
    // Through the proxy, like everything.
    let request = format!(
        "POST /v2/members HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = proxy.client();
    client.send_raw(request.as_bytes()).expect("it reads");
    assert_eq!(client.receive("POST").expect("an answer").status, 201);
    let nth = cluster.join(&[0], next);
    cluster.wait_voter(nth);
    let mut both = vec![url(0, &cluster), url(1, &cluster)];
    both.sort_unstable();
    eventually("the new member is an endpoint", PATIENCE, || (endpoints(&proxy) == both).then_some(()));
    let file = proxy.plan().data().join("proxy/cluster");
    let stored = fs::read_to_string(&file).expect("is there");
    assert!(stored.contains(&cluster.peer_url(0)) && stored.contains(&cluster.peer_url(1)), "{stored}");

    // The one that it was started with goes, and the cluster with the proxy goes on.
    let id = cluster.id(1, 0);
    assert_eq!(cluster.client(1).delete(&format!("/v2/members/{id}")).status, 204);
    cluster.wait_gone(0);
    eventually("the removed member is none any more", PATIENCE, || {
        (endpoints(&proxy) == [url(1, &cluster)]).then_some(())
    });
    eventually("writes go on", PATIENCE, || {
        let answer = client.attempt("PUT", "/v2/keys/a", Some("value=1"));
        answer.is_ok_and(|answer| answer.status < 300).then_some(())
    });
    assert!(!fs::read_to_string(&file).expect("is there").contains(&cluster.peer_url(0)));
}

#[test]
fn a_url_that_is_its_own_is_left_out() {
    uetcd_only!("proxy-order: etcd's sends requests round and round");
    let door = Plan::new().on_quiet_ports();
    let member = Plan::new().on_quiet_ports();
    let (url, own) = (format!("http://{}", member.address()), format!("http://{}", door.address()));
    let server = member.args(["--advertise-client-urls", &format!("{url},{own}")]).start();
    let proxy = in_front_of(&server).args(["--listen-client-urls", &own]).launch();
    proxy.wait_for_log(&format!("{own} is left out: a member advertises it, but this proxy listens there"));
    let mut client = crate::harness::Client::new(door.address());
    let listed =
        eventually("the proxy listens", PATIENCE, || client.attempt("GET", "/v2/config/local/proxy", None).ok());
    assert_eq!(listed.text(), format!("{{\"endpoints\":[\"{url}\"]}}\n"));
    client.set("/a", "1");
}

/// Members on other machines that advertise the default, and a proxy at its usual place.
#[test]
fn so_is_whatever_leads_to_where_it_listens() {
    uetcd_only!("proxy-order: etcd's sends requests round and round");
    for (listens, advertised) in [
        ("127.0.0.1", &["localhost", "0.0.0.0", "[::ffff:127.0.0.1]"][..]),
        ("localhost", &["127.0.0.1"]),
        ("0.0.0.0", &["localhost", "127.0.0.1", "127.0.0.2"]),
        ("[::]", &["localhost", "127.0.0.1"]),
    ] {
        let door = Plan::new().on_quiet_ports();
        let port = door.address().port();
        let urls: Vec<String> = advertised.iter().map(|host| format!("http://{host}:{port}")).collect();
        let server = Plan::new().args(["--advertise-client-urls", &urls.join(",")]).start();
        let listens = format!("http://{listens}:{port}");
        let proxy = in_front_of(&server).args(["--listen-client-urls", &listens]).launch();
        for url in &urls {
            proxy.wait_for_log(&format!("{url} is left out: a member advertises it, but this proxy listens there"));
        }
        let mut client = crate::harness::Client::new(door.address());
        let answer = eventually("the proxy listens", PATIENCE, || client.attempt("GET", "/v2/keys/", None).ok());
        assert_eq!(answer.status, 503, "{listens}: {}", answer.text());
    }
}
