//! `cargo xtask arm64 --count`: instructions of the kernels' inner loops, ours and llama.cpp's, for 256
//! weights, and how fast each Graviton could be at best. Nothing here was timed.
//!
//! Ours are read from the release binary, llama.cpp's from its source as GCC compiles it for the same
//! core. `disassembly.rs` counts. **The bars** are those of [`BARS`]; a loop that goes to the stack, calls
//! a function, or is no shorter than llama.cpp's best for the same work fails.

use std::path::Path;
use std::process::Command;

use anyhow::bail;

use super::disassembly::{self, Cost, Dot, Function};
use super::{TOOLS, llama, roofline};
use crate::command;

/// Weights that the figures are for.
const WEIGHTS: u64 = 256;

/// A weight type: its name, how our code spells it, blocks that share a scale.
const TYPES: [(&str, &str, u64); 3] =
    [("Q4_1", "Q4_1", 1), ("Q8_0", "Q8_0", 1), ("Q4_K", "Q4K", 8)];
/// A table of ours, and the core that llama.cpp's kernels are compiled for.
const TABLES: [(&str, &str); 2] = [("neon", "neoverse-n1"), ("i8mm", "neoverse-v1")];

/// A loop of ours. It is generic over the type, and over halves of a group's eight rows.
struct Ours {
    table: &'static str,
    rows: u64,
    function: &'static str,
    /// Its first generic argument, where it has one beside halves and type.
    first: Option<&'static str>,
    dot: Dot,
    /// Products of bytes that its instructions compute for a block of 32 columns.
    products: u64,
    /// Those of them that count: a row alone is both columns of a product of matrices.
    useful: u64,
}

const OURS: [Ours; 4] = [
    Ours {
        table: "neon",
        rows: 1,
        function: "one_row",
        first: None,
        dot: Dot::Vectors,
        products: 256,
        useful: 256,
    },
    Ours {
        table: "neon",
        rows: 8,
        function: "sdot_rows",
        first: Some("8"),
        dot: Dot::Vectors,
        products: 1024,
        useful: 1024,
    },
    Ours {
        table: "i8mm",
        rows: 1,
        function: "smmla_row",
        first: None,
        dot: Dot::Matrices,
        products: 512,
        useful: 256,
    },
    Ours {
        table: "i8mm",
        rows: 8,
        function: "smmla_pairs",
        first: Some("4"),
        dot: Dot::Matrices,
        products: 1024,
        useful: 1024,
    },
];
/// Most instructions of ours for 256 weights: table, rows, instructions.
const BARS: [(&str, u64, f64); 4] =
    [("neon", 1, 72.0), ("neon", 8, 300.0), ("i8mm", 1, 72.0), ("i8mm", 8, 190.0)];

/// A kernel of llama.cpp: type, core, rows it is for, its symbol, instruction, products of bytes in a
/// round of its loop (rows × columns × depth). **Source**: `ggml_repack_get_optimal_repack_type`; what
/// is not repacked takes the dot product of a row with a column, with SMMLA of two with two.
type Theirs = (&'static str, &'static str, u64, &'static str, Dot, u64);
const THEIRS: [Theirs; 20] = [
    ("Q4_1", "neoverse-n1", 1, "ggml_vec_dot_q4_1_q8_1", Dot::Vectors, 32),
    ("Q4_1", "neoverse-n1", 8, "ggml_vec_dot_q4_1_q8_1", Dot::Vectors, 32),
    ("Q4_1", "neoverse-v1", 1, "ggml_vec_dot_q4_1_q8_1", Dot::Vectors, 32),
    ("Q4_1", "neoverse-v1", 8, "ggml_vec_dot_q4_1_q8_1", Dot::Matrices, 128),
    ("Q8_0", "neoverse-n1", 1, "ggml_vec_dot_q8_0_q8_0", Dot::Vectors, 32),
    ("Q8_0", "neoverse-n1", 1, "ggml_gemv_q8_0_4x4_q8_0", Dot::Vectors, 128),
    ("Q8_0", "neoverse-n1", 8, "ggml_vec_dot_q8_0_q8_0", Dot::Vectors, 32),
    ("Q8_0", "neoverse-n1", 8, "ggml_gemm_q8_0_4x4_q8_0", Dot::Vectors, 512),
    ("Q8_0", "neoverse-v1", 1, "ggml_vec_dot_q8_0_q8_0", Dot::Vectors, 32),
    ("Q8_0", "neoverse-v1", 1, "ggml_gemv_q8_0_4x8_q8_0", Dot::Vectors, 128),
    ("Q8_0", "neoverse-v1", 8, "ggml_vec_dot_q8_0_q8_0", Dot::Matrices, 128),
    ("Q8_0", "neoverse-v1", 8, "ggml_gemm_q8_0_4x8_q8_0", Dot::Matrices, 512),
    ("Q4_K", "neoverse-n1", 1, "ggml_vec_dot_q4_K_q8_K", Dot::Vectors, 256),
    ("Q4_K", "neoverse-n1", 1, "ggml_gemv_q4_K_8x4_q8_K", Dot::Vectors, 2048),
    ("Q4_K", "neoverse-n1", 8, "ggml_vec_dot_q4_K_q8_K", Dot::Vectors, 256),
    ("Q4_K", "neoverse-n1", 8, "ggml_gemm_q4_K_8x4_q8_K", Dot::Vectors, 8192),
    ("Q4_K", "neoverse-v1", 1, "ggml_vec_dot_q4_K_q8_K", Dot::Vectors, 256),
    ("Q4_K", "neoverse-v1", 1, "ggml_gemv_q4_K_8x8_q8_K", Dot::Vectors, 2048),
    ("Q4_K", "neoverse-v1", 8, "ggml_vec_dot_q4_K_q8_K", Dot::Matrices, 1024),
    ("Q4_K", "neoverse-v1", 8, "ggml_gemm_q4_K_8x8_q8_K", Dot::Matrices, 8192),
];

/// Counts, prints, and fails where a bar is not met.
pub(super) fn run(binary: &Path) -> anyhow::Result<()> {
    let ours = ours(binary)?;
    let mut failed = Vec::new();
    for (table, core) in TABLES {
        let theirs = llama::functions(core)?;
        eprintln!("\n{table}, beside {} compiled by GCC for {core}:", llama::version());
        for (name, spelled, blocks) in TYPES {
            for kernel in OURS.iter().filter(|kernel| kernel.table == table) {
                let rows = kernel.rows;
                let (best, shown) = best_of_theirs(&theirs, name, core, rows);
                let cost = kernel.find(&ours, spelled, blocks);
                eprintln!("  {name} × {rows}: {}; llama.cpp {shown}", show(cost, rows));
                if let Err(why) = judge(kernel, cost, best) {
                    failed.push(format!("{table} {name} × {rows}: {why}"));
                }
            }
        }
    }
    eprintln!("\n{}", roofline::table()?);
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

/// The functions of our kernels for Arm in the binary.
fn ours(binary: &Path) -> anyhow::Result<Vec<Function>> {
    let mut objdump = Command::new(format!("{TOOLS}-objdump"));
    objdump.args(["-d", "-C", "--no-show-raw-insn"]).arg(binary);
    let mut all = disassembly::functions(&command::output(&mut objdump)?);
    let ours = TABLES.map(|(table, _)| format!("::kernels::{table}::"));
    all.retain(|function| ours.iter().any(|path| function.name.contains(path.as_str())));
    Ok(all)
}

/// The fewest instructions, and all with their names.
fn best_of_theirs(
    functions: &[Function],
    name: &str,
    core: &str,
    rows: u64,
) -> (Option<f64>, String) {
    let of = |theirs: &&Theirs| (theirs.0, theirs.1, theirs.2) == (name, core, rows);
    let counted = THEIRS.iter().filter(of).map(|(_, _, _, symbol, dot, products)| {
        let function = functions.iter().find(|f| f.name == *symbol);
        (*symbol, function.and_then(|f| f.round(*dot, *products)))
    });
    let (mut best, mut shown) = (None::<f64>, Vec::new());
    for (symbol, cost) in counted {
        shown.push(format!("{} ({symbol})", show(cost, rows)));
        let figure = cost.map(|cost| cost.for_products(WEIGHTS * rows));
        best = best.into_iter().chain(figure).min_by(f64::total_cmp);
    }
    (best, shown.join(", "))
}

fn show(cost: Option<Cost>, rows: u64) -> String {
    let Some(cost) = cost else { return "no such loop".to_owned() };
    let stack = match cost.spills {
        0 => String::new(),
        spills => format!(" with {spills} of the stack a round"),
    };
    let calls = match cost.calls {
        0 => String::new(),
        calls => format!(" and {calls} calls"),
    };
    format!("{:.1}{stack}{calls}", cost.for_products(WEIGHTS * rows))
}

impl Ours {
    /// The dearest of the functions that are called so, whose halves differ little.
    fn find(&self, functions: &[Function], spelled: &str, blocks: u64) -> Option<Cost> {
        let all = functions.iter().filter(|function| self.is(&function.name, spelled));
        let costs = all.map(|function| function.round(self.dot, self.products * blocks));
        let useful =
            |cost: Cost| Cost { products: cost.products * self.useful / self.products, ..cost };
        // One without such a loop is none at all.
        let costs = costs.collect::<Option<Vec<Cost>>>()?.into_iter().map(useful);
        costs.max_by(|a, b| a.for_products(WEIGHTS).total_cmp(&b.for_products(WEIGHTS)))
    }

    /// True where a demangled name is this function's, for a type.
    fn is(&self, name: &str, spelled: &str) -> bool {
        let Some((path, generics)) = generics(name) else { return false };
        let is_called = last_name(path) == self.function;
        let first = generics.first().map(|argument| last_name(argument));
        let is_first = self.first.is_none_or(|expect| first == Some(expect));
        is_called && is_first && generics.last().is_some_and(|last| last_name(last) == spelled)
    }
}

/// The bars.
fn judge(kernel: &Ours, ours: Option<Cost>, best: Option<f64>) -> Result<(), String> {
    let ours = ours.ok_or("no loop of ours was found")?;
    let figure = ours.for_products(WEIGHTS * kernel.rows);
    let bar = BARS.iter().find(|(table, rows, _)| (*table, *rows) == (kernel.table, kernel.rows));
    let (_, _, most) = bar.ok_or("there is no bar")?;
    if figure > *most {
        return Err(format!("{figure:.1} instructions, {most} at most"));
    }
    if ours.spills + ours.calls > 0 {
        return Err("a loop that goes to the stack or calls".to_owned());
    }
    match best {
        None => Err("no loop of llama.cpp was found".to_owned()),
        Some(best) if figure >= best => {
            Err(format!("{figure:.1} instructions, llama.cpp has {best:.1}"))
        }
        Some(_) => Ok(()),
    }
}

/// A demangled name and its last generic arguments, without those within others; the compiler may have
/// put a mark of its own behind them.
fn generics(name: &str) -> Option<(&str, Vec<&str>)> {
    let (inner, _) = name.rsplit_once('>')?;
    let (mut depth, mut start) = (1, None);
    for (at, letter) in inner.char_indices().rev() {
        match letter {
            '>' => depth += 1,
            '<' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            start = Some(at);
            break;
        }
    }
    let (path, arguments) = inner.split_at_checked(start?)?;
    Some((path.trim_end_matches("::"), arguments.get(1..)?.split(", ").collect()))
}

/// `Q4_1` of `gimbal_cpu::kernels::tile::Q4_1`, `8` of `8usize`.
fn last_name(argument: &str) -> &str {
    let last = argument.rsplit("::").next().unwrap_or(argument);
    last.trim_end_matches("usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function with a loop of so many dot products and one load.
    fn looped(name: &str, dot: &str, times: u64, from: &str) -> String {
        let mut text = format!("0000000000001000 <{name}>:\n");
        for i in 0..times {
            text += &format!("    {:x}:\t{dot}\n", 0x1000 + 4 * i);
        }
        let at = 0x1000 + 4 * times;
        text + &format!("    {at:x}:\tldr\tq1, [{from}]\n    {:x}:\tb.ne\t1000 <x>\n\n", at + 4)
    }

    /// Ours, as objdump names them: one row and eight of the table `i8mm`.
    fn ours(one: u64, eight: u64) -> Vec<Function> {
        let name = |function: &str, first: &str| {
            let path = "gimbal_cpu::kernels";
            format!("{path}::i8mm::linear::{function}::<{first}{path}::tile::Q8_0> (.llvm.123)")
        };
        let smmla = "smmla\tv0.4s, v1.16b, v2.16b";
        let text = looped(&name("smmla_row", ""), smmla, one, "x1")
            + &looped(&name("smmla_pairs", "4usize, 0usize, "), smmla, eight, "x1")
            + &looped(&name("smmla_pairs", "4, 1, "), smmla, eight, "sp")
            + &looped(&name("smmla_pairs", "3, 1, "), smmla, 1, "sp");
        disassembly::functions(&text)
    }

    /// A round of shorter loops is another's.
    #[test]
    fn loops_are_found_by_name_and_type() {
        let [_, _, row, pairs] = &OURS;
        let functions = ours(15, 30);
        assert_eq!(generics(&functions[1].name).map(|(_, g)| g.len()), Some(3));
        assert!(row.find(&functions, "Q8_0", 1).is_none());
        assert!(pairs.find(&functions, "Q8_0", 1).is_none());
        let functions = ours(16, 32);
        assert!(row.find(&functions, "Q4_1", 1).is_none());
        assert!(row.find(&functions, "Q8_0", 8).is_none());
        let cost = row.find(&functions, "Q8_0", 1).expect("it is there");
        assert_eq!((cost.instructions, cost.products), (18, 256), "half of what is computed");
        assert_eq!(judge(row, Some(cost), Some(20.0)), Ok(()));
        let slower = judge(row, Some(cost), Some(18.0)).expect_err("as many as theirs");
        assert_eq!(slower, "18.0 instructions, llama.cpp has 18.0");
        let over = judge(row, Some(Cost { instructions: 73, ..cost }), Some(99.0));
        assert_eq!(over.expect_err("too many"), "73.0 instructions, 72 at most");
        let cost = pairs.find(&functions, "Q8_0", 1).expect("it is there");
        assert_eq!((cost.instructions, cost.products, cost.spills), (34, 1024, 1));
        let stack = judge(pairs, Some(cost), Some(99.0)).expect_err("a half spills");
        assert!(stack.contains("stack"), "{stack}");
        assert!(judge(pairs, None, Some(1.0)).is_err());
        assert!(judge(row, Some(Cost { spills: 0, ..cost }), None).is_err());
    }

    #[test]
    fn every_work_has_a_bar_and_kernels_to_compare_with() {
        for (table, core) in TABLES {
            for rows in [1, 8] {
                assert!(BARS.iter().any(|(t, r, _)| (*t, *r) == (table, rows)));
                assert!(OURS.iter().any(|kernel| (kernel.table, kernel.rows) == (table, rows)));
                for (name, _, _) in TYPES {
                    let of = |t: &&Theirs| (t.0, t.1, t.2) == (name, core, rows);
                    assert!(THEIRS.iter().any(|t| of(&t)), "{name} {core} {rows}");
                }
            }
        }
    }
}
