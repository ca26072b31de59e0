//! Loads, stores, atomics and copies of a warp.

use super::block::extended;
use super::code::{Address, Atomic, Op, Place, Space, Width};
use super::matrix;
use super::memory::View;
use super::registers::{LANES, values};
use super::runs::{BYTES_MAX, low, runs};
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
                        shared
                            .write(to, &bytes, bytes.len(), self.index)
                            .map_err(|what| (0, what))?;
                    }
                }
                Ok(())
            }
            Op::LoadMatrix { is_transposed, to, from } => {
                let rows = self.addresses(*from);
                let (index, all) = (self.index, to.len());
                let loaded = matrix::load(&rows, all, *is_transposed, lanes, shared, index)?;
                for (to, words) in to.iter().zip(loaded) {
                    self.set_word(*to, lanes, |lane| words[lane]);
                }
                Ok(())
            }
            Op::Mma(mma, to, from) => {
                if lanes != u32::MAX {
                    let lane = lanes.trailing_zeros() as usize;
                    return Err((lane, "a product of matrices by a part of a warp".to_owned()));
                }
                let registers: Vec<_> =
                    from.iter().map(|place| values(self.word(*place))).collect();
                for (to, words) in to.iter().zip(matrix::product(*mma, &registers)) {
                    self.set_word(*to, lanes, |lane| words[lane]);
                }
                Ok(())
            }
            other => Err((0, format!("{other:?} is not executed"))),
        }
    }

    /// The addresses of all lanes; of those that do not take part they mean nothing.
    fn addresses(&self, Address { place, is_double, offset }: Address) -> [i64; LANES] {
        let mut addresses = [0; LANES];
        for (lane, at) in addresses.iter_mut().enumerate() {
            *at = match is_double {
                true => self.double(place)[lane].get().cast_signed().wrapping_add(offset),
                false => i64::from(self.word(place)[lane].get()).wrapping_add(offset),
            };
        }
        addresses
    }

    fn load(
        &mut self,
        (space, width): (Space, Width),
        to: &[Place],
        from: Address,
        lanes: u32,
        (memory, shared): (&mut View, &mut Shared),
    ) -> Outcome {
        let (addresses, count) = (self.addresses(from), width.bytes * to.len());
        let mut bytes = [0; LANES * BYTES_MAX];
        let mut read = |address, to: &mut [u8]| match space {
            Space::Global => memory.read(address, count, to),
            Space::Shared => shared
                .read(address, to.len(), count, self.index)
                .map(|from| to.copy_from_slice(from)),
        };
        for run in runs(lanes, &addresses, count) {
            let all = &mut bytes[run.start * count..run.end * count];
            if read(addresses[run.start], all).is_ok() {
                continue;
            }
            // Whose is it?
            for (lane, to) in run.zip(all.chunks_exact_mut(count)) {
                read(addresses[lane], to).map_err(|what| (lane, what))?;
            }
        }
        self.take(&bytes, width, to, lanes);
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
        let (addresses, count) = (self.addresses(to), width.bytes * from.len());
        let mut bytes = [0; LANES * BYTES_MAX];
        let mut write = |address, from: &[u8]| match space {
            Space::Global => memory.write(address, count, from),
            Space::Shared => shared.write(address, from, count, self.index),
        };
        for run in runs(lanes, &addresses, count) {
            self.lay(from, width, run.clone(), &mut bytes);
            let all = &bytes[run.start * count..run.end * count];
            if write(addresses[run.start], all).is_ok() {
                continue;
            }
            for (lane, from) in run.zip(all.chunks_exact(count)) {
                write(addresses[lane], from).map_err(|what| (lane, what))?;
            }
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
        let addresses = self.addresses(at);
        // Blocks on other threads of this machine change the same words.
        static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for lane in of(lanes) {
            let by = match bytes {
                8 => self.double(by)[lane].get(),
                _ => self.word(by)[lane].get().into(),
            };
            let mut buffer = [0; 8];
            let value = &mut buffer[..bytes];
            let outcome = match space {
                Space::Global => memory.read(addresses[lane], bytes, value),
                Space::Shared => shared.read_atomic(addresses[lane], value),
            };
            outcome.map_err(|what| (lane, what))?;
            let before = extended(value, false);
            value.copy_from_slice(&change(before, by).to_le_bytes()[..bytes]);
            let outcome = match space {
                Space::Global => memory.write(addresses[lane], bytes, value),
                Space::Shared => shared.write_atomic(addresses[lane], value),
            };
            outcome.map_err(|what| (lane, what))?;
            match (to, bytes) {
                (Some(to), 8) => self.double(to)[lane].set(before),
                (Some(to), _) => self.word(to)[lane].set(low(before)),
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
        let (to, from) = (self.addresses(to), self.addresses(from));
        for lane in of(lanes) {
            let read = read.map_or(bytes, |place| bytes.min(self.word(place)[lane].get() as usize));
            let mut copied = vec![0; bytes];
            let outcome = memory.read(from[lane], read.max(1), &mut copied[..read]);
            outcome.map_err(|what| (lane, what))?;
            shared.claim(to[lane], bytes, bytes, self.index).map_err(|what| (lane, what))?;
            self.copies.push(Pending { to: to[lane], bytes: copied });
        }
        Ok(())
    }
}

/// Lanes that take part.
pub(super) fn of(lanes: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| lanes >> lane & 1 == 1)
}
