//! Either side may be etcd.

use super::{is_one_cluster, launch, registry};
use crate::harness::{Flavor, Plan, Server, uetcd_only};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three members of one flavor through a registry of another.
fn meet(service: Flavor, flavor: Flavor) -> (Server, Vec<Server>) {
    let server = Plan::of(service).start();
    let url = super::open_registry(&server, "3");
    let members = launch(flavor, &NAMES, &url);
    is_one_cluster(&members);
    (server, members)
}

#[test]
fn members_meet_through_a_server_like_themselves() {
    let (service, url) = registry("3");
    let members = launch(service.flavor(), &NAMES, &url);
    is_one_cluster(&members);
    let waited = members[0].log();
    for want in ["found self ", "found 1 peer(s), waiting for 2 more", "found 3 needed peer(s)"] {
        assert!(waited.contains(want), "{want}: {waited}");
    }
    let listed = service.client().get("/v2/keys/_etcd/registry/3").json();
    let mut values: Vec<String> = (0..3).map(|at| listed["node"]["nodes"][at]["value"].to_string()).collect();
    values.sort_unstable();
    for ((value, name), member) in values.iter().zip(NAMES).zip(&members) {
        assert_eq!(*value, format!("\"{name}=http://{}\"", member.peer_address()));
    }
}

#[test]
fn members_of_uetcd_meet_through_etcd() {
    uetcd_only!("both sides would be etcd");
    meet(Flavor::Etcd, Flavor::Uetcd);
}

#[test]
fn members_of_etcd_meet_through_uetcd() {
    uetcd_only!("both sides would be etcd");
    meet(Flavor::Uetcd, Flavor::Etcd);
}
