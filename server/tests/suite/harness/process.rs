//! Starting and ending server processes: `uetcd`, or the real etcd, behind the same flags.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::ports::Port;
use super::{Client, PATIENCE, env_number, eventually, need};

/// Which program a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// The server of this repository.
    Uetcd,
    /// Debian's etcd 3.4 with `--enable-v2`.
    Etcd,
}

impl Flavor {
    /// The server under test: `uetcd` unless `SUITE_SERVER=etcd`.
    pub(crate) fn under_test() -> Self {
        match std::env::var("SUITE_SERVER").as_deref() {
            Err(_) | Ok("uetcd") => Self::Uetcd,
            Ok("etcd") => Self::Etcd,
            Ok(other) => panic!("SUITE_SERVER={other}: say uetcd or etcd"),
        }
    }

    /// The program that is run.
    pub(crate) fn program(self) -> OsString {
        match self {
            Self::Etcd => {
                need("etcd");
                "etcd".into()
            }
            Self::Uetcd => std::env::var_os("UETCD_BIN")
                .or_else(|| option_env!("CARGO_BIN_EXE_uetcd").map(OsString::from))
                .expect("run through cargo, or name the binary in UETCD_BIN"),
        }
    }
}

/// What etcd says when it serves: as a member, and as a proxy.
const READY: [&str; 2] = ["ready to serve client requests", "proxy started listening on client requests"];

/// How a process ended and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit status, or the signal.
    pub(crate) status: ExitStatus,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Ended {
    /// The exit status as a shell shows it: 128 + n for signal n.
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().expect("neither exited nor signalled"))
    }
}

/// What to start.
#[derive(Clone)]
pub(crate) struct Plan {
    flavor: Flavor,
    name: String,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    home: Arc<TempDir>,
    data_dir: PathBuf,
    host: Ipv4Addr,
    ports: Option<Ports>,
    /// The network namespace that the process lives in, if not in the test's.
    namespace: Option<PathBuf>,
    /// Shell words in front of the program: limits and the like.
    wrapper: Option<String>,
    no_io_uring: bool,
    /// Flags are given with one dash.
    single_dashes: bool,
    /// A flag and its value that say how the cluster begins, in place of the node alone.
    bootstrap: Option<[String; 2]>,
}

#[derive(Clone)]
struct Ports {
    client: Port,
    peer: Port,
}

impl Ports {
    fn reserve() -> Self {
        Self { client: Port::reserve(), peer: Port::reserve() }
    }
}

impl Plan {
    /// A fresh single node of the server under test, in its own temporary directory.
    pub(crate) fn new() -> Self {
        Self::of(Flavor::under_test())
    }

    /// A fresh single node of this flavor.
    pub(crate) fn of(flavor: Flavor) -> Self {
        let home =
            Arc::new(tempfile::Builder::new().prefix("suite-").tempdir().expect("a temporary directory can be made"));
        let data_dir = home.path().join("data");
        Self {
            flavor,
            name: "gd".into(),
            args: Vec::new(),
            env: Vec::new(),
            home,
            data_dir,
            host: Ipv4Addr::LOCALHOST,
            ports: None,
            namespace: None,
            wrapper: None,
            no_io_uring: false,
            single_dashes: false,
            bootstrap: None,
        }
    }

    /// Which program it starts.
    pub(crate) fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Adds arguments for either flavor.
    pub(crate) fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds arguments that only `uetcd` has.
    pub(crate) fn uetcd_args<S: Into<OsString>>(self, args: impl IntoIterator<Item = S>) -> Self {
        if self.flavor == Flavor::Uetcd { self.args(args) } else { self }
    }

    /// Takes the arguments added last away again.
    pub(crate) fn without_last_args(&self, count: usize) -> Self {
        let mut plan = self.clone();
        plan.args.truncate(plan.args.len().saturating_sub(count));
        plan
    }

    /// Adds an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs a shell command first, such as `ulimit -n 100`.
    pub(crate) fn after(mut self, command: &str) -> Self {
        self.wrapper = Some(command.to_owned());
        self
    }

    /// Runs on what looks like a kernel without `io_uring`.
    pub(crate) fn without_io_uring(mut self) -> Self {
        self.no_io_uring = true;
        self
    }

    /// Gives all flags with one dash in place of two.
    pub(crate) fn with_single_dashes(mut self) -> Self {
        self.single_dashes = true;
        self
    }

    /// Keeps the data elsewhere than in the plan's own directory.
    pub(crate) fn data_dir(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.data_dir);
        self
    }

    /// Has this flag say how the cluster begins: the node is not alone.
    pub(crate) fn bootstrapped_by(mut self, flag: &str, value: &str) -> Self {
        self.bootstrap = Some([flag.to_owned(), value.to_owned()]);
        self
    }

    /// Another name than `gd`.
    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Chooses the ports now, so that others can be told of them before the node starts.
    pub(crate) fn on_quiet_ports(mut self) -> Self {
        self.ports = Some(Ports::reserve());
        self
    }

    /// Runs in the network namespace that is mounted at `path`, where its address is `host`.
    pub(crate) fn in_namespace(mut self, path: &Path, host: Ipv4Addr) -> Self {
        self.namespace = Some(path.to_owned());
        self.host = host;
        self
    }

    /// The client port's address; the ports are fixed.
    pub(crate) fn address(&self) -> SocketAddr {
        (self.host, self.fixed_ports().client.number).into()
    }

    /// The peer URL; the ports are fixed.
    pub(crate) fn peer_url(&self) -> String {
        self.url(self.fixed_ports().peer.number)
    }

    fn fixed_ports(&self) -> &Ports {
        self.ports.as_ref().expect("the ports are fixed")
    }

    fn url(&self, port: u16) -> String {
        format!("http://{}:{port}", self.host)
    }

    /// Where the data is.
    pub(crate) fn data(&self) -> &Path {
        &self.data_dir
    }

    /// The directory that the process runs in; it vanishes with the last clone of the plan.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts the node and waits until it serves. A port that was taken between probing and binding is retried with others.
    pub(crate) fn start(&self) -> Server {
        for _ in 0..5 {
            match self.try_start() {
                Ok(server) => return server,
                Err(ended) if self.ports.is_none() && ended.stderr.contains("address already in use") => {}
                Err(ended) => panic!("{:?} did not start: {ended:?}", self.flavor),
            }
        }
        panic!("no free port in five attempts");
    }

    /// Starts the node; an error when it exits before it serves.
    pub(crate) fn try_start(&self) -> Result<Server, Ended> {
        let mut server = self.launch();
        match server.wait_ready() {
            Ok(()) => Ok(server),
            Err(status) => Err(server.ended(status)),
        }
    }

    /// Starts the node and does not wait for anything: it may be part of a cluster that never comes together.
    pub(crate) fn launch(&self) -> Server {
        let plan = Self { ports: Some(self.ports.clone().unwrap_or_else(Ports::reserve)), ..self.clone() };
        let child = plan.spawn(&plan.node_args());
        Server { plan, child: Some(child) }
    }

    /// Runs the program with exactly these arguments until it exits by itself; a process still alive after [`PATIENCE`] is ended and fails the test.
    pub(crate) fn run_to_exit<S: Into<OsString>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let mut child = self.spawn(&args);
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().expect("own child").is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(3));
        }
        let Some(status) = child.try_wait().expect("own child") else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{args:?}: still running after {PATIENCE:?}: {}", self.output("stderr"));
        };
        self.outcome(status)
    }

    fn node_args(&self) -> Vec<OsString> {
        let ports = self.fixed_ports();
        let (client, peer) = (self.url(ports.client.number), self.url(ports.peer.number));
        let mut args: Vec<OsString> = Vec::new();
        if self.flavor == Flavor::Etcd {
            // 3.4 answers `*` to everybody unless told otherwise, 2.3 and uetcd to nobody; an origin that nobody has makes them alike.
            args.extend(["--enable-v2", "--cors", "http://nobody.invalid:1"].map(OsString::from));
        }
        let alone = || ["--initial-cluster".to_owned(), format!("{}={peer}", self.name)];
        let [bootstrap, value] = self.bootstrap.clone().unwrap_or_else(alone);
        let flags = [
            ("--name", &self.name),
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            (&bootstrap, &value),
        ];
        args.extend(flags.into_iter().flat_map(|(flag, value)| [flag.into(), value.into()]));
        args.extend(["--data-dir".into(), self.data_dir.clone().into_os_string()]);
        args.extend(self.args.iter().cloned());
        let spelled = |arg: OsString| match arg.to_str().and_then(|arg| arg.strip_prefix("--")) {
            Some(name) if self.single_dashes => format!("-{name}").into(),
            _ => arg,
        };
        args.into_iter().map(spelled).collect()
    }

    fn spawn(&self, args: &[OsString]) -> Child {
        let file = |name: &str| File::create(self.home().join(name)).expect("the home directory is writable");
        let mut command = self.command();
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("ETCD")) {
            command.env_remove(name);
        }
        command
            .args(args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap_or_else(|e| panic!("{:?} cannot be started: {e}", self.flavor))
    }

    fn command(&self) -> Command {
        let program = self.flavor.program();
        let mut command = match &self.wrapper {
            None => Command::new(program),
            Some(first) => {
                let mut shell = Command::new("bash");
                shell.arg("-c").arg(format!("{first}; exec \"$0\" \"$@\"")).arg(program);
                shell
            }
        };
        if self.no_io_uring {
            super::seccomp::deny_io_uring(&mut command);
        }
        if let Some(namespace) = &self.namespace {
            super::namespace::run_inside(&mut command, namespace);
        }
        command
    }

    fn output(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.home().join(name)).unwrap_or_default()).into_owned()
    }

    fn outcome(&self, status: ExitStatus) -> Ended {
        Ended { status, stdout: self.output("stdout"), stderr: self.output("stderr") }
    }
}

/// A running node. Dropping it kills the process; when the test is failing, the end of its log is printed.
pub(crate) struct Server {
    plan: Plan,
    child: Option<Child>,
}

impl Server {
    /// A fresh node of the server under test.
    pub(crate) fn start() -> Self {
        Plan::new().start()
    }

    /// Which program it is.
    pub(crate) fn flavor(&self) -> Flavor {
        self.plan.flavor
    }

    /// The plan it was started from, its ports now fixed: starting it again restarts this node.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The client port's address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.plan.address()
    }

    /// The peer port's address.
    pub(crate) fn peer_address(&self) -> SocketAddr {
        (self.plan.host, self.plan.fixed_ports().peer.number).into()
    }

    /// The advertised client URL followed by `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.plan.url(self.plan.fixed_ports().client.number))
    }

    /// A client of this node.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// What the node wrote to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.plan.output("stderr")
    }

    /// Waits until the node has written this to standard error: it does so a moment after it has happened.
    pub(crate) fn wait_for_log(&self, text: &str) {
        eventually(&format!("{text:?} is logged"), PATIENCE, || self.log().contains(text).then_some(()));
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.status("VmRSS:") * 1024
    }

    /// The most that it ever was.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.status("VmHWM:") * 1024
    }

    /// Threads.
    pub(crate) fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the process is alive").count() as u64
    }

    /// What the kernel says of the process under this name.
    fn status(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process is alive");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is always there");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// True until the process has exited.
    pub(crate) fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("own child").is_none())
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).expect("a pid fits an i32");
        // SAFETY: kill(2) touches no memory; the pid is that of our own child, which has not been waited for.
        let rc = unsafe { libc::kill(pid, signal) };
        assert_eq!(rc, 0, "kill({pid}, {signal}): {}", std::io::Error::last_os_error());
    }

    /// Ends the process as a power cut of the process would, and gives the plan to start it again.
    pub(crate) fn kill(mut self) -> Plan {
        self.signal(libc::SIGKILL);
        self.wait();
        self.plan.clone()
    }

    /// Asks the process to end and tells how it did.
    pub(crate) fn terminate(mut self, signal: i32) -> Ended {
        self.signal(signal);
        self.wait()
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(&mut self) -> Ended {
        let child = self.child.as_mut().expect("running");
        let status = eventually("the process exits", PATIENCE, || child.try_wait().expect("own child"));
        self.ended(status)
    }

    fn ended(&mut self, status: ExitStatus) -> Ended {
        self.child = None;
        self.plan.outcome(status)
    }

    /// Ready: serves keys, is healthy, and has made the three internal writes of a fresh node (member, attributes, cluster version), so that
    /// the first client write gets index 4.
    fn wait_ready(&mut self) -> Result<(), ExitStatus> {
        let mut client = self.client();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.as_mut().expect("running").try_wait().expect("own child") {
                return Err(status);
            }
            if self.is_ready(&mut client) {
                return Ok(());
            }
            assert!(Instant::now() < deadline, "not ready after {PATIENCE:?}: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_ready(&self, client: &mut Client) -> bool {
        // etcd publishes its attributes again on every start, which moves the index: wait for it, or indices would race with the test.
        let is_ready = |log: String| READY.iter().any(|line| log.contains(line));
        (self.flavor() == Flavor::Uetcd || is_ready(self.log()))
            && client.attempt("GET", "/v2/keys/", None).is_ok_and(|r| r.status == 200 && r.index() >= 3)
            && client.attempt("GET", "/health", None).is_ok_and(|r| r.status == 200)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.plan.output("stderr");
            let shown = env_number("SUITE_LOG_LINES", 12) as usize;
            let tail: Vec<_> = log.lines().rev().take(shown).collect();
            eprintln!("--- last lines of {:?}'s log, newest first ---\n{}", self.flavor(), tail.join("\n"));
        }
    }
}
