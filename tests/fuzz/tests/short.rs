//! The short run: every target over its seeds and some thousand mutations of them, always the same.

use gimbal_fuzz::mutate::{Noise, mutate};
use gimbal_fuzz::{TARGETS, Target};

fn run(target: &Target, inputs: usize) {
    let seeds = (target.seeds)();
    seeds.iter().for_each(|seed| (target.run)(seed));
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for _ in 0..inputs {
        let (seed, other) = (&seeds[noise.below(seeds.len())], &seeds[noise.below(seeds.len())]);
        (target.run)(&mutate(&mut noise, seed, other, target.words));
    }
}

#[test]
fn no_target_panics_on_mutated_files() {
    for target in TARGETS {
        let inputs = if target.name == "tokenizer" { 600 } else { 4000 };
        run(&target, inputs);
    }
}
