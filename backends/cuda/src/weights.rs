//! Weights and angles to the device, through two buffers that it copies from in turns.
//!
//! While one is copied the next is filled; pages of the file are let go tensor by tensor, so that the host
//! holds two buffers and a tensor. Next: `step.rs`.

use gimbal_hal::DeviceError;
use gimbal_model::weights::{DType, Shard, Tensor};
use gimbal_model::{Model, Shards};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::driver::{Device, Event, Pinned};
use crate::launch::{Address, Type, Weights};
use crate::program::{Form, Placed, Program};
use crate::quants::repack;

/// Bytes of each buffer.
const BUFFER_BYTES: usize = 8 << 20;

/// Two buffers, and the places in the stream after which each may be filled again.
struct Buffers<'a> {
    device: &'a Device,
    buffers: [(Pinned<u8>, Event); 2],
    turn: usize,
    /// Bytes of the one that is filled, and where they go.
    filled: usize,
    to: Address,
}

/// Writes all weights and angles of a program.
///
/// # Errors
/// A value does not fit the type, or the device is lost.
pub(crate) fn upload(
    device: &Device,
    model: &Model,
    shards: &Shards,
    program: &Program,
) -> Result<(), DeviceError> {
    let buffer = || Ok::<_, DeviceError>((device.pinned(BUFFER_BYTES)?, device.event()?));
    let buffers = [buffer()?, buffer()?];
    for (_, event) in &buffers {
        event.record()?;
    }
    let mut buffers = Buffers { device, buffers, turn: 0, filled: 0, to: 0 };
    for placed in &program.weights {
        let name = &model.graph.weights[placed.weight.0].name;
        let held = match placed.is_whole {
            true => model.weights.get(name).map(whole),
            false => None,
        };
        let held = held.map_or_else(
            || shards.weight(&model.weights, placed.weight, program.rank as usize),
            Ok,
        );
        let held = held.map_err(|why| DeviceError::Model { why })?;
        tensor_to(&mut buffers, *placed, &held, program.kind)
            .map_err(|error| named(name, program.kind, error))?;
        model.weights.release(name);
    }
    for (rope, at) in model.graph.ropes.iter().zip(&program.angles) {
        // One that no layer turns by was not placed.
        if *at == 0 {
            continue;
        }
        buffers.begin(*at)?;
        for position in 0..program.sizes.context {
            for (cos, sin) in rope.angles(position) {
                buffers.put(&cos.to_le_bytes())?;
                buffers.put(&sin.to_le_bytes())?;
            }
        }
        buffers.flush()?;
    }
    device.settle()
}

/// Why a tensor was not written.
enum Refused {
    Device(DeviceError),
    /// A value that the type does not hold.
    Value(f32),
}

impl From<DeviceError> for Refused {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

fn named(name: &str, kind: Type, refused: Refused) -> DeviceError {
    match refused {
        Refused::Device(error) => error,
        Refused::Value(value) => DeviceError::Model {
            why: format!(
                "{name} has the value {value}, which {} does not hold: a device of compute capability 8.0 \
                 or later takes bf16 (dtype = bfloat16)",
                kind.name()
            ),
        },
    }
}

/// All of a tensor, as a shard of one rank.
fn whole(tensor: Tensor<'_>) -> Shard<'_> {
    let all = tensor.shard(0..tensor.rows, 0..tensor.cols);
    all.expect("all rows and columns are inside, and cut no block")
}

fn tensor_to(
    buffers: &mut Buffers<'_>,
    placed: Placed,
    tensor: &Shard<'_>,
    kind: Type,
) -> Result<(), Refused> {
    buffers.begin(placed.at)?;
    match placed.form {
        Form::Same => {}
        Form::Float => {
            for value in tensor.to_f32() {
                buffers.put(&value.to_le_bytes())?;
            }
            return Ok(buffers.flush()?);
        }
        Form::Blocks { weights, n, row } => {
            return Ok(blocks_to(buffers, placed.at, tensor, (weights, n, row))?);
        }
    }
    let dtype = tensor.dtype();
    let is_same = matches!((dtype, kind), (DType::BF16, Type::Bf16) | (DType::F16, Type::F16));
    let (mut values, mut bytes) = (vec![0.0; tensor.cols()], vec![0; 2 * tensor.cols()]);
    for row in 0..tensor.rows() {
        if is_same {
            buffers.put(tensor.row(row))?;
            continue;
        }
        dtype.read(tensor.row(row), &mut values);
        round(kind, &values, &mut bytes)?;
        buffers.put(&bytes)?;
    }
    Ok(buffers.flush()?)
}

/// Rows from `row` on of a matrix of `n` rows in blocks, plane by plane.
fn blocks_to(
    buffers: &mut Buffers<'_>,
    at: Address,
    tensor: &Shard<'_>,
    (weights, n, row): (Weights, u32, u32),
) -> Result<(), DeviceError> {
    let dtype = tensor.dtype();
    let blocks = (tensor.cols() / dtype.block().0) as u64;
    let (mut plane_at, mut bytes) = (at, Vec::new());
    for (plane, size) in weights.planes().iter().enumerate() {
        let each = blocks * size;
        buffers.begin(plane_at + u64::from(row) * each)?;
        for row in 0..tensor.rows() {
            bytes.clear();
            repack(dtype, plane, tensor.row(row), &mut bytes);
            buffers.put(&bytes)?;
        }
        plane_at += u64::from(n) * each;
    }
    buffers.flush()
}

/// Values as the type's bytes.
fn round(kind: Type, values: &[f32], bytes: &mut [u8]) -> Result<(), Refused> {
    let mut halves = vec![0_u16; values.len()];
    match kind {
        Type::Bf16 => {
            let mut rounded = vec![bf16::ZERO; values.len()];
            rounded.convert_from_f32_slice(values);
            halves.iter_mut().zip(rounded).for_each(|(half, value)| *half = value.to_bits());
        }
        Type::F16 => {
            let mut rounded = vec![f16::ZERO; values.len()];
            rounded.convert_from_f32_slice(values);
            let mut pairs = values.iter().zip(&rounded);
            let lost = pairs.find(|(value, half)| value.is_finite() && half.is_infinite());
            if let Some((value, _)) = lost {
                return Err(Refused::Value(*value));
            }
            halves.iter_mut().zip(rounded).for_each(|(half, value)| *half = value.to_bits());
        }
    }
    for (bytes, half) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(halves) {
        *bytes = half.to_le_bytes();
    }
    Ok(())
}

impl Buffers<'_> {
    /// What is put next goes to that place.
    fn begin(&mut self, to: Address) -> Result<(), DeviceError> {
        self.flush()?;
        self.to = to;
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), DeviceError> {
        while !bytes.is_empty() {
            if self.filled == BUFFER_BYTES {
                self.flush()?;
            }
            let count = bytes.len().min(BUFFER_BYTES - self.filled);
            let (now, rest) = bytes.split_at(count);
            let (buffer, _) = &mut self.buffers[self.turn];
            buffer[self.filled..self.filled + count].copy_from_slice(now);
            self.filled += count;
            bytes = rest;
        }
        Ok(())
    }

    /// Copies what was put, and waits until the other buffer is free.
    fn flush(&mut self) -> Result<(), DeviceError> {
        if self.filled == 0 {
            return Ok(());
        }
        let (buffer, event) = &self.buffers[self.turn];
        // SAFETY: the buffer is not written to before its event was passed, and lives until `upload` has
        // waited for the stream, or its own end waits.
        unsafe { self.device.copy_in(self.to, &buffer[..self.filled]) }?;
        event.record()?;
        self.to += self.filled as u64;
        (self.filled, self.turn) = (0, 1 - self.turn);
        self.buffers[self.turn].1.settle()
    }
}
