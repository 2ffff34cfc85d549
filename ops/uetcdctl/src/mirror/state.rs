//! How far the copy has got, in a file that survives the process.

use std::fs::{self, File, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::identity::Place;
use super::life::{Life, Witness};
use super::mark::Mark;

/// The file is at most so much behind; what lies between is repeated after a crash.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How far an earlier run has got.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Kept {
    /// Everything up to here is in the copy.
    #[serde(flatten)]
    pub(super) source: Place,
    /// Where the copy was when that had been written. Older files do not say so.
    #[serde(default)]
    pub(super) copy: Place,
    /// What tells whether the source still is what was copied.
    #[serde(default)]
    pub(super) life: Life,
    /// The same for the copy, if it may have a mark.
    #[serde(default)]
    pub(super) mark: Option<Mark>,
}

/// The file. What is mirrored to where stands in it, so that it is not used for anything else.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
struct Content {
    from: String,
    to: String,
    #[serde(flatten)]
    kept: Option<Kept>,
}

/// The state, and the file that it is saved to if there is one.
#[derive(Clone, Debug)]
pub(super) struct State {
    path: Option<PathBuf>,
    content: Arc<Mutex<(Content, Instant)>>,
    /// Held as long as the state is in use.
    _lock: Option<Arc<File>>,
}

impl State {
    /// Reads the file, if it is there.
    ///
    /// # Errors
    /// It can not be read, is no state, is that of another mirror, or another process uses it.
    pub(super) fn open(path: Option<PathBuf>, from: &str, to: &str) -> Result<Self, String> {
        let fresh = Content { from: from.to_owned(), to: to.to_owned(), kept: None };
        let lock = path.as_deref().map(lock).transpose()?;
        let content = match &path {
            Some(path) if path.exists() => load(path, &fresh)?,
            _ => fresh,
        };
        Ok(Self { path, content: Arc::new(Mutex::new((content, Instant::now()))), _lock: lock.map(Arc::new) })
    }

    fn lock(&self) -> MutexGuard<'_, (Content, Instant)> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an earlier run ended.
    pub(super) fn kept(&self) -> Option<Kept> {
        self.lock().0.kept.clone()
    }

    /// Notes what was copied, or is gone on with.
    pub(super) fn begin(&self, kept: &Kept) {
        self.lock().0.kept = Some(kept.clone());
    }

    /// Notes that everything up to the last of these changes is in the copy, and where that is now.
    pub(super) fn advance(&self, source: u64, copy: u64, last: impl Iterator<Item = Witness>) {
        if let Some(kept) = &mut self.lock().0.kept {
            (kept.source.index, kept.copy.index) = (source, copy);
            last.for_each(|witness| kept.life.note(witness));
        }
    }

    /// Notes by what source and copy will be known, now that they were known. Whether that is news.
    pub(super) fn prove(&self, life: &Life, mark: Option<Mark>) -> bool {
        let Some(kept) = &mut self.lock().0.kept else { return false };
        let is_marked_anew = kept.mark != mark;
        kept.mark = mark;
        kept.life.take(life) || is_marked_anew
    }

    /// Whether the next run can know of it.
    pub(super) fn is_kept(&self) -> bool {
        self.path.is_some()
    }

    /// Saves, unless that was done a moment ago.
    pub(super) fn save_now_and_then(&self) -> Result<(), String> {
        if self.lock().1.elapsed() < SAVE_EVERY { Ok(()) } else { self.save() }
    }

    /// Saves.
    ///
    /// # Errors
    /// The file can not be written.
    pub(super) fn save(&self) -> Result<(), String> {
        let mut guard = self.lock();
        guard.1 = Instant::now();
        let Some(path) = &self.path else { return Ok(()) };
        if guard.0.kept.is_none() {
            return Ok(());
        }
        let text = serde_json::to_string(&guard.0).expect("strings and numbers");
        replace(path, &text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// On SIGINT and SIGTERM, saves and ends the process, with status 0 if the copy was complete.
    pub(super) fn save_on_signals(&self) -> Result<(), String> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| format!("signals can not be caught: {e}"))?;
        let state = self.clone();
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                let code = match state.save() {
                    Ok(()) => {
                        let complete = state.kept().is_some();
                        if !complete {
                            let next = "the next run compares everything, and copies what is missing";
                            crate::screen::complain(&format!("mirror: ended before the copy was complete: {next}\n"));
                        }
                        i32::from(!complete)
                    }
                    Err(why) => {
                        crate::screen::complain(&format!("{why}\n"));
                        1
                    }
                };
                std::process::exit(code);
            }
        });
        Ok(())
    }
}

/// Keeps other processes from using the same file: each would go on from where the other one is.
fn lock(path: &Path) -> Result<File, String> {
    // Beside it, as the file itself is another one after each save.
    let beside = path.with_extension("lock");
    let file = File::create(&beside).map_err(|e| format!("{}: {e}", beside.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(format!("{}: another mirror uses it; name another file for each", path.display()))
        }
        Err(TryLockError::Error(e)) => Err(format!("{}: {e}", beside.display())),
    }
}

fn load(path: &Path, fresh: &Content) -> Result<Content, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let content: Content =
        serde_json::from_str(&text).map_err(|e| format!("{}: not the state of a mirror: {e}", path.display()))?;
    if (&content.from, &content.to) != (&fresh.from, &fresh.to) {
        return Err(format!(
            "{}: the state of another mirror, of {}/ to {}/; remove it, or name another file",
            path.display(),
            content.from,
            content.to
        ));
    }
    Ok(content)
}

/// Either the old text is in the file afterwards, or the new one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let part = path.with_extension("part");
    let mut file = File::create(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Node;

    #[test]
    fn what_was_saved_is_found_again_and_only_by_the_same_mirror() {
        let home = tempfile::tempdir().expect("a directory");
        let path = Some(home.path().join("state.json"));
        let state = State::open(path.clone(), "/a", "/b").expect("no file yet");
        assert_eq!(state.kept(), None);
        let kept = Kept {
            source: Place { index: 7, cluster: "cdf8".into() },
            copy: Place { index: 9, cluster: "b66e".into() },
            life: Life::of(vec!["a since then".into()], &Node { key: "/a/k".into(), ..Node::default() }),
            mark: Some(Mark::default()),
        };
        state.begin(&Kept { source: Place { index: 5, ..kept.source.clone() }, ..Kept::default() });
        state.begin(&Kept { life: Life::default(), mark: None, ..kept.clone() });
        state.advance(7, 9, std::iter::empty());
        assert!(state.prove(&kept.life, kept.mark.clone()) && !state.prove(&kept.life, kept.mark.clone()));
        state.save().expect("saved");
        let error = State::open(path.clone(), "/a", "/b").expect_err("it is in use");
        assert!(error.ends_with("another mirror uses it; name another file for each"), "{error}");
        drop(state);
        assert_eq!(State::open(path.clone(), "/a", "/b").expect("read").kept(), Some(kept));
        assert!(State::open(path.clone(), "/a", "/c").is_err());
        let file = path.as_deref().expect("a path");
        fs::write(file, r#"{"from":"/a","to":"/b","index":7,"cluster":"cdf8"}"#).expect("written");
        let old = State::open(path.clone(), "/a", "/b").expect("read").kept().expect("a place");
        assert_eq!((old.source.index, old.copy), (7, Place::default()), "written before the copy was in it");
        assert_eq!((old.life, old.mark), (Life::default(), None));
        fs::write(file, "{").expect("written");
        assert!(State::open(path, "/a", "/b").is_err());
    }
}
