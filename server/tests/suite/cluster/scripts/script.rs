//! One script: what it does, and what must hold at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use super::leaders::{Watch, assert_one_per_term, leads};
use super::quorum::Quorum;
use crate::cluster::api::{add, json, remove};
use crate::cluster::load::{Load, assert_kept, assert_ordered};
use crate::cluster::members::{Cluster, Setup, impatient};
use crate::cluster::netns::Net;
use crate::harness::{PATIENCE, Plan, Response, Rng, SetOnDrop, eventually};

/// Steps of a script.
const STEPS: usize = 10;
/// Members that there are at most, those that never start among them.
const MEMBERS_MAX: usize = 5;
const ELECTION_MS: u64 = 500;
/// Groups of a cluster that is started without `--shards`.
const SHARDS: usize = 16;
/// How long a script waits for a change of the members to be complete before it goes on without.
const SETTLING: Duration = Duration::from_secs(3);

/// Plays a script on a new cluster of so many members.
pub(super) fn play(members: usize, rng: Rng) {
    let mut script = Script::begin(members, rng);
    let load = Load::on(&script.cluster, "c").patient(Duration::from_secs(1));
    let watch = Watch::of(script.cluster.addresses());
    thread::scope(|scope| {
        scope.spawn(|| watch.run());
        let _end = SetOnDrop(watch.flag());
        load.during(2, || (0..STEPS).for_each(|_| script.step(&load, &watch)));
    });
    script.end(&load, &watch);
}

/// A member as the cluster must list it.
struct Listed {
    id: String,
    /// Where the others find it.
    url: String,
    /// It listens on both; `url` is one of them.
    urls: [String; 2],
}

impl Listed {
    fn elsewhere(&self) -> String {
        self.urls.iter().find(|url| **url != self.url).unwrap_or(&self.url).clone()
    }
}

/// A cluster, what it must look like, and what was done to it.
struct Script {
    cluster: Cluster,
    rng: Rng,
    listed: BTreeMap<usize, Listed>,
    quorum: Quorum,
    /// Changes that some group may not have made yet: what the log says of them, and whose.
    unsettled: Vec<(String, usize)>,
    /// A member that was added and not started yet.
    pending: Option<(Listed, Plan)>,
    /// Logs of processes that have ended.
    log: String,
}

/// What a step does.
#[derive(Clone, Copy, Debug)]
enum Step {
    Add,
    Join,
    /// The pending member is removed before it was ever started.
    Forget,
    /// The pending member will be elsewhere.
    MovePending,
    Remove(usize),
    Move(usize),
    Restart(usize),
    Kill(usize),
    Start(usize),
}

impl Script {
    fn begin(members: usize, rng: Rng) -> Self {
        // Addresses of their own: a writer that asks a member that is gone must not reach another test's.
        let net = Net::of(members + STEPS);
        let setup = Setup::new().election_ms(ELECTION_MS).args(&["--strict-reconfig-check=false"]).on(&net);
        let cluster = setup.start(members);
        let everybody: BTreeSet<usize> = (0..members).collect();
        let quorum = Quorum { members: everybody.clone(), running: everybody, ..Quorum::default() };
        // The founders listen on one URL: they stay where they are.
        let listed = |nth| {
            let url = cluster.peer_url(nth);
            (nth, Listed { id: cluster.id(0, nth), urls: [url.clone(), url.clone()], url })
        };
        let listed = (0..members).map(listed).collect();
        Self { cluster, rng, listed, quorum, unsettled: Vec::new(), pending: None, log: String::new() }
    }

    fn step(&mut self, load: &Load, watch: &Watch) {
        if self.rng.one_in(3) {
            self.settle();
        }
        let steps = self.possible();
        let step = steps[self.rng.below(steps.len() as u64) as usize];
        println!("{step:?}; members {:?}, running {:?}", self.quorum.members, self.quorum.running);
        match step {
            Step::Add => self.add(),
            Step::Join => self.join(load, watch),
            Step::Forget => self.forget(),
            Step::MovePending => self.move_pending(),
            Step::Remove(nth) => self.remove(nth),
            Step::Move(nth) => self.r#move(nth),
            Step::Restart(nth) => {
                self.log += &self.cluster.terminate(nth).stderr;
                self.cluster.restart(nth);
            }
            Step::Kill(nth) => self.kill(nth),
            Step::Start(nth) => {
                self.cluster.restart(nth);
                self.quorum.running.insert(nth);
            }
        }
        // Sometimes at once, sometimes a little later.
        if self.rng.one_in(2) {
            thread::sleep(Duration::from_millis(self.rng.below(400)));
        }
        if self.rng.one_in(3) {
            self.wait_listed();
        }
    }

    /// The steps that leave a quorum; which of them is drawn depends on how often it is named.
    fn possible(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let there = self.quorum.members.len() + usize::from(self.pending.is_some());
        match &self.pending {
            None if there < MEMBERS_MAX => steps.extend([Step::Add; 3]),
            None => {}
            Some(_) => steps.extend([Step::Join, Step::Join, Step::Join, Step::Join, Step::Forget, Step::MovePending]),
        }
        for &nth in &self.quorum.members {
            if self.quorum.bears_removal_of(nth) {
                steps.push(Step::Remove(nth));
            }
            if self.listed[&nth].elsewhere() != self.listed[&nth].url {
                steps.push(Step::Move(nth));
            }
            if !self.quorum.running.contains(&nth) {
                steps.extend([Step::Start(nth); 2]);
            } else if self.quorum.bears_loss_of(nth) {
                steps.extend([Step::Kill(nth), Step::Restart(nth)]);
            }
        }
        if steps.is_empty() {
            // A single member is killed and comes back at once.
            steps.extend(self.quorum.running.iter().map(|&nth| Step::Restart(nth)));
        }
        steps
    }

    /// A fresh URL pair, of a member that does not exist yet.
    fn add(&mut self) {
        let plan = self.cluster.next_plan();
        let urls = [plan.peer_url(), self.cluster.next_plan().peer_url()];
        let plan = plan.args(["--listen-peer-urls", &urls.join(",")]);
        let url = urls[0].clone();
        let id = self.insist("a member is added", |script, via| {
            script.answers(via)?;
            let answer = add(&script.cluster, via, &url);
            match answer.status {
                201 => answer.json()["id"].as_str().map(str::to_owned),
                // An attempt that failed may have been carried out.
                409 => script.listed_at(via)?.into_iter().find(|(_, at)| *at == url).map(|(id, _)| id),
                _ => None,
            }
        });
        self.pending = Some((Listed { id, url, urls }, plan));
    }

    fn join(&mut self, load: &Load, watch: &Watch) {
        self.wait_listed();
        let (listed, plan) = self.pending.take().expect("drawn only when there is one");
        let nth = self.cluster.len();
        let others = self.listed.iter().map(|(nth, listed)| format!("m{nth}={}", listed.url));
        let pieces: Vec<String> = others.chain([format!("m{nth}={}", listed.url)]).collect();
        let plan = plan.args(["--initial-advertise-peer-urls", &listed.url]);
        let joined = self.cluster.join_as(&pieces.join(","), plan);
        assert_eq!(joined, nth);
        // Before that it may compare its list with what others list, and must find them equal.
        eventually("the new member has started", PATIENCE, || self.answers(nth));
        load.also(self.cluster.address(nth));
        watch.also(self.cluster.address(nth));
        self.changes("Promote", &listed.id, nth);
        self.quorum.fresh.insert(nth);
        self.quorum.members.insert(nth);
        self.quorum.running.insert(nth);
        self.listed.insert(nth, listed);
    }

    fn forget(&mut self) {
        let (listed, _) = self.pending.take().expect("drawn only when there is one");
        self.insist_removed(&listed.id, None);
    }

    fn move_pending(&mut self) {
        let (mut listed, plan) = self.pending.take().expect("drawn only when there is one");
        self.insist_moved(&mut listed);
        self.pending = Some((listed, plan));
    }

    fn r#move(&mut self, nth: usize) {
        let mut listed = self.listed.remove(&nth).expect("a member");
        self.insist_moved(&mut listed);
        self.listed.insert(nth, listed);
    }

    fn remove(&mut self, nth: usize) {
        let listed = self.listed.remove(&nth).expect("a member");
        let is_gone = self.insist_removed(&listed.id, Some(nth));
        self.quorum.members.remove(&nth);
        self.quorum.fresh.remove(&nth);
        if !is_gone {
            self.quorum.leaving.insert(nth);
            self.changes("Remove", &listed.id, nth);
        }
        let ran = self.quorum.running.remove(&nth);
        // Now and then another one dies before all groups have made the change.
        let victim = self.quorum.running.iter().copied().find(|&other| self.quorum.bears_loss_of(other));
        if let Some(victim) = victim.filter(|_| self.rng.one_in(3)) {
            println!("  and member {victim} is killed");
            self.kill(victim);
        }
        if ran {
            let ended = self.cluster.wait_gone(nth);
            assert_eq!(ended.code(), 0, "a removed member ends well: {ended:?}");
            self.log += &ended.stderr;
        }
    }

    fn kill(&mut self, nth: usize) {
        self.log += &self.cluster.server(nth).log();
        self.cluster.kill(nth);
        self.quorum.running.remove(&nth);
    }

    /// Notes a change that every group has yet to make.
    fn changes(&mut self, what: &str, id: &str, nth: usize) {
        let decimal = u64::from_str_radix(id, 16).expect("an id");
        self.unsettled.retain(|(_, other)| *other != nth);
        self.unsettled.push((format!(": {what}(MemberId({decimal})) proposed"), nth));
    }

    /// Waits a while for all groups to have made the changes so far. Only processes that still run are asked for it.
    fn settle(&mut self) {
        let begun = Instant::now();
        while !self.unsettled.is_empty() && begun.elapsed() < SETTLING {
            let logs: Vec<String> = self.quorum.running.iter().map(|&nth| self.cluster.server(nth).log()).collect();
            let lines = || logs.iter().flat_map(|log| log.lines());
            let made = |change: &str| {
                let shards = lines().filter_map(|line| Some(line.split_once(change)?.0.rsplit_once(' ')?.1));
                shards.collect::<BTreeSet<&str>>().len() == SHARDS
            };
            self.unsettled.retain(|(change, _)| !made(change));
            thread::sleep(Duration::from_millis(50));
        }
        if self.unsettled.is_empty() {
            // Proposed is not made yet: a write behind it is.
            self.cluster.wait_writable();
        }
        let open = |nth: &usize| self.unsettled.iter().any(|(_, other)| other == nth);
        self.quorum.fresh.retain(open);
        self.quorum.leaving.retain(open);
    }

    /// Asks one member after the other until it has worked.
    fn insist<T>(&mut self, what: &str, mut attempt: impl FnMut(&Self, usize) -> Option<T>) -> T {
        let mut running: Vec<usize> = self.quorum.running.iter().copied().collect();
        let first = self.rng.below(running.len() as u64) as usize;
        running.rotate_left(first);
        let mut members = running.into_iter().cycle();
        eventually(what, PATIENCE, || attempt(self, members.next().expect("somebody runs")))
    }

    /// True if no group counts on it any more, which 204 promises.
    fn insist_removed(&mut self, id: &str, except: Option<usize>) -> bool {
        self.insist("a member is removed", |script, via| {
            if Some(via) == except {
                return None;
            }
            script.answers(via)?;
            // 410: an attempt that failed had been carried out.
            let status = remove(&script.cluster, via, id).status;
            matches!(status, 204 | 410).then_some(status == 204)
        })
    }

    fn insist_moved(&mut self, listed: &mut Listed) {
        listed.url = listed.elsewhere();
        let (target, body) = (format!("/v2/members/{}", listed.id), format!(r#"{{"peerURLs":["{}"]}}"#, listed.url));
        self.insist("a member is moved", |script, via| {
            script.answers(via)?;
            (json(&script.cluster, via, "PUT", &target, &body).status == 204).then_some(())
        });
    }

    /// A member that is still starting takes no connection.
    fn answers(&self, via: usize) -> Option<Response> {
        impatient(self.cluster.address(via)).attempt("GET", "/v2/members", None).ok()
    }

    /// Ids and URLs of the members, as one of them lists them.
    fn listed_at(&self, via: usize) -> Option<BTreeSet<(String, String)>> {
        let answer = self.answers(via)?.json();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        answer["members"].as_array()?.iter().map(|it| Some((text(&it["id"])?, text(&it["peerURLs"][0])?))).collect()
    }

    /// Waits until all members that run list the same ones, and the right ones.
    fn wait_listed(&self) {
        let pending = self.pending.iter().map(|(listed, _)| listed);
        let want: BTreeSet<(String, String)> =
            self.listed.values().chain(pending).map(|listed| (listed.id.clone(), listed.url.clone())).collect();
        for &nth in &self.quorum.running {
            let begun = Instant::now();
            while self.listed_at(nth).as_ref() != Some(&want) {
                let waited = begun.elapsed();
                assert!(waited < PATIENCE, "member {nth} lists {:?}, not {want:?}", self.listed_at(nth));
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// All members run: they agree on the members, on one primary and on everything that was acknowledged.
    fn end(mut self, load: &Load, watch: &Watch) {
        let down: Vec<usize> = self.quorum.members.difference(&self.quorum.running).copied().collect();
        for nth in down {
            self.cluster.restart(nth);
            self.quorum.running.insert(nth);
        }
        self.cluster.wait_writable();
        self.wait_listed();
        let acked = load.acked();
        assert_ordered(&acked);
        assert_kept(&acked, &self.cluster.wait_converged());
        let primary = self.cluster.primary();
        let leaders: Vec<usize> =
            self.cluster.up().into_iter().filter(|&nth| leads(&mut self.cluster.client(nth)).is_some()).collect();
        assert_eq!(leaders, [primary], "one primary");
        self.cluster.up().into_iter().for_each(|nth| self.log += &self.cluster.server(nth).log());
        assert_one_per_term(&self.log);
        let (longest, limit) = (watch.longest(), 2 * self.cluster.election() + Duration::from_secs(1));
        assert!(longest < limit, "two members said for {longest:?} that they are the primary");
        println!("{} writes; two members said for {longest:?} that they are the primary", acked.len());
    }
}
