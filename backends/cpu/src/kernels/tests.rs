//! Every instruction set against the scalar definition, to the bit, over odd shapes.

use gimbal_batch::BlockId;
use gimbal_hal::KvDtype;
use gimbal_model::graph::Pair;
use gimbal_model::weights::{DType, Tensor};

use super::table::{ActBlock, Acts, Arithmetic, Attend, Columns, Linear};
use super::*;
use crate::kv_cache::{BLOCK_TOKENS, KvCache};
use crate::memory::Shared;
use crate::pack::Packed;

/// Xorshift: reproducible noise without a dependency.
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// Bytes of a random tensor with sane scales.
    fn tensor(&mut self, dtype: DType, rows: usize, cols: usize) -> Vec<u8> {
        let (elements, size) = dtype.block();
        let mut out = Vec::new();
        for _ in 0..rows * cols / elements {
            let start = out.len();
            // Where a block's f16 scales are; everything else may be any bytes.
            let scales: &[usize] = match dtype {
                DType::F32 | DType::F16 | DType::BF16 => &[],
                DType::Q4_0 | DType::Q5_0 | DType::Q8_0 => &[0],
                DType::Q4_1 | DType::Q5_1 | DType::Q4K | DType::Q5K => &[0, 2],
                DType::Q6K => &[208],
            };
            match dtype {
                DType::F32 => out.extend(self.float().to_le_bytes()),
                DType::F16 => out.extend(half::f16::from_f32(self.float()).to_le_bytes()),
                DType::BF16 => out.extend(&self.float().to_le_bytes()[2..]),
                _ => out.resize_with(start + size, || self.bits().to_le_bytes()[3]),
            }
            for at in scales {
                let scale = half::f16::from_f32(self.float() * 0.05).to_le_bytes();
                out[start + at..start + at + 2].copy_from_slice(&scale);
            }
            // Q8_0 files never hold -128, whose size does not fit i8.
            if dtype == DType::Q8_0 {
                let quants = &mut out[start + 2..];
                quants.iter_mut().filter(|q| **q == 0x80).for_each(|q| *q = 0x81);
            }
        }
        out
    }
}

fn run_linear(kernels: &Kernels, weight: &Packed, x: &[f32], rows: usize, add: bool) -> Vec<f32> {
    let mut blocks = vec![ActBlock::default(); x.len() / 32];
    kernels.quantise_rows(x, rows, &mut blocks);
    let acts = if weight.dtype.is_quantised() { Acts::Blocks(&blocks) } else { Acts::Floats(x) };
    let mut out = vec![1.0; rows * (weight.rows + 3)];
    let columns = Columns {
        out: Shared::new(&mut out),
        stride: weight.rows + 3,
        first: 2,
        skip: 0,
        cols: weight.rows,
        add,
    };
    let task = Linear { weight, groups: 0..weight.groups(), acts, rows, out: columns };
    // SAFETY: one thread, all columns.
    unsafe { (kernels.linear)(&task) };
    if weight.groups() > 1 {
        check_part(kernels, &task, rows);
    }
    out
}

/// All groups but the first, without the columns of the first, are the same values.
fn check_part(kernels: &Kernels, whole: &Linear<'_>, rows: usize) {
    let weight = whole.weight;
    let (skip, stride) = (weight.packing.rows, weight.rows - weight.packing.rows);
    // SAFETY: nobody writes it any more.
    let expect = unsafe { whole.out.out.slice(0..rows * (weight.rows + 3)) };
    let mut out = vec![1.0; rows * stride];
    let columns = Columns { out: Shared::new(&mut out), stride, first: 0, skip, ..whole.out };
    let part = Linear { groups: 1..weight.groups(), out: columns, ..whole.clone() };
    // SAFETY: one thread, all columns.
    unsafe { (kernels.linear)(&part) };
    for (found, expect) in out.chunks(stride).zip(expect.chunks(weight.rows + 3)) {
        assert_eq!(found, &expect[2 + skip..][..stride], "{} from {skip} on", kernels.name);
    }
}

#[test]
fn linear_is_equal_to_the_bit_and_exact_in_the_weights() {
    let mut noise = Noise(88_172_645_463_325_252);
    let (best, _) = KernelChoice::Auto.table().expect("there is one");
    for dtype in DType::ALL {
        for (out, cols) in [(1, 32), (7, 64), (8, 96), (19, 576), (24, 1536), (9, 256)] {
            if cols % dtype.block().0 != 0 {
                continue;
            }
            let bytes = noise.tensor(dtype, out, cols);
            let tensor = Tensor { dtype, rows: out, cols, bytes: &bytes };
            let packed = |kernels: &Kernels| Packed::of(&tensor, kernels.packing);
            for rows in [1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 97, 103] {
                let x = noise.floats(rows * cols);
                let expect = run_linear(all()[0], &packed(all()[0]), &x, rows, false);
                for kernels in all() {
                    let found = run_linear(kernels, &packed(kernels), &x, rows, false);
                    assert_eq!(
                        found, expect,
                        "{} {dtype:?} {out}x{cols} rows {rows}",
                        kernels.name
                    );
                }
                let added = run_linear(best, &packed(best), &x, rows, true);
                assert_eq!(added[2], expect[2] + 1.0);
                check_exact(&tensor, &x, &expect, rows);
            }
        }
    }
}

/// Against f64 over the exact weights: quantised activations cost at most half a step of 1/127 of
/// the block's largest value per element.
fn check_exact(tensor: &Tensor<'_>, x: &[f32], found: &[f32], rows: usize) {
    let (cols, stride) = (tensor.cols, tensor.rows + 3);
    let is_float = !tensor.dtype.is_quantised();
    for row in [0, rows - 1] {
        for o in [0, tensor.rows - 1] {
            let mut weight = vec![0.0; cols];
            tensor.read_row(o, &mut weight);
            let (mut expect, mut bound) = (0.0_f64, 1e-5_f64);
            for (w, x) in weight.iter().zip(&x[row * cols..]) {
                expect += f64::from(*w) * f64::from(*x);
                bound += f64::from(w.abs()) * if is_float { 1e-6 } else { 0.5 / 127.0 };
            }
            let error = (f64::from(found[row * stride + 2 + o]) - expect).abs();
            assert!(error <= bound, "{:?} row {row} out {o}: {error} > {bound}", tensor.dtype);
        }
    }
}

#[test]
fn row_kernels_are_equal_to_the_bit() {
    let mut noise = Noise(7);
    for cols in [32, 64, 576, 1536] {
        let x: Vec<f32> = noise.floats(cols).iter().map(|x| x * 20.0).collect();
        let weight = noise.floats(cols);
        let results = all().into_iter().map(|k| {
            let mut normed = vec![0.0; cols];
            (k.rms_norm)(&x, &weight, 1e-5, &mut normed);
            let mut gates = [x.clone(), x.clone()];
            (k.silu_mul)(&mut gates[0], &weight);
            (k.gelu_mul)(&mut gates[1], &weight);
            let mut half = vec![[0; 2]; cols];
            (k.to_f16)(&x.iter().map(|x| x * 1e4).collect::<Vec<_>>(), &mut half);
            let mut blocks = vec![ActBlock::default(); cols / 32];
            (k.quantise)(&x, 1, &mut blocks);
            let mut sum = x[..cols - 3].to_vec();
            (k.add)(&mut sum, &weight[..cols - 3]);
            (normed, gates, half, blocks, sum)
        });
        let results: Vec<_> = results.collect();
        assert!(results.iter().all(|r| *r == results[0]), "{cols} columns");
    }
}

#[test]
fn heads_are_rotated_alike_and_as_defined() {
    let mut noise = Noise(11);
    for pairs in [1, 3, 4, 5, 8, 10, 12, 16, 27, 32, 64] {
        let angles: Vec<[f32; 2]> = (0..pairs).map(|_| [noise.float(), noise.float()]).collect();
        let head = noise.floats(2 * pairs + 8);
        for pair in [Pair::Adjacent, Pair::Halves] {
            for k in all() {
                let mut found = head.clone();
                (k.rotate)(&mut found, &angles, pair);
                let mut expect = head.clone();
                for (i, [cos, sin]) in angles.iter().enumerate() {
                    let (a, b) = pair.columns(i, pairs);
                    expect[a] = head[a] * cos - head[b] * sin;
                    expect[b] = head[a] * sin + head[b] * cos;
                }
                assert_eq!(found, expect, "{} {pairs} {pair:?}", k.name);
            }
        }
    }
}

/// Numbers of every kind a row can hold, those that are none included.
#[test]
fn rows_are_rounded_to_int8_alike_and_within_half_a_step() {
    let mut noise = Noise(13);
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, 1e-40, -0.0, f32::MIN_POSITIVE];
    for (cols, by) in [(8, 1.0), (64, 1e3), (96, 1e-42), (512, 1e-3), (8, 0.0)] {
        for odds in [0, odd.len()] {
            let mut x: Vec<f32> = noise.floats(cols).iter().map(|x| x * by).collect();
            odd[..odds].iter().zip(&mut x).for_each(|(odd, x)| *x = *odd);
            let results = all().into_iter().map(|k| {
                let mut out = vec![[0; 1]; cols];
                let scale = (k.to_int8)(&x, &mut out);
                (scale, out)
            });
            let results: Vec<_> = results.collect();
            assert!(results.iter().all(|r| *r == results[0]), "{cols} {by} {odds}: {x:?}");
            let (scale, out) = &results[0];
            assert!(scale.is_finite());
            for (x, [q]) in x.iter().zip(out).filter(|(x, _)| x.abs() <= 65504.0 && by != 1e-42) {
                let error = (x - f32::from(q.cast_signed()) * scale).abs();
                assert!(error <= 0.501 * scale, "{x} is {q} of {scale}");
            }
        }
    }
}

#[test]
fn what_kernels_are_measured_against_does_its_work() {
    let bytes: Vec<u8> = (0..1024_u32).map(|i| (i * 31 % 251) as u8).collect();
    for k in all() {
        assert_eq!((k.read)(&bytes), (all()[0].read)(&bytes), "{}", k.name);
        for arithmetic in Arithmetic::ALL {
            assert!((k.peak)(arithmetic, 3) >= 3, "{} {arithmetic:?}", k.name);
        }
    }
}

#[test]
fn activations_are_the_functions_they_are_named_for() {
    let x = [-1e4, -300.0, -100.0, -88.5, -9.0, -3.0, -1.0, -1e-3, 0.0, 1e-3, 0.5, 2.0, 9.0, 89.0];
    let mut x = x.to_vec();
    x.extend([300.0, 1e4]);
    let ones = vec![1.0; x.len()];
    for k in all() {
        let (mut silu, mut gelu) = (x.clone(), x.clone());
        (k.silu_mul)(&mut silu, &ones);
        (k.gelu_mul)(&mut gelu, &ones);
        for (i, x) in x.iter().map(|x| f64::from(*x)).enumerate() {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
            for (name, found, expect) in [
                ("silu", silu[i], x / (1.0 + (-x).exp())),
                ("gelu", gelu[i], 0.5 * x * (1.0 + u.tanh())),
            ] {
                let error = (f64::from(found) - expect).abs();
                assert!(error <= 1e-6 * x.abs().max(1.0), "{} {name}({x}) is {found}", k.name);
            }
        }
    }
}

#[test]
fn attention_is_equal_to_the_bit_and_to_the_definition() {
    for (dim, group, window, softcap) in [
        (64, 3, None, None),
        (8, 1, Some(5), None),
        (16, 8, Some(20), Some(3.0)),
        (32, 2, None, Some(5.0)),
        (96, 1, None, None),
        (40, 6, Some(9), None),
    ] {
        for (start, rows) in [(0, 1), (0, 4), (15, 3), (37, 1), (30, 4)] {
            for (_, dtype) in KvDtype::ALL {
                let case = Case { dim, group, window, softcap, start, rows, dtype };
                let results = all().into_iter().map(|k| case.run(k, &mut Noise(5)));
                let results: Vec<_> = results.collect();
                assert!(results.iter().all(|r| r.0 == results[0].0), "{case:?}");
                let error = results[0].1;
                assert!(error < 2e-5, "{case:?}: {error}");
            }
        }
    }
}

#[derive(Debug)]
struct Case {
    dim: usize,
    group: usize,
    window: Option<usize>,
    softcap: Option<f32>,
    start: usize,
    rows: usize,
    dtype: KvDtype,
}

impl Case {
    /// The result and its largest distance from an f64 computation over the same cache.
    fn run(&self, kernels: &Kernels, noise: &mut Noise) -> (Vec<f32>, f64) {
        let mut graph = gimbal_model::graph::Graph::default();
        let (kv_heads, head_dim, window) = (2, self.dim, self.window);
        graph.states.push(gimbal_model::graph::State::Kv { kv_heads, head_dim, window });
        let mut kv = KvCache::new(&graph, self.dtype, 8).expect("memory");
        let (layout, cache) = kv.state(0);
        let table: Vec<BlockId> = [3, 1, 6].map(BlockId).to_vec();
        let seen = self.start + self.rows;
        let (mut keys, mut values) = (vec![], vec![]);
        for position in 0..seen {
            let (block, at) = (table[position / BLOCK_TOKENS].0 as usize, position % BLOCK_TOKENS);
            let write = |at: usize, bytes: &[u8]| {
                // SAFETY: one thread.
                unsafe { cache.slice_mut(at..at + bytes.len()) }.copy_from_slice(bytes);
            };
            let starts = [layout.keys(block, 1).start, layout.values(block, 1).start];
            let scales = [noise.float().abs() / 127.0, noise.float().abs() / 127.0];
            if self.dtype == KvDtype::Int8 {
                for (start, scale) in starts.into_iter().zip(scales) {
                    write(start + layout.numbers() + 4 * at, &scale.to_le_bytes());
                }
            }
            for d in 0..self.dim {
                let cells = [d * BLOCK_TOKENS + at, at * self.dim + d];
                for (i, kept) in [&mut keys, &mut values].into_iter().enumerate() {
                    let cell = starts[i] + cells[i] * layout.size();
                    if self.dtype == KvDtype::Int8 {
                        let [q, ..] = noise.bits().to_le_bytes().map(u8::cast_signed);
                        write(cell, &q.to_le_bytes());
                        kept.push(f64::from(q) * f64::from(scales[i]));
                    } else {
                        let half = half::f16::from_f32(noise.float());
                        write(cell, &half.to_le_bytes());
                        kept.push(half.to_f64());
                    }
                }
            }
        }
        let width = self.group * self.dim;
        let mut queries = noise.floats(self.rows * (width + 5));
        let copy = queries.clone();
        let task = Attend {
            queries: Shared::new(&mut queries),
            query_stride: width + 5,
            query_first: 2,
            rows: self.rows,
            start: self.start,
            group: self.group,
            kv_head: 1,
            layout,
            cache,
            table: &table,
            window: self.window,
            scale: 0.3,
            softcap: self.softcap,
        };
        let mut out = vec![0.0; self.rows * width];
        // SAFETY: one thread.
        unsafe { (kernels.attend)(&task, &mut out) };
        let error = self.error(&copy, &keys, &values, &out);
        (out, error)
    }

    fn error(&self, queries: &[f32], keys: &[f64], values: &[f64], out: &[f32]) -> f64 {
        let (dim, width) = (self.dim, self.group * self.dim);
        let mut worst = 0.0_f64;
        for row in 0..self.rows {
            let end = self.start + row + 1;
            let first = self.window.map_or(0, |w| end.saturating_sub(w));
            for head in 0..self.group {
                let q = &queries[row * (width + 5) + 2 + head * dim..][..dim];
                let score = |p: usize| {
                    let dot: f64 = (0..dim).map(|d| f64::from(q[d]) * keys[p * dim + d]).sum();
                    let s = dot * f64::from(0.3_f32);
                    self.softcap.map_or(s, |c| f64::from(c) * (s / f64::from(c)).tanh())
                };
                let shares: Vec<f64> = (first..end).map(|p| score(p).exp()).collect();
                let total: f64 = shares.iter().sum();
                for d in 0..dim {
                    let parts = shares.iter().enumerate();
                    let expect: f64 =
                        parts.map(|(i, e)| e / total * values[(first + i) * dim + d]).sum();
                    let found = f64::from(out[(row * self.group + head) * dim + d]);
                    worst = worst.max((found - expect).abs());
                }
            }
        }
        worst
    }
}

#[test]
fn a_table_is_chosen_by_name_or_refused_with_what_is_missing() {
    let here: Vec<_> = all().iter().map(|kernels| kernels.name).collect();
    for (name, choice) in KernelChoice::ALL {
        assert_eq!(choice.name(), name);
        match choice.table() {
            Ok((kernels, why)) if choice == KernelChoice::Auto => {
                assert_eq!(Some(&kernels.name), here.last());
                assert!(why.starts_with("the fastest that this CPU has"), "{why}");
            }
            Ok((kernels, why)) => {
                assert!(here.contains(&kernels.name) && kernels.name.starts_with(name));
                assert_eq!(why, "as set");
            }
            Err(why) => assert!(!here.iter().any(|here| here.starts_with(name)), "{why}"),
        }
    }
}
