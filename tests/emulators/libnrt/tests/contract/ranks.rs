//! Several ranks of one program, a thread and a core each. Next: `faults.rs`.

use std::ffi::c_void;
use std::ptr;

use neuron_sys::Status;

use crate::module::{all_reduce, header, neff, twice};
use crate::nrt::{ModelHandle, Nrt, Ready, call, floats};
use crate::process::{assert_clean, on};

fn load(nrt: &Nrt, neff: &[u8], rank: u32, ranks: u32) -> Result<ModelHandle, Status> {
    let mut model = ptr::null_mut();
    let bytes = neff.as_ptr().cast::<c_void>();
    let core = i32::try_from(rank).expect("few");
    let model_place = &raw mut model;
    match call!(nrt, nrt_load_collectives(bytes, neff.len(), core, -1, rank, ranks, model_place)) {
        Status::SUCCESS => Ok(model),
        status => Err(status),
    }
}

fn ready(nrt: &Nrt, neff: &[u8], rank: u32) -> Ready {
    let model = load(nrt, neff, rank, 2).expect("a model");
    let sets = [nrt.set(), nrt.set()];
    let core = i32::try_from(rank).expect("few");
    let [x, y] = [0, 1].map(|_| nrt.allocate(core, 4).expect("room"));
    assert_eq!(nrt.add(sets[0], "x", x), Status::SUCCESS);
    assert_eq!(nrt.add(sets[1], "y", y), Status::SUCCESS);
    let tensors = [("x".to_owned(), x), ("y".to_owned(), y)].into();
    Ready { model, sets, tensors }
}

#[test]
fn ranks_compute_together() {
    let told = on("", "ranks::ranks_compute_together", || {
        let nrt = Nrt::start();
        let neff = neff(&header(), all_reduce(2));
        std::thread::scope(|scope| {
            for rank in [0, 1] {
                let (nrt, neff) = (&nrt, &neff);
                scope.spawn(move || {
                    let ready = ready(nrt, neff, rank);
                    for round in [1.0, 2.0, 3.0] {
                        let x = if rank == 0 { round } else { 10.0 * round };
                        assert_eq!(
                            nrt.write(ready.tensors["x"], 0, &floats(&[x])),
                            Status::SUCCESS
                        );
                        assert_eq!(ready.execute(nrt), Status::SUCCESS);
                        let y = nrt.read(ready.tensors["y"], 0, 4);
                        assert_eq!(y, Ok(floats(&[11.0 * round])));
                    }
                    ready.end(nrt);
                });
            }
        });
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn a_rank_whose_others_do_not_come_times_out() {
    let test = "ranks::a_rank_whose_others_do_not_come_times_out";
    let told = on("timeout_ms = 20", test, || {
        let nrt = Nrt::start();
        let neff = neff(&header(), all_reduce(2));
        let ready = ready(&nrt, &neff, 0);
        for _ in 0..2 {
            assert_eq!(ready.execute(&nrt), Status::TIMEOUT);
        }
        ready.end(&nrt);
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn ranks_are_loaded_as_what_they_are() {
    let told = on("", "ranks::ranks_are_loaded_as_what_they_are", || {
        let nrt = Nrt::start();
        let (two, one) = (neff(&header(), all_reduce(2)), neff(&header(), twice()));
        assert_eq!(nrt.load(&two, 0), Err(Status::INVALID), "it has two ranks");
        assert_eq!(load(&nrt, &two, 0, 4), Err(Status::INVALID), "it has not four");
        assert_eq!(load(&nrt, &two, 2, 2), Err(Status::LOAD_NOT_ENOUGH_NC));
        assert_eq!(load(&nrt, &one, 0, 2), Err(Status::INVALID), "it has one");
        let alone = load(&nrt, &one, 0, 1).expect("one of one");
        assert_eq!(call!(nrt, nrt_unload(alone)), Status::SUCCESS);
        nrt.close();
    });
    assert_clean(told);
}
