//! What each kernel moves and computes, and how much of it a multiprocessor must hold: the one table of it.
//!
//! Formulas are sums of products, as the kernels' sources say them; a test holds the two together.
//! Next: `roofline`, what follows for a device.

use anyhow::Context;

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// f32 on CUDA cores.
    Cores,
    /// f16 or bf16 on tensor cores.
    Tensor,
}

/// Kernels of one formula.
#[derive(Debug)]
pub(super) struct Family {
    /// In `backends/cuda/kernels`.
    pub(super) source: &'static str,
    pub(super) computes: &'static str,
    /// Moved to and from the device's memory, each once: caches do the rest.
    pub(super) bytes: &'static str,
    /// A fused multiplication and addition is two; a function such as 2ˣ is one.
    pub(super) flops: &'static str,
    pub(super) unit: Unit,
    pub(super) variants: &'static [Variant],
}

/// Kernels that differ in the type of weights and of the result.
#[derive(Debug)]
pub(super) struct Variant {
    /// The kernels' name up to `_f32` or `_add` (of products) and the type.
    pub(super) name: &'static str,
    /// Where its example is not [`SHAPE`].
    own: &'static [(&'static str, u64)],
    /// The examples: how many rows.
    pub(super) rows: &'static [u64],
    /// The fewest blocks at once on a multiprocessor: of a T4, and of all others.
    pub(super) blocks_min: [u32; 2],
}

/// A model of 8 billion weights, as Llama 3 has it, behind 4096 tokens; the product is that of gates and
/// ups. `seen` are the tokens that one of 512 more rows sees, in the mean, and `keys` those that all see.
const SHAPE: [(&str, u64); 14] = [
    ("hidden", 4096),
    ("cols", 4096),
    ("width", 14336),
    ("heads", 32),
    ("kv_heads", 8),
    ("dim", 128),
    ("groups", 40),
    ("vocab", 128_256),
    ("tokens", 4096),
    ("splits", 16),
    ("n", 28672),
    ("k", 4096),
    ("seen", 4096 + 256),
    ("keys", 4096 + 512),
];

/// The fewest blocks are those of the worst architecture when this was written (2026-11-29): a kernel that
/// comes to hold more registers or shared memory than that shall not go unseen. Of rows with 256 threads
/// all warps of a T4, and 48 elsewhere; what bounds products and attention is their accumulators, in
/// registers, and their tiles, in shared memory.
const ROWS: [u32; 2] = [4, 6];
/// The same of 128 threads.
const COLUMNS: [u32; 2] = [8, 12];

const fn variant(
    name: &'static str,
    own: &'static [(&'static str, u64)],
    rows: &'static [u64],
    blocks_min: [u32; 2],
) -> Variant {
    Variant { name, own, rows, blocks_min }
}

pub(super) static FAMILIES: [Family; 20] = [
    Family {
        source: "embed.cu",
        computes: "rows of the table, scaled, as f32",
        bytes: "rows · hidden · 6",
        flops: "rows · hidden",
        unit: Unit::Cores,
        variants: &[variant("embed", &[], &[512], ROWS)],
    },
    Family {
        source: "round.cu",
        computes: "f32 rows as they are, for a product without a norm before it",
        bytes: "rows · cols · 6",
        flops: "rows · cols",
        unit: Unit::Cores,
        variants: &[variant("round", &[], &[512], ROWS)],
    },
    Family {
        source: "reduce.cu",
        computes: "partial sums of ranks, in their order",
        bytes: "count · ranks · 4 + count · 2",
        flops: "count · ranks",
        unit: Unit::Cores,
        variants: &[variant("reduce", &[("count", 4096 * 32), ("ranks", 4)], &[32], ROWS)],
    },
    Family {
        source: "reduce.cu",
        computes: "the same, added to f32",
        bytes: "count · ranks · 4 + count · 8",
        flops: "count · ranks + count",
        unit: Unit::Cores,
        variants: &[variant("reduce_add", &[("count", 4096 * 32), ("ranks", 4)], &[32], ROWS)],
    },
    Family {
        source: "norm.cu",
        computes: "f32 rows (or picked ones), normalised",
        bytes: "rows · cols · 6",
        flops: "rows · cols · 4",
        unit: Unit::Cores,
        variants: &[variant("rms_norm", &[], &[512], ROWS)],
    },
    Family {
        source: "norm.cu",
        computes: "the norm of a row, added to the residual stream",
        bytes: "rows · cols · 10",
        flops: "rows · cols · 5",
        unit: Unit::Cores,
        variants: &[variant("rms_norm_add", &[], &[512], ROWS)],
    },
    Family {
        source: "norm.cu",
        computes: "norms of heads, in place",
        bytes: "rows · groups · cols · 4",
        flops: "rows · groups · cols · 4",
        unit: Unit::Cores,
        variants: &[variant("rms_norm_groups", &[("cols", 128)], &[512], ROWS)],
    },
    Family {
        source: "rope.cu",
        computes: "biases, rotation, keys and values into the paged cache",
        bytes: "rows · heads · dim · 4 + rows · kv_heads · dim · 8",
        flops: "rows · heads · dim · 3 + rows · kv_heads · dim · 3",
        unit: Unit::Cores,
        variants: &[variant("rope_kv_write", &[], &[512], ROWS)],
    },
    Family {
        source: "activate.cu",
        computes: "gated activations",
        bytes: "rows · width · 6",
        flops: "rows · width · 5",
        unit: Unit::Cores,
        variants: &[variant("silu_mul", &[], &[512], ROWS)],
    },
    Family {
        source: "activate.cu",
        computes: "gated activations",
        bytes: "rows · width · 6",
        flops: "rows · width · 9",
        unit: Unit::Cores,
        variants: &[variant("gelu_mul", &[], &[512], ROWS)],
    },
    Family {
        source: "skinny.cu",
        computes: "products of one to eight rows",
        bytes: "n · k · 2 + rows · k · 2 + rows · n · 2",
        flops: "rows · n · k · 2",
        unit: Unit::Cores,
        variants: &[
            variant("skinny1", &[], &[1], COLUMNS),
            variant("skinny2", &[], &[2], COLUMNS),
            variant("skinny4", &[], &[4], COLUMNS),
            variant("skinny8", &[], &[8], COLUMNS),
        ],
    },
    Family {
        source: "gemm.cu",
        computes: "products of more rows",
        bytes: "n · k · 2 + rows · k · 2 + rows · n · 2",
        flops: "rows · n · k · 2",
        unit: Unit::Tensor,
        variants: &[variant("gemm", &[], &[32, 512], [2, 3])],
    },
    Family {
        source: "quant_embed.cu",
        computes: "rows of a table in blocks, scaled, as f32",
        bytes: "rows · blocks · block + rows · hidden · 4",
        flops: "rows · hidden · 2",
        unit: Unit::Cores,
        variants: &[
            variant("embed_q4_0", &[("blocks", 128), ("block", 18)], &[512], ROWS),
            variant("embed_q4_1", &[("blocks", 128), ("block", 20)], &[512], ROWS),
            variant("embed_q8_0", &[("blocks", 128), ("block", 34)], &[512], ROWS),
            variant("embed_q4_k", &[("blocks", 16), ("block", 144)], &[512], ROWS),
            variant("embed_q6_k", &[("blocks", 16), ("block", 210)], &[512], ROWS),
        ],
    },
    Family {
        source: "quant_skinny.cu",
        computes: "products of one to eight rows with weights in blocks",
        bytes: "n · blocks · block + rows · k · 2 + rows · n · 2",
        flops: "rows · n · k · 2",
        unit: Unit::Cores,
        variants: &[
            variant("skinny1_q4_0", &[("blocks", 128), ("block", 18)], &[1], [8, 10]),
            variant("skinny2_q4_0", &[("blocks", 128), ("block", 18)], &[2], [8, 10]),
            variant("skinny4_q4_0", &[("blocks", 128), ("block", 18)], &[4], [8, 10]),
            variant("skinny8_q4_0", &[("blocks", 128), ("block", 18)], &[8], [8, 10]),
            variant("skinny1_q4_1", &[("blocks", 128), ("block", 20)], &[1], [8, 10]),
            variant("skinny2_q4_1", &[("blocks", 128), ("block", 20)], &[2], [8, 10]),
            variant("skinny4_q4_1", &[("blocks", 128), ("block", 20)], &[4], [8, 10]),
            variant("skinny8_q4_1", &[("blocks", 128), ("block", 20)], &[8], [8, 10]),
            variant("skinny1_q8_0", &[("blocks", 128), ("block", 34)], &[1], [8, 10]),
            variant("skinny2_q8_0", &[("blocks", 128), ("block", 34)], &[2], [8, 10]),
            variant("skinny4_q8_0", &[("blocks", 128), ("block", 34)], &[4], [8, 10]),
            variant("skinny8_q8_0", &[("blocks", 128), ("block", 34)], &[8], [8, 10]),
            variant("skinny1_q4_k", &[("blocks", 16), ("block", 144)], &[1], [8, 10]),
            variant("skinny2_q4_k", &[("blocks", 16), ("block", 144)], &[2], [8, 10]),
            variant("skinny4_q4_k", &[("blocks", 16), ("block", 144)], &[4], [8, 10]),
            variant("skinny8_q4_k", &[("blocks", 16), ("block", 144)], &[8], [8, 10]),
            variant("skinny1_q6_k", &[("blocks", 16), ("block", 210)], &[1], [8, 10]),
            variant("skinny2_q6_k", &[("blocks", 16), ("block", 210)], &[2], [8, 10]),
            variant("skinny4_q6_k", &[("blocks", 16), ("block", 210)], &[4], [8, 10]),
            variant("skinny8_q6_k", &[("blocks", 16), ("block", 210)], &[8], [8, 10]),
        ],
    },
    Family {
        source: "quant_gemm.cu",
        computes: "products of more rows with weights in blocks",
        bytes: "n · blocks · block + rows · k · 2 + rows · n · 2",
        flops: "rows · n · k · 2",
        unit: Unit::Tensor,
        variants: &[
            variant("gemm_q4_0", &[("blocks", 128), ("block", 18)], &[32, 512], [2, 3]),
            variant("gemm_q4_1", &[("blocks", 128), ("block", 20)], &[32, 512], [2, 3]),
            variant("gemm_q8_0", &[("blocks", 128), ("block", 34)], &[32, 512], [2, 3]),
            variant("gemm_q4_k", &[("blocks", 16), ("block", 144)], &[32, 512], [2, 3]),
            variant("gemm_q6_k", &[("blocks", 16), ("block", 210)], &[32, 512], [2, 3]),
        ],
    },
    Family {
        source: "decode.cu",
        computes: "attention of single rows, in splits of 256 tokens",
        bytes: "rows · tokens · kv_heads · dim · 4",
        flops: "rows · tokens · heads · dim · 4",
        unit: Unit::Cores,
        variants: &[
            variant("decode_d64_g1", &[("dim", 64), ("heads", 8)], &[32], [8, 9]),
            variant("decode_d64_g4", &[("dim", 64), ("heads", 32)], &[32], [8, 9]),
            variant("decode_d64_g8", &[("dim", 64), ("heads", 64)], &[32], [6, 6]),
            variant("decode_d96_g1", &[("dim", 96), ("heads", 8)], &[32], [8, 9]),
            variant("decode_d96_g2", &[("dim", 96), ("heads", 16)], &[32], [8, 9]),
            variant("decode_d128_g1", &[("dim", 128), ("heads", 8)], &[32], [8, 9]),
            variant("decode_d128_g4", &[("dim", 128), ("heads", 32)], &[1, 32], [6, 6]),
            variant("decode_d128_g8", &[("dim", 128), ("heads", 64)], &[32], [4, 4]),
            variant("decode_d256_g1", &[("dim", 256), ("heads", 8)], &[32], [8, 9]),
            variant("decode_d256_g4", &[("dim", 256), ("heads", 32)], &[32], [4, 4]),
        ],
    },
    Family {
        source: "decode.cu",
        computes: "the splits of a row put together",
        bytes: "rows · heads · splits · dim · 4 + rows · heads · dim · 2",
        flops: "rows · heads · splits · dim · 2",
        unit: Unit::Cores,
        variants: &[variant("merge", &[], &[32], COLUMNS)],
    },
    Family {
        source: "prefill.cu",
        computes: "attention of several rows of one sequence, chunks behind what is cached included",
        bytes: "keys · kv_heads · dim · 4 + rows · heads · dim · 4",
        flops: "rows · seen · heads · dim · 4",
        unit: Unit::Tensor,
        variants: &[
            variant("prefill_d64", &[("dim", 64)], &[512], [2, 3]),
            variant("prefill_d96", &[("dim", 96)], &[512], [2, 3]),
            variant("prefill_d128", &[("dim", 128)], &[512], [1, 2]),
            variant("prefill_d256", &[("dim", 256)], &[512], [1, 2]),
        ],
    },
    Family {
        source: "argmax.cu",
        computes: "the first of the largest logits",
        bytes: "rows · vocab · 4",
        flops: "rows · vocab",
        unit: Unit::Cores,
        variants: &[variant("argmax", &[], &[1, 32], ROWS)],
    },
    Family {
        source: "sample.cu",
        computes: "a token of each row, as the host sampler chooses it",
        bytes: "rows · vocab · 4",
        flops: "rows · vocab",
        unit: Unit::Cores,
        variants: &[variant("sample", &[], &[1, 32], [1, 1])],
    },
];

impl Variant {
    /// Whether a kernel is one of these.
    pub(super) fn has(&self, kernel: &str) -> bool {
        let stem = kernel.strip_suffix("_bf16").or_else(|| kernel.strip_suffix("_f16"));
        let stem = stem.unwrap_or(kernel);
        stem == self.name
            || self.is_product()
                && ["_f32", "_add"]
                    .iter()
                    .any(|output| stem.strip_suffix(output) == Some(self.name))
    }

    fn is_product(&self) -> bool {
        self.name == "gemm" || self.name.starts_with("skinny")
    }

    /// A formula's value for its example of so many rows.
    pub(super) fn value(&self, formula: &str, rows: u64) -> anyhow::Result<u64> {
        self.value_with(&[], formula, rows)
    }

    /// The same with other sizes.
    pub(super) fn value_with(
        &self,
        sizes: &[(&str, u64)],
        formula: &str,
        rows: u64,
    ) -> anyhow::Result<u64> {
        let value = |name: &str| -> anyhow::Result<u64> {
            if let Ok(number) = name.parse() {
                return Ok(number);
            }
            let known = sizes.iter().chain(self.own).chain(&SHAPE);
            let mut all = known.copied().chain([("rows", rows)]);
            let found = all.find(|(known, _)| *known == name);
            found.map(|(_, value)| value).with_context(|| format!("{name} in {formula:?}"))
        };
        let mut sum = 0;
        for term in formula.split(" + ") {
            let mut product = 1;
            for factor in term.split(" · ") {
                product *= value(factor)?;
            }
            sum += product;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_computed() {
        let variant = variant("any", &[("dim", 64)], &[2], ROWS);
        let value = |formula| variant.value(formula, 2).map_err(|error| error.to_string());
        assert_eq!(value("rows · hidden · 6"), Ok(2 * 4096 * 6));
        // Its own dimension, not the shape's.
        assert_eq!(value("rows · dim · 4 + rows"), Ok(2 * 64 * 4 + 2));
        assert_eq!(value("rows · nobody"), Err("nobody in \"rows · nobody\"".to_owned()));
    }

    #[test]
    fn the_sources_say_the_same_formulas() {
        for family in &FAMILIES {
            let path = crate::root().join("backends/cuda/kernels").join(family.source);
            let text = std::fs::read_to_string(&path).expect(family.source);
            for says in [format!("Bytes: {}.", family.bytes), format!("FLOPs: {}.", family.flops)] {
                assert!(text.contains(&says), "{} does not say {says:?}", family.source);
            }
            for variant in family.variants {
                for rows in variant.rows {
                    variant.value(family.bytes, *rows).expect(variant.name);
                    variant.value(family.flops, *rows).expect(variant.name);
                }
            }
        }
    }

    #[test]
    fn a_kernel_is_of_one_variant() {
        let all = || FAMILIES.iter().flat_map(|family| family.variants);
        for (kernel, expect) in [
            ("rms_norm_bf16", "rms_norm"),
            ("rms_norm_add_f16", "rms_norm_add"),
            ("gemm_add_f16", "gemm"),
            ("gemm_q4_k_f16", "gemm_q4_k"),
            ("embed_q6_k", "embed_q6_k"),
            ("skinny8_f32_bf16", "skinny8"),
            ("decode_d128_g1_f16", "decode_d128_g1"),
            ("argmax", "argmax"),
        ] {
            let found = all().filter(|variant| variant.has(kernel)).map(|variant| variant.name);
            assert_eq!(found.collect::<Vec<_>>(), [expect], "{kernel}");
        }
        assert!(!all().any(|variant| variant.has("embed_add_bf16")));
    }
}
