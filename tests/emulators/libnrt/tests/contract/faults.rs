//! Faults by script: which call fails, how, and what is lost with it. Next: `c.rs`.

use neuron_sys::Status;

use crate::module::{header, neff, twice};
use crate::nrt::{Nrt, Ready, floats};
use crate::process::{assert_clean, on};

fn ready(nrt: &Nrt) -> Ready {
    let ready = Ready::new(nrt, &neff(&header(), twice()), &[("x", 4)], &[("y", 4)]);
    assert_eq!(nrt.write(ready.tensors["x"], 0, &floats(&[1.0])), Status::SUCCESS);
    ready
}

#[test]
fn the_nth_call_fails_and_the_next_does_not() {
    let script = "fail = [
        { call = \"nrt_tensor_allocate\", nth = 2, status = 4 },
        { call = \"nrt_execute\", nth = 2, status = 7 },
        { call = \"nrt_execute\", nth = 3, status = 4711 },
    ]";
    let told = on(script, "faults::the_nth_call_fails_and_the_next_does_not", || {
        let nrt = Nrt::start();
        nrt.free(nrt.allocate(0, 4).expect("the first"));
        assert_eq!(nrt.allocate(0, 4), Err(Status::RESOURCE));
        let ready = ready(&nrt);
        let expect = [Status::SUCCESS, Status::QUEUE_FULL, Status(4711), Status::SUCCESS];
        assert_eq!([(); 4].map(|()| ready.execute(&nrt)), expect);
        ready.end(&nrt);
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn a_core_that_broke_stays_broken_and_others_go_on() {
    for status in [101, 1004, 1200, 1201, 1202, 1203, 1204, 1205] {
        let script = format!("fail = [{{ call = \"nrt_execute\", nth = 1, status = {status} }}]");
        let test = "faults::a_core_that_broke_stays_broken_and_others_go_on";
        let told = on(&script, test, || {
            let nrt = Nrt::start();
            let ready = ready(&nrt);
            assert_eq!(ready.execute(&nrt).class(), neuron_sys::Class::Poisoned);
            for _ in 0..2 {
                assert_eq!(ready.execute(&nrt), Status::EXEC_UNIT_UNRECOVERABLE);
            }
            let model = nrt.load(&neff(&header(), twice()), 1).expect("the other core");
            let sets = [nrt.set(), nrt.set()];
            let tensors = [0, 1].map(|_| nrt.allocate(1, 4).expect("room"));
            for (set, name, tensor) in [(sets[0], "x", tensors[0]), (sets[1], "y", tensors[1])] {
                assert_eq!(nrt.add(set, name, tensor), Status::SUCCESS);
            }
            assert_eq!(nrt.write(tensors[0], 0, &floats(&[1.0])), Status::SUCCESS);
            assert_eq!(nrt.execute(model, sets), Status::SUCCESS);
            Ready {
                model,
                sets,
                tensors: tensors.into_iter().enumerate().map(|(i, t)| (i.to_string(), t)).collect(),
            }
            .end(&nrt);
            ready.end(&nrt);
            nrt.close();
        });
        assert_clean(told);
    }
}

#[test]
fn a_hang_ends_by_the_runtime_s_timeout() {
    let script = "timeout_ms = 5\nfail = [{ call = \"nrt_execute\", nth = 1, hang = \"timeout\" }]";
    let told = on(script, "faults::a_hang_ends_by_the_runtime_s_timeout", || {
        let nrt = Nrt::start();
        let ready = ready(&nrt);
        assert_eq!(ready.execute(&nrt), Status::TIMEOUT);
        assert_eq!(ready.execute(&nrt), Status::SUCCESS);
        ready.end(&nrt);
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn a_call_that_hangs_stops_nobody_else() {
    let script = "fail = [{ call = \"nrt_execute\", nth = 1, hang = \"forever\" }]";
    let test = "faults::a_call_that_hangs_stops_nobody_else";
    on(script, test, || {
        let nrt = Nrt::start();
        let other = Nrt::open();
        // Its thread never comes back; the process ends with it.
        let hung = std::thread::spawn(move || {
            let ready = ready(&other);
            ready.execute(&other)
        });
        // Time enough to get there.
        for _ in 0..10_000 {
            let tensor = nrt.allocate(1, 4).expect("room");
            assert_eq!(nrt.write(tensor, 0, &floats(&[1.0])), Status::SUCCESS);
            nrt.free(tensor);
            std::thread::yield_now();
        }
        assert!(!hung.is_finished());
    });
}
