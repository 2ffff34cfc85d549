//! Watches: stories that a random session seldom tells.

mod common;

use common::*;
use shard::command::{Command, CommandRef};
use shard::event::Event;
use shard::history::HistoryLimits;
use shard::ids::Index;
use shard::store::{Outcome, Store};
use shard::watch::{Hub, Portion, Registered, Watch, WatcherId};
use std::rc::Rc;

struct Bench {
    store: Store,
    hub: Hub,
}

impl Bench {
    fn remembering(events: usize) -> Self {
        Self { store: Store::new(HistoryLimits { events, bytes: usize::MAX }), hub: Hub::new() }
    }

    /// Carries out a command and says who is told.
    fn run(&mut self, command: &Command) -> Vec<WatcherId> {
        let mut told = Vec::new();
        match apply(&mut self.store, NOW, command) {
            Ok(Outcome::Event { event, removed }) => self.hub.dispatch(&event, removed.as_ref(), &mut told),
            other => panic!("{command:?} gave {other:?}"),
        }
        told.into_iter().map(|(id, _)| id).collect()
    }

    fn watch(&mut self, path: &str, recursive: bool, stream: bool, since: u64) -> Result<Registered, String> {
        let watch = Watch { path: path.as_bytes(), recursive, stream, since: Index(since) };
        self.hub.register(&self.store, &watch, Portion::ALL).map_err(|cleared| refusal_json(&cleared.into()))
    }

    fn live(&mut self, path: &str, recursive: bool, stream: bool) -> WatcherId {
        self.watch(path, recursive, stream, 0).expect("never refused").live.expect("nothing to replay")
    }
}

fn indices(events: &[Rc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.index.0).collect()
}

#[test]
fn a_stream_from_the_past_goes_live_without_a_gap() {
    let mut b = Bench::remembering(100);
    b.run(&set("/st", "1"));
    b.run(&set("/other", "1"));
    b.run(&set("/st", "2"));
    let stream = b.watch("/st", false, true, 1).expect("nothing is forgotten");
    assert_eq!(indices(&stream.replay), [1, 3]);
    let id = stream.live.expect("a stream goes on");
    assert_eq!(b.run(&set("/st", "3")), [id]);
    assert_eq!(b.run(&delete("/st")), [id], "once, not twice");
    assert_eq!(b.hub.len(), 1);
}

#[test]
fn a_long_past_comes_in_portions_and_then_goes_live() {
    let mut b = Bench::remembering(100);
    for n in 0..10 {
        b.run(&set("/a", &n.to_string()));
        b.run(&set("/b", &n.to_string()));
    }
    let portion = Portion { examined: 7, bytes: usize::MAX };
    let (mut since, mut seen, mut parts) = (Index(2), Vec::new(), 0);
    let live = loop {
        let watch = Watch { path: b"/a", recursive: false, stream: true, since };
        let part = b.hub.register(&b.store, &watch, portion).expect("nothing is forgotten");
        seen.extend(indices(&part.replay));
        parts += 1;
        match part.more {
            Some(more) => since = more,
            None => break part.live,
        }
        assert!(part.live.is_none(), "not before the past is at its end");
    };
    assert_eq!(seen, [3, 5, 7, 9, 11, 13, 15, 17, 19]);
    assert_eq!((parts, b.run(&set("/a", "x"))), (3, vec![live.expect("a stream goes on")]));
    let few = Portion { examined: usize::MAX, bytes: 1 };
    let watch = Watch { path: b"/", recursive: true, stream: true, since: Index(1) };
    let part = b.hub.register(&b.store, &watch, few).expect("nothing is forgotten");
    assert_eq!((indices(&part.replay), part.more), (vec![1], Some(Index(2))));
}

#[test]
fn a_long_poll_ends_with_its_first_event() {
    let mut b = Bench::remembering(100);
    let (first, second) = (b.live("/a", false, false), b.live("/a", true, false));
    assert_eq!(b.run(&set("/a", "1")), [first, second], "in order of registration");
    assert!(b.run(&set("/a", "2")).is_empty() && b.hub.is_empty());
    let past = b.watch("/a", false, false, 1).expect("nothing is forgotten");
    assert_eq!((indices(&past.replay), past.live), (vec![1], None));
}

#[test]
fn a_watch_from_the_future_waits_for_it() {
    let mut b = Bench::remembering(100);
    b.run(&set("/a", "1"));
    let id = b.watch("/a", false, false, 4).expect("never refused").live.expect("waits");
    assert!(b.run(&set("/a", "2")).is_empty() && b.run(&set("/a", "3")).is_empty());
    assert_eq!(b.run(&set("/a", "4")), [id]);
}

#[test]
fn only_paths_that_existed_hear_of_a_removal_above() {
    let mut b = Bench::remembering(100);
    b.run(&set("/wd/k/deep", "1"));
    b.run(&set("/wdx", "1"));
    let told = [b.live("/wd/k", false, true), b.live("/wd/k/deep", false, true), b.live("/wd", true, true)];
    let not_told = [b.live("/wd/none", true, true), b.live("/wdx", true, true), b.live("/wd/k/deep/er", false, true)];
    assert_eq!(b.run(&delete_all("/wd")), told);
    for path in ["/wd/none", "/wdx", "/wd/k/deep/er"] {
        assert!(b.watch(path, false, true, 3).expect("kept").replay.is_empty(), "{path} replayed");
    }
    for path in ["/wd/k", "/wd/k/deep", "/wd"] {
        assert_eq!(indices(&b.watch(path, false, true, 3).expect("kept").replay), [3], "{path} replayed");
    }
    assert_eq!(b.hub.len(), told.len() + not_told.len() + 6);
}

#[test]
fn hidden_names_are_hidden_live_and_replayed() {
    let mut b = Bench::remembering(100);
    let (root, inside) = (b.live("/", true, true), b.live("/_hid", true, true));
    assert_eq!(b.run(&set("/_hid/k", "1")), [inside]);
    assert_eq!(b.run(&set("/seen", "1")), [root]);
    assert_eq!(indices(&b.watch("/", true, true, 1).expect("kept").replay), [2]);
    assert_eq!(indices(&b.watch("/_hid", true, true, 1).expect("kept").replay), [1]);
}

/// Only what could have been missed refuses: `waitIndex` 1, after the events up to 20 or so are gone.
#[test]
fn a_quiet_path_is_not_refused_because_others_are_busy() {
    let mut b = Bench::remembering(10);
    b.run(&set("/quiet/file", "1"));
    b.run(&mkdir("/quiet/dir", None));
    b.run(&set("/quiet/dir/in", "1"));
    b.run(&set_ttl("/beating", "1", 10));
    let since = b.store.applied().next().0;
    for _ in 0..10 {
        b.run(&set("/busy/file", "1"));
        b.run(&set("/busy/other", "1"));
        b.run(&refresh("/beating", 10));
    }
    let oldest = b.store.history().cleared().next();
    for (path, recursive, refused) in [
        ("/quiet/file", false, false),
        ("/quiet/dir", false, false),
        ("/quiet", true, false),
        ("/quiet/none", true, false),
        ("/quiet/file/none", false, false),
        ("/beating", false, false),
        ("/busy", false, true),
        ("/busy/file", false, true),
        ("/busy/none", false, true),
        ("/none", false, true),
        ("/", true, true),
        ("/", false, false),
    ] {
        let want = format!(
            r#"{{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"the requested history has been cleared [{oldest}/{since}]"}}"#
        );
        assert_eq!(b.watch(path, recursive, true, since).err(), refused.then_some(want), "{path}");
    }
    assert!(b.watch("/busy/file", false, true, oldest.0).is_ok());
}

#[test]
fn the_oldest_event_kept_can_prove_that_nothing_is_missing() {
    let mut b = Bench::remembering(10);
    b.run(&set("/a", "1"));
    for _ in 0..20 {
        b.run(&set("/busy", "1"));
    }
    b.run(&set("/a", "2"));
    assert_eq!(indices(&b.watch("/a", false, true, 2).expect("the file was quiet from 1 to 22").replay), [22]);
    assert!(b.watch("/a", false, true, 1).is_err(), "the event at 1 is gone");
}

#[test]
fn many_watchers_are_no_burden_to_others() {
    let mut b = Bench::remembering(100);
    for n in 0..20_000 {
        b.live(&format!("/idle/{n}"), n % 2 == 0, true);
    }
    let on_one: Vec<_> = (0..10_000).map(|_| b.live("/hot", false, false)).collect();
    assert!(b.run(&set("/cold", "1")).is_empty());
    assert_eq!(b.run(&set("/hot", "1")), on_one);
    assert_eq!(b.hub.len(), 20_000);
    assert_eq!(b.hub.cut_all().len(), 20_000);
    assert!(b.hub.is_empty() && b.run(&set("/idle/1", "1")).is_empty());
}

#[test]
fn the_reach_of_a_change_is_who_watches_its_key_what_is_above_and_what_it_may_take_along() {
    let mut b = Bench::remembering(100);
    for path in ["/", "/a", "/a/b", "/a/b", "/a/b/c", "/ab", "/z"] {
        b.live(path, true, true);
    }
    let reach = |command: &Command| b.hub.reach(&CommandRef::from(command));
    assert_eq!(reach(&set("/a/b", "1")), 4);
    assert_eq!(reach(&set("/y", "1")), 1);
    let delete = |path: &str| Command::Delete { path: path.into(), dir: true, recursive: true };
    assert_eq!(reach(&delete("/a/b")), 5);
    assert_eq!(reach(&delete("/a")), 5);
    assert_eq!(reach(&Command::Rebase { by_ns: 1 }), 0);
}
