//! What a member notes in its data directory when it registers, so that it may go on waiting after it was ended meanwhile.
//!
//! Without the note an own entry in the registry means that a start before this one may have founded the cluster, and that
//! what it wrote is lost: then it must not found it again. With the note nothing was founded, for the note goes when the
//! member is born.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use super::super::{Config, Exit, go_reason};

/// Its name in the data directory.
pub(crate) const NAME: &str = "discovery";

/// The note of one registration.
pub(super) struct Note {
    file: PathBuf,
    text: String,
}

impl Note {
    /// That of the member `id` at this URL.
    pub(super) fn new(config: &Config, url: &str, id: &str) -> Self {
        Self { file: config.data_dir.join(NAME), text: format!("{url}\n{id}\n") }
    }

    /// Whether it was written. A note of another registration does not count.
    pub(super) fn is_there(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|text| text == self.text)
    }

    /// Writes it; durable when it returns.
    pub(super) fn write(&self) -> Result<(), Exit> {
        let written = File::create(&self.file).and_then(|mut file| {
            file.write_all(self.text.as_bytes())?;
            file.sync_all()?;
            self.file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
        });
        written.map_err(|error| {
            let file = self.file.display();
            Exit::critical("discovery", format!("cannot write {file}: {}", go_reason(&error)))
        })
    }
}

/// Takes the note away: the member is born, or has no place in the cluster.
pub(crate) fn forget(config: &Config) -> Result<(), Exit> {
    let file = config.data_dir.join(NAME);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let file = file.display();
            Err(Exit::critical("discovery", format!("cannot remove {file}: {}", go_reason(&error))))
        }
        _ => Ok(()),
    }
}
