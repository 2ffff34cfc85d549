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

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

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
        let written = File::create(&self.file).and_then(|mut file| {
            writeln!(file, "{}{levels}", self.text)?;
            file.sync_all()?;
            File::open(dir)?.sync_all()
        });
        written.map_err(|error| {
            let _ = fs::remove_file(&self.file);
            unmake(&made);
            fatal(format!("cannot write {}: {}", self.file.display(), go_reason(&error)))
        })
    }

    /// Takes it away if it is there, with what was made for it: the registration is void.
    pub(super) fn undo(&self) -> Result<(), Exit> {
        if self.is_there() { undo(&self.file) } else { Ok(()) }
    }
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
