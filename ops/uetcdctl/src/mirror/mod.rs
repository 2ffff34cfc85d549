//! `mirror`: copies a running cluster's keys into another, and follows its changes.
//!
//! One round is: list the source, list the copy, make good what differs, then apply every event from the listing's index on. When the source has
//! forgotten events that were not read yet, or one of the two is another cluster than before or has begun anew, the next round begins. Hidden keys
//! (`_name`) are in no listing and in no recursive watch, though in the history that a watch may begin with: they are left alone, unless their
//! directory is the one to copy.

mod apply;
mod diff;
mod event;
mod follow;
mod identity;
mod life;
mod lookout;
mod mark;
mod progress;
mod refresh;
mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::{Client, Deadline, Error, Keys, Node};
use crate::commands::Call;
use crate::failed::{Code, Failed};
use apply::Applier;
use event::Event;
use follow::HistoryLost;
use identity::{Kinship, Place, cluster, kinship};
use life::Life;
use lookout::Lookout;
use mark::Mark;
use progress::Progress;
use refresh::Leases;
use state::{Kept, State};

/// Longest wait for a listing: a large tree takes a while.
const LISTING_PATIENCE: Duration = Duration::from_mins(5);
/// Pause before the source is asked again after it could not be reached.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What is copied to where.
#[derive(Debug)]
struct Plan {
    /// The directory to copy, without a slash at its end; empty for the root.
    from: String,
    /// What replaces it in the copy's keys.
    to: String,
    /// Leave alone what only the copy has.
    keep: bool,
    once: bool,
    workers: usize,
}

impl Plan {
    /// What follows the mirrored directory in one of the source's keys. What happens to a directory above it happens to the mirrored one.
    fn below<'a>(&self, source_key: &'a str) -> &'a str {
        source_key.strip_prefix(&self.from).unwrap_or_default()
    }

    /// The copy's key for one of the source's.
    fn key(&self, source_key: &str) -> String {
        format!("{}{}", self.to, self.below(source_key))
    }

    /// Whether one of the two directories is in the other, if they are in one cluster.
    fn overlaps(&self) -> bool {
        let inside = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|below| below.starts_with('/'));
        inside(&self.from, &self.to) || inside(&self.to, &self.from)
    }

    /// Whether an event takes the place of the mirrored directory, whose copy is the root, which nothing can take the place of:
    /// only a comparison helps.
    fn is_beyond_root(&self, event: &Event) -> bool {
        self.key(&event.node().key).is_empty() && (event.is_removal() || !event.node().dir)
    }

    /// Whether no listing of the mirrored directory has this key of the source: a name below it begins with `_`.
    fn is_hidden(&self, source_key: &str) -> bool {
        self.below(source_key).contains("/_")
    }
}

/// Runs the command.
///
/// # Errors
/// Either cluster refuses; the source's being away for a while is none.
pub(crate) fn run(call: &Call) -> Result<(), Failed> {
    let plan = plan(call)?;
    let from = call.flags.text("from");
    if from.is_empty() {
        return Err(Failed::said("Provide the endpoints of the cluster to copy with --from"));
    }
    let source = Arc::new(call.settings.connect_to(from, call.flags.text("from-username"))?);
    let copy = call.settings.connect()?;
    refuse_endpoints(&plan, &source, &copy)?;
    let path = Some(call.flags.text("state")).filter(|path| !path.is_empty()).map(PathBuf::from);
    let state = State::open(path, &plan.from, &plan.to).map_err(Failed::said)?;
    state.save_on_signals().map_err(Failed::said)?;
    let progress = Arc::new(Progress::new());
    let lookout = Arc::new(Lookout::default());
    let session =
        Session { plan: &plan, source: &source, copy: &copy, state: &state, progress: &progress, lookout: &lookout };
    session.run()
}

fn plan(call: &Call) -> Result<Plan, Failed> {
    let from = match call.words.as_slice() {
        [] => String::new(),
        [key] => bare(key),
        _ => return Err(Failed::said("Provide a single directory to copy")),
    };
    let to = match call.flags.text("to") {
        "" => from.clone(),
        key => bare(key),
    };
    let workers = usize::try_from(call.flags.int("workers")).unwrap_or(0).clamp(1, 64);
    Ok(Plan { from, to, keep: call.flags.is_set("keep"), once: call.flags.is_set("once"), workers })
}

/// A mirror of a directory into itself would follow its own changes for ever. Endpoints tell it at once, [`Session::refuse_itself`] under all names.
fn refuse_endpoints(plan: &Plan, source: &Client, copy: &Client) -> Result<(), Failed> {
    let endpoints = copy.endpoints();
    match source.endpoints().iter().find(|endpoint| endpoints.contains(endpoint)) {
        Some(endpoint) if plan.overlaps() => Err(Failed::said(format!(
            "{endpoint} is in both clusters: --from names the one to copy, --endpoints the one to copy into"
        ))),
        _ => Ok(()),
    }
}

fn bare(key: &str) -> String {
    crate::text::clean_path(key).trim_end_matches('/').to_owned()
}

struct Session<'a> {
    plan: &'a Plan,
    source: &'a Arc<Client>,
    copy: &'a Client,
    state: &'a State,
    progress: &'a Arc<Progress>,
    lookout: &'a Arc<Lookout>,
}

impl Session<'_> {
    fn run(&self) -> Result<(), Failed> {
        self.refuse_itself()?;
        let leases = Leases::default();
        let applier = Applier::new(self.plan, self.source, self.copy, &leases, self.lookout);
        std::thread::scope(|scope| {
            let keeper = scope.spawn(|| refresh::keep_alive(self.plan, self.source, self.copy, &leases));
            let watch =
                scope.spawn(|| lookout::keep_watch(self.plan, self.source, self.copy, self.lookout, self.state));
            let result = self.rounds(&applier, &leases);
            leases.close();
            self.lookout.close();
            keeper.join().expect("panics abort");
            watch.join().expect("panics abort");
            result
        })
    }

    fn refuse_itself(&self) -> Result<(), Failed> {
        if !self.plan.overlaps() {
            return Ok(());
        }
        let id = self.of_source(|| cluster(self.source))?;
        if id != cluster(self.copy).map_err(copy_failed)? {
            return Ok(());
        }
        let why = match kinship(self.plan, self.source, self.copy).map_err(copy_failed)? {
            Kinship::Different => return Ok(()),
            Kinship::Same => {
                "--from and --endpoints lead to the same cluster: one names the one to copy, the other the one to copy into"
            }
            Kinship::Unknown => {
                "the two clusters have the same id, and this user may not write what would tell them apart"
            }
        };
        Err(Failed::said(why))
    }

    /// Round after round, until the copy was wanted only once, or the copy fails.
    fn rounds(&self, applier: &Applier<'_>, leases: &Leases) -> Result<(), Failed> {
        let mut resumed = if self.plan.once { None } else { self.state.kept() };
        loop {
            let kept = match resumed.take() {
                Some(kept) => self.resume(kept, applier, leases)?,
                None => None,
            };
            let kept = match kept {
                Some(kept) => kept,
                None => self.copy_all(applier, leases)?,
            };
            if self.plan.once {
                return Ok(());
            }
            self.state.begin(&kept);
            let HistoryLost(why) =
                follow::follow(self.plan, self.source, applier, self.state, self.progress, self.lookout, &kept)?;
            self.progress.say(&format!("{why}: compares everything again"));
        }
    }

    /// Whether an earlier run's place is one in the history of what the source is now, and that run wrote to what the copy is now.
    fn resume(&self, mut kept: Kept, applier: &Applier<'_>, leases: &Leases) -> Result<Option<Kept>, Failed> {
        let goes_on = self.of_source(|| {
            let mut life = kept.life.clone();
            Ok(life.goes_on(self.source, &self.plan.from, &kept.source, true)?.then_some(life))
        })?;
        let is_marked = match &kept.mark {
            Some(mark) => mark.stands(self.copy).map_err(copy_failed)?,
            None => false,
        };
        let begun = Instant::now();
        let (tree, now) = self.of_source(|| listing(self.source, &self.plan.from))?;
        let (here, copy) = listing(self.copy, &self.plan.to).map_err(copy_failed)?;
        for (which, is_known, then, now) in
            [("source", goes_on.is_some(), &kept.source, &now), ("copy", is_marked, &kept.copy, &copy)]
        {
            if !is_known || !then.is_past_of(now) {
                self.progress.say(&format!("the {which} is not what it was: compares everything again"));
                return Ok(None);
            }
        }
        kept.life = goes_on.unwrap_or_default();
        self.progress.say(&format!("goes on at index {}", kept.source.index));
        applier.begin(copy.index);
        // Refreshes meanwhile are in no history, and the copy may have let go what the source has kept. Nor are directories that
        // came with a hidden key.
        let work = diff::differences(self.plan, &diff::unheard(&tree), &here, true);
        applier.make_good(work, begun, self.progress).map_err(copy_failed)?;
        leases.load(self.plan, &tree);
        Ok(Some(kept))
    }

    /// Makes the copy equal to what the source is now.
    fn copy_all(&self, applier: &Applier<'_>, leases: &Leases) -> Result<Kept, Failed> {
        let running = if self.plan.once { Vec::new() } else { life::processes(self.source) };
        let begun = Instant::now();
        let (there, source) = self.of_source(|| listing(self.source, &self.plan.from))?;
        // Before the copy is listed: the mark would not tell of a new beginning that it came after.
        let mark = if self.plan.once { None } else { self.mark(&there).map_err(copy_failed)? };
        let (here, copy) = listing(self.copy, &self.plan.to).map_err(copy_failed)?;
        if self.plan.to.is_empty() && !there.dir {
            let from = &self.plan.from;
            return Err(Failed::said(format!(
                "{from} is a file, and the root of the copy can not be one: name a key with --to"
            )));
        }
        let work = diff::differences(self.plan, &there, &here, self.plan.keep);
        self.progress.begin(work.len());
        applier.begin(copy.index);
        applier.make_good(work, begun, self.progress).map_err(copy_failed)?;
        leases.load(self.plan, &there);
        let mut life = Life::of(running, &there);
        if !self.plan.once {
            life.note_index(self.source, source.index);
        }
        let kept = Kept { source, copy: Place { index: applier.copy_index(), ..copy }, life, mark };
        self.state.begin(&kept);
        self.state.save().map_err(Failed::said)?;
        self.progress.copied(kept.source.index);
        Ok(kept)
    }

    /// Marks the copy: outside of what is copied if that may be, since what is removed in the source takes along all that is below it.
    fn mark(&self, tree: &Node) -> Result<Option<Mark>, Error> {
        let last = self.state.kept().and_then(|kept| kept.mark);
        // Where a file comes, nothing can be below it.
        let directories = ["", &self.plan.to];
        let directories = if tree.dir && !self.plan.to.is_empty() { &directories[..] } else { &directories[..1] };
        Mark::set(self.copy, directories, last, self.state.is_kept())
    }

    /// Asks the source until it answers; only a copy that is made once does not wait for it.
    fn of_source<T>(&self, ask: impl Fn() -> Result<T, Error>) -> Result<T, Failed> {
        loop {
            match ask() {
                Err(error @ (Error::Cluster(_) | Error::EmptyBody)) if !self.plan.once => {
                    self.progress.away(&error);
                    std::thread::sleep(RETRY_PAUSE);
                }
                other => return other.map_err(source_failed),
            }
        }
    }
}

/// A whole tree, and where it was so. A directory that is not there is an empty one.
fn listing(client: &Client, key: &str) -> Result<(Node, Place), Error> {
    let key = if key.is_empty() { "/" } else { key };
    match Keys::new(client).tree(key, Deadline::within(LISTING_PATIENCE)) {
        Ok(response) => Ok((response.node, Place { index: response.index, cluster: response.cluster_id })),
        Err(Error::Api(error)) if error.code == 100 => {
            let nothing = Node { dir: true, ..Node::default() };
            Ok((nothing, Place { index: error.index, cluster: cluster(client)? }))
        }
        Err(error) => Err(error),
    }
}

fn copy_failed(error: Error) -> Failed {
    Failed::error(Code::Server, error)
}

/// The source's endpoints come from another flag than the usual hint names.
fn source_failed(error: Error) -> Failed {
    let mut failed = Failed::error(Code::Server, error);
    if let Some(hint) = failed.hint() {
        failed.text += &["hint: ", &hint.replace("--endpoints", "--from"), "\n"].concat();
        failed.cause = None;
    }
    failed
}
