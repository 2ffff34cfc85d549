//! Registries that are no good, and members that do not fit.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use super::{contents, is_one_cluster, launch, leaves_nothing, member, nowhere, open_registry};
use crate::harness::{Ended, Flavor, Plan, Server, uetcd_only};

/// Runs a member until it gives up, which must leave nothing behind.
fn refused(plan: &Plan) -> Ended {
    let ended = plan.clone().args(["--discovery-fallback", "exit"]).launch().wait();
    assert_eq!(ended.code(), 1, "{ended:?}");
    leaves_nothing(plan);
    ended
}

#[test]
fn a_registry_that_is_no_good_is_refused_with_etcds_words() {
    let server = Server::start();
    let flavor = server.flavor();
    let says = |url: &str| refused(&member(flavor, "a", url)).stderr;
    for size in ["abc", "0x2", "2 "] {
        let said = says(&open_registry(&server, size));
        assert!(said.contains("failed to join discovery cluster (discovery: size key is bad)"), "{size:?}: {said}");
        assert!(said.contains("please generate a new discovery token and try to bootstrap again."), "{said}");
    }
    let said = says(&server.url("/v2/keys/_etcd/registry/none"));
    assert!(said.contains("failed to join discovery cluster (100: Key not found (/_etcd/registry/none) ["), "{said}");
    let said = says(&server.url("/version"));
    assert!(said.contains("failed to join discovery cluster (discovery: bad discovery endpoint)"), "{said}");
    let said = says("http://127.0.0.1:x/v2/keys/t");
    assert!(said.contains("invalid port \":x\" after host"), "{said}");
    server.client().put("/v2/keys/_etcd/registry/2/stranger", &[("value", "no=url")]);
    server.client().put("/v2/keys/_etcd/registry/2/_config/size", &[("value", "2")]);
    let said = says(&server.url("/v2/keys/_etcd/registry/2"));
    assert!(said.contains("failed to join discovery cluster (discovery: invalid URL)"), "{said}");

    let joins = member(flavor, "a", &open_registry(&server, "1")).args(["--initial-cluster-state", "existing"]);
    let said = refused(&joins).stderr;
    assert!(said.contains("discovery URL should not be set when joining existing initial cluster"), "{said}");
    let proxy = member(flavor, "a", &server.url("/v2/keys/_etcd/registry/abc")).args(["--proxy", "on"]);
    let said = refused(&proxy).stderr;
    assert!(said.contains("discovery: size key is bad"), "{said}");
}

#[test]
fn what_was_there_before_stays() {
    uetcd_only!("etcd makes directories first");
    let server = Server::start();
    let url = open_registry(&server, "abc");
    let plan = member(server.flavor(), "a", &url).args(["--discovery-fallback", "exit"]);
    std::fs::create_dir(plan.data()).expect("the home directory is writable");
    assert_eq!(plan.launch().wait().code(), 1);
    assert_eq!(contents(&plan), [""; 0]);
    let deep = plan.clone().data_dir(&plan.home().join("made/for/this"));
    refused(&deep);
    assert!(!plan.home().join("made").exists());
}

#[test]
fn a_size_of_nobody_is_refused() {
    uetcd_only!("etcd crashes");
    let server = Server::start();
    for size in ["0", "-1"] {
        let said = refused(&member(server.flavor(), "a", &open_registry(&server, size))).stderr;
        assert!(said.contains("(discovery: size key is bad)"), "{size}: {said}");
    }
}

#[test]
fn whoever_has_lost_its_data_does_not_found_again() {
    let server = Server::start();
    let url = open_registry(&server, "1");
    let plan = member(server.flavor(), "a", &url);
    let members = [plan.launch()];
    is_one_cluster(&members);
    let [founder] = members;
    let plan = founder.kill();
    std::fs::remove_dir_all(plan.data()).expect("it is there");
    let ended = refused(&plan);
    for want in [
        format!("member \"a\" has previously registered with discovery service token ({url})."),
        format!("etcd could not find valid cluster configuration in the given data dir ({}).", plan.data().display()),
        "check the given data dir path if the previous bootstrap succeeded".to_owned(),
        "or use a new discovery token if the previous bootstrap failed.".to_owned(),
    ] {
        assert!(ended.stderr.contains(&want), "{want}: {ended:?}");
    }
}

#[test]
fn whoever_has_the_name_or_the_url_of_another_is_refused() {
    let server = Server::start();
    let flavor = server.flavor();
    let url = open_registry(&server, "2");
    let mut first = launch(flavor, &["a"], &url).remove(0);
    let peer = format!("http://{}", first.peer_address());
    let same_url = member(flavor, "b", &url).args(["--initial-advertise-peer-urls", &peer]);
    let said = refused(&same_url).stderr;
    assert!(said.contains("member \"b\" has previously registered with discovery service token"), "{said}");
    let second = member(flavor, "a", &url);
    for ended in [second.launch().wait(), first.wait()] {
        let want = format!("member with duplicated name has registered with discovery service token({url}).");
        assert_eq!(ended.code(), 1, "{ended:?}");
        assert!(ended.stderr.contains(&want), "{ended:?}");
    }
    leaves_nothing(first.plan());
    leaves_nothing(&second);
}

#[test]
fn two_members_with_one_url_are_refused() {
    let server = Server::start();
    let url = open_registry(&server, "2");
    let mut first = launch(server.flavor(), &["a"], &url).remove(0);
    let both = format!("http://{},{}", first.peer_address(), nowhere());
    let second = member(server.flavor(), "b", &url).args(["--initial-advertise-peer-urls", &both]);
    for ended in [second.launch().wait(), first.wait()] {
        assert_eq!(ended.code(), 1, "{ended:?}");
        assert!(ended.stderr.contains("has duplicate url"), "{ended:?}");
    }
    leaves_nothing(first.plan());
    leaves_nothing(&second);
}

#[test]
fn a_service_that_says_nothing_is_not_waited_for() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("http://{}/v2/keys/t", silent.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in silent.incoming() {
            thread::spawn(move || stream.map(|mut stream| stream.read_to_end(&mut Vec::new())));
        }
    });
    let said = refused(&member(Flavor::under_test(), "a", &url)).stderr;
    assert!(said.contains("failed to join discovery cluster (context deadline exceeded)"), "{said}");
}
