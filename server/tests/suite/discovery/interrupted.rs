//! Services, members and their founding, interrupted.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use super::{contents, is_one_cluster, launch, leaves_nothing, member, nowhere, registry};
use crate::harness::{Client, Flavor, Plan, uetcd_only};

#[test]
fn an_unreachable_service_is_tried_again_until_a_signal() {
    let gone = nowhere();
    for (signal, status) in [(libc::SIGTERM, 143), (libc::SIGINT, 130)] {
        let plan = member(Flavor::under_test(), "a", &format!("{gone}/v2/keys/t"));
        let server = plan.launch();
        let refused = format!("dial tcp {}: connect: connection refused", &gone["http://".len()..]);
        server.wait_for_log(&refused);
        server.wait_for_log(&format!("cluster status check: error connecting to {gone}, retrying in 2s"));
        server.wait_for_log("retrying in 4s");
        assert_eq!(server.terminate(signal).code(), status);
        leaves_nothing(&plan);
    }
}

#[test]
fn members_that_wait_outlive_a_restart_of_the_service() {
    let (service, url) = registry("2");
    let mut members = launch(service.flavor(), &["a"], &url);
    members[0].wait_for_log("found 1 peer(s), waiting for 1 more");
    let plan = service.kill();
    members[0].wait_for_log("waiting for other nodes: error connecting to");
    let service = plan.start();
    members.extend(launch(service.flavor(), &["b"], &url));
    is_one_cluster(&members);
}

#[test]
fn a_member_needs_no_service_once_it_has_founded() {
    let (service, url) = registry("2");
    let members = launch(service.flavor(), &["a", "b"], &url);
    is_one_cluster(&members);
    drop(service);
    let plans: Vec<_> = members.into_iter().map(crate::harness::Server::kill).collect();
    let members: Vec<_> = plans.iter().map(crate::harness::Plan::launch).collect();
    for member in &members {
        member.wait_for_log("discovery token ignored since a cluster has already been initialized.");
    }
    is_one_cluster(&members);
}

#[test]
fn whoever_was_ended_while_it_waited_waits_on() {
    uetcd_only!("etcd can never use the token again");
    let (service, url) = registry("2");
    let first = launch(service.flavor(), &["a"], &url).remove(0);
    first.wait_for_log("found 1 peer(s), waiting for 1 more");
    let plan = first.kill();
    assert_eq!(contents(&plan), ["discovery"]);
    let again = plan.launch();
    again.wait_for_log("a start of this member has registered it before");
    let mut members = vec![again];
    members.extend(launch(service.flavor(), &["b"], &url));
    is_one_cluster(&members);
    assert_eq!(contents(&plan), ["member"]);
}

#[test]
fn a_directory_in_which_somebody_waits_is_not_shared() {
    uetcd_only!("etcd waits for ever");
    let (service, url) = registry("2");
    let mut members = launch(service.flavor(), &["a"], &url);
    members[0].wait_for_log("found 1 peer(s), waiting for 1 more");
    let plan = members[0].plan().clone();
    let note = std::fs::read(plan.data().join("discovery")).expect("a note");
    let elsewhere = member(service.flavor(), "b", &url).data_dir(plan.data());
    let without_discovery = Plan::of(service.flavor()).on_quiet_ports().data_dir(plan.data());
    let proxy = without_discovery.clone().uetcd_args(["--proxy", "on"]);
    for second in [elsewhere, without_discovery, proxy] {
        let ended = second.launch().wait();
        assert_eq!(ended.code(), 1, "{ended:?}");
        assert!(ended.stderr.contains("file already locked"), "{ended:?}");
        assert_eq!(std::fs::read(plan.data().join("discovery")).expect("a note"), note);
    }
    members.extend(launch(service.flavor(), &["b"], &url));
    is_one_cluster(&members);
}

#[test]
fn a_mistyped_name_costs_whoever_waits_nothing() {
    uetcd_only!("etcd can never use the token again");
    let (service, url) = registry("2");
    let first = launch(service.flavor(), &["a"], &url).remove(0);
    first.wait_for_log("found 1 peer(s), waiting for 1 more");
    let plan = first.kill();
    let ended = plan.clone().named("z").launch().wait();
    assert!(ended.stderr.contains("member \"z\" has previously registered"), "{ended:?}");
    assert_eq!(contents(&plan), ["discovery"]);
    let mut members = vec![plan.launch()];
    members.extend(launch(service.flavor(), &["b"], &url));
    is_one_cluster(&members);
}

/// Only the note of it stays; when it is refused then, not even that.
#[test]
fn whoever_was_ended_and_is_refused_then_leaves_nothing() {
    uetcd_only!("etcd can never use the token again");
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (service, url) = registry("2");
        let first = launch(service.flavor(), &["a"], &url).remove(0);
        first.wait_for_log("found 1 peer(s), waiting for 1 more");
        let plan = first.plan().clone();
        assert_eq!(first.terminate(signal).code(), 128 + signal);
        assert_eq!(contents(&plan), ["discovery"]);
        service.client().put("/v2/keys/_etcd/registry/2/stranger", &[("value", "a=http://127.0.0.1:1")]);
        let ended = plan.launch().wait();
        assert_eq!(ended.code(), 1, "{ended:?}");
        assert!(ended.stderr.contains("member with duplicated name has registered"), "{ended:?}");
        leaves_nothing(&plan);
    }
}

/// A way to a service that loses the answer to the first registration.
fn forgetful_front(service: SocketAddr) -> SocketAddr {
    let front = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = front.local_addr().expect("bound");
    thread::spawn(move || {
        let mut is_lost = false;
        for client in front.incoming() {
            let (client, lose) = (client.expect("a client"), !is_lost);
            is_lost |= thread::spawn(move || pass(client, service, lose)).join().expect("no panic");
        }
    });
    address
}

/// Passes requests until the client goes, or a registration whose answer is to be lost: then true.
fn pass(client: TcpStream, service: SocketAddr, lose: bool) -> bool {
    let mut client = BufReader::new(client);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if client.read_line(&mut head).unwrap_or(0) == 0 {
                return false;
            }
        }
        let length = head
            .to_ascii_lowercase()
            .split("content-length: ")
            .nth(1)
            .map_or(0, |rest| rest.split("\r\n").next().and_then(|length| length.parse().ok()).expect("a length"));
        let mut body = vec![0; length];
        client.read_exact(&mut body).expect("a body");
        let (method, path) = (head.split(' ').next().expect("a method"), head.split(' ').nth(1).expect("a path"));
        let form = String::from_utf8(body).expect("a form");
        let answer = Client::new(service).request(method, path, (length > 0).then_some(&*form));
        if lose && method == "PUT" {
            // Until it is given up.
            let _ = client.read(&mut [0]);
            return true;
        }
        let head = format!(
            "{}\r\nX-Etcd-Index: {}\r\nContent-Length: {}\r\n\r\n",
            answer.status_line,
            answer.index(),
            answer.body.len()
        );
        client.get_mut().write_all(&[head.as_bytes(), &answer.body].concat()).expect("it listens");
    }
}

/// What has perhaps been registered is not given up: the next start finds out.
#[test]
fn a_registration_that_was_not_answered_can_be_gone_on_with() {
    uetcd_only!("etcd can never use the token again");
    let (service, url) = registry("1");
    let url = url.replace(&service.address().to_string(), &forgetful_front(service.address()).to_string());
    let plan = member(service.flavor(), "a", &url).args(["--discovery-fallback", "exit"]);
    let ended = plan.launch().wait();
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains("failed to join discovery cluster (context deadline exceeded)"), "{ended:?}");
    assert_eq!(contents(&plan), ["discovery"]);
    let again = plan.launch();
    again.wait_for_log("a start of this member has registered it before");
    is_one_cluster(&[again]);
    assert_eq!(contents(&plan), ["member"]);
}

#[test]
fn a_stale_registration_that_is_removed_harms_nobody() {
    uetcd_only!("with etcd all who wait end");
    let (service, url) = registry("3");
    let key = |id: &str| format!("/v2/keys/_etcd/registry/3/{id}");
    assert_eq!(service.client().put(&key("5ca1ab1e"), &[("value", "gone=http://127.0.0.1:1")]).status, 201);
    let mut members = launch(service.flavor(), &["a"], &url);
    members[0].wait_for_log("found 2 peer(s), waiting for 1 more");
    assert_eq!(service.client().delete(&key("5ca1ab1e")).status, 200);
    members[0].wait_for_log("found 1 peer(s), waiting for 2 more");
    members.extend(launch(service.flavor(), &["b", "c"], &url));
    is_one_cluster(&members);
}
