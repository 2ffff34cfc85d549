//! A directory that is copied to the root, which can neither be removed nor be a file.

use super::{Mirror, PATIENCE, same, tree};
use crate::harness::{Flavor, Plan, Server, etcd, eventually};

/// The names at the root.
fn names(server: &Server) -> Vec<String> {
    tree(server, "/").into_keys().collect()
}

#[test]
fn what_is_removed_as_a_whole_leaves_the_root_empty() {
    for flavor in [Flavor::Etcd, Flavor::Uetcd] {
        let (source, copy) = (etcd(), Plan::of(flavor).start());
        source.client().set("/up/app/a", "1");
        source.client().set("/up/app/b/c", "2");
        source.client().set("/other", "stays behind");
        copy.client().set("/_own", "kept");
        let mirror = Mirror::start(&source, &copy, &["--to", "/", "/up/app"]);
        eventually("it is copied", PATIENCE, || (names(&copy) == ["/a", "/b", "/b/c"]).then_some(()));
        // The directory itself, and then one above it.
        for (gone, next) in [("/up/app", "d"), ("/up", "e")] {
            assert_eq!(source.client().delete(&format!("/v2/keys{gone}?recursive=true")).status, 200);
            eventually("nothing is left", PATIENCE, || names(&copy).is_empty().then_some(()));
            source.client().put("/v2/keys/up/app?dir=true", &[]);
            source.client().set(&format!("/up/app/{next}"), "3");
            eventually("it goes on", PATIENCE, || (names(&copy) == [format!("/{next}")]).then_some(()));
        }
        assert_eq!(copy.client().value("/_own").as_deref(), Some("kept"));

        source.client().delete("/v2/keys/up/app?recursive=true");
        source.client().set("/up/app", "a file");
        let ended = mirror.0.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("/up/app is a file, and the root of the copy can not be one"), "{said}");
    }
}

#[test]
fn a_source_that_is_emptied_empties_the_copy() {
    let (source, copy) = (etcd(), Plan::of(Flavor::Uetcd).start());
    for number in 0..50 {
        source.client().set(&format!("/d{}/k{number}", number % 5), "1");
    }
    let mirror = Mirror::start(&source, &copy, &["--to", "/"]);
    same(&source, &copy);
    for number in 0..5 {
        source.client().delete(&format!("/v2/keys/d{number}?recursive=true"));
    }
    eventually("nothing is left", PATIENCE, || names(&copy).is_empty().then_some(()));
    source.client().set("/again", "1");
    same(&source, &copy);
    mirror.interrupt();
}
