//! Four devices, each with a model on it, as data.
//!
//! Peak figures are the vendors'; the shares of them that a step reaches (80 % of bandwidth, 40 to
//! 60 % of arithmetic) and the fixed cost of a step are guesses, except on `cpu2`, which was
//! measured. Next: `options.rs`.

use gimbal_batch::{Kv, Limits, Prefill, Sampling, Shape};
use gimbal_neuron::compile::{BLOCK_TOKENS, CONTEXT_DEFAULT, default_buckets};
use gimbal_sim::Cost;

/// No model has more: traces are of many models, and which tokens they hold does not matter here.
const VOCAB: u32 = u32::MAX;

/// A device and the model on it.
#[derive(Clone, Debug)]
pub(super) struct Device {
    /// Its short name.
    pub(super) name: &'static str,
    /// What is simulated.
    pub(super) about: &'static str,
    /// What the scheduler may ask.
    pub(super) limits: Limits,
    /// What a step costs.
    pub(super) cost: Cost,
}

impl Device {
    /// All of them.
    pub(super) fn all() -> Vec<Self> {
        vec![h100(), t4(), cpu2(), inf2()]
    }

    /// The device of that name.
    pub(super) fn find(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|device| device.name == name)
    }
}

fn varlen(blocks: u32, rows_max: u32, sequences_max: u32, context_tokens_max: u32) -> Limits {
    Limits {
        kv: Kv { blocks, block_tokens: 16 },
        shape: Shape::Varlen { rows_max },
        prefill: Prefill::Chunked,
        sequences_max,
        context_tokens_max,
        vocab: VOCAB,
        adapters_max: 0,
        inject_width: 0,
        depth: 2,
        sampling: Sampling::HOST,
        batch_invariant: true,
    }
}

/// 3,350 GB/s and 989 dense BF16 TFLOPS (NVIDIA H100 SXM datasheet). 15 GB of weights a step at
/// 80 %; 15 GFLOP a row at 60 %; 131,072 B of KV a token; 54 GB left for KV.
fn h100() -> Device {
    Device {
        name: "h100",
        about: "NVIDIA H100 SXM 80 GB, Llama 3.1 8B BF16",
        limits: varlen(25_700, 8192, 256, 32_768),
        cost: Cost {
            step_us: 300.0,
            weights_us: 5_600.0,
            row_us: 25.0,
            context_us: 0.049,
            output_us: 4.0,
        },
    }
}

/// 320 GB/s and 65 FP16 TFLOPS (NVIDIA T4 datasheet). 3.1 GB of weights a step at 80 %; 2.6 GFLOP
/// a row at 40 %; 28,672 B of KV a token; 9.4 GB left for KV.
fn t4() -> Device {
    Device {
        name: "t4",
        about: "NVIDIA T4 16 GB, Qwen2.5 1.5B FP16",
        limits: varlen(20_490, 2048, 64, 32_768),
        cost: Cost {
            step_us: 500.0,
            weights_us: 12_100.0,
            row_us: 100.0,
            context_us: 0.112,
            output_us: 18.0,
        },
    }
}

/// Two cores of an AMD EPYC (Zen 3, AVX2), SmolLM2-135M Q4_1 with our kernels, measured: 3.3 ms of
/// matrix products for one row (memory bound, 96.5 MB), 0.96 ms a row of 512 plus attention, the
/// head 9.8 ms for 32 outputs; KV 23,040 B a token at 25 GB/s.
fn cpu2() -> Device {
    let limits = Limits { depth: 1, ..varlen(4_096, 512, 32, 8_192) };
    Device {
        name: "cpu2",
        about: "2 cores of an AMD EPYC (Zen 3), SmolLM2-135M Q4_1",
        limits,
        cost: Cost {
            step_us: 200.0,
            weights_us: 3_300.0,
            row_us: 1_200.0,
            context_us: 0.92,
            output_us: 300.0,
        },
    }
}

/// 820 GiB/s and 190 dense BF16 TFLOPS (AWS Inferentia2 pages, one chip with two NeuronCores).
/// 2.5 GB of weights a step at 70 %; 2.5 GFLOP a row at 40 %; 32,768 B of KV a token, of which both cores
/// have room for all sequences at full length. Shapes are those that `gimbal compile` makes.
fn inf2() -> Device {
    let (sequences, context) = (32, CONTEXT_DEFAULT);
    Device {
        name: "inf2",
        about: "AWS inf2.xlarge, Llama 3.2 1B BF16 on both NeuronCores",
        limits: Limits {
            kv: Kv { blocks: sequences * context / BLOCK_TOKENS, block_tokens: BLOCK_TOKENS },
            shape: Shape::Buckets(default_buckets(sequences, context, u32::MAX)),
            prefill: Prefill::Chunked,
            sequences_max: sequences,
            context_tokens_max: context,
            vocab: VOCAB,
            adapters_max: 0,
            inject_width: 0,
            depth: 1,
            sampling: Sampling { penalties: false, ..Sampling::HOST },
            batch_invariant: false,
        },
        cost: Cost {
            step_us: 1_000.0,
            weights_us: 4_000.0,
            row_us: 33.0,
            context_us: 0.053,
            output_us: 2.0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_can_serve_its_own_context() {
        for device in Device::all() {
            let limits = &device.limits;
            let kv = limits.kv;
            assert!(kv.blocks * kv.block_tokens >= limits.context_tokens_max, "{}", device.name);
            if let Shape::Buckets(buckets) = &limits.shape {
                let decodes = |b: &&gimbal_batch::Bucket| {
                    (b.sequences, b.context) == (limits.sequences_max, limits.context_tokens_max)
                };
                assert_eq!(buckets.iter().filter(decodes).count(), 1, "{}", device.name);
            }
            assert!(Device::find(device.name).is_some(), "{}", device.name);
        }
    }
}
