//! Where packed weights lie: in a file of the cache, mapped, or in memory.
//!
//! The file is written at the first opening and mapped at the next ones. It is named by what it was
//! made from, so a changed model, setting or layout is another file. A place that cannot be written
//! costs only the time of packing. Next: `packed_file.rs` for the file, `pack.rs` for the layout.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use gimbal_hal::Quantize;
use gimbal_model::Model;
use gimbal_model::graph::WeightId;
use gimbal_model::weights::{DType, Tensor};
use memmap2::{Advice, MmapMut};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use crate::cpu::Cpu;
use crate::memory::{Memory, Shared, ask_for_huge_pages};
use crate::pack::{Packed, Packing, group_bytes, pack_group, packed_type};
use crate::packed_file::{HEADER, MARK, PackedFile};
use crate::writer::Writer;
use gimbal_model::fuse::{Fused, fuse};

/// Weights begin at multiples of this: a cache line.
const ALIGN: usize = 64;

/// What is to be packed, and where it goes.
struct Place {
    id: WeightId,
    dtype: DType,
    packing: Packing,
    rows: usize,
    cols: usize,
    start: usize,
}

/// Packed weights.
#[derive(Debug)]
pub struct Stored {
    /// All matrices that the nodes multiply with.
    pub(crate) packed: HashMap<WeightId, Packed>,
    /// Writes their file, where that was not there.
    _writer: Option<Writer>,
}

/// All matrices that the nodes multiply with, packed or mapped.
///
/// # Errors
/// There is no memory.
pub fn open(
    model: &Model,
    fused: &[Fused],
    quantize: Option<Quantize>,
    folder: Option<&Path>,
    cpu: &Cpu,
) -> io::Result<Stored> {
    let started = Instant::now();
    let packing = cpu.kernels.packing;
    let (places, length) = places(model, fused, quantize, packing);
    let took_ms = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
    let file =
        folder.map(|folder| PackedFile { path: path(folder, model, quantize, packing), length });
    if let Some(file) = &file {
        match file.map(cpu) {
            Ok(map) => {
                info!(path = %file.path.display(), bytes = length, "packed weights mapped");
                let packed = views(places, &Arc::new(Memory::new(map)));
                return Ok(Stored { packed, _writer: None });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                warn!(path = %file.path.display(), %error, "packed weights are not used, but made anew");
            }
        }
    }
    let memory = Arc::new(pack_all(model, &places, length, cpu)?);
    info!(bytes = length, took_ms = took_ms(started), "weights packed");
    let writer = file.and_then(|file| {
        let sum = file.sum(memory.bytes(), cpu);
        Writer::start(std::thread::Builder::new(), file, memory.clone(), sum)
    });
    Ok(Stored { packed: views(places, &memory), _writer: writer })
}

/// Packs all weights in memory.
fn pack_all(model: &Model, places: &[Place], length: usize, cpu: &Cpu) -> io::Result<Memory> {
    let mut map = MmapMut::map_anon(length)?;
    ask_for_huge_pages(map.advise(Advice::HugePage));
    for place in places {
        pack(model, place, &mut map, cpu);
    }
    Ok(Memory::new(map.make_read_only()?))
}

/// Writes a model's file in that folder, unless it is there, and waits until it is.
///
/// # Errors
/// The model cannot be computed, or the file not be written: which, and why.
pub fn keep(
    model: &Model,
    quantize: Option<Quantize>,
    folder: &Path,
    cpu: &Cpu,
) -> Result<gimbal_hal::Packed, String> {
    let fused = fuse(&model.graph)?;
    let packing = cpu.kernels.packing;
    let (places, length) = places(model, &fused, quantize, packing);
    let file = PackedFile { path: path(folder, model, quantize, packing), length };
    let was_there = file.map(cpu).is_ok();
    if !was_there {
        let packed = pack_all(model, &places, length, cpu);
        let kept = packed.and_then(|memory| {
            let sum = file.sum(memory.bytes(), cpu);
            file.write(memory.bytes(), &sum, &AtomicBool::new(false))
        });
        kept.map_err(|e| format!("{}: {e}", file.path.display()))?;
    }
    Ok(gimbal_hal::Packed { path: file.path, bytes: length as u64, was_there })
}

/// Bytes of all packed weights, packed like that.
#[must_use]
pub fn packed_bytes(
    model: &Model,
    fused: &[Fused],
    quantize: Option<Quantize>,
    packing: Packing,
) -> u64 {
    places(model, fused, quantize, packing).1 as u64
}

fn tensor(model: &Model, id: WeightId) -> Tensor<'_> {
    let name = &model.graph.weights[id.0].name;
    model.weights.get(name).expect("the model has every weight of its graph")
}

fn places(
    model: &Model,
    fused: &[Fused],
    quantize: Option<Quantize>,
    packing: Packing,
) -> (Vec<Place>, usize) {
    let mut end = HEADER;
    let mut places: Vec<Place> = Vec::new();
    for id in fused.iter().flat_map(Fused::matrices) {
        let Tensor { dtype, rows, cols, .. } = tensor(model, id);
        let dtype = packed_type(dtype, quantize);
        places.push(Place { id, dtype, packing, rows, cols, start: end });
        let bytes = rows.div_ceil(packing.rows) * group_bytes(dtype, packing, cols);
        end = (end + bytes).next_multiple_of(ALIGN);
    }
    (places, end)
}

fn views(places: Vec<Place>, memory: &Arc<Memory>) -> HashMap<WeightId, Packed> {
    let view = |Place { id, dtype, packing, rows, cols, start }| {
        (id, Packed { dtype, packing, rows, cols, start, memory: memory.clone() })
    };
    places.into_iter().map(view).collect()
}

fn pack(model: &Model, place: &Place, map: &mut MmapMut, cpu: &Cpu) {
    let tensor = tensor(model, place.id);
    let size = group_bytes(place.dtype, place.packing, place.cols);
    let groups = place.rows.div_ceil(place.packing.rows);
    let out = Shared::new(&mut map[place.start..place.start + groups * size]);
    let turn = cpu.turn();
    cpu.pool.run(groups, &|g| {
        // SAFETY: each group has its own range of `out`, which outlives the run.
        let out = unsafe { out.slice_mut(g * size..(g + 1) * size) };
        pack_group(&tensor, place.dtype, place.packing, (g, out));
    });
    drop(turn);
    // The file's pages were needed once: not to be counted as this process's memory.
    model.weights.release(&model.graph.weights[place.id.0].name);
}

/// The file for a model and setting, packed like that.
fn path(folder: &Path, model: &Model, quantize: Option<Quantize>, packing: Packing) -> PathBuf {
    folder.join(format!("{}-{packing}.packed", &key(model, quantize)[..32]))
}

fn key(model: &Model, quantize: Option<Quantize>) -> String {
    let mut hash = Sha256::new();
    hash.update(MARK);
    hash.update(format!("{quantize:?}"));
    hash.update(model.weights.fingerprint());
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
