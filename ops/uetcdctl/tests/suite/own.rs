//! What only `uetcdctl` has.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{
    Canned, DropIn, Flavor, PATIENCE, Plan, Server, UETCDCTL, bare, etcd, eventually, need, uetcdctl,
};

fn run(server: &Server, words: &[&str]) -> Output {
    uetcdctl(server).args(words).output().expect("uetcdctl starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn tables_have_a_column_for_each_thing() {
    let server = etcd();
    assert!(run(&server, &["set", "/dir/a", "one\ntwo"]).status.success());
    assert!(run(&server, &["set", "/dir/b", "three", "--ttl", "1000"]).status.success());
    let table = out(&run(&server, &["-o", "table", "ls", "-r", "--sort", "/"]));
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["KEY", "VALUE", "TTL", "CREATED", "MODIFIED"]);
    assert_eq!(rows[1][0], "/dir/");
    assert_eq!(rows[2], ["/dir/a", "one\\ntwo", "4", "4"]);
    assert_eq!(rows[3][..3], ["/dir/b", "three", "1000"]);
    assert!(out(&run(&server, &["-o", "table", "get", "/dir/a"])).contains("one\\ntwo"));
    assert_eq!(out(&run(&server, &["ls", "-r", "--sort", "/", "-o", "table"])), table, "behind the command too");
}

#[test]
fn a_watch_since_an_index_begins_with_that_change() {
    let server = etcd();
    let index = server.client().set("/w", "1");
    server.client().set("/w", "2");
    assert_eq!(out(&run(&server, &["watch", "--since", &index.to_string(), "/w"])), "1\n");
    assert_eq!(out(&run(&server, &["watch", "--after-index", &index.to_string(), "/w"])), "2\n");
    let both = run(&server, &["watch", "--since", "4", "--after-index", "4", "/w"]);
    assert_eq!(both.status.code(), Some(1), "{both:?}");
}

#[test]
fn commands_of_exec_watch_run_in_the_order_of_the_events() {
    let server = etcd();
    let home = tempfile::tempdir().expect("a directory");
    let log = home.path().join("log");
    let script = format!("sleep 0.0$((10 - ETCD_WATCH_VALUE)); echo $ETCD_WATCH_VALUE >> {}", log.display());
    let first = server.client().set("/e/k", "1");
    for value in 2..=5 {
        server.client().set("/e/k", &value.to_string());
    }
    let mut child = uetcdctl(&server)
        .args(["exec-watch", "--since", &first.to_string(), "-r", "/e", "--", "sh", "-c", &script])
        .spawn()
        .expect("uetcdctl starts");
    let seen = || fs::read_to_string(&log).unwrap_or_default();
    eventually("five commands ran", PATIENCE, || (seen().lines().count() == 5).then_some(()));
    crate::harness::signal(&child, libc::SIGINT);
    assert!(child.wait().expect("it ends").success());
    assert_eq!(seen(), "1\n2\n3\n4\n5\n");
}

#[test]
fn a_slow_command_misses_nothing_that_the_server_forgets() {
    let server = etcd();
    let home = tempfile::tempdir().expect("a directory");
    let log = home.path().join("log");
    let go_on = home.path().join("go-on");
    let script =
        format!("until [ -e {} ]; do sleep 0.05; done; echo $ETCD_WATCH_VALUE >> {}", go_on.display(), log.display());
    let first = server.client().set("/e/k", "first");
    let mut child = uetcdctl(&server)
        .args(["exec-watch", "--since", &first.to_string(), "-r", "/e", "--", "sh", "-c", &script])
        .spawn()
        .expect("uetcdctl starts");
    let mut client = server.client();
    eventually("the next event is waited for", PATIENCE, || (client.watchers() == 1).then_some(()));
    // etcd remembers the last thousand changes, wherever they are.
    for value in 0..1200 {
        client.set("/elsewhere", &value.to_string());
    }
    client.set("/e/k", "last");
    fs::write(&go_on, "").expect("written");
    let seen = || fs::read_to_string(&log).unwrap_or_default();
    eventually("both commands ran", PATIENCE, || (seen().lines().count() == 2).then_some(()));
    crate::harness::signal(&child, libc::SIGINT);
    assert!(child.wait().expect("it ends").success());
    assert_eq!(seen(), "first\nlast\n");
}

#[test]
fn an_interrupt_at_the_prompt_leaves_the_echo_on() {
    need("script");
    let server = etcd();
    let session = format!(
        "trap : INT; {UETCDCTL} --endpoints {} user add a; echo status $?; stty -a | grep -o -- '-*echo '",
        server.url("")
    );
    let mut terminal = Command::new("script")
        .args(["-qc", &session, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script starts");
    let mut shown = String::new();
    let mut output = terminal.stdout.take().expect("piped");
    let mut byte = [0];
    while !shown.ends_with("New password: ") {
        output.read_exact(&mut byte).unwrap_or_else(|e| panic!("{e} behind {shown:?}"));
        shown.push(char::from(byte[0]));
    }
    terminal.stdin.as_mut().expect("piped").write_all(b"\x03").expect("it reads");
    output.read_to_string(&mut shown).expect("UTF-8");
    assert!(shown.contains("status 255\r\necho \r\n"), "{shown:?}");
    terminal.wait().expect("it ends");
}

#[test]
fn failures_name_the_endpoint_and_what_to_try() {
    let run = |words: &[&str]| Command::new(UETCDCTL).args(words).stdin(Stdio::null()).output().expect("it starts");
    let dead = run(&["--endpoints", "127.0.0.1:9", "get", "k"]);
    assert_eq!(dead.status.code(), Some(2));
    assert!(err(&dead).contains("hint: nothing serves at http://127.0.0.1:9"), "{dead:?}");
    let silent = Canned::Silent.serve();
    let slow = run(&["--endpoints", &silent, "--timeout", "50ms", "get", "k"]);
    assert!(err(&slow).contains("hint: ") && err(&slow).contains("--timeout"), "{slow:?}");
    let lacking = Canned::http("501 Not Implemented", "", "").serve();
    let lacking = run(&["--endpoints", &lacking, "--no-sync", "user", "list"]);
    assert!(err(&lacking).contains("does not have this"), "{lacking:?}");
    let wrong = run(&["--endpoints", "http://127.0.0.1:x", "get", "k"]);
    assert!(err(&wrong).contains("http://127.0.0.1:x") && wrong.status.code() == Some(1), "{wrong:?}");
}

#[test]
fn a_name_server_that_says_nothing_is_waited_for_as_long_as_allowed_and_named() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let at = silent.local_addr().expect("bound").to_string();
    for (program, hint) in [(UETCDCTL.into(), true), (DropIn::new().path(), false)] {
        let mut command = bare(&program.display().to_string());
        command.env("UETCD_RESOLVER", &at).args(["--total-timeout", "1500ms", "-D", "x.test", "get", "/a"]);
        let began = Instant::now();
        let output = command.output().expect("it starts");
        let failed = format!("lookup _etcd-client._tcp.x.test on {at}: no answer from any name server\n");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!((err(&output).ends_with(&failed), output.status.code()), (true, Some(1)), "{output:?}");
        let hinted = err(&output).starts_with(&format!("hint: waiting for an answer on {at}\n"));
        assert_eq!(hinted, hint, "{output:?}");
    }
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(UETCDCTL).args(["completion", shell]).output().expect("it starts");
        assert!(output.status.success() && out(&output).contains("exec-watch"), "{shell}: {output:?}");
    }
    let syntax = Command::new("bash")
        .args(["-c", &format!("source <({UETCDCTL} completion bash) && complete -p uetcdctl")])
        .output()
        .expect("bash starts");
    assert!(syntax.status.success(), "{syntax:?}");
    for (words, want) in [("-o j", "json"), ("get -o t", "table"), ("completion z", "zsh"), ("member re", "remove")] {
        let words: Vec<_> = std::iter::once("uetcdctl").chain(words.split(' ')).collect();
        let ([.., before, last], number) = (words.as_slice(), words.len() - 1) else { panic!("two words at least") };
        let offer = format!(
            "source <({UETCDCTL} completion bash); COMP_WORDS=({}); COMP_CWORD={number}; \
             _uetcdctl uetcdctl {last} {before}; echo \"${{COMPREPLY[*]}}\"",
            words.join(" ")
        );
        let offered = Command::new("bash").args(["-c", &offer]).output().expect("bash starts");
        assert_eq!(out(&offered), format!("{want}\n"), "{words:?}: {offered:?}");
    }
    for (words, want) in [("-o j", "json"), ("get -o t", "table"), ("completion z", "zsh"), ("member re", "remove")] {
        let offer = format!("source ({UETCDCTL} completion fish | psub); complete -C 'uetcdctl {words}'");
        let offered = Command::new("fish").args(["-c", &offer]).output().expect("fish starts");
        assert_eq!(out(&offered).split_whitespace().next(), Some(want), "{words}: {offered:?}");
    }
    assert!(!Command::new(UETCDCTL).args(["completion", "csh"]).output().expect("it starts").status.success());
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    let server = etcd();
    let script = format!("{UETCDCTL} --endpoints {} watch -f -r --since 1 / | head -1", server.url(""));
    for value in 0..3 {
        server.client().set("/p", &value.to_string());
    }
    let output = Command::new("bash").args(["-c", &script]).stderr(Stdio::piped()).spawn().expect("bash starts");
    // The watch notices with its next line.
    let mut writer = server.client();
    let mut output = Some(output);
    let ended = eventually("the pipe ends", PATIENCE, || {
        writer.set("/p", "more");
        let child = output.as_mut().expect("still there");
        child.try_wait().expect("own child").map(|_| output.take().expect("still there"))
    });
    let ended = ended.wait_with_output().expect("it ended");
    assert_eq!(err(&ended), "");
}

/// How etcd 0.4 writes that a node has no time to live.
const NEVER: &str = "0001-01-01T00:00:00Z";

#[test]
fn a_store_of_etcd_0_4_is_imported() {
    let server = etcd();
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("store.json");
    let node = |path: &str, value: &str, expires: &str| {
        format!(
            "{{\"Path\":\"{path}\",\"CreatedIndex\":1,\"ModifiedIndex\":1,\"ExpireTime\":\"{expires}\",\"ACL\":\"\",\"Value\":\"{value}\",\"Children\":null}}"
        )
    };
    let store = format!(
        "{{\"Root\":{{\"Path\":\"/\",\"ExpireTime\":\"{NEVER}\",\"Children\":{{\"a\":{},\"gone\":{},\"late\":{},\
         \"_hidden\":{{\"Path\":\"/_hidden\",\"ExpireTime\":\"{NEVER}\",\"Children\":{{\"h\":{}}}}}}}}},\"CurrentIndex\":9}}",
        node("/a", "1", NEVER),
        node("/gone", "x", "2014-01-01T00:00:00Z"),
        node("/late", "x", "2100-01-01T00:00:00Z"),
        node("/_hidden/h", "2", NEVER)
    );
    fs::File::create(&file).and_then(|mut f| f.write_all(store.as_bytes())).expect("written");
    let done = run(&server, &["import", "--snap", file.to_str().expect("UTF-8"), "--hidden", "/_hidden", "-c", "3"]);
    assert!(out(&done).ends_with("finished importing 3 keys\n"), "{done:?}");
    let mut client = server.client();
    assert_eq!(client.value("/a").as_deref(), Some("1"));
    assert_eq!(client.value("/_hidden/h").as_deref(), Some("2"));
    assert_eq!(client.value("/gone"), None);
    let missing = run(&server, &["import"]);
    assert_eq!((out(&missing).as_str(), missing.status.code()), ("no snapshot file provided (use --snap)\n", Some(1)));
}

#[test]
fn a_backup_of_a_cluster_or_of_a_directory_can_be_restored() {
    let server = Plan::of(Flavor::Uetcd).start();
    server.client().set("/k", "kept");
    let home = tempfile::tempdir().expect("a directory");
    let path = |name: &str| home.path().join(name).to_str().expect("UTF-8").to_owned();
    let online = run(&server, &["backup", "--backup-dir", &path("online")]);
    assert!(online.status.success(), "{online:?}");
    assert_eq!(run(&server, &["backup", "--backup-dir", &path("online")]).status.code(), Some(1), "not overwritten");
    let data = server.plan().data().to_owned();
    let plan = server.kill();
    let program = std::env::var("UETCD_BIN").expect("UETCD_BIN names the server");
    let directory = std::path::Path::new(&program).parent().expect("a path");
    // The server is searched for under its own name.
    std::os::unix::fs::symlink(&program, home.path().join("uetcd")).expect("a link");
    let search = format!("{}:{}", home.path().display(), directory.display());
    let offline = Command::new(UETCDCTL)
        .args(["backup", "--data-dir", data.to_str().expect("UTF-8"), "--backup-dir", &path("offline")])
        .env("PATH", search)
        .output()
        .expect("it starts");
    assert!(offline.status.success(), "{offline:?}");
    drop(plan);
    for name in ["online", "offline"] {
        let file = format!("{}/uetcd.backup", path(name));
        let restored = Plan::of(Flavor::Uetcd).uetcd_args(["--restore-backup", file.as_str()]).start();
        assert_eq!(restored.client().value("/k").as_deref(), Some("kept"), "{name}");
    }
    let real = etcd();
    let refused = run(&real, &["backup", "--backup-dir", &path("real")]);
    assert!(err(&refused).contains("404") && !home.path().join("real/uetcd.part").exists(), "{refused:?}");
}
