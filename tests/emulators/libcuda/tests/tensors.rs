//! Tensor cores and asynchronous copies: where the ISA says that elements lie, and when copies land.

mod machine;

use gimbal_libcuda::Grid;
use half::{bf16, f16};
use machine::{fault, run};

/// Elements of a 16 by `k` matrix in the registers of lane `lane`. **Source**: PTX ISA, figures of
/// "Matrix fragments for mma.m16n8k16 with floating point type": `row = groupID` for `ai` with
/// `i` in 0, 1, 4, 5 and `groupID + 8` for the others; `col = threadID_in_group * 2 + (i & 1)`, and 8
/// more for `i >= 4`. With k8 only `a0` to `a3` are there.
fn of_a(lane: usize, i: usize) -> (usize, usize) {
    let (group, thread) = (lane >> 2, lane % 4);
    let row = if matches!(i, 0 | 1 | 4 | 5) { group } else { group + 8 };
    (row, thread * 2 + (i & 1) + if i >= 4 { 8 } else { 0 })
}

/// Of a `k` by 8 matrix: `row = threadID_in_group * 2 + (i & 1)`, 8 more for `i >= 2`; `col = groupID`.
fn of_b(lane: usize, i: usize) -> (usize, usize) {
    (lane % 4 * 2 + (i & 1) + if i >= 2 { 8 } else { 0 }, lane >> 2)
}

/// Of a 16 by 8 matrix of f32: `row = groupID`, 8 more for `i >= 2`; `col = threadID * 2 + (i & 1)`.
fn of_c(lane: usize, i: usize) -> (usize, usize) {
    ((lane >> 2) + if i >= 2 { 8 } else { 0 }, lane % 4 * 2 + (i & 1))
}

fn bits(value: f32, is_bf16: bool) -> u32 {
    if is_bf16 {
        bf16::from_f32(value).to_bits().into()
    } else {
        f16::from_f32(value).to_bits().into()
    }
}

#[test]
fn products_of_matrices_have_their_elements_where_the_isa_says() {
    for (k, is_bf16) in [(16, true), (16, false), (8, true), (8, false)] {
        // Small whole numbers: every sum is exact, in any order.
        let a = |row: usize, column: usize| ((row * 7 + column * 3) % 11) as f32 - 5.0;
        let b = |row: usize, column: usize| ((row * 5 + column * 2) % 7) as f32 - 3.0;
        let c = |row: usize, column: usize| (row * 8 + column) as f32;
        let (registers_a, registers_b) = (k / 4, k / 8);
        let mut input = Vec::new();
        for register in 0..registers_a {
            input.extend((0..32).map(|lane| {
                let value = |half| {
                    let (row, column) = of_a(lane, 2 * register + half);
                    bits(a(row, column), is_bf16)
                };
                value(0) | value(1) << 16
            }));
        }
        for register in 0..registers_b {
            input.extend((0..32).map(|lane| {
                let value = |half| {
                    let (row, column) = of_b(lane, 2 * register + half);
                    bits(b(row, column), is_bf16)
                };
                value(0) | value(1) << 16
            }));
        }
        for i in 0..4 {
            input.extend((0..32).map(|lane| {
                let (row, column) = of_c(lane, i);
                c(row, column).to_bits()
            }));
        }
        let count = registers_a + registers_b;
        let mut body = "mad.wide.u32 at, lane, 4, a;\n".to_owned();
        for i in 0..count {
            body += &format!("ld.global.u32 %r{i}, [at+{}];\n", i * 128);
        }
        for i in 0..4 {
            body += &format!("ld.global.f32 %f{i}, [at+{}];\n", (count + i) * 128);
        }
        let names = |range: std::ops::Range<usize>| {
            range.map(|i| format!("%r{i}")).collect::<Vec<_>>().join(", ")
        };
        let kind = if is_bf16 { "bf16" } else { "f16" };
        body += &format!(
            "mma.sync.aligned.m16n8k{k}.row.col.f32.{kind}.{kind}.f32 {{%f4, %f5, %f6, %f7}}, \
             {{{}}}, {{{}}}, {{%f0, %f1, %f2, %f3}};\nmad.wide.u32 at, lane, 4, d;\n",
            names(0..registers_a),
            names(registers_a..count),
        );
        for i in 0..4 {
            body += &format!("st.global.f32 [at+{}], %f{};\n", i * 128, i + 4);
        }
        let found = run(&body, Grid::of(1, 32), &input, 128).expect("no fault");
        for i in 0..4 {
            for lane in 0..32 {
                let (row, column) = of_c(lane, i);
                let sum: f32 = (0..k).map(|j| a(row, j) * b(j, column)).sum();
                let found = f32::from_bits(found[i * 32 + lane]);
                assert_eq!(found, sum + c(row, column), "k {k} {kind} lane {lane} c{i}");
            }
        }
    }
}

/// **Source**: PTX ISA, `ldmatrix`: lane `8 i + r` points at row `r` of matrix `i`; lane `l` gets
/// elements `2 (l % 4)` and the next of row `l / 4`, of the transposed matrix with `.trans`.
#[test]
fn matrices_are_loaded_as_the_isa_says() {
    for (count, is_transposed) in
        [(1, false), (2, false), (4, false), (1, true), (2, true), (4, true)]
    {
        let input: Vec<u32> = (0..128).map(|i| (2 * i) | (2 * i + 1) << 16).collect();
        let trans = if is_transposed { ".trans" } else { "" };
        let to: Vec<String> = (0..count).map(|i| format!("%r{}", 10 + i)).collect();
        let mut body = format!(
            ".shared .align 16 .b8 all[512];\nmov.u32 %r1, all;\nmad.wide.u32 at, lane, 16, a;\n\
             ld.global.v4.u32 {{%r2, %r3, %r4, %r5}}, [at];\nmad.lo.s32 %r6, lane, 16, %r1;\n\
             st.shared.v4.u32 [%r6], {{%r2, %r3, %r4, %r5}};\nbar.sync 0;\n\
             ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{}}}, [%r6];\n\
             mad.wide.u32 at, lane, 4, d;\n",
            to.join(", ")
        );
        for i in 0..count {
            body += &format!("st.global.u32 [at+{}], %r{};\n", 128 * i, 10 + i);
        }
        let found = run(&body, Grid::of(1, 32), &input, 32 * count).expect("no fault");
        for (at, found) in found.iter().enumerate() {
            let (matrix, lane) = (at / 32, at % 32);
            let (row, column) = (lane / 4, lane % 4 * 2);
            let element = |column: usize| {
                let (row, column) = if is_transposed { (column, row) } else { (row, column) };
                u32::try_from(matrix * 64 + row * 8 + column).expect("few")
            };
            assert_eq!(*found, element(column) | element(column + 1) << 16, "{count}{trans} {at}");
        }
    }
}

/// Each thread copies 16 bytes, waits for as many groups as told, and reads what a later group brought.
fn copies(first_wait: &str, read: &str) -> String {
    format!(
        ".shared .align 16 .b8 all[1024];\nmov.u32 %r1, all;\nmad.lo.s32 %r2, lane, 16, %r1;\n\
         mad.wide.u32 at, lane, 16, a;\nmov.u32 %r3, {read};\n\
         cp.async.cg.shared.global [%r2], [at], 16;\ncp.async.commit_group;\n\
         cp.async.ca.shared.global [%r2+512], [at], 16, %r3;\ncp.async.commit_group;\n\
         {first_wait}\nbar.sync 0;\nld.shared.v4.u32 {{%r4, %r5, %r6, %r7}}, [%r2+512];\n\
         mad.wide.u32 at, lane, 16, d;\nst.global.v4.u32 [at], {{%r4, %r5, %r6, %r7}};"
    )
}

#[test]
fn copies_land_when_they_are_waited_for() {
    let input: Vec<u32> = (1..=128).collect();
    for wait in ["cp.async.wait_group 0;", "cp.async.wait_all;"] {
        let found = run(&copies(wait, "16"), Grid::of(1, 32), &input, 128).expect("no fault");
        assert_eq!(found, input, "{wait}");
    }
    for wait in ["cp.async.wait_group 1;", ""] {
        let found = fault(&copies(wait, "16"), Grid::of(1, 32), &input, 128);
        assert!(found.contains("nobody wrote"), "{wait}: {found}");
    }
}

#[test]
fn what_a_copy_does_not_read_becomes_zero() {
    let input: Vec<u32> = (1..=128).collect();
    let wait = "cp.async.wait_group 0;";
    let found = run(&copies(wait, "8"), Grid::of(1, 32), &input, 128).expect("no fault");
    let expect = input.iter().map(|i| if (i - 1) % 4 < 2 { *i } else { 0 });
    assert_eq!(found, expect.collect::<Vec<u32>>());
    // None of what lies outside is touched either.
    let outside = copies(wait, "0").replace("[%r2+512], [at]", "[%r2+512], [at+4096]");
    assert_eq!(run(&outside, Grid::of(1, 32), &input, 128).expect("no fault"), [0; 128]);
}

#[test]
fn a_part_of_a_warp_has_no_tensor_core() {
    let body = "setp.lt.u32 %p0, lane, 8;\n@!%p0 bra DONE;\n\
                mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f0, %f1, %f2, %f3}, {%r0, %r1}, \
                {%r2}, {%f0, %f1, %f2, %f3};\nDONE:";
    assert!(fault(body, Grid::of(1, 32), &[], 1).contains("by a part of a warp"));
}
