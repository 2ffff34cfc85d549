//! The data directory: whose it is, and whether it can be written.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::super::discovery::note;
use super::super::{Bootstrap, Config, Exit, ProxyMode, go_reason};
use crate::logging::{LogLine, Severity};

/// What the process is, by what its data directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Of a cluster.
    Member,
    /// Of a cluster that it is no member of.
    Proxy,
}

/// Looks what the process is, and changes nothing. A directory that was used stays what it was, whatever `--proxy` says.
/// The lines are those to be logged of a proxy's directory; [`directory`] has them of a member's.
///
/// Source: etcd 2.3, its texts included.
pub(crate) fn role(config: &Config) -> Result<(Role, Vec<LogLine>), Exit> {
    let mut log = Vec::new();
    let role = identify(config, &mut log)?;
    Ok((role, log))
}

/// A data directory that can be used.
#[derive(Debug)]
pub(crate) struct Directory {
    /// There is a log: the member restarts, and ids and membership come from the disk.
    pub(crate) has_data: bool,
    /// What is to be logged about it.
    pub(crate) log: Vec<LogLine>,
}

/// Looks at the data directory, and whether it could be made and written. A start that fails before there is data leaves
/// nothing behind, so what is missing is made later ([`member_directories`]): there may be no cluster to be found, or no place
/// in it.
///
/// Source: etcd 2.3, its texts included. Not etcd's: a directory with snapshots but no log is refused (etcd starts
/// empty, so a forgotten `--wal-dir` loses everything), and so is a directory that etcd itself has written.
pub(crate) fn directory(config: &Config) -> Result<Directory, Exit> {
    let mut log = Vec::new();
    identify(config, &mut log)?;
    note::claim(config)?;
    let has_data = has_entries(&config.log_dir())?;
    if !has_data && has_entries(&config.snapshot_dir())? {
        let (snapshots, wal) = (config.snapshot_dir(), config.log_dir());
        let (snapshots, wal) = (snapshots.display(), wal.display());
        let text = format!(
            "there are snapshots in {snapshots} but no log in {wal}: set -wal-dir to where the log is, or move the data away"
        );
        return Err(Exit::critical("etcdserver", text));
    }
    probe(&config.data_dir)?;
    let ignored = match &config.bootstrap {
        Bootstrap::Static(_) => None,
        Bootstrap::Discovery(_) => Some("discovery token"),
        Bootstrap::Srv(_) => Some("DNS SRV discovery"),
    };
    if let Some(what) = ignored.filter(|_| has_data) {
        let wal = config.log_dir();
        let text = format!(
            "{what} ignored since a cluster has already been initialized. Valid log found at \"{}\"",
            wal.display()
        );
        log.push(LogLine::new(Severity::Warning, "etcdserver", text));
    }
    if has_data && !config.initial_flags.is_empty() {
        let flags: Vec<String> = config.initial_flags.iter().map(|flag| format!("-{flag}")).collect();
        let text = format!(
            "{} ignored since a cluster has already been initialized. Valid log found at \"{}\"",
            flags.join(", "),
            config.log_dir().display()
        );
        log.push(LogLine::new(Severity::Info, "etcdserver", text));
    }
    Ok(Directory { has_data, log })
}

/// What `DATA` holds decides what the process is.
fn identify(config: &Config, log: &mut Vec<LogLine>) -> Result<Role, Exit> {
    let dir = config.data_dir.display();
    let listed = names(&config.data_dir);
    // etcd leaves the reason out.
    let unlisted = |error| format!("error listing data dir: {dir}: {}", go_reason(&error));
    let names = listed.map_err(|error| Exit::critical("etcdmain", unlisted(error)))?;
    let has = |name: &str| names.iter().any(|found| found == name);
    for name in names.iter().filter(|name| !["member", "proxy", note::NAME].contains(&name.as_str())) {
        let text =
            format!("found invalid file/dir {name} under data dir {dir} (Ignore this if you are upgrading etcd)");
        log.push(LogLine::new(Severity::Warning, "etcdmain", text));
    }
    match (has("member"), has("proxy")) {
        (true, true) => Err(Exit::critical("etcdmain", "invalid datadir. Both member and proxy directories exist.")),
        (false, true) => {
            let text = "the server is already initialized as proxy before, starting as etcd proxy...";
            log.push(LogLine::new(Severity::Notice, "etcdmain", text));
            Ok(Role::Proxy)
        }
        (true, false) if written_by_etcd(config) => {
            let text =
                format!("data dir {dir} was written by etcd, whose files uetcd cannot read: choose another -data-dir");
            Err(Exit::critical("etcdmain", text))
        }
        (true, false) => {
            let text = "the server is already initialized as member before, starting as etcd member...";
            log.push(LogLine::new(Severity::Notice, "etcdmain", text));
            Ok(Role::Member)
        }
        (false, false) if config.proxying.mode == ProxyMode::Off => Ok(Role::Member),
        // A member waits in it for its cluster, or will again: as good as its data.
        (false, false) if has(note::NAME) => Ok(Role::Member),
        (false, false) => Ok(Role::Proxy),
    }
}

/// etcd names its log files by two numbers of 16 hex digits, and keeps a database from 3.0 on.
fn written_by_etcd(config: &Config) -> bool {
    let is_log = |name: &String| {
        let stem = name.strip_suffix(".wal").unwrap_or_default();
        let is_number = |text: &str| text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        stem.split_once('-').is_some_and(|(number, index)| is_number(number) && is_number(index))
    };
    config.snapshot_dir().join("db").exists() || names(&config.log_dir()).is_ok_and(|names| names.iter().any(is_log))
}

fn has_entries(dir: &Path) -> Result<bool, Exit> {
    let listed = names(dir).map(|names| !names.is_empty());
    listed.map_err(|error| Exit::critical("etcdserver", format!("open {}: {}", dir.display(), go_reason(&error))))
}

/// The names in a directory, sorted; none if it is not there.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Makes a proxy's directory. What a start as a member has made and not used goes.
pub(crate) fn proxy_directory(config: &Config) -> Result<(), Exit> {
    // Each of them only if it is empty.
    for unused in [config.member_dir().join("wal"), config.member_dir().join("snap"), config.member_dir()] {
        let _ = fs::remove_dir(unused);
    }
    let dir = config.proxy_dir();
    let made = make(&dir).and_then(|_| touch(&dir));
    made.map_err(|text| Exit::critical("etcdmain", format!("cannot access data directory: {text}")))
}

/// Makes what a member keeps its data in (mode 0700; what exists keeps its mode).
pub(crate) fn member_directories(config: &Config) -> Result<(), Exit> {
    [config.member_dir(), config.snapshot_dir(), config.log_dir()].iter().try_for_each(|dir| create(dir, "member"))
}

fn create(dir: &Path, what: &str) -> Result<(), Exit> {
    let made = make(dir).and_then(|_| touch(dir));
    made.map_err(|text| unusable(what, &text))
}

/// Proves that the data directory can be made and written, and leaves it as it was.
fn probe(dir: &Path) -> Result<(), Exit> {
    let made = make(dir).map_err(|text| unusable("data", &text))?;
    let touched = touch(dir);
    unmake(&made);
    touched.map_err(|text| unusable("data", &text))
}

fn unusable(what: &str, text: &str) -> Exit {
    Exit::critical("etcdserver", format!("cannot access {what} directory: {text}"))
}

/// Makes a directory and what is missing above it: what was made, parents first. The error names the one that failed, and
/// then nothing is made.
pub(crate) fn make(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut missing: Vec<&Path> =
        dir.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).collect();
    missing.reverse();
    let mut made = Vec::new();
    for dir in missing {
        match DirBuilder::new().mode(0o700).create(dir) {
            Ok(()) => made.push(dir.to_owned()),
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists || !dir.is_dir() => {
                unmake(&made);
                return Err(format!("mkdir {}: {}", dir.display(), go_reason(&error)));
            }
            Err(_) => {}
        }
    }
    Ok(made)
}

/// Takes what [`make`] has made away again, as far as nobody has put anything into it.
pub(crate) fn unmake(made: &[PathBuf]) {
    for dir in made.iter().rev() {
        let _ = fs::remove_dir(dir);
    }
}

/// Proves that files can be made in a directory.
fn touch(dir: &Path) -> Result<(), String> {
    let file = dir.join(".touch");
    let touched = File::create(&file).and_then(|_| fs::remove_file(&file));
    touched.map_err(|error| format!("open {}: {}", file.display(), go_reason(&error)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::command::tests::{config_of, lines};

    /// A directory of this test alone, gone at its end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("uetcd-directory-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).expect("a directory for temporary files");
            Self(dir)
        }

        /// The configuration of a server whose data directory is `d1` in here.
        fn config(&self, more: &[&str]) -> Config {
            let dir = self.0.join("d1");
            config_of(&[&["--data-dir", dir.to_str().expect("text")], more].concat())
        }

        fn with(self, files: &[&str]) -> Self {
            for file in files {
                let path = self.0.join("d1").join(file);
                fs::create_dir_all(path.parent().expect("has one")).expect("a directory");
                fs::write(path, "x").expect("a file");
            }
            self
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_new_directory_is_made_for_the_owner_only() {
        let scratch = Scratch::new("new");
        let config = scratch.config(&[]);
        let found = directory(&config).expect("can be made");
        assert!(!found.has_data);
        assert_eq!(lines(&found.log), "");
        assert_eq!(names(&scratch.0).expect("is there"), [""; 0], "not before there is a place in a cluster");
        member_directories(&config).expect("can be made");
        for dir in [&config.data_dir, &config.member_dir(), &config.log_dir(), &config.snapshot_dir()] {
            assert_eq!(fs::metadata(dir).expect("was made").permissions().mode() & 0o777, 0o700, "{}", dir.display());
        }
        let again = directory(&config).expect("can be used again");
        assert!(!again.has_data);
    }

    #[test]
    fn any_entry_in_the_log_directory_is_data() {
        let scratch = Scratch::new("data").with(&["member/wal/anything", "notes.txt"]);
        let config = scratch.config(&["--discovery", "http://h:1/v2/keys/t", "--discovery-fallback", "exit"]);
        let found = directory(&config).expect("usable");
        assert!(found.has_data);
        let dir = config.data_dir.display();
        let want = format!(
            "W etcdmain: found invalid file/dir notes.txt under data dir {dir} (Ignore this if you are upgrading etcd)\n\
             N etcdmain: the server is already initialized as member before, starting as etcd member...\n\
             W etcdserver: discovery token ignored since a cluster has already been initialized. Valid log found at \
             \"{dir}/member/wal\"\n"
        );
        assert_eq!(lines(&found.log), want);

        let config = scratch.config(&["--initial-cluster-state", "existing", "--initial-cluster-token", "t"]);
        let want = format!(
            "I etcdserver: -initial-cluster-state, -initial-cluster-token ignored since a cluster has already been initialized. \
             Valid log found at \"{dir}/member/wal\"\n"
        );
        let found = directory(&config).expect("usable");
        assert!(lines(&found.log).ends_with(&want), "{}", lines(&found.log));
    }

    #[test]
    fn what_a_directory_was_it_stays() {
        for (name, files, flag, want) in [
            ("new member", &[][..], "off", Role::Member),
            ("new proxy", &[], "on", Role::Proxy),
            ("new reader", &[], "readonly", Role::Proxy),
            ("old member", &["member/wal/x"], "on", Role::Member),
            ("old proxy", &["proxy/cluster"], "off", Role::Proxy),
        ] {
            let scratch = Scratch::new(name).with(files);
            let (role, log) = role(&scratch.config(&["--proxy", flag])).expect(name);
            assert_eq!(role, want, "{name}");
            let said = lines(&log).contains("is already initialized as");
            assert_eq!(said, !files.is_empty(), "{name}: {}", lines(&log));
        }
    }

    #[test]
    fn a_proxy_replaces_what_a_member_has_not_used() {
        let scratch = Scratch::new("overflow");
        let config = scratch.config(&[]);
        member_directories(&config).expect("can be made");
        proxy_directory(&config).expect("can be made");
        assert_eq!(fs::metadata(config.proxy_dir()).expect("was made").permissions().mode() & 0o777, 0o700);
        assert_eq!(names(&config.data_dir).expect("is there"), ["proxy"]);
        assert_eq!(role(&config).expect("usable").0, Role::Proxy);
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        for (name, files, want) in [
            (
                "both",
                &["member/wal/x", "proxy/cluster"][..],
                "C etcdmain: invalid datadir. Both member and proxy directories exist.\n",
            ),
            (
                "no log",
                &["member/snap/x"],
                "C etcdserver: there are snapshots in DIR/member/snap but no log in DIR/member/wal",
            ),
            ("etcd 3", &["member/snap/db", "member/wal/0.tmp"], "C etcdmain: data dir DIR was written by etcd"),
            (
                "etcd 2",
                &["member/wal/0000000000000000-0000000000000000.wal"],
                "C etcdmain: data dir DIR was written by etcd, whose files uetcd cannot read: choose another -data-dir\n",
            ),
        ] {
            let scratch = Scratch::new(name).with(files);
            let config = scratch.config(&[]);
            let exit = directory(&config).expect_err(name);
            let want = want.replace("DIR", &config.data_dir.display().to_string());
            assert_eq!(exit.status, 1, "{name}");
            assert!(lines(&exit.log).starts_with(&want), "{name}: {}", lines(&exit.log));
        }
    }

    #[test]
    fn a_file_in_place_of_a_directory_is_named() {
        let scratch = Scratch::new("file");
        let config = scratch.config(&[]);
        fs::write(&config.data_dir, "x").expect("a file");
        let exit = directory(&config).expect_err("a file");
        let want = format!("C etcdmain: error listing data dir: {}: not a directory\n", config.data_dir.display());
        assert_eq!(lines(&exit.log), want);

        let wal = config.data_dir.join("wal");
        let elsewhere = scratch.0.join("d2");
        let config =
            config_of(&["--data-dir", elsewhere.to_str().expect("text"), "--wal-dir", wal.to_str().expect("text")]);
        let exit = directory(&config).expect_err("below a file");
        assert_eq!(lines(&exit.log), format!("C etcdserver: open {}: not a directory\n", wal.display()));
    }
}
