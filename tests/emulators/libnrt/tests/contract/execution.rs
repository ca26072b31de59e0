//! Executing: what is computed, and every way in which tensors do not fit. Next: `ranks.rs`.

use neuron_sys::Status;

use crate::module::{INPUTS, OUTPUTS, header, neff, step, twice};
use crate::nrt::{Nrt, Ready, call, floats, integers};
use crate::process::{assert_clean, on};

fn ready(nrt: &Nrt) -> Ready {
    let ready = Ready::new(nrt, &neff(&header(), step()), &INPUTS, &OUTPUTS);
    for (name, bytes) in [
        ("x", floats(&[1.0, 2.0, 3.0, 4.0])),
        ("w", floats(&[1.0, 2.0, 4.0, 8.0])),
        ("sum", floats(&[0.0; 4])),
        ("slots", integers(&[2, 0])),
        ("rows", floats(&[5.0, 6.0, 7.0, 8.0])),
    ] {
        assert_eq!(nrt.write(ready.tensors[name], 0, &bytes), Status::SUCCESS);
    }
    ready
}

#[test]
fn what_a_model_gives_is_computed_and_what_it_keeps_stays() {
    let test = "execution::what_a_model_gives_is_computed_and_what_it_keeps_stays";
    let told = on("latency_us = 10", test, || {
        let nrt = Nrt::start();
        let ready = ready(&nrt);
        for sum in [1.0, 2.0, 3.0] {
            assert_eq!(ready.execute(&nrt), Status::SUCCESS);
            let y = nrt.read(ready.tensors["out y"], 0, 16);
            assert_eq!(y, Ok(floats(&[1.0, 1.0, 0.75, 0.5])));
            let kept = nrt.read(ready.tensors["sum"], 0, 4);
            assert_eq!(kept, Ok(floats(&[sum])));
        }
        let kv = nrt.read(ready.tensors["kv"], 0, 24).expect("it is there");
        // The row that nobody wrote is as it was.
        assert_eq!(kv[8..16], [0xFF; 8]);
        assert_eq!(kv[..8], floats(&[7.0, 8.0]));
        assert_eq!(kv[16..], floats(&[5.0, 6.0]));
        // What is written between executions is what the next one takes.
        let x = ready.tensors["x"];
        assert_eq!(nrt.write(x, 4, &floats(&[8.0])), Status::SUCCESS);
        assert_eq!(ready.execute(&nrt), Status::SUCCESS);
        assert_eq!(nrt.read(ready.tensors["out y"], 4, 4), Ok(floats(&[4.0])));
        ready.end(&nrt);
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn parts_of_a_tensor_are_tensors() {
    let told = on("", "execution::parts_of_a_tensor_are_tensors", || {
        let nrt = Nrt::start();
        let ready = ready(&nrt);
        let arena = nrt.allocate(0, 64).expect("room");
        let [x, sum, y] = [0, 16, 48].map(|offset| nrt.slice(arena, offset, 16).expect("a part"));
        assert_eq!(nrt.write(x, 0, &floats(&[2.0, 4.0, 8.0, 16.0])), Status::SUCCESS);
        assert_eq!(nrt.write(sum, 0, &floats(&[1.0; 4])), Status::SUCCESS);
        for (set, name, tensor) in [(0, "x", x), (0, "sum", sum), (1, "sum", sum), (1, "y", y)] {
            assert_eq!(nrt.add(ready.sets[set], name, tensor), Status::SUCCESS);
        }
        assert_eq!(ready.execute(&nrt), Status::SUCCESS);
        let all = nrt.read(arena, 0, 64).expect("it is there");
        assert_eq!(all[16..32], floats(&[3.0, 5.0, 9.0, 17.0]));
        assert_eq!(all[32..48], [0xFF; 16]);
        assert_eq!(all[48..], floats(&[2.0; 4]));
        ready.end(&nrt);
        [x, sum, y, arena].into_iter().for_each(|tensor| nrt.free(tensor));
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn tensors_must_be_what_the_model_takes() {
    let told = on("", "execution::tensors_must_be_what_the_model_takes", || {
        let nrt = Nrt::start();
        let ready = ready(&nrt);
        let [inputs, outputs] = ready.sets;
        let [small, other, far, same] = [(0, 12), (0, 16), (1, 16), (-1, 16)]
            .map(|(core, bytes)| nrt.allocate(core, bytes).expect("room"));
        let arena = nrt.allocate(0, 32).expect("room");
        let [low, high] = [0, 8].map(|offset| nrt.slice(arena, offset, 16).expect("a part"));
        let bad = Status::EXEC_BAD_INPUT;
        // What is put in a set's place, by set and name, and what the execution then answers.
        let cases = [
            ("the wrong size", vec![(inputs, "x", small)], bad),
            ("another core's", vec![(inputs, "x", far)], bad),
            ("the host's", vec![(inputs, "x", same)], Status::EXEC_COMPLETED_WITH_NUM_ERR),
            ("an alias elsewhere", vec![(outputs, "sum", other)], bad),
            ("an output on an input", vec![(outputs, "y", ready.tensors["x"])], bad),
            ("an output on an output", vec![(outputs, "y", ready.tensors["sum"])], bad),
            ("an output over an input", vec![(inputs, "x", low), (outputs, "y", high)], bad),
        ];
        for (what, changes, expect) in cases {
            for (set, name, tensor) in &changes {
                assert_eq!(nrt.add(*set, name, *tensor), Status::SUCCESS);
            }
            assert_eq!(ready.execute(&nrt), expect, "{what}");
            for (set, name, _) in &changes {
                let key = if *set == outputs && *name == "y" { "out y" } else { name };
                assert_eq!(nrt.add(*set, name, ready.tensors[key]), Status::SUCCESS);
            }
            assert_eq!(ready.execute(&nrt), Status::SUCCESS, "after {what}");
        }
        assert_eq!(nrt.add(inputs, "z", other), Status::SUCCESS);
        assert_eq!(ready.execute(&nrt), bad, "a name that the model has not");
        assert_eq!(nrt.execute(ready.model, [outputs, outputs]), bad, "inputs are missing");
        assert_eq!(nrt.execute(inputs.cast(), [inputs, outputs]), Status::INVALID_HANDLE);
        assert_eq!(nrt.execute(ready.model, [small.cast(), outputs]), Status::INVALID_HANDLE);
        ready.end(&nrt);
        [small, other, far, same, low, high, arena].into_iter().for_each(|tensor| nrt.free(tensor));
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn a_tensor_that_is_gone_is_not_used() {
    let told = on("", "execution::a_tensor_that_is_gone_is_not_used", || {
        let nrt = Nrt::start();
        let ready = ready(&nrt);
        nrt.free(ready.tensors["w"]);
        assert_eq!(ready.execute(&nrt), Status::INVALID_HANDLE);
        nrt.close();
    });
    if let Some(told) = told {
        assert!(told.report.contains("misuse: nrt_tensor_free"), "{}", told.report);
    }
}

#[test]
fn what_is_no_number_is_told_and_written() {
    let told = on("", "execution::what_is_no_number_is_told_and_written", || {
        let nrt = Nrt::start();
        let ready = ready(&nrt);
        let zeros = floats(&[0.0; 4]);
        for tensor in ["x", "w"] {
            assert_eq!(nrt.write(ready.tensors[tensor], 0, &zeros), Status::SUCCESS);
        }
        assert_eq!(ready.execute(&nrt), Status::EXEC_COMPLETED_WITH_NUM_ERR);
        assert_eq!(nrt.write(ready.tensors["x"], 0, &floats(&[4.0; 4])), Status::SUCCESS);
        assert_eq!(nrt.write(ready.tensors["w"], 0, &floats(&[2.0; 4])), Status::SUCCESS);
        assert_eq!(ready.execute(&nrt), Status::SUCCESS, "the core goes on");
        assert_eq!(nrt.read(ready.tensors["out y"], 0, 16), Ok(floats(&[2.0; 4])));
        ready.end(&nrt);
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn an_index_outside_is_the_request_s_fault() {
    let told = on("", "execution::an_index_outside_is_the_request_s_fault", || {
        let nrt = Nrt::start();
        let ready = ready(&nrt);
        let slots = ready.tensors["slots"];
        assert_eq!(nrt.write(slots, 0, &integers(&[0, 3])), Status::SUCCESS);
        assert_eq!(ready.execute(&nrt), Status::EXEC_OOB);
        assert_eq!(nrt.write(slots, 0, &integers(&[0, 1])), Status::SUCCESS);
        assert_eq!(ready.execute(&nrt), Status::SUCCESS);
        ready.end(&nrt);
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn what_nobody_wrote_shows_in_what_comes_of_it() {
    let told = on("", "execution::what_nobody_wrote_shows_in_what_comes_of_it", || {
        let nrt = Nrt::start();
        let ready = Ready::new(&nrt, &neff(&header(), twice()), &[("x", 4)], &[("y", 4)]);
        assert_eq!(ready.execute(&nrt), Status::EXEC_COMPLETED_WITH_NUM_ERR);
        assert_eq!(nrt.write(ready.tensors["x"], 0, &floats(&[21.0])), Status::SUCCESS);
        assert_eq!(ready.execute(&nrt), Status::SUCCESS);
        assert_eq!(nrt.read(ready.tensors["out y"], 0, 4), Ok(floats(&[42.0])));
        let version = call!(nrt, nrt_get_status_as_str(Status::EXEC_OOB));
        // SAFETY: the library's texts live as long as it does and end with a zero.
        let version = unsafe { std::ffi::CStr::from_ptr(version) };
        assert_eq!(version, c"NRT_EXEC_OOB");
        ready.end(&nrt);
        nrt.close();
    });
    assert_clean(told);
}
