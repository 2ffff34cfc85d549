//! What a mirror does when it goes on where an earlier run ended.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Mirror, PATIENCE, same, tree};
use crate::harness::{Flavor, Plan, Server, etcd, eventually};

fn ttl(server: &Server, key: &str) -> Option<i64> {
    server.client().get(&format!("/v2/keys{key}?quorum=true")).json()["node"]["ttl"].as_i64()
}

/// Runs a mirror until its copy is what the source is; gives what it said.
fn run(source: &Server, copy: &Server, state: &Path) -> String {
    let mirror = Mirror::start(source, copy, &["--state", state.to_str().expect("UTF-8")]);
    same(source, copy);
    eventually("the state is kept", PATIENCE, || state.exists().then_some(()));
    mirror.interrupt()
}

/// The number in `N keys differ`.
fn differing(said: &str) -> usize {
    let number = said.split(" keys differ").next().and_then(|before| before.rsplit(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn a_first_copy_that_is_interrupted_goes_on_with_what_is_missing() {
    const KEYS: usize = 3000;
    let home = tempfile::tempdir().expect("a directory");
    let state = home.path().join("state");
    let (source, copy) = (etcd(), Plan::of(Flavor::Uetcd).start());
    let mut client = source.client();
    for number in 0..KEYS {
        client.set(&format!("/k/{number}"), "1");
    }
    let words = ["--state", state.to_str().expect("UTF-8"), "--workers", "1"];
    for copied in [50, KEYS / 4] {
        let mirror = Mirror::start(&source, &copy, &words);
        eventually("some are copied", PATIENCE, || (tree(&copy, "/").len() > copied).then_some(()));
        let said = mirror.interrupt();
        assert!(said.ends_with("mirror: ended before the copy was complete: the next run compares everything, and copies what is missing\n"), "{said}");
        assert!(!state.exists(), "{said}");
    }
    source.client().delete("/v2/keys/k/0");
    let (left, said) = (KEYS - tree(&copy, "/k").len(), run(&source, &copy, &state));
    // Its own directory counts as one that is there, and the removed key as another that differs.
    assert!(differing(&said).abs_diff(left) <= 3 && left < KEYS - KEYS / 4, "{left} were left: {said}");
}

#[test]
fn what_happened_meanwhile_comes_with_what_is_left_of_its_time() {
    for flavor in [Flavor::Etcd, Flavor::Uetcd] {
        let home = tempfile::tempdir().expect("a directory");
        let state = home.path().join("state");
        let (source, copy) = (etcd(), Plan::of(flavor).start());
        source.client().set("/seed", "1");
        run(&source, &copy, &state);
        source.client().put("/v2/keys/file", &[("value", "1"), ("ttl", "60")]);
        source.client().put("/v2/keys/dir?dir=true", &[("ttl", "60")]);
        source.client().put("/v2/keys/prolonged", &[("value", "1"), ("ttl", "6")]);
        source.client().put("/v2/keys/prolonged", &[("ttl", "500"), ("refresh", "true"), ("prevExist", "true")]);
        thread::sleep(Duration::from_secs(8));
        let said = run(&source, &copy, &state);
        assert!(said.contains("goes on at index"), "{said}");
        for key in ["/file", "/dir", "/prolonged"] {
            let (there, here) = (ttl(&source, key).expect("it lives"), ttl(&copy, key).expect("it lives"));
            assert!((there - here).abs() <= 2, "{key}: {there} s in the source, {here} s in the copy");
        }
    }
}

#[test]
fn what_was_only_prolonged_meanwhile_is_there_again() {
    let home = tempfile::tempdir().expect("a directory");
    let state = home.path().join("state");
    let (source, copy) = (etcd(), Plan::of(Flavor::Uetcd).start());
    source.client().put("/v2/keys/a/alive", &[("value", "1"), ("ttl", "4")]);
    source.client().put("/v2/keys/dir?dir=true", &[("ttl", "4")]);
    source.client().set("/dir/k", "in it");
    run(&source, &copy, &state);
    let lease = [("ttl", "500"), ("refresh", "true"), ("prevExist", "true")];
    assert_eq!(source.client().put("/v2/keys/a/alive", &lease).status, 200);
    assert_eq!(source.client().put("/v2/keys/dir?dir=true", &lease).status, 200);
    eventually("the copy lets go", PATIENCE, || copy.client().value("/dir/k").is_none().then_some(()));
    eventually("of both", PATIENCE, || copy.client().value("/a/alive").is_none().then_some(()));
    let said = run(&source, &copy, &state);
    assert!(said.contains("goes on at index"), "{said}");
}

#[test]
fn hidden_keys_stay_behind_whenever_they_were_written() {
    let home = tempfile::tempdir().expect("a directory");
    let state = home.path().join("state");
    let (source, copy) = (etcd(), Plan::of(Flavor::Uetcd).start());
    source.client().set("/app/seed", "1");
    source.client().set("/_h/old", "1");
    copy.client().set("/app/_own/k", "kept");
    run(&source, &copy, &state);
    source.client().set("/_h/x", "1");
    source.client().set("/app/_h/x", "1");
    source.client().put("/v2/keys/app/_leased", &[("value", "1"), ("ttl", "500")]);
    source.client().set("/app/_own/k", "another's");
    source.client().delete("/v2/keys/app/_own/k");
    source.client().set("/app/last", "1");
    let said = run(&source, &copy, &state);
    assert!(said.contains("goes on at index"), "{said}");
    for key in ["/_h/old", "/_h/x", "/app/_h/x", "/app/_leased"] {
        assert_eq!(copy.client().value(key), None, "{key}");
    }
    assert_eq!(copy.client().value("/app/_own/k").as_deref(), Some("kept"));
}

/// No event tells of them: the hidden key is in none.
#[test]
fn directories_of_hidden_keys_alone_are_directories() {
    let home = tempfile::tempdir().expect("a directory");
    let state = home.path().join("state");
    let (source, copy) = (etcd(), Plan::of(Flavor::Uetcd).start());
    source.client().set("/first/_h/x", "1");
    run(&source, &copy, &state);
    source.client().set("/app/then/_h/x", "1");
    let said = run(&source, &copy, &state);
    assert!(said.contains("goes on at index"), "{said}");
    for (key, status) in [("/first", 200), ("/app/then", 200), ("/first/_h", 404), ("/app/then/_h", 404)] {
        assert_eq!(copy.client().get(&format!("/v2/keys{key}")).status, status, "{key}");
    }
}

#[test]
fn a_state_is_that_of_one_copy() {
    let home = tempfile::tempdir().expect("a directory");
    let state = home.path().join("state");
    let source = etcd();
    for number in 0..20 {
        source.client().set(&format!("/a/{number}"), "1");
    }
    let plan = Plan::of(Flavor::Uetcd).on_quiet_ports();
    let copy = plan.start();
    run(&source, &copy, &state);
    source.client().set("/a/more", "1");
    let said = run(&source, &copy, &state);
    assert!(said.contains("goes on at index"), "{said}");

    // The same URL and the same cluster id, but nothing of what was written.
    drop(copy);
    let wiped = plan.data_dir(&home.path().join("wiped")).start();
    assert!(tree(&wiped, "/").len() < 2);
    let said = run(&source, &wiped, &state);
    assert!(said.contains("the copy is not what it was: compares everything"), "{said}");

    let other = Plan::of(Flavor::Etcd).start();
    let said = run(&source, &other, &state);
    assert!(said.contains("the copy is not what it was: compares everything"), "{said}");
    source.client().set("/a/more", "2");
    let said = run(&source, &other, &state);
    assert!(said.contains("goes on at index"), "{said}");

    let another_source = etcd();
    another_source.client().set("/b", "1");
    let said = run(&another_source, &other, &state);
    assert!(said.contains("the source is not what it was: compares everything"), "{said}");
}
