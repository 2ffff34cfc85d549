//! A network whose links can be cut: a namespace per member, all on one bridge that the test reaches too.
//!
//! A cut is a blackhole route inside the sender's namespace: nothing that it sends arrives, while the other direction goes on.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use crate::harness::{enter, need};

/// Subnets of 256 addresses that are tried: 10.64.0.0 to 10.127.255.0.
const SUBNETS: u32 = 64 << 8;

/// A bridge and the namespaces on it. They go when it is dropped.
pub(super) struct Net {
    /// Part of every name, unique on the machine.
    tag: String,
    subnet: u32,
    members: usize,
    /// Who does not reach whom.
    cut: Mutex<BTreeSet<(usize, usize)>>,
}

impl Net {
    /// A network for so many members.
    pub(super) fn of(members: usize) -> Arc<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        need("ip");
        // Here, so that it does not depend on a test's random choices whether it is missed.
        need("nft");
        sweep();
        let (pid, nth) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let subnet = free_subnet(pid.wrapping_add(nth * 61));
        let net = Self { tag: format!("{PREFIX}{pid}x{nth}"), subnet, members, cut: Mutex::default() };
        net.build();
        Arc::new(net)
    }

    /// The address of a member.
    pub(super) fn host(&self, nth: usize) -> Ipv4Addr {
        address(self.subnet, u8::try_from(10 + nth).expect("few members"))
    }

    /// The address of the test itself.
    pub(super) fn own(&self) -> Ipv4Addr {
        address(self.subnet, 1)
    }

    /// Members that it has room for.
    pub(super) fn members(&self) -> usize {
        self.members
    }

    /// Where the namespace of a member is mounted.
    pub(super) fn namespace(&self, nth: usize) -> PathBuf {
        Path::new("/run/netns").join(self.name(nth))
    }

    /// Nothing that `from` sends reaches `to` any more.
    pub(super) fn silence(&self, from: usize, to: usize) {
        self.set([(from, to)].into_iter().chain(self.cuts()).collect());
    }

    /// Two members do not reach each other any more.
    pub(super) fn cut(&self, a: usize, b: usize) {
        self.split(&[a], &[b]);
    }

    /// Nobody of one side reaches anybody of the other.
    pub(super) fn split(&self, one: &[usize], other: &[usize]) {
        let pairs = one.iter().flat_map(|&a| other.iter().flat_map(move |&b| [(a, b), (b, a)]));
        self.set(pairs.chain(self.cuts()).collect());
    }

    /// A member reaches nobody and nobody reaches it.
    pub(super) fn isolate(&self, nth: usize) {
        self.split(&[nth], &self.others(nth));
    }

    /// A member hears nobody; the others still get what it sends.
    pub(super) fn deafen(&self, nth: usize) {
        self.set(self.others(nth).into_iter().map(|other| (other, nth)).chain(self.cuts()).collect());
    }

    /// Nobody hears a member; it still gets what the others send.
    pub(super) fn mute(&self, nth: usize) {
        self.set(self.others(nth).into_iter().map(|other| (nth, other)).chain(self.cuts()).collect());
    }

    /// Two members reach each other again.
    pub(super) fn mend(&self, a: usize, b: usize) {
        self.set(self.cuts().into_iter().filter(|&pair| pair != (a, b) && pair != (b, a)).collect());
    }

    /// Everybody reaches everybody again.
    pub(super) fn heal(&self) {
        self.set(BTreeSet::new());
    }

    /// Replaces all cuts by these pairs of a sender and who does not hear it.
    pub(super) fn set(&self, wanted: BTreeSet<(usize, usize)>) {
        let mut cut = self.cut.lock().expect("nobody panicked");
        for from in 0..self.members {
            let of = |pair: &&(usize, usize)| pair.0 == from;
            let gone = cut.difference(&wanted).filter(of).map(|(_, to)| self.route("del", *to));
            let new = wanted.difference(&cut).filter(of).map(|(_, to)| self.route("add", *to));
            let batch: String = gone.chain(new).collect();
            if !batch.is_empty() {
                ip(&["-n", &self.name(from), "-batch", "-"], &batch);
            }
        }
        *cut = wanted;
    }

    fn route(&self, verb: &str, to: usize) -> String {
        format!("route {verb} blackhole {}/32\n", self.host(to))
    }

    fn cuts(&self) -> BTreeSet<(usize, usize)> {
        self.cut.lock().expect("nobody panicked").clone()
    }

    fn others(&self, nth: usize) -> Vec<usize> {
        (0..self.members).filter(|&other| other != nth).collect()
    }

    fn name(&self, nth: usize) -> String {
        format!("{}n{nth}", self.tag)
    }

    /// Makes something in the namespace of a member, such as a socket, which stays there.
    pub(super) fn inside<T: Send + 'static>(&self, nth: usize, make: impl FnOnce() -> T + Send + 'static) -> T {
        let path = CString::new(self.namespace(nth).as_os_str().as_bytes()).expect("no NUL");
        let entered = move || {
            enter(&path).expect("the namespace is there");
            make()
        };
        std::thread::spawn(entered).join().expect("it is made")
    }

    fn build(&self) {
        let bridge = &self.tag;
        let own = self.own();
        ip(
            &["-batch", "-"],
            &format!("link add {bridge} type bridge\nlink set {bridge} up\naddr add {own}/24 dev {bridge}\n"),
        );
        for nth in 0..self.members {
            let (name, host) = (self.name(nth), self.host(nth));
            ip(&["netns", "add", &name], "");
            ip(
                &["-batch", "-"],
                &format!("link add {name} type veth peer name eth0 netns {name}\nlink set {name} master {bridge} up\n"),
            );
            ip(
                &["-n", &name, "-batch", "-"],
                &format!("link set lo up\nlink set eth0 up\naddr add {host}/24 dev eth0\n"),
            );
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for nth in 0..self.members {
            // The link first: with the namespace it would go some time later.
            remove(&["link", "del", &self.name(nth)]);
            remove(&["netns", "del", &self.name(nth)]);
        }
        remove(&["link", "del", &self.tag]);
    }
}

/// What all names begin with; then comes the pid of the test.
const PREFIX: &str = "ut";

fn address(subnet: u32, last: u8) -> Ipv4Addr {
    Ipv4Addr::from((10 << 24) + (64 << 16) + (subnet << 8) + u32::from(last))
}

/// A subnet that nothing on this machine has a route or an address in. Processes beside each other begin elsewhere.
fn free_subnet(first: u32) -> u32 {
    let routes = ip(&["-4", "route", "show", "table", "all"], "");
    let taken = |subnet: u32| {
        let prefix = address(subnet, 0).to_string();
        routes.contains(prefix.trim_end_matches('0'))
    };
    let candidates = (0..SUBNETS).map(|n| first.wrapping_add(n) % SUBNETS);
    candidates.into_iter().find(|&subnet| !taken(subnet)).expect("a free subnet in 10.64.0.0/10")
}

/// Removes what tests left that were killed.
fn sweep() {
    let left = |name: &str| {
        let pid = name.strip_prefix(PREFIX)?.split_once('x')?.0.parse::<u32>().ok()?;
        (!Path::new(&format!("/proc/{pid}")).exists()).then(|| name.to_owned())
    };
    for name in ip(&["netns", "list"], "").lines().filter_map(|line| left(line.split(' ').next()?)) {
        remove(&["netns", "del", &name]);
    }
    let bridges = ip(&["-o", "link", "show", "type", "bridge"], "");
    for name in bridges.lines().filter_map(|line| left(line.split(": ").nth(1)?)) {
        remove(&["link", "del", &name]);
    }
}

/// Runs `ip`, which must succeed; what it said.
fn ip(args: &[&str], input: &str) -> String {
    let mut child = Command::new("ip")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("ip reads what it is to do");
    let output = child.wait_with_output().expect("ip ends");
    assert!(
        output.status.success(),
        "ip {args:?} ({input:?}): {}these tests make network namespaces: run them as root, with CAP_NET_ADMIN and CAP_SYS_ADMIN",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs `ip` to remove something that may be gone already.
fn remove(args: &[&str]) {
    let _ = Command::new("ip").args(args).stdin(Stdio::null()).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    /// A socket in the namespace of a member.
    fn socket(net: &Net, nth: usize) -> UdpSocket {
        let host = net.host(nth);
        let socket = net.inside(nth, move || UdpSocket::bind((host, 7)).expect("its address is there"));
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("above zero");
        socket
    }

    /// True when a packet of `from` reaches `to`.
    fn reaches(net: &Net, sockets: &[UdpSocket], from: usize, to: usize) -> bool {
        // A blackhole refuses what is sent into it.
        let _ = sockets[from].send_to(&[1], (net.host(to), 7));
        sockets[to].recv_from(&mut [0; 8]).is_ok()
    }

    #[test]
    fn a_cut_has_a_direction_and_heals() {
        let net = Net::of(3);
        let sockets: Vec<UdpSocket> = (0..3).map(|nth| socket(&net, nth)).collect();
        let reached = || -> Vec<(usize, usize)> {
            let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
            pairs.into_iter().filter(|&(from, to)| reaches(&net, &sockets, from, to)).collect()
        };
        let all = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
        assert_eq!(reached(), all);
        net.mute(0);
        assert_eq!(reached(), all[2..]);
        net.heal();
        net.deafen(0);
        assert_eq!(reached(), [(0, 1), (0, 2), (1, 2), (2, 1)]);
        net.isolate(0);
        assert_eq!(reached(), [(1, 2), (2, 1)]);
        net.mend(0, 1);
        assert_eq!(reached(), [(0, 1), (1, 0), (1, 2), (2, 1)]);
        net.heal();
        net.silence(1, 2);
        assert_eq!(reached(), [(0, 1), (0, 2), (1, 0), (2, 0), (2, 1)]);
        net.heal();
        assert_eq!(reached(), all);
    }

    #[test]
    fn a_network_leaves_nothing_behind() {
        let net = Net::of(2);
        let (tag, mounted) = (net.tag.clone(), net.namespace(1));
        assert!(mounted.exists() && ip(&["-o", "link"], "").contains(&tag));
        drop(net);
        assert!(!mounted.exists() && !ip(&["-o", "link"], "").contains(&tag));
    }
}
