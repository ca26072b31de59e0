//! A batch as the kernels read it: one array of words for each step.
//!
//! Rows of sequences that have one row come first, so that one launch of the split kernel computes them.
//! Next: `rank.rs`.

use gimbal_batch::{Batch, Part};

use crate::draws::Draws;
use crate::launch::{Draw, SPLIT, Tile};
use crate::program::{BLOCK_TOKENS, Program, Shape};

/// Where the key and value of a padded row go: nowhere.
const NO_CELL: u32 = u32::MAX;

/// A step's words, and where what is in them lies.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// What the step has.
    pub(crate) shape: Shape,
    words: Vec<u32>,
    /// Parts of the batch, those of one row first, with their first row in the batch.
    parts: Vec<(Part, u32)>,
    /// Rows of the batch by their place on the device.
    places: Vec<u32>,
}

impl Inputs {
    /// Reads a legal batch whose rows have these tokens' words; `draws` are its outputs', where the device draws
    /// tokens. A batch of single rows alone is padded to one of a few shapes, so that its launches can be
    /// recorded: true if it was.
    pub(crate) fn read(
        &mut self,
        program: &Program,
        batch: &Batch,
        ids: &[u32],
        draws: Option<&Draws>,
    ) -> bool {
        self.sort(batch);
        let singles = self.parts.iter().filter(|(part, _)| part.rows == 1).count();
        let tile = program.tile_rows();
        let tokens = |part: &Part| part.start + part.rows;
        let blocks = |part: &Part| tokens(part).div_ceil(BLOCK_TOKENS);
        let parts = self.parts.iter().map(|(part, _)| part);
        let longest = parts.clone().take(singles).map(tokens).max().unwrap_or(0);
        self.shape = Shape {
            rows: count(ids.len()),
            singles: count(singles),
            parts: count(self.parts.len()),
            stride: parts.clone().map(blocks).max().unwrap_or(0),
            splits: longest.div_ceil(SPLIT),
            tiles: parts.skip(singles).map(|part| part.rows.div_ceil(tile)).sum(),
            outputs: count(batch.outputs.len()),
            is_drawn: draws.is_some(),
        };
        let is_padded = self.shape.tiles == 0 && self.shape.outputs == self.shape.rows;
        if is_padded {
            self.shape = self.shape.padded(program.sizes);
        }
        self.fill(batch, ids, tile);
        if let Some(draws) = draws {
            self.add(draws);
        }
        is_padded
    }

    /// As the device reads them.
    #[must_use]
    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    fn sort(&mut self, batch: &Batch) {
        self.parts.clear();
        let mut row = 0;
        for part in &batch.parts {
            self.parts.push((part.clone(), row));
            row += part.rows;
        }
        self.parts.sort_by_key(|(part, _)| part.rows > 1);
        self.places.clear();
        self.places.resize(row as usize, 0);
        let mut place = 0;
        for (part, first) in &self.parts {
            for row in *first..first + part.rows {
                self.places[row as usize] = place;
                place += 1;
            }
        }
    }

    /// What outputs are drawn by, padded ones too, and the lists behind it.
    fn add(&mut self, draws: &Draws) {
        let [first, end] = [7, 8].map(|i| self.shape.places()[i] as usize);
        let (own, padding) = self.words[first..end].split_at_mut(draws.rows.len());
        own.copy_from_slice(&draws.rows);
        for words in padding.chunks_exact_mut(Draw::WORDS) {
            words.copy_from_slice(&Draw::PADDING.words());
        }
        self.words.extend_from_slice(&draws.lists);
    }

    fn fill(&mut self, batch: &Batch, ids: &[u32], tile: u32) {
        let at = self.shape.places().map(|place| place as usize);
        let stride = self.shape.stride as usize;
        let words = &mut self.words;
        words.clear();
        words.resize(at[8], 0);
        // A padded row reads token 0 at position 0, keeps nothing, and sees no token.
        words[at[2]..at[3]].fill(NO_CELL);
        let (mut place, mut tiles) = (0_usize, at[6]);
        for (sequence, (part, first)) in self.parts.iter().enumerate() {
            let table = batch.table(part);
            let row = at[5] + sequence * stride;
            for (word, block) in words[row..row + stride].iter_mut().zip(table) {
                *word = block.0;
            }
            for i in 0..part.rows {
                let position = part.start + i;
                let block = table[(position / BLOCK_TOKENS) as usize].0;
                words[at[0] + place] = ids[(first + i) as usize];
                words[at[1] + place] = position;
                words[at[2] + place] = block * BLOCK_TOKENS + position % BLOCK_TOKENS;
                place += 1;
            }
            if part.rows == 1 {
                words[at[4] + sequence] = part.start + 1;
                continue;
            }
            let begin = count(place) - part.rows;
            for done in (0..part.rows).step_by(tile as usize) {
                let rows = tile.min(part.rows - done);
                let (row, start) = (begin + done, part.start + done);
                let tile = Tile { row, rows, sequence: count(sequence), start };
                words[tiles..tiles + 4].copy_from_slice(&tile.words());
                tiles += 4;
            }
        }
        let rows = batch.outputs.iter().map(|output| self.places[output.row as usize]);
        // A padded output is its own row's.
        let padded = count(batch.outputs.len())..self.shape.outputs;
        for (word, row) in words[at[3]..at[4]].iter_mut().zip(rows.chain(padded)) {
            *word = row;
        }
    }
}

/// Counts of a batch are far below `u32::MAX`: `Batch::check` holds them to the limits.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
