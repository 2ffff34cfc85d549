//! Which clusters are one and the same, and trees of unusual shape.

use std::process::Output;

use super::tree;
use crate::harness::{Flavor, Plan, Server, etcd, uetcdctl};

fn mirror(copy: &Server, from: &str, words: &[&str]) -> (Output, String) {
    let output = uetcdctl(copy).args(["mirror", "--from", from]).args(words).output().expect("uetcdctl starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn a_cluster_under_another_name_is_not_copied_into_itself() {
    for flavor in [Flavor::Etcd, Flavor::Uetcd] {
        let server = Plan::of(flavor).start();
        server.client().set("/a/b", "1");
        let alias = server.url("").replace("127.0.0.1", "localhost");
        let before = server.client().get("/v2/keys/").text();
        for words in [&["--once"][..], &["--once", "--to", "/a/x", "/a"], &["--once", "--to", "/a", "/a/b"], &["/a"]] {
            let (output, said) = mirror(&server, &alias, words);
            assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
            assert!(said.contains("the same cluster"), "{words:?}: {said}");
        }
        assert_eq!(server.client().get("/v2/keys/").text(), before, "nothing is left behind");
        let (output, said) = mirror(&server, &alias, &["--once", "--to", "/z", "/a"]);
        assert!(output.status.success(), "{said}");
        assert_eq!(server.client().value("/z/b").as_deref(), Some("1"));
    }
}

/// The id comes from names and peer URLs, and those are alike wherever nobody has set them.
#[test]
fn clusters_with_one_id_are_told_apart() {
    let default = "http://localhost:2380";
    let start = || {
        let cluster = format!("gd={default}");
        let words = ["--initial-cluster", &cluster, "--initial-advertise-peer-urls", default];
        Plan::of(Flavor::Etcd).args(words).start()
    };
    let (source, copy) = (start(), start());
    let id = |server: &Server| server.client().get("/v2/keys/").header("X-Etcd-Cluster-Id").map(str::to_owned);
    assert_eq!(id(&source), id(&copy));
    source.client().set("/a/b", "1");
    let (output, said) = mirror(&copy, &source.url(""), &["--once"]);
    assert!(output.status.success(), "{said}");
    assert_eq!(tree(&source, "/"), tree(&copy, "/"));
}

#[test]
fn a_tree_may_be_deep() {
    let (source, copy) = (etcd(), Plan::of(Flavor::Uetcd).start());
    for levels in [70, 900] {
        source.client().set(&format!("{}/f", "/d".repeat(levels)), "v");
        let (output, said) = mirror(&copy, &source.url(""), &["--once"]);
        assert!(output.status.success(), "{said}");
        for server in [&source, &copy] {
            let listed = uetcdctl(server).args(["ls", "--recursive"]).output().expect("uetcdctl starts");
            let lines = String::from_utf8_lossy(&listed.stdout).lines().count();
            assert_eq!(lines, levels + 1, "{listed:?}");
        }
        source.client().delete("/v2/keys/d?recursive=true");
    }
    let (output, said) = mirror(&copy, &source.url(""), &["--once"]);
    assert!(output.status.success(), "{said}");
}
