//! The servers: how each is started, and when it is ready.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Output, Process};
use crate::stop::Stop;
use crate::who::Who;

/// Longest wait for a server to answer, after it was started or halted.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A server that runs.
pub(crate) struct Server {
    pub(crate) who: Who,
    pub(crate) port: u16,
    pub(crate) process: Process,
    pub(crate) cpus: Vec<usize>,
    /// Goes with the server.
    _data: TempDir,
}

/// What there is to start.
pub(crate) struct Recipe<'a> {
    pub(crate) who: Who,
    pub(crate) program: &'a Path,
    /// Beside those that it needs.
    pub(crate) arguments: &'a [String],
}

impl Server {
    /// Starts it on `cpus`, with its data in a new folder in `root`, and waits until it answers.
    pub(crate) fn start(recipe: &Recipe<'_>, cpus: &[usize], root: &Path, stop: &Stop) -> Result<Self, String> {
        let Recipe { who, program, arguments } = *recipe;
        let port = free_ports()?;
        let prefix = who.name().replace(' ', "-");
        let data = tempfile::Builder::new().prefix(&prefix).tempdir_in(root);
        let data = data.map_err(|error| format!("{}: {error}", root.display()))?;
        let mut all = needed(who, port, cpus);
        all.extend_from_slice(arguments);
        let process = Process::start(program, &all, cpus, data.path(), &Output::Log)?;
        let mut server = Self { who, port, process, cpus: cpus.to_vec(), _data: data };
        server.await_answer(stop)?;
        Ok(server)
    }

    /// Lets it go on after it was halted, and waits until it answers.
    pub(crate) fn wake(&mut self, stop: &Stop) -> Result<(), String> {
        self.process.go_on()?;
        self.await_answer(stop)
    }

    fn await_answer(&mut self, stop: &Stop) -> Result<(), String> {
        let answers = stop.wait(READY_WITHIN, || {
            self.process.check_alive()?;
            Ok(self.answers().then_some(()))
        })?;
        answers.ok_or_else(|| format!("{} does not answer: {}", self.who.name(), self.process.last_words()))
    }

    /// Whether a request that needs everything to work is answered well.
    fn answers(&self) -> bool {
        let (ask, want) = match self.who {
            Who::Redis => ("PING\r\n", "+PONG"),
            _ => ("GET /v2/keys/?quorum=true HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"),
        };
        self.first_line(ask).is_some_and(|line| line.starts_with(want))
    }

    fn first_line(&self, ask: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.write_all(ask.as_bytes()).ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).ok()?;
        Some(line)
    }
}

/// What each server is started with.
fn needed(who: Who, port: u16, cpus: &[usize]) -> Vec<String> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let list = cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match who {
        Who::Responder => vec![format!("127.0.0.1:{port}"), list],
        Who::DurableResponder => vec![format!("127.0.0.1:{port}"), list, "data".to_owned()],
        Who::Redis => {
            let mut all =
                words(&format!("--port {port} --bind 127.0.0.1 --appendonly yes --appendfsync always --save"));
            all.push(String::new());
            all
        }
        Who::Uetcd | Who::Polling | Who::Other => {
            // A number of executors is one; a list of CPUs must have two ends to be one.
            let cores = if let [cpu] = cpus { format!("{cpu}-{cpu}") } else { list };
            [words(&format!("--cores {cores}")), urls(port)].concat()
        }
        Who::Etcd => [words("--enable-v2"), urls(port)].concat(),
    }
}

fn urls(port: u16) -> Vec<String> {
    let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", port + 1));
    let mut all = Vec::new();
    for (flag, value) in [
        ("--data-dir", "data".to_owned()),
        ("--listen-client-urls", client.clone()),
        ("--advertise-client-urls", client),
        ("--listen-peer-urls", peer.clone()),
        ("--initial-advertise-peer-urls", peer.clone()),
        ("--initial-cluster", format!("default={peer}")),
    ] {
        all.extend([flag.to_owned(), value]);
    }
    all
}

/// A port that is free like the one above it, below those that the kernel gives to clients.
fn free_ports() -> Result<u16, String> {
    const FIRST: u16 = 20_000;
    const PAIRS: u32 = 6_000;
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    // Several of us may run: each begins elsewhere.
    let begin = std::process::id();
    (0..PAIRS)
        .map(|pair| FIRST + (begin.wrapping_mul(7).wrapping_add(pair) % PAIRS * 2) as u16)
        .find(|&port| is_free(port) && is_free(port + 1))
        .ok_or_else(|| "no free port between 20000 and 32000".to_owned())
}

/// The full path of a program: as given if it has a folder, else from `PATH`.
pub(crate) fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.canonicalize().ok().filter(|path| path.is_file());
    }
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_is_bound_to_the_cpu_itself() {
        assert_eq!(needed(Who::Uetcd, 5, &[0])[..2], ["--cores", "0-0"]);
        assert_eq!(needed(Who::Uetcd, 5, &[0, 2])[..2], ["--cores", "0,2"]);
        assert_eq!(needed(Who::Responder, 5, &[3]), ["127.0.0.1:5", "3"]);
        assert_eq!(needed(Who::DurableResponder, 5, &[3]), ["127.0.0.1:5", "3", "data"]);
        assert!(needed(Who::Etcd, 5, &[0]).contains(&"--enable-v2".to_owned()));
        assert_eq!(needed(Who::Redis, 5, &[0]).last().map(String::as_str), Some(""), "no snapshots");
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find(Path::new("sh")).is_some());
        assert_eq!(find(Path::new("no-such-program")), None);
        assert_eq!(find(Path::new("/no/such/program")), None);
    }
}
