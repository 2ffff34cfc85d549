//! Clients that ask for much do not keep others from making progress.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Plan, Server, env_number, load};

/// Writes of one measurement.
const WRITES: u64 = 200;
/// How much longer the slowest hundredth of the writes may take beside two clients that list everything, in multiples and at least.
const FACTOR: u32 = 40;
const ALLOWED: Duration = Duration::from_millis(400);

/// Writes one after another; the time within which all but a hundredth were answered.
fn p99(server: &Server) -> Duration {
    let mut client = server.client();
    let write = |n: u64| {
        let asked = Instant::now();
        client.set(&format!("/w{}/k", n % 32), &n.to_string());
        asked.elapsed()
    };
    let mut took: Vec<Duration> = (0..env_number("SUITE_WRITES", WRITES)).map(write).collect();
    took.sort_unstable();
    took[took.len() - 1 - took.len() / 100]
}

#[test]
fn listings_of_everything_in_a_loop_do_not_stop_a_writer() {
    let server = Plan::new().uetcd_args(["--cores", "2"]).start();
    load(&server, 2_000, |n| (format!("/l{}/k{n}", n % 32), format!("value={n}")));
    let alone = p99(&server);
    let (done, listed) = (AtomicBool::new(false), AtomicU64::new(0));
    let beside = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // In turn over several connections, so that both executors get some.
                let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
                for at in (0..clients.len()).cycle().take_while(|_| !done.load(Ordering::Relaxed)) {
                    assert_eq!(clients[at].get("/v2/keys/?recursive=true").status, 200);
                    listed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let beside = p99(&server);
        done.store(true, Ordering::Relaxed);
        beside
    });
    println!("99 of 100 writes in {alone:?} alone, in {beside:?} beside {} listings", listed.into_inner());
    assert!(beside <= ALLOWED.max(alone * FACTOR), "99 of 100 writes took {beside:?}, alone {alone:?}");
}
