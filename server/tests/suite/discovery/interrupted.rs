//! Services, members and their founding, interrupted.

use super::{contents, is_one_cluster, launch, member, nowhere, registry};
use crate::harness::{Flavor, uetcd_only};

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
        if plan.flavor() == Flavor::Uetcd {
            assert_eq!(contents(&plan), [""; 0]);
        }
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
