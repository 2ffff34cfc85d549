//! The server suite's way to start servers, and what stands in for one that misbehaves.

mod fake;
#[allow(dead_code)]
#[path = "../../../../server/tests/suite/harness/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../../../../server/tests/suite/harness/namespace.rs"]
mod namespace;
#[allow(dead_code)]
#[path = "../../../../server/tests/suite/harness/ports.rs"]
mod ports;
#[allow(dead_code)]
#[path = "../../../../server/tests/suite/harness/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../../../../server/tests/suite/harness/seccomp.rs"]
mod seccomp;
#[allow(dead_code)]
#[path = "../../../../server/tests/suite/harness/tools.rs"]
mod tools;

pub(crate) use fake::{Fake, Reply};
pub(crate) use http::Client;
pub(crate) use process::{Flavor, Plan, Server};
pub(crate) use tools::{env_number, need};

use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest that anything may take here. A hang is a failure after this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test.
pub(crate) const LOADGEN: &str = env!("CARGO_BIN_EXE_uetcd-loadgen");

/// Polls until `probe` gives a value; panics naming `what` when `limit` has passed.
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(3));
    }
}

/// The program under test with these endpoints; the caller adds what to do.
pub(crate) fn loadgen(endpoints: &[SocketAddr], arguments: &[&str]) -> Command {
    let mut command = Command::new(LOADGEN);
    let list: Vec<_> = endpoints.iter().map(SocketAddr::to_string).collect();
    command.arg("--endpoints").arg(list.join(",")).args(arguments);
    if !arguments.contains(&"--warm-up") {
        command.args(["--warm-up", "100ms"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it.
pub(crate) fn start(mut command: Command) -> Child {
    command.spawn().expect("the program under test starts")
}

/// Waits until it has ended by itself.
pub(crate) fn finish(mut child: Child) -> Output {
    // Its output fits the pipes: a document, or a line.
    eventually("the load generator ends", PATIENCE, || child.try_wait().expect("own child"));
    child.wait_with_output().expect("own child")
}

/// What a run that must succeed says, as JSON.
pub(crate) fn report(endpoints: &[SocketAddr], arguments: &[&str]) -> Value {
    let mut command = loadgen(endpoints, arguments);
    command.arg("--json");
    document(&finish(start(command)), arguments)
}

/// The document of a run that must have succeeded.
pub(crate) fn document(output: &Output, arguments: &[&str]) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {:?}: {errors}", output.status);
    assert_eq!(errors, "", "{arguments:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// What a run that must fail says.
pub(crate) fn complaint(endpoints: &[SocketAddr], arguments: &[&str]) -> String {
    let output = finish(start(loadgen(endpoints, arguments)));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
    assert_eq!(errors.lines().count(), 1, "one line: {errors}");
    errors
}

/// A number of a document.
pub(crate) fn number(document: &Value, pointer: &str) -> u64 {
    let found = document.pointer(pointer).and_then(Value::as_u64);
    found.unwrap_or_else(|| panic!("{pointer} of {document}"))
}
