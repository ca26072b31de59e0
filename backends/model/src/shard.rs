//! Tensor parallelism as a graph pass: one graph in, the graph of each of several ranks out.
//!
//! Ranks are equal: they run the same graph, each on its own shards of the weights, so one compiled
//! program serves all. Heads, feed-forward columns and the vocabulary are cut; key and value heads
//! that are fewer than the ranks are held by several. Nothing is sent here: the pass only writes
//! where ranks must add up or gather. What it cannot cut right it refuses. Next: `interp/group.rs`.

use crate::graph::{Cut, Graph, Node, Op, State, Val, Weight, WeightId};
use crate::weights::{Shard, Weights};

/// One graph cut for several ranks.
#[derive(Clone, Debug, PartialEq)]
pub struct Shards {
    /// How many ranks.
    pub ranks: usize,
    /// What each of them computes. Weights have the numbers of the whole graph's and the shape a
    /// rank holds; `Weight::cut` says how they were cut.
    pub graph: Graph,
    /// What every rank holds whole though it is large, and why.
    pub kept_whole: Vec<String>,
    /// `[out, inp]` of the whole weights.
    shapes: Vec<[usize; 2]>,
}

/// How many ranks a model can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// At least 1, at most as many as were wanted.
    pub count: usize,
    /// Why not as many as were wanted.
    pub why: Option<String>,
}

/// Cuts a graph for so many ranks. `block` tells the elements of the blocks in which a weight's
/// columns lie, by its name: [`Weights::block`] for weights as they are in the file.
///
/// # Errors
/// What does not divide, by name and size: such a model runs on fewer ranks.
pub fn shard(graph: &Graph, block: &dyn Fn(&str) -> usize, ranks: usize) -> Result<Shards, String> {
    if ranks == 0 {
        return Err("0 ranks: there is at least 1".to_owned());
    }
    let shapes = graph.weights.iter().map(|w| [w.out, w.inp]).collect();
    if ranks == 1 {
        return Ok(Shards { ranks, graph: graph.clone(), kept_whole: Vec::new(), shapes });
    }
    let mut cutting = Cutting::new(graph, block, ranks)?;
    for node in &graph.nodes {
        let placed = cutting.node(node)?;
        cutting.moved.push(placed);
    }
    if let Some(last) = cutting.moved.last().filter(|last| last.shards != 1) {
        return Err(format!("the result lies in {} shards", last.shards));
    }
    Ok(Shards { ranks, graph: cutting.out, kept_whole: cutting.kept_whole, shapes })
}

/// The most ranks, up to `wanted`, that a graph can be cut for; `block` as for [`shard`].
#[must_use]
pub fn ranks_possible(graph: &Graph, block: &dyn Fn(&str) -> usize, wanted: usize) -> Ranks {
    let Err(why) = shard(graph, block, wanted.max(1)) else {
        return Ranks { count: wanted.max(1), why: None };
    };
    let heads = graph.nodes.iter().filter_map(|node| match node.op {
        Op::Attend { heads, .. } => Some(heads),
        _ => None,
    });
    // More ranks than heads never divide them; this bounds the search for any `wanted`.
    let most = heads.min().unwrap_or(1).min(wanted - 1);
    let count = (2..=most).rev().find(|n| shard(graph, block, *n).is_ok()).unwrap_or(1);
    Ranks { count, why: Some(why) }
}

impl Shards {
    /// What a rank reads of a weight: a view of the mapped tensor. The shards of all ranks are the
    /// whole weight, some of them held by several ranks.
    ///
    /// # Errors
    /// The tensor is missing, or has blocks that `shard` was not told of.
    ///
    /// # Panics
    /// If there is no such weight or rank.
    pub fn weight<'a>(
        &self,
        weights: &'a Weights,
        id: WeightId,
        rank: usize,
    ) -> Result<Shard<'a>, String> {
        assert!(rank < self.ranks, "rank {rank} of {}", self.ranks);
        let (held, [out, inp]) = (&self.graph.weights[id.0], self.shapes[id.0]);
        let span = |whole: usize, held: usize| {
            let shard = rank * (whole / held) / self.ranks;
            shard * held..(shard + 1) * held
        };
        let (rows, cols) = (span(out, held.out), span(inp, held.inp));
        let named = |why: String| format!("{}: {why}", held.name);
        let tensor = weights.get(&held.name).ok_or_else(|| named("it is missing".to_owned()))?;
        // A vector is one row in the file.
        let (rows, cols) = if inp == 1 { (0..1, rows) } else { (rows, cols) };
        tensor.shard(rows, cols).map_err(named)
    }
}

/// A value of the whole graph in a rank's.
#[derive(Clone, Copy)]
struct Placed {
    val: Val,
    /// In how many shards its columns lie, in the order of ranks: 1 if each rank has all of them,
    /// `ranks`, or a divisor of it if several ranks have the same.
    shards: usize,
}

struct Cutting<'a> {
    whole: &'a Graph,
    ranks: usize,
    out: Graph,
    kept_whole: Vec<String>,
    /// Where the whole graph's values are.
    moved: Vec<Placed>,
}

impl<'a> Cutting<'a> {
    /// Cuts states and weights.
    fn new(whole: &'a Graph, block: &dyn Fn(&str) -> usize, ranks: usize) -> Result<Self, String> {
        let mut out = Graph { ropes: whole.ropes.clone(), ..Graph::default() };
        for node in &whole.nodes {
            if let Op::Attend { state, heads, .. } = node.op
                && !heads.is_multiple_of(ranks)
            {
                let layer = state.0;
                return Err(format!(
                    "layer {layer}: {heads} query heads do not divide among {ranks} ranks"
                ));
            }
        }
        for (layer, state) in whole.states.iter().enumerate() {
            let State::Kv { kv_heads, head_dim, window } = *state;
            let shards = shards_of(kv_heads, ranks).ok_or_else(|| {
                format!(
                    "layer {layer}: {kv_heads} key and value heads do not divide among {ranks} \
                     ranks, nor the ranks among them"
                )
            })?;
            out.states.push(State::Kv { kv_heads: kv_heads / shards, head_dim, window });
        }
        let mut kept_whole = Vec::new();
        for w in &whole.weights {
            let (rows, cols) = match w.cut {
                Cut::Whole => (1, 1),
                Cut::Vocab if w.out.is_multiple_of(ranks) => (ranks, 1),
                Cut::Vocab => {
                    let Weight { name, out, .. } = w;
                    kept_whole
                        .push(format!("{name}: {out} tokens do not divide among {ranks} ranks"));
                    (1, 1)
                }
                // Only a vector lies along its blocks.
                Cut::Out { unit } if w.inp == 1 => (share(w, unit, block(&w.name), ranks)?, 1),
                Cut::Out { unit } => (share(w, unit, 1, ranks)?, 1),
                Cut::In { unit } => (1, share(w, unit, block(&w.name), ranks)?),
            };
            let cut = if rows * cols == 1 { Cut::Whole } else { w.cut };
            out.weight(&w.name, w.out / rows, w.inp / cols, cut);
        }
        Ok(Self { whole, ranks, out, kept_whole, moved: Vec::with_capacity(whole.nodes.len()) })
    }

    /// Adds a node to a rank's graph, with the collectives it needs.
    fn node(&mut self, node: &Node) -> Result<Placed, String> {
        let args: Vec<Placed> = node.args.iter().map(|a| self.moved[a.0]).collect();
        let refuse = |why: String| Err(format!("{:?}: {why}", node.op));
        let shards = args.first().map_or(1, |x| x.shards);
        let op = match node.op.clone() {
            Op::Embed(table) => return self.embed(table),
            Op::Linear { weight, bias } => return self.linear(weight, bias, args[0]),
            Op::RmsNorm { weight, eps, group } => {
                let cols = self.out.node(args[0].val).cols;
                if shards == self.rows_in(weight) && shards > 1 && group == cols * shards {
                    return Ok(self.norm_of_ranks(weight, eps, args[0]));
                }
                if self.rows_in(weight) != 1 || !cols.is_multiple_of(group) {
                    return refuse(format!("ranks hold {cols} columns of a row"));
                }
                node.op.clone()
            }
            Op::Rope { head_dim, .. } => {
                let cols = self.out.node(args[0].val).cols;
                if !cols.is_multiple_of(head_dim) {
                    return refuse(format!("ranks hold {cols} columns: no whole heads"));
                }
                node.op.clone()
            }
            Op::Attend { state, heads, scale, softcap } => {
                let of = |g: &Graph| match g.states[state.0] {
                    State::Kv { kv_heads, .. } => kv_heads,
                };
                let kv_shards = of(self.whole) / of(&self.out);
                let found = [args[0].shards, args[1].shards, args[2].shards];
                if found != [self.ranks, kv_shards, kv_shards] {
                    return refuse(format!("queries, keys and values lie in {found:?} shards"));
                }
                Op::Attend { state, heads: heads / self.ranks, scale, softcap }
            }
            Op::Add | Op::Mul if args[1].shards != shards => {
                let other = args[1].shards;
                return refuse(format!("one side lies in {shards} shards, the other in {other}"));
            }
            op @ (Op::Act(_) | Op::Scale(_) | Op::Softcap(_) | Op::Pick | Op::Add | Op::Mul) => op,
            _ => return refuse("it belongs to a rank's graph".to_owned()),
        };
        let args: Vec<Val> = args.iter().map(|x| x.val).collect();
        Ok(Placed { val: self.out.add(op, &args), shards })
    }

    fn embed(&mut self, table: WeightId) -> Result<Placed, String> {
        let val = match self.out.weights[table.0].cut {
            Cut::Whole => self.out.add(Op::Embed(table), &[]),
            Cut::Vocab => {
                let held = self.out.add(Op::EmbedShard(table), &[]);
                self.out.add(Op::AllReduce, &[held])
            }
            cut => return Err(format!("{}: an embedding cut {cut:?}", self.name(table))),
        };
        Ok(Placed { val, shards: 1 })
    }

    fn linear(
        &mut self,
        weight: WeightId,
        bias: Option<WeightId>,
        x: Placed,
    ) -> Result<Placed, String> {
        let (cut, rows) = (self.out.weights[weight.0].cut, self.rows_in(weight));
        let wants = if matches!(cut, Cut::In { .. }) { self.ranks } else { 1 };
        if x.shards != wants {
            let name = self.name(weight);
            return Err(format!("{name}: its input lies in {} shards, not {wants}", x.shards));
        }
        if let Some(bias) = bias
            && self.rows_in(bias) != rows
        {
            let (name, found) = (self.name(bias), self.rows_in(bias));
            return Err(format!("{name}: it lies in {found} shards, its weight's rows in {rows}"));
        }
        let partial = matches!(cut, Cut::In { .. });
        let op = Op::Linear { weight, bias: bias.filter(|_| !partial) };
        let made = self.out.add(op, &[x.val]);
        Ok(match cut {
            Cut::Whole | Cut::Out { .. } => Placed { val: made, shards: rows },
            Cut::Vocab => {
                let val = self.out.add(Op::AllGather { ranks: self.ranks }, &[made]);
                Placed { val, shards: 1 }
            }
            Cut::In { .. } => {
                let mut val = self.out.add(Op::AllReduce, &[made]);
                if let Some(bias) = bias {
                    val = self.out.add(Op::Bias(bias), &[val]);
                }
                Placed { val, shards: 1 }
            }
        })
    }

    /// A norm over columns of several ranks: the mean of the means of ranks, which all hold as many
    /// columns. Where several hold the same shard, each counts equally often.
    fn norm_of_ranks(&mut self, weight: WeightId, eps: f32, x: Placed) -> Placed {
        let mut mean = self.out.add(Op::MeanSquare, &[x.val]);
        mean = self.out.add(Op::AllReduce, &[mean]);
        mean = self.out.add(Op::Scale((self.ranks as f32).recip()), &[mean]);
        let val = self.out.add(Op::Normalize { weight, eps }, &[x.val, mean]);
        Placed { val, shards: x.shards }
    }

    /// In how many shards a weight's rows lie.
    fn rows_in(&self, id: WeightId) -> usize {
        self.whole.weights[id.0].out / self.out.weights[id.0].out
    }

    fn name(&self, id: WeightId) -> &str {
        &self.whole.weights[id.0].name
    }
}

/// In how many shards a weight's rows (of a `Cut::Out`) or columns (of a `Cut::In`) lie.
fn share(w: &Weight, unit: usize, block: usize, ranks: usize) -> Result<usize, String> {
    let is_in = matches!(w.cut, Cut::In { .. });
    let (n, what) = if is_in { (w.inp, "columns") } else { (w.out, "rows") };
    let together = unit / gcd(unit, block) * block;
    let units = n / together;
    // Columns that several ranks held would be summed several times.
    let found = shards_of(units, ranks).filter(|shards| !is_in || *shards == ranks);
    found.filter(|_| n.is_multiple_of(together)).ok_or_else(|| {
        let name = &w.name;
        let blocks = if block > 1 { format!(" in blocks of {block}") } else { String::new() };
        format!(
            "{name}: {n} {what}{blocks}, {together} together, do not divide among {ranks} ranks"
        )
    })
}

/// In how many shards so many units lie: one for each rank, or one unit for several ranks.
fn shards_of(units: usize, ranks: usize) -> Option<usize> {
    match units {
        0 => None,
        _ if units.is_multiple_of(ranks) => Some(ranks),
        _ => ranks.is_multiple_of(units).then_some(units),
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
