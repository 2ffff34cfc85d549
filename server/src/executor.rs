//! One executor, from its shards' state on disk to the last connection.

use std::hash::{BuildHasher as _, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use glommio::sync::Semaphore;
use glommio::{Latency, Placement, Shares, Task};
use log::{GroupId, LogOptions, LogWriter, Resume};
use shard::group::{GroupSeed, TAIL_BYTES, Vote};
use shard::ids::{Index, MemberId, ShardId};
use shard::shard::Shard;
use shard::store::RecentRoom;

use crate::allocator;
use crate::birth::Birth;
use crate::core::bodies::When;
use crate::core::{Core, CoreDisk, Node, Phase};
use crate::failure::Fatal;
use crate::founding::Founding;
use crate::http::{Registry, Served, accept};
use crate::listen::{Listener, Side};
use crate::peer::{Links, Local, Roster};
use crate::recovery::{self, ShardSeed};
use crate::ring;
use crate::slice::{self, Slice};

/// Connections on the peer ports of one executor: a stream from each executor of each peer, and who asks for `/members`.
/// Not counted with those of clients, which may use up theirs.
const PEER_CONNECTIONS: usize = 4096;
/// Connections on the ports for metrics, not counted with those of clients either.
const METRICS_CONNECTIONS: usize = 64;
/// Files that were read lately and are found without a walk down the tree, of all shards together: 66 MiB.
const RECENT_FILES: usize = 1 << 20;
/// How long connections are given to finish what they have begun when the process stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the rest of a request is waited for then. Whoever was sending it has sent it by now.
const HEARING: Duration = Duration::from_millis(250);
/// The same as `DRAIN` when this member was removed: nothing that it has begun will ever be finished.
const REMOVED: Duration = Duration::from_millis(200);
/// How often an executor looks for what has no event of its own: slow clients, the end of the process.
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// What an executor tells the main thread.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Clients are served.
    Serving,
    /// The process has to end now.
    Fatal(Fatal),
    /// This executor has finished what it had begun.
    Ended,
}

/// What an executor starts from.
pub(crate) struct Seed {
    pub(crate) me: usize,
    pub(crate) node: Arc<Node>,
    pub(crate) birth: Birth,
    pub(crate) shards: Vec<ShardSeed>,
    pub(crate) resume: Resume,
    /// On executor 0: what it does for the node before clients are served.
    pub(crate) founding: Option<Founding>,
    pub(crate) listeners: Vec<Listener>,
    /// Connections that this executor may have.
    pub(crate) connections: usize,
    pub(crate) notices: Sender<Notice>,
}

/// Starts an executor on its CPU. The thread ends with the process.
pub(crate) fn start(seed: Seed) -> Result<(), Fatal> {
    let cpu = seed.node.config.cores[seed.me];
    let (name, spin) = (format!("uetcd-{}", seed.me), seed.node.config.spin);
    let work = move || async move {
        let notices = seed.notices.clone();
        // The main thread is there for as long as the process is.
        let _ = notices.send(run(seed).await.map_or_else(Notice::Fatal, |()| Notice::Ended));
        // Files may still be in the making for later: the threads that make them panic if they find nobody to tell.
        std::future::pending::<()>().await;
    };
    let launched = ring::launch(name, Placement::Fixed(cpu), spin, work);
    launched.map(drop).map_err(|error| Fatal::Other(format!("an executor can not start on CPU {cpu}: {error}")))
}

async fn run(seed: Seed) -> Result<(), Fatal> {
    let Seed { me, node, birth, shards, resume, founding, listeners, connections, notices } = seed;
    slice::ask_for(Slice::Longest);
    let core = open(me, &node, &birth, shards, resume).await?;
    let registry = Rc::new(Registry::default());
    let roster = Roster::new(&core);
    let links = Links::new(
        local(me, &node, &birth),
        node.config.advertise_peer.texts(),
        Rc::clone(&roster) as Rc<_>,
        node.clock.started_ns() ^ birth.member,
    );
    core.connect(Rc::clone(&links));
    let timekeeper = glommio::spawn_local(Rc::clone(&links).keep_time());
    let dialling = glommio::spawn_local(roster.keep(Rc::clone(&links)));
    let driver = glommio::spawn_local(drive(Rc::clone(&core), notices.clone()));
    let ticker = glommio::spawn_local(Rc::clone(&core).tick());
    core.campaign_alone();
    let served = Served { core: Rc::clone(&core), registry: Rc::clone(&registry), links: Rc::clone(&links) };
    let (clients, others): (Vec<_>, Vec<_>) = listeners.into_iter().partition(|listener| listener.side == Side::Client);
    let (peers, metrics) = others.into_iter().partition(|listener| listener.side == Side::Peer);
    // Peers first: without them there may be nobody to found the cluster with. And what keeps clients waiting is to be seen.
    let mut accepting = accept_all(&served, PEER_CONNECTIONS, peers);
    accepting.extend(accept_all(&served, METRICS_CONNECTIONS, metrics));
    wait(&core, || core.has_caught_up()).await;
    core.shed_inherited().await;
    allocator::give_back();
    node.report_prepared();
    if let Some(founding) = founding {
        wait(&core, || node.all_prepared()).await;
        if node.phase() < Phase::Stopping {
            // Who joins finds the members in the log.
            let founders = if birth.joined { Vec::new() } else { birth.founders.clone() };
            let stopped = async {
                wait(&core, || false).await;
                Ok(())
            };
            futures_lite::future::or(founding.run(&core, founders), stopped).await?;
            node.enter(Phase::Serving);
            let _ = notices.send(Notice::Serving);
        }
    }
    wait(&core, || node.phase() >= Phase::Serving).await;
    accepting.extend(accept_all(&served, connections, clients));
    while node.phase() < Phase::Stopping {
        glommio::timer::sleep(LOOK_AROUND).await;
        let now = Instant::now();
        registry.sweep(now);
        for when in [When::Now, When::Past] {
            if node.bodies.are_too_many(when) {
                let ended = registry.end_senders(when, node.bodies.crowd(), now);
                core.count(|metrics| metrics.clients_cut.add(ended));
            }
        }
        let excess = core.budget.answers.excess();
        if excess > 0 {
            let ended = registry.end_stalled(now, excess);
            core.count(|metrics| metrics.clients_cut.add(ended));
        }
    }
    for listening in accepting {
        listening.cancel().await;
    }
    drain(&core, &registry).await;
    hand_over(&core).await;
    dialling.cancel().await;
    links.close();
    timekeeper.cancel().await;
    ticker.cancel().await;
    driver.cancel().await;
    Ok(())
}

/// Who this executor is to the other members.
fn local(me: usize, node: &Node, birth: &Birth) -> Local {
    Local::new(birth.cluster, birth.member, node.process, birth.shards, me, node.cores())
}

/// Accepts from these listeners, `connections` at a time.
fn accept_all(served: &Served, connections: usize, listeners: Vec<Listener>) -> Vec<Task<()>> {
    let permits = Rc::new(Semaphore::new(connections as u64));
    let start = |listener| glommio::spawn_local(accept(served.clone(), Rc::clone(&permits), listener));
    listeners.into_iter().map(start).collect()
}

async fn drive(core: Rc<Core>, notices: Sender<Notice>) {
    if let Err(fatal) = core.drive().await {
        let _ = notices.send(Notice::Fatal(fatal));
    }
}

/// Brings this executor's shards and log back to where they were.
async fn open(
    me: usize,
    node: &Arc<Node>,
    birth: &Birth,
    seeds: Vec<ShardSeed>,
    resume: Resume,
) -> Result<Rc<Core>, Fatal> {
    // Segments are made ready behind the requests' back.
    let background = glommio::executor().create_task_queue(Shares::Static(50), Latency::NotImportant, "log files");
    let options = LogOptions { background: Some(background), ..LogOptions::default() };
    let groups = seeds.iter().map(|seed| (GroupId::new(seed.shard), &seed.log));
    let writer = LogWriter::open(&node.config.log_dir(), birth.log_identity(), resume, groups, options)
        .await
        .map_err(Fatal::LogFiles)?;
    let mut shards = Vec::with_capacity(seeds.len());
    let mut snapshots = Vec::with_capacity(seeds.len());
    let noted =
        seeds.iter().filter_map(|seed| Some((ShardId(seed.shard), Index(seed.log.frontier?.visible)))).collect();
    // Of the operating system's randomness, whatever is known of the process.
    let secret = RandomState::new();
    let (room, key) = (RecentRoom::new(RECENT_FILES / node.cores()), (secret.hash_one(0), secret.hash_one(1)));
    let lost: Vec<_> = seeds.iter().filter_map(|seed| Some((ShardId(seed.shard), seed.lost?))).collect();
    for seed in seeds {
        snapshots.push(seed.snapshots.clone());
        let mut shard = restore(node, birth, seed)?;
        shard.store_mut().remember_reads(Rc::clone(&room), key);
        shards.push(shard);
        glommio::yield_if_needed().await;
    }
    let core = Core::new(me, Arc::clone(node), shards, &snapshots, CoreDisk::new(writer, noted));
    for (shard, upto) in lost {
        core.replace_snapshot(shard, upto);
    }
    Ok(core)
}

/// One shard from its snapshot and its log.
fn restore(node: &Node, birth: &Birth, mut seed: ShardSeed) -> Result<Shard, Fatal> {
    let shard = seed.shard;
    let config = &node.config;
    let (store, entries) = seed.take_state(recovery::history_limits(config))?;
    let vote = seed.log.hard_state.unwrap_or_default();
    let (shown, clock) = seed.log.frontier.map_or((0, 0), |frontier| (frontier.visible, frontier.clock));
    let shown = Index(shown);
    let promised_to: Vec<MemberId> = birth.promised_to.iter().copied().map(MemberId).collect();
    let amnesia = Some(promised_to).filter(|members| !members.is_empty());
    let heartbeat = config.heartbeat.as_millis().max(1);
    let group = GroupSeed {
        member: MemberId(birth.member),
        members: birth.first_members(),
        applied: seed.snapshots.first().copied().unwrap_or(birth.log_start()),
        vote: Vote { term: vote.term, vote: vote.vote, commit: vote.commit.get() },
        entries,
        shown,
        tail_bytes: TAIL_BYTES,
        amnesia,
        election_ticks: (config.election.as_millis() / heartbeat) as usize,
        heartbeat_ticks: 1,
        random_seed: node.clock.started_ns() ^ birth.member ^ u64::from(shard) << 48,
    };
    let started = Shard::start(ShardId(shard), store, group, node.process);
    let mut shard = started.map_err(|error| recovery::unusable(shard, &error))?;
    shard.note_clock(shown, clock);
    Ok(shard)
}

/// Waits until something is so, or the process stops.
async fn wait(core: &Core, is_so: impl Fn() -> bool) {
    const PAUSE: Duration = Duration::from_millis(1);
    while !is_so() && core.node.phase() < Phase::Stopping {
        glommio::timer::sleep(PAUSE).await;
    }
}

/// Hands the leaderships of this executor's groups over, if there is somebody to take them.
async fn hand_over(core: &Core) {
    const PAUSE: Duration = Duration::from_millis(5);
    let begun = Instant::now();
    while !core.hand_over() && begun.elapsed() < core.node.config.election {
        glommio::timer::sleep(PAUSE).await;
    }
}

/// Lets connections finish what they have begun.
async fn drain(core: &Rc<Core>, registry: &Rc<Registry>) {
    const PAUSE: Duration = Duration::from_millis(5);
    let begun = Instant::now();
    core.note_clock();
    let mut reported = false;
    // Connections of other executors may still wait for this one's shards.
    while !core.node.all_drained() {
        if !reported && registry.len() == 0 && core.is_quiet() {
            reported = true;
            core.node.report_drained();
        }
        let patience = if core.node.is_removed() { REMOVED } else { DRAIN };
        if begun.elapsed() > patience {
            if registry.len() > 0 {
                tracing::warn!(target: "uetcd", "{} connections are cut, they did not end in time", registry.len());
            }
            break;
        }
        if begun.elapsed() > HEARING {
            registry.hear_no_more();
        }
        registry.wake_all();
        glommio::timer::sleep(PAUSE).await;
    }
}
