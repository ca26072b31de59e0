//! Every instruction form against values written from the PTX ISA, not from the emulator.

mod vectors;

use std::collections::BTreeSet;

use gimbal_libcuda::ptx::forms;
use gimbal_libcuda::{Grid, Memory, Module, launch};
use vectors::{Heading, Kind, vectors};

/// A kernel that applies a form to its thread's row: pointers to the result, then to each operand,
/// eight bytes a row.
fn kernel(form: &str, heading: &Heading) -> String {
    let all = [&[heading.result], &heading.operands[..]].concat();
    let params: Vec<String> = (0..all.len()).map(|i| format!(".param .u64 p{i}")).collect();
    let mut body = String::new();
    for (i, kind) in all.iter().enumerate() {
        let (register, load) = match kind {
            Kind::Word => (".b32", "ld.global.u32"),
            Kind::Float => (".f32", "ld.global.f32"),
            Kind::Half => (".b16", "ld.global.u16"),
            Kind::Double => (".b64", "ld.global.u64"),
            Kind::Predicate => (".pred", "ld.global.u32"),
        };
        body += &format!(".reg {register} v{i};\nld.param.u64 at{i}, [p{i}];\n");
        body += &format!("add.s64 at{i}, at{i}, offset;\n");
        match kind {
            _ if i == 0 => {}
            Kind::Predicate => {
                body += &format!("{load} word, [at{i}];\nsetp.ne.s32 v{i}, word, 0;\n");
            }
            _ => body += &format!("{load} v{i}, [at{i}];\n"),
        }
    }
    let operands: Vec<String> = (0..all.len()).map(|i| format!("v{i}")).collect();
    body += &format!("{form} {};\n", operands.join(", "));
    body += match heading.result {
        Kind::Word => "st.global.u32 [at0], v0;",
        Kind::Float => "st.global.f32 [at0], v0;",
        Kind::Half => "st.global.u16 [at0], v0;",
        Kind::Double => "st.global.u64 [at0], v0;",
        Kind::Predicate => "selp.u32 word, 1, 0, v0;\nst.global.u32 [at0], word;",
    };
    let places: String = (0..all.len()).map(|i| format!(".reg .b64 at{i};\n")).collect();
    format!(
        ".version 7.4\n.target sm_80\n.address_size 64\n.visible .entry row({})\n{{\n\
         .reg .b32 word;\n.reg .b64 offset;\n{places}\
         mov.u32 word, %tid.x;\nmul.wide.u32 offset, word, 8;\n{body}\nret;\n}}\n",
        params.join(", ")
    )
}

#[test]
fn forms_compute_what_the_isa_says() {
    for (heading, rows) in vectors() {
        // Also as whole warps, whose lanes are computed in place.
        let whole = rows.iter().cycle().take(rows.len().next_multiple_of(32)).cloned();
        for rows in [whole.collect(), rows] {
            heading.forms.iter().for_each(|form| check(form, &heading, &rows));
        }
    }
}

fn check(form: &str, heading: &Heading, rows: &[Vec<u64>]) {
    let text = kernel(form, heading);
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{form}: {e}\n{text}"));
    let memory = Memory::default();
    let mut params = Vec::new();
    for i in 0..=heading.operands.len() {
        let at = memory.allocate(8 * rows.len()).expect("memory");
        params.extend(at.to_le_bytes());
        let bits = rows.iter().flat_map(|row| if i == 0 { 0 } else { row[i] }.to_le_bytes());
        memory.write(at, &bits.collect::<Vec<_>>()).expect("ours");
    }
    let threads = u32::try_from(rows.len()).expect("few rows");
    let kernel = module.kernel("row").expect("it was written");
    launch(kernel, Grid::of(1, threads), &params, &memory).expect("no fault");
    let at = u64::from_le_bytes(params[..8].try_into().expect("eight bytes"));
    for (r, row) in rows.iter().enumerate() {
        let mut found = [0; 8];
        memory.read(at + 8 * r as u64, &mut found).expect("ours");
        let found = u64::from_le_bytes(found);
        let is_near = match heading.result {
            Kind::Float if form.contains("approx") => row[0].abs_diff(found) <= 2,
            // What is no number is so with any payload.
            Kind::Float if row[0] == 0x7fff_ffff => found & 0x7fff_ffff > 0x7f80_0000,
            _ => row[0] == found,
        };
        assert!(is_near, "{form} of {:x?}: {found:#x}, not {:#x}", &row[1..], row[0]);
    }
}

#[test]
fn no_form_is_without_a_vector() {
    let tested: BTreeSet<String> =
        vectors().into_iter().flat_map(|(heading, _)| heading.forms).collect();
    let missing: Vec<&str> = forms().filter(|form| !tested.contains(*form)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
