//! Links that come and go.

use std::thread;
use std::time::{Duration, Instant};

use super::scene::Scene;
use crate::harness::{Rng, env_number, uetcd_only};

/// How long they flap.
const FLAPPING: Duration = Duration::from_secs(6);

/// Calls `down` and `up` in turn, at most 400 ms apart.
fn flap(rng: &mut Rng, down: impl Fn(), up: impl Fn()) -> u64 {
    let (begun, mut times) = (Instant::now(), 0);
    while begun.elapsed() < FLAPPING {
        down();
        thread::sleep(Duration::from_millis(50 + rng.below(350)));
        up();
        thread::sleep(Duration::from_millis(50 + rng.below(350)));
        times += 1;
    }
    times
}

#[test]
fn a_flapping_link_to_one_follower_costs_nobody_else_anything() {
    uetcd_only!("etcd 3.4 has no pre-vote unless it is told to");
    let scene = Scene::of(3);
    let mut rng = Rng::new(env_number("SUITE_CLUSTER_SEED", 1));
    let (primary, follower) = (scene.cluster.primary(), scene.cluster.followers()[0]);
    let since = scene.leads_since(primary);
    scene.load.during(3, || {
        scene.load.wait_for_more(50);
        let times = scene.steady_while(primary, || {
            flap(&mut rng, || scene.net.cut(primary, follower), || scene.net.mend(primary, follower))
        });
        println!("the link went {times} times");
        scene.heal_under(primary);
        scene.load.wait_for_more(50);
    });
    assert_eq!(scene.leads_since(primary), since, "there was no election");
    scene.finish(&[]);
}

#[test]
fn a_primary_whose_links_flap_loses_nothing() {
    let scene = Scene::of(3);
    let mut rng = Rng::new(env_number("SUITE_CLUSTER_SEED", 1));
    let victim = scene.cluster.primary();
    scene.load.during(3, || {
        scene.load.wait_for_more(50);
        let times = flap(&mut rng, || scene.net.isolate(victim), || scene.net.heal());
        println!("the links of the primary went {times} times");
        scene.heal();
        scene.load.wait_for_more(50);
    });
    scene.finish(&[]);
}
