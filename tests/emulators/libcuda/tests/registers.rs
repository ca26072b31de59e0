//! Registers share places where the emulator reads a kernel: what a kernel computes stays the same.

mod machine;

use gimbal_libcuda::Grid;
use machine::{fault, run};

/// One warp, whose lanes begin with their own number in `%r0` and end with `%r1`.
fn check(body: &str, expect: impl Fn(u32) -> u32) {
    let body = format!(
        "mov.u32 %r0, lane;\n{body}\n\
         mul.wide.u32 at, lane, 4;\nadd.s64 at, d, at;\nst.global.u32 [at], %r1;"
    );
    // A whole warp, and a part of one.
    for threads in [32, 5] {
        let found = run(&body, Grid::of(1, threads), &[], 32).expect("no fault");
        let expect: Vec<u32> = (0..32).map(|i| if i < threads { expect(i) } else { 0 }).collect();
        assert_eq!(found, expect, "{threads} threads of {body}");
    }
}

#[test]
fn a_copy_keeps_its_value_when_the_source_changes() {
    check("add.u32 %r2, %r0, 1;\nmov.u32 %r1, %r2;\nadd.u32 %r2, %r2, 50;", |lane| lane + 1);
    // From one turn of a loop to the next: Fibonacci's numbers.
    let turns = "mov.u32 %r1, 0;\nmov.u32 %r2, 1;\nmov.u32 %r3, 0;\n\
                 turn:\nadd.u32 %r4, %r1, %r2;\nmov.u32 %r1, %r2;\nmov.u32 %r2, %r4;\n\
                 add.u32 %r3, %r3, 1;\nsetp.lt.u32 %p0, %r3, 10;\n@%p0 bra turn;";
    check(turns, |_| 55);
}

#[test]
fn a_copy_is_read_a_turn_later() {
    // `%r5` is written once, of what is written once, but read before it in the next turn.
    let turns = "mov.u32 %r1, 0;\nmov.u32 %r3, 0;\n\
                 turn:\nadd.u32 %r4, %r3, 10;\nsetp.ne.u32 %p1, %r3, 0;\n\
                 @%p1 add.u32 %r1, %r1, %r5;\nmov.u32 %r5, %r4;\n\
                 add.u32 %r3, %r3, 1;\nsetp.lt.u32 %p0, %r3, 4;\n@%p0 bra turn;";
    check(turns, |_| 10 + 11 + 12);
}

#[test]
fn a_copy_that_a_branch_leaves_out_is_no_other_name() {
    let turns = "mov.u32 %r1, 0;\nmov.u32 %r3, 0;\n\
                 turn:\nand.b32 %r6, %r3, 1;\nsetp.ne.u32 %p1, %r6, 0;\n\
                 add.u32 %r4, %r3, 10;\n@%p1 bra left;\nmov.u32 %r5, %r4;\n\
                 left:\nadd.u32 %r1, %r1, %r5;\n\
                 add.u32 %r3, %r3, 1;\nsetp.lt.u32 %p0, %r3, 4;\n@%p0 bra turn;";
    check(turns, |_| 10 + 10 + 12 + 12);
}

#[test]
fn a_copy_behind_a_label_is_no_other_name() {
    // Half of the lanes come to the copy another way, and copy what they wrote a turn before.
    let turns = "mov.u32 %r1, 0;\nmov.u32 %r3, 0;\n\
                 turn:\nadd.u32 %r6, %r3, %r0;\nand.b32 %r6, %r6, 1;\nsetp.eq.u32 %p1, %r6, 0;\n\
                 setp.gt.u32 %p2, %r3, 0;\nand.pred %p1, %p1, %p2;\n@%p1 bra copy;\n\
                 add.u32 %r4, %r3, 10;\ncopy:\nmov.u32 %r5, %r4;\nadd.u32 %r1, %r1, %r5;\n\
                 add.u32 %r3, %r3, 1;\nsetp.lt.u32 %p0, %r3, 4;\n@%p0 bra turn;";
    check(turns, |lane| if lane % 2 == 0 { 10 + 11 + 11 + 13 } else { 10 + 10 + 12 + 12 });
}

#[test]
fn lanes_that_go_other_ways_keep_their_values() {
    let ways = "add.u32 %r1, %r0, 100;\nadd.u32 %r2, %r0, 7;\nand.b32 %r3, %r0, 1;\n\
                setp.eq.u32 %p0, %r3, 0;\n@%p0 bra even;\n\
                mul.lo.u32 %r4, %r0, 3;\nadd.u32 %r5, %r4, %r4;\nadd.u32 %r1, %r5, 1;\nbra met;\n\
                even:\nadd.u32 %r1, %r1, %r2;\nmet:\n";
    check(ways, |lane| if lane % 2 == 0 { 2 * lane + 107 } else { 6 * lane + 1 });
}

#[test]
fn a_write_that_not_all_lanes_do_leaves_the_rest() {
    let guarded = "add.u32 %r1, %r0, 3;\nsetp.lt.u32 %p0, %r0, 4;\n@%p0 mov.u32 %r1, 9;\n\
                   add.u32 %r2, %r0, 1000;\n@!%p0 add.u32 %r1, %r1, %r2;";
    check(guarded, |lane| if lane < 4 { 9 } else { 2 * lane + 1003 });
}

#[test]
fn what_a_guarded_write_may_leave_is_needed_before_it() {
    // What begins last stands last.
    let backwards = "bra init;\n\
                     body:\nadd.u32 %r2, %r0, 1;\nadd.u32 %r3, %r0, 2;\nadd.u32 %r4, %r2, %r3;\n\
                     @%p0 mov.u32 %r1, 9;\nadd.u32 %r1, %r1, %r4;\nbra done;\n\
                     init:\nadd.u32 %r1, %r0, 3;\nsetp.lt.u32 %p0, %r0, 4;\nbra body;\ndone:";
    check(backwards, |lane| (if lane < 4 { 9 } else { lane + 3 }) + 2 * lane + 3);
}

#[test]
fn a_copy_under_a_condition_is_no_other_name() {
    let guarded = "add.u32 %r2, %r0, 3;\nsetp.lt.u32 %p0, %r0, 4;\nmov.u32 %r3, 5;\n\
                   @%p0 mov.u32 %r3, %r2;\nmov.u32 %r1, %r3;";
    check(guarded, |lane| if lane < 4 { lane + 3 } else { 5 });
}

#[test]
fn many_values_at_once_all_stay() {
    let registers: Vec<String> = (2..20).map(|i| format!("add.u32 %r{i}, %r0, {i};\n")).collect();
    let sums: Vec<String> = (2..20).map(|i| format!("add.u32 %r1, %r1, %r{i};\n")).collect();
    let body = format!("{}mov.u32 %r1, 0;\n{}", registers.concat(), sums.concat());
    check(&body, |lane| 18 * lane + (2..20).sum::<u32>());
}

#[test]
fn faults_are_at_their_lines_without_the_copies() {
    let body =
        "mov.u32 %r2, 5;\nmov.u32 %r3, %r2;\nld.global.u32 %r1, [a+1];\nst.global.u32 [d], %r3;";
    let without = "\n\nld.global.u32 %r1, [a+1];\nst.global.u32 [d], %r1;";
    let [found, expect] = [body, without].map(|body| fault(body, Grid::of(1, 1), &[1], 1));
    let line =
        |text: &str| text.split(", ").find(|part| part.starts_with("line ")).map(str::to_owned);
    assert!(line(&found).is_some(), "{found}");
    assert_eq!(line(&found), line(&expect));
}
