//! Where the proxy itself listens, and what leads there: requests would go round, each of them until nothing is left to
//! connect with. It is the default of members to advertise `localhost`, and a proxy's to listen there.
//!
//! Names are looked up with every refresh, and each connection is looked at once it is made, for names change. What
//! neither finds (an address that is translated, another proxy) ends with [`super::plan`]'s limit of hops.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::{BorrowedFd, RawFd};
use std::ptr;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::config::{Config, Endpoint, Url};

/// How long the names of a refresh are looked up. One that takes longer could not be connected to either.
const LOOK_UP: Duration = Duration::from_secs(2);

/// The proxy's own sockets, for clients and for scrapers.
#[derive(Debug)]
pub(super) struct Own {
    urls: Vec<Url>,
    sockets: Vec<SocketAddr>,
}

impl Own {
    pub(super) fn of(config: &Config) -> Self {
        let urls: Vec<Url> = config.listen_client.iter().chain(&config.listen_metrics).cloned().collect();
        // What has no address is refused when it is to be bound.
        let sockets = urls.iter().filter_map(|url| url.listen_address().ok().flatten()).collect();
        Self { urls, sockets }
    }

    /// Those of `urls` that lead here. Blocks while their names are looked up, for [`LOOK_UP`] in all.
    pub(super) fn led_to(&self, urls: &[Url]) -> Vec<Url> {
        let deadline = Instant::now() + LOOK_UP;
        let here = interfaces();
        urls.iter().filter(|url| self.is_led_to(url, &here, deadline)).cloned().collect()
    }

    fn is_led_to(&self, url: &Url, here: &[IpAddr], deadline: Instant) -> bool {
        if self.urls.contains(url) {
            return true;
        }
        let Endpoint::Tcp(host, port) = url.endpoint() else { return false };
        // Few members have a proxy's port, so few names are looked up at all.
        let may_be = self.sockets.iter().any(|own| own.port() == *port);
        let listens = |ip: IpAddr| self.listens(SocketAddr::new(ip, *port), here);
        may_be && addresses(host, *port, deadline).into_iter().any(listens)
    }

    /// Whether a connection that was just made leads here.
    pub(super) fn is_at_the_end_of(&self, socket: RawFd) -> bool {
        // SAFETY: the caller has the socket open.
        let socket = unsafe { BorrowedFd::borrow_raw(socket) };
        let socket = SockRef::from(&socket);
        let ends = [socket.local_addr(), socket.peer_addr()].map(|end| end.ok().and_then(|end| end.as_socket()));
        let [Some(near), Some(far)] = ends else { return false };
        // Of a machine's own addresses the kernel connects each to itself.
        self.listens(far, &[near.ip().to_canonical()])
    }

    /// Whether who connects to `address` gets to one of the sockets, on a machine with the addresses `here`.
    fn listens(&self, address: SocketAddr, here: &[IpAddr]) -> bool {
        let ip = led(address.ip());
        let is_here = || ip.is_loopback() || here.contains(&ip);
        self.sockets.iter().filter(|own| own.port() == address.port()).any(|own| match own.ip().to_canonical() {
            // It takes IPv4, too.
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => is_here(),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => ip.is_ipv4() && is_here(),
            own => own == ip,
        })
    }
}

/// Where a connection to an address gets to: no address at all means this machine.
fn led(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

/// The addresses of a host; none if they are not known in time. The resolver has no limit of its own, so it is asked on a
/// thread that is left behind.
fn addresses(host: &str, port: u16, deadline: Instant) -> Vec<IpAddr> {
    if let Ok(ip) = host.parse() {
        return vec![ip];
    }
    let host = host.to_owned();
    let (found, wanted) = channel();
    let look_up = move || {
        let addresses = (host.as_str(), port).to_socket_addrs();
        // Nobody may wait any more.
        let _ = found.send(addresses.into_iter().flatten().map(|address| address.ip()).collect());
    };
    if thread::Builder::new().name("uetcd-look-up".to_owned()).spawn(look_up).is_err() {
        return Vec::new();
    }
    wanted.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap_or_default()
}

/// The addresses of this machine's interfaces.
fn interfaces() -> Vec<IpAddr> {
    let mut first = ptr::null_mut();
    // SAFETY: the list is the caller's until it is freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let (mut found, mut next) = (Vec::new(), first);
    // SAFETY: each entry points to the next one or is the last, and all live until the list is freed.
    while let Some(entry) = unsafe { next.as_ref() } {
        // SAFETY: an entry's address is null or points to one of the size that its family has.
        found.extend(unsafe { address(entry.ifa_addr) });
        next = entry.ifa_next;
    }
    // SAFETY: it was not freed before, and nothing of it is used after.
    unsafe { libc::freeifaddrs(first) };
    found
}

/// # Safety
///
/// `address` is null, or points to an address of the size that its family has.
unsafe fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    // SAFETY: see above; every address begins with its family.
    match i32::from(unsafe { address.as_ref() }?.sa_family) {
        libc::AF_INET => {
            // SAFETY: see above.
            let address = unsafe { ptr::read_unaligned(address.cast::<libc::sockaddr_in>()) };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: see above.
            let address = unsafe { ptr::read_unaligned(address.cast::<libc::sockaddr_in6>()) };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd as _;

    use super::*;

    fn own(sockets: &[&str]) -> Own {
        let sockets = sockets.iter().map(|text| text.parse().expect("an address")).collect();
        Own { urls: Vec::new(), sockets }
    }

    #[test]
    fn what_leads_to_a_socket_is_known_by_every_address() {
        let here = ["10.0.0.5", "fd00::5"].map(|text| text.parse().expect("an address"));
        for (listens, address, want) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:1", "[::ffff:127.0.0.1]:1", true),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("127.0.0.1:1", "[::1]:1", false),
            ("127.0.0.1:1", "10.0.0.5:1", false),
            ("10.0.0.5:1", "10.0.0.5:1", true),
            ("[::ffff:10.0.0.5]:1", "10.0.0.5:1", true),
            ("0.0.0.0:1", "127.0.0.2:1", true),
            ("0.0.0.0:1", "10.0.0.5:1", true),
            ("0.0.0.0:1", "10.0.0.6:1", false),
            ("0.0.0.0:1", "10.0.0.5:2", false),
            ("0.0.0.0:1", "[fd00::5]:1", false),
            ("[::]:1", "10.0.0.5:1", true),
            ("[::]:1", "[fd00::5]:1", true),
            ("[::]:1", "[::1]:1", true),
            ("[::]:1", "[::]:1", true),
            ("[::]:1", "[fd00::6]:1", false),
        ] {
            let listens_there = own(&[listens]).listens(address.parse().expect("an address"), &here);
            assert_eq!(listens_there, want, "{listens} and {address}");
        }
    }

    #[test]
    fn names_are_looked_up_for_a_while_and_only_where_the_port_fits() {
        let url = |text| Url::parse(text).expect("a URL");
        let urls = ["http://localhost:1", "http://localhost:2", "http://nobody.invalid:1"].map(url);
        let begun = Instant::now();
        assert_eq!(own(&["127.0.0.1:1"]).led_to(&urls), [url("http://localhost:1")]);
        assert!(begun.elapsed() < LOOK_UP * 2);
        // Whoever is late is not waited for.
        assert_eq!(addresses("nobody.invalid", 1, begun), [] as [IpAddr; 0]);
        assert!(interfaces().iter().any(IpAddr::is_loopback));
    }

    #[test]
    fn a_connection_shows_where_it_leads() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(address).expect("connected");
        let everywhere = format!("0.0.0.0:{}", address.port());
        for (listens, want) in
            [(address.to_string().as_str(), true), (&everywhere, true), ("127.0.0.2:1", false), ("0.0.0.0:1", false)]
        {
            assert_eq!(own(&[listens]).is_at_the_end_of(stream.as_raw_fd()), want, "{listens}");
        }
    }
}
