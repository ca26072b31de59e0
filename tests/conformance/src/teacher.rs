//! The backend and the interpreter along the reference's own continuations.

use std::path::Path;

use gimbal_hal::KvDtype;
use gimbal_model::Model;
use gimbal_model::interp::{self, Interp};

use crate::golden::{Quality, QualityCase};
use crate::quality::{self, Agreement, bootstrap_ratio, choice};
use crate::rig::{Rig, Run};

/// What was found over all positions.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// What our keys and values were kept as.
    pub kv: KvDtype,
    /// Equal choices where the reference's gap is at least 1.0.
    pub wide: Agreement,
    /// The same at 0.5.
    pub narrow: Agreement,
    /// llama.cpp's at 0.5.
    pub llama: Agreement,
    /// KL(reference ‖ ours) at each position.
    pub ours: Vec<f64>,
    /// KL(reference ‖ llama.cpp).
    pub theirs: Vec<f64>,
}

impl Comparison {
    /// Mean KL of ours over that of llama.cpp.
    fn ratio(&self) -> f64 {
        mean(&self.ours) / mean(&self.theirs)
    }

    /// Prints the figures and fails where they are worse than promised: equal choices at 99 % of
    /// the positions with a gap of 1.0 and 95 % of those with 0.5, KL at most 1.05 of llama.cpp's
    /// with KV in f16, where ours is int8 at most 1.35: what that setting may cost.
    ///
    /// # Errors
    /// The figure that is worse.
    pub fn judge(&self, golden: &Quality) -> anyhow::Result<()> {
        self.print(golden);
        anyhow::ensure!(self.wide.share() >= 0.99, "gap >= 1.0: {:?}", self.wide);
        anyhow::ensure!(self.narrow.share() >= 0.95, "gap >= 0.5: {:?}", self.narrow);
        let most = match self.kv {
            KvDtype::F16 => 1.05,
            KvDtype::Int8 => 1.35,
        };
        anyhow::ensure!(self.ratio() <= most, "KL ratio {} of at most {most}", self.ratio());
        Ok(())
    }

    fn print(&self, golden: &Quality) {
        let Self { kv: our_kv, wide, narrow, llama, ours, theirs } = self;
        eprintln!("positions {}; gap >= 1.0: {wide:?} {:.4}", ours.len(), wide.share());
        eprintln!("gap >= 0.5: {narrow:?} {:.4}, {}: {llama:?}", narrow.share(), golden.llama_cpp);
        let (ours_mean, theirs_mean, kv) = (mean(ours), mean(theirs), &golden.llama_kv);
        let name = our_kv.name();
        eprintln!("mean KL {ours_mean:.6} (KV {name}), llama.cpp {theirs_mean:.6} (KV {kv})");
        let (low, high) = bootstrap_ratio(ours, theirs);
        eprintln!("ratio {:.3}, 95 % interval {low:.3} to {high:.3}", self.ratio());
    }
}

/// Runs all cases with each type of KV.
///
/// # Errors
/// The model cannot be opened, or the interpreter does not choose as the reference does.
pub fn compare(model: &Path, library: &Path, golden: &Quality) -> anyhow::Result<Vec<Comparison>> {
    let reference = references(model, golden)?;
    let compared = KvDtype::ALL.map(|(_, kv)| {
        let mut rig = Rig::open_with(model, library, 2, kv)?;
        compare_one(&mut rig, kv, golden, &reference)
    });
    compared.into_iter().collect()
}

fn compare_one(
    rig: &mut Rig,
    kv: KvDtype,
    golden: &Quality,
    references: &[Vec<Vec<f32>>],
) -> anyhow::Result<Comparison> {
    let mut found = Comparison { kv, ..Comparison::default() };
    for (case, reference) in golden.cases.iter().zip(references) {
        let (whole, outputs) = teacher_forced(case);
        rig.restart(0);
        let logits = rig.forward(&[Run { sequence: 0, start: 0, tokens: &whole }], &outputs)?;
        for (i, logits) in logits.iter().enumerate() {
            let alike = choice(&reference[i]) == case.choice[i];
            // Sums in another order may decide a tie otherwise.
            anyhow::ensure!(alike || case.gap[i] < 1e-3, "interpreter and numpy choose alike");
            found.ours.push(quality::kl(&reference[i], logits)?);
            found.theirs.push(case.llama_kl[i]);
            let is_equal = choice(logits) == case.choice[i];
            if case.gap[i] >= 1.0 {
                found.wide.count(is_equal);
            }
            if case.gap[i] >= 0.5 {
                found.narrow.count(is_equal);
                found.llama.count(case.llama_choice[i] == case.choice[i]);
            }
        }
    }
    Ok(found)
}

fn mean(kl: &[f64]) -> f64 {
    kl.iter().sum::<f64>() / kl.len() as f64
}

/// The whole sequence and the rows whose logits count.
fn teacher_forced(case: &QualityCase) -> (Vec<u32>, Vec<u32>) {
    let mut whole = case.prompt.clone();
    whole.extend(&case.tokens[..case.tokens.len() - 1]);
    let rows = u32::try_from(whole.len()).expect("short");
    let wanted = u32::try_from(case.tokens.len()).expect("short");
    (whole, (rows - wanted..rows).collect())
}

/// The interpreter's logits, on two threads.
fn references(model: &Path, golden: &Quality) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
    let model = Model::open(model)?;
    let half = golden.cases.len() / 2;
    let run = |cases: &[QualityCase]| -> Vec<Vec<Vec<f32>>> {
        let mut interp = Interp::new(&model.graph, &model.weights);
        let one = |(sequence, case): (usize, &QualityCase)| {
            let (whole, outputs) = teacher_forced(case);
            let outputs: Vec<usize> = outputs.iter().map(|o| *o as usize).collect();
            interp.forward(&[interp::Run { sequence, tokens: &whole }], &outputs)
        };
        cases.iter().enumerate().map(one).collect()
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(|| run(&golden.cases[..half]));
        let mut second = run(&golden.cases[half..]);
        let mut all = first.join().map_err(|_| anyhow::anyhow!("the interpreter panicked"))?;
        all.append(&mut second);
        Ok(all)
    })
}
