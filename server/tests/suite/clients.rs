//! python-etcd cannot tell the server under test from real etcd, but for what `docs/differences.md` declares.
//!
//! `ops/clients/compare.py` runs a client's script against both at the same time and compares what the client saw. `ops/clients.sh` does
//! the same with clients that take longer or must be installed first.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use crate::harness::{Flavor, need_python_module};

const COMPARE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/clients/compare.py");

/// Runs a script of `ops/clients` against the server under test and against etcd.
fn compare(script: &str) {
    need_python_module("etcd");
    let output = Command::new("/usr/bin/python3")
        .args([COMPARE, script])
        .arg("--tested")
        .arg(command_line(Flavor::under_test()))
        .arg("--reference")
        .arg(command_line(Flavor::Etcd))
        .stdin(Stdio::null())
        .output()
        .expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    println!("{said}");
}

fn command_line(flavor: Flavor) -> OsString {
    let mut line = flavor.program();
    if flavor == Flavor::Etcd {
        line.push(" --enable-v2");
    }
    line
}

#[test]
fn python_etcd_sees_the_same_keys_watches_and_members() {
    compare("python_etcd_one");
}

#[test]
fn python_etcds_locks_are_handed_over_alike() {
    compare("python_etcd_locks");
}

#[test]
fn python_etcd_lives_through_the_same_failures_of_members() {
    compare("python_etcd_three");
}

#[test]
fn python_etcds_watches_outlive_the_stop_of_their_member() {
    compare("python_etcd_stop");
}
