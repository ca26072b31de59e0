//! Lanes, warps and blocks: what they read of each other, where they meet, and what is a fault.

mod machine;

use gimbal_libcuda::{Grid, Memory, Module, launch};
use machine::{fault, run};

/// Writes `%r0` of each thread.
const STORE: &str = "mad.wide.u32 at, lane, 4, d;\nst.global.u32 [at], %r0;";
/// Reads `%r1` of each thread.
const LOAD: &str = "mad.wide.u32 at, lane, 4, a;\nld.global.nc.u32 %r1, [at];";

fn lanes() -> Vec<u32> {
    (0..32).collect()
}

#[test]
fn lanes_that_part_meet_again() {
    let body = format!(
        "{LOAD}\nsetp.lt.u32 %p0, %r1, 10;\nmov.u32 %r0, 100;\n@%p0 bra SMALL;\n\
         setp.lt.u32 %p1, %r1, 20;\n@!%p1 mov.u32 %r0, 300;\n@%p1 mov.u32 %r0, 200;\nbra DONE;\n\
         SMALL:\nadd.s32 %r0, %r0, %r1;\nDONE:\nadd.s32 %r0, %r0, 1;\n\
         activemask.b32 %r2;\nsetp.ne.u32 %p2, %r2, 0xffffffff;\n@%p2 mov.u32 %r0, 0;\n{STORE}"
    );
    let found = run(&body, Grid::of(1, 32), &lanes(), 32).expect("no fault");
    let expect = |lane| match lane {
        0..10 => 101 + lane,
        10..20 => 201,
        _ => 301,
    };
    assert_eq!(found, lanes().into_iter().map(expect).collect::<Vec<u32>>());
}

#[test]
fn loops_end_where_each_lane_ends() {
    let body = format!(
        "mov.u32 %r0, 0;\nmov.u32 %r2, 0;\nAGAIN:\nadd.s32 %r0, %r0, %r2;\nadd.s32 %r2, %r2, 1;\n\
         setp.le.u32 %p0, %r2, lane;\n@%p0 bra AGAIN;\n{STORE}"
    );
    let found = run(&body, Grid::of(1, 32), &[], 32).expect("no fault");
    assert_eq!(found, lanes().iter().map(|n| n * (n + 1) / 2).collect::<Vec<u32>>());
}

/// **Source**: PTX ISA, `shfl.sync`: the clamp, and sub-segments by the mask in its upper part.
#[test]
fn shuffles_read_the_lane_that_the_isa_says() {
    type Reads = fn(u32) -> (u32, bool);
    let cases: [(&str, &str, &str, Reads); 7] = [
        ("bfly", "1", "31", |lane| (lane ^ 1, true)),
        ("bfly", "16", "31", |lane| (lane ^ 16, true)),
        ("down", "4", "31", |lane| if lane + 4 < 32 { (lane + 4, true) } else { (lane, false) }),
        ("up", "4", "0", |lane| if lane >= 4 { (lane - 4, true) } else { (lane, false) }),
        ("idx", "5", "31", |_| (5, true)),
        // Segments of eight lanes: the mask is 0b11000, the clamp 7.
        ("idx", "3", "0x1807", |lane| (lane / 8 * 8 + 3, true)),
        ("down", "2", "0x1807", |lane| if lane % 8 < 6 { (lane + 2, true) } else { (lane, false) }),
    ];
    for (mode, by, clamp, reads) in cases {
        let body = format!(
            "{LOAD}\nshfl.sync.{mode}.b32 %r0|%p0, %r1, {by}, {clamp}, -1;\n\
             selp.u32 %r2, 1000, 0, %p0;\nadd.s32 %r0, %r0, %r2;\n{STORE}"
        );
        let found = run(&body, Grid::of(1, 32), &lanes(), 32).expect("no fault");
        let expect =
            lanes().into_iter().map(reads).map(|(from, is_in)| from + 1000 * u32::from(is_in));
        assert_eq!(found, expect.collect::<Vec<u32>>(), "{mode} {by} {clamp}");
    }
}

#[test]
fn votes_count_all_lanes() {
    for (form, expect) in [("all", 0), ("any", 1)] {
        let body = format!(
            "setp.lt.u32 %p0, lane, 3;\nvote.sync.{form}.pred %p1, %p0, -1;\n\
             selp.u32 %r0, 1, 0, %p1;\n{STORE}"
        );
        assert_eq!(run(&body, Grid::of(1, 32), &[], 32).expect("no fault"), [expect; 32], "{form}");
    }
    let body = format!("setp.lt.u32 %p0, lane, 3;\nvote.sync.ballot.b32 %r0, %p0, -1;\n{STORE}");
    assert_eq!(run(&body, Grid::of(1, 32), &[], 32).expect("no fault"), [7; 32]);
}

/// Each thread hands its number to the one opposite, by shared memory.
fn exchange(barrier: &str) -> String {
    format!(
        ".shared .align 4 .b8 all[512];\nmov.u32 %r1, all;\nshl.b32 %r2, lane, 2;\n\
         add.s32 %r3, %r1, %r2;\nst.shared.u32 [%r3], lane;\n{barrier}\n\
         xor.b32 %r4, %r2, 508;\nadd.s32 %r4, %r1, %r4;\nld.shared.u32 %r0, [%r4];\n{STORE}"
    )
}

#[test]
fn a_barrier_lets_warps_see_each_others_writes_in_any_order() {
    for is_reversed in [false, true] {
        let grid = Grid { is_reversed, ..Grid::of(1, 128) };
        let found = run(&exchange("bar.sync 0;"), grid, &[], 128).expect("no fault");
        assert_eq!(found, (0..128).map(|i| 127 - i).collect::<Vec<u32>>());
    }
}

#[test]
fn without_the_barrier_it_is_a_race_or_not_yet_written() {
    for is_reversed in [false, true] {
        let found = fault(&exchange(""), Grid { is_reversed, ..Grid::of(1, 128) }, &[], 128);
        assert!(found.contains("race") || found.contains("nobody wrote"), "{found}");
        assert!(found.starts_with("body, line 2"), "{found}");
    }
}

#[test]
fn a_barrier_in_parted_lanes_is_a_fault() {
    let body = "setp.lt.u32 %p0, lane, 3;\n@%p0 bra SKIP;\nbar.sync 0;\nSKIP:";
    assert!(fault(body, Grid::of(1, 32), &[], 1).contains("a barrier that not all lanes reach"));
    let body = "setp.lt.u32 %p0, lane, 3;\n@%p0 bra SKIP;\nshfl.sync.bfly.b32 %r0, lane, 1, 31, -1;\n\
                SKIP:";
    assert!(fault(body, Grid::of(1, 32), &[], 1).contains("waits for lanes 0xffffffff"));
}

#[test]
fn global_memory_is_checked() {
    for (body, expect) in [
        (
            "mad.wide.u32 at, lane, 4, a;\nld.global.u32 %r0, [at+128];",
            "128 of an allocation of 128",
        ),
        ("ld.global.u32 %r0, [a+2];", "not aligned"),
        ("st.global.v4.u32 [d+4], {%r0, %r0, %r0, %r0};", "not aligned"),
        ("mov.u64 at, 16;\nld.global.u32 %r0, [at];", "outside of what is allocated"),
        (".shared .b8 few[8];\nst.shared.u32 [few+8], lane;", "4 bytes at 8 of 8 bytes"),
        (".shared .align 8 .b8 few[8];\nld.shared.u64 %q0, [few];", "nobody wrote"),
    ] {
        let found = fault(body, Grid::of(1, 32), &lanes(), 32);
        assert!(found.contains(expect), "{body}: {found}");
    }
}

#[test]
fn vectors_and_narrow_types_are_loaded_and_stored() {
    let input = [0x0403_0201, 0x0807_0605, 0x8000_ffff, 0xfffe_0080];
    let body = "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [a];\nst.global.v2.u32 [d], {%r4, %r1};\n\
                .reg .b16 %h<4>;\nld.global.u16 %h0, [a+12];\nst.global.u16 [d+8], %h0;\n\
                ld.global.s8 %r5, [a+12];\nst.global.u32 [d+12], %r5;\n\
                ld.global.u8 %r6, [a+12];\nst.global.u8 [d+16], %r6;\n\
                ld.global.v2.u64 {%q0, %q1}, [a];\nst.global.v2.u64 [d+32], {%q1, %q0};\n\
                mov.b64 {%r7, %r8}, %q0;\nmov.b64 %q2, {%r8, %r7};\nst.global.u64 [d+24], %q2;\n\
                mov.b32 {%h1, %h2}, %r3;\nmov.b32 %r9, {%h2, %h1};\nst.global.u32 [d+20], %r9;\n\
                ld.global.v2.u32 {%r10, %r11}, [a+8];\nst.global.v2.u32 [d+48], {%r11, %r10};\n\
                ld.global.u64 %q2, [a+8];\nst.global.u64 [d+56], %q2;";
    let found = run(body, Grid::of(1, 1), &input, 16).expect("no fault");
    let expect = [
        0xfffe_0080,
        0x0403_0201,
        0x80,
        0xffff_ff80,
        0x80,
        0xffff_8000,
        0x0807_0605,
        0x0403_0201,
        0x8000_ffff,
        0xfffe_0080,
        0x0403_0201,
        0x0807_0605,
        0xfffe_0080,
        0x8000_ffff,
        0x8000_ffff,
        0xfffe_0080,
    ];
    assert_eq!(found, expect);
}

#[test]
fn floats_and_doubles_pass_through_shared_memory() {
    let body = ".shared .align 16 .b8 all[64];\nld.global.v2.f32 {%f0, %f1}, [a];\n\
                st.shared.f32 [all], %f0;\nst.shared.v2.f32 [all+8], {%f1, %f0};\n\
                ld.shared.f32 %f2, [all+12];\nld.shared.u64 %q0, [all+8];\n\
                st.shared.u64 [all+16], %q0;\nld.shared.v2.f32 {%f3, %f4}, [all+16];\n\
                st.global.v2.f32 [d], {%f2, %f3};\nst.global.f32 [d+8], %f4;\n\
                ld.global.f32 %f5, [a+4];\nst.global.f32 [d+12], %f5;";
    let found = run(body, Grid::of(1, 1), &[11, 22], 4).expect("no fault");
    assert_eq!(found, [11, 22, 11, 22]);
}

/// Parameters lie at multiples of their alignment; narrower ones are extended.
#[test]
fn parameters_of_every_size_are_read() {
    let text = ".version 7.4\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out, \
                .param .f32 f, .param .s32 s, .param .u8 b, .param .align 4 .b8 two[8])\n{\n\
                .reg .b32 %r<4>;\n.reg .b64 %q<3>;\n.reg .f32 %f<1>;\n.reg .b16 %h<1>;\n\
                ld.param.u64 %q0, [out];\nld.param.f32 %f0, [f];\nld.param.s32 %q1, [s];\n\
                ld.param.u32 %q2, [s];\nld.param.u8 %h0, [b];\nld.param.u32 %r0, [two+4];\n\
                st.global.f32 [%q0], %f0;\nst.global.u64 [%q0+8], %q1;\n\
                st.global.u64 [%q0+16], %q2;\nst.global.u16 [%q0+24], %h0;\n\
                st.global.u32 [%q0+28], %r0;\n}\n";
    let (module, memory) = (Module::parse(text).expect("known"), Memory::default());
    let kernel = &module.kernels[0];
    let offsets: Vec<usize> = kernel.params.iter().map(|param| param.offset).collect();
    assert_eq!(offsets, [0, 8, 12, 16, 20]);
    let out = memory.allocate(32).expect("memory");
    memory.write(out, &[0; 32]).expect("ours");
    let mut params = vec![0; kernel.param_bytes()];
    params[..8].copy_from_slice(&out.to_le_bytes());
    params[8..12].copy_from_slice(&1.5_f32.to_le_bytes());
    params[12..16].copy_from_slice(&(-2_i32).to_le_bytes());
    params[16] = 200;
    params[24..28].copy_from_slice(&7_u32.to_le_bytes());
    launch(kernel, Grid::of(1, 1), &params, &memory).expect("no fault");
    let mut found = [0; 32];
    memory.read(out, &mut found).expect("ours");
    assert_eq!(found[..4], 1.5_f32.to_le_bytes());
    assert_eq!(found[8..24], [(-2_i64).to_le_bytes(), 0xffff_fffe_u64.to_le_bytes()].concat());
    assert_eq!(found[24..], [200, 0, 0, 0, 7, 0, 0, 0]);
}

/// **Source**: PTX ISA, "Operand size exceeding instruction-type size".
#[test]
fn registers_may_be_wider_than_what_is_loaded() {
    let body = "ld.global.s32 %q0, [a];\nst.global.u64 [d], %q0;\nld.global.u32 %q1, [a];\n\
                st.global.u64 [d+8], %q1;\nld.global.s16 %r0, [a];\nst.global.u32 [d+16], %r0;\n\
                st.global.u16 [d+20], %q0;";
    let found = run(body, Grid::of(1, 1), &[0x8000_fff0], 6).expect("no fault");
    assert_eq!(found, [0x8000_fff0, u32::MAX, 0x8000_fff0, 0, 0xffff_fff0, 0xfff0]);
}

#[test]
fn atomics_of_all_blocks_count() {
    let body = "mov.u32 %r1, 1;\nred.global.add.u32 [d], %r1;\n\
                atom.global.max.u32 %r2, [d+4], lane;\nmov.f32 %f0, 0f3F000000;\n\
                atom.global.add.f32 %f1, [d+8], %f0;";
    let grid = Grid { blocks: [5, 2, 3], workers: 2, ..Grid::of(1, 32) };
    let found = run(body, grid, &[], 3).expect("no fault");
    assert_eq!(found, [960, 31, 480.0_f32.to_bits()]);
}

#[test]
fn special_registers_tell_where_a_thread_is() {
    let body = "mov.u32 %r0, %ctaid.y;\nmov.u32 %r1, %nctaid.x;\nmov.u32 %r2, %ctaid.x;\n\
                mad.lo.s32 %r3, %r0, %r1, %r2;\nmov.u32 %r4, %ntid.x;\nmov.u32 %r5, %tid.y;\n\
                mad.lo.s32 %r6, %r5, %r4, lane;\nmov.u32 %r7, %ntid.y;\nmul.lo.s32 %r8, %r4, %r7;\n\
                mad.lo.s32 %r9, %r3, %r8, %r6;\nmul.wide.u32 at, %r9, 4;\nadd.s64 at, at, d;\n\
                mov.u32 %r10, %laneid;\nmov.u32 %r11, %warpid;\nmad.lo.s32 %r0, %r11, 32, %r10;\n\
                st.global.u32 [at], %r0;";
    let grid = Grid { blocks: [3, 2, 1], threads: [16, 4, 1], ..Grid::of(1, 1) };
    let found = run(body, grid, &[], 3 * 2 * 64).expect("no fault");
    assert_eq!(found, (0..3 * 2 * 64).map(|i| i % 64).collect::<Vec<u32>>());
}

#[test]
fn what_is_not_known_is_refused_with_its_line() {
    let module = |body: &str| {
        format!(
            ".version 7.4\n.target sm_80\n.address_size 64\n.visible .entry k()\n{{\n{body}\n}}\n"
        )
    };
    for (body, expect) in [
        (".reg .b32 r;\nbrev.b32 r, r;", "line 7: brev.b32 is not known"),
        ("add.s32 x, 1, 2;", "x is no register of this kind"),
        (".reg .b64 q;\nadd.s32 q, 1, 2;", "q is no register of this kind"),
        ("bra NOWHERE;", "the label NOWHERE is nowhere"),
        (".local .b8 depot[8];", ".local is not known in a kernel"),
        (".reg .b32 r;\nmov.u32 r, %clock;", "the register %clock is not declared"),
        ("bar.sync 1;", "a barrier other than the whole block's"),
        (".reg .b32 a, b;", "one to a statement"),
        ("add.s32", "} where an operand belongs"),
    ] {
        let found = Module::parse(&module(body)).expect_err(body).to_string();
        assert!(found.contains(expect), "{body}: {found}");
    }
    assert!(Module::parse(".version x").is_err() && Module::parse(".target gfx90a").is_err());
}
