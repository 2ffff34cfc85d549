//! Ports that nobody else takes, also while nobody listens on them: a node that is killed finds its ports again.

use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that outgoing connections get.
const FIRST: u32 = 10_000;
/// Test processes that run beside each other have neighbouring pids, and begin to look at other ports.
const SLOTS: u32 = 600;
const SLOT: u32 = 32;

/// A port that belongs to this process until the last clone is gone.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    /// What keeps other test processes away: a name in the abstract namespace, which leaves nothing behind.
    _lease: Arc<UnixListener>,
}

impl Port {
    /// The next free port.
    pub(super) fn reserve() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let base = std::process::id() % SLOTS * SLOT;
        for _ in 0..SLOTS * SLOT {
            let offset = (base + NEXT.fetch_add(1, Ordering::Relaxed)) % (SLOTS * SLOT);
            if let Some(port) = Self::claim(u16::try_from(FIRST + offset).expect("below 32768")) {
                return port;
            }
        }
        panic!("no free port below {}", FIRST + SLOTS * SLOT);
    }

    /// This very port, unless another test or program has it.
    fn claim(number: u16) -> Option<Self> {
        let name = SocketAddr::from_abstract_name(format!("uetcd-test-port-{number}")).expect("a short name");
        let lease = UnixListener::bind_addr(&name).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Self { number, _lease: Arc::new(lease) })
    }
}
