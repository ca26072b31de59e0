//! What neuronx-cc would refuse, by what AWS publishes of it: the table of operators, and the pages of its error
//! codes.
//!
//! The table is that of the compiler's first releases, with what later release notes add; today's may take more
//! (`neuronx-cc list-operators --framework XLA` tells). It is stricter than `read` in some things and knows
//! operations that `read` does not. **Source**: aws-neuron-sdk, `release-notes/components/compiler.rst`, "Supported
//! Operators", and `compiler/error-codes/`. Next: `builder.rs`.

use std::collections::HashMap;
use std::fmt;

use super::proto::{HloComputation, HloInstruction, HloModule, ShapeProto};

/// Operations of the table by XLA's names; those after the gap are of release notes and of pages that say
/// when they are refused.
const OPERATORS: [&str; 59] = [
    "abs",
    "add",
    "all-gather",
    "all-reduce",
    "and",
    "atan2",
    "batch-norm-grad",
    "batch-norm-inference",
    "batch-norm-training",
    "bitcast-convert",
    "broadcast",
    "ceil",
    "clamp",
    "compare",
    "concatenate",
    "constant",
    "convert",
    "cosine",
    "custom-call",
    "divide",
    "dot",
    "dynamic-update-slice",
    "exponential",
    "floor",
    "gather",
    "get-tuple-element",
    "iota",
    "log",
    "maximum",
    "minimum",
    "multiply",
    "negate",
    "not",
    "pad",
    "parameter",
    "power",
    "reduce",
    "reshape",
    "rng",
    "rng-bit-generator",
    "rsqrt",
    "scatter",
    "select",
    "shift-right-logical",
    "sign",
    "sine",
    "slice",
    "sqrt",
    "subtract",
    "tanh",
    "transpose",
    "tuple",
    //
    "convolution",
    "reduce-scatter",
    "reduce-window",
    "reverse",
    "select-and-scatter",
    "shift-right-arithmetic",
    "topk",
];

/// `PrimitiveType`s that are numbers without a fraction of 32 or 64 bits.
const WIDE_INTEGERS: [i32; 4] = [4, 5, 8, 9];
/// All `PrimitiveType`s without a fraction, `PRED` too.
const INTEGERS: [i32; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

/// What a module is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Inferentia2.
    Inf2,
    /// Trainium1.
    Trn1,
    /// Trainium2.
    Trn2,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Inf2, Self::Trn1, Self::Trn2];

    /// The name that neuronx-cc takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inf2 => "inf2",
            Self::Trn1 => "trn1",
            Self::Trn2 => "trn2",
        }
    }
}

/// What would be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The compiler's code, where its pages name one.
    pub code: Option<&'static str>,
    /// The instruction's name.
    pub instruction: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.unwrap_or("table of operators");
        write!(f, "{code}: {}: {}", self.instruction, self.why)
    }
}

/// All that neuronx-cc would refuse of a module.
#[must_use]
pub fn lint(module: &HloModule, target: Target) -> Vec<Finding> {
    let mut findings = Vec::new();
    for computation in &module.computations {
        let known: HashMap<i64, &HloInstruction> =
            computation.instructions.iter().map(|i| (i.id, i)).collect();
        for instruction in &computation.instructions {
            let of = Of { module, known: &known, instruction, target };
            for (code, why) in of.types().into_iter().chain(of.operation()) {
                let name = instruction.name.chars().filter(|c| !c.is_control()).take(80).collect();
                findings.push(Finding { code, instruction: name, why });
            }
        }
    }
    findings
}

type Why = (Option<&'static str>, String);

/// An instruction, and what it is among.
struct Of<'a> {
    module: &'a HloModule,
    known: &'a HashMap<i64, &'a HloInstruction>,
    instruction: &'a HloInstruction,
    target: Target,
}

impl<'a> Of<'a> {
    /// Types and sizes of what it makes.
    fn types(&self) -> Vec<Why> {
        let Some(shape) = &self.instruction.shape else { return Vec::new() };
        let mut whys = Vec::new();
        for shape in std::iter::once(shape).chain(&shape.tuple_shapes) {
            if shape.is_dynamic_dimension.contains(&true) {
                whys.push((Some("NCC_EMOD025"), "a dynamic dimension".to_owned()));
            }
            let code = match shape.element_type {
                15 | 18 => "NCC_EVRF004",
                23..=25 => "NCC_EVRF005",
                20 => "NCC_EVRF051",
                // Integers but those of 1, 2 and 4 bits, floats of 16 and 32, F8E5M2 and F8E4M3; tuples, tokens.
                1..=11 | 13 | 16 | 17 | 19 | 28 => continue,
                _ => "NCC_ESPP004",
            };
            whys.push((Some(code), format!("element type {}", shape.element_type)));
        }
        whys
    }

    /// What it does.
    fn operation(&self) -> Option<Why> {
        let opcode = self.instruction.opcode.as_str();
        if !OPERATORS.contains(&opcode) {
            let shown: String = opcode.chars().filter(|c| !c.is_control()).take(40).collect();
            return Some((Some("NCC_EVRF001"), format!("{shown} is no operator of it")));
        }
        let element = self.operand(0).and_then(shape_of).map_or(0, |shape| shape.element_type);
        let is_wide = WIDE_INTEGERS.contains(&element);
        let integers = |code| Some((Some(code), format!("{opcode} of integers")));
        let table = |why: &str| Some((None, why.to_owned()));
        match opcode {
            // Of Trainium1 and Inferentia2 it only warns, but of 64 bits.
            "dot" if matches!(element, 5 | 9) || (is_wide && self.target == Target::Trn2) => {
                integers("NCC_EVRF035")
            }
            "all-reduce" if is_wide => integers("NCC_EVRF061"),
            "reduce-scatter" if is_wide => integers("NCC_EVRF063"),
            "topk" if INTEGERS.contains(&element) => integers("NCC_EVRF013"),
            "power" if matches!(element, 5 | 9) => integers("NCC_EVRF062"),
            "power" if !self.is_constant(1) => table("the exponent is no constant"),
            "shift-right-arithmetic" if ![4, 8, 11].contains(&element) => {
                Some((Some("NCC_EVRF022"), "what is shifted has not 32 bits".to_owned()))
            }
            "custom-call" => {
                Some((Some("NCC_EVRF015"), "a target that is not known here".to_owned()))
            }
            "scatter" => self.scatter(element),
            "gather" => self.gather(),
            "reduce" if !self.is_constant(1) => table("what it begins with is no constant"),
            "reduce" => match self.combining() {
                Some("add" | "multiply" | "minimum" | "maximum") => None,
                _ => table("it combines by other than add, multiply, minimum and maximum"),
            },
            "dynamic-update-slice" => {
                let count = self.instruction.operand_ids.len();
                let is_constant = (2..count).all(|operand| self.is_constant(operand));
                if is_constant { None } else { table("an index that is no constant") }
            }
            _ => None,
        }
    }

    /// Of one that only writes, any type will do.
    fn scatter(&self, element: i32) -> Option<Why> {
        let is_combining = self.combining().is_some_and(|opcode| opcode != "parameter");
        if is_combining && INTEGERS.contains(&element) {
            let is_wide = WIDE_INTEGERS.contains(&element);
            let code = if is_wide { "NCC_EVRF060" } else { "NCC_EVRF016" };
            return Some((Some(code), "scatter combines integers".to_owned()));
        }
        let numbers = self.instruction.scatter_dimension_numbers.as_ref()?;
        self.beyond(&numbers.scatter_dims_to_operand_dims)
            .then(|| (Some("NCC_EVRF031"), "indices of iota beyond what they count".to_owned()))
    }

    fn gather(&self) -> Option<Why> {
        let numbers = self.instruction.gather_dimension_numbers.as_ref()?;
        if self.beyond(&numbers.start_index_map) {
            return Some((
                Some("NCC_EVRF056"),
                "indices of iota beyond what they count".to_owned(),
            ));
        }
        let is_apart =
            numbers.start_index_map.iter().all(|dim| numbers.collapsed_slice_dims.contains(dim));
        let why = "a dimension that an index counts is one of the slice, too".to_owned();
        (!is_apart).then_some((None, why))
    }

    /// True if indices count further than the dimension that they index.
    fn beyond(&self, map: &[i64]) -> bool {
        let (Some(counted), [dim]) = (self.counted(1), map) else { return false };
        let sizes = self.operand(0).and_then(shape_of).map(|shape| shape.dimensions.as_slice());
        let size = usize::try_from(*dim).ok().and_then(|dim| sizes?.get(dim).copied());
        size.is_some_and(|size| counted > size)
    }

    /// How far an operand counts, where it is an iota, be it in other dimensions or of another type.
    fn counted(&self, operand: usize) -> Option<i64> {
        let mut at = self.operand(operand)?;
        // Operands come before what uses them: a chain is no longer than the computation.
        for _ in 0..self.known.len() {
            match at.opcode.as_str() {
                "iota" => {
                    let dim = usize::try_from(*at.dimensions.first()?).ok()?;
                    return shape_of(at)?.dimensions.get(dim).copied();
                }
                "reshape" | "convert" | "broadcast" => {
                    at = self.known.get(at.operand_ids.first()?)?;
                }
                _ => return None,
            }
        }
        None
    }

    fn operand(&self, operand: usize) -> Option<&'a HloInstruction> {
        self.known.get(self.instruction.operand_ids.get(operand)?).copied()
    }

    fn is_constant(&self, operand: usize) -> bool {
        let mut at = self.operand(operand);
        for _ in 0..self.known.len() {
            match at {
                Some(found) if found.opcode == "constant" => return true,
                Some(found) if matches!(found.opcode.as_str(), "broadcast" | "reshape") => {
                    at = found.operand_ids.first().and_then(|id| self.known.get(id).copied());
                }
                _ => return false,
            }
        }
        false
    }

    /// The opcode of what the computation that is called makes.
    fn combining(&self) -> Option<&'a str> {
        let id = self.instruction.called_computation_ids.first()?;
        let is_it = |computation: &&HloComputation| computation.id == *id;
        let called = self.module.computations.iter().find(is_it)?;
        let root = called.instructions.iter().find(|i| i.id == called.root_id)?;
        Some(root.opcode.as_str())
    }
}

const fn shape_of(instruction: &HloInstruction) -> Option<&ShapeProto> {
    instruction.shape.as_ref()
}

#[cfg(test)]
mod tests;
