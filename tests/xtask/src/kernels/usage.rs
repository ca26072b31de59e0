//! What an assembler says of each kernel: registers, shared memory, spills.

use std::collections::BTreeMap;

/// Of one kernel on one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) registers: u32,
    /// Bytes of shared memory that it declares.
    pub(super) shared: u32,
    /// Bytes that registers are written to memory and read again.
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
        } else if let Some((_, rest)) = line.split_once("bytes stack frame, ") {
            let usage: &mut Usage = all.entry(name.clone()).or_default();
            let numbers = rest.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
            usage.spilled = numbers.sum();
        } else if line.contains(" registers") {
            let usage: &mut Usage = all.entry(name.clone()).or_default();
            usage.registers = number("registers");
            let shared = line.split_once(" bytes smem").and_then(|(before, _)| {
                before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            });
            usage.shared = shared.unwrap_or(0);
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
                    \x20   0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
                    ptxas info    : Used 15 registers, used 1 barriers, 372 bytes cmem[0]\n";
        let all = parse(said);
        assert_eq!(all["gemm_f16"], Usage { registers: 88, shared: 30720, spilled: 12 });
        assert_eq!(all["argmax"], Usage { registers: 15, shared: 0, spilled: 0 });
    }
}
