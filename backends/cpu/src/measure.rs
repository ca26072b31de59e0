//! How near the linear kernels come to what this CPU can do, measured in one run.
//!
//! Weights of one matrix of 1536 columns stream past 1, 8, 32 and 128 rows of activations on all
//! threads, as in a step. At one row the bound is the read bandwidth, at 128 the arithmetic of
//! `kernels::Arithmetic` in registers. Rounds of peaks and kernels alternate and the best of each
//! counts, because what a shared machine takes away is nobody's speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gimbal_hal::{KernelFigure, KernelReport, Peaks};
use gimbal_model::weights::{DType, Tensor};
use memmap2::{Advice, MmapMut};

use crate::cpu::Cpu;
use crate::kernels::table::{ActBlock, Arithmetic, Columns};
use crate::memory::{Memory, Shared, ask_for_huge_pages};
use crate::ops::linear::{BothActs, linear};
use crate::pack::{BLOCK, LANES, Packed, Packing, group_bytes, pack_group};

/// Bytes that are streamed at one row: no cache holds them.
const STREAM: usize = 384 << 20;
/// Columns of the weights: whole blocks of every type, K-types' 256 included.
const COLS: usize = 1536;
/// Rows of weights where arithmetic is the bound; they stay in the second-level cache.
const OUT: usize = 576;
/// Blocks of the register loops.
const PEAK_ROUNDS: usize = 1 << 20;
/// Rounds of which the best counts.
const ROUNDS: usize = 5;
/// Rows of activations.
const ROWS: [usize; 4] = [1, 8, 32, 128];

/// Measures for some seconds.
///
/// # Errors
/// There is no memory for the weights.
pub fn measure(cpu: &Cpu) -> std::io::Result<KernelReport> {
    let mut peaks = Peaks::default();
    let mut figures = Vec::new();
    for dtype in DType::ALL {
        let weights = weights(dtype, cpu.kernels.packing)?;
        let mut best = ROWS.map(|_| f64::INFINITY);
        // Of these very pages: where the system puts them may halve what they give.
        let mut of_these = 0.0_f64;
        for _ in 0..ROUNDS {
            let memory = weights.0.memory.bytes();
            of_these = of_these.max(memory.len() as f64 / read(cpu, memory));
            raise(&mut peaks, cpu);
            for (best, rows) in best.iter_mut().zip(ROWS) {
                *best = best.min(seconds(cpu, &weights.cut(rows), rows));
            }
        }
        for (seconds, rows) in best.into_iter().zip(ROWS) {
            let used = weights.cut(rows);
            let bytes = (used.groups() * group_bytes(dtype, used.packing, COLS)) as f64 / seconds;
            let operations = (2 * used.rows * COLS * rows) as f64 / seconds;
            let (of_read, name) = (bytes / of_these, dtype.name());
            let figure =
                KernelFigure { dtype: name, rows, bytes, operations, of_read, of_peak: 0.0 };
            figures.push((dtype, figure));
        }
        peaks.read = peaks.read.max(of_these);
    }
    // Shares of the best of all rounds.
    let share = |(dtype, figure): (DType, KernelFigure)| KernelFigure {
        of_peak: figure.operations / peak(&peaks, Arithmetic::of(dtype)),
        ..figure
    };
    let figures = figures.into_iter().map(share).collect();
    Ok(KernelReport { kernels: cpu.kernels.name, threads: cpu.pool.threads(), peaks, figures })
}

/// Measures all peaks of arithmetic once and keeps what is better.
fn raise(peaks: &mut Peaks, cpu: &Cpu) {
    for arithmetic in Arithmetic::ALL {
        let blocks = AtomicU64::new(0);
        let started = Instant::now();
        cpu.pool.run(cpu.pool.threads(), &|_| {
            let done = (cpu.kernels.peak)(arithmetic, PEAK_ROUNDS) as u64;
            blocks.fetch_add(done, Ordering::Relaxed);
        });
        let operations = blocks.into_inner() as f64 * 2.0 * (BLOCK * LANES) as f64;
        let peak = match arithmetic {
            Arithmetic::Nibbles => &mut peaks.nibbles,
            Arithmetic::Offsets => &mut peaks.offsets,
            Arithmetic::Bytes => &mut peaks.bytes,
            Arithmetic::Floats => &mut peaks.floats,
        };
        *peak = peak.max(operations / started.elapsed().as_secs_f64());
    }
}

fn peak(peaks: &Peaks, arithmetic: Arithmetic) -> f64 {
    match arithmetic {
        Arithmetic::Nibbles => peaks.nibbles,
        Arithmetic::Offsets => peaks.offsets,
        Arithmetic::Bytes => peaks.bytes,
        Arithmetic::Floats => peaks.floats,
    }
}

/// Seconds of reading all bytes once.
fn read(cpu: &Cpu, stream: &[u8]) -> f64 {
    let chunk = stream.len() / (cpu.pool.threads() * 4);
    let sum = AtomicU64::new(0);
    let started = Instant::now();
    cpu.pool.run(stream.len().div_ceil(chunk), &|c| {
        let part = &stream[c * chunk..stream.len().min((c + 1) * chunk)];
        sum.fetch_add((cpu.kernels.read)(part), Ordering::Relaxed);
    });
    std::hint::black_box(sum.into_inner());
    started.elapsed().as_secs_f64()
}

/// Seconds of one product, the median of as many as take about as long as a stream.
fn seconds(cpu: &Cpu, weight: &Packed, rows: usize) -> f64 {
    let x: Vec<f32> = (0..rows * COLS).map(|i| (i % 61) as f32 / 30.0 - 1.0).collect();
    let mut blocks = vec![ActBlock::default(); x.len() / BLOCK];
    cpu.kernels.quantise_rows(&x, rows, &mut blocks);
    let acts = BothActs { floats: &x, blocks: &blocks };
    let mut out = vec![0.0_f32; rows * weight.rows];
    let repeats = if rows == 1 { 1 } else { 8 };
    let mut times: Vec<f64> = (0..repeats)
        .map(|_| {
            let started = Instant::now();
            let (stride, cols) = (weight.rows, weight.rows);
            let out =
                Columns { out: Shared::new(&mut out), stride, first: 0, skip: 0, cols, add: false };
            linear(cpu, acts, rows, &[(weight, out)]);
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Weights of one type, as many as `STREAM` bytes hold.
struct Weights(Packed);

/// Packs one group of plausible values and repeats it.
fn weights(dtype: DType, packing: Packing) -> std::io::Result<Weights> {
    let size = group_bytes(dtype, packing, COLS);
    let groups = STREAM / size;
    let mut map = MmapMut::map_anon(groups * size)?;
    ask_for_huge_pages(map.advise(Advice::HugePage));
    let mut group = vec![0; size];
    fill(dtype, packing, &mut group);
    for out in map.chunks_exact_mut(size) {
        out.copy_from_slice(&group);
    }
    let memory = Arc::new(Memory::new(map.make_read_only()?));
    Ok(Weights(Packed {
        dtype,
        packing,
        rows: groups * packing.rows,
        cols: COLS,
        start: 0,
        memory,
    }))
}

/// A group of numbers from -1 to 1, rounded where the type is of whole numbers.
fn fill(dtype: DType, packing: Packing, group: &mut [u8]) {
    let value = |i: usize| (i * 7919 % 2003) as f32 / 1001.0 - 1.0;
    let values: Vec<u8> = (0..packing.rows * COLS).flat_map(|i| value(i).to_le_bytes()).collect();
    let tensor = Tensor { dtype: DType::F32, rows: packing.rows, cols: COLS, bytes: &values };
    match dtype {
        DType::Q4_1 | DType::Q8_0 | DType::F32 => pack_group(&tensor, dtype, packing, (0, group)),
        // Speed does not depend on values, as long as no scale is a number that is none.
        _ => group.fill(0x11),
    }
}

impl Weights {
    /// All of them for one row, and what the second-level cache holds for more.
    fn cut(&self, rows: usize) -> Packed {
        let all = self.0.clone();
        if rows == 1 { all } else { Packed { rows: OUT, ..all } }
    }
}
