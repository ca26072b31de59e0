//! A step's rows as a program takes them: in their places, and padding in all others.
//!
//! Padding is token 0 at position 0, written into the block that no sequence owns. Next: `../lib.rs`.

use super::draws::Draw;
use super::program::Wants;

/// Consecutive rows of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its next tokens.
    pub tokens: &'a [u32],
    /// The place of the first of them.
    pub start: u32,
    /// Blocks that it owns, in order; as many as its tokens need, at least.
    pub blocks: &'a [u32],
}

/// A row that has a result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pick {
    /// Which part.
    pub part: u32,
    /// Which row of it.
    pub row: u32,
    /// How its token is chosen; without effect where a program draws none.
    pub draw: Draw,
}

/// A step's inputs, each row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs {
    /// `[rows]`.
    pub tokens: Vec<i32>,
    /// `[rows]`.
    pub positions: Vec<i32>,
    /// `[rows]`.
    pub slots: Vec<i32>,
    /// `[sequences, blocks]`.
    pub tables: Vec<i32>,
    /// `[outputs]`.
    pub picks: Vec<i32>,
    /// `[outputs]` each, in the order of `Parameter::DRAWS`.
    pub draws: [Vec<f32>; 5],
    /// Of each pick: which of the program's results is its.
    pub results: Vec<usize>,
}

/// The inputs of some parts, the i-th one in the i-th place. Those of `picks` have results.
///
/// # Errors
/// What does not fit the bucket.
pub fn inputs(wants: &Wants, parts: &[Part<'_>], picks: &[Pick]) -> Result<Inputs, String> {
    let (bucket, block) = (wants.bucket, wants.kv.block_tokens);
    let (each, table) = (bucket.rows_each as usize, wants.table());
    let (count, most) = (parts.len(), bucket.sequences as usize);
    if count > most || picks.len() > wants.outputs as usize {
        let outputs = wants.outputs;
        let found = picks.len();
        return Err(format!("{count} parts for {most}, {found} results for {outputs}"));
    }
    let rows = wants.rows();
    let mut made = Inputs {
        tokens: vec![0; rows],
        positions: vec![0; rows],
        // Padding is spread over the block: no two rows of it need wait for one another.
        slots: (0..rows).map(|row| wants.trash() * block + small(row) % block).map(index).collect(),
        tables: vec![index(wants.trash()); most * table],
        picks: vec![0; wants.outputs as usize],
        draws: Draw::default().numbers().map(|number| vec![number; wants.outputs as usize]),
        results: Vec::with_capacity(picks.len()),
    };
    for (i, part) in parts.iter().enumerate() {
        let end = part.start.saturating_add(small(part.tokens.len()));
        let owned = wants.kv.blocks_for(end) as usize;
        if part.tokens.len() > each || end > bucket.context || part.blocks.len() < owned {
            let (tokens, blocks) = (part.tokens.len(), part.blocks.len());
            return Err(format!(
                "part {i}: {tokens} rows up to token {end} in {blocks} blocks, of {bucket:?}"
            ));
        }
        if let Some(other) = part.blocks.iter().find(|block| **block >= wants.kv.blocks) {
            return Err(format!("part {i}: block {other} of {}", wants.kv.blocks));
        }
        for (place, owned) in made.tables[i * table..].iter_mut().zip(&part.blocks[..owned]) {
            *place = index(*owned);
        }
        for (row, (token, position)) in part.tokens.iter().zip(part.start..).enumerate() {
            let at = i * each + row;
            made.tokens[at] = index(*token);
            made.positions[at] = index(position);
            let owned = part.blocks[(position / block) as usize];
            made.slots[at] = index(owned * block + position % block);
        }
    }
    for (i, Pick { part, row, draw }) in picks.iter().enumerate() {
        let tokens = parts.get(*part as usize).map_or(0, |part| part.tokens.len());
        if *row as usize >= tokens {
            return Err(format!("a result of row {row} of part {part}, which has {tokens}"));
        }
        let flat = *part * bucket.rows_each + *row;
        made.picks[i] = index(flat);
        // Where every row has a result, it is in the row's place.
        let place = if wants.has_picks() { i } else { flat as usize };
        made.results.push(place);
        for (numbers, number) in made.draws.iter_mut().zip(draw.numbers()) {
            numbers[place] = number;
        }
    }
    Ok(made)
}

fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Places are below 2^24 (`Wants`), and tokens far below 2^31.
fn index(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
