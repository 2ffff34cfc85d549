//! A proxy in front of one member or several, as clients see it, and what it does when members fail.
//!
//! Knob (environment): `SUITE_PROXY_WATCHES` idle watches through one proxy.

mod answers;
mod failures;
mod fake;
mod hostile;
mod life;
mod own;
mod watches;

use crate::harness::{Flavor, Plan, Server};

/// A proxy of the server under test that has these peer URLs in its `--initial-cluster`.
fn plan(peer_urls: &[String]) -> Plan {
    plan_of(Flavor::under_test(), peer_urls)
}

fn plan_of(flavor: Flavor, peer_urls: &[String]) -> Plan {
    let pieces: Vec<String> = (0..).zip(peer_urls).map(|(nth, url)| format!("m{nth}={url}")).collect();
    Plan::of(flavor).uetcd_args(["--cores", "2"]).args(["--proxy", "on", "--initial-cluster", &pieces.join(",")])
}

/// A proxy in front of one server.
fn in_front_of(server: &Server) -> Plan {
    plan(&[peer_url(server)])
}

fn peer_url(server: &Server) -> String {
    format!("http://{}", server.peer_address())
}
