//! A member of a cluster whose log is damaged, or older than it was, goes on without an operator: the others have what it held.
//!
//! Its logs are set aside, and it starts from its snapshots like one that has lost its data: it asks for what it lacks, and
//! has no part in decisions before it holds what the others had committed, for it may have forgotten what it promised. That
//! is written down before the first log is touched, so a crash at any point leaves the damaged member, or the forgetful one.
//!
//! A node without others refuses to start, and so does one that reaches none of them: nothing would take the place of what
//! is set aside.

use std::time::{Duration, Instant};

use log::{BegunLogs, DataDir, RecoveryError};

use crate::birth::Birth;
use crate::config::{self, Config, Url};
use crate::failure::Fatal;
use crate::identity::{ClusterId, MemberId};
use crate::logging;
use crate::recovery::{self, Found, Unread};

/// How long the others are asked for: they may be about to start, too.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// What a start goes on with.
pub(crate) struct ReadBack {
    pub(crate) found: Found,
    /// As it was, or as one that has forgotten something.
    pub(crate) birth: Birth,
    /// The log was damaged, and does not count any more.
    pub(crate) repaired: bool,
}

/// Reads everything back, if need be without the logs. Blocks.
pub(crate) fn read_back(
    config: &Config,
    data: &DataDir,
    birth: Birth,
    noted: Option<BegunLogs>,
) -> Result<ReadBack, Fatal> {
    if birth.outdated {
        return outdated(config, data, birth);
    }
    let damage = match recovery::read_back(config, &birth, noted) {
        Ok(found) => return Ok(ReadBack { found, birth, repaired: false }),
        Err(Unread::Log(error)) if error.is_damage() => error,
        Err(unread) => return Err(unread.into()),
    };
    let refused = || Fatal::Other(damage.to_string());
    if urls_of_others(&birth).is_empty() {
        return Err(refused());
    }
    match &damage {
        // What an operator is to do otherwise is done here.
        RecoveryError::Damaged(damage) => tracing::error!(target: "wal", "{damage}"),
        other => tracing::error!(target: "wal", "{other}"),
    }
    tracing::warn!(target: "wal", "the log of this member is damaged: the other members are asked to stand in for it");
    let birth = forget(config, data, birth, "damaged")?.ok_or_else(refused)?;
    let found = recovery::read_back(config, &birth, None)?;
    Ok(ReadBack { found, birth, repaired: true })
}

/// What goes on with an older disk: as with a damaged log, and what was begun is done again after a crash.
fn outdated(config: &Config, data: &DataDir, birth: Birth) -> Result<ReadBack, Fatal> {
    tracing::warn!(
        target: "wal",
        "the disk of this member is older than what it has promised: the other members are asked to stand in for its log"
    );
    let refused = || Fatal::Other("an older disk was put in the place of this member's".to_owned());
    let birth = forget(config, data, birth, "older")?.ok_or_else(refused)?;
    let birth = Birth { outdated: false, ..birth };
    birth.write(data)?;
    let found = recovery::read_back(config, &birth, None)?;
    Ok(ReadBack { found, birth, repaired: false })
}

/// Makes this member one that has lost its log, which was `what`; none: nobody answers who would stand in for it.
fn forget(config: &Config, data: &DataDir, birth: Birth, what: &str) -> Result<Option<Birth>, Fatal> {
    let Some(promised_to) = ask(&birth, &urls_of_others(&birth)) else {
        tracing::error!(target: "wal", "no other member answers: start this one again when a majority of them runs");
        return Ok(None);
    };
    let birth = Birth { joined: true, promised_to, ..birth };
    birth.write(data)?;
    for aside in data.set_logs_aside(&config.log_dir())? {
        tracing::warn!(target: "wal", "the {what} log is now {}; it can be removed", aside.display());
    }
    Ok(Some(birth))
}

fn urls_of_others(birth: &Birth) -> Vec<Url> {
    let others = birth.founders.iter().filter(|founder| founder.id != birth.member);
    others.flat_map(|founder| &founder.peer_urls).filter_map(|url| Url::parse(url).ok()).collect()
}

/// Whom this member may have promised something. Who has only just started himself does not know yet.
fn ask(birth: &Birth, urls: &[Url]) -> Option<Vec<u64>> {
    let begun = Instant::now();
    let own = (ClusterId::from(birth.cluster), MemberId::from(birth.member));
    loop {
        let mut log = Vec::new();
        let others = config::promised_to(own, urls, &config::fetch, &mut log).filter(|others| !others.is_empty());
        if others.is_some() || begun.elapsed() >= PATIENCE {
            log.iter().for_each(logging::emit);
            return others;
        }
        std::thread::sleep(PAUSE);
    }
}
