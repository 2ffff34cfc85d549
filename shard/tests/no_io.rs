//! The boundary of the crate.

use std::process::Command;

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).output().expect("cargo runs the tests, so it is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints text")
}

/// `shard` decides, others act: it must build without an executor, a clock or an entropy source.
#[test]
fn shard_pulls_in_no_io() {
    let tree = cargo(&["tree", "--offline", "-p", "shard", "-e", "normal", "--prefix", "none"]);
    for io in ["glommio", "tokio", "mio", "socket2"] {
        let pulled_in = tree.lines().any(|line| line.split_whitespace().next() == Some(io));
        assert!(!pulled_in, "shard now depends on {io}");
    }
}
