//! One of three members is cut off in both directions.

use std::time::{Duration, Instant};

use super::scene::{Scene, assert_unhealthy};
use crate::harness::uetcd_only;

/// How long the link stays cut at least.
const CUT: Duration = Duration::from_secs(4);

#[test]
fn a_primary_in_the_minority_refuses_and_the_others_go_on() {
    let scene = Scene::of(3);
    let (old, others) = (scene.cluster.primary(), scene.cluster.followers());
    let shown = scene.load.during(3, || {
        scene.load.wait_for_more(100);
        scene.net.isolate(old);
        let cut = Instant::now();
        let refusals = scene.ask_in_vain(old);
        scene.wait_acknowledged(cut, scene.outage());
        let new = scene.cluster.primary_among(&others);
        assert_ne!(new, old);
        let shown = scene.read_for(old, CUT);
        assert_unhealthy(&scene.cluster, old);
        refusals.wait();
        scene.load.wait_for_more(50);
        scene.heal_under(new);
        scene.load.wait_for_more(50);
        shown
    });
    scene.finish(&shown);
}

#[test]
fn a_follower_in_the_minority_refuses_and_costs_the_others_nothing() {
    uetcd_only!("etcd 3.4 has no pre-vote unless it is told to");
    let scene = Scene::of(3);
    let (primary, victim) = (scene.cluster.primary(), scene.cluster.followers()[0]);
    let since = scene.leads_since(primary);
    let shown = scene.load.during(3, || {
        scene.load.wait_for_more(100);
        scene.net.isolate(victim);
        let refusals = scene.ask_in_vain(victim);
        let shown = scene.steady_while(primary, || scene.read_for(victim, CUT));
        assert_unhealthy(&scene.cluster, victim);
        refusals.wait();
        scene.heal_under(primary);
        scene.load.wait_for_more(50);
        shown
    });
    assert_eq!(scene.leads_since(primary), since, "there was no election");
    scene.finish(&shown);
}
