//! The model graph: every activation is a matrix `[rows, cols]`.
//!
//! Rows are symbolic, columns fixed. Batch, sequence and padding are not graph notions; the one
//! stateful op is `Attend`. Next: `decoder.rs` builds graphs, `interp.rs` runs them.

/// What one row of an activation stands for; the only dynamic dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One row per token computed in this step.
    Tokens,
    /// One row per wanted result.
    Outputs,
}

/// How tensor parallelism may cut a weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Every rank holds all of it.
    Whole,
    /// Each rank makes a slice of the output columns; `unit` rows stay together (a head).
    Out {
        /// Rows that stay together.
        unit: usize,
    },
    /// Each rank reads a slice of the input columns; partial results are summed.
    In {
        /// Columns that stay together.
        unit: usize,
    },
    /// Rows are tokens: each rank has a slice of the vocabulary, or all of it where that does not
    /// divide.
    Vocab,
}

/// A weight by its name in the model file, as `[out, inp]`; vectors have `inp == 1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weight {
    /// Canonical (GGUF) name.
    pub name: String,
    /// Rows: output features.
    pub out: usize,
    /// Columns: input features.
    pub inp: usize,
    /// How ranks share it.
    pub cut: Cut,
}

/// Index into `Graph::weights`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WeightId(pub usize);
/// Index into `Graph::nodes`: the value a node makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Val(pub usize);
/// Index into `Graph::states`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateId(pub usize);
/// Index into `Graph::ropes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RopeId(pub usize);

/// What a layer keeps of earlier tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Keys and values of every token, or of the last `window` ones.
    Kv {
        /// Key and value heads.
        kv_heads: usize,
        /// Columns of a head.
        head_dim: usize,
        /// Positions attended to, counting the row's own; `None` is all.
        window: Option<usize>,
    },
}

/// Which columns of a head rotate together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// Columns `2i` and `2i + 1` (GGUF `llama`).
    Adjacent,
    /// Columns `i` and `i + n/2` (GPT-NeoX, Hugging Face).
    Halves,
}

impl Pair {
    /// The two columns of pair `i` of so many in a head.
    #[must_use]
    pub const fn columns(self, i: usize, pairs: usize) -> (usize, usize) {
        match self {
            Self::Adjacent => (2 * i, 2 * i + 1),
            Self::Halves => (i, i + pairs),
        }
    }
}

/// Rotary frequencies in radians a position, one for each pair; columns past the pairs stay.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    /// `[pairs]` frequencies.
    pub frequencies: Vec<f32>,
    /// Which columns form a pair.
    pub pair: Pair,
    /// Multiplies cosines and sines (YaRN, LongRoPE); 1 elsewhere.
    pub magnitude: f32,
}

impl RopeTable {
    /// Plain RoPE: `theta^(-2i/dims)`. Source: Su et al. 2021, §3.2.
    #[must_use]
    pub fn plain(theta: f32, dims: usize, pair: Pair) -> Self {
        let exponent = |i: usize| -2.0 * i as f64 / dims as f64;
        #[expect(clippy::cast_possible_truncation, reason = "f32 is the table's type")]
        let frequency = |i: usize| f64::from(theta).powf(exponent(i)) as f32;
        Self { frequencies: (0..dims / 2).map(frequency).collect(), pair, magnitude: 1.0 }
    }

    /// Cosine and sine of every pair at a position. The angle is formed in f64: at position 8192
    /// an f32 product would already be wrong in the fourth digit.
    pub fn angles(&self, position: u32) -> impl Iterator<Item = (f32, f32)> + '_ {
        self.frequencies.iter().map(move |f| {
            let (sin, cos) = (f64::from(position) * f64::from(*f)).sin_cos();
            #[expect(clippy::cast_possible_truncation, reason = "f32 is the activations' type")]
            (cos as f32 * self.magnitude, sin as f32 * self.magnitude)
        })
    }

    /// The two columns of pair `i` in a head.
    #[must_use]
    pub fn columns(&self, i: usize) -> (usize, usize) {
        self.pair.columns(i, self.frequencies.len())
    }
}

/// Element-wise activation functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// `x · sigmoid(x)`.
    Silu,
    /// GELU by its tanh form.
    GeluTanh,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Token ids to rows of the table.
    Embed(WeightId),
    /// `x · Wᵀ + b`; the only place where weight quantisation and LoRA attach.
    Linear {
        /// `[out, inp]`.
        weight: WeightId,
        /// `[out, 1]`.
        bias: Option<WeightId>,
    },
    /// `x / sqrt(mean(x²) + eps) · weight` over groups of `group` columns (a head, or the row).
    RmsNorm {
        /// `[group, 1]`.
        weight: WeightId,
        /// Added to the mean square.
        eps: f32,
        /// Columns normalised together.
        group: usize,
    },
    /// Rotates pairs inside each head by the row's position.
    Rope {
        /// Frequencies and pair order.
        rope: RopeId,
        /// Columns of a head.
        head_dim: usize,
    },
    /// Appends k and v to `state` and attends to everything the row may see.
    Attend {
        /// Where k and v are kept.
        state: StateId,
        /// Query heads; a multiple of the state's kv_heads.
        heads: usize,
        /// Multiplies q·k.
        scale: f32,
        /// `c · tanh(s / c)` on the scores.
        softcap: Option<f32>,
    },
    /// An activation function.
    Act(Act),
    /// Element-wise sum.
    Add,
    /// Element-wise product.
    Mul,
    /// Multiplication by a constant.
    Scale(f32),
    /// `c · tanh(x / c)`.
    Softcap(f32),
    /// Keeps the wanted rows: `Tokens` to `Outputs`.
    Pick,
    /// Sum over the ranks of a group. This and all that follow are written only by `shard`.
    AllReduce,
    /// Columns of all ranks side by side, in their order.
    AllGather {
        /// How many ranks there are.
        ranks: usize,
    },
    /// `Embed` of a rank's slice of the vocabulary, which begins at token `rank · out`; tokens of
    /// other ranks are rows of zeros.
    EmbedShard(WeightId),
    /// Adds `[cols, 1]` to every row: the bias of a `Linear` whose partial results were summed.
    Bias(WeightId),
    /// Mean of a row's squares: one column.
    MeanSquare,
    /// `x / sqrt(m + eps) · weight` of x and m: an `RmsNorm` whose row lies on several ranks.
    Normalize {
        /// `[cols, 1]`.
        weight: WeightId,
        /// Added to the mean square.
        eps: f32,
    },
}

/// An operation with its inputs and the shape it makes.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is done.
    pub op: Op,
    /// Its inputs.
    pub args: Vec<Val>,
    /// What a row of the result stands for.
    pub rows: Rows,
    /// Columns of the result.
    pub cols: usize,
}

/// A model: nodes in order of execution; the last one is the result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// In order of execution.
    pub nodes: Vec<Node>,
    /// Weights by name.
    pub weights: Vec<Weight>,
    /// What layers keep.
    pub states: Vec<State>,
    /// Rotary tables.
    pub ropes: Vec<RopeTable>,
}

impl Graph {
    /// Declares a weight.
    pub fn weight(&mut self, name: &str, out: usize, inp: usize, cut: Cut) -> WeightId {
        self.weights.push(Weight { name: name.to_owned(), out, inp, cut });
        WeightId(self.weights.len() - 1)
    }

    /// Adds a node and checks its shape.
    ///
    /// # Panics
    /// If the shapes do not fit: a bug of the architecture function.
    pub fn add(&mut self, op: Op, args: &[Val]) -> Val {
        let (rows, cols) = self.shape(&op, args);
        self.nodes.push(Node { op, args: args.to_vec(), rows, cols });
        Val(self.nodes.len() - 1)
    }

    /// The node that makes a value.
    #[must_use]
    pub fn node(&self, val: Val) -> &Node {
        &self.nodes[val.0]
    }

    /// Columns of the residual stream: those of the first node.
    #[must_use]
    pub fn hidden(&self) -> usize {
        self.nodes.first().map_or(0, |node| node.cols)
    }

    /// Columns of the result: one for each token there is.
    #[must_use]
    pub fn vocab(&self) -> usize {
        self.nodes.last().map_or(0, |node| node.cols)
    }

    /// Columns of the widest value that each token's row has.
    #[must_use]
    pub fn widest(&self) -> usize {
        let tokens = self.nodes.iter().filter(|node| node.rows == Rows::Tokens);
        tokens.map(|node| node.cols).max().unwrap_or(0)
    }

    /// Columns of the widest attention: heads by columns of a head.
    #[must_use]
    pub fn attention(&self) -> usize {
        let attends = self.nodes.iter().filter(|node| matches!(node.op, Op::Attend { .. }));
        attends.map(|node| node.cols).max().unwrap_or(0)
    }

    /// Elements of KV one token needs over all layers.
    #[must_use]
    pub fn kv_elements_per_token(&self) -> usize {
        let elements = |s: &State| match s {
            State::Kv { kv_heads, head_dim, .. } => 2 * kv_heads * head_dim,
        };
        self.states.iter().map(elements).sum()
    }

    fn shape(&self, op: &Op, args: &[Val]) -> (Rows, usize) {
        let arg = |i: usize| (self.node(args[i]).rows, self.node(args[i]).cols);
        let wants = |n: usize| assert_eq!(args.len(), n, "{op:?} takes {n} inputs");
        match *op {
            Op::Embed(table) | Op::EmbedShard(table) => {
                wants(0);
                (Rows::Tokens, self.weights[table.0].inp)
            }
            Op::Linear { weight, bias } => {
                wants(1);
                let (rows, cols) = arg(0);
                let w = &self.weights[weight.0];
                assert_eq!(cols, w.inp, "input of {}", w.name);
                assert!(bias.is_none_or(|b| self.weights[b.0].out == w.out), "bias of {}", w.name);
                (rows, w.out)
            }
            Op::RmsNorm { weight, group, .. } => {
                wants(1);
                assert_eq!(arg(0).1 % group, 0, "{op:?}");
                assert_eq!(self.weights[weight.0].out, group, "{op:?}");
                arg(0)
            }
            Op::Rope { rope, head_dim } => {
                wants(1);
                assert_eq!(arg(0).1 % head_dim, 0, "{op:?}");
                assert!(self.ropes[rope.0].frequencies.len() * 2 <= head_dim, "{op:?}");
                arg(0)
            }
            Op::Attend { state, heads, .. } => {
                wants(3);
                let State::Kv { kv_heads, head_dim, .. } = self.states[state.0];
                assert_eq!(heads % kv_heads, 0, "{op:?}");
                assert_eq!(arg(0).1, heads * head_dim, "{op:?}");
                assert_eq!(arg(1).1, kv_heads * head_dim, "{op:?}");
                assert_eq!(arg(1), arg(2), "{op:?}");
                arg(0)
            }
            Op::Act(_) | Op::Scale(_) | Op::Softcap(_) | Op::AllReduce => {
                wants(1);
                arg(0)
            }
            Op::Add | Op::Mul => {
                wants(2);
                assert_eq!(arg(0), arg(1), "{op:?}");
                arg(0)
            }
            Op::Pick => {
                wants(1);
                assert_eq!(arg(0).0, Rows::Tokens);
                (Rows::Outputs, arg(0).1)
            }
            Op::AllGather { ranks } => {
                wants(1);
                (arg(0).0, arg(0).1 * ranks)
            }
            Op::Bias(bias) => {
                wants(1);
                assert_eq!(self.weights[bias.0].out, arg(0).1, "{op:?}");
                arg(0)
            }
            Op::MeanSquare => {
                wants(1);
                (arg(0).0, 1)
            }
            Op::Normalize { weight, .. } => {
                wants(2);
                assert_eq!(arg(1), (arg(0).0, 1), "{op:?}");
                assert_eq!(self.weights[weight.0].out, arg(0).1, "{op:?}");
                arg(0)
            }
        }
    }
}
