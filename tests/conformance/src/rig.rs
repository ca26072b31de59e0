//! Drives a backend without a scheduler: sequences own fixed blocks, rows are asked for by hand.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{anyhow, bail};
use gimbal_batch::{
    AdapterSlot, Answer, Batch, BlockId, Open, Outcome, Output, Part, SampleParams, SeqSlot,
    StepId, Token, TokenId, Want,
};
use gimbal_hal::{Artifact, Backend, Host, KvDtype, Platform, Probe, Profile, Seat, Servable};
use gimbal_onnx::{KernelChoice, OnnxPlatform, OnnxSettings};

/// Sequences of a rig.
pub const SEQUENCES: u32 = 32;
/// Longest sequence of a rig, in tokens.
pub const CONTEXT: u32 = 1024;

/// An opened model.
pub struct Rig {
    backend: Box<dyn Backend>,
    step: StepId,
    opened: Vec<bool>,
    /// How sequences choose that begin from now on.
    pub params: SampleParams,
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rig").field("step", &self.step).finish_non_exhaustive()
    }
}

/// One platform for each table of kernels, the plainest first; one that this CPU lacks is skipped
/// aloud.
#[must_use]
pub fn platforms(library: &Path) -> Vec<OnnxPlatform> {
    let of = |(name, kernels): (&str, KernelChoice)| match kernels.table() {
        Ok(_) => Some(OnnxPlatform::new(OnnxSettings { kernels, ..Rig::settings(library, 2) })),
        Err(why) => {
            crate::skip(&format!("kernels {name}: {why}"));
            None
        }
    };
    KernelChoice::ALL.into_iter().filter(|(name, _)| *name != "auto").filter_map(of).collect()
}

/// The next tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// Which sequence, below `SEQUENCES`.
    pub sequence: u32,
    /// Position of the first token.
    pub start: u32,
    /// The tokens.
    pub tokens: &'a [u32],
}

impl Rig {
    /// Opens the model on the CPU with `threads` threads and KV in f16.
    ///
    /// # Errors
    /// The model does not fit or cannot be opened.
    pub fn open(model: &Path, library: &Path, threads: u32) -> anyhow::Result<Self> {
        Self::open_with(model, library, threads, KvDtype::F16)
    }

    /// Opens it with another type of KV.
    ///
    /// # Errors
    /// The model does not fit or cannot be opened.
    pub fn open_with(
        model: &Path,
        library: &Path,
        threads: u32,
        kv_dtype: KvDtype,
    ) -> anyhow::Result<Self> {
        let settings = Self::settings(library, threads);
        Self::open_on(&OnnxPlatform::new(settings), model, kv_dtype)
    }

    /// What a platform of these tests is made of.
    #[must_use]
    pub fn settings(library: &Path, threads: u32) -> OnnxSettings {
        let library = library.to_owned();
        OnnxSettings {
            library: Arc::new(move || Ok(Some(library.clone()))),
            packed_cache: None,
            threads: Some(threads),
            kernels: KernelChoice::Auto,
        }
    }

    /// Opens it on a platform that others may share.
    ///
    /// # Errors
    /// The model does not fit or cannot be opened.
    pub fn open_on(
        platform: &dyn Platform,
        model: &Path,
        kv_dtype: KvDtype,
    ) -> anyhow::Result<Self> {
        Self::open_ranks(platform, model, kv_dtype, None)
    }

    /// Opens it on so many devices together.
    ///
    /// # Errors
    /// The model does not fit or cannot be opened.
    pub fn open_ranks(
        platform: &dyn Platform,
        model: &Path,
        kv_dtype: KvDtype,
        ranks: Option<u16>,
    ) -> anyhow::Result<Self> {
        let artifact = Artifact::open(model)?;
        let profile = Profile {
            sequences_max: SEQUENCES,
            rows_max: CONTEXT,
            context_tokens_max: Some(CONTEXT),
            kv_bytes: None,
            kv_dtype,
            dtype: None,
            quantize: None,
            replicas: None,
            ranks,
        };
        let host = Host {
            cpu: "of tests".to_owned(),
            features: Vec::new(),
            cores: 1,
            memory_total_bytes: 8 << 30,
            memory_bytes: 8 << 30,
            memory_why: "as tests have it".to_owned(),
        };
        let Probe::Found(devices) = platform.probe(&host) else { bail!("no CPU") };
        let fit = platform.fit(&devices, &artifact, &profile)?;
        match platform.open(&fit, Seat::default(), &artifact)? {
            Servable::Generate(backend) => {
                let opened = vec![false; SEQUENCES as usize];
                Ok(Self { backend, step: StepId(0), opened, params: SampleParams::default() })
            }
            Servable::Infer(_) => bail!("the model does not generate"),
        }
    }

    /// Runs one step; returns the logits of the wanted rows, which count over all runs.
    ///
    /// # Errors
    /// The device or a row failed.
    pub fn forward(&mut self, runs: &[Run<'_>], outputs: &[u32]) -> anyhow::Result<Vec<Vec<f32>>> {
        let outcome = self.step(runs, outputs.iter().map(|row| (*row, Want::Row)))?;
        let row = |answer| match answer {
            Ok(Answer::Row(row)) => Ok(row),
            other => Err(anyhow!("{other:?} is no row")),
        };
        outcome.into_iter().map(row).collect()
    }

    /// Runs one step as a server does; returns the most probable tokens after the wanted rows.
    ///
    /// # Errors
    /// The device or a row failed.
    pub fn next(&mut self, runs: &[Run<'_>], outputs: &[u32]) -> anyhow::Result<Vec<u32>> {
        let outcome = self.step(runs, outputs.iter().map(|row| (*row, Want::Sample)))?;
        let token = |answer| match answer {
            Ok(Answer::Sample { token, .. }) => Ok(token.get()),
            other => Err(anyhow!("{other:?} is no token")),
        };
        outcome.into_iter().map(token).collect()
    }

    /// Runs one step; what is wanted of rows, in their order, which count over all runs.
    ///
    /// # Errors
    /// The device failed.
    pub fn step(
        &mut self,
        runs: &[Run<'_>],
        wants: impl IntoIterator<Item = (u32, Want)>,
    ) -> anyhow::Result<Outcome> {
        let mut batch = Batch::default();
        for run in runs {
            let slot = SeqSlot(run.sequence);
            if !std::mem::replace(&mut self.opened[run.sequence as usize], true) {
                let tokens = run.tokens.iter().map(|id| TokenId::new(*id)).collect();
                let prompt = u32::try_from(run.tokens.len())?;
                let params = Arc::new(self.params.clone());
                batch.opens.push(Open { slot, tokens, prompt, params });
            }
            batch.tokens.extend(run.tokens.iter().map(|id| Token::Id(TokenId::new(*id))));
            let rows = u32::try_from(run.tokens.len())?;
            let first = u32::try_from(batch.blocks.len())?;
            let kv = self.backend.limits().kv;
            let blocks = kv.blocks_for(run.start + rows);
            // Sequences' blocks are interleaved, so that a wrong table shows.
            batch.blocks.extend((0..blocks).map(|b| BlockId(b * SEQUENCES + run.sequence)));
            let adapter = AdapterSlot(0);
            let blocks = first..first + blocks;
            batch.parts.push(Part { slot, rows, start: run.start, blocks, adapter });
        }
        let outputs = wants.into_iter().map(|(row, want)| Output { row, want, mask: None });
        batch.outputs.extend(outputs);
        self.step.0 += 1;
        self.backend.submit(self.step, &batch)?;
        Ok(self.backend.collect(Duration::from_secs(60))?.1)
    }

    /// The backend alone.
    #[must_use]
    pub fn into_backend(self) -> Box<dyn Backend> {
        self.backend
    }

    /// Forgets a sequence; its slot starts anew with its next run.
    pub fn restart(&mut self, sequence: u32) {
        self.opened[sequence as usize] = false;
    }
}
