//! The command line as a whole: what goes in, and what comes out.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::config::{Bootstrap, Config, Cors, Mending, Scrub};
use crate::logging::{Output, Settings};

/// What a server with these flags would run with.
pub(in crate::config) fn config_of(flags: &[&str]) -> Config {
    run(flags, &[], None)
}

fn load_with(flags: &[&str], env: &[(&str, &str)], file: Option<&str>) -> Outcome {
    let read_file = |path: &Path| match file {
        Some(text) if path == Path::new("c.yml") => Ok(text.to_owned()),
        _ => Err(io::Error::from_raw_os_error(libc::ENOENT)),
    };
    let machine = Machine { read_file: &read_file, cpus: &[0, 2, 3] };
    load(flags.iter().map(OsString::from), env.iter().map(|(name, value)| (name.into(), value.into())), &machine)
}

fn run(flags: &[&str], env: &[(&str, &str)], file: Option<&str>) -> Config {
    match load_with(flags, env, file) {
        Outcome::Run(config) => *config,
        Outcome::Exit(exit) => panic!("{flags:?} {env:?} ended: {exit:?}"),
    }
}

fn exit(flags: &[&str], env: &[(&str, &str)], file: Option<&str>) -> Exit {
    match load_with(flags, env, file) {
        Outcome::Run(_) => panic!("{flags:?} {env:?} ran"),
        Outcome::Exit(exit) => exit,
    }
}
/// The lines of a log without their times, each with its end.
pub(in crate::config) fn lines(log: &[LogLine]) -> String {
    let line = |line: &LogLine| format!("{} {}: {}\n", line.severity.letter(), line.package, line.text);
    log.iter().map(line).collect::<Vec<_>>().concat()
}

/// An end as one text: the status, what is printed, the log, then what is wrong with the command line.
fn shown(exit: &Exit) -> String {
    // The short usage and the help have their own tests.
    let stdout = exit.stdout.lines().next().map(|line| format!("{line}\n")).unwrap_or_default();
    format!("{} {stdout}{}{}", exit.status, lines(&exit.log), exit.stderr)
}

const USAGE: &str = "usage: uetcd [flags]";

fn words(text: &str) -> Vec<&str> {
    text.split(' ').filter(|word| !word.is_empty()).collect()
}

/// Statuses, streams and texts are those of etcd 2.3.8.
#[test]
fn a_command_line_that_cannot_be_parsed_ends_with_status_2() {
    for (flags, want) in [
        ("--foo", "flag provided but not defined: -foo"),
        ("---name x", "bad flag syntax: ---name"),
        ("--name", "flag needs an argument: -name"),
        ("--heartbeat-interval abc", "invalid value \"abc\" for flag -heartbeat-interval: parse error"),
        ("-heartbeat-interval=-1", "invalid value \"-1\" for flag -heartbeat-interval: parse error"),
        (
            "--max-wals 99999999999999999999",
            "invalid value \"99999999999999999999\" for flag -max-wals: value out of range",
        ),
        ("--debug=foo", "invalid boolean value \"foo\" for -debug: parse error"),
        ("--initial-cluster-state foo", "invalid value \"foo\" for flag -initial-cluster-state: invalid value"),
        ("--proxy foo", "invalid value \"foo\" for flag -proxy: invalid value"),
        ("--discovery-fallback foo", "invalid value \"foo\" for flag -discovery-fallback: invalid value"),
        (
            "--listen-client-urls foo",
            "invalid value \"foo\" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: foo",
        ),
        (
            "--advertise-client-urls=",
            "invalid value \"\" for flag -advertise-client-urls: URL scheme must be http, https, unix, or unixs: ",
        ),
        (
            "--cors :bad%",
            "invalid value \":bad%\" for flag -cors: Invalid CORS origin: parse \":bad%\": missing protocol scheme",
        ),
        ("--addr x:1", "invalid value \"x:1\" for flag -addr: bad IP in address specification"),
        ("--peers a", "invalid value \"a\" for flag -peers: flag \"-peers\" is no longer supported."),
        ("--cores 1-", "invalid value \"1-\" for flag -cores: parse error"),
        ("--heartbeat-interval abc --foo", "invalid value \"abc\" for flag -heartbeat-interval: parse error"),
        ("--foo --heartbeat-interval abc", "flag provided but not defined: -foo"),
        ("--version --foo", "flag provided but not defined: -foo"),
    ] {
        assert_eq!(shown(&exit(&words(flags), &[], None)), format!("2 {USAGE}\n{want}\n"), "{flags}");
    }
}

#[test]
fn an_argument_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let machine = Machine { read_file: &|_| Ok(String::new()), cpus: &[0] };
    let args = [OsString::from_vec(vec![b'-', 0xff])];
    let Outcome::Exit(exit) = load(args, [], &machine) else { panic!("ran") };
    assert_eq!(shown(&exit), format!("2 {USAGE}\nargument \"-\u{fffd}\" is not valid UTF-8\n"));
}

#[test]
fn help_and_version_end_with_status_0() {
    assert_eq!(shown(&exit(&["--version"], &[], None)), "0 etcd Version: 2.3.8\n");
    assert_eq!(
        shown(&exit(&["-version", "--heartbeat-interval", "0"], &[("ETCD_NAME", "x")], None)),
        "0 etcd Version: 2.3.8\n"
    );
    for flags in ["-h", "--help", "-help", "--name x --help --foo"] {
        assert_eq!(shown(&exit(&words(flags), &[], None)), format!("0 {USAGE}\n"), "{flags}");
    }
}

/// Texts are those of etcd 2.3.8 where it has the check.
#[test]
fn what_is_wrong_together_ends_with_status_1() {
    let advertise = "E etcdmain: When listening on specific address(es), this etcd process must advertise accessible \
                     url(s) to each connected client.\n";
    for (flags, want, more) in [
        ("stray", "'stray' is not a valid flag", ""),
        ("--debug false", "'false' is not a valid flag", ""),
        ("stray --version", "'stray' is not a valid flag", ""),
        (
            "--discovery http://h:1/t --initial-cluster a=http://h:1",
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\" or \
             \"discovery-srv\"",
            "",
        ),
        (
            "--listen-client-urls http://127.0.0.1:1",
            "-advertise-client-urls is required when -listen-client-urls is set explicitly",
            advertise,
        ),
        (
            "--election-timeout 1000 --heartbeat-interval 300",
            "-election-timeout[1000ms] should be at least as 5 times as -heartbeat-interval[300ms]",
            "",
        ),
        ("--election-timeout 50001", "-election-timeout[50001ms] is too long, and should be set less than 50000ms", ""),
        ("--heartbeat-interval 0", "-heartbeat-interval must be >0 (set to 0ms)", ""),
        (
            "--addr 127.0.0.1:1 --advertise-client-urls http://127.0.0.1:1",
            "Set only one of flags -advertise-client-urls and -addr",
            "",
        ),
        (
            "--peer-addr 127.0.0.1:1 --listen-peer-urls http://127.0.0.1:1",
            "Set only one of flags -listen-peer-urls and -peer-bind-addr",
            "",
        ),
        ("--cores 0,1", "-cores names CPU 1, but this process may only use 0,2,3", ""),
        ("--cores 25", "-cores[25] should be from 0 to 24, 8 for each CPU that this process may use", ""),
        ("--logger foo", "unknown logger option \"foo\"", ""),
        ("--log-outputs f", "unknown log-output \"f\" (only supports \"default\", \"stderr\", \"stdout\")", ""),
        (
            "--log-level loud",
            "unknown log-level \"loud\" (only supports debug, info, warn, error, panic, or fatal)",
            "",
        ),
    ] {
        let want = format!("1 E etcdmain: error verifying flags, {want}. See 'etcd --help'.\n{more}");
        assert_eq!(shown(&exit(&words(flags), &[], None)), want, "{flags}");
    }
}

/// The last line, which says why; before it stands the banner.
#[test]
fn a_start_that_cannot_be_is_refused_in_one_line() {
    let (unsupported, version) = ("is not supported by uetcd", env!("CARGO_PKG_VERSION"));
    for (flags, want) in [
        ("--shards 0", "E etcdmain: error verifying flags, -shards[0] should be from 1 to 1024."),
        ("--shards 1025", "E etcdmain: error verifying flags, -shards[1025] should be from 1 to 1024."),
        ("--history-events 0", "E etcdmain: error verifying flags, -history-events[0] should be from 1 to"),
        ("--spin-us 5001", "E etcdmain: error verifying flags, -spin-us[5001] should be from 0 to 5000."),
        (
            "--initial-cluster a=foo",
            "C etcdmain: error setting up initial cluster: URL scheme must be http, https, unix, or unixs: foo",
        ),
        ("--auto-tls", &format!("C etcdmain: -auto-tls {unsupported}")),
        (
            "--host-whitelist a.com",
            &*format!("C etcdmain: -host-whitelist {unsupported} {version}, which answers requests"),
        ),
        (
            "--listen-metrics-urls https://a:1",
            &format!("C etcdmain: -listen-metrics-urls with TLS (https://a:1) {unsupported}"),
        ),
        ("--listen-peer-urls https://localhost:1", &format!("C etcdmain: TLS (https://localhost:1) {unsupported}")),
        (
            "--listen-client-urls https://localhost:1 --advertise-client-urls https://localhost:1",
            &format!("C etcdmain: TLS (https://localhost:1) {unsupported}"),
        ),
        (
            "--listen-peer-urls https://localhost:1 --peer-cert-file F",
            &format!("C etcdmain: TLS (https://localhost:1) {unsupported}"),
        ),
        (
            "--listen-peer-urls https://localhost:1 --peer-cert-file F --peer-key-file K",
            &format!("C etcdmain: TLS (https://localhost:1) {unsupported}"),
        ),
        (
            "--client-cert-auth",
            "C etcdmain: -client-cert-auth is set, but http://localhost:2379 is plain text, so nobody would be authenticated",
        ),
        ("--peer-ca-file F", "C etcdmain: -peer-ca-file is set, but http://localhost:2380 is plain text"),
    ] {
        let exit = exit(&words(flags), &[], None);
        let log = lines(&exit.log);
        let last = log.lines().last().expect("a line");
        assert_eq!((exit.status, exit.stderr.as_str()), (1, ""), "{flags}");
        assert!(last.starts_with(want), "{flags}: {last}");
    }
}

#[test]
fn a_backup_begins_a_cluster_of_one() {
    let alone =
        "-restore-backup begins a cluster of one: leave the others out of -initial-cluster, and add them when it runs";
    for (flags, want) in [
        ("--restore-backup f --write-backup g", "Set only one of flags -restore-backup and -write-backup"),
        ("--restore-backup f --initial-cluster default=http://localhost:2380,b=http://b:2380", alone),
        ("--restore-backup f --initial-cluster-state existing", alone),
        ("--restore-backup f --discovery http://h:1/v2/keys/t", alone),
    ] {
        let refused = exit(&words(flags), &[], None);
        assert!(lines(&refused.log).ends_with(&format!("flags, {want}. See 'etcd --help'.\n")), "{flags}");
    }
}

#[test]
fn a_log_is_mended_from_the_directories_of_others_and_nothing_else_is_done() {
    let config = config_of(&words("--mend-from /a,/b"));
    let from = vec![PathBuf::from("/a"), PathBuf::from("/b")];
    assert_eq!(config.mending, Some(Mending { from: from.clone(), dry_run: false }));
    assert_eq!(config_of(&words("--mend-from=/a,/b, --mend-dry-run")).mending, Some(Mending { from, dry_run: true }));
    let alone = "-mend-from can not be given with -restore-backup, -write-backup or -force-new-cluster";
    for (flags, want) in [
        ("--mend-from=", "-mend-from names no directory"),
        ("--mend-from=, --mend-dry-run", "-mend-from names no directory"),
        ("--mend-from /a --write-backup g", alone),
        ("--mend-from /a --restore-backup g", alone),
        ("--mend-from /a --force-new-cluster", alone),
        ("--mend-dry-run", "-mend-dry-run goes with -mend-from"),
    ] {
        let refused = exit(&words(flags), &[], None);
        assert!(lines(&refused.log).ends_with(&format!("flags, {want}. See 'etcd --help'.\n")), "{flags}");
    }
}

#[test]
fn without_flags_it_is_one_member_on_two_ports() {
    let config = config_of(&[]);
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, Path::new("default.etcd"));
    assert_eq!(config.log_dir(), Path::new("default.etcd/member/wal"));
    assert_eq!(config.listen_client.to_string(), "http://localhost:2379");
    assert_eq!(config.listen_peer.to_string(), "http://localhost:2380");
    assert_eq!((config.shards, config.cores), (None, vec![0, 2, 3]));
    assert_eq!((config.max_snapshots, config.max_connections), (Some(5), None));
    assert!(!config.join_existing && !config.force_new_cluster);
    assert_eq!((config.restore_backup, config.write_backup, config.mending), (None, None, None));
    let want = "\
I etcdmain: etcd Version: 2.3.8
I etcdmain: setting maximum number of CPUs to 3, total number of available CPUs is 3
W etcdmain: no data-dir provided, using default data-dir ./default.etcd
";
    assert_eq!(log_of(&[], &[], None), want);
}

/// The log of a configuration that runs, without the lines that hold this build's own version.
fn log_of(flags: &[&str], env: &[(&str, &str)], file: Option<&str>) -> String {
    let own = ["Git SHA:", "Go Version:", "Go OS/Arch:"];
    let mut log = run(flags, env, file).log;
    log.retain(|line| !own.iter().any(|own| line.text.starts_with(own)));
    lines(&log)
}

/// The lines of [`log_of`] that are about the flags and the environment.
fn remarks(flags: &[&str], env: &[(&str, &str)], file: Option<&str>) -> Vec<String> {
    let log = log_of(&[flags, &["--data-dir", "d"]].concat(), env, file);
    log.lines()
        .filter(|line| !line.contains("Version:") && !line.contains("number of CPUs"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn flags_do_what_they_say() {
    let config = config_of(&words(
        "-name a --name=b --data-dir d --wal-dir w --snapshot-count 0x10 --max-snapshots 0 --heartbeat-interval 010 \
         --election-timeout 2_000 --advertise-client-urls http://b:1,http://a:1 --listen-client-urls http://:1 \
         --initial-advertise-peer-urls http://10.0.0.1:2380 --initial-cluster-state existing --force-new-cluster \
         --strict-reconfig-check=f --cors http://a.com --cores 4 --shards 3 --spin-us 20 \
         --history-events 7 --history-bytes 8 --request-memory 10 --max-connections 9 --scrub-rate 2 --scrub-interval 60 --listen-metrics-urls http://127.0.0.1:9 \
         --write-backup g --enable-v2 --initial-cluster-token t",
    ));
    assert_eq!((config.name.as_str(), config.data_dir.to_str()), ("b", Some("d")));
    assert_eq!(config.log_dir(), Path::new("w"));
    assert_eq!((config.snapshot_count, config.max_snapshots), (16, None));
    assert_eq!((config.heartbeat.as_millis(), config.election.as_millis()), (8, 2000));
    assert_eq!(config.request_timeout().as_secs(), 9);
    assert_eq!(config.advertise_client.to_string(), "http://a:1,http://b:1");
    assert_eq!(config.advertise_peer.to_string(), "http://10.0.0.1:2380");
    assert!(config.join_existing && config.force_new_cluster);
    assert_eq!(config.cors, Cors::Origins(vec!["http://a.com".to_owned()]));
    assert_eq!((config.cores, config.shards, config.spin.as_micros()), (vec![0, 2, 3, 0], Some(3), 20));
    assert_eq!((config.history_events, config.history_bytes, config.max_connections), (7, 8, Some(9)));
    assert_eq!((config.request_memory, config_of(&[]).request_memory), (Some(10), None));
    let interval = Duration::from_mins(1);
    assert_eq!(config.scrub, Some(Scrub { bytes_per_second: 2 << 20, interval }));
    assert_eq!(config_of(&words("--scrub-rate 0")).scrub, None);
    assert_eq!(config.listen_metrics.len(), 1);
    assert_eq!(config.write_backup.as_deref(), Some(Path::new("g")));
    assert_eq!(config_of(&words("--restore-backup f")).restore_backup.as_deref(), Some(Path::new("f")));
    let Bootstrap::Static(cluster) = config.bootstrap else { panic!("{:?}", config.bootstrap) };
    assert_eq!((cluster.to_string().as_str(), config.cluster_token.as_str()), ("b=http://10.0.0.1:2380", "t"));
}

#[test]
fn flags_of_etcd_0_4_still_name_addresses() {
    let config = config_of(&words("--addr 127.0.0.1:4001 --peer-addr 127.0.0.1:7001 --peer-bind-addr 127.0.0.2:7001"));
    assert_eq!(config.advertise_client.to_string(), "http://127.0.0.1:4001");
    assert_eq!(config.listen_client.to_string(), "http://[::]:4001");
    assert_eq!(config.advertise_peer.to_string(), "http://127.0.0.1:7001");
    assert_eq!(config.listen_peer.to_string(), "http://127.0.0.2:7001");
}

#[test]
fn what_has_no_effect_is_named() {
    assert_eq!(
        remarks(
            &words("--force --metrics extensive --quota-backend-bytes=-1 --enable-v2 --snapshot-count 0"),
            &[],
            None
        ),
        [
            "W flags: flag \"-force\" is no longer supported - ignoring.",
            "I etcdmain: -metrics is accepted, has no effect here",
            "I etcdmain: -quota-backend-bytes is accepted, has no effect here",
            "I etcdserver: set snapshot count to default 10000",
        ]
    );
    let plain = "W etcdmain: The scheme of client url http://localhost:2379 is http while client key/cert files are presented. \
                 Ignored client key/cert files.";
    assert_eq!(remarks(&["--cert-file", "F", "--host-whitelist", "*", "--proxy", "off"], &[], None), [plain]);
}

/// Order and texts are those of etcd: each is named when it is read.
#[test]
fn flags_of_etcd_0_4_are_named_before_what_is_wrong_behind_them() {
    let ignored = |flag: &str| format!("W flags: flag \"-{flag}\" is no longer supported - ignoring.\n");
    let stray = "E etcdmain: error verifying flags, 'x' is not a valid flag. See 'etcd --help'.\n";
    for (flags, want) in [
        ("--config x", format!("1 {}{stray}", ignored("config"))),
        ("--force --config x --v", format!("1 {}{}{stray}", ignored("force"), ignored("config"))),
        ("--vv --bogus --v", format!("2 {USAGE}\n{}flag provided but not defined: -bogus\n", ignored("vv"))),
        (
            "--force --max-wals y --config",
            format!("2 {USAGE}\n{}invalid value \"y\" for flag -max-wals: parse error\n", ignored("force")),
        ),
        ("--force --version", format!("0 etcd Version: 2.3.8\n{}", ignored("force"))),
        ("--force --help", format!("0 {USAGE}\n{}", ignored("force"))),
    ] {
        assert_eq!(shown(&exit(&words(flags), &[], None)), want, "{flags}");
    }
}

#[test]
fn a_file_may_say_its_booleans_in_yaml_1_1() {
    let flags = ["--config-file", "c.yml"];
    for (text, want) in [("yes", true), ("On", true), ("y", true), ("no", false), ("OFF", false), ("N", false)] {
        let config = run(&flags, &[], Some(&format!("strict-reconfig-check: {text}\nname: no\n")));
        assert_eq!((config.strict_reconfig_check, config.name.as_str()), (want, "no"), "{text}");
    }
    let exit = exit(&flags, &[], Some("debug: yES"));
    assert!(shown(&exit).contains("invalid value of \"debug\" in c.yml: parse error"), "{exit:?}");
    let config = run(&flags, &[], Some("listen-client-urls: ''\nlisten-metrics-urls: ''\n"));
    assert_eq!((config.listen_client.to_string().as_str(), config.listen_metrics.len()), ("http://localhost:2379", 0));
}

#[test]
fn levels_of_the_log_are_read() {
    let config = config_of(&["--log-package-levels", "etcdserver=WARNING,etcdhttp=D", "--log-outputs", "stdout"]);
    let want = [("etcdserver".to_owned(), Severity::Warning), ("etcdhttp".to_owned(), Severity::Debug)];
    assert_eq!(config.logging, Settings { output: Output::Stdout, level: Severity::Info, packages: want.to_vec() });
    assert_eq!(config_of(&["--debug", "--log-level", "error"]).logging.level, Severity::Debug);
    for (levels, want) in [("a=FOO", "couldn't parse log level FOO"), ("a", "oddly structured `pkg=level` option: a")] {
        let want = format!("W etcdmain: couldn't parse log level string: {want}, continuing with default levels");
        assert_eq!(remarks(&["--log-package-levels", levels], &[], None), [want]);
    }
}

/// Lines, order and precedence are those of etcd 2.3.8.
#[test]
fn the_environment_fills_in_what_no_flag_says() {
    let env = [
        ("ETCD_NAME", "from-env"),
        ("ETCD_SHARDS", "0x4"),
        ("ETCD_DEBUG", "true"),
        ("ETCD_FOO", "bar"),
        ("ETCD_CORS", ""),
        ("ETCD_DATA_DIR", "elsewhere"),
        ("ETCD_UNSUPPORTED_ARCH", "arm64"),
        ("ETCD_FORCE", "1"),
        ("ETCDCTL_API", "2"),
        ("PATH", "/bin"),
    ];
    let config = run(&["--data-dir", "d"], &env, None);
    assert_eq!((config.name.as_str(), config.shards, config.logging.level), ("from-env", Some(4), Severity::Debug));
    assert_eq!(config.data_dir, Path::new("d"));
    assert_eq!(
        remarks(&[], &env, None),
        [
            "I flags: recognized and used environment variable ETCD_DEBUG=true",
            "I flags: recognized and used environment variable ETCD_FORCE=1",
            "W flags: flag \"-force\" is no longer supported - ignoring.",
            "I flags: recognized and used environment variable ETCD_NAME=from-env",
            "I flags: recognized and used environment variable ETCD_SHARDS=0x4",
            "W flags: unrecognized environment variable ETCD_FOO=bar",
            "W flags: unrecognized environment variable ETCD_CORS=",
            "I flags: recognized environment variable ETCD_DATA_DIR, but unused: shadowed by corresponding flag ",
        ]
    );
    for (name, value, want) in [
        ("ETCD_HEARTBEAT_INTERVAL", "abc", "invalid value \"abc\" for ETCD_HEARTBEAT_INTERVAL: parse error"),
        ("ETCD_DEBUG", "yes", "invalid value \"yes\" for ETCD_DEBUG: parse error"),
        ("ETCD_PROXY", "maybe", "invalid value \"maybe\" for ETCD_PROXY: invalid value"),
    ] {
        assert_eq!(shown(&exit(&[], &[(name, value)], None)), format!("1 C etcdmain: {want}\n"), "{name}");
    }
    let listen = [("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:1")];
    let exit = exit(&[], &listen, None);
    assert!(shown(&exit).contains("-advertise-client-urls is required"), "a variable counts as set: {exit:?}");
}

#[test]
fn a_file_replaces_flags_and_environment() {
    let file = "\
# comment
name: 'n1'
data-dir: /var/lib/x
listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2
advertise-client-urls: http://127.0.0.1:1
snapshot-count: 5000
enable-v2: true
debug: true
proxy: off
cors:
log-outputs: [stdout]
client-transport-security:
  cert-file: c.pem
  client-cert-auth: false
  auto-tls: false
peer-transport-security: {cert-file: , key-file: , client-cert-auth: false, trusted-ca-file: , auto-tls: false}
";
    let loading = "I etcdmain: Loading server configuration from \"c.yml\". Other configuration command line flags and \
                   environment variables will be ignored if provided.";
    let ignored = [("ETCD_NAME", "n2"), ("ETCD_SHARDS", "x")];
    for (flags, more) in
        [(&["--config-file", "c.yml", "--name", "n3"][..], None), (&[], Some(("ETCD_CONFIG_FILE", "c.yml")))]
    {
        let env: Vec<(&str, &str)> = ignored.into_iter().chain(more).collect();
        let config = run(flags, &env, Some(file));
        assert_eq!((config.name.as_str(), config.data_dir.to_str()), ("n1", Some("/var/lib/x")));
        assert_eq!((config.snapshot_count, config.listen_client.as_slice().len()), (5000, 2));
        assert_eq!((config.logging.level, config.logging.output), (Severity::Debug, Output::Stdout));
        assert_eq!(config.log[0].text, loading.trim_start_matches("I etcdmain: "));
    }
}

#[test]
fn a_file_that_cannot_be_used_is_refused_with_the_place() {
    let flags = ["--config-file", "c.yml"];
    let verifying = |text: &str| format!("E etcdmain: error verifying flags, {text}. See 'etcd --help'.\n");
    for (file, want) in [
        (None, verifying("open c.yml: no such file or directory")),
        (Some("nmae: x"), verifying("unknown key \"nmae\" in c.yml")),
        (Some("config-file: d.yml"), verifying("unknown key \"config-file\" in c.yml")),
        (Some("force: true"), verifying("unknown key \"force\" in c.yml")),
        (Some("name: {a: b}"), verifying("the value of \"name\" in c.yml must be one text")),
        (Some("heartbeat-interval: abc"), verifying("invalid value of \"heartbeat-interval\" in c.yml: parse error")),
        (
            Some("client-transport-security: {cert: x}"),
            verifying("unknown key \"client-transport-security.cert\" in c.yml"),
        ),
        (Some("heartbeat-interval: 0"), verifying("-heartbeat-interval must be >0 (set to 0ms)")),
    ] {
        let exit = exit(&flags, &[], file);
        assert_eq!(exit.status, 1, "{file:?}");
        assert!(shown(&exit).ends_with(&want), "{file:?}: {exit:?}");
    }
    let url = exit(&flags, &[], Some("listen-client-urls: foo"));
    let want = "unexpected error setting up listen-client-urls: URL scheme must be http, https, unix, or unixs: foo\n";
    assert_eq!((url.status, url.stderr.as_str()), (1, want));
    for bad in ["name: [", "- a\n- b", "name: a\nname: b", "just text"] {
        let exit = exit(&flags, &[], Some(bad));
        let text = shown(&exit);
        assert!(text.contains("error verifying flags, error converting YAML to JSON: yaml: "), "{bad:?}: {text}");
    }
    assert_eq!(run(&flags, &[], Some("")).name, "default");
}

#[test]
fn the_example_file_is_a_valid_configuration() {
    let example = include_str!("../../../../ops/uetcd.yml");
    let config = run(&["--config-file", "c.yml"], &[], Some(example));
    assert_eq!((config.name.as_str(), config.data_dir.to_str()), ("default", Some("/var/lib/uetcd")));
    // What is commented out is valid as well.
    let all: String = example.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line).to_owned() + "\n").collect();
    assert_ne!(all, example);
    run(&["--config-file", "c.yml"], &[], Some(&all));
}
