//! Loads, stores, atomics and copies of a warp.

use super::block::extended;
use super::code::{Address, Atomic, LANES, Op, Place, Space, Width};
use super::matrix;
use super::memory::{View, pointer};
use super::shared::Shared;
use super::warp::{Pending, Warp};

/// A fault: the lane, and what it did.
type Outcome = Result<(), (usize, String)>;

impl Warp {
    pub(super) fn access(
        &mut self,
        op: &Op,
        lanes: u32,
        memory: &mut View,
        shared: &mut Shared,
    ) -> Outcome {
        match op {
            Op::Load(space, width, to, from) => {
                self.load((*space, *width), to, *from, lanes, (memory, shared))
            }
            Op::Store(space, width, from, to) => {
                self.store((*space, *width), from, *to, lanes, (memory, shared))
            }
            Op::Atomic(atomic, to, at, by) => {
                self.atomic(*atomic, *to, *at, *by, lanes, (memory, shared))
            }
            Op::CopyAsync(to, from, bytes, read) => {
                self.copy([*to, *from], *bytes, *read, lanes, (memory, shared))
            }
            Op::Commit => {
                let copies = std::mem::take(&mut self.copies);
                self.committed.push_back(copies);
                Ok(())
            }
            Op::Wait(left) => {
                while self.committed.len() > *left {
                    for Pending { to, bytes } in self.committed.pop_front().unwrap_or_default() {
                        shared.write(to, &bytes, self.index).map_err(|what| (0, what))?;
                    }
                }
                Ok(())
            }
            Op::LoadMatrix { is_transposed, to, from } => {
                let rows = self.addresses(*from, lanes);
                let (index, all) = (self.index, to.len());
                let loaded = matrix::load(&rows, all, *is_transposed, lanes, shared, index)?;
                for (to, words) in to.iter().zip(loaded) {
                    self.set_word(*to, lanes, &words);
                }
                Ok(())
            }
            Op::Mma(mma, to, from) => {
                if lanes != u32::MAX {
                    let lane = lanes.trailing_zeros() as usize;
                    return Err((lane, "a product of matrices by a part of a warp".to_owned()));
                }
                let registers: Vec<_> = from.iter().map(|place| *self.word(*place)).collect();
                for (to, words) in to.iter().zip(matrix::product(*mma, &registers)) {
                    self.set_word(*to, lanes, &words);
                }
                Ok(())
            }
            other => Err((0, format!("{other:?} is not executed"))),
        }
    }

    /// The addresses of all lanes; of those that do not take part they mean nothing.
    fn addresses(&self, address: Address, _lanes: u32) -> [i64; LANES] {
        let Address { place, is_double, offset } = address;
        match is_double {
            true => self.double(place).map(|at| at.cast_signed().wrapping_add(offset)),
            false => self.word(place).map(|at| i64::from(at).wrapping_add(offset)),
        }
    }

    fn load(
        &mut self,
        (space, width): (Space, Width),
        to: &[Place],
        from: Address,
        lanes: u32,
        (memory, shared): (&mut View, &mut Shared),
    ) -> Outcome {
        let (addresses, count) = (self.addresses(from, lanes), width.bytes * to.len());
        for lane in of(lanes) {
            let bytes = match space {
                Space::Global => {
                    let address = aligned(addresses[lane], count).map_err(|what| (lane, what))?;
                    memory.check(address, count, false).map_err(|what| (lane, what))?;
                    pointer(address).cast_const()
                }
                Space::Shared => {
                    let bytes = shared.read(addresses[lane], count, self.index);
                    bytes.map_err(|what| (lane, what))?.as_ptr()
                }
            };
            for (i, to) in to.iter().enumerate() {
                let from = bytes.wrapping_add(i * width.bytes);
                // SAFETY: `count` bytes may be read from there (checked), and this value's are among
                // them. Kernels that race with themselves read what either wrote.
                let value = unsafe { value_at(from, width) };
                if width.is_double {
                    self.doubles[*to as usize][lane] = value;
                } else {
                    self.words[*to as usize][lane] = low(value);
                }
            }
        }
        Ok(())
    }

    fn store(
        &self,
        (space, width): (Space, Width),
        from: &[Place],
        to: Address,
        lanes: u32,
        (memory, shared): (&mut View, &mut Shared),
    ) -> Outcome {
        let (addresses, count) = (self.addresses(to, lanes), width.bytes * from.len());
        let mut buffer = [0; 16];
        for lane in of(lanes) {
            for (from, bytes) in from.iter().zip(buffer.chunks_exact_mut(width.bytes)) {
                let value = match width.is_double {
                    true => self.double(*from)[lane],
                    false => self.word(*from)[lane].into(),
                };
                bytes.copy_from_slice(&value.to_le_bytes()[..width.bytes]);
            }
            let bytes = &buffer[..count];
            let outcome = match space {
                Space::Global => write_global(memory, addresses[lane], bytes),
                Space::Shared => shared.write(addresses[lane], bytes, self.index),
            };
            outcome.map_err(|what| (lane, what))?;
        }
        Ok(())
    }

    fn atomic(
        &mut self,
        Atomic { space, bytes, change }: Atomic,
        to: Option<Place>,
        at: Address,
        by: Place,
        lanes: u32,
        (memory, shared): (&mut View, &mut Shared),
    ) -> Outcome {
        let addresses = self.addresses(at, lanes);
        // Blocks on other threads of this machine change the same words.
        static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for lane in of(lanes) {
            let by = match bytes {
                8 => self.double(by)[lane],
                _ => self.word(by)[lane].into(),
            };
            let mut buffer = [0; 8];
            let value = &mut buffer[..bytes];
            let outcome = match space {
                Space::Global => read_global(memory, addresses[lane], value),
                Space::Shared => shared.read_atomic(addresses[lane], value),
            };
            outcome.map_err(|what| (lane, what))?;
            let before = extended(value, false);
            value.copy_from_slice(&change(before, by).to_le_bytes()[..bytes]);
            let outcome = match space {
                Space::Global => write_global(memory, addresses[lane], value),
                Space::Shared => shared.write_atomic(addresses[lane], value),
            };
            outcome.map_err(|what| (lane, what))?;
            match (to, bytes) {
                (Some(to), 8) => self.doubles[to as usize][lane] = before,
                (Some(to), _) => self.words[to as usize][lane] = low(before),
                (None, _) => {}
            }
        }
        Ok(())
    }

    /// Reads now what it reads, and writes when it is waited for: what lies there before is told by the
    /// race detector.
    fn copy(
        &mut self,
        [to, from]: [Address; 2],
        bytes: usize,
        read: Option<Place>,
        lanes: u32,
        (memory, shared): (&mut View, &mut Shared),
    ) -> Outcome {
        let (to, from) = (self.addresses(to, lanes), self.addresses(from, lanes));
        for lane in of(lanes) {
            let read = read.map_or(bytes, |place| bytes.min(self.word(place)[lane] as usize));
            let mut copied = vec![0; bytes];
            let outcome = read_global(memory, from[lane], &mut copied[..read]);
            outcome.map_err(|what| (lane, what))?;
            shared.claim(to[lane], bytes, self.index).map_err(|what| (lane, what))?;
            self.copies.push(Pending { to: to[lane], bytes: copied });
        }
        Ok(())
    }
}

/// Lanes that take part.
pub(super) fn of(lanes: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| lanes >> lane & 1 == 1)
}

#[expect(clippy::cast_possible_truncation, reason = "a word's bits")]
const fn low(value: u64) -> u32 {
    value as u32
}

/// The value at a pointer, extended to 64 bits.
///
/// # Safety
/// - As many bytes as the width has may be read there.
#[inline]
unsafe fn value_at(from: *const u8, width: Width) -> u64 {
    macro_rules! read {
        ($unsigned:ty) => {{
            // SAFETY: so many bytes may be read (promised); any alignment will do.
            let value = unsafe { from.cast::<$unsigned>().read_unaligned() };
            match width.is_signed {
                true => i64::from(value.cast_signed()).cast_unsigned(),
                false => u64::from(value),
            }
        }};
    }
    match width.bytes {
        1 => read!(u8),
        2 => read!(u16),
        4 => read!(u32),
        _ => read!(u64),
    }
}

fn aligned(address: i64, bytes: usize) -> Result<u64, String> {
    let address = address.cast_unsigned();
    match address.is_multiple_of(bytes.max(1) as u64) {
        true => Ok(address),
        false => Err(format!("{bytes} bytes at {address:#x}, which is not aligned")),
    }
}

fn read_global(memory: &mut View, address: i64, to: &mut [u8]) -> Result<(), String> {
    if to.is_empty() {
        return Ok(());
    }
    memory.check(aligned(address, to.len())?, to.len(), false)?;
    // SAFETY: the place lies in an allocation (checked), where none of Rust's references lead. Kernels
    // that race with themselves read what either wrote.
    unsafe {
        std::ptr::copy_nonoverlapping(pointer(address.cast_unsigned()), to.as_mut_ptr(), to.len())
    };
    Ok(())
}

fn write_global(memory: &mut View, address: i64, from: &[u8]) -> Result<(), String> {
    memory.check(aligned(address, from.len())?, from.len(), true)?;
    // SAFETY: as in `read_global`.
    unsafe {
        std::ptr::copy_nonoverlapping(from.as_ptr(), pointer(address.cast_unsigned()), from.len())
    };
    Ok(())
}
