//! Nodes whose time is up.

mod common;

use common::*;
use shard::command::{Command, CommandRef};
use shard::event::Event;
use shard::store::{Outcome, Store};
use std::rc::Rc;

/// Lets pass what is due at `now`, as the primary does.
fn expire(store: &mut Store, now: u64) -> Vec<Rc<Event>> {
    let due = store.due(now, 100);
    let outcomes = due.iter().map(|command| apply(store, now, command).expect("an expiry is never refused"));
    let outcomes: Vec<_> = outcomes.collect();
    outcomes.into_iter().filter_map(|o| if let Outcome::Event { event, .. } = o { Some(event) } else { None }).collect()
}

fn keys(events: &[Rc<Event>]) -> Vec<&str> {
    events.iter().map(|event| std::str::from_utf8(&event.node.key).expect("tests use text")).collect()
}

#[test]
fn expire_goes_by_deadline_and_then_by_path() {
    let mut store = store_before(1);
    for (path, ttl) in [("/c", 2), ("/b", 1), ("/d", 1), ("/a", 3)] {
        event(&mut store, NOW, &set_ttl(path, "1", ttl));
    }
    assert_eq!(store.next_deadline(), Some(NOW + SECOND));
    assert_eq!(keys(&expire(&mut store, NOW + SECOND - 1)), [""; 0]);
    assert_eq!(keys(&expire(&mut store, NOW + 3 * SECOND)), ["/b", "/d", "/c", "/a"]);
    assert_eq!(store.next_deadline(), None);
    assert_eq!(store.stats().named()[14], ("expireCount", 4));
}

#[test]
fn a_directory_goes_with_all_in_it_as_one_event() {
    let mut store = store_before(1);
    event(&mut store, NOW, &mkdir("/d", Some(1)));
    event(&mut store, NOW, &set_ttl("/d/longer", "1", 100));
    event(&mut store, NOW, &set("/d/for-ever", "1"));
    let events = expire(&mut store, NOW + SECOND);
    let want = r#"{"action":"expire","node":{"key":"/d","dir":true,"modifiedIndex":4,"createdIndex":1},"prevNode":{"key":"/d","dir":true,"expiration":"T","modifiedIndex":1,"createdIndex":1}}"#;
    assert_eq!(events.iter().map(|event| json(event)).collect::<Vec<_>>(), [want]);
    assert_eq!(store.deadline_count(), 1, "what was in it is taken out in steps");
    while store.tidy(1) {}
    assert_eq!(store.deadline_count(), 0);
}

#[test]
fn an_expiry_that_comes_too_late_does_nothing() {
    for (what, command) in [
        ("rewritten", set("/a", "2")),
        ("its time extended", update("/a", "1", Some(10))),
        ("its time extended by a refresh", refresh("/a", 10)),
        ("removed", delete("/a")),
        ("made permanent", update("/a", "1", None)),
    ] {
        let mut store = store_before(1);
        event(&mut store, NOW, &set_ttl("/a", "1", 1));
        let due = store.due(NOW + SECOND, 100);
        event(&mut store, NOW + SECOND, &command);
        let before = store.digest();
        assert!(matches!(apply(&mut store, NOW + SECOND, &due[0]), Ok(Outcome::Nothing)), "{what}");
        assert_eq!(store.digest(), before, "{what}");
    }
}

#[test]
fn the_budget_holds_and_stale_deadlines_are_passed_over() {
    let mut store = store_before(1);
    for n in 0..10 {
        event(&mut store, NOW, &set_ttl(&format!("/gone/{n}"), "1", 1));
        event(&mut store, NOW, &set_ttl(&format!("/here/{n}"), "1", 2));
    }
    event(&mut store, NOW, &delete_all("/gone"));
    assert_eq!(store.due(NOW + 2 * SECOND, 7).len(), 0, "seven stale ones looked at, and dropped");
    assert_eq!(store.due(NOW + 2 * SECOND, 7).len(), 4, "three stale ones, four of the others");
    assert_eq!(store.due(NOW + 2 * SECOND, 7).len(), 7);
}

#[test]
fn a_rebase_shortens_nothing() {
    let mut store = store_before(1);
    event(&mut store, NOW, &set_ttl("/a", "1", 10));
    let hour = 3600 * SECOND;
    apply(&mut store, NOW, &Command::Rebase { by_ns: hour as i64 }).expect("never refused");
    let now = NOW + hour + 4 * SECOND;
    let node = store.get(b"/a").expect("it lives");
    let shown = node.view(b"/a", now);
    assert_eq!((shown.ttl, shown.expiration), (6, Some(NOW + hour + 10 * SECOND)));
    assert!(store.due(now + 6 * SECOND - 1, 1).is_empty());
    assert_eq!(store.due(now + 6 * SECOND, 1).len(), 1);
}

/// etcd 2.3 wraps around here: some of these live for ever, some not at all.
#[test]
fn a_huge_ttl_is_capped_for_every_operation() {
    let mut store = store_before(1);
    let huge = [4_611_686_018, 9_223_372_036, 18_446_744_073, 18_446_744_074, 1_000_000_000_000, u64::MAX];
    for (n, ttl) in huge.into_iter().enumerate() {
        for command in [set_ttl("/a", "1", ttl), update("/a", "1", Some(ttl))] {
            let event = event(&mut store, NOW, &command);
            assert!(event.node.ttl > 4_000_000_000, "{ttl}: {}", event.node.ttl);
            assert!(n == 0 || event.node.expiration == Some(shard::ttl::LAST_INSTANT), "{ttl}");
        }
    }
}

#[test]
fn an_overdue_node_lives_until_it_is_removed() {
    let mut store = store_before(1);
    event(&mut store, NOW, &set_ttl("/a", "1", 0));
    let later = NOW + 2 * SECOND;
    assert_eq!(store.get(b"/a").expect("it lives").view(b"/a", later).ttl, -2);
    assert!(store.check(&CommandRef::from(&create("/a", "1"))).is_err());
    event(&mut store, later, &swap("/a", "2", "1", 0));
}
