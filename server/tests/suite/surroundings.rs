//! What the machine and its supervisor give: a log of its own disk, sockets in the file system, a word when ready, no permission.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use crate::harness::{Flavor, PATIENCE, Plan, eventually, load, need, uetcd_only};

#[test]
fn the_log_may_be_elsewhere_and_belongs_to_one_process() {
    let plan = Plan::new();
    let (wal, plan) = (plan.home().join("log-disk"), plan.clone());
    let plan = plan.args(["--wal-dir".as_ref(), wal.as_os_str()]).uetcd_args(["--cores", "2"]);
    let server = plan.start();
    load(&server, 300, |n| (format!("/w{}/k{n}", n % 20), format!("value={n}")));
    assert!(fs::read_dir(&wal).is_ok_and(|entries| entries.count() > 0), "nothing in --wal-dir");
    assert!(!server.plan().data().join("member/wal").exists(), "a log in the data directory all the same");

    let server = server.kill().start();
    let mut client = server.client();
    for n in 0..300 {
        assert_eq!(client.value(&format!("/w{}/k{n}", n % 20)), Some(n.to_string()));
    }
    if server.flavor() == Flavor::Uetcd {
        // The same data, and the same log under another data directory.
        let same = Plan::new().data_dir(server.plan().data()).args(["--wal-dir".as_ref(), wal.as_os_str()]);
        let log_alone = Plan::new().args(["--wal-dir".as_ref(), wal.as_os_str()]);
        for second in [same, log_alone] {
            let ended = second.try_start().err().expect("the log is taken");
            assert_eq!(ended.code(), 1, "{ended:?}");
        }
    }
    client.set("/w0/k0", "unharmed");
    assert_eq!(server.kill().start().client().value("/w0/k0").as_deref(), Some("unharmed"));
}

/// One request over a socket in the file system.
fn ask(socket: &Path, request: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn clients_may_come_through_a_socket_in_the_file_system() {
    let plan = Plan::new();
    let first = plan.start();
    let tcp = first.url("");
    // etcd takes what follows the scheme, port included, for a name in the directory it runs in.
    let plan = first.kill();
    let socket = plan.home().join("localhost:1");
    let plan =
        plan.args(["--listen-client-urls", &format!("{tcp},unix://localhost:1"), "--advertise-client-urls", &tcp]);
    let mut server = plan.start();
    for round in 0..2 {
        let request = format!(
            "PUT /v2/keys/unix HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue={round}"
        );
        let answer = eventually("the socket is served", PATIENCE, || ask(&socket, &request).ok());
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        assert_eq!(server.client().value("/unix"), Some(round.to_string()));
        // A socket that a killed process left behind is in nobody's way.
        server = server.kill().start();
    }
    eventually("the socket is served", PATIENCE, || ask(&socket, "GET /version HTTP/1.0\r\n\r\n").ok());
    // One that is in use ends a start.
    let other = Plan::new().args(["--listen-client-urls", "unix://localhost:1"]);
    std::os::unix::fs::symlink(&socket, other.home().join("localhost:1")).expect("a link to the socket");
    let ended = other.try_start().err().expect("the socket is in use");
    assert_eq!(ended.code(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("address already in use"), "{}", ended.stderr);
    // An orderly stop leaves none.
    assert!(socket.exists());
    server.terminate(libc::SIGTERM);
    assert!(!socket.exists(), "the socket's file is left");
}

#[test]
fn a_supervisor_is_told_when_the_server_is_ready() {
    let plan = Plan::new();
    let path = plan.home().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket can be bound");
    socket.set_read_timeout(Some(PATIENCE)).expect("above zero");
    let server = plan.env("NOTIFY_SOCKET", &path.to_string_lossy()).start();
    let mut message = [0; 256];
    let length = socket.recv(&mut message).expect("a message");
    let text = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(text.lines().any(|line| line == "READY=1"), "{text:?}");
    server.client().set("/k", "1");
}

#[test]
fn a_data_directory_of_somebody_else_is_refused_in_one_line() {
    uetcd_only!("the words are uetcd's");
    need("setpriv");
    let server = Plan::new().start();
    server.client().set("/k", "1");
    let plan = server.kill();
    // Everybody may pass through the home directory, so that it is the data directory that stops them.
    fs::set_permissions(plan.home(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    let program = plan.home().join("program");
    let nobody = format!(
        "cp \"$0\" {0} && chmod 755 {0} || exit 98; exec setpriv --reuid 65534 --regid 65534 --clear-groups {0} \"$@\"",
        program.display()
    );
    let ended = plan.clone().after(&nobody).try_start().err().expect("nobody may not read the data");
    assert!(!ended.stderr.contains("setpriv:"), "run the tests as root: {ended:?}");
    assert_ne!(ended.code(), 0, "{ended:?}");
    let data = plan.data().to_string_lossy().into_owned();
    let told: Vec<_> = ended.stderr.lines().filter(|line| line.contains(" C | ")).collect();
    let in_one_line = told.len() == 1 && told[0].contains(&data) && told[0].contains("permission denied");
    assert!(in_one_line, "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    assert_eq!(plan.start().client().value("/k").as_deref(), Some("1"), "the refusal changed something");
}
