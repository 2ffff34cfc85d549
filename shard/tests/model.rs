//! Random sessions against a naive model: answers, events, listings, watches, expiry, snapshots.

mod common;

use common::naive::{Answer, Naive};
use common::*;
use proptest::collection::vec;
use proptest::prelude::*;
use shard::command::{Batch, BatchBytes, Command, CommandRef, Numbered};
use shard::event::Event;
use shard::history::HistoryLimits;
use shard::ids::Index;
use shard::snapshot::Restore;
use shard::store::{Outcome, RecentRoom, Store};
use shard::view::{NodeHandle, Step};
use shard::watch::{Hub, Portion, Watch, WatcherId};
use std::rc::Rc;

const NAMES: [&str; 4] = ["a", "ab", "b", "_h"];

#[derive(Clone, Debug)]
enum Op {
    Command(Command),
    /// A conditional command with the index the node really has.
    Matching(Command),
    Pass {
        ms: u64,
    },
    ExpireDue {
        budget: usize,
    },
    Tidy {
        budget: usize,
    },
    Read {
        path: String,
    },
    /// Go on with what a snapshot of the store restores.
    Restore,
    /// Take a handle to the root, whose contents must never change.
    Hold,
    Watch {
        path: String,
        recursive: bool,
        stream: bool,
        back: u64,
        ahead: u64,
    },
    Cancel {
        nth: usize,
    },
}

fn path() -> impl Strategy<Value = String> {
    let names = proptest::sample::select(&NAMES[..]);
    prop_oneof![
        1 => Just("/".to_string()),
        30 => vec(names, 1..4).prop_map(|names| format!("/{}", names.join("/"))),
    ]
}

fn ttl() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![5 => Just(None), 3 => (0_u64..6).prop_map(Some), 1 => Just(Some(u64::MAX))]
}

fn command() -> impl Strategy<Value = Command> {
    let value = || proptest::sample::select(&["", "x", "y"][..]).prop_map(str::as_bytes).prop_map(<[u8]>::to_vec);
    let path = || path().prop_map(String::into_bytes);
    let yes = proptest::bool::weighted;
    prop_oneof![
        8 => (path(), value(), yes(0.2), ttl(), yes(0.15)).prop_map(|(path, value, dir, ttl, refresh)| {
            Command::Set { path, value, dir, ttl, refresh }
        }),
        4 => (path(), value(), yes(0.3), ttl(), yes(0.3)).prop_map(|(path, value, dir, ttl, in_order)| {
            Command::Create { path, value, dir, ttl, in_order }
        }),
        4 => (path(), value(), ttl(), yes(0.3)).prop_map(|(path, value, ttl, refresh)| {
            Command::Update { path, value, ttl, refresh }
        }),
        3 => (path(), value(), ttl(), yes(0.2), proptest::option::of(value()), 0_u64..3).prop_map(
            |(path, value, ttl, refresh, prev_value, prev_index)| {
                Command::CompareAndSwap { path, value, ttl, refresh, prev_value, prev_index }
            }
        ),
        4 => (path(), yes(0.4), yes(0.4)).prop_map(|(path, dir, recursive)| Command::Delete { path, dir, recursive }),
        2 => (path(), proptest::option::of(value()), 0_u64..3).prop_map(|(path, prev_value, prev_index)| {
            Command::CompareAndDelete { path, prev_value, prev_index }
        }),
        1 => (path(), 0..=u64::MAX, 0_u64..50).prop_map(|(path, deadline, created)| {
            Command::Expire { path, deadline, created }
        }),
        1 => (-100_i64..100).prop_map(|s| Command::Rebase { by_ns: s * SECOND as i64 }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        24 => command().prop_map(Op::Command),
        4 => command().prop_map(Op::Matching),
        4 => (0_u64..3000).prop_map(|ms| Op::Pass { ms }),
        3 => (1_usize..20).prop_map(|budget| Op::ExpireDue { budget }),
        2 => (0_usize..20).prop_map(|budget| Op::Tidy { budget }),
        12 => path().prop_map(|path| Op::Read { path }),
        1 => Just(Op::Restore),
        1 => Just(Op::Hold),
        6 => (path(), any::<bool>(), any::<bool>(), 0_u64..60, 0_u64..4).prop_map(
            |(path, recursive, stream, back, ahead)| Op::Watch { path, recursive, stream, back, ahead }
        ),
        1 => (0_usize..8).prop_map(|nth| Op::Cancel { nth }),
    ]
}

/// A watcher as the model sees it.
#[derive(Clone, Debug)]
struct Watcher {
    id: WatcherId,
    path: String,
    recursive: bool,
    stream: bool,
    since: u64,
}

struct Session {
    store: Store,
    naive: Naive,
    hub: Hub,
    watchers: Vec<Watcher>,
    held: Vec<(NodeHandle, Vec<String>)>,
    now: u64,
}

impl Session {
    fn new() -> Self {
        let mut store = Store::default();
        store.remember_reads(RecentRoom::new(0), (1, 2));
        Self { store, naive: Naive::default(), hub: Hub::new(), watchers: Vec::new(), held: Vec::new(), now: NOW }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Command(command) => self.command(&command),
            Op::Matching(command) => self.command(&self.matching(command)),
            Op::Pass { ms } => self.now += ms * (SECOND / 1000),
            Op::ExpireDue { budget } => self.expire_due(budget),
            Op::Tidy { budget } => drop(self.store.tidy(budget)),
            Op::Read { path } => self.read(&path),
            Op::Restore => self.restore(),
            Op::Hold => {
                let root = self.store.get(b"/").expect("the root exists");
                self.held.push((root, listing(&self.store, self.now)));
            }
            Op::Watch { path, recursive, stream, back, ahead } => {
                let since = (self.store.applied().0 + ahead).saturating_sub(back);
                self.watch(path, recursive, stream, since);
            }
            Op::Cancel { nth } if nth < self.watchers.len() => {
                let watcher = self.watchers.remove(nth);
                assert!(self.hub.cancel(watcher.id));
                assert!(!self.hub.cancel(watcher.id));
            }
            Op::Cancel { .. } => {}
        }
        assert_eq!(self.hub.len(), self.watchers.len());
    }

    /// Through the bytes of a batch, as a replica gets it.
    fn command(&mut self, command: &Command) {
        let index = self.store.applied().next();
        let batch = Batch {
            first: index.0,
            now: self.now,
            commands: vec![Numbered { offset: 0, command: command.clone(), origin: 7, process: 1 }],
        };
        let bytes = BatchBytes::new(batch.encode().into_bytes()).expect("just encoded");
        let entry = bytes.batch().iter().next().expect("one command");
        assert_eq!((entry.index, entry.origin, &entry.command), (index, 7, &CommandRef::from(command)));

        let reach = self.hub.reach(&entry.command);
        let checked = self.store.check(&entry.command);
        let outcome = self.store.apply(entry.index, bytes.batch().now(), &entry.command);
        let want = self.naive.apply(index.0, self.now, command);
        assert_eq!(answer(&outcome), want, "{command:?}");
        match (checked, want) {
            (Err(refusal), want) => assert_eq!(Err(refused(&refusal)), want, "check, {command:?}"),
            (Ok(()), Err((code, _))) => assert_eq!(code, 105, "an in-order name that was taken"),
            (Ok(()), Ok(_)) => {}
        }
        if let Ok(Outcome::Event { event, removed }) = outcome {
            let told = self.deliver(&event, removed.as_ref());
            // Nobody can watch the name of an in-order create on purpose.
            let in_order = matches!(command, Command::Create { in_order: true, .. });
            assert!(in_order || told <= reach, "{told} were told of {command:?}, no more than {reach} should");
        }
    }

    fn matching(&self, mut command: Command) -> Command {
        if let Command::CompareAndSwap { path, prev_index, .. } | Command::CompareAndDelete { path, prev_index, .. } =
            &mut command
        {
            let item = self.naive.items.get(std::str::from_utf8(path).expect("tests use text"));
            *prev_index = item.map_or(0, |item| item.modified);
        }
        command
    }

    /// Tells the watchers, and counts them.
    fn deliver(&mut self, event: &Rc<Event>, removed: Option<&NodeHandle>) -> usize {
        let mut delivered = Vec::new();
        self.hub.dispatch(event, removed, &mut delivered);
        let happened = self.naive.happened.last().expect("just happened");
        let is_for = |w: &Watcher| w.since <= event.index.0 && happened.is_for(&w.path, w.recursive);
        let want: Vec<_> = self.watchers.iter().filter(|w| is_for(w)).map(|w| (w.id, Rc::clone(event))).collect();
        assert_eq!(delivered, want, "{event:?}");
        self.watchers.retain(|w| w.stream || !is_for(w));
        delivered.len()
    }

    fn watch(&mut self, path: String, recursive: bool, stream: bool, since: u64) {
        let watch = Watch { path: path.as_bytes(), recursive, stream, since: Index(since) };
        let got = self.hub.register(&self.store, &watch, Portion::ALL).expect("nothing is forgotten");
        let mut want = if since == 0 { Vec::new() } else { self.naive.told(&path, recursive, since) };
        want.truncate(if stream { usize::MAX } else { 1 });
        assert_eq!(got.replay, want, "{path} recursive={recursive} since {since}");
        assert_eq!(got.live.is_some(), stream || want.is_empty());
        self.watchers.extend(got.live.map(|id| Watcher { id, path, recursive, stream, since }));
    }

    fn expire_due(&mut self, budget: usize) {
        while self.store.tidy(1000) {}
        let due = self.store.due(self.now, budget);
        let paths = due.iter().map(|command| {
            let Command::Expire { path, .. } = command else { panic!("due gave {command:?}") };
            String::from_utf8(path.clone()).expect("tests use text")
        });
        let mut want = self.naive.due(self.now);
        want.truncate(budget);
        assert_eq!(paths.collect::<Vec<_>>(), want);
        for command in &due {
            self.command(command);
        }
    }

    /// Whether or not what is read was read before, it is what is there.
    fn read(&mut self, path: &str) {
        let read = self.store.read(path.as_bytes()).map(|node| node.view(path.as_bytes(), self.now).to_view());
        let got = self.store.get(path.as_bytes()).map(|node| node.view(path.as_bytes(), self.now).to_view());
        assert_eq!(read, got, "{path}");
        assert_eq!(read.is_ok(), path == "/" || self.naive.items.contains_key(path), "{path}");
    }

    fn restore(&mut self) {
        let restored = restored(&self.store, HistoryLimits::default());
        assert_eq!(restored.digest(), self.store.digest());
        assert_eq!(restored.applied(), self.store.applied());
        assert_eq!(restored.stats(), self.store.stats());
        let events = |store: &Store| store.history().iter().map(|event| event.to_event()).collect::<Vec<_>>();
        assert_eq!(events(&restored), events(&self.store));
        assert_eq!(restored.snapshot().collect::<Vec<_>>(), self.store.snapshot().collect::<Vec<_>>());
        self.store = restored;
        self.store.remember_reads(RecentRoom::new(0), (1, 2));
    }

    fn check(&self) {
        let paths = std::iter::once("/".to_string()).chain(self.naive.items.keys().cloned());
        for path in paths {
            let handle = self.store.get(path.as_bytes()).expect("it exists");
            if path != "/" {
                assert_eq!(handle.view(path.as_bytes(), self.now).to_view(), self.naive.view(&path, self.now));
            }
            for recursive in [false, true] {
                assert_eq!(self.listed(&handle, &path, recursive), self.naive.list(&path, recursive), "{path}");
            }
        }
        let timed = self.naive.items.values().filter(|item| item.deadline.is_some()).count();
        assert!(self.store.deadline_count() >= timed);
    }

    fn listed(&self, handle: &NodeHandle, path: &str, recursive: bool) -> Vec<String> {
        let mut walk = handle.walk(path.as_bytes(), self.now, recursive);
        let (mut listed, mut open) = (Vec::new(), Vec::new());
        while let Some(step) = walk.step() {
            let (Step::Enter(node) | Step::File(node)) = step else {
                open.pop().expect("left what was entered");
                continue;
            };
            let key = String::from_utf8(node.key.to_vec()).expect("tests use text");
            assert_eq!(node.to_view(), self.naive.view(&key, self.now));
            if node.dir {
                open.push(key.clone());
            }
            listed.push(key);
        }
        assert!(open.is_empty());
        listed
    }

    /// At the end nothing that was held has changed, and nothing is left behind.
    fn close(mut self) {
        self.check();
        self.store.tidy(1_000_000);
        let timed = self.naive.items.values().filter(|item| item.deadline.is_some()).count();
        assert_eq!(self.store.deadline_count(), timed);
        for (root, then) in &self.held {
            let mut walk = root.walk_all(b"/", self.now);
            let mut lines = 0;
            while let Some(step) = walk.step() {
                if let Step::Enter(node) | Step::File(node) = step {
                    let line = format!("{}@{}/{}", String::from_utf8_lossy(node.key), node.modified, node.created);
                    let (key, rest) = line.split_once('@').expect("just written");
                    assert!(then[lines].starts_with(key) && then[lines].contains(&format!("@{rest} ")), "{line}");
                    lines += 1;
                }
            }
            assert_eq!(lines, then.len());
        }
    }
}

fn refused(refusal: &shard::refusal::Refusal) -> (u16, String) {
    (refusal.code.number(), String::from_utf8(refusal.cause.clone()).expect("tests use text"))
}

fn answer(outcome: &Result<Outcome, shard::refusal::Refusal>) -> Answer {
    match outcome {
        Ok(Outcome::Event { event, .. }) => Ok(Some(Rc::clone(event))),
        Ok(Outcome::Nothing | Outcome::System(_)) => Ok(None),
        Err(refusal) => Err(refused(refusal)),
    }
}

fn restored(store: &Store, limits: HistoryLimits) -> Store {
    let mut restore = Restore::new(limits);
    store.snapshot().try_for_each(|chunk| restore.push(&chunk)).expect("a good snapshot");
    restore.finish().expect("a whole snapshot")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn the_store_does_what_the_model_does(ops in vec(op(), 1..120)) {
        let mut session = Session::new();
        for (n, op) in ops.into_iter().enumerate() {
            session.step(op);
            if n % 16 == 0 {
                session.check();
            }
        }
        session.close();
    }

    /// With a short memory: what is replayed is all there was to be told, and nobody is refused without need.
    #[test]
    fn a_refused_watch_could_have_missed_something(
        commands in vec((command(), 0_u64..500), 1..120),
        watches in vec((path(), any::<bool>(), 1_u64..120), 20),
    ) {
        let mut store = Store::new(HistoryLimits { events: 8, bytes: usize::MAX });
        let (mut naive, mut now) = (Naive::default(), NOW);
        for (command, ms) in &commands {
            now += ms * (SECOND / 1000);
            let index = store.applied().next();
            let outcome = store.apply(index, now, &CommandRef::from(command));
            prop_assert_eq!(answer(&outcome), naive.apply(index.0, now, command));
        }
        let cleared = store.history().cleared();
        for (path, recursive, since) in watches {
            let watch = Watch { path: path.as_bytes(), recursive, stream: true, since: Index(since) };
            let told = naive.told(&path, recursive, since);
            match Hub::new().register(&store, &watch, Portion::ALL) {
                Ok(got) => {
                    let missed: Vec<_> = told.iter().filter(|event| !got.replay.contains(event)).collect();
                    prop_assert!(missed.is_empty(), "{} since {} missed {:?}", path, since, missed);
                    for more in got.replay.iter().filter(|event| !told.contains(event)) {
                        prop_assert!(more.removed_directory() && cleared > Index::ZERO, "too much: {:?}", more);
                        prop_assert!(path.as_bytes().starts_with(&more.node.key));
                    }
                }
                Err(refusal) => {
                    let cause = format!("the requested history has been cleared [{}/{since}]", cleared.next());
                    prop_assert_eq!(refused(&refusal.into()), (401, cause));
                    prop_assert!(Index(since) <= cleared);
                    // Something did happen at, below or beside it.
                    prop_assert!(naive.happened.iter().any(|h| h.event.index.0 >= since));
                }
            }
        }
    }
}
