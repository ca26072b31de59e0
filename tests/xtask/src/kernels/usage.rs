//! What an assembler says of each kernel: registers, shared memory, spills. And what PTX says: threads.
//!
//! Next: `held`, what follows of them.

use std::collections::BTreeMap;

/// Of one kernel on one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) registers: u32,
    /// Bytes of shared memory that it declares.
    pub(super) shared: u32,
    /// Bytes of a thread that are in memory: registers written and read again, and what has an address.
    pub(super) spilled: u32,
}

/// Reads `ptxas -v`: for each kernel a line with its name, one with its stack, one with what it uses.
pub(super) fn parse(said: &str) -> BTreeMap<String, Usage> {
    let mut all = BTreeMap::new();
    let mut name = String::new();
    for line in said.lines() {
        let number = |before: &str| -> u32 {
            let words: Vec<&str> = line.split_whitespace().collect();
            let at = words.windows(2).position(|two| two[1].trim_end_matches(',') == before);
            at.and_then(|at| words[at].parse().ok()).unwrap_or(0)
        };
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            name = rest.split('\'').next().unwrap_or_default().to_owned();
        } else if let Some((before, rest)) = line.split_once(" bytes stack frame, ") {
            let usage: &mut Usage = all.entry(name.clone()).or_default();
            let numbers = rest.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
            usage.spilled = number_at(before) + numbers.sum::<u32>();
        } else if line.contains(" registers") {
            let usage: &mut Usage = all.entry(name.clone()).or_default();
            usage.registers = number("registers");
            let shared = line.split_once(" bytes smem");
            usage.shared = shared.map_or(0, |(before, _)| number_at(before));
        }
    }
    all
}

/// The number that a text ends with; 0 where there is none.
fn number_at(text: &str) -> u32 {
    text.rsplit(|c: char| !c.is_ascii_digit())
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Threads of each kernel's block, as PTX promises them (`__launch_bounds__`).
pub(super) fn threads(ptx: &str) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    let mut name = "";
    for line in ptx.lines() {
        if let Some((_, rest)) = line.split_once(".entry ") {
            name = rest.trim_end_matches('(').trim();
        } else if let Some(rest) = line.strip_prefix(".maxntid ") {
            let threads = rest.split(',').filter_map(|word| word.trim().parse::<u32>().ok());
            all.insert(name.to_owned(), threads.product());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ptxas_says_is_read() {
        let said = "ptxas info    : 0 bytes gmem\n\
                    ptxas info    : Compiling entry function 'gemm_f16' for 'sm_80'\n\
                    ptxas info    : Function properties for gemm_f16\n\
                    \x20   0 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n\
                    ptxas info    : Used 88 registers, 30720 bytes smem, 388 bytes cmem[0]\n\
                    ptxas info    : Compiling entry function 'argmax' for 'sm_80'\n\
                    \x20   16 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
                    ptxas info    : Used 15 registers, used 1 barriers, 372 bytes cmem[0]\n";
        let all = parse(said);
        assert_eq!(all["gemm_f16"], Usage { registers: 88, shared: 30720, spilled: 12 });
        assert_eq!(all["argmax"], Usage { registers: 15, shared: 0, spilled: 16 });
    }

    #[test]
    fn a_block_has_as_many_threads_as_its_kernel_promises() {
        let ptx = ".visible .entry embed_f16(\n.param .u64 a\n)\n.maxntid 256, 1, 1\n{\n\
                   .visible .entry odd(\n)\n.maxntid 16, 4, 1\n{";
        let expect = [("embed_f16".to_owned(), 256), ("odd".to_owned(), 64)];
        assert_eq!(threads(ptx), expect.into());
    }
}
