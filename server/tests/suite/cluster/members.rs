//! Several members on loopback that a test starts, pauses, kills and restarts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::netns::Net;
use crate::harness::{Client, Ended, Flavor, PATIENCE, Plan, Server, eventually};

/// The election timeout of these clusters unless a test says otherwise, in milliseconds: etcd's default.
pub(crate) const ELECTION_MS: u64 = 1000;

/// The key that is written to see whether a member takes writes.
pub(super) const READY: &str = "/ready";

/// Groups of a cluster that is started without `--shards`.
const SHARDS: usize = 16;

/// What every member is started with.
#[derive(Clone)]
pub(crate) struct Setup {
    flavor: Flavor,
    heartbeat_ms: u64,
    election_ms: u64,
    args: Vec<String>,
    net: Option<Arc<Net>>,
    data: Vec<PathBuf>,
    /// Shell words in front of the first members.
    wrappers: Vec<String>,
}

impl Setup {
    /// etcd's default heartbeat and election timeout.
    pub(crate) fn new() -> Self {
        let (flavor, heartbeat_ms) = (Flavor::under_test(), ELECTION_MS / 10);
        Self {
            flavor,
            heartbeat_ms,
            election_ms: ELECTION_MS,
            args: Vec::new(),
            net: None,
            data: Vec::new(),
            wrappers: Vec::new(),
        }
    }

    /// Members of another flavor than the one under test.
    pub(crate) fn flavor(mut self, flavor: Flavor) -> Self {
        self.flavor = flavor;
        self
    }

    /// Another election timeout, and a heartbeat of a tenth of it.
    pub(crate) fn election_ms(mut self, timeout: u64) -> Self {
        self.election_ms = timeout;
        self.heartbeat_ms = timeout / 10;
        self
    }

    /// Adds arguments for all members.
    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    /// Each member in a network namespace of its own.
    pub(super) fn on(mut self, net: &Arc<Net>) -> Self {
        self.net = Some(Arc::clone(net));
        self
    }

    /// The data of the first members in these directories.
    pub(super) fn data(mut self, directories: Vec<PathBuf>) -> Self {
        self.data = directories;
        self
    }

    /// Before the first members start, a shell each runs these commands.
    pub(super) fn after(mut self, commands: Vec<String>) -> Self {
        self.wrappers = commands;
        self
    }

    /// A new cluster of so many members, able to write.
    pub(crate) fn start(self, members: usize) -> Cluster {
        let cluster = self.launch(members);
        cluster.wait_writable();
        cluster.wait_published();
        cluster
    }

    /// A new cluster of so many members that have just been started.
    pub(crate) fn launch(self, members: usize) -> Cluster {
        let plans: Vec<Plan> = (0..members).map(|nth| self.plan(nth)).collect();
        let pieces: Vec<String> = (0..).zip(&plans).map(|(nth, plan)| piece(nth, plan)).collect();
        let initial = ["--initial-cluster", &pieces.join(",")].map(str::to_owned);
        let members = plans.into_iter().map(|plan| Member::launch(plan.args(initial.clone()))).collect();
        Cluster { members, setup: self, swaps_disks: false }
    }

    /// The member of this number without anything about the others. The second of three runs on two executors, the others on one.
    fn plan(&self, nth: usize) -> Plan {
        let cores = if nth % 3 == 1 { "2" } else { "1" };
        let plan = Plan::of(self.flavor);
        let plan = match &self.net {
            Some(net) => plan.in_namespace(&net.namespace(nth), net.host(nth)),
            None => plan,
        };
        let plan = match self.data.get(nth) {
            Some(directory) => plan.data_dir(directory),
            None => plan,
        };
        let plan = match self.wrappers.get(nth) {
            Some(command) => plan.after(command),
            None => plan,
        };
        plan.named(&name(nth))
            .on_quiet_ports()
            .uetcd_args(["--cores", cores])
            .args(["--heartbeat-interval", &self.heartbeat_ms.to_string()])
            .args(["--election-timeout", &self.election_ms.to_string()])
            .args(&self.args)
    }
}

fn name(nth: usize) -> String {
    format!("m{nth}")
}

fn piece(nth: usize, plan: &Plan) -> String {
    format!("{}={}", name(nth), plan.peer_url())
}

/// One member: always a plan, and a process while it runs.
struct Member {
    plan: Plan,
    server: Option<Server>,
    paused: bool,
}

impl Member {
    fn launch(plan: Plan) -> Self {
        let server = Some(plan.launch());
        Self { plan, server, paused: false }
    }
}

/// A running cluster; members are known by their number. Dropping it kills every process and fails the test if one had ended by itself.
pub(crate) struct Cluster {
    members: Vec<Member>,
    setup: Setup,
    /// Some member gets another disk than it had.
    swaps_disks: bool,
}

impl Cluster {
    /// Three members with etcd's default timeouts.
    pub(crate) fn of(members: usize) -> Self {
        Setup::new().start(members)
    }

    /// Members that were ever there.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The election timeout.
    pub(crate) fn election(&self) -> Duration {
        Duration::from_millis(self.setup.election_ms)
    }

    /// How long a request that nobody can serve is kept: etcd's rule.
    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_secs(5) + 2 * self.election()
    }

    /// The client address of a member, running or not.
    pub(crate) fn address(&self, nth: usize) -> SocketAddr {
        self.members[nth].plan.address()
    }

    /// The client addresses of all members.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.len()).map(|nth| self.address(nth)).collect()
    }

    /// A client of a member.
    pub(crate) fn client(&self, nth: usize) -> Client {
        Client::new(self.address(nth))
    }

    /// The process of a member that runs.
    pub(crate) fn server(&self, nth: usize) -> &Server {
        self.members[nth].server.as_ref().expect("the member runs")
    }

    /// The peer URL of a member, running or not.
    pub(crate) fn peer_url(&self, nth: usize) -> String {
        self.members[nth].plan.peer_url()
    }

    /// Where a member keeps its data.
    pub(crate) fn data(&self, nth: usize) -> &Path {
        self.members[nth].plan.data()
    }

    /// Members that run and are not paused.
    pub(crate) fn up(&self) -> Vec<usize> {
        let up = |nth: &usize| self.members[*nth].server.is_some() && !self.members[*nth].paused;
        (0..self.len()).filter(up).collect()
    }

    /// Kills a member as a power cut of its process would.
    pub(crate) fn kill(&mut self, nth: usize) {
        let server = self.members[nth].server.take().expect("the member runs");
        self.check_disk(&server);
        server.kill();
    }

    /// From now on members may have other disks than they had. Without that no crash must look as if they had.
    pub(super) fn swap_disks(&mut self) {
        self.swaps_disks = true;
    }

    fn check_disk(&self, server: &Server) {
        let log = server.log();
        let noticed = log.contains("an older one was put in its place");
        assert!(!noticed || self.swaps_disks, "a member's own disk is taken for an older one: {log}");
    }

    /// Ends a member with SIGTERM.
    pub(crate) fn terminate(&mut self, nth: usize) -> Ended {
        let server = self.members[nth].server.take().expect("the member runs");
        self.check_disk(&server);
        server.terminate(libc::SIGTERM)
    }

    /// Waits until a member has ended by itself.
    pub(crate) fn wait_gone(&mut self, nth: usize) -> Ended {
        self.members[nth].server.take().expect("the member runs").wait()
    }

    /// Starts a member that does not run; does not wait for it.
    pub(crate) fn restart(&mut self, nth: usize) {
        let member = &mut self.members[nth];
        assert!(member.server.is_none(), "member {nth} runs");
        member.server = Some(member.plan.launch());
    }

    /// As [`Cluster::restart`], with further arguments for this start alone.
    pub(crate) fn restart_with(&mut self, nth: usize, args: &[&str]) {
        let member = &mut self.members[nth];
        assert!(member.server.is_none(), "member {nth} runs");
        member.server = Some(member.plan.clone().args(args.iter().copied()).launch());
    }

    /// Runs the program with these arguments on the data of a member that does not run, until it exits.
    pub(crate) fn run_at_rest(&self, nth: usize, args: &[&str]) -> Ended {
        let member = &self.members[nth];
        assert!(member.server.is_none(), "member {nth} runs");
        let data = member.plan.data().to_str().expect("text");
        member.plan.run_to_exit([&["--data-dir", data], args].concat())
    }

    /// Stops a member in the middle of whatever it does.
    pub(crate) fn pause(&mut self, nth: usize) {
        self.server(nth).signal(libc::SIGSTOP);
        self.members[nth].paused = true;
    }

    /// Lets a paused member go on.
    pub(crate) fn resume(&mut self, nth: usize) {
        self.server(nth).signal(libc::SIGCONT);
        self.members[nth].paused = false;
    }

    /// Starts a further member that joins under a peer URL that was added before; `others` are in its `--initial-cluster` besides itself.
    pub(crate) fn join(&mut self, others: &[usize], plan: Plan) -> usize {
        let nth = self.len();
        let pieces: Vec<String> =
            others.iter().map(|&other| piece(other, &self.members[other].plan)).chain([piece(nth, &plan)]).collect();
        self.join_as(&pieces.join(","), plan)
    }

    /// Starts a further member with these members, itself among them, as its `--initial-cluster`.
    pub(crate) fn join_as(&mut self, initial_cluster: &str, plan: Plan) -> usize {
        let plan = plan.args(["--initial-cluster-state", "existing", "--initial-cluster", initial_cluster]);
        self.members.push(Member::launch(plan));
        self.len() - 1
    }

    /// Starts a member that was removed once more, without its data, under the URL that was added again.
    pub(crate) fn rejoin(&mut self, nth: usize) {
        assert!(self.members[nth].server.is_none(), "member {nth} runs");
        let pieces: Vec<String> =
            self.up().into_iter().chain([nth]).map(|other| piece(other, &self.members[other].plan)).collect();
        let plan = self.members[nth].plan.clone();
        let home = plan.home().join("again");
        let plan =
            plan.data_dir(&home).args(["--initial-cluster-state", "existing", "--initial-cluster", &pieces.join(",")]);
        self.members[nth] = Member::launch(plan);
    }

    /// Waits until a member has its vote in all groups. etcd gives it at once.
    pub(crate) fn wait_voter(&self, nth: usize) {
        if Flavor::under_test() == Flavor::Etcd {
            return;
        }
        let decimal: u64 = u64::from_str_radix(&self.id(self.primary(), nth), 16).expect("an id");
        let promoted = format!(": Promote(MemberId({decimal})) proposed");
        eventually("the new member has its vote", PATIENCE, || {
            let logs: String = self.up().into_iter().map(|nth| self.server(nth).log()).collect();
            let shards: std::collections::BTreeSet<&str> =
                logs.lines().filter_map(|line| line.split_once(&promoted)).map(|(shard, _)| last_word(shard)).collect();
            (shards.len() == SHARDS).then_some(())
        });
        self.wait_writable();
    }

    /// The plan of the next member: its ports are fixed, nothing runs.
    pub(crate) fn next_plan(&self) -> Plan {
        self.setup.plan(self.len())
    }

    /// Waits until all members that run agree on a primary.
    pub(crate) fn primary(&self) -> usize {
        self.primary_among(&self.up())
    }

    /// Waits until these members agree that one of them is the primary.
    pub(crate) fn primary_among(&self, members: &[usize]) -> usize {
        let mut clients: Vec<Client> = members.iter().map(|&nth| impatient(self.address(nth))).collect();
        eventually("the members name the same primary", PATIENCE, || {
            let named: Option<Vec<usize>> = clients.iter_mut().map(|client| self.named_by(client)).collect();
            let named = named?;
            let first = *named.first()?;
            (named.iter().all(|&other| other == first) && members.contains(&first)).then_some(first)
        })
    }

    fn named_by(&self, client: &mut Client) -> Option<usize> {
        let answer = client.attempt("GET", "/v2/members/leader", None).ok().filter(|answer| answer.status == 200)?;
        let json = answer.json();
        (0..self.len()).find(|&nth| json["name"] == name(nth))
    }

    /// Members that are not the primary, and run.
    pub(crate) fn followers(&self) -> Vec<usize> {
        let primary = self.primary();
        self.up().into_iter().filter(|&nth| nth != primary).collect()
    }

    /// Waits until every member that runs takes a write.
    pub(crate) fn wait_writable(&self) {
        for nth in self.up() {
            let mut client = impatient(self.address(nth));
            eventually("a member takes writes", PATIENCE, || {
                let answer = client.attempt("PUT", &format!("/v2/keys{READY}"), Some("value=1"));
                answer.is_ok_and(|answer| answer.status < 300).then_some(())
            });
        }
    }

    /// Waits until every member that runs knows the client URLs of all members.
    pub(crate) fn wait_published(&self) {
        for nth in self.up() {
            let mut client = impatient(self.address(nth));
            eventually("the members have published", PATIENCE, || {
                let answer = client.attempt("GET", "/v2/members", None).ok()?.json();
                let members = answer["members"].as_array()?;
                members.iter().all(|member| member["clientURLs"][0].is_string()).then_some(())
            });
        }
    }

    /// Waits until the members that run show the same; that listing.
    pub(crate) fn wait_converged(&self) -> Value {
        let mut clients: Vec<Client> = self.up().into_iter().map(|nth| self.client(nth)).collect();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown: Vec<_> = clients
                .iter_mut()
                .map(|client| client.attempt("GET", "/v2/keys/?recursive=true&sorted=true", None))
                .map(|answer| answer.ok().filter(|answer| answer.status == 200))
                .collect();
            if let Some(Some(first)) = shown.first()
                && shown.iter().all(|other| other.as_ref().is_some_and(|other| other.body == first.body))
            {
                return first.json();
            }
            let lengths: Vec<_> = shown.iter().flatten().map(|answer| (answer.index(), answer.body.len())).collect();
            assert!(Instant::now() < deadline, "the members never show the same; index and length: {lengths:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The id of a member as member 0 .. of this cluster sees it.
    pub(crate) fn id(&self, via: usize, nth: usize) -> String {
        let listed = self.client(via).get("/v2/members").json();
        let members = listed["members"].as_array().expect("a list");
        let url = self.peer_url(nth);
        let found = members.iter().find(|member| member["peerURLs"][0] == url.as_str());
        found.and_then(|member| member["id"].as_str()).unwrap_or_else(|| panic!("{url} in {listed}")).to_owned()
    }
}

fn last_word(text: &str) -> &str {
    text.rsplit(' ').next().unwrap_or_default()
}

/// A client for members that may be gone or paused.
pub(crate) fn impatient(address: SocketAddr) -> Client {
    Client::new(address).patient(Duration::from_secs(1))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let running = self.members.iter_mut().enumerate().filter(|(_, member)| member.server.is_some());
        let ended: Vec<usize> = running
            .filter_map(|(nth, member)| member.server.as_mut().is_some_and(|server| !server.alive()).then_some(nth))
            .collect();
        for &nth in &ended {
            eprintln!("member {nth} ended by itself: {}", self.server(nth).log());
        }
        if std::thread::panicking() {
            return;
        }
        assert!(ended.is_empty(), "members {ended:?} ended by themselves");
        self.members.iter().filter_map(|member| member.server.as_ref()).for_each(|server| self.check_disk(server));
    }
}
