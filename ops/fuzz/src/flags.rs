//! What the server's command line, environment and configuration file say. The parser is a part of the server, which is a
//! program and no library: see `lib.rs` for its files.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;

use crate::config::{self, Exit, Machine, Outcome};

/// What they are made of.
pub(crate) const WORDS: &[&[u8]] = &[
    b"--",
    b"=",
    b"\0",
    b"\xff",
    b"ETCD_",
    b"--config-file=c\0",
    b"--cores=0,2-3\0",
    b"--listen-client-urls=http://",
    b"unix://",
    b"https://[::1%25lo]:2379",
    b"initial-cluster",
    b"m=http://m:2380,",
    b"18446744073709551615",
    b"0x_f",
    b"true",
    b"1h2.5s",
    b"client-transport-security:\n  ",
    b": &x [*x]\n",
    b"!!binary ",
    b"- |\n",
    b"\"\\ud800",
];

/// CPUs that the process may use.
const CPUS: &[usize] = &[0, 2, 3];

/// Arguments, variables and the file are divided by bytes of 255, what there are several of by zeros. Whatever they are,
/// there is a configuration within its limits, or an end that says why.
pub(crate) fn check(input: &[u8]) {
    let mut parts = input.splitn(3, |byte| *byte == 0xff);
    let mut part = || parts.next().unwrap_or_default();
    let (args, env, file) = (part(), part(), part());
    let read_file = |_: &std::path::Path| match file {
        [] => Err(io::Error::from(io::ErrorKind::NotFound)),
        text => String::from_utf8(text.to_vec()).map_err(|_| io::ErrorKind::InvalidData.into()),
    };
    let machine = Machine { read_file: &read_file, cpus: CPUS };
    match config::load(pieces(args), pieces(env).map(variable), &machine) {
        Outcome::Exit(exit) => check_exit(&exit),
        Outcome::Run(config) => {
            assert!(
                !config.cores.is_empty() && config.cores.iter().all(|cpu| CPUS.contains(cpu)),
                "{:?}",
                config.cores
            );
            assert!(config.shards.is_none_or(|shards| (1..=1024).contains(&shards)), "{:?}", config.shards);
            assert!(!config.heartbeat.is_zero() && 5 * config.heartbeat <= config.election);
            assert!(config.history_events > 0 && config.snapshot_count > 0);
            config::settings(&config, true);
        }
    }
}

fn check_exit(exit: &Exit) {
    let Exit { status, stdout, log, stderr } = exit;
    match status {
        0 => assert!(!stdout.is_empty() && stderr.is_empty(), "neither help nor a version"),
        1 => assert!(!log.is_empty() || !stderr.is_empty(), "an end without a word"),
        2 => assert!(!stdout.is_empty() && !stderr.is_empty(), "neither a reason nor the usage"),
        other => panic!("status {other}"),
    }
}

fn pieces(part: &[u8]) -> impl Iterator<Item = OsString> {
    let pieces = part.split(|byte| *byte == 0);
    pieces.filter(|piece| !piece.is_empty()).map(|piece| OsString::from_vec(piece.to_vec()))
}

fn variable(piece: OsString) -> (OsString, OsString) {
    let bytes = piece.into_vec();
    let at = bytes.iter().position(|byte| *byte == b'=').unwrap_or(bytes.len());
    let value = bytes.get(at + 1..).unwrap_or_default().to_vec();
    (OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(value))
}
