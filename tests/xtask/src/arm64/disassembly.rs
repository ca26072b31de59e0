//! What `objdump -d` prints of AArch64 code: functions, their loops, and what one round of a loop takes.
//!
//! Instructions are counted and not timed. What a loop computes is told by its dot products alone: so
//! many products of bytes each. Next: `count.rs`, which says which loops.

use std::ops::RangeInclusive;

/// One instruction.
#[derive(Debug)]
struct Instruction {
    address: u64,
    name: String,
    operands: String,
}

/// One function.
#[derive(Debug)]
pub(super) struct Function {
    /// Its symbol, demangled if `objdump -C` printed it.
    pub(super) name: String,
    body: Vec<Instruction>,
}

/// The instruction that a loop multiplies with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dot {
    /// `SDOT` and its kin: 16 products of bytes.
    Vectors,
    /// `SMMLA` and its kin, on two rows and two columns of eight: 32 products.
    Matrices,
}

/// What a part of a loop takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) instructions: u64,
    /// Products of bytes.
    pub(super) products: u64,
    /// Loads from the stack and stores to it.
    pub(super) spills: u64,
    /// Calls of other functions, whose instructions are not counted.
    pub(super) calls: u64,
}

impl Cost {
    /// Instructions for so many products.
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    pub(super) fn for_products(self, products: u64) -> f64 {
        self.instructions as f64 * products as f64 / self.products as f64
    }

    fn plus(self, times: u64, other: Self) -> Self {
        Self {
            instructions: self.instructions + times * other.instructions,
            products: self.products + times * other.products,
            spills: self.spills + times * other.spills,
            calls: self.calls + times * other.calls,
        }
    }
}

/// All functions of a disassembly.
pub(super) fn functions(text: &str) -> Vec<Function> {
    let mut all: Vec<Function> = Vec::new();
    for line in text.lines() {
        // `0000000000001120 <name>:` begins one.
        let head = line.strip_suffix(">:").and_then(|line| line.split_once(" <"));
        if let Some((address, name)) = head
            && u64::from_str_radix(address, 16).is_ok()
        {
            all.push(Function { name: name.to_owned(), body: Vec::new() });
        } else if let (Some(instruction), Some(function)) = (instruction(line), all.last_mut()) {
            function.body.push(instruction);
        }
    }
    all
}

/// Of an address, a colon, the name, operands and perhaps a remark after `//`.
fn instruction(line: &str) -> Option<Instruction> {
    let (address, rest) = line.trim_start().split_once(':')?;
    let address = u64::from_str_radix(address, 16).ok()?;
    let rest = rest.split("//").next().unwrap_or_default().trim();
    let (name, operands) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let is_word = !name.is_empty() && name != "...";
    is_word.then(|| Instruction {
        address,
        name: name.to_owned(),
        operands: operands.trim().to_owned(),
    })
}

impl Instruction {
    /// Where it may jump to.
    fn target(&self) -> Option<u64> {
        let jumps = self.name == "b"
            || self.name.starts_with("b.")
            || ["cbz", "cbnz", "tbz", "tbnz"].contains(&self.name.as_str());
        let operands = self.operands.split(" <").next().filter(|_| jumps)?;
        u64::from_str_radix(operands.rsplit([' ', ',']).next()?, 16).ok()
    }

    /// The products of bytes it computes, and how. Vectors of SVE are taken to have 256 bits.
    fn products(&self) -> Option<(Dot, u64)> {
        let (dot, products) = match self.name.as_str() {
            "sdot" | "udot" | "usdot" | "sudot" => (Dot::Vectors, 16),
            "smmla" | "ummla" | "usmmla" => (Dot::Matrices, 32),
            _ => return None,
        };
        // SVE has dot products of 16-bit numbers under the same name.
        let has_bytes = [".16b", ".4b", ".b"].iter().any(|lanes| self.operands.contains(lanes));
        if !has_bytes {
            return None;
        }
        let is_scalable = self.operands.starts_with('z');
        Some((dot, if is_scalable { 2 * products } else { products }))
    }

    /// True where it reads or writes the stack.
    fn is_spill(&self) -> bool {
        let moves = ["ld", "st"].iter().any(|begin| self.name.starts_with(begin));
        moves && self.operands.contains("[sp")
    }

    fn cost(&self) -> Cost {
        Cost {
            instructions: u64::from(self.name != "nop"),
            products: self.products().map_or(0, |(_, products)| products),
            spills: self.is_spill().into(),
            calls: ["bl", "blr"].contains(&self.name.as_str()).into(),
        }
    }
}

impl Function {
    /// The cheapest round of a loop that computes `products` products of bytes, or a multiple of them,
    /// with this instruction. Where a loop within it has some of them, it runs as often as makes up the
    /// number; one that has none counts once.
    pub(super) fn round(&self, dot: Dot, products: u64) -> Option<Cost> {
        let loops = self.loops();
        let rounds = loops.iter().filter(|l| self.has(l, dot));
        let costs = rounds.filter_map(|l| self.cost(&loops, l, products));
        costs.min_by(|a, b| a.for_products(products).total_cmp(&b.for_products(products)))
    }

    /// Ranges of instructions from where a later one jumps back to, up to that one.
    fn loops(&self) -> Vec<RangeInclusive<usize>> {
        let mut loops: Vec<RangeInclusive<usize>> = Vec::new();
        for (last, instruction) in self.body.iter().enumerate() {
            let Some(target) = instruction.target().filter(|t| *t <= instruction.address) else {
                continue;
            };
            let Ok(first) = self.body.binary_search_by_key(&target, |i| i.address) else {
                continue;
            };
            // Two jumps to one place are one loop.
            match loops.iter_mut().find(|l| *l.start() == first) {
                Some(same) => *same = first..=last,
                None => loops.push(first..=last),
            }
        }
        loops
    }

    fn has(&self, within: &RangeInclusive<usize>, dot: Dot) -> bool {
        self.body[within.clone()].iter().any(|i| i.products().is_some_and(|(kind, _)| kind == dot))
    }

    /// What a round of a loop costs; `None` where it does not compute a multiple of `products`.
    fn cost(
        &self,
        loops: &[RangeInclusive<usize>],
        round: &RangeInclusive<usize>,
        products: u64,
    ) -> Option<Cost> {
        let is_within = |inner: &RangeInclusive<usize>, outer: &RangeInclusive<usize>| {
            inner != outer && outer.start() <= inner.start() && inner.end() <= outer.end()
        };
        let computes =
            |l: &RangeInclusive<usize>| self.has(l, Dot::Vectors) || self.has(l, Dot::Matrices);
        let below: Vec<_> = loops.iter().filter(|l| is_within(l, round) && computes(l)).collect();
        let inner: Vec<_> =
            below.iter().filter(|l| !below.iter().any(|other| is_within(l, other))).collect();
        let sum = |indexes: &mut dyn Iterator<Item = usize>| {
            indexes.fold(Cost::default(), |sum, i| sum.plus(1, self.body[i].cost()))
        };
        let own = sum(&mut round.clone().filter(|i| !inner.iter().any(|l| l.contains(i))));
        let inner = sum(&mut inner.iter().flat_map(|l| (**l).clone()));
        if inner.products == 0 {
            return (own.products > 0 && own.products % products == 0).then_some(own);
        }
        let left = products.checked_sub(own.products)?;
        (left > 0 && left % inner.products == 0).then(|| own.plus(left / inner.products, inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loops of both kinds, cut from what objdump printed of llama.cpp's kernels.
    const LOOPS: &str = include_str!("loops.txt");

    fn function(name: &str) -> Function {
        let mut all = functions(LOOPS);
        let at = all.iter().position(|f| f.name == name);
        all.swap_remove(at.unwrap_or_else(|| panic!("no {name}")))
    }

    #[test]
    fn a_loop_of_two_blocks_is_halved() {
        let cost = function("flat").round(Dot::Vectors, 32).expect("a loop");
        assert_eq!((cost.instructions, cost.products), (11, 64));
        assert_eq!(cost.for_products(256), 44.0);
        assert_eq!((cost.spills, cost.calls), (0, 0));
    }

    #[test]
    fn the_loop_within_runs_as_often_as_the_products_say() {
        // Eight products of 16 before it, four times two within it.
        let cost = function("nested").round(Dot::Vectors, 144).expect("a loop");
        assert_eq!((cost.instructions, cost.products), (3 + 4 * 5, 144));
        assert_eq!((cost.spills, cost.calls), (4, 1));
        // The loop within alone is another measure, and no multiple of this one.
        assert_eq!(function("nested").round(Dot::Vectors, 40), None);
    }

    #[test]
    fn products_of_matrices_and_of_long_vectors_are_told_apart() {
        let matrices = function("matrices");
        let cost = matrices.round(Dot::Matrices, 64).expect("a loop");
        assert_eq!((cost.instructions, cost.products), (6, 64));
        assert_eq!(matrices.round(Dot::Vectors, 32).expect("a loop").products, 32);
        assert_eq!(matrices.round(Dot::Vectors, 48), None);
    }

    #[test]
    fn code_without_loops_has_none() {
        assert_eq!(function("straight").round(Dot::Vectors, 16), None);
        assert!(functions("\nfile format elf64\n\n").is_empty());
    }
}
