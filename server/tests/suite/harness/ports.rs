//! Ports that stay free while nobody listens on them.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that outgoing connections get: a member that is down for a while finds its ports again.
const FIRST: u32 = 10_000;
/// Test processes that run beside each other have neighbouring pids, and so other ports.
const SLOTS: u32 = 600;
const SLOT: u32 = 32;

/// The next free port of this process.
pub(super) fn quiet_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let base = std::process::id() % SLOTS * SLOT;
    for _ in 0..SLOTS * SLOT {
        let offset = (base + NEXT.fetch_add(1, Ordering::Relaxed)) % (SLOTS * SLOT);
        let port = u16::try_from(FIRST + offset).expect("below 32768");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port below {}", FIRST + SLOTS * SLOT);
}
