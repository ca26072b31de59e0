//! Loading: NEFFs that are broken, of other cores, of other versions; and what a model tells. Next: `execution.rs`.

use std::ffi::{CStr, c_void};
use std::ptr;

use neuron_sys::{Dtype, Status, TensorInfo, TensorInfoArray, Usage};

use crate::module::{header, neff, step};
use crate::nrt::{Nrt, call};
use crate::process::{assert_clean, on};

/// A NEFF with bytes of its header changed; a digest covers the data only.
fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut neff = neff(&header(), step());
    neff[at..at + bytes.len()].copy_from_slice(bytes);
    neff
}

#[test]
fn a_neff_that_is_not_whole_is_refused() {
    let told = on("", "models::a_neff_that_is_not_whole_is_refused", || {
        let nrt = Nrt::start();
        let whole = neff(&header(), step());
        let flipped = {
            let mut neff = whole.clone();
            let last = neff.len() - 1;
            neff[last] ^= 1;
            neff
        };
        let long = [whole.as_slice(), b"."].concat();
        let (invalid, unsupported) = (Status::INVALID, Status::UNSUPPORTED_NEFF_VERSION);
        let cases: Vec<(&str, Vec<u8>, Status)> = vec![
            ("empty", vec![0], invalid),
            ("no data", whole[..1023].to_vec(), invalid),
            ("cut off", whole[..whole.len() - 1].to_vec(), invalid),
            ("longer", long, invalid),
            ("one bit", flipped, invalid),
            ("its digest", changed(0xAC, &[0, 0]), invalid),
            ("header size", changed(0x08, &[1]), invalid),
            ("package version 3", changed(0, &[3]), unsupported),
            ("major version 3", changed(0x18, &[3]), unsupported),
            ("feature 27", changed(0x223, &[0x08]), unsupported),
            ("not for the emulator", gimbal_neuron_only(), unsupported),
            ("no module", neff(&header(), b"x".to_vec()), invalid),
            ("two logical cores", changed(0x1DC, &[2]), invalid),
            ("of two cores each", changed(0x228, &[2]), invalid),
        ];
        for (what, bytes, expect) in cases {
            assert_eq!(nrt.load(&bytes, 0), Err(expect), "{what}");
        }
        let model = nrt.load(&whole, 0).expect("it is whole");
        assert_eq!(call!(nrt, nrt_unload(model)), Status::SUCCESS);
        assert_eq!(call!(nrt, nrt_unload(model)), Status::INVALID_HANDLE);
        nrt.close();
    });
    assert_clean(told);
}

/// What neuronx-cc would write has no module for the emulator.
fn gimbal_neuron_only() -> Vec<u8> {
    let file = gimbal_neuron::neff::File { path: "sg00/def.json".to_owned(), bytes: vec![b'{'] };
    gimbal_neuron::neff::pack(&header(), &[file]).expect("a NEFF")
}

#[test]
fn both_packages_are_read() {
    let told = on("", "models::both_packages_are_read", || {
        let nrt = Nrt::start();
        for package in [gimbal_neuron::neff::Package::Plain, gimbal_neuron::neff::Package::Gzip] {
            let neff = neff(&gimbal_neuron::neff::Header { package, ..header() }, step());
            let model = nrt.load(&neff, 0).expect("a model");
            assert_eq!(call!(nrt, nrt_unload(model)), Status::SUCCESS);
        }
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn a_model_goes_to_a_core_that_there_is_and_has_room() {
    let test = "models::a_model_goes_to_a_core_that_there_is_and_has_room";
    let told = on("memory = 3000", test, || {
        let nrt = Nrt::start();
        let whole = neff(&header(), step());
        assert!((1500..3000).contains(&whole.len()), "{}", whole.len());
        assert_eq!(nrt.load(&whole, 2), Err(Status::LOAD_NOT_ENOUGH_NC));
        assert_eq!(nrt.load(&whole, -2), Err(Status::INVALID));
        let first = nrt.load(&whole, -1).expect("core 0");
        assert_eq!(nrt.load(&whole, 0), Err(Status::RESOURCE), "its program takes memory");
        let second = nrt.load(&whole, -1).expect("core 1");
        assert_eq!(nrt.load(&whole, -1), Err(Status::LOAD_NOT_ENOUGH_NC));
        let mut model = ptr::null_mut();
        let bytes = whole.as_ptr().cast::<c_void>();
        let counted = call!(nrt, nrt_load(bytes, whole.len(), 0, 1, &raw mut model));
        assert_eq!(counted, Status::INVALID, "a count of cores is deprecated: -1");
        let nothing = call!(nrt, nrt_load(ptr::null(), 2000, 0, -1, &raw mut model));
        assert_eq!(nothing, Status::INVALID);
        for model in [first, second] {
            assert_eq!(call!(nrt, nrt_unload(model)), Status::SUCCESS);
        }
        nrt.close();
    });
    assert_clean(told);
}

#[test]
fn a_model_tells_its_tensors() {
    let told = on("", "models::a_model_tells_its_tensors", || {
        let nrt = Nrt::start();
        let model = nrt.load(&neff(&header(), step()), 0).expect("a model");
        let mut array: *mut TensorInfoArray = ptr::null_mut();
        let status = call!(nrt, nrt_get_model_tensor_info(model, &raw mut array));
        assert_eq!(status, Status::SUCCESS);
        let told = infos(array);
        let expect = [
            ("x", Usage::INPUT, 16, Dtype::FLOAT32, vec![4]),
            ("w", Usage::INPUT, 16, Dtype::FLOAT32, vec![4]),
            ("sum", Usage::INPUT, 16, Dtype::FLOAT32, vec![4]),
            ("kv", Usage::INPUT, 24, Dtype::FLOAT32, vec![3, 2]),
            ("slots", Usage::INPUT, 8, Dtype::INT32, vec![2]),
            ("rows", Usage::INPUT, 16, Dtype::FLOAT32, vec![2, 2]),
            ("y", Usage::OUTPUT, 16, Dtype::FLOAT32, vec![4]),
            ("sum", Usage::OUTPUT, 16, Dtype::FLOAT32, vec![4]),
            ("kv", Usage::OUTPUT, 24, Dtype::FLOAT32, vec![3, 2]),
        ];
        let expect = expect
            .map(|(name, usage, size, dtype, shape)| (name.to_owned(), usage, size, dtype, shape));
        assert_eq!(told, expect);
        assert_eq!(call!(nrt, nrt_free_model_tensor_info(array)), Status::SUCCESS);
        assert_eq!(call!(nrt, nrt_free_model_tensor_info(array)), Status::INVALID_HANDLE);
        let mut threads = 0;
        let counted = call!(nrt, nrt_get_model_instance_count?(model, &raw mut threads));
        assert_eq!((counted, threads), (Status::SUCCESS, 1));
        assert_eq!(call!(nrt, nrt_unload(model)), Status::SUCCESS);
        nrt.close();
    });
    assert_clean(told);
}

type Info = (String, Usage, usize, Dtype, Vec<u32>);

fn infos(array: *const TensorInfoArray) -> Vec<Info> {
    // SAFETY: the library just gave it, and it is not freed.
    let count = unsafe { (*array).tensor_count };
    // SAFETY: as above; only an address is computed.
    let first = unsafe { &raw const (*array).tensor_array }.cast::<TensorInfo>();
    let count = usize::try_from(count).expect("few");
    // SAFETY: so many follow the count.
    let infos = unsafe { std::slice::from_raw_parts(first, count) };
    infos.iter().map(info).collect()
}

fn info(info: &TensorInfo) -> Info {
    let bytes = info.name.map(|c| c.to_ne_bytes()[0]);
    let name = CStr::from_bytes_until_nul(&bytes).expect("a zero ends it");
    // SAFETY: a description points to as many sizes as it has dimensions, until the array is freed.
    let shape = unsafe { std::slice::from_raw_parts(info.shape, info.ndim as usize) };
    let name = name.to_str().expect("text").to_owned();
    (name, info.usage, info.size, info.dtype, shape.to_vec())
}
