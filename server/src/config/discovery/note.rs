//! What a member notes in its data directory when it registers, so that it may go on waiting after it was ended meanwhile.
//!
//! Without the note an own entry in the registry means that a start before this one may have founded the cluster, and that
//! what it wrote is lost: then it must not found it again. With the note nothing was founded, for the note goes when the
//! member is born.
//!
//! ```text
//! URL of the registry
//! id of the member
//! number of directories made for it, the data directory being the last
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::super::prepare::{make, unmake};
use super::super::{Config, Exit, go_reason};

/// Its name in the data directory.
pub(crate) const NAME: &str = "discovery";

/// The note of one registration.
pub(super) struct Note {
    file: PathBuf,
    /// URL and id.
    text: String,
}

impl Note {
    /// That of the member `id` at this URL.
    pub(super) fn new(config: &Config, url: &str, id: &str) -> Self {
        Self { file: config.data_dir.join(NAME), text: format!("{url}\n{id}\n") }
    }

    /// Whether it was written. A note of another registration does not count.
    pub(super) fn is_there(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|text| text.starts_with(&self.text))
    }

    /// Writes it, and makes the data directory if it is missing; durable when it returns.
    pub(super) fn write(&self) -> Result<(), Exit> {
        let dir = self.file.parent().unwrap_or(Path::new("."));
        let fatal = |text| Exit::critical("discovery", text);
        let made = make(dir).map_err(|text| fatal(format!("cannot access data directory: {text}")))?;
        // What was made for another registration was not there before either.
        let levels = made_for(&self.file).unwrap_or(made.len());
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&self.file);
        let failed = |error: io::Error| {
            let _ = fs::remove_file(&self.file);
            unmake(&made);
            fatal(format!("cannot write {}: {}", self.file.display(), go_reason(&error)))
        };
        let mut file = opened.map_err(failed)?;
        hold(&file, &self.file)?;
        let mut write = || {
            file.set_len(0)?;
            writeln!(file, "{}{levels}", self.text)?;
            file.sync_all()?;
            File::open(dir)?.sync_all()
        };
        write().map_err(failed)
    }

    /// Takes it away if it is there, with what was made for it: the registration is void.
    pub(super) fn undo(&self) -> Result<(), Exit> {
        if self.is_there() { undo(&self.file) } else { Ok(()) }
    }
}

/// Makes the note of an earlier start this process's, if there is one. Whoever waits for the others has no data that it could lock.
///
/// # Errors
/// Another process waits in this directory.
pub(crate) fn claim(config: &Config) -> Result<(), Exit> {
    let path = config.data_dir.join(NAME);
    // What can not be opened can not be written either, which is said when it is tried.
    OpenOptions::new().write(true).open(&path).map_or(Ok(()), |file| hold(&file, &path))
}

/// Locks the note until the process ends, or holds it already.
fn hold(file: &File, path: &Path) -> Result<(), Exit> {
    static HELD: Mutex<Option<File>> = Mutex::new(None);
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held.is_some() {
        return Ok(());
    }
    let locked = file.try_clone().and_then(|file| match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    });
    let error = match locked {
        Ok(Some(file)) => {
            *held = Some(file);
            return Ok(());
        }
        Ok(None) => ::log::DirError::AlreadyLocked(path.to_owned()).to_string(),
        Err(error) => format!("cannot lock {}: {}", path.display(), go_reason(&error)),
    };
    Err(Exit::critical("etcdserver", error))
}

/// Takes the note away: the member is born.
pub(crate) fn forget(config: &Config) -> Result<(), Exit> {
    remove(&config.data_dir.join(NAME))
}

/// Takes the note away if there is one, with the directories that were made for it and hold nothing else: nobody is born.
pub(crate) fn abandon(config: &Config) -> Result<(), Exit> {
    undo(&config.data_dir.join(NAME))
}

fn undo(file: &Path) -> Result<(), Exit> {
    let levels = made_for(file).unwrap_or(0);
    remove(file)?;
    let mut made: Vec<PathBuf> = file.ancestors().skip(1).take(levels).map(Path::to_owned).collect();
    made.reverse();
    unmake(&made);
    Ok(())
}

/// How many directories were made for a note; `None` if it is not there.
fn made_for(file: &Path) -> Option<usize> {
    let text = fs::read_to_string(file).ok()?;
    // Older notes do not say so.
    Some(text.lines().nth(2).and_then(|levels| levels.parse().ok()).unwrap_or(0))
}

fn remove(file: &Path) -> Result<(), Exit> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let file = file.display();
            Err(Exit::critical("discovery", format!("cannot remove {file}: {}", go_reason(&error))))
        }
        _ => Ok(()),
    }
}
