//! A wrong or a lost answer fails the run, and the message says which it was.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Fake, LOADGEN, Reply, complaint, finish, report, start};

/// A server whose 50th answer is this.
fn spoiled(reply: Reply) -> SocketAddr {
    Fake::serve(move |n| if n == 50 { reply } else { Reply::Right })
}

const PUTS: [&str; 8] = ["-w", "put", "-c", "1", "-d", "20s", "--timeout", "300ms"];
const GETS: [&str; 10] = ["-w", "get", "-c", "1", "-d", "20s", "--timeout", "300ms", "--keys", "4"];

#[test]
fn wrong_answers_fail_the_run() {
    for (reply, arguments, says) in [
        (Reply::WrongValue, &PUTS[..], "not the value that was written: 20"),
        (Reply::WrongValue, &GETS, "not the value that was written"),
        (Reply::IndexBack, &PUTS, "X-Etcd-Index went back from "),
        (Reply::IndexBack, &GETS, "X-Etcd-Index went back from "),
        (Reply::IndexStays, &PUTS, "a change of index "),
        (Reply::Error, &PUTS, "unexpected status: 500 "),
        (Reply::Garbage, &PUTS, "is no HTTP/1.1"),
    ] {
        let complaint = complaint(&[spoiled(reply)], arguments);
        assert!(complaint.contains("wrong answer on connection 0 from 127.0.0.1:"), "{reply:?}: {complaint}");
        assert!(complaint.contains(says) && complaint.contains(" /lg-d"), "{reply:?}: {complaint}");
    }
}

#[test]
fn lost_answers_fail_the_run() {
    for (reply, says) in [
        (Reply::Silence, "nothing within 0.3 s after PUT /lg-d"),
        (Reply::Close, "the server closed it; under way: PUT /lg-d"),
        (Reply::Half, "the server closed it; under way: PUT /lg-d"),
    ] {
        let begun = Instant::now();
        let complaint = complaint(&[spoiled(reply)], &PUTS);
        assert!(
            complaint.contains("lost answer on connection 0") && complaint.contains(says),
            "{reply:?}: {complaint}"
        );
        assert!(begun.elapsed() < Duration::from_secs(10), "{reply:?}: the run ends with the failure");
    }
}

#[test]
fn nobody_at_the_endpoint_is_said() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        listener.local_addr().expect("bound")
    };
    assert!(complaint(&[address], &PUTS).contains("cannot be opened"));
}

#[test]
fn right_answers_pass() {
    let address = Fake::serve(|_| Reply::Right);
    for workload in ["put", "get", "mixed"] {
        let arguments = ["-w", workload, "-c", "2", "--pipeline", "3", "-d", "200ms", "--keys", "10"];
        assert!(report(&[address], &arguments)["requests"].as_u64() > Some(100), "{workload}");
    }
}

#[test]
fn flags_that_are_reserved_are_refused() {
    for (flag, value, says) in
        [("--ca-file", "x", "TLS"), ("--user", "a:b", "authentication"), ("--endpoint", "https://localhost:1", "TLS")]
    {
        let mut command = Command::new(LOADGEN);
        command.args([flag, value]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = finish(start(command));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flag}: {errors}");
        assert!(errors.contains(says) && errors.contains("not there yet"), "{flag}: {errors}");
    }
}
