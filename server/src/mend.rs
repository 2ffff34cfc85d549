//! `--mend-from`: the damaged log of a member that does not run is put together anew from what all the others' disks hold,
//! damaged ones as well.
//!
//! [`crate::repair`] has a damaged member ask those that run. Where a majority is damaged none of them runs, and every one
//! waits. With all of them stopped, what they hold can be laid side by side: see [`log::unite()`] for what is then certain.
//! This one's groups get a log that holds everything that was acknowledged, and a term in which nobody has voted; a member
//! like any other starts from that. What is not certain is refused, and changes nothing.
//!
//! The new log is written beside the old one and counts from the moment on when `identity` says so ([`crate::staging`]), with
//! the snapshots that it needs of others.

mod plan;
mod source;

use std::path::Path;

use log::{DataDir, GroupId, OsDisk, Rewritten, SnapshotHead, read_snapshot, recover, rewrite, write_snapshot};

use crate::birth::Birth;
use crate::config::{Config, Mending};
use crate::failure::Fatal;
use crate::staging;
use crate::stock::apart;
use plan::Plan;
use source::Source;

/// Mends the logs of the member whose directory this is. Blocks.
pub(crate) fn mend(config: &Config, mending: &Mending, data: &DataDir, birth: Birth) -> Result<(), Fatal> {
    apart(|| {
        let Some((sources, plan)) = look(config, mending, data, &birth).map_err(unchanged)? else {
            crate::notice!("wal", "no damage shows in the log of this member, there is nothing to mend: start it");
            return Ok(());
        };
        plan.tell(&sources);
        if mending.dry_run {
            crate::notice!("wal", "this log can be mended. Nothing was changed");
            return Ok(());
        }
        carry_out(config, data, birth, &plan, &sources)
    })
}

/// What there is, and what can be made of it; none: there is nothing to do.
fn look(
    config: &Config,
    mending: &Mending,
    data: &DataDir,
    birth: &Birth,
) -> Result<Option<(Vec<Source>, Plan)>, Fatal> {
    let mut sources = vec![Source::own(config, data, birth)?];
    for dir in &mending.from {
        let other = Source::other(config, birth, dir)?;
        if let Some(same) = sources.iter().find(|known| known.birth.member == other.birth.member) {
            return Err(refused(&format!("{} and {} are of the same member", same.dir.display(), dir.display())));
        }
        sources.push(other);
    }
    // Also of a whole one: it may be an older copy.
    let promises = plan::keep_promises(&sources)?;
    if sources[0].is_whole() {
        return Ok(None);
    }
    let plan = Plan::make(birth, &sources, &promises)?;
    Ok(Some((sources, plan)))
}

const UNCHANGED: &str = "Nothing was changed";

/// Why nothing was done.
fn refused(why: &str) -> Fatal {
    Fatal::Other(format!("-mend-from: {why}. {UNCHANGED}"))
}

/// The same of what does not say so itself.
fn unchanged(fatal: Fatal) -> Fatal {
    match fatal {
        Fatal::Other(text) if !text.contains(UNCHANGED) => refused(&text),
        fatal => fatal,
    }
}

fn carry_out(config: &Config, data: &DataDir, birth: Birth, plan: &Plan, sources: &[Source]) -> Result<(), Fatal> {
    prepare(config, data, &birth, plan, sources).inspect_err(|_| {
        // A start does that as well; until then it only takes space.
        let _ = data.drop_staged();
        let _ = data.drop_mended(&config.log_dir());
    })?;
    let birth = Birth { staged: true, promised_to: Vec::new(), outdated: false, ..birth };
    birth.write(data)?;
    staging::settle(config, data, birth)?;
    crate::notice!("wal", "the log is mended: start this member when those that have to be mended, too, are");
    Ok(())
}

/// Writes all that is to be taken over.
fn prepare(config: &Config, data: &DataDir, birth: &Birth, plan: &Plan, sources: &[Source]) -> Result<(), Fatal> {
    borrow(&data.stage()?, plan, sources)?;
    let mended = data.begin_mended(&config.log_dir())?;
    write(&mended, birth, plan, &sources[0])?;
    check(&mended, birth, plan)
}

/// Copies the snapshots that this member does not have itself. Twice: no log could take the place of one that rots.
fn borrow(dir: &Path, plan: &Plan, sources: &[Source]) -> Result<(), Fatal> {
    let failed = |error: log::SnapshotError| Fatal::Other(error.to_string());
    for (group, united) in &plan.groups {
        let (Some(lender), Some(position)) = (united.borrowed, united.log.base) else { continue };
        let Some(file) = sources[lender].snapshot(*group, position) else { continue };
        let (_, pieces) = read_snapshot(file).map_err(failed)?;
        for copy in [false, true] {
            let head = SnapshotHead { group: *group, position };
            write_snapshot(dir, head, copy, &pieces).map_err(failed)?;
        }
        crate::notice!("snap", "shard {group}: {} is copied", file.display());
    }
    Ok(())
}

fn write(dir: &Path, birth: &Birth, plan: &Plan, own: &Source) -> Result<(), Fatal> {
    let rewritten =
        plan.groups.iter().map(|(group, united)| Rewritten { group: *group, log: &united.log, from: united.from });
    let groups: Vec<Rewritten<'_>> = rewritten.collect();
    let all = groups.len();
    let mut done = 0;
    let mut pace = |_| {
        done += 1;
        if done % 16 == 0 || done == all {
            crate::notice!("wal", "{done} of {all} shards are written");
        }
    };
    let failed = |error: std::io::Error| {
        Fatal::Other(format!("the log in {} can not be written: {error}. The old one is as it was", dir.display()))
    };
    rewrite(dir, birth.log_identity(), &own.salvage, &groups, &mut pace).map_err(failed)
}

/// Reads back what was written: a start must find exactly that.
fn check(dir: &Path, birth: &Birth, plan: &Plan) -> Result<(), Fatal> {
    let base = |group: GroupId| plan.groups.get(&group).and_then(|united| united.log.base);
    let recovered = recover(&OsDisk::default(), dir, birth.log_identity(), &base)?;
    for (group, united) in &plan.groups {
        let mut want = united.log.clone();
        want.entries.retain(|entry| want.base.is_none_or(|base| entry.index > base.index));
        if recovered.groups.get(group) != Some(&want) {
            return Err(Fatal::Other(format!(
                "the log in {} does not read back as it was written (shard {group}). Check the disk; the old log is as it was",
                dir.display()
            )));
        }
    }
    Ok(())
}
