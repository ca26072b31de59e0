//! Where everything of a model lies.
//!
//! Next: `launches.rs`.

use std::collections::BTreeMap;

use super::nodes::{Block, Head, Nodes, Table};
use super::room::Room;
use super::shape::{Bytes, Choice, Form, Placed, SLAB_ROWS, Sizes, Source, Work};
use crate::launch::{Address, Drawn, Type, Weights};

/// A model on one device.
#[derive(Debug)]
pub(crate) struct Program {
    /// What weights and activations are.
    pub(crate) kind: Type,
    /// What there is room for.
    pub(crate) sizes: Sizes,
    /// What it takes.
    pub(crate) bytes: Bytes,
    /// Where each weight lies; one that is used in two places stands once.
    pub(crate) weights: Vec<Placed>,
    /// Where each rope's angles begin, `[context, pairs, 2]` f32.
    pub(crate) angles: Vec<Address>,
    /// Where a step's words begin (`inputs`).
    pub(crate) inputs: Address,
    /// Where logits are left, `[SLAB_ROWS, vocab]` f32.
    pub(crate) logits: Address,
    /// Where tokens are chosen.
    pub(crate) choice: Choice,
    /// How many devices hold the model together, and which of them this one is.
    pub(crate) ranks: u32,
    pub(crate) rank: u32,
    pub(super) hidden: u32,
    pub(super) table: Table,
    pub(super) blocks: Vec<Block>,
    pub(super) head: Head,
    pub(super) work: Work,
}

impl Program {
    /// Lays a rank's part of a model out from address `base` on.
    ///
    /// # Errors
    /// What kernels cannot compute, by name.
    pub(crate) fn new(
        source: Source<'_>,
        rank: usize,
        sizes: Sizes,
        base: Address,
    ) -> Result<Self, String> {
        let Source { graph, fused, shards, kind, .. } = source;
        let mut room = Room::new(base);
        let mut nodes = Nodes::new(source, rank, sizes);
        for node in fused {
            nodes.add(node, &mut room)?;
        }
        let weights = room.next() - base;
        let kv = nodes.place_caches(&mut room);
        let before = room.next();
        let work = nodes.place_work(&mut room);
        let vocab = nodes.table.map_or(0, |table| table.weight.n);
        let inputs = room.take(u64::from(sizes.words_max(vocab)) * 4);
        let columns = nodes.head.map_or(0, |head| head.weight.n);
        let slab = u64::from(SLAB_ROWS) * u64::from(columns) * 4;
        let logits = room.take(slab);
        let choice = Choice {
            newest: room.take(u64::from(sizes.sequences) * 4),
            drawn: room.take(u64::from(sizes.rows) * (4 * Drawn::WORDS) as u64),
            changed: if shards.ranks == 1 { room.take(slab) } else { 0 },
        };
        let bytes = Bytes { weights, kv, work: room.next() - before };
        let Nodes { table, head, blocks, weights, angles, .. } = nodes;
        let table = table.ok_or("a model without an embedding")?;
        let head = head.ok_or("a model without an output projection")?;
        let hidden = graph.hidden().try_into().map_err(|_| "rows that are too wide")?;
        Ok(Self {
            kind,
            sizes,
            bytes,
            weights,
            angles,
            inputs,
            logits,
            choice,
            ranks: u32::try_from(shards.ranks).map_err(|_| "too many ranks")?,
            rank: u32::try_from(rank).map_err(|_| "too many ranks")?,
            hidden,
            table,
            blocks,
            head,
            work,
        })
    }

    /// What matrices are kept as, and bytes of each: by type.
    #[must_use]
    pub(crate) fn kept(&self, source: Source<'_>) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for placed in &self.weights {
            let graph = if placed.is_whole { source.graph } else { &source.shards.graph };
            let weight = &graph.weights[placed.weight.0];
            let (name, weights) = match placed.form {
                Form::Float => continue,
                Form::Same => (self.kind.name(), Weights::Same),
                Form::Blocks { weights, .. } => (weights.name(), weights),
            };
            *all.entry(name).or_default() +=
                weight.out as u64 * weights.bytes_per_row(weight.inp as u64);
        }
        all
    }

    /// Bytes of all that a step multiplies with: of the embedding it reads rows only.
    pub(crate) fn multiplied(&self) -> u64 {
        let blocks = self.blocks.iter().flat_map(|block| match block {
            Block::Attention(node) => node.qkv.matrices.iter().chain([&node.out]),
            Block::FeedForward(node) => node.both.matrices.iter().chain([&node.down]),
        });
        blocks.chain([&self.head.weight]).map(|matrix| matrix.bytes()).sum()
    }

    /// Words that a step may have, and those of them that its lists may.
    #[must_use]
    pub(crate) fn words_max(&self) -> [u32; 2] {
        let vocab = self.table.weight.n;
        [self.sizes.words_max(vocab), self.sizes.lists_max(vocab)]
    }

    /// Columns of the logits that this rank makes.
    #[must_use]
    pub(crate) const fn vocab(&self) -> u32 {
        self.head.weight.n
    }
}
