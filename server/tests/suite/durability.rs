//! What was acknowledged is there after a crash, whatever the moment; what was refused is not; and nothing damaged is served.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Client, Flavor, Plan, Rng, Server, env_number, files_below, uetcd_only};

/// Rounds of kill -9 unless `SUITE_KILL_ROUNDS` says otherwise; the goal of a full run is 100 and more.
const ROUNDS: u64 = 10;
/// Concurrent writers, each with keys of its own.
const WRITERS: usize = 6;
/// Keys of one writer, all in different top-level directories.
const KEYS: usize = 8;

/// What a key may look like: a value and its index, or absence.
type State = Option<(String, u64)>;

/// What a write tried to make of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Attempt {
    Set(String),
    Delete,
}

/// One key as its only writer knows it.
#[derive(Clone, Default)]
struct Known {
    acknowledged: State,
    /// What was sent and not answered, so that it may or may not have happened.
    in_doubt: Option<Attempt>,
}

/// A writer and what it knows, from round to round.
pub(crate) struct Writer {
    name: usize,
    number: u64,
    keys: Vec<Known>,
}

impl Writer {
    /// Several that know nothing yet, for the same server.
    pub(crate) fn some() -> Vec<Self> {
        (0..WRITERS).map(|name| Self { name, number: 0, keys: vec![Known::default(); KEYS] }).collect()
    }

    /// Writes that were tried so far.
    pub(crate) fn attempts(&self) -> u64 {
        self.number
    }

    fn key(&self, which: usize) -> String {
        format!("/d{}/w{}", self.name * KEYS + which, self.name)
    }

    /// Writes until the server is gone.
    pub(crate) fn run(&mut self, mut client: Client, newest: &AtomicU64) {
        loop {
            self.number += 1;
            let which = self.number as usize % KEYS;
            let target = format!("/v2/keys{}", self.key(which));
            let value = format!("{}.{}", self.name, self.number);
            let known = &mut self.keys[which];
            if self.number.is_multiple_of(5) && known.acknowledged.is_some() {
                let (index, refused) =
                    ([("value", "refused"), ("prevIndex", "1")], [("value", "refused"), ("prevExist", "false")]);
                for pairs in [index, refused] {
                    let Ok(answer) = client.attempt("PUT", &target, Some(&crate::harness::form(&pairs))) else {
                        return;
                    };
                    assert_eq!(answer.status, 412, "{answer:?}");
                }
            }
            let delete = self.number.is_multiple_of(11) && known.acknowledged.is_some();
            known.in_doubt = Some(if delete { Attempt::Delete } else { Attempt::Set(value.clone()) });
            let answer = if delete {
                client.attempt("DELETE", &target, None)
            } else {
                client.attempt("PUT", &target, Some(&format!("value={value}")))
            };
            let Ok(answer) = answer else { return };
            assert!(answer.status < 300, "{target}: {answer:?}");
            let index = answer.index();
            known.acknowledged = (!delete).then_some((value, index));
            known.in_doubt = None;
            newest.fetch_max(index, Ordering::SeqCst);
        }
    }

    /// Compares with what the server shows now, and takes that as known.
    pub(crate) fn check(&mut self, client: &mut Client) {
        for which in 0..KEYS {
            let key = self.key(which);
            let answer = client.get(&format!("/v2/keys{key}"));
            let found: State = (answer.status == 200).then(|| {
                let node = answer.json()["node"].clone();
                let value = node["value"].as_str().expect("a file").to_owned();
                (value, node["modifiedIndex"].as_u64().expect("an index"))
            });
            let known = &mut self.keys[which];
            let shown = found.as_ref().map_or(Attempt::Delete, |(value, _)| Attempt::Set(value.clone()));
            let happened_after_all = known.in_doubt.as_ref() == Some(&shown);
            assert!(
                found == known.acknowledged || happened_after_all,
                "{key}: acknowledged {:?}, in doubt {:?}, found {found:?}",
                known.acknowledged,
                known.in_doubt
            );
            *known = Known { acknowledged: found, in_doubt: None };
        }
    }
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged_and_invents_nothing() {
    let mut rng = Rng::new(env_number("SUITE_SEED", 1));
    let mut writers = Writer::some();
    let newest = AtomicU64::new(0);
    // A low snapshot count, so that rounds also hit snapshots and compaction.
    let mut plan = Plan::new().uetcd_args(["--cores", "2"]).args(["--snapshot-count", "500"]);
    for round in 0..env_number("SUITE_KILL_ROUNDS", ROUNDS) {
        let server = plan.start();
        let mut client = server.client();
        let now = client.get("/v2/keys/").index();
        assert!(now >= newest.load(Ordering::SeqCst), "round {round}: the index went back to {now}");
        for writer in &mut writers {
            writer.check(&mut client);
        }
        let pause = Duration::from_millis(rng.below(500));
        plan = thread::scope(|scope| {
            for writer in &mut writers {
                let (client, newest) = (server.client(), &newest);
                scope.spawn(move || writer.run(client, newest));
            }
            thread::sleep(pause);
            server.kill()
        });
    }
    let last = plan.start();
    for writer in &mut writers {
        writer.check(&mut last.client());
    }
    let attempts: u64 = writers.iter().map(Writer::attempts).sum();
    println!("{attempts} writes, the last acknowledged at index {}", newest.into_inner());
    assert!(attempts > 100, "hardly anything was written");
}

#[test]
fn a_graceful_stop_and_a_restart_keep_everything_on_any_number_of_cores() {
    let mut plan = Plan::new();
    let mut expected: Vec<(String, String)> = Vec::new();
    let mut last = 0;
    for (round, cores) in ["2", "1", "2"].into_iter().enumerate() {
        let server = plan.clone().uetcd_args(["--cores", cores]).start();
        let mut client = server.client();
        assert!(client.get("/v2/keys/").index() >= last);
        for (key, value) in &expected {
            assert_eq!(client.value(key).as_ref(), Some(value), "{key} with {cores} cores");
        }
        for n in 0..60 {
            let (key, value) = (format!("/r{round}-{n}/k"), format!("value {n}"));
            last = client.set(&key, &value);
            expected.push((key, value));
        }
        // The restart takes the same ports, but not this round's number of cores.
        plan = server.plan().without_last_args(if server.flavor() == Flavor::Uetcd { 2 } else { 0 });
        let signal = if round == 0 { libc::SIGTERM } else { libc::SIGINT };
        assert_eq!(server.terminate(signal).code(), 128 + signal);
    }
}

#[test]
fn another_number_of_shards_is_refused_with_a_reason() {
    uetcd_only!("etcd has no shards");
    let server = Plan::new().args(["--shards", "16"]).start();
    server.client().set("/k", "1");
    let plan = server.kill();
    let ended = plan.clone().args(["--shards", "8"]).try_start().err().expect("8 shards are refused");
    assert_eq!(ended.code(), 1, "{ended:?}");
    let line = ended.stderr.lines().find(|line| line.contains("shards")).unwrap_or_else(|| panic!("{ended:?}"));
    assert!(line.contains("16") && line.contains('8'), "{line}");
    assert_eq!(plan.start().client().value("/k").as_deref(), Some("1"), "the refusal changed something");
}

#[test]
fn a_second_process_on_the_same_directory_is_refused_and_the_first_unharmed() {
    uetcd_only!("etcd 3.4 waits for the lock for ever");
    let first = Server::start();
    first.client().set("/k", "1");
    let second = Plan::new().data_dir(first.plan().data()).try_start().err().expect("the directory is taken");
    assert_eq!(second.code(), 1, "{second:?}");
    assert!(second.stderr.contains("locked"), "{second:?}");
    first.client().set("/k", "2");
    let plan = first.kill();
    assert_eq!(plan.start().client().value("/k").as_deref(), Some("2"));
}

#[test]
fn the_data_directory_is_private_and_named_after_the_member() {
    let server = Server::start();
    let mode = fs::metadata(server.plan().data()).expect("the data directory exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(server.plan().data().join("member").is_dir());
}

#[test]
fn a_flipped_bit_in_the_log_is_refused_with_file_offset_group_and_index() {
    uetcd_only!("the log's format is uetcd's own");
    let server = Server::start();
    let mut client = server.client();
    for n in 0..100 {
        client.set(&format!("/flip{n}/k"), &format!("marker-{n:03}-marker"));
    }
    let plan = server.kill();
    let (file, at) = find(&plan.data().join("member").join("wal"), b"marker-050-marker");
    let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
    let flip = |at: usize| {
        let mut bytes = fs::read(&file).expect("a readable log");
        bytes[at] ^= 1;
        fs::write(&file, bytes).expect("a writable log");
    };
    // The value, then something in each sector of its batch: heads, other records, padding.
    let block = at / 4096 * 4096;
    for at in std::iter::once(at).chain((block + 3..block + 4096).step_by(512)) {
        flip(at);
        let ended = plan.try_start().err().expect("rot must not be served");
        assert_ne!(ended.code(), 0, "{ended:?}");
        let line = ended.stderr.lines().find(|line| line.contains(&name)).unwrap_or_else(|| panic!("{ended:?}"));
        for part in [&format!("offset {}", at / 512 * 512), "group ", "index ", "give --mend-from", "restore a backup"]
        {
            assert!(line.contains(part) && !line.contains("unknown"), "{part}: {line}");
        }
        flip(at);
    }
    let server = plan.start();
    for n in 0..100 {
        assert_eq!(server.client().value(&format!("/flip{n}/k")), Some(format!("marker-{n:03}-marker")));
    }
}

/// The file that holds these bytes, and where. They are short, so it would be bad luck if a sector's stamp cut them in two; then a part will do.
fn find(directory: &Path, wanted: &[u8]) -> (PathBuf, usize) {
    let whole_or_half = [wanted, &wanted[..wanted.len() - 7], &wanted[7..]];
    for part in whole_or_half {
        for file in files_below(directory) {
            let bytes = fs::read(&file).expect("a readable log");
            if let Some(at) = bytes.windows(part.len()).position(|window| window == part) {
                return (file, at + part.len() / 2);
            }
        }
    }
    panic!("no file below {} holds {:?}", directory.display(), String::from_utf8_lossy(wanted));
}

#[test]
fn a_restart_without_client_writes_keeps_the_history_for_watchers() {
    let server = Server::start();
    let mut client = server.client();
    let first = client.set("/h", "1");
    client.set("/h", "2");
    let plan = server.kill();
    let server = plan.start();
    let replayed = server.client().get(&format!("/v2/keys/h?wait=true&waitIndex={first}"));
    assert_eq!(replayed.json()["node"]["value"], "1");
    let members = server.client().get("/v2/members").json()["members"].as_array().map(Vec::len);
    assert_eq!(members, Some(1), "a restart adds no member");
}
