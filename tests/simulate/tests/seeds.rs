//! The scheduler under thousands of seeds. `GIMBAL_SEED=n` replays one, `GIMBAL_SEEDS=n` runs n.

use std::panic::AssertUnwindSafe;

use gimbal_scheduler::Stats;
use gimbal_simulate::{Scenario, run};

/// Enough for a thorough look in a few seconds on two cores.
const SEEDS: u64 = 60_000;

#[test]
fn every_seed_keeps_every_rule() {
    if let Ok(seed) = std::env::var("GIMBAL_SEED") {
        let scenario = Scenario::new(seed.parse().expect("GIMBAL_SEED is a number"));
        eprintln!("{scenario:#?}");
        eprintln!("{:#?}", run(&scenario));
        return;
    }
    let seeds = std::env::var("GIMBAL_SEEDS");
    let seeds = seeds.map_or(SEEDS, |n| n.parse().expect("GIMBAL_SEEDS is a number"));
    let halves = [0..seeds / 2, seeds / 2..seeds];
    let totals = std::thread::scope(|scope| {
        let threads =
            halves.map(|seeds| scope.spawn(move || seeds.map(run_one).collect::<Vec<_>>()));
        threads.map(|thread| thread.join().expect("a broken rule is printed above"))
    });
    let total = |of: fn(&Stats) -> u64| totals.iter().flatten().map(of).sum::<u64>();
    // The seeds are only worth something if all of this happens in them.
    assert!(total(|s| s.preemptions) > seeds / 60, "shortage happens");
    assert!(total(|s| s.prefix_hit_tokens) > seeds / 60, "sharing happens");
    assert!(total(|s| s.drafts_accepted) > seeds / 60, "right guesses happen");
    assert!(total(|s| s.drafts_proposed - s.drafts_accepted) > seeds / 60, "wrong guesses happen");
    assert!(total(|s| s.injected_tokens) > seeds, "images happen");
    assert!(total(|s| s.row_faults) > seeds / 60, "faults happen");
    assert!(total(|s| s.losses) > seeds / 60, "losses happen");
}

fn run_one(seed: u64) -> Stats {
    let scenario = Scenario::new(seed);
    std::panic::catch_unwind(AssertUnwindSafe(|| run(&scenario))).unwrap_or_else(|panic| {
        eprintln!("replay with GIMBAL_SEED={seed}");
        std::panic::resume_unwind(panic)
    })
}
