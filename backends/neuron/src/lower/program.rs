//! What a program is for, and what goes in and out of it.
//!
//! Parameters come in one order in all programs of a model, so that they share tensors: a step's inputs, tables of
//! angles, weights, keys and values. Next: `nodes.rs`.

use std::collections::{BTreeSet, HashMap};

use gimbal_batch::{Bucket, Kv};
use gimbal_model::graph::{Graph, Node, Op, Rows, State, StateId, Val, WeightId};
use gimbal_model::{Shards, weights::Weights};

use crate::hlo::{Alias, Builder, DType, Module, Shape, Value};

/// Integers that f32 holds exactly, by which neuronx-cc may compute.
const EXACT: usize = 1 << 24;

/// What a program is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Sequences, rows of each, and tokens that each may reach.
    pub bucket: Bucket,
    /// Blocks that sequences may own. Behind them lies one more, into which padding is written.
    pub kv: Kv,
    /// Tokens of the longest sequence of any bucket: rows of the tables of angles.
    pub context_tokens_max: u32,
    /// What sides of products, keys and values are: f32 or bf16.
    pub dtype: DType,
    /// Rows that have results; as many as the bucket has, or those that `picks` names.
    pub outputs: u32,
    /// Whether logits come out beside tokens.
    pub has_logits: bool,
    /// Whether tokens are drawn, and not always the most probable ones.
    pub has_draws: bool,
}

impl Wants {
    /// Rows of a step.
    #[must_use]
    pub const fn rows(&self) -> usize {
        self.bucket.sequences as usize * self.bucket.rows_each as usize
    }

    /// Blocks of a sequence's table.
    #[must_use]
    pub const fn table(&self) -> usize {
        self.bucket.context.div_ceil(self.kv.block_tokens) as usize
    }

    /// The block into which padding is written: the one behind those of sequences.
    #[must_use]
    pub const fn trash(&self) -> u32 {
        self.kv.blocks
    }

    /// True if only some rows have results.
    pub(super) const fn has_picks(&self) -> bool {
        self.outputs as usize != self.rows()
    }

    fn check(&self) -> Result<(), String> {
        let Self { bucket, kv, context_tokens_max, dtype, outputs, .. } = self;
        let least = [bucket.sequences, bucket.rows_each, bucket.context, kv.blocks, *outputs];
        if least.contains(&0) || kv.block_tokens == 0 {
            return Err(format!("{self:?}: nothing to compute"));
        }
        if !dtype.is_float() {
            return Err(format!("products of {}: f32 or bf16", dtype.name()));
        }
        if bucket.context > *context_tokens_max || *outputs as usize > self.rows() {
            return Err(format!("{self:?}: a bucket beyond what there is"));
        }
        let slots = (u64::from(kv.blocks) + 1) * u64::from(kv.block_tokens);
        if slots > EXACT as u64 || *context_tokens_max as usize > EXACT {
            return Err(format!("{slots} places of the KV cache: {EXACT} at most"));
        }
        Ok(())
    }
}

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parameter {
    /// `[rows]` s32: tokens.
    Tokens,
    /// `[rows]` s32: each token's place in its sequence.
    Positions,
    /// `[rows]` s32: where each row's keys and values are written: block times its tokens, and place in it.
    Slots,
    /// `[sequences, blocks]` s32: blocks of each sequence.
    Tables,
    /// `[outputs]` s32: rows that have results. Only where not all have.
    Picks,
    /// `[outputs]` f32: what logits are divided by; 0 takes the most probable token. This and the four that
    /// follow only where tokens are drawn.
    Temperatures,
    /// `[outputs]` f32: how many of the most probable tokens.
    TopKs,
    /// `[outputs]` f32: what share of those.
    TopPs,
    /// `[outputs]` f32: the logarithm of the least share of the most probable one's.
    MinPs,
    /// `[outputs]` f32, in (0, 1): which of them.
    Uniforms,
    /// `[1]` s32: which rank this is. Only where there are several.
    Rank,
    /// `[context, pairs]` f32: cosines of a table.
    Cosines(usize),
    /// `[context, pairs]` f32: sines of a table.
    Sines(usize),
    /// `[out, inp]`, or `[out]` f32 of a vector.
    Weight(WeightId),
    /// `[(blocks + 1) · tokens, columns]`: keys of a layer; the result of that name lies in it.
    Keys(StateId),
    /// `[(blocks + 1) · tokens, columns]`: values of a layer; the result of that name lies in it.
    Values(StateId),
}

/// A module, and what its parameters are.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// Its results are `ids` (`[outputs]` s32; the number of tokens there are, where logits are no numbers),
    /// `logits` (`[outputs, tokens]` f32) if they were wanted, then keys and values.
    pub module: Module,
    /// By number.
    pub parameters: Vec<Parameter>,
    /// What it was made for.
    pub wants: Wants,
}

/// Lowers what each of several ranks computes.
///
/// # Errors
/// What no program can compute, by name.
pub fn lower(shards: &Shards, wants: &Wants) -> Result<Program, String> {
    wants.check()?;
    let graph = &shards.graph;
    if graph.vocab() >= EXACT {
        return Err(format!("{} tokens: fewer than {EXACT}", graph.vocab()));
    }
    let mut lowering = Lowering::new(graph, shards.ranks, wants);
    let mut values: Vec<Value> = Vec::with_capacity(graph.nodes.len());
    for node in &graph.nodes {
        let arguments: Vec<Value> = node.args.iter().map(|Val(at)| values[*at]).collect();
        let value = lowering.node(node, &arguments)?;
        values.push(value);
    }
    let last = graph.nodes.last().filter(|node| node.rows == Rows::Outputs);
    let Some((_, logits)) = last.zip(values.pop()) else {
        return Err("a graph that ends without logits".to_owned());
    };
    Ok(lowering.finish(logits))
}

/// A graph that is being lowered.
pub(super) struct Lowering<'a> {
    pub(super) graph: &'a Graph,
    pub(super) wants: &'a Wants,
    pub(super) ranks: usize,
    pub(super) b: Builder,
    parameters: Vec<Parameter>,
    known: HashMap<Parameter, Value>,
    /// Values that several nodes use, by what they are.
    pub(super) shared: HashMap<Shared, Value>,
}

/// A value that several nodes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shared {
    /// A table's cosines or sines of each row.
    Angles(Parameter),
    /// Which keys each row sees: window, heads of keys and values, queries for each.
    Mask(Option<usize>, usize, usize),
    /// Which values of each sequence were written: their heads, and columns of one.
    Written(usize, usize),
}

impl<'a> Lowering<'a> {
    fn new(graph: &'a Graph, ranks: usize, wants: &'a Wants) -> Self {
        let name = format!(
            "gimbal_{}x{}_{}",
            wants.bucket.sequences, wants.bucket.rows_each, wants.bucket.context
        );
        let mut lowering = Self {
            graph,
            wants,
            ranks,
            b: Builder::new(&name),
            parameters: Vec::new(),
            known: HashMap::new(),
            shared: HashMap::new(),
        };
        lowering.declare();
        lowering
    }

    /// Declares all parameters, in their order.
    fn declare(&mut self) {
        let (wants, graph) = (self.wants, self.graph);
        let integers = |dims: &[usize]| Shape::new(DType::S32, dims);
        for parameter in [Parameter::Tokens, Parameter::Positions, Parameter::Slots] {
            self.parameter(parameter, integers(&[wants.rows()]));
        }
        let tables = integers(&[wants.bucket.sequences as usize, wants.table()]);
        self.parameter(Parameter::Tables, tables);
        if wants.has_picks() {
            self.parameter(Parameter::Picks, integers(&[wants.outputs as usize]));
        }
        if wants.has_draws {
            for parameter in Parameter::DRAWS {
                self.parameter(parameter, Shape::new(DType::F32, &[wants.outputs as usize]));
            }
        }
        if self.ranks > 1 {
            self.parameter(Parameter::Rank, integers(&[1]));
        }
        let (ropes, weights) = used(&graph.nodes);
        for rope in ropes {
            let pairs = graph.ropes[rope].frequencies.len();
            let shape = Shape::new(DType::F32, &[wants.context_tokens_max as usize, pairs]);
            self.parameter(Parameter::Cosines(rope), shape.clone());
            self.parameter(Parameter::Sines(rope), shape);
        }
        for id in weights {
            let weight = &graph.weights[id];
            let shape = match weight.inp {
                1 => Shape::new(DType::F32, &[weight.out]),
                inp => Shape::new(wants.dtype, &[weight.out, inp]),
            };
            self.parameter(Parameter::Weight(WeightId(id)), shape);
        }
        let slots = (wants.kv.blocks as usize + 1) * wants.kv.block_tokens as usize;
        for (id, state) in graph.states.iter().enumerate() {
            let State::Kv { kv_heads, head_dim, .. } = *state;
            let shape = Shape::new(wants.dtype, &[slots, kv_heads * head_dim]);
            self.parameter(Parameter::Keys(StateId(id)), shape.clone());
            self.parameter(Parameter::Values(StateId(id)), shape);
        }
    }

    fn parameter(&mut self, parameter: Parameter, shape: Shape) {
        let value = self.b.parameter(&parameter.name(self.graph), shape);
        self.parameters.push(parameter);
        self.known.insert(parameter, value);
    }

    /// A parameter as it is now: keys and values change.
    pub(super) fn given(&self, parameter: Parameter) -> Value {
        self.known[&parameter]
    }

    pub(super) fn replace(&mut self, parameter: Parameter, value: Value) {
        self.known.insert(parameter, value);
    }

    fn finish(mut self, logits: Value) -> Program {
        let mut results = vec![("ids".to_owned(), self.choose(logits))];
        if self.wants.has_logits {
            results.push(("logits".to_owned(), logits));
        }
        let mut aliases = Vec::new();
        for (number, parameter) in self.parameters.iter().enumerate() {
            if matches!(parameter, Parameter::Keys(_) | Parameter::Values(_)) {
                aliases.push(Alias { result: results.len(), parameter: number });
                results.push((parameter.name(self.graph), self.known[parameter]));
            }
        }
        let module = self.b.finish(&results, &aliases);
        Program { module, parameters: self.parameters, wants: self.wants.clone() }
    }
}

/// Tables of angles and weights that nodes use.
fn used(nodes: &[Node]) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let (mut ropes, mut weights) = (BTreeSet::new(), BTreeSet::new());
    for node in nodes {
        match node.op {
            Op::Embed(id)
            | Op::EmbedShard(id)
            | Op::Bias(id)
            | Op::RmsNorm { weight: id, .. }
            | Op::Normalize { weight: id, .. } => {
                weights.insert(id.0);
            }
            Op::Linear { weight, bias } => {
                weights.extend([weight].into_iter().chain(bias).map(|id| id.0));
            }
            Op::Rope { rope, .. } => {
                ropes.insert(rope.0);
            }
            _ => {}
        }
    }
    (ropes, weights)
}

impl Parameter {
    /// The name of [`Self::Rank`].
    pub const RANK: &str = "rank";
    /// What tokens are drawn by, in the order of [`super::Draw`].
    pub const DRAWS: [Self; 5] =
        [Self::Temperatures, Self::TopKs, Self::TopPs, Self::MinPs, Self::Uniforms];
    /// Their names.
    pub const DRAW_NAMES: [&str; 5] = ["temperatures", "top_ks", "top_ps", "min_ps", "uniforms"];

    /// The name by which a program knows it.
    #[must_use]
    pub fn name(self, graph: &Graph) -> String {
        match self {
            Self::Tokens => "tokens".to_owned(),
            Self::Positions => "positions".to_owned(),
            Self::Slots => "slots".to_owned(),
            Self::Tables => "tables".to_owned(),
            Self::Picks => "picks".to_owned(),
            Self::Temperatures => Self::DRAW_NAMES[0].to_owned(),
            Self::TopKs => Self::DRAW_NAMES[1].to_owned(),
            Self::TopPs => Self::DRAW_NAMES[2].to_owned(),
            Self::MinPs => Self::DRAW_NAMES[3].to_owned(),
            Self::Uniforms => Self::DRAW_NAMES[4].to_owned(),
            Self::Rank => Self::RANK.to_owned(),
            Self::Cosines(rope) => format!("rope.{rope}.cosines"),
            Self::Sines(rope) => format!("rope.{rope}.sines"),
            Self::Weight(id) => graph.weights[id.0].name.clone(),
            Self::Keys(id) => format!("keys.{}", id.0),
            Self::Values(id) => format!("values.{}", id.0),
        }
    }

    /// The values of one that never changes, row-major; `None` for inputs, keys and values.
    ///
    /// # Errors
    /// The weight is missing, or has blocks that `shard` was not told of.
    pub fn constant(
        self,
        shards: &Shards,
        weights: &Weights,
        rank: usize,
        positions: u32,
    ) -> Result<Option<Vec<f32>>, String> {
        Ok(match self {
            Self::Weight(id) => Some(shards.weight(weights, id, rank)?.to_f32()),
            Self::Cosines(rope) | Self::Sines(rope) => {
                let table = &shards.graph.ropes[rope];
                let of_pair = |(cosine, sine)| match self {
                    Self::Cosines(_) => cosine,
                    _ => sine,
                };
                Some((0..positions).flat_map(|p| table.angles(p).map(of_pair)).collect())
            }
            _ => None,
        })
    }
}
