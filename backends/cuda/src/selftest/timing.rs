//! How long kernels take at the shapes of a model of seven billion weights, and a whole decode step of one
//! of one billion, beside the device's own copy.
//!
//! Bytes and operations are those that the result needs: what a kernel reads twice counts once. Next:
//! `report.rs`.

use gimbal_batch::{AdapterSlot, Batch, BlockId, Output, Part, SeqSlot, Token, TokenId, Want};
use gimbal_hal::DeviceError;
use gimbal_model::fuse::fuse;
use gimbal_model::graph::{Act, Pair, RopeTable};
use gimbal_model::{Decoder, Layer, decoder, shard};

use super::report::{Row, Time, Verdict};
use crate::draws::Draws;
use crate::driver::{Device, Event, Memory};
use crate::inputs::Inputs;
use crate::launch::{
    self, Address, Attend, Cache, Draw, Launch, Norm, Output as To, SPLIT, Tile, Type, Weights,
    tile_rows,
};
use crate::program::{BLOCK_TOKENS, Program, Sizes, Source};

/// Sizes that are timed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sized {
    /// Columns of a row.
    hidden: u32,
    /// Of a feed-forward.
    width: u32,
    heads: u32,
    kv_heads: u32,
    /// Columns of a head.
    dim: u32,
    vocab: u32,
    /// Rows of a chunk of a prompt.
    rows: u32,
    /// Sequences that have a row each.
    sequences: u32,
    /// Tokens of each sequence.
    context: u32,
    /// Layers of the model whose step is timed.
    layers: usize,
    /// What is copied to learn how fast the device copies, at most.
    copied: u64,
}

/// Those of a model of seven billion weights, whose step has 16 layers of a quarter of the columns.
pub(super) const LARGE: Sized = Sized {
    hidden: 4096,
    width: 14336,
    heads: 32,
    kv_heads: 8,
    dim: 128,
    vocab: 128_256,
    rows: 512,
    sequences: 32,
    context: 4096,
    layers: 16,
    copied: 1 << 30,
};

/// So small that an emulated device runs them: its times are not told.
pub(super) const TINY: Sized = Sized {
    hidden: 256,
    width: 192,
    heads: 4,
    kv_heads: 2,
    dim: 64,
    vocab: 320,
    rows: 128,
    sequences: 4,
    context: 512,
    layers: 1,
    copied: 1 << 12,
};

/// Rounds of which the median counts.
const ROUNDS: usize = 5;
/// Seconds of a round, at least.
const ROUND_TIME: f64 = 0.002;

type Timed<T> = Result<T, DeviceError>;

/// A device that is timed.
pub(super) struct Clock<'a> {
    device: &'a Device,
    kind: Type,
    start: Event,
    end: Event,
    /// Bytes a second of the device's own copy, read and written.
    copy: f64,
    sizes: Sized,
    is_emulated: bool,
}

/// What a launch needs.
struct Work {
    name: &'static str,
    shape: String,
    launches: Vec<Launch>,
    bytes: u64,
    flops: u64,
}

impl<'a> Clock<'a> {
    /// Times the device's own copy first.
    pub(super) fn new(device: &'a Device, kind: Type, is_emulated: bool) -> Timed<Self> {
        let sizes = if is_emulated { TINY } else { LARGE };
        let (start, end) = (device.event()?, device.event()?);
        let mut clock = Self { device, kind, start, end, copy: 1.0, sizes, is_emulated };
        let (free, _) = device.memory_now()?;
        let bytes = (free / 8).min(sizes.copied);
        let (from, to) = (clock.filled(bytes)?, clock.filled(bytes)?);
        let [from, to] = [from.address(), to.address()];
        let seconds = clock.seconds(&|| {
            // SAFETY: both places are as large, and live until the clock has waited.
            unsafe { device.copy(to, from, usize::try_from(bytes).unwrap_or(0)) }
        })?;
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let rate = 2.0 * bytes as f64 / seconds;
        clock.copy = rate;
        Ok(clock)
    }

    /// Sequences whose steps are timed together.
    pub(super) const fn sequences(&self) -> u32 {
        self.sizes.sequences
    }

    /// The device's own copy, as a row.
    pub(super) fn copy(&self) -> Row {
        let time = Time {
            seconds: 1.0,
            #[expect(clippy::cast_possible_truncation, reason = "a rate")]
            #[expect(clippy::cast_sign_loss, reason = "a rate")]
            bytes: self.copy as u64,
            flops: 0,
            share_of_copy: 1.0,
            tflops: 0.0,
        };
        let name = "copy within the device, bytes a second".to_owned();
        self.told(Row { name, time: Some(time), ..Row::default() })
    }

    /// Seconds of one turn of what is queued: the median of some rounds of many.
    fn seconds(&self, queue: &dyn Fn() -> Timed<()>) -> Timed<f64> {
        let round = |turns: u32| {
            self.start.record()?;
            for _ in 0..turns {
                queue()?;
            }
            self.end.record()?;
            self.end.settle()?;
            Ok::<f64, DeviceError>(self.end.since(&self.start)?.as_secs_f64() / f64::from(turns))
        };
        let first = round(1)?;
        if self.is_emulated {
            return Ok(first.max(1e-9));
        }
        let once = round(1)?.max(1e-7);
        #[expect(clippy::cast_possible_truncation, reason = "at most 2e4")]
        #[expect(clippy::cast_sign_loss, reason = "above 0")]
        let turns = (ROUND_TIME / once).ceil().max(1.0) as u32;
        let mut all = (0..ROUNDS).map(|_| round(turns)).collect::<Timed<Vec<f64>>>()?;
        all.sort_by(f64::total_cmp);
        Ok(all[ROUNDS / 2])
    }

    fn row(&self, work: &Work) -> Timed<Row> {
        let seconds = self.seconds(&|| {
            for launch in &work.launches {
                // SAFETY: whoever made the work holds memory of the launch's shape until this returns.
                unsafe { self.device.launch(launch) }?;
            }
            Ok(())
        })?;
        #[expect(clippy::cast_precision_loss, reason = "rates")]
        let (bytes, flops) = (work.bytes as f64 / seconds, work.flops as f64 / seconds);
        let time = Time {
            seconds,
            bytes: work.bytes,
            flops: work.flops,
            share_of_copy: bytes / self.copy,
            tflops: flops / 1e12,
        };
        Ok(self.told(Row {
            name: work.name.to_owned(),
            dtype: Some(self.kind.name()),
            shape: Some(work.shape.clone()),
            time: Some(time),
            ..Row::default()
        }))
    }

    /// The row; of an emulated device it only tells that its launches ran.
    fn told(&self, row: Row) -> Row {
        match self.is_emulated {
            true => Row { verdict: Verdict::Emulated, time: None, ..row },
            false => row,
        }
    }

    /// Memory full of small numbers: as halves of either type, and as f32.
    fn filled(&self, bytes: u64) -> Timed<Memory> {
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        let memory = self.device.allocate(size)?;
        // 0x3c.. is about 1 in f16, about 0.01 in bf16 and in f32.
        let some: Vec<u8> = (0..1_u32 << 20).flat_map(|i| [(i * 37 % 251) as u8, 0x3c]).collect();
        let whole = size.min(some.len());
        self.device.write(memory.address(), &some[..whole])?;
        let mut done = whole;
        while done < size {
            let count = done.min(size - done);
            let to = memory.address() + done as u64;
            // SAFETY: what is written lies behind what is read, in one piece of memory that lives until
            // the device has settled below.
            unsafe { self.device.copy(to, memory.address(), count) }?;
            done += count;
        }
        self.device.settle()?;
        Ok(memory)
    }

    /// Zeros.
    fn zeros(&self, words: u32) -> Timed<Memory> {
        let memory = self.device.allocate(words as usize * 4)?;
        self.device.write(memory.address(), &vec![0; words as usize * 4])?;
        Ok(memory)
    }

    /// Products: few rows, and as many as fill the tensor cores.
    pub(super) fn products(&self) -> Timed<Vec<Row>> {
        let Sized { hidden: k, width, rows: most, .. } = self.sizes;
        let n = 2 * width;
        let weight = self.filled(u64::from(n) * u64::from(k) * 2)?;
        let x = self.filled(u64::from(most) * u64::from(k) * 2)?;
        let out = self.filled(u64::from(most) * u64::from(n) * 4)?;
        let places = [out.address(), x.address(), weight.address()];
        let row = |(weights, rows): (Weights, u32)| {
            let launch = launch::linear(self.kind, weights, To::Same, places, [rows, n, k], n);
            self.row(&Work {
                name: if rows > 8 { "gemm" } else { "skinny" },
                shape: format!("{rows} rows, {n} x {k}, weights: {}", weights.name()),
                launches: vec![launch],
                bytes: u64::from(n) * weights.bytes_per_row(k.into())
                    + u64::from(rows) * u64::from(n + k) * 2,
                flops: 2 * u64::from(rows) * u64::from(n) * u64::from(k),
            })
        };
        let all = [Weights::Same, Weights::Q4K]
            .into_iter()
            .flat_map(|weights| [1, 2, 4, 8, 32, most / 4, most].map(|rows| (weights, rows)));
        all.map(row).collect()
    }

    /// Attention of single rows and of a chunk of a prompt.
    pub(super) fn attention(&self) -> Timed<Vec<Row>> {
        let Sized { heads, kv_heads, dim, rows: chunk, sequences, context, .. } = self.sizes;
        let each = context / BLOCK_TOKENS;
        let cells = u64::from(sequences * context);
        let bytes = cells * u64::from(kv_heads * dim) * 2;
        let (keys, values) = (self.filled(bytes)?, self.filled(bytes)?);
        let queries = self.filled(u64::from(chunk * heads * dim) * 2)?;
        let out = self.filled(u64::from(chunk * heads * dim) * 2)?;
        let splits = context.div_ceil(SPLIT);
        let parts = self.filled(u64::from(sequences * heads * splits * dim) * 4)?;
        let shares = self.filled(u64::from(sequences * heads * splits) * 8)?;
        let table: Vec<u32> = (0..sequences * each).collect();
        let tiled = tile_rows(dim);
        let start = context - chunk;
        let tile = |first| Tile { row: first, rows: tiled, sequence: 0, start: start + first };
        let tiles = (0..chunk).step_by(tiled as usize).flat_map(|first| tile(first).words());
        let (table, tiles) = (self.words(&table)?, self.words(&tiles.collect::<Vec<_>>())?);
        let lengths = self.words(&vec![context; sequences as usize])?;
        let attend = Attend {
            queries: queries.address(),
            stride: heads * dim,
            table: table.address(),
            table_stride: each,
            heads,
            dim,
            scale: 0.1,
            softcap: None,
            window: None,
        };
        let (keys, values) = (keys.address(), values.address());
        let cache = Cache { keys, values, kv_heads, block_tokens: BLOCK_TOKENS };
        let token = u64::from(2 * kv_heads * dim) * 2;
        let mut rows = Vec::new();
        for count in [1, sequences] {
            let to = [parts.address(), shares.address(), lengths.address()];
            let merged = [out.address(), parts.address(), shares.address()];
            rows.push(self.row(&Work {
                name: "decode and merge",
                shape: format!("{count} rows of {context} tokens"),
                launches: vec![
                    launch::decode(self.kind, attend, cache, to, [count, splits]),
                    launch::merge(self.kind, merged, [count, heads, dim, splits]),
                ],
                bytes: u64::from(count * context) * token,
                flops: u64::from(count * context) * u64::from(4 * heads * dim),
            })?);
        }
        let seen: u64 = (start + 1..=context).map(u64::from).sum();
        let to = [out.address(), tiles.address()];
        rows.push(self.row(&Work {
            name: "prefill",
            shape: format!("{chunk} rows behind {start} tokens"),
            launches: vec![launch::prefill(self.kind, attend, cache, to, chunk / tiled)],
            bytes: u64::from(context) * token,
            flops: seen * u64::from(4 * heads * dim),
        })?);
        Ok(rows)
    }

    fn words(&self, words: &[u32]) -> Timed<Memory> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let memory = self.device.allocate(bytes.len())?;
        self.device.write(memory.address(), &bytes)?;
        Ok(memory)
    }

    /// What works on rows alone.
    pub(super) fn rows(&self) -> Timed<Vec<Row>> {
        let Sized { hidden, width, vocab, rows, sequences, .. } = self.sizes;
        let wide = self.filled(u64::from(rows) * u64::from(2 * width) * 4)?;
        let out = self.filled(u64::from(rows) * u64::from(2 * width) * 2)?;
        let logits = self.filled(u64::from(sequences) * u64::from(vocab) * 4)?;
        let ids = self.zeros(rows)?;
        let [at, to] = [wide.address(), out.address()];
        let norm = Norm { weight: logits.address(), eps: 1e-5 };
        let work = |name, shape: String, launch, bytes: u64| {
            self.row(&Work { name, shape, launches: vec![launch], bytes, flops: 0 })
        };
        let cells = u64::from(rows) * u64::from(hidden);
        let all = format!("{rows} rows of {hidden}");
        let normed = launch::rms_norm(self.kind, norm, [to, at, 0], [rows, hidden]);
        let gated = launch::silu_mul(self.kind, [to, at], [rows, width]);
        let chosen = launch::argmax([ids.address(), logits.address()], [sequences, vocab]);
        Ok(vec![
            work("rms_norm", all, normed, cells * 6)?,
            work(
                "silu_mul",
                format!("{rows} rows of {width}"),
                gated,
                u64::from(rows) * u64::from(width) * 6,
            )?,
            work(
                "argmax",
                format!("{sequences} rows of {vocab}"),
                chosen,
                u64::from(sequences) * u64::from(vocab) * 4,
            )?,
        ])
    }

    /// A whole step of `sequences` single rows, of a model no weight of which is looked at.
    pub(super) fn step(&self, sequences: u32) -> Timed<Row> {
        let model = |why: String| DeviceError::Model { why };
        let tokens = self.sizes.context / 4;
        let each = tokens / BLOCK_TOKENS;
        let shape = self.sizes.narrow();
        let graph = decoder(&shape);
        let fused = fuse(&graph).map_err(model)?;
        let kept = vec![Weights::Same; graph.weights.len()];
        let shards = shard(&graph, &|_| 1, 1).map_err(model)?;
        let source =
            Source { graph: &graph, fused: &fused, kept: &kept, shards: &shards, kind: self.kind };
        let sizes = Sizes { rows: sequences, sequences, context: tokens, blocks: sequences * each };
        let program = |base: Address| Program::new(source, 0, sizes, base).map_err(model);
        let bytes = program(0)?.bytes;
        let memory = self.filled(bytes.total())?;
        let program = program(memory.address())?;
        let mut inputs = Inputs::default();
        let batch = single_rows(sequences, tokens);
        let mut draws = Draws::default();
        draws.rows = Draw::PADDING.words().repeat(sequences as usize);
        inputs.read(&program, &batch, &vec![7; sequences as usize], Some(&draws));
        let words: Vec<u8> = inputs.words().iter().flat_map(|word| word.to_le_bytes()).collect();
        self.device.write(program.inputs, &words)?;
        let mut launches = program.body(inputs.shape).stages().concat();
        for slab in Program::slabs(inputs.shape) {
            launches.extend(program.head(inputs.shape, slab).stages().concat());
        }
        self.row(&Work {
            name: "decode step",
            shape: format!("{} weight bytes, {sequences} rows of {tokens} tokens", bytes.weights),
            launches,
            // The table of angles and that of the embedding are read at a few rows only.
            bytes: bytes.weights - u64::from(tokens * self.sizes.dim) * 2 + bytes.kv,
            flops: u64::from(sequences) * bytes.weights,
        })
    }
}

impl Sized {
    /// A model of half the columns, a quarter of the work; the embedding is the output projection. Of the large
    /// one: 1.2 billion weights.
    fn narrow(self) -> Decoder {
        let dim = 64;
        Decoder {
            vocab: self.vocab as usize,
            hidden: self.hidden as usize / 2,
            feed_forward: self.width.next_power_of_two() as usize / 2,
            layers: vec![Layer { window: None, rope: Some(0) }; self.layers],
            heads: self.heads as usize,
            kv_heads: self.kv_heads as usize,
            head_dim: dim,
            ropes: vec![RopeTable::plain(500_000.0, dim, Pair::Halves)],
            qkv_bias: false,
            head_norms: None,
            pre_norms: true,
            post_norms: false,
            act: Act::Silu,
            embed_scale: None,
            attention_scale: None,
            eps: 1e-5,
            tied: true,
        }
    }
}

/// Sequences with one row each, behind `tokens - 1` others.
fn single_rows(sequences: u32, tokens: u32) -> Batch {
    let each = tokens / BLOCK_TOKENS;
    let mut batch = Batch::default();
    for slot in 0..sequences {
        let blocks = slot * each..(slot + 1) * each;
        batch.blocks.extend(blocks.clone().map(BlockId));
        batch.tokens.push(Token::Id(TokenId::new(7)));
        let (slot, adapter) = (SeqSlot(slot), AdapterSlot(0));
        batch.parts.push(Part { slot, rows: 1, start: tokens - 1, blocks, adapter });
        batch.outputs.push(Output { row: slot.0, want: Want::Sample, mask: None });
    }
    batch
}
