//! The attention block: norm, q k v, their norms, rotation, cache, attention, output, norm, residual.
//!
//! Runs of the pool: norm (many rows only), q·k·v, cache writes (prefill only), attention by
//! (tile, kv head), quantisation (many rows only), output. Bytes: the four weights once a step, and
//! for each row the KV of its sequence. Bound: memory for few rows.

use gimbal_hal::KvDtype;
use gimbal_model::graph::{RopeTable, State};

use super::bind::Packer;
use super::linear::{BothActs, by_rows, by_tiles, linear};
use super::norm::{Inputs, NormWeight, Residual, normalise};
use super::plan::{Plan, Tile};
use super::scratch::{Scratch, grow};
use crate::cpu::Cpu;
use crate::kernels::table::{Attend, Columns, Kernels, TILE_QUERIES_MAX};
use crate::kv_cache::{BLOCK_TOKENS, KvCache, StateLayout};
use crate::memory::Shared;
use crate::pack::{BLOCK, Packed};
use gimbal_model::fuse;

/// Largest head: the cache's writer holds one on its stack.
pub const HEAD_DIM_MAX: usize = 512;

/// An attention block with its weights.
pub(super) struct Attention {
    norm: Option<NormWeight>,
    /// Query, key and value weights; they make neighbouring columns.
    qkv: [Packed; 3],
    /// Biases of the same columns; empty for none.
    bias: Vec<f32>,
    /// Norms of each head of queries and of keys.
    head_norms: Option<[NormWeight; 2]>,
    /// Norms of all heads of queries and of keys.
    row_norms: Option<[NormWeight; 2]>,
    out: Packed,
    post: Option<NormWeight>,
    /// Index and table of the rotation.
    rope: Option<(usize, RopeTable)>,
    state: usize,
    heads: usize,
    window: Option<usize>,
    scale: f32,
    softcap: Option<f32>,
}

/// What the chunks of one run share.
struct Work<'a> {
    node: &'a Attention,
    kernels: &'static Kernels,
    plan: &'a Plan,
    layout: StateLayout,
    cache: Shared<'a, u8>,
    qkv: Shared<'a, f32>,
    /// Columns of a row of `qkv`, and of its queries.
    stride: usize,
    query_cols: usize,
}

impl Attention {
    pub(super) fn bind(node: &fuse::Attention, packer: &Packer<'_>) -> Self {
        let graph = &packer.model.graph;
        let State::Kv { window, .. } = graph.states[node.state.0];
        let bind = |norms: [fuse::Norm; 2]| Some(norms.map(|norm| packer.norm(norm)));
        let (head_norms, row_norms) = match node.qk_norms {
            None => (None, None),
            Some(fuse::QkNorms::Head(norms)) => (bind(norms), None),
            Some(fuse::QkNorms::Row(norms)) => (None, bind(norms)),
        };
        Self {
            norm: node.norm.map(|norm| packer.norm(norm)),
            qkv: node.qkv.map(|w| packer.weight(w)),
            bias: node.bias.iter().flatten().flat_map(|bias| packer.floats(*bias)).collect(),
            head_norms,
            row_norms,
            out: packer.weight(node.out),
            post: node.post.map(|norm| packer.norm(norm)),
            rope: node.rope.map(|rope| (rope.0, graph.ropes[rope.0].clone())),
            state: node.state.0,
            heads: node.heads,
            window,
            scale: node.scale,
            softcap: node.softcap,
        }
    }

    pub(super) fn run(
        &self,
        cpu: &Cpu,
        scratch: &mut Scratch,
        kv: &mut KvCache,
        plan: &Plan,
        hidden: &mut [f32],
    ) {
        let rows = plan.ids.len();
        let Scratch { floats, acts, wide, tiles, .. } = scratch;
        let inputs = Inputs { x: hidden, rows, cols: self.out.rows };
        let normed = normalise(cpu, inputs, self.norm.as_ref(), floats, acts);
        let stride = self.qkv.iter().map(|w| w.rows).sum();
        grow(wide, rows * stride);
        let qkv = Shared::new(&mut wide[..rows * stride]);
        let mut first = 0;
        let weights = self.qkv.each_ref().map(|w| {
            let out = Columns { out: qkv, stride, first, skip: 0, cols: w.rows, add: false };
            first += w.rows;
            (w, out)
        });
        linear(cpu, normed, rows, &weights);
        self.normalise_rows(cpu, rows, qkv, stride, floats);
        let (layout, cache) = kv.state(self.state);
        let query_cols = self.qkv[0].rows;
        let (node, kernels) = (self, cpu.kernels);
        let work = Work { node, kernels, plan, layout, cache, qkv, stride, query_cols };
        if !plan.is_decode {
            by_rows(cpu, rows, &|row| {
                // SAFETY: a row's columns and its cell of the cache are this chunk's alone.
                (0..layout.kv_heads).for_each(|head| unsafe { work.kv_write(row, head) });
            });
        }
        grow(tiles, rows * query_cols);
        grow(floats, rows * query_cols);
        let attended = Shared::new(&mut tiles[..rows * query_cols]);
        let rowwise = Shared::new(&mut floats[..rows * query_cols]);
        cpu.pool.run(plan.tiles.len() * layout.kv_heads, &|item| {
            // SAFETY: each (tile, kv head) is one chunk's; its queries, its part of both buffers
            // and, in decode, its cell of the cache are its own.
            unsafe { work.attend(item, attended, rowwise) };
        });
        let cols = query_cols;
        grow(acts, rows * cols / BLOCK);
        let all = Shared::new(acts);
        by_tiles(cpu, rows, &|tile| {
            let range = tile.start * cols..tile.end * cols;
            // SAFETY: each tile is one chunk's.
            let blocks = unsafe { all.slice_mut(range.start / BLOCK..range.end / BLOCK) };
            (cpu.kernels.quantise)(&floats[range], tile.len(), blocks);
        });
        let acts =
            BothActs { floats: &floats[..rows * cols], blocks: &acts[..rows * cols / BLOCK] };
        let residual = Residual { weight: &self.out, post: self.post.as_ref(), buffer: tiles };
        residual.add(cpu, acts, rows, hidden);
    }

    /// Normalises all queries and all keys of each row, where the model does.
    fn normalise_rows(
        &self,
        cpu: &Cpu,
        rows: usize,
        qkv: Shared<'_, f32>,
        stride: usize,
        buffer: &mut Vec<f32>,
    ) {
        let Some(norms) = &self.row_norms else { return };
        grow(buffer, rows * stride);
        let before = Shared::new(buffer);
        by_rows(cpu, rows, &|row| {
            let mut first = row * stride;
            for norm in norms {
                let columns = first..first + norm.weight.len();
                first = columns.end;
                // SAFETY: each row of both buffers is one chunk's.
                let before = unsafe { before.slice_mut(columns.clone()) };
                // SAFETY: as above.
                let values = unsafe { qkv.slice_mut(columns) };
                before.copy_from_slice(values);
                (cpu.kernels.rms_norm)(before, &norm.weight, norm.eps, values);
            }
        });
    }
}

impl Work<'_> {
    /// Rotates a row's key of one kv head and writes key and value to the cache.
    ///
    /// # Safety
    /// - No other thread touches the row's key columns of this head or its cell of the cache.
    unsafe fn kv_write(&self, row: usize, head: usize) {
        let dim = self.layout.head_dim;
        let block = self.plan.written[row];
        let at = self.plan.positions[row] as usize % BLOCK_TOKENS;
        let (first, columns) = (row * self.stride, self.query_cols + head * dim);
        let values = columns + self.layout.kv_heads * dim;
        // SAFETY: the caller owns the row's columns of this head.
        let key = unsafe { self.qkv.slice_mut(first + columns..first + columns + dim) };
        // SAFETY: as above; keys and values are different columns.
        let value = unsafe { self.qkv.slice_mut(first + values..first + values + dim) };
        self.add_bias(key, columns);
        self.add_bias(value, values);
        self.normalise(key, 1);
        self.rotate(row, key);
        let (keys, values) = (self.layout.keys(block, head), self.layout.values(block, head));
        match self.layout.dtype {
            KvDtype::F16 => {
                let mut half = [[0; 2]; HEAD_DIM_MAX];
                (self.kernels.to_f16)(key, &mut half[..dim]);
                // SAFETY: the cells are this row's.
                unsafe { self.write_key(keys.start, at, &half[..dim]) };
                (self.kernels.to_f16)(value, &mut half[..dim]);
                // SAFETY: as above.
                unsafe { self.write_value(values.start, at, &half[..dim]) };
            }
            KvDtype::Int8 => {
                let mut bytes = [[0; 1]; HEAD_DIM_MAX];
                let scale = (self.kernels.to_int8)(key, &mut bytes[..dim]);
                // SAFETY: as above; the scale is this row's too.
                unsafe { self.write_scale(keys.start, at, scale) };
                // SAFETY: as above.
                unsafe { self.write_key(keys.start, at, &bytes[..dim]) };
                let scale = (self.kernels.to_int8)(value, &mut bytes[..dim]);
                // SAFETY: as above.
                unsafe { self.write_scale(values.start, at, scale) };
                // SAFETY: as above.
                unsafe { self.write_value(values.start, at, &bytes[..dim]) };
            }
        }
    }

    /// Writes the scale of token `at` of the block whose keys (or values) begin at `start`.
    ///
    /// # Safety
    /// - No other thread touches it.
    unsafe fn write_scale(&self, start: usize, at: usize, scale: f32) {
        let place = start + self.layout.numbers() + at * size_of::<f32>();
        // SAFETY: the scale is the caller's.
        let out = unsafe { self.cache.slice_mut(place..place + size_of::<f32>()) };
        out.copy_from_slice(&scale.to_le_bytes());
    }

    /// Writes a key's numbers of `SIZE` bytes to token `at` of the block whose keys begin at `start`.
    ///
    /// # Safety
    /// - No other thread touches the token's cells.
    unsafe fn write_key<const SIZE: usize>(&self, start: usize, at: usize, key: &[[u8; SIZE]]) {
        for (d, number) in key.iter().enumerate() {
            let cell = start + (d * BLOCK_TOKENS + at) * SIZE;
            // SAFETY: the cell is the caller's.
            let out = unsafe { self.cache.slice_mut(cell..cell + SIZE) };
            out.copy_from_slice(number);
        }
    }

    /// The same of a value.
    ///
    /// # Safety
    /// - No other thread touches the token's cells.
    unsafe fn write_value<const SIZE: usize>(&self, start: usize, at: usize, value: &[[u8; SIZE]]) {
        let bytes = value.as_flattened();
        let start = start + at * bytes.len();
        // SAFETY: the cells are the caller's.
        unsafe { self.cache.slice_mut(start..start + bytes.len()) }.copy_from_slice(bytes);
    }

    /// Attends the rows of one tile to one kv head.
    ///
    /// # Safety
    /// - No other thread touches the tile's columns of this kv head in any buffer.
    /// - No thread writes the sequence's blocks, except this call where the plan is a decode.
    unsafe fn attend(&self, item: usize, attended: Shared<'_, f32>, rowwise: Shared<'_, f32>) {
        let tile = &self.plan.tiles[item / self.layout.kv_heads];
        let head = item % self.layout.kv_heads;
        if self.plan.is_decode {
            // SAFETY: the tile has one row, whose key columns and cell are this call's.
            unsafe { self.kv_write(tile.first, head) };
        }
        let group = self.node.heads / self.layout.kv_heads;
        let dim = self.layout.head_dim;
        let first = head * group * dim;
        for row in tile.first..tile.first + tile.rows {
            let at = row * self.stride + first;
            // SAFETY: the caller owns the tile's query columns of this head.
            let queries = unsafe { self.qkv.slice_mut(at..at + group * dim) };
            self.add_bias(queries, first);
            for query in queries.chunks_exact_mut(dim) {
                self.normalise(query, 0);
                self.rotate(row, query);
            }
        }
        // Queries of one kernel call: as many rows as fit.
        let rows_max = (TILE_QUERIES_MAX / group).max(1);
        let mut row = 0;
        while row < tile.rows {
            let rows = rows_max.min(tile.rows - row);
            let start = tile.first + row;
            let width = group * dim;
            // One region of `attended` for each (rows, kv head), together as large as the rows.
            let at = start * self.query_cols + head * rows * width;
            // SAFETY: the region is this call's.
            let out = unsafe { attended.slice_mut(at..at + rows * width) };
            let task = self.task(tile, start, rows, head);
            // SAFETY: the queries are this call's and nobody writes the sequence's blocks.
            unsafe { (self.kernels.attend)(&task, out) };
            for (i, out) in out.chunks_exact(width).enumerate() {
                let at = (start + i) * self.query_cols + first;
                // SAFETY: the tile's columns of this head are this call's.
                unsafe { rowwise.slice_mut(at..at + width) }.copy_from_slice(out);
            }
            row += rows;
        }
    }

    fn task(&self, tile: &Tile, start: usize, rows: usize, kv_head: usize) -> Attend<'_> {
        let group = self.node.heads / self.layout.kv_heads;
        Attend {
            queries: self.qkv,
            query_first: start * self.stride + kv_head * group * self.layout.head_dim,
            query_stride: self.stride,
            rows,
            start: self.plan.positions[start] as usize,
            group,
            kv_head,
            layout: self.layout,
            cache: self.cache,
            table: &self.plan.blocks[tile.table.clone()],
            window: self.node.window,
            scale: self.node.scale,
            softcap: self.node.softcap,
        }
    }

    /// Adds the biases of the columns from `first` on.
    fn add_bias(&self, columns: &mut [f32], first: usize) {
        if let Some(bias) = self.node.bias.get(first..first + columns.len()) {
            (self.kernels.add)(columns, bias);
        }
    }

    /// Normalises one head: 0 of queries, 1 of keys.
    fn normalise(&self, head: &mut [f32], which: usize) {
        let Some(norms) = &self.node.head_norms else { return };
        let mut before = [0.0_f32; HEAD_DIM_MAX];
        let before = &mut before[..head.len()];
        before.copy_from_slice(head);
        (self.kernels.rms_norm)(before, &norms[which].weight, norms[which].eps, head);
    }

    fn rotate(&self, row: usize, head: &mut [f32]) {
        let Some((rope, table)) = &self.node.rope else { return };
        let pairs = table.frequencies.len();
        let angles = &self.plan.angles[*rope][row * pairs..(row + 1) * pairs];
        (self.kernels.rotate)(head, angles, table.pair);
    }
}
