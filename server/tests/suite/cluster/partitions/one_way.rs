//! Links that carry one direction only.

use std::time::{Duration, Instant};

use super::scene::Scene;
use crate::cluster::netns::Net;

/// How long the links stay cut at least.
const CUT: Duration = Duration::from_secs(4);

/// The primary can not do its work: another one takes over, and the old one says so to its clients.
fn primary_is_replaced(cut: fn(&Net, usize)) {
    let scene = Scene::of(3);
    let (old, others) = (scene.cluster.primary(), scene.cluster.followers());
    let shown = scene.load.during(3, || {
        scene.load.wait_for_more(100);
        cut(&scene.net, old);
        let begun = Instant::now();
        let refusals = scene.ask_in_vain(old);
        // One that can still send is obeyed until it notices that nobody answers.
        scene.wait_acknowledged(begun, 2 * scene.cluster.election() + scene.outage());
        let new = scene.cluster.primary_among(&others);
        let shown = scene.read_for(old, CUT);
        refusals.wait();
        assert_eq!(scene.cluster.primary_among(&others), new, "nobody deposes the new primary");
        scene.load.wait_for_more(50);
        scene.heal();
        scene.load.wait_for_more(50);
        shown
    });
    scene.finish(&shown);
}

#[test]
fn a_primary_that_can_only_send_is_replaced() {
    primary_is_replaced(Net::deafen);
}

#[test]
fn a_primary_that_can_only_receive_is_replaced() {
    primary_is_replaced(Net::mute);
}

/// A follower can not do its work: nobody else notices, and no election is held for it.
fn follower_costs_nothing(cut: fn(&Net, usize)) {
    let scene = Scene::of(3);
    let (primary, victim) = (scene.cluster.primary(), scene.cluster.followers()[0]);
    let since = scene.leads_since(primary);
    let shown = scene.load.during(3, || {
        scene.load.wait_for_more(100);
        cut(&scene.net, victim);
        let refusals = scene.ask_in_vain(victim);
        let shown = scene.steady_while(primary, || scene.read_for(victim, CUT));
        refusals.wait();
        scene.heal_under(primary);
        scene.load.wait_for_more(50);
        shown
    });
    assert_eq!(scene.leads_since(primary), since, "there was no election");
    scene.finish(&shown);
}

#[test]
fn a_follower_that_can_only_send_deposes_nobody() {
    follower_costs_nothing(Net::deafen);
}

#[test]
fn a_follower_that_can_only_receive_deposes_nobody() {
    follower_costs_nothing(Net::mute);
}
