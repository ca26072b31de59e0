//! A model becomes a bundle: a module for each bucket, compiled by AWS's neuronx-cc, and each rank's weights.
//!
//! Nothing is compiled twice: what a module, the flags and the compiler's version make is kept by their digest.
//! Reading order: `buckets` (which shapes), `sizes` (how many cores and blocks), `program` (a shape's module and
//! what a manifest says of it), `compiler` (the vendor's program), `weights` (files of tensors).

mod asked;
mod buckets;
mod compiler;
mod program;
mod sizes;
mod weights;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gimbal_batch::{Bucket, Kv};
use gimbal_model::{Model, Shards, shard};

use crate::bundle::{Bundle, BundleError, FORMAT, Manifest, Writer, fingerprint};
use crate::hlo::{DType, Target, lint};
use crate::lower::{Program, Wants, lower};
use crate::probe::Chip;

pub use asked::Asked;
pub use buckets::{CONTEXT_DEFAULT, default_buckets, parse_buckets};
pub use compiler::NeuronxCc;
pub use sizes::{Fitted, Sizes};
pub use weights::Tensors;

/// Tokens of a block of the KV cache: what AWS advises where prefixes are shared.
///
/// **Source**: AWS Neuron, `vllm-neuron` guides, padding and block KV.
pub const BLOCK_TOKENS: u32 = 32;

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// For which chip.
    pub target: Chip,
    /// Physical cores of a logical one.
    pub lnc: u32,
    /// Logical cores that hold the model together.
    pub ranks: usize,
    /// The shapes of steps.
    pub buckets: Vec<Bucket>,
    /// Blocks that sequences may own.
    pub kv_blocks: u32,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The model or a shape cannot be compiled.
    #[error("{0}")]
    Model(String),
    /// No core of such a chip has the memory.
    #[error("{0}")]
    Memory(String),
    /// The compiler is not there, or another one than is known.
    #[error("{0}")]
    Compiler(String),
    /// The compiler refused a module.
    #[error("{bucket}: neuronx-cc: {why}")]
    Refused {
        /// Which shape.
        bucket: String,
        /// What it said.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("{file}: {source}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was written is not whole.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// What has happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Told {
    /// A shape's module has been compiled, or was there.
    Compiled {
        /// Which shape: sequences, rows of each, tokens of context.
        bucket: String,
        /// How many have been, and how many there are.
        done: [usize; 2],
        /// How long it took; nothing if an earlier run had made it.
        took: Option<Duration>,
    },
    /// A rank's weights have been written.
    Weights {
        /// Whose.
        rank: usize,
        /// Bytes of them.
        bytes: u64,
    },
}

/// As people write a bucket: `--buckets` takes it, too.
#[must_use]
pub fn name(bucket: Bucket) -> String {
    let Bucket { sequences, rows_each, context } = bucket;
    format!("{sequences}x{rows_each}x{context}")
}

impl Plan {
    /// The modules of all buckets, linted.
    ///
    /// # Errors
    /// The model has what no program computes, or a module has what the compiler refuses.
    pub fn programs(&self, model: &Model) -> Result<(Shards, Vec<Program>), CompileError> {
        let block = |name: &str| model.weights.block(name);
        let shards = shard(&model.graph, &block, self.ranks).map_err(CompileError::Model)?;
        let context = self.buckets.iter().map(|bucket| bucket.context).max().unwrap_or(0);
        let target = self.lint_target()?;
        let kv = Kv { blocks: self.kv_blocks, block_tokens: BLOCK_TOKENS };
        let program = |bucket: &Bucket| {
            let failed =
                |why: String| CompileError::Model(format!("bucket {}: {why}", name(*bucket)));
            let program = lowered(&shards, *bucket, kv, context).map_err(failed)?;
            let findings = lint(&program.module.proto(), target);
            match findings.first() {
                Some(finding) => Err(failed(finding.to_string())),
                None => Ok(program),
            }
        };
        let programs = self.buckets.iter().map(program).collect::<Result<Vec<_>, _>>()?;
        Ok((shards, programs))
    }

    fn lint_target(&self) -> Result<Target, CompileError> {
        match self.target {
            Chip::Inf2 => Ok(Target::Inf2),
            Chip::Trn1 => Ok(Target::Trn1),
            Chip::Trn2 => Ok(Target::Trn2),
            other => Err(CompileError::Model(format!("--target {other}: inf2, trn1 or trn2"))),
        }
    }
}

/// A bucket's program, as all of a bundle are.
fn lowered(
    shards: &Shards,
    bucket: Bucket,
    kv: Kv,
    context_tokens_max: u32,
) -> Result<Program, String> {
    // Of a sequence's rows the last one has a token.
    let outputs = bucket.sequences;
    let dtype = DType::Bf16;
    let wants = Wants {
        bucket,
        kv,
        context_tokens_max,
        dtype,
        outputs,
        has_logits: false,
        has_draws: true,
    };
    lower(shards, &wants)
}

/// Writes the modules of all buckets into a folder, for who compiles them elsewhere or looks at them.
///
/// # Errors
/// As [`Plan::programs`], or a file cannot be written.
pub fn emit(model: &Model, plan: &Plan, folder: &Path) -> Result<Vec<PathBuf>, CompileError> {
    let (_, programs) = plan.programs(model)?;
    let file = |file: &Path, source| CompileError::File { file: file.to_owned(), source };
    fs::create_dir_all(folder).map_err(|source| file(folder, source))?;
    let write = |program: &Program| {
        let path = folder.join(format!("{}.hlo.pb", name(program.wants.bucket)));
        fs::write(&path, program.module.write()).map_err(|source| file(&path, source))?;
        Ok(path)
    };
    programs.iter().map(write).collect()
}

/// Compiles a model, `jobs` shapes at a time, and writes the bundle, which must not be there. `cache` keeps what was
/// compiled.
///
/// # Errors
/// As [`Plan::programs`]; the compiler refuses a module or is not known; a file cannot be written.
pub fn compile(
    model: &Model,
    plan: &Plan,
    (compiler, jobs): (&NeuronxCc, usize),
    cache: &Path,
    folder: &Path,
    tell: &(dyn Fn(Told) + Sync),
) -> Result<Bundle, CompileError> {
    let (shards, programs) = plan.programs(model)?;
    let write = |source| CompileError::File { file: folder.to_owned(), source };
    // Before minutes go by.
    let writer = Writer::create(folder).map_err(write)?;
    let neffs = all(&programs, jobs, |program, done| {
        let begun = Instant::now();
        let bucket = name(program.wants.bucket);
        let (neff, is_new) = compiler.compile(program, plan, cache)?;
        let took = is_new.then(|| begun.elapsed());
        let done = [done.fetch_add(1, Ordering::Relaxed) + 1, programs.len()];
        tell(Told::Compiled { bucket, done, took });
        Ok(neff)
    })?;
    let mut manifest = Manifest {
        format: FORMAT.to_owned(),
        model: model.name.clone(),
        fingerprint: fingerprint(model),
        target: plan.target,
        lnc: plan.lnc,
        ranks: u32::try_from(plan.ranks).unwrap_or(u32::MAX),
        compiler: compiler.named(plan),
        programs: Vec::new(),
        weights: Vec::new(),
    };
    for (program, neff) in programs.iter().zip(&neffs) {
        let from = fs::File::open(neff)
            .map_err(|source| CompileError::File { file: neff.clone(), source })?;
        let file = format!("{}.neff", name(program.wants.bucket));
        let stored = writer.add(&file, from).map_err(write)?;
        manifest.programs.push(program::of(program, stored).map_err(CompileError::Model)?);
    }
    for rank in 0..plan.ranks {
        let tensors = Tensors::new(&shards, &programs, model, rank).map_err(CompileError::Model)?;
        let stored = writer.add(&format!("rank{rank}.safetensors"), tensors).map_err(write)?;
        tell(Told::Weights { rank, bytes: stored.bytes });
        let rank = u32::try_from(rank).unwrap_or(u32::MAX);
        manifest.weights.push(crate::bundle::Weights { rank, stored });
    }
    Ok(writer.finish(&manifest)?)
}

/// Does something for each program, `jobs` at a time; the first error ends it.
fn all<T: Send>(
    programs: &[Program],
    jobs: usize,
    make: impl Fn(&Program, &AtomicUsize) -> Result<T, CompileError> + Sync,
) -> Result<Vec<T>, CompileError> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results = Mutex::new(Vec::new());
    let lock = || results.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(program) = programs.get(at) else { return };
            let made = make(program, &done);
            if made.is_err() {
                next.store(programs.len(), Ordering::Relaxed);
            }
            lock().push((at, made));
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, programs.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, made)| made).collect()
}
