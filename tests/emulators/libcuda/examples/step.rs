//! Seconds that the emulator takes for a token of SmolLM2-135M: every kernel of a step on random weights.
//!
//! `cargo run --profile ci -p gimbal-libcuda --example step -- [STEPS]`. What a step computes is not
//! looked at here; tests of the kernels do that. Nothing of it says how fast a GPU is.
//! Next: `../src/exec.rs`, which runs the kernels.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gimbal_cuda::launch::{self, Attend, Cache, Norm, Output, Rope, Weights};
use gimbal_cuda::{Launch, Type, ptx};
use gimbal_libcuda::{Grid, Memory, Module};

const LAYERS: u32 = 30;
const HIDDEN: u32 = 576;
const HEADS: u32 = 9;
const KV_HEADS: u32 = 3;
const DIM: u32 = 64;
const WIDTH: u32 = 1536;
const VOCAB: u32 = 49152;
/// Tokens before this one, in one block of the cache.
const POSITION: u32 = 63;
const BLOCK_TOKENS: u32 = 64;
const EPS: f32 = 1e-5;
const KIND: Type = Type::Bf16;

/// A layer's weights and its cache.
struct Layer {
    norms: [Norm; 2],
    qkv: u64,
    out: u64,
    gate_up: u64,
    down: u64,
    cache: Cache,
}

/// What a step writes and reads.
struct Room {
    hidden: u64,
    normed: u64,
    qkv: u64,
    both: u64,
    width: u64,
    parts: u64,
    weights: u64,
    logits: u64,
    token: u64,
}

struct Device {
    module: Module,
    memory: Memory,
    noise: u64,
}

impl Device {
    fn room(&self, bytes: u32) -> u64 {
        self.memory.allocate(bytes as usize).expect("memory")
    }

    fn words(&self, words: &[u32]) -> u64 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let at = self.memory.allocate(bytes.len()).expect("memory");
        self.memory.write(at, &bytes).expect("ours");
        at
    }

    /// So many bf16, pairs of small ones.
    fn values(&mut self, count: u32) -> u64 {
        let words = (0..count / 2).map(|_| {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            // Signs and mantissas; all exponents are those of 1/32.
            (self.noise >> 32) as u32 & 0x807f_807f | 0x3d00_3d00
        });
        let words: Vec<u32> = words.collect();
        self.words(&words)
    }

    /// Its weights are f32.
    fn norm(&self) -> Norm {
        Norm { weight: self.words(&[0x3f80_0000; HIDDEN as usize]), eps: EPS }
    }

    fn layer(&mut self) -> Layer {
        let mut cells = || self.values(KV_HEADS * DIM * BLOCK_TOKENS);
        let [keys, values] = [cells(), cells()];
        Layer {
            norms: [self.norm(), self.norm()],
            qkv: self.values((HEADS + 2 * KV_HEADS) * DIM * HIDDEN),
            out: self.values(HIDDEN * HEADS * DIM),
            gate_up: self.values(2 * WIDTH * HIDDEN),
            down: self.values(HIDDEN * WIDTH),
            cache: Cache { keys, values, kv_heads: KV_HEADS, block_tokens: BLOCK_TOKENS },
        }
    }

    fn step_room(&self) -> Room {
        Room {
            hidden: self.room(4 * HIDDEN),
            normed: self.room(2 * HIDDEN),
            qkv: self.room(2 * (HEADS + 2 * KV_HEADS) * DIM),
            both: self.room(4 * WIDTH),
            width: self.room(2 * WIDTH),
            parts: self.room(4 * HEADS * DIM),
            weights: self.room(8 * HEADS),
            logits: self.room(4 * VOCAB),
            token: self.room(4),
        }
    }

    fn run(&self, work: &Launch) {
        let kernel = self.module.kernel(&work.kernel).expect("a kernel");
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let grid = Grid { blocks: work.blocks, workers, ..Grid::of(1, work.threads) };
        let outcome = gimbal_libcuda::launch(kernel, grid, &work.params, &self.memory);
        outcome.unwrap_or_else(|fault| panic!("{fault}"));
    }
}

/// A layer's launches.
fn layer(layer: &Layer, room: &Room, [angles, one]: [u64; 2]) -> Vec<Launch> {
    let product = |output, places, [n, k]: [u32; 2]| {
        launch::linear(KIND, Weights::Same, output, places, [1, n, k], n)
    };
    let stride = (HEADS + 2 * KV_HEADS) * DIM;
    let [position, cell, length, table] = [one, one, one + 4, one + 8];
    let rope = Rope {
        qkv: room.qkv,
        bias: 0,
        angles,
        position,
        cell,
        heads: HEADS,
        dim: DIM,
        pairs: DIM / 2,
        is_adjacent: false,
    };
    let attend = Attend {
        queries: room.qkv,
        stride,
        table,
        table_stride: 1,
        heads: HEADS,
        dim: DIM,
        scale: 0.125,
        softcap: None,
        window: None,
    };
    let parts = [room.parts, room.weights];
    let norm = |norm| launch::rms_norm(KIND, norm, [room.normed, room.hidden, 0], [1, HIDDEN]);
    vec![
        norm(layer.norms[0]),
        product(Output::Same, [room.qkv, room.normed, layer.qkv], [stride, HIDDEN]),
        launch::rope_kv_write(KIND, rope, layer.cache, 1),
        launch::decode(KIND, attend, layer.cache, [parts[0], parts[1], length], [1, 1]),
        launch::merge(KIND, [room.normed, parts[0], parts[1]], [1, HEADS, DIM, 1]),
        product(Output::Add, [room.hidden, room.normed, layer.out], [HIDDEN, HEADS * DIM]),
        norm(layer.norms[1]),
        product(Output::Same, [room.both, room.normed, layer.gate_up], [2 * WIDTH, HIDDEN]),
        launch::silu_mul(KIND, [room.width, room.both], [1, WIDTH]),
        product(Output::Add, [room.hidden, room.width, layer.down], [HIDDEN, WIDTH]),
    ]
}

/// All launches of a step.
fn step(device: &mut Device) -> Vec<Launch> {
    let room = device.step_room();
    let angles = device.words(&vec![0x3f00_0000; (BLOCK_TOKENS * DIM) as usize]);
    // Position and cell, length, table.
    let one = device.words(&[POSITION, POSITION + 1, 0]);
    let [id, newest] = [device.words(&[7]), device.words(&[0])];
    let table = device.values(VOCAB * HIDDEN);
    let (places, sizes) = ([room.hidden, table, id, newest], [1, VOCAB, HIDDEN]);
    let mut work = vec![launch::embed(KIND, Weights::Same, places, 1.0, sizes)];
    for _ in 0..LAYERS {
        work.extend(layer(&device.layer(), &room, [angles, one]));
    }
    let norm = device.norm();
    work.push(launch::rms_norm(KIND, norm, [room.normed, room.hidden, 0], [1, HIDDEN]));
    let head = [room.logits, room.normed, table];
    work.push(launch::linear(KIND, Weights::Same, Output::Float, head, [1, VOCAB, HIDDEN], VOCAB));
    work.push(launch::argmax([room.token, room.logits], [1, VOCAB]));
    work
}

#[expect(clippy::print_stdout, reason = "the program's result")]
fn main() {
    let steps: u32 = std::env::args().nth(1).map_or(5, |steps| steps.parse().expect("a number"));
    let begun = Instant::now();
    let module = Module::parse(ptx(80).expect("a module")).expect("every form is known");
    println!("module read in {:.0} ms", millis(begun.elapsed()));
    let mut device = Device { module, memory: Memory::default(), noise: 1 };
    let work = step(&mut device);
    let mut kernels = BTreeMap::<&str, (u32, Duration)>::new();
    let mut all = Vec::new();
    for _ in 0..steps {
        let begun = Instant::now();
        for launch in &work {
            let begun = Instant::now();
            device.run(launch);
            let (count, time) = kernels.entry(&launch.kernel).or_default();
            *count += 1;
            *time += begun.elapsed();
        }
        all.push(millis(begun.elapsed()));
    }
    for (kernel, (count, time)) in kernels {
        let (count, time) = (count / steps, millis(time) / f64::from(steps));
        println!("{kernel:<24} {count:>4} × {:>8.3} ms = {time:>8.1} ms", time / f64::from(count));
    }
    all.sort_by(f64::total_cmp);
    println!("a step: median {:.1} ms, best {:.1} ms", all[all.len() / 2], all[0]);
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
