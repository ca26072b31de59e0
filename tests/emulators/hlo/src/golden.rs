//! Golden models of each family, and the shapes by which tests run them.
//!
//! Prompts come in chunks, two sequences side by side in blocks that lie in no order, then a token of each
//! at once; the rest of each shape is padding. Next: `rig.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gimbal_batch::{Bucket, Kv};
use gimbal_neuron::hlo::DType;
use gimbal_neuron::lower::{Part, Pick, Wants};
use serde::Deserialize;

/// Blocks of the cache.
pub const KV: Kv = Kv { blocks: 24, block_tokens: 8 };
/// Longest sequence.
pub const CONTEXT: u32 = 96;
/// Two parts of 16 rows: the shorter part is padded.
pub const PREFILL: Bucket = Bucket { sequences: 2, rows_each: 16, context: CONTEXT };
/// Four rows for two sequences.
pub const DECODE: Bucket = Bucket { sequences: 4, rows_each: 1, context: CONTEXT };
/// Blocks of each sequence: none lies where another's does.
pub const BLOCKS: [[u32; 12]; 2] =
    [[23, 1, 20, 3, 18, 5, 16, 7, 14, 9, 12, 11], [0, 22, 2, 21, 4, 19, 6, 17, 8, 15, 10, 13]];

/// Other projects' logits of the last token of each prompt.
#[derive(Clone, Debug, Deserialize)]
pub struct Golden {
    /// Prompts; the last one is longer than a window and several blocks.
    pub prompts: Vec<Vec<u32>>,
    /// Of each family: of each prompt.
    pub families: BTreeMap<String, Vec<Vec<f32>>>,
}

impl Golden {
    /// Reads the golden file.
    ///
    /// # Errors
    /// It is missing or broken.
    pub fn read() -> Result<Self, String> {
        let path = folder().join("logits.json");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// Where the models lie: `NAME.gguf`, and `NAME` of safetensors.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/families")
}

/// A bucket of those caches, with a result for each sequence.
#[must_use]
pub const fn wants(bucket: Bucket, dtype: DType) -> Wants {
    Wants {
        bucket,
        kv: KV,
        context_tokens_max: CONTEXT,
        dtype,
        outputs: bucket.sequences,
        has_logits: true,
        has_draws: false,
    }
}

/// The last row of each part, by its most probable token.
#[must_use]
pub fn picks(parts: &[Part<'_>]) -> Vec<Pick> {
    let last = |part: &Part<'_>| u32::try_from(part.tokens.len() - 1).unwrap_or(u32::MAX);
    (0..).zip(parts).map(|(i, part)| Pick { part: i, row: last(part), ..Pick::default() }).collect()
}

/// Tokens of a prompt as a part of a step, from `start` on.
#[must_use]
pub fn part<'a>(prompt: &'a [u32], start: usize, end: usize, blocks: &'a [u32]) -> Part<'a> {
    let tokens = &prompt[start..end];
    Part { tokens, start: u32::try_from(start).unwrap_or(u32::MAX), blocks }
}

/// All steps that compute two prompts but for their last tokens: the parts of each.
#[must_use]
pub fn chunks<'a>(prompts: [&'a [u32]; 2]) -> Vec<Vec<Part<'a>>> {
    let each = PREFILL.rows_each as usize;
    let ends = prompts.map(|prompt| prompt.len() - 1);
    let step = |start: usize| {
        let of = |which: usize| {
            let end = ends[which].min(start + each);
            (start < end).then(|| part(prompts[which], start, end, &BLOCKS[which]))
        };
        // The longer one is first: parts stand in the first places of a step.
        [0, 1].into_iter().filter_map(of).collect()
    };
    (0..ends[0].max(ends[1])).step_by(each).map(step).collect()
}

/// The step that computes their last tokens.
#[must_use]
pub fn last<'a>(prompts: [&'a [u32]; 2]) -> Vec<Part<'a>> {
    let of = |which: usize| {
        let end = prompts[which].len();
        part(prompts[which], end - 1, end, &BLOCKS[which])
    };
    vec![of(0), of(1)]
}
