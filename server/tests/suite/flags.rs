//! The command line, the environment and the machine: what is wrong is said in one line, with etcd's words and exit status.

use std::net::{Ipv4Addr, TcpListener};

use crate::harness::{Ended, Flavor, Plan, Server, uetcd_only};

/// Arguments, exit status, and what the error says: 2.3's words for `uetcd`, 3.4's where they differ. Where a text names a flag, the number of
/// dashes before it is left out of the comparison, for 2.3 prints one and 3.4 two.
const REFUSED: &[(&[&str], i32, &str, &str)] = &[
    (&["--bogus"], 2, "flag provided but not defined: -bogus", ""),
    (&["-bogus"], 2, "flag provided but not defined: -bogus", ""),
    (&["---name", "x"], 2, "bad flag syntax: ---name", ""),
    (&["-=x"], 2, "bad flag syntax: -=x", ""),
    (&["--name"], 2, "flag needs an argument: -name", ""),
    (&["--heartbeat-interval", "abc"], 2, "invalid value \"abc\" for flag -heartbeat-interval: parse error", ""),
    (&["-heartbeat-interval=-5"], 2, "invalid value \"-5\" for flag -heartbeat-interval: parse error", ""),
    (&["--snapshot-count", "1.5"], 2, "invalid value \"1.5\" for flag -snapshot-count: parse error", ""),
    (&["--snapshot-count=0x"], 2, "invalid value \"0x\" for flag -snapshot-count: parse error", ""),
    (
        &["--strict-reconfig-check=maybe"],
        2,
        "invalid boolean value \"maybe\" for -strict-reconfig-check: parse error",
        "",
    ),
    (
        &["--initial-cluster-state", "foo"],
        2,
        "invalid value \"foo\" for flag -initial-cluster-state: invalid value",
        "invalid value \"foo\" for flag -initial-cluster-state: ",
    ),
    (
        &["--proxy", "maybe"],
        2,
        "invalid value \"maybe\" for flag -proxy: invalid value",
        "invalid value \"maybe\" for flag -proxy: ",
    ),
    (
        &["--listen-client-urls", "ftp://127.0.0.1:1"],
        2,
        "invalid value \"ftp://127.0.0.1:1\" for flag -listen-client-urls: URL scheme must be http",
        "",
    ),
    (
        &["--listen-client-urls", "127.0.0.1:2379"],
        2,
        "parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon",
        "",
    ),
    (
        &["--advertise-client-urls", "http://127.0.0.1"],
        2,
        "URL address does not have the form \"host:port\": http://127.0.0.1",
        "",
    ),
    (&["--listen-peer-urls", "http://127.0.0.1:1/"], 2, "URL must not contain a path: http://127.0.0.1:1/", ""),
    (&["--cors", ":bad%"], 2, "invalid value \":bad%\" for flag -cors:", ""),
    (&["stray"], 1, "error verifying flags, 'stray' is not a valid flag. See 'etcd --help'.", ""),
    (&["-"], 1, "'-' is not a valid flag. See 'etcd --help'.", ""),
    (&["--", "--name"], 1, "'--name' is not a valid flag. See 'etcd --help'.", ""),
    (&["--strict-reconfig-check", "false"], 1, "'false' is not a valid flag. See 'etcd --help'.", ""),
    (
        &["--listen-client-urls", "http://127.0.0.1:1"],
        1,
        "advertise-client-urls is required when -listen-client-urls is set explicitly",
        "advertise-client-urls is required when --listen-client-urls is set explicitly",
    ),
    (
        &["--heartbeat-interval", "300"],
        1,
        "election-timeout[1000ms] should be at least as 5 times as -heartbeat-interval[300ms]",
        "election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[300ms]",
    ),
    (
        &["--election-timeout", "0"],
        1,
        "election-timeout[0ms] should be at least as 5 times as -heartbeat-interval[100ms]",
        "election-timeout must be >0 (set to 0ms)",
    ),
    (
        &["--election-timeout", "50001"],
        1,
        "election-timeout[50001ms] is too long, and should be set less than 50000ms",
        "",
    ),
    (&["--heartbeat-interval", "0"], 1, "heartbeat-interval must be >0 (set to 0ms)", ""),
    (
        &["--discovery", "http://127.0.0.1:1/x", "--initial-cluster", "a=http://127.0.0.1:1"],
        1,
        "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\" or \"discovery-srv\"",
        "",
    ),
    (
        &["--initial-cluster", "other=http://localhost:2380"],
        1,
        "couldn't find local name \"default\" in the initial cluster configuration",
        "",
    ),
    (&["--config-file", "/nonexistent/uetcd.yml"], 1, "open /nonexistent/uetcd.yml: no such file or directory", ""),
];

/// What only `uetcd` has, or refuses.
const REFUSED_BY_UETCD: &[(&[&str], i32, &str)] = &[
    (&["--peers", "a"], 2, "invalid value \"a\" for flag -peers: flag \"-peers\" is no longer supported."),
    (&["--shards", "none"], 2, "invalid value \"none\" for flag -shards: parse error"),
    (&["--shards", "0"], 1, "shards"),
    (&["--spin-us", "-1"], 2, "invalid value \"-1\" for flag -spin-us: parse error"),
    (&["--proxy", "on", "--initial-cluster", "a=https://h:1"], 1, "TLS (https://h:1)"),
    (&["--host-whitelist", "a.com"], 1, "which answers requests whatever host they are for"),
    (&["--listen-client-urls", ""], 2, "invalid value \"\" for flag -listen-client-urls: URL scheme must be http"),
    (&["--config", "x"], 1, "flag \"-config\" is no longer supported - ignoring.\n"),
    (
        &["--discovery", "127.0.0.1:1/x"],
        1,
        "failed to join discovery cluster (parse \"127.0.0.1:1/x\": first path segment",
    ),
];

fn check_refusal(ended: &Ended, args: &[&str], code: i32, text: &str) {
    assert_eq!(ended.code(), code, "{args:?}: {ended:?}");
    assert!(ended.stderr.contains(text), "{args:?}: want {text:?}: {ended:?}");
}

#[test]
fn bad_flags_are_refused_with_etcds_words_and_status() {
    for (args, code, for_2_3, for_3_4) in REFUSED {
        let plan = Plan::new();
        let text = if Plan::new().flavor() == Flavor::Etcd && !for_3_4.is_empty() { for_3_4 } else { for_2_3 };
        check_refusal(&plan.run_to_exit(args.iter()), args, *code, text);
        let made = plan.home().join("default.etcd").exists();
        assert!(!made || (plan.flavor() == Flavor::Etcd && *code == 1), "{args:?}: a data directory was made");
    }
}

#[test]
fn bad_values_of_uetcds_own_flags_are_refused() {
    uetcd_only!("etcd has other flags");
    for (args, code, text) in REFUSED_BY_UETCD {
        check_refusal(&Plan::new().run_to_exit(args.iter()), args, *code, text);
    }
}

#[test]
fn version_and_help_print_and_exit_0() {
    for flag in ["--version", "-version"] {
        let ended = Plan::new().run_to_exit([flag]);
        assert_eq!((ended.code(), ended.stderr.as_str()), (0, ""));
        let starts = ["etcd Version: ", "Git SHA: ", "Go Version: ", "Go OS/Arch: linux/"];
        let lines: Vec<_> = ended.stdout.lines().collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");
    }
    for flag in ["--help", "-h", "-help"] {
        let ended = Plan::new().run_to_exit([flag]);
        assert_eq!(ended.code(), 0, "{flag}");
        for name in ["data-dir", "listen-client-urls", "snapshot-count", "initial-cluster-token"] {
            assert!(ended.stdout.contains(&format!("--{name}")), "{flag}: no {name}: {}", ended.stdout);
        }
    }
}

#[test]
fn every_spelling_of_a_flag_works() {
    let spellings: [&[&str]; 6] = [
        &["-snapshot-count", "500"],
        &["--snapshot-count", "0x1f4"],
        &["-snapshot-count=0764"],
        &["--snapshot-count=5_00"],
        &["--snapshot-count", "1", "--snapshot-count", "500"],
        &["--strict-reconfig-check", "--snapshot-count=500"],
    ];
    for args in spellings {
        let server = Plan::new().args(args.iter()).start();
        let log = server.log();
        assert!(log.contains("snapshot count = 500"), "{args:?}: {log}");
    }
}

#[test]
fn one_dash_is_as_good_as_two() {
    let server = Plan::new().named("dashing").with_single_dashes().args(["--snapshot-count=500"]).start();
    assert_eq!(server.client().get("/v2/members").json()["members"][0]["name"], "dashing");
    assert!(server.log().contains("snapshot count = 500"), "{}", server.log());
    let proxy = ["--proxy", "on", "--initial-cluster", &format!("dashing=http://{}", server.peer_address())];
    let proxy = Plan::new().with_single_dashes().args(proxy).start();
    server.client().set("/k", "1");
    assert_eq!(proxy.client().value("/k").as_deref(), Some("1"));
}

#[test]
fn variables_of_the_environment_are_flags() {
    let server = Plan::new().env("ETCD_SNAPSHOT_COUNT", "500").env("ETCD_BOGUS", "x").start();
    let log = server.log();
    assert!(log.contains("snapshot count = 500"), "{log}");
    assert!(log.contains("recognized and used environment variable ETCD_SNAPSHOT_COUNT=500"), "{log}");
    assert!(log.contains("unrecognized environment variable ETCD_BOGUS=x"), "{log}");

    let bad = Plan::new().env("ETCD_HEARTBEAT_INTERVAL", "abc");
    let text = "invalid value \"abc\" for ETCD_HEARTBEAT_INTERVAL: ";
    check_refusal(&bad.run_to_exit::<&str>([]), &["ETCD_HEARTBEAT_INTERVAL=abc"], 1, text);
}

#[test]
fn a_flag_shadows_its_variable() {
    uetcd_only!("etcd 3.4 refuses to start (shadowed-variable)");
    let server = Plan::new().env("ETCD_SNAPSHOT_COUNT", "9").args(["--snapshot-count", "500"]).start();
    let log = server.log();
    assert!(log.contains("snapshot count = 500"), "{log}");
    assert!(
        log.contains("recognized environment variable ETCD_SNAPSHOT_COUNT, but unused: shadowed by corresponding flag"),
        "{log}"
    );
}

#[test]
fn a_config_file_replaces_flags() {
    let plan = Plan::new();
    let server = plan.start();
    let (client, peer) = (server.url(""), format!("http://{}", server.peer_address()));
    let stopped = server.kill();
    let file = stopped.home().join("config.yml");
    let data = stopped.home().join("elsewhere");
    let text = format!(
        "name: from-file\ndata-dir: {}\nlisten-client-urls: {client}\nadvertise-client-urls: {client}\nlisten-peer-urls: {peer}\n\
         initial-advertise-peer-urls: {peer}\ninitial-cluster: from-file={peer}\nenable-v2: true\n",
        data.display()
    );
    std::fs::write(&file, text).expect("the home directory is writable");
    let server = stopped.args(["--config-file".as_ref(), file.as_os_str()]).start();
    assert_eq!(server.client().get("/v2/members").json()["members"][0]["name"], "from-file");
    assert!(data.join("member").is_dir());
}

#[test]
fn an_unusable_data_directory_is_refused() {
    let plan = Plan::new();
    let file = plan.home().join("a-file");
    std::fs::write(&file, "not a directory").expect("the home directory is writable");
    for path in [file.as_path(), &file.join("below"), "/proc/uetcd".as_ref()] {
        let Err(ended) = Plan::new().data_dir(path).try_start() else { panic!("{} was accepted", path.display()) };
        assert_ne!(ended.code(), 0, "{ended:?}");
        assert!(ended.stderr.contains(&*path.to_string_lossy()), "{}: {ended:?}", path.display());
    }
    assert_eq!(std::fs::read(&file).expect("still there"), b"not a directory");
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    let address = taken.local_addr().expect("bound");
    let url = format!("http://{address}");
    let text = format!("listen tcp {address}: bind: address already in use");
    for flag in ["--listen-client-urls", "--listen-peer-urls"] {
        let ended = Plan::new().args([flag, &url]).try_start().err().expect("the port is taken");
        check_refusal(&ended, &[flag, &url], 1, &text);
    }
    // Executors share a port among themselves, yet a second node must not join in.
    let first = Plan::new().start();
    let listen = first.url("");
    let second = Plan::new().args(["--listen-client-urls", &listen]).try_start().err().expect("the port is taken");
    check_refusal(
        &second,
        &["a second node"],
        1,
        &format!("listen tcp {}: bind: address already in use", first.address()),
    );
    first.client().set("/k", "1");
}

#[test]
fn a_machine_that_allows_too_little_is_named_in_one_line() {
    let few_files = "file descriptor limit[100] of etcd process is too low, and should be set higher than 150 to ensure internal usage";
    let ended = Plan::new().after("ulimit -n 100").try_start().err().expect("100 descriptors are too few");
    check_refusal(&ended, &["ulimit -n 100"], 1, few_files);
    if Plan::new().flavor() == Flavor::Etcd {
        return;
    }
    let ended = Plan::new().after("ulimit -l 64").try_start().err().expect("64 KiB of locked memory are too little");
    check_refusal(&ended, &["ulimit -l 64"], 1, "memlock");
    let ended = Plan::new().without_io_uring().try_start().err().expect("there is no io_uring");
    check_refusal(&ended, &["no io_uring"], 1, "io_uring");
}

#[test]
fn the_denied_system_call_is_only_io_uring() {
    // etcd does not use it, so it must run as ever.
    let server = Plan::of(Flavor::Etcd).without_io_uring().start();
    server.client().set("/k", "1");
}

#[test]
fn stray_signals_end_nothing() {
    let server = Server::start();
    for signal in [libc::SIGUSR1, libc::SIGUSR2, libc::SIGALRM] {
        server.signal(signal);
        server.client().set("/k", "1");
    }
    assert_eq!(server.terminate(libc::SIGTERM).code(), 143);
}

#[test]
fn signals_end_the_process_with_their_own_status() {
    for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGINT, 130), (libc::SIGHUP, 129)] {
        let server = Plan::new().start();
        server.client().set("/k", "1");
        assert_eq!(server.terminate(signal).code(), code);
    }
}
