//! A kernel of one body, its memory, and what it leaves there.

use gimbal_libcuda::{Fault, Grid, Memory, Module, launch};

/// A kernel with pointers `a` (what is read) and `d` (what is written), `lane` and `%r0..20`, `%q0..9`,
/// `%f0..9` and `%p0..4` declared.
pub(crate) fn module(body: &str) -> Module {
    let text = format!(
        ".version 7.4\n.target sm_80\n.address_size 64\n\
         .visible .entry body(.param .u64 in, .param .u64 out)\n{{\n\
         .reg .b32 %r<20>;\n.reg .b64 %q<10>;\n.reg .f32 %f<10>;\n.reg .pred %p<4>;\n\
         .reg .b32 lane;\n.reg .b64 a;\n.reg .b64 d;\n.reg .b64 at;\n\
         ld.param.u64 a, [in];\nld.param.u64 d, [out];\nmov.u32 lane, %tid.x;\n\
         {body}\nret;\n}}\n"
    );
    Module::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Runs it on words; returns `count` words it wrote.
pub(crate) fn run(
    body: &str,
    grid: Grid,
    input: &[u32],
    count: usize,
) -> Result<Vec<u32>, Box<Fault>> {
    let (module, memory) = (module(body), Memory::default());
    let a = memory.allocate(4 * input.len().max(1)).expect("memory");
    let d = memory.allocate(4 * count).expect("memory");
    let bytes: Vec<u8> = input.iter().flat_map(|word| word.to_le_bytes()).collect();
    memory.write(a, &bytes).expect("ours");
    memory.write(d, &vec![0; 4 * count]).expect("ours");
    let params = [a.to_le_bytes(), d.to_le_bytes()].concat();
    launch(&module.kernels[0], grid, &params, &memory)?;
    let mut bytes = vec![0; 4 * count];
    memory.read(d, &mut bytes).expect("ours");
    Ok(bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

/// Its fault, as text.
pub(crate) fn fault(body: &str, grid: Grid, input: &[u32], count: usize) -> String {
    run(body, grid, input, count).expect_err("a fault").to_string()
}
