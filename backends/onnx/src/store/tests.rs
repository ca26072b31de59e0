//! Files of packed weights: written once, mapped afterwards, never trusted by name alone.

use std::time::Duration;

use super::*;
use crate::lower::fuse;

/// A tiny model of the golden files.
fn model() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/families");
    Model::open(&folder.join("qwen3")).expect("a model of the repository")
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("gimbal-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn bytes(packed: &HashMap<WeightId, Packed>) -> Vec<(usize, Vec<u8>)> {
    let groups = |p: &Packed| (0..p.groups()).flat_map(|g| p.group(g).to_vec()).collect();
    let mut all: Vec<_> = packed.iter().map(|(id, p)| (id.0, groups(p))).collect();
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

#[test]
fn a_second_opening_maps_what_the_first_packed() {
    let (model, pool, folder) = (model(), Pool::new(2), folder("packed"));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    for quantize in [None, Some(Quantize::Q8), Some(Quantize::Q4)] {
        let in_memory = open(&model, &fused, quantize, None, &pool).expect("memory");
        let written = open(&model, &fused, quantize, Some(&folder), &pool).expect("memory");
        let path = path(&folder, &model, quantize);
        wait_for(&path);
        let length = fs::metadata(&path).expect("just written").len();
        assert_eq!(length, packed_bytes(&model, &fused, quantize));
        let mapped = open(&model, &fused, quantize, Some(&folder), &pool).expect("memory");
        assert_eq!(bytes(&written), bytes(&in_memory));
        assert_eq!(bytes(&mapped), bytes(&in_memory));
    }
    let names = fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(names, 3, "one file for each setting, and none left half written");
    fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn a_file_that_is_cut_or_another_is_packed_again() {
    let (model, pool, folder) = (model(), Pool::new(1), folder("cut"));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    let expect = bytes(&open(&model, &fused, None, None, &pool).expect("memory"));
    let path = path(&folder, &model, None);
    fs::create_dir_all(&folder).expect("a temporary folder");
    let length = usize::try_from(packed_bytes(&model, &fused, None)).expect("small");
    for wrong in [Vec::new(), vec![0; 100], vec![0; length]] {
        fs::write(&path, wrong).expect("a temporary file");
        let found = open(&model, &fused, None, Some(&folder), &pool).expect("memory");
        assert_eq!(bytes(&found), expect);
        wait_for(&path);
    }
    fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn what_a_dead_process_began_is_removed() {
    let (model, pool, folder) = (model(), Pool::new(1), folder("abandoned"));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    fs::create_dir_all(&folder).expect("a temporary folder");
    // Numbers of processes end far below; the second is this one's.
    let (dead, alive) = (folder.join("x.4194999.part"), format!("y.{}.part", std::process::id()));
    for path in [&dead, &folder.join(&alive)] {
        fs::write(path, b"half").expect("a temporary file");
    }
    open(&model, &fused, None, Some(&folder), &pool).expect("memory");
    wait_for(&path(&folder, &model, None));
    assert!(!dead.exists() && folder.join(&alive).exists());
    fs::remove_dir_all(&folder).expect("ours");
}

#[test]
fn a_place_that_cannot_be_written_costs_only_time() {
    let (model, pool) = (model(), Pool::new(1));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    let nowhere = Path::new("/proc/no/such/folder");
    let found = open(&model, &fused, None, Some(nowhere), &pool).expect("memory");
    let expect = open(&model, &fused, None, None, &pool).expect("memory");
    assert_eq!(bytes(&found), bytes(&expect));
}

/// Half a step of the grid, and what the scale loses as f16.
#[test]
fn rounded_weights_are_near_the_given_ones() {
    let (model, pool) = (model(), Pool::new(1));
    let fused = fuse(&model.graph).expect("a graph of the builder");
    for (quantize, steps) in [(Quantize::Q8, 254.0), (Quantize::Q4, 15.0)] {
        let packed = open(&model, &fused, Some(quantize), None, &pool).expect("memory");
        for (id, packed) in &packed {
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
    let n = packed.lanes;
    let (group, r, i) = (packed.group(row / n), row % n, k % 32);
    if packed.dtype == DType::Q8_0 {
        let block = &group[k / 32 * 34 * n..][..34 * n];
        let q = block[i / 4 * 4 * n + 4 * r + i % 4].cast_signed();
        return f32::from(q) * half(&block[32 * n + 2 * r..]);
    }
    let block = &group[k / 32 * 20 * n..][..20 * n];
    let byte = block[i % 16 / 4 * 4 * n + 4 * r + i % 4];
    let q = if i < 16 { byte & 15 } else { byte >> 4 };
    f32::from(q) * half(&block[16 * n + 2 * r..]) + half(&block[18 * n + 2 * r..])
}
