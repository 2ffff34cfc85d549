//! Programs of the machine that tests lean on: Debian's etcd and etcdctl, curl, bash.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::Server;

/// The value of a numeric knob in the environment.
pub(crate) fn env_number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}={text:?}: not a number"))
}

/// Fails the test, naming the command that installs `program`, unless it is on the search path. Skipping would hide that nothing was tested.
pub(crate) fn need(program: &str) {
    let package = match program {
        "etcd" => "etcd-server",
        "etcdctl" => "etcd-client",
        "ip" | "ss" => "iproute2",
        "nft" => "nftables",
        "mkfs.ext4" => "e2fsprogs",
        "dnsmasq" => "dnsmasq-base",
        other => other,
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    assert!(found, "{program} is missing; install it with: apt-get install {package} (ops/test.sh does)");
}

/// Fails the test, naming the command that installs it, unless Debian's Python has this module.
pub(crate) fn need_python_module(module: &str) {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", &format!("import {module}")]).stdin(Stdio::null()).stderr(Stdio::null());
    let found = python.status().is_ok_and(|status| status.success());
    assert!(found, "python3-{module} is missing; install it with: apt-get install python3-{module} (ops/test.sh does)");
}

/// Copies a directory as it is to a place where nothing is.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp can be run");
    assert!(copied.success());
}

/// Changes these bits of one byte in place, and nothing else.
pub(crate) fn flip(path: &Path, at: u64, bits: u8) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("a writable file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ bits], at).expect("written");
    file.sync_all().expect("on the disk");
}

/// All files below a directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let paths = entries.map(|entry| entry.expect("a readable directory").path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Runs a bash script to its end.
pub(crate) fn shell(script: &str) -> Output {
    need("bash");
    Command::new("bash").arg("-c").arg(script).stdin(Stdio::null()).output().expect("bash starts")
}

/// Debian's etcdctl, speaking v2 to `server`; arguments are still to be added.
pub(crate) fn etcdctl(server: &Server) -> Command {
    need("etcdctl");
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "2").arg("--endpoints").arg(server.url("")).stdin(Stdio::null());
    command
}
