//! Five members fall into two parts.

use std::time::{Duration, Instant};

use super::scene::{Scene, assert_unhealthy};
use crate::harness::uetcd_only;

/// How long the parts stay apart at least.
const APART: Duration = Duration::from_secs(3);

#[test]
fn two_of_five_refuse_with_the_old_primary_and_three_go_on() {
    let scene = Scene::of(5);
    let (old, others) = (scene.cluster.primary(), scene.cluster.followers());
    let (few, many) = (&[old, others[0]], &others[1..]);
    let shown = scene.load.during(4, || {
        scene.load.wait_for_more(100);
        scene.net.split(few, many);
        let cut = Instant::now();
        let refusals = few.map(|nth| scene.ask_in_vain(nth));
        scene.wait_acknowledged(cut, scene.outage());
        let new = scene.cluster.primary_among(many);
        let shown: Vec<_> = few.iter().flat_map(|&nth| scene.read_for(nth, APART / 2)).collect();
        for (refusals, nth) in refusals.into_iter().zip(few) {
            assert_unhealthy(&scene.cluster, *nth);
            refusals.wait();
        }
        scene.heal_under(new);
        scene.load.wait_for_more(50);
        shown
    });
    scene.finish(&shown);
}

#[test]
fn two_followers_of_five_come_back_without_an_election() {
    uetcd_only!("etcd 3.4 has no pre-vote unless it is told to");
    let scene = Scene::of(5);
    let (primary, others) = (scene.cluster.primary(), scene.cluster.followers());
    let (few, many) = (&others[..2], [primary, others[2], others[3]]);
    let since = scene.leads_since(primary);
    let shown = scene.load.during(4, || {
        scene.load.wait_for_more(100);
        scene.net.split(few, &many);
        let refusals = scene.ask_in_vain(few[0]);
        let shown = scene.steady_while(primary, || scene.read_for(few[1], APART));
        refusals.wait();
        scene.heal_under(primary);
        scene.load.wait_for_more(50);
        shown
    });
    assert_eq!(scene.leads_since(primary), since, "there was no election");
    scene.finish(&shown);
}
