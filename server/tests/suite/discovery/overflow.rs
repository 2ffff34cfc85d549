//! More come than there are places.

use std::fs;

use super::{contents, is_one_cluster, launch, leaves_nothing, member, registry};
use crate::harness::{PATIENCE, eventually, uetcd_only};

#[test]
fn of_five_members_three_found_the_cluster() {
    uetcd_only!("a proxy of etcd's takes half a minute to learn of its members");
    let (service, url) = registry("3");
    let members = launch(service.flavor(), &["a", "b", "c"], &url);
    is_one_cluster(&members);

    let fourth = member(service.flavor(), "d", &url).args(["--discovery-fallback", "exit"]);
    let ended = fourth.launch().wait();
    assert_eq!(ended.code(), 1, "{ended:?}");
    let want = [
        "E | etcdmain: failed to join discovery cluster (discovery: cluster is full)".to_owned(),
        format!("I | etcdmain: discovery token {url} was used, but failed to bootstrap the cluster."),
        "I | etcdmain: please generate a new discovery token and try to bootstrap again.".to_owned(),
    ];
    assert!(want.iter().all(|want| ended.stderr.contains(want)), "{ended:?}");
    leaves_nothing(&fourth);

    let plan = member(service.flavor(), "e", &url);
    let fifth = plan.launch();
    fifth.wait_for_log("N | etcdmain: discovery cluster full, falling back to proxy");
    fifth.wait_for_log("etcdmain: proxy: using peer urls [");
    let mut client = fifth.client();
    eventually("the proxy serves", PATIENCE, || {
        client.attempt("GET", "/v2/keys/from-0", None).is_ok_and(|answer| answer.status == 200).then_some(())
    });
    assert_eq!(client.put("/v2/keys/through-a-proxy", &[("value", "x")]).status, 201);
    // Any of the members may have taken it.
    let written = members[0].client().get("/v2/keys/through-a-proxy?quorum=true").json();
    assert_eq!(written["node"]["value"], "x");
    let nodes = service.client().get("/v2/keys/_etcd/registry/3").json()["node"]["nodes"].as_array().map(Vec::len);
    assert_eq!(nodes, Some(3), "neither has registered");

    // Later it needs no registry.
    drop(service);
    let again = fifth.kill().launch();
    again.wait_for_log("discovery token ignored since the proxy has already been initialized");
    let mut client = again.client();
    eventually("the proxy serves again", PATIENCE, || {
        client.attempt("GET", "/v2/keys/from-0", None).is_ok_and(|answer| answer.status == 200).then_some(())
    });
    assert_eq!(contents(&plan), ["proxy"]);
    assert!(fs::metadata(plan.data().join("proxy/cluster")).is_ok());
}

#[test]
fn single_dashes_lead_into_the_cluster_and_out_of_it() {
    let (service, url) = registry("1");
    let founder = member(service.flavor(), "a", &url).with_single_dashes().launch();
    is_one_cluster(&[founder]);
    let late = member(service.flavor(), "b", &url).args(["--discovery-fallback", "exit"]).with_single_dashes();
    let ended = late.launch().wait();
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains("failed to join discovery cluster (discovery: cluster is full)"), "{ended:?}");
}

#[test]
fn a_proxy_waits_for_the_members_and_takes_no_place() {
    uetcd_only!("a proxy of etcd's takes half a minute to learn of its members");
    let (service, url) = registry("1");
    let proxy = member(service.flavor(), "p", &url).args(["--proxy", "on"]).launch();
    proxy.wait_for_log("found 0 peer(s), waiting for 1 more");
    let members = launch(service.flavor(), &["a"], &url);
    is_one_cluster(&members);
    let mut client = proxy.client();
    eventually("the proxy serves", PATIENCE, || {
        client.attempt("GET", "/v2/keys/from-0", None).is_ok_and(|answer| answer.status == 200).then_some(())
    });
}
