//! `backup`: of a running cluster through its API, or of the directory of a member that does not run.
//!
//! etcd's backup is a data directory; uetcd's is one file, which `uetcd --restore-backup` starts from.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Call;
use crate::client::{Client, Error, Method, Request};
use crate::failed::{Code, Failed};
use crate::screen;

/// The file's name in the directory of `--backup-dir`.
const FILE: &str = "uetcd.backup";

pub(super) fn run(call: &Call) -> Result<(), Failed> {
    let text = |flag| call.flags.text(flag);
    if text("backup-dir").is_empty() {
        return Err(Failed::said("Provide the directory for the backup with --backup-dir"));
    }
    if !text("backup-wal-dir").is_empty() {
        return Err(Failed::said("--backup-wal-dir: the log is in the one file of the backup; leave this flag out"));
    }
    let directory = Path::new(text("backup-dir"));
    fs::create_dir_all(directory).map_err(|e| said(directory, &e))?;
    let target = directory.join(FILE);
    if target.exists() {
        return Err(Failed::said(format!("{}: file already exists", target.display())));
    }
    if text("data-dir").is_empty() {
        from_cluster(&call.settings.connect_unsynced()?, &target)
    } else {
        from_directory(text("data-dir"), text("wal-dir"), &target)
    }
}

/// Asks one endpoint after the other until one of them gives a whole backup.
fn from_cluster(client: &Client, target: &Path) -> Result<(), Failed> {
    let part = target.with_extension("part");
    let mut attempts = Vec::new();
    for endpoint in client.endpoints() {
        let file = create(&part)?;
        let request = Request::new(Method::Get, "/uetcd/backup");
        match client.wire().download(&endpoint, &request, &mut &file) {
            Ok(index) => {
                file.sync_all().map_err(|e| said(&part, &e))?;
                fs::rename(&part, target).and_then(|()| sync_directory(target)).map_err(|e| said(target, &e))?;
                screen::say(format_args!("Backup of {endpoint} at index {index} is in {}", target.display()));
                return Ok(());
            }
            Err(Error::Cluster(mut failed)) => attempts.append(&mut failed),
            Err(other) => return Err(discard(&part, other)),
        }
    }
    Err(discard(&part, Error::Cluster(attempts)))
}

fn discard(part: &Path, error: Error) -> Failed {
    // Best effort: the next backup overwrites it.
    let _ = fs::remove_file(part);
    Failed::error(Code::BadArguments, error)
}

fn create(part: &Path) -> Result<File, Failed> {
    OpenOptions::new().write(true).create(true).truncate(true).open(part).map_err(|e| said(part, &e))
}

fn sync_directory(target: &Path) -> io::Result<()> {
    target.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn said(path: &Path, error: &io::Error) -> Failed {
    Failed::said(format!("{}: {error}", path.display()))
}

/// Only the server reads its own log, so this is `uetcd --write-backup`.
fn from_directory(data: &str, wal: &str, target: &Path) -> Result<(), Failed> {
    let server = server_program();
    let mut command = Command::new(&server);
    command.arg("--data-dir").arg(data).arg("--write-backup").arg(target);
    if !wal.is_empty() {
        command.arg("--wal-dir").arg(wal);
    }
    let status = command.status().map_err(|e| {
        Failed::said(format!("{}: {e}; a directory is backed up by uetcd, which has to be installed", server.display()))
    })?;
    if status.success() { Ok(()) } else { Err(Failed::silent(Code::BadArguments)) }
}

/// The server that was installed beside this program, else the one on the search path.
fn server_program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("uetcd"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("uetcd"))
}
