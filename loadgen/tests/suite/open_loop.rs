//! Latencies of an open loop count from when a request was due: a server that stands still shows in all requests that were
//! due meanwhile, not in the few that were under way.

use std::net::SocketAddr;
use std::time::Duration;

use crate::harness::{Fake, Reply, number, report};

const STALL: Duration = Duration::from_secs(1);

/// Stands still once, when it has answered so many.
fn stalling(after: u64) -> SocketAddr {
    Fake::serve(move |n| if n == after { Reply::Stall(STALL) } else { Reply::Right })
}

#[test]
fn a_stall_shows_in_everything_that_was_due_meanwhile() {
    let arguments = ["-w", "put", "-c", "2", "--rate", "500", "-d", "3s"];
    let document = report(&[stalling(300)], &arguments);
    // A second of three: a third of the requests waited, 500 ms in the mean.
    let at = |percentile: &str| number(&document, &format!("/latency_us/{percentile}"));
    assert!((850_000..2_000_000).contains(&at("p99")), "{document}");
    assert!((500_000..2_000_000).contains(&at("p90")), "{document}");
    assert!(number(&document, "/since_sent/latency_us/p90") < 300_000, "only two were under way: {document}");
    assert_eq!(number(&document, "/requests") + number(&document, "/unsent"), 1500);
}

#[test]
fn what_could_not_be_sent_before_the_end_is_not_forgotten() {
    let arguments = ["-w", "put", "-c", "1", "--rate", "200", "-d", "1s"];
    // It stands still from the middle of the run until after the end.
    let document = report(&[stalling(120)], &arguments);
    let unsent = number(&document, "/unsent");
    assert!((60..=140).contains(&unsent), "{document}");
    assert_eq!(number(&document, "/requests") + unsent, 200, "{document}");
    assert!(number(&document, "/latency_us/p90") > 200_000, "{document}");
}

#[test]
fn a_closed_loop_is_stalled_along_and_says_so_in_its_maximum_only() {
    let document = report(&[stalling(300)], &["-w", "put", "-c", "1", "-d", "3s", "--warm-up", "0"]);
    assert!(number(&document, "/latency_us_max") >= 1_000_000, "{document}");
    assert!(number(&document, "/latency_us/p99") < 500_000, "{document}");
}
