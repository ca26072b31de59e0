//! Files of packed weights: written once, mapped afterwards, never trusted by name alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::kernels::KernelChoice;
use crate::kernels::table::Kernels;
use gimbal_model::fuse::fuse;

/// A tiny model of the golden files.
fn model() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families");
    Model::open(&folder.join("qwen3")).expect("a model of the repository")
}

fn cpu(threads: usize) -> Cpu {
    Cpu::new(threads, KernelChoice::Auto.table().expect("there is one").0)
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("gimbal-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn bytes(stored: &Stored) -> Vec<(usize, Vec<u8>)> {
    let groups = |p: &Packed| (0..p.groups()).flat_map(|g| p.group(g).to_vec()).collect();
    let mut all: Vec<_> = stored.packed.iter().map(|(id, p)| (id.0, groups(p))).collect();
    all.sort();
    all
}

fn wait_for(path: &Path) {
    for _ in 0..1000 {
        if fs::read(path).is_ok_and(|bytes| bytes.starts_with(MARK)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} was not written", path.display());
}

fn wait_until_it_is(path: &Path, whole: &[u8]) {
    for _ in 0..1000 {
        if fs::read(path).is_ok_and(|mended| mended == whole) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{} was not mended", path.display());
}

#[test]
fn a_second_opening_maps_what_the_first_packed() {
    let (model, cpu, folder) = (model(), cpu(2), folder("packed"));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    for quantize in [None, Some(Quantize::Q8), Some(Quantize::Q4)] {
        let in_memory = open(&model, &fused, quantize, None, &cpu).expect("memory");
        let written = open(&model, &fused, quantize, Some(&folder), &cpu).expect("memory");
        let path = path(&folder, &model, quantize, cpu.kernels.packing);
        wait_for(&path);
        let length = fs::metadata(&path).expect("just written").len();
        assert_eq!(length, packed_bytes(&model, &fused, quantize, cpu.kernels.packing));
        let mapped = open(&model, &fused, quantize, Some(&folder), &cpu).expect("memory");
        assert_eq!(bytes(&written), bytes(&in_memory));
        assert_eq!(bytes(&mapped), bytes(&in_memory));
    }
    let names = fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(names, 3, "one file for each setting, and none left half written");
    fs::remove_dir_all(&folder).expect("ours");
}

/// Tables of kernels that want weights packed differently, as those of two processors do, share a
/// folder: each has its file, and takes no other for it, whatever that is called.
#[test]
fn a_file_of_another_packing_is_made_anew() {
    let (model, folder) = (model(), folder("packings"));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    // Floats lie alike at any depth; integers do not.
    let quantize = Some(Quantize::Q8);
    let scalar = KernelChoice::Scalar.table().expect("everywhere").0;
    // Those of AVX2 and NEON, of SMMLA, which has the same length, and of AVX-512.
    let packings = [(8, 4), (8, 8), (16, 4)].map(|(rows, depth)| Packing { rows, depth });
    let cases = packings.map(|packing| {
        let kernels: &'static Kernels = Box::leak(Box::new(Kernels { packing, ..*scalar }));
        let cpu = Cpu::new(1, kernels);
        let stored = open(&model, &fused, quantize, Some(&folder), &cpu).expect("memory");
        let path = path(&folder, &model, quantize, packing);
        wait_for(&path);
        (cpu, bytes(&stored), fs::read(&path).expect("just written"), path)
    });
    assert_eq!(cases[0].2.len(), cases[1].2.len());
    for (own, other) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
        let (cpu, expect, whole, path) = &cases[own];
        let (_, weights, other, _) = &cases[other];
        assert!(expect != weights, "other places of the same weights");
        // As it is, and with this one's length, also where its header says so.
        let mut cut = other.clone();
        cut.resize(whole.len(), 0);
        let mut told = cut.clone();
        told[..16].copy_from_slice(&whole[..16]);
        for wrong in [other.clone(), cut, told] {
            assert!(wrong != *whole);
            fs::write(path, wrong).expect("a temporary file");
            let found = open(&model, &fused, quantize, Some(&folder), cpu).expect("memory");
            assert!(bytes(&found) == *expect, "the weights of the model");
            wait_until_it_is(path, whole);
        }
    }
    fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn a_file_that_is_cut_or_another_is_packed_again() {
    let (model, cpu, folder) = (model(), cpu(1), folder("cut"));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    let expect = bytes(&open(&model, &fused, None, None, &cpu).expect("memory"));
    let path = path(&folder, &model, None, cpu.kernels.packing);
    fs::create_dir_all(&folder).expect("a temporary folder");
    let length =
        usize::try_from(packed_bytes(&model, &fused, None, cpu.kernels.packing)).expect("small");
    for wrong in [Vec::new(), vec![0; 100], vec![0; length]] {
        fs::write(&path, wrong).expect("a temporary file");
        let found = open(&model, &fused, None, Some(&folder), &cpu).expect("memory");
        assert_eq!(bytes(&found), expect);
        wait_for(&path);
    }
    fs::remove_dir_all(&folder).expect("ours");
}

/// Every state in which a writer can be killed, and every place where a disk can have lost something,
/// gives the weights of the model.
#[test]
fn a_writer_may_be_killed_at_every_step() {
    let (model, cpu, folder) = (model(), cpu(2), folder("killed"));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    let first = open(&model, &fused, None, Some(&folder), &cpu).expect("memory");
    let expect = bytes(&first);
    let path = path(&folder, &model, None, cpu.kernels.packing);
    wait_for(&path);
    let whole = fs::read(&path).expect("just written");
    let length = whole.len();
    let mut states = vec![Vec::new(), whole[..HEADER].to_vec(), vec![0; length]];
    for cut in [HEADER + 1, length / 2, length - 1] {
        states.push(whole[..cut].to_vec());
        // The length is there, the bytes are not: what a crash leaves of a file.
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        states.push(torn);
    }
    for at in [0, 8, 16, 40, 60, HEADER, HEADER + 7, length / 3, length - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        states.push(flipped);
    }
    let mut no_header = whole.clone();
    no_header[..HEADER].fill(0);
    states.push(no_header);
    for (number, state) in states.into_iter().enumerate() {
        // As far as the padding between weights the bytes may be the same.
        let is_whole = state == whole;
        fs::write(&path, &state).expect("a temporary file");
        eprintln!("state {number}");
        let found = open(&model, &fused, None, Some(&folder), &cpu).expect("memory");
        assert_eq!(bytes(&found), expect, "state {number}");
        if !is_whole {
            wait_until_it_is(&path, &whole);
        }
    }
    fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn a_file_that_others_can_change_is_not_mapped() {
    let (model, cpu, folder) = (model(), cpu(1), folder("others"));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    let _stored = open(&model, &fused, None, Some(&folder), &cpu).expect("memory");
    let path = path(&folder, &model, None, cpu.kernels.packing);
    wait_for(&path);
    let length =
        usize::try_from(packed_bytes(&model, &fused, None, cpu.kernels.packing)).expect("small");
    let file = PackedFile { path: path.clone(), length };
    file.map(&cpu).expect("ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("ours");
    assert_eq!(file.map(&cpu).expect_err("not ours").to_string(), "others can write it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    let real = folder.join("real");
    fs::rename(&path, &real).expect("ours");
    std::os::unix::fs::symlink(&real, &path).expect("a link");
    file.map(&cpu).expect_err("a link");
    fs::remove_file(&path).expect("ours");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()), "a pipe");
    file.map(&cpu).expect_err("a pipe, which nobody waits for");
    fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn what_was_begun_and_left_is_removed_and_files_do_not_pile_up() {
    let (model, cpu, folder) = (model(), cpu(1), folder("abandoned"));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    fs::create_dir_all(&folder).expect("a temporary folder");
    let (dead, alive) = (folder.join("x.7.part"), folder.join("y.8.part"));
    fs::write(&dead, b"half").expect("a temporary file");
    let writing = fs::File::create(&alive).expect("a temporary file");
    rustix::fs::flock(&writing, rustix::fs::FlockOperation::LockExclusive).expect("nobody else");
    for number in 0..40 {
        fs::write(folder.join(format!("{number}.packed")), b"old").expect("a temporary file");
    }
    let _stored = open(&model, &fused, None, Some(&folder), &cpu).expect("memory");
    wait_for(&path(&folder, &model, None, cpu.kernels.packing));
    assert!(!dead.exists() && alive.exists());
    let packed = fs::read_dir(&folder).expect("ours").flatten();
    let packed = packed.filter(|e| e.path().extension().is_some_and(|e| e == "packed"));
    assert_eq!(packed.count(), 16);
    fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn a_place_that_cannot_be_written_costs_only_time() {
    let (model, cpu) = (model(), cpu(1));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    let nowhere = Path::new("/proc/no/such/folder");
    let found = open(&model, &fused, None, Some(nowhere), &cpu).expect("memory");
    let expect = open(&model, &fused, None, None, &cpu).expect("memory");
    assert_eq!(bytes(&found), bytes(&expect));
}

/// Half a step of the grid, and what the scale loses as f16.
#[test]
fn rounded_weights_are_near_the_given_ones() {
    let (model, cpu) = (model(), cpu(1));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    for (quantize, steps) in [(Quantize::Q8, 254.0), (Quantize::Q4, 15.0)] {
        let packed = open(&model, &fused, Some(quantize), None, &cpu).expect("memory");
        for (id, packed) in &packed.packed {
            let exact = tensor(&model, *id).to_f32();
            let most = exact.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            for (row, exact) in exact.chunks_exact(packed.cols).enumerate() {
                for (k, exact) in exact.iter().enumerate() {
                    let error = (value(packed, row, k) - exact).abs();
                    assert!(error <= 1.1 * most / steps, "{quantize:?} {row} {k}: {error}");
                }
            }
        }
    }
}

/// One weight, read by the layout's definition.
fn value(packed: &Packed, row: usize, k: usize) -> f32 {
    let half = |bytes: &[u8]| half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
    let (n, d) = (packed.packing.rows, packed.packing.depth);
    let (group, r, i) = (packed.group(row / n), row % n, k % 32);
    if packed.dtype == DType::Q8_0 {
        let block = &group[k / 32 * 34 * n..][..34 * n];
        let q = block[i / d * d * n + d * r + i % d].cast_signed();
        return f32::from(q) * half(&block[32 * n + 2 * r..]);
    }
    let block = &group[k / 32 * 20 * n..][..20 * n];
    let byte = block[i % 16 / d * d * n + d * r + i % d];
    let q = if i < 16 { byte & 15 } else { byte >> 4 };
    f32::from(q) * half(&block[16 * n + 2 * r..]) + half(&block[18 * n + 2 * r..])
}
