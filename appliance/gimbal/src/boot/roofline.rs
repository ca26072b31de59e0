//! What a device's memory allows at most: tokens a second of decoding, by arithmetic.
//!
//! A step of single rows reads all weights once, and the keys and values of each of its sequences:
//! `steps/s <= bytes/s / bytes`. Nothing here is measured, and no device reaches its peak. Next: `cli/plan.rs`
//! shows it.

use gimbal_batch::Limits;
use gimbal_hal::{Class, Fit, Kind, Reads};
use gimbal_machine::{Accelerators, Catalogue, Chip, Gpu, Instance, Processor};

/// What bounds one device of a machine, at best.
struct Peak {
    /// Bytes a second of its memory.
    bytes: f64,
    /// Products of 16-bit weights, FLOP a second; `None` where they are not counted.
    flops: Option<f64>,
    /// Where that is from.
    source: String,
}

/// An upper bound, of one copy of a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Roofline {
    /// Tokens of a sequence that is alone: the longest, so that machines can be compared.
    pub(crate) tokens_one: u64,
    /// Tokens of each, where all run: their share of the cache.
    pub(crate) tokens_each: u64,
    /// Tokens a second of a sequence that is alone.
    pub(crate) one: f64,
    /// Sequences that run together.
    pub(crate) sequences: u32,
    /// Tokens a second of all of them.
    pub(crate) all: f64,
    /// True if arithmetic and not memory bounds those.
    pub(crate) is_compute_bound: bool,
    /// Copies, each of which is as fast.
    pub(crate) copies: usize,
    /// The arithmetic, in one line.
    pub(crate) why: String,
}

impl Roofline {
    /// That of a model on a machine; `instance` is its type, if that is known.
    ///
    /// # Errors
    /// What is not known.
    pub(crate) fn of(fit: &Fit, class: Class, instance: Option<&Instance>) -> Result<Self, String> {
        let (Some(reads), Kind::Generate(limits)) = (&fit.reads, &fit.kind) else {
            return Err("nothing is read".to_owned());
        };
        let instance = instance.ok_or(
            "the memory bandwidth of this machine is not in the catalogue; name a type with --instance",
        )?;
        let cores = fit.replicas.first().and_then(|placed| placed.devices.first());
        let peak = peak(instance, class, cores.map_or(1, |device| device.cores))?;
        let devices = fit.replicas.first().map_or(1, |placed| placed.devices.len());
        Ok(Self::new(*reads, limits, &peak, [devices, fit.replicas.len()]))
    }

    fn new(reads: Reads, limits: &Limits, peak: &Peak, [devices, copies]: [usize; 2]) -> Self {
        let sequences = limits.sequences_max;
        let room = u64::from(limits.kv.blocks) * u64::from(limits.kv.block_tokens);
        let longest = u64::from(limits.context_tokens_max);
        let (tokens_one, tokens_each) =
            (longest.min(room), longest.min(room / u64::from(sequences.max(1))));
        let weights = reads.weight_bytes as f64;
        let [kv_one, kv] =
            [tokens_one, tokens_each].map(|tokens| (tokens * reads.kv_bytes_per_token) as f64);
        let bytes = peak.bytes * devices as f64;
        let count = f64::from(sequences);
        let one = bytes / (weights + kv_one);
        let by_memory = count * bytes / (weights + count * kv);
        // A weight costs a row a product and an addition.
        let flop = 2.0 * reads.weights as f64;
        let by_compute = peak.flops.map_or(f64::INFINITY, |flops| flops * devices as f64 / flop);
        let all = by_memory.min(by_compute);
        let is_compute_bound = by_compute < by_memory;
        let gb = |bytes: f64| ((bytes / 1e6).round() / 1e3).to_string();
        let by = if is_compute_bound {
            format!(
                "{:.0} TFLOP/s ÷ 2 FLOP a weight",
                peak.flops.unwrap_or(0.0) * devices as f64 / 1e12
            )
        } else {
            format!(
                "{sequences} × {} ÷ ({} + {sequences} × {} of {tokens_each} tokens)",
                gb(bytes),
                gb(weights),
                gb(kv)
            )
        };
        let why = format!(
            "at most {one:.1} tokens/s of one sequence = {} GB/s ÷ ({} GB of weights + {} GB of its \
             {tokens_one} tokens), {all:.0} of {sequences} together = {by}{}; an estimate by \
             arithmetic, not measured ({})",
            gb(bytes),
            gb(weights),
            gb(kv_one),
            if copies > 1 { format!(", each of {copies} copies") } else { String::new() },
            peak.source
        );
        Self { tokens_one, tokens_each, one, sequences, all, is_compute_bound, copies, why }
    }
}

/// What bounds a device of that class, of so many cores.
fn peak(instance: &Instance, class: Class, cores: u32) -> Result<Peak, String> {
    match class {
        Class::Accelerator => match &instance.accelerators {
            Some(Accelerators { gpu: Some(gpu), .. }) => of_gpu(gpu),
            Some(Accelerators { chip: Some(chip), .. }) => of_chip(chip, cores),
            _ => Err(format!("{} has no GPU and no chip of which that is known", instance.name)),
        },
        Class::Host => {
            let family = Catalogue::embedded().family(instance.family);
            let processor = family.and_then(|family| family.processors.get(&instance.processor));
            of_processor(instance, processor.ok_or("an unknown processor")?)
        }
        Class::Simulated => Err("simulated".to_owned()),
    }
}

fn of_gpu(gpu: &Gpu) -> Result<Peak, String> {
    let fact = &gpu.memory_gb_s;
    let gb_s = fact.value().ok_or_else(|| format!("memory bandwidth: {}", fact.source))?;
    let flops = gpu.f16_tflop_s.value().map(|tflop_s| tflop_s * 1e12);
    let source = format!("{}; {}", fact.source, gpu.f16_tflop_s.source);
    Ok(Peak { bytes: gb_s * 1e9, flops, source })
}

/// Some cores of a Neuron chip: as much of its bandwidth as of its cores.
fn of_chip(chip: &Chip, cores: u32) -> Result<Peak, String> {
    let Chip { cores: all, memory_gb_s, bf16_tflop_s } = chip;
    let gb_s = memory_gb_s.value().ok_or_else(|| format!("bandwidth: {}", memory_gb_s.source))?;
    let count = all.value().ok_or_else(|| format!("cores: {}", all.source))?;
    let share = f64::from(cores) / f64::from(*count);
    let flops = bf16_tflop_s.value().map(|tflop_s| tflop_s * 1e12 * share);
    let source = format!(
        "{cores} of {count} cores of a chip; {}; {}",
        memory_gb_s.source, bf16_tflop_s.source
    );
    Ok(Peak { bytes: gb_s * 1e9 * share, flops, source })
}

/// The instance's share of its sockets: as much of their bandwidth as of their cores.
fn of_processor(instance: &Instance, processor: &Processor) -> Result<Peak, String> {
    let unknown = |what: &str, source: &str| {
        format!("{what} of a socket with {} is not known: {source}", instance.processor)
    };
    let Some(gb_s) = processor.memory_gb_s.value() else {
        return Err(unknown("memory bandwidth", &processor.memory_gb_s.source));
    };
    let Some(cores) = processor.cores.value().copied().filter(|cores| *cores > 0) else {
        return Err(unknown("count of cores", &processor.cores.source));
    };
    let share = f64::from(instance.cores) / f64::from(cores);
    let source = format!(
        "{} of {cores} cores and as much of a socket's {gb_s} GB/s, {}; what neighbours leave unused may \
         come on top; products are not counted",
        instance.cores, processor.memory_gb_s.source
    );
    Ok(Peak { bytes: gb_s * 1e9 * share, flops: None, source })
}

#[cfg(test)]
mod tests {
    use gimbal_batch::{Kv, Prefill, Sampling, Shape};

    use super::*;

    fn limits(sequences_max: u32, blocks: u32) -> Limits {
        Limits {
            kv: Kv { blocks, block_tokens: 16 },
            shape: Shape::Varlen { rows_max: 512 },
            prefill: Prefill::Chunked,
            sequences_max,
            context_tokens_max: 4096,
            vocab: 32000,
            adapters_max: 0,
            inject_width: 0,
            depth: 1,
            sampling: Sampling::HOST,
            batch_invariant: false,
        }
    }

    /// Seven billion weights in 16 bits, with 131072 bytes of keys and values a token.
    const READS: Reads =
        Reads { weights: 7_000_000_000, weight_bytes: 14_000_000_000, kv_bytes_per_token: 131_072 };

    fn peak_of(name: &str, class: Class) -> Result<Peak, String> {
        peak(Catalogue::embedded().instance(name).expect("a type"), class, 2)
    }

    #[test]
    fn bandwidth_bounds_one_sequence_and_arithmetic_many() {
        let t4 = peak_of("g4dn.xlarge", Class::Accelerator).expect("all is known");
        // 320 / (14 + 4096 × 131072 / 1e9) = 22.01.
        let few = Roofline::new(READS, &limits(4, 1024), &t4, [1, 1]);
        assert_eq!((few.tokens_one, few.is_compute_bound), (4096, false));
        assert!((few.one - 22.012).abs() < 0.01, "{few:?}");
        assert!((few.all - 4.0 * 320.0 / (14.0 + 4.0 * 0.536_870_9)).abs() < 0.01, "{few:?}");
        // With hardly any tokens the weights are all there is, and 65e12 / 14e9 = 4643 is less.
        let many = Roofline::new(READS, &limits(512, 32), &t4, [1, 1]);
        assert_eq!((many.tokens_each, many.is_compute_bound), (1, true));
        assert!((many.all - 65e12 / 14e9).abs() < 1.0, "{many:?}");
        for word in ["320 GB/s", "14 GB of weights", "not measured", "data sheet"] {
            assert!(few.why.contains(word), "{}", few.why);
        }
    }

    #[test]
    fn ranks_read_together_and_copies_apart() {
        let l4 = peak_of("g6.12xlarge", Class::Accelerator).expect("all is known");
        let alone = Roofline::new(READS, &limits(1, 256), &l4, [1, 4]);
        let together = Roofline::new(READS, &limits(1, 256), &l4, [4, 1]);
        assert!((together.one / alone.one - 4.0).abs() < 1e-9);
        assert!(alone.why.contains("each of 4 copies"), "{}", alone.why);
    }

    #[test]
    fn a_logical_core_has_a_share_of_its_chip() {
        let [inf2, trn2] = ["inf2.xlarge", "trn2.48xlarge"]
            .map(|name| peak_of(name, Class::Accelerator).expect("known"));
        assert_eq!((inf2.bytes, inf2.flops), (880.5e9, Some(190e12)));
        assert_eq!((trn2.bytes, trn2.flops), (725e9, Some(166.75e12)));
        assert!(peak_of("inf1.xlarge", Class::Accelerator).is_err());
    }

    #[test]
    fn a_processor_has_a_share_of_its_socket() {
        let share = |name| peak_of(name, Class::Host).map(|peak| peak.bytes / 1e9);
        assert_eq!(share("c7g.16xlarge"), Ok(307.2));
        assert_eq!(share("c7g.xlarge"), Ok(307.2 / 16.0));
        // Two sockets.
        assert_eq!(share("c6i.32xlarge"), Ok(2.0 * 204.8));
        assert!(share("c8a.large").is_err_and(|why| why.contains("channels not found")));
        assert!(peak_of("c7g.xlarge", Class::Accelerator).is_err_and(|why| why.contains("no GPU")));
    }
}
