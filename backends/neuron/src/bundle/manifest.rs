//! `manifest.json` of a bundle: what is in it, for which devices, and by which compiler.
//!
//! What is not known is refused, and so is what does not fit together. Next: `neff.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::probe::Chip;

/// The form, and its version.
pub const FORMAT: &str = "gimbal.neuron/1";

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The model's name.
    pub model: String,
    /// `Weights::fingerprint_of_bytes` of its files, 64 digits.
    pub fingerprint: String,
    /// The chip it was compiled for.
    pub target: Chip,
    /// Physical cores of a logical one.
    pub lnc: u32,
    /// Ranks, a logical core each.
    pub ranks: u32,
    /// What compiled it.
    pub compiler: Compiler,
    /// Its programs.
    pub programs: Vec<Program>,
    /// Files of weights, one or more a rank.
    pub weights: Vec<Weights>,
}

/// What compiled a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compiler {
    /// Its version, as it tells it.
    pub version: String,
    /// What it was told of every program, in order.
    pub flags: Vec<String>,
    /// The Neuron SDK that it is of.
    pub sdk: String,
    /// The runtime of that SDK, major and minor: an older one may refuse what it compiled.
    pub runtime: [u64; 2],
}

/// A compiled program: one bucket, which all ranks run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Sequences of a step.
    pub sequences: u32,
    /// Rows of each.
    pub rows_each: u32,
    /// Tokens of context that each may reach.
    pub context: u32,
    /// Its NEFF.
    pub neff: Stored,
    /// What it takes.
    pub inputs: Vec<Tensor>,
    /// What it gives.
    pub outputs: Vec<Output>,
}

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Its name within the bundle's folder.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Its digest, 64 digits.
    pub sha256: String,
}

/// An input of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub dtype: Dtype,
    /// Its sizes.
    pub shape: Vec<u64>,
    /// Where it comes from.
    pub from: Source,
}

/// An output of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What its elements are.
    pub dtype: Dtype,
    /// Its sizes.
    pub shape: Vec<u64>,
    /// The input in whose memory it lies, if it does.
    pub alias: Option<String>,
}

/// What elements are, by safetensors' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Dtype {
    /// 32 bits, floating.
    F32,
    /// The upper half of an `F32`.
    Bf16,
    /// 32 bits, signed.
    I32,
    /// 32 bits, unsigned.
    U32,
    /// A byte.
    U8,
}

/// Where an input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A tensor of this name among the rank's weights, written once.
    Weights,
    /// Memory of the device that steps keep, such as the KV cache.
    State,
    /// Written before each step.
    Step,
}

/// A file of weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Whose.
    pub rank: u32,
    /// A `.safetensors` file.
    pub stored: Stored,
}

impl Dtype {
    /// Bytes of an element.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::U8 => 1,
            Self::Bf16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
        }
    }
}

impl Tensor {
    /// Its bytes; none if no number holds them.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.shape.iter().try_fold(self.dtype.bytes(), |bytes, size| bytes.checked_mul(*size))
    }
}

impl Output {
    /// Its bytes; none if no number holds them.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.shape.iter().try_fold(self.dtype.bytes(), |bytes, size| bytes.checked_mul(*size))
    }
}

impl Manifest {
    /// Reads a manifest's text.
    ///
    /// # Errors
    /// The field that is missing, not known, or does not fit the others, and why.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(text)
            .map_err(|error| format!("{error} (the form is {FORMAT})"))?;
        read.check()?;
        Ok(read)
    }

    /// All files that it names.
    pub fn stored(&self) -> impl Iterator<Item = &Stored> {
        let programs = self.programs.iter().map(|program| &program.neff);
        programs.chain(self.weights.iter().map(|weights| &weights.stored))
    }

    /// Says which field does not fit, and why.
    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format: {:?} is not {FORMAT:?}", self.format));
        }
        if !is_digest(&self.fingerprint) {
            return Err("fingerprint: not 64 digits of 0-9a-f".to_owned());
        }
        if !self.target.is_supported() {
            return Err(format!("target: {} is not inf2, trn1 or trn2", self.target));
        }
        if !(1..=self.target.lnc_max()).contains(&self.lnc) {
            return Err(format!("lnc: {} of {}", self.lnc, self.target));
        }
        if self.ranks == 0 || self.programs.is_empty() {
            return Err("ranks, programs: there are none".to_owned());
        }
        let mut files = BTreeSet::new();
        for stored in self.stored() {
            stored.check()?;
            if !files.insert(&stored.file) {
                return Err(format!("{:?} is named twice", stored.file));
            }
        }
        let mut buckets = BTreeSet::new();
        for program in &self.programs {
            let bucket = (program.sequences, program.rows_each, program.context);
            if program.sequences == 0 || program.rows_each == 0 || program.context == 0 {
                return Err(format!("programs: a bucket of {bucket:?}"));
            }
            if !buckets.insert(bucket) {
                return Err(format!("programs: bucket {bucket:?} is there twice"));
            }
            program.check().map_err(|why| format!("program {}: {why}", program.neff.file))?;
        }
        match self.weights.iter().find(|weights| weights.rank >= self.ranks) {
            Some(weights) => Err(format!("weights: rank {} of {}", weights.rank, self.ranks)),
            None => Ok(()),
        }
    }
}

impl Stored {
    fn check(&self) -> Result<(), String> {
        let parts: Vec<_> = Path::new(&self.file).components().collect();
        let is_plain = matches!(parts.as_slice(), [std::path::Component::Normal(_)])
            && !self.file.contains(['/', '\\', '\0']);
        if !is_plain {
            return Err(format!("file: {:?} is no name within the folder", self.file));
        }
        match is_digest(&self.sha256) {
            true => Ok(()),
            false => Err(format!("sha256 of {:?}: not 64 digits of 0-9a-f", self.file)),
        }
    }
}

fn is_digest(text: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    text.len() == 64 && text.chars().all(is_digit)
}

impl Program {
    fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for input in &self.inputs {
            if !names.insert(&input.name) {
                return Err(format!("input {:?} is there twice", input.name));
            }
            if input.bytes().is_none_or(|bytes| bytes == 0) {
                return Err(format!("input {:?} of shape {:?}", input.name, input.shape));
            }
        }
        let (mut outputs, mut aliases) = (BTreeSet::new(), BTreeSet::new());
        for output in &self.outputs {
            if !outputs.insert(&output.name) {
                return Err(format!("output {:?} is there twice", output.name));
            }
            let Some(alias) = &output.alias else { continue };
            let input = self.inputs.iter().find(|input| input.name == *alias);
            let is_same = input.is_some_and(|i| i.dtype == output.dtype && i.shape == output.shape);
            if !is_same || !aliases.insert(alias) {
                return Err(format!(
                    "output {:?} is aliased to {alias:?}, which is no input of its type and shape, or \
                     another's",
                    output.name
                ));
            }
        }
        Ok(())
    }
}
