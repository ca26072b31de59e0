//! What a case has: memory of a device, seeded numbers, and a judge.
//!
//! Next: `rows.rs`.

use std::cell::Cell;

use half::{bf16, f16};

use crate::launch::{Address, Launch, Type};

/// What a case has told: nothing, or what is wrong.
pub type Told = Result<(), String>;

/// A device, real or not, as the cases use it.
pub trait Machine {
    /// Memory that nobody wrote.
    ///
    /// # Errors
    /// There is none.
    fn room(&self, bytes: usize) -> Result<Address, String>;

    /// Frees all memory.
    ///
    /// # Errors
    /// The device is lost.
    fn clear(&self) -> Told;

    /// Writes memory.
    ///
    /// # Errors
    /// It is not ours.
    fn write(&self, at: Address, bytes: &[u8]) -> Told;

    /// Runs a kernel over memory of `room` that is as large as its parameters say.
    ///
    /// # Errors
    /// It failed.
    fn run(&self, launch: &Launch) -> Told;

    /// Reads memory after all kernels.
    ///
    /// # Errors
    /// A kernel failed.
    fn read(&self, at: Address, bytes: &mut [u8]) -> Told;
}

/// A machine, the type of its values, and seeded numbers.
pub struct Bench<'a> {
    machine: &'a dyn Machine,
    pub(super) kind: Type,
    noise: Cell<u64>,
    /// The largest error in units of what was allowed.
    worst: Cell<f64>,
}

impl std::fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bench").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<'a> Bench<'a> {
    /// Numbers that depend on `seed` alone; it is not 0.
    #[must_use]
    pub const fn new(machine: &'a dyn Machine, kind: Type, seed: u64) -> Self {
        Self { machine, kind, noise: Cell::new(seed), worst: Cell::new(0.0) }
    }

    /// The largest error that was seen, in units of what was allowed.
    #[must_use]
    pub const fn worst(&self) -> f64 {
        self.worst.get()
    }

    pub(super) fn clear(&self) -> Told {
        self.machine.clear()
    }

    pub(super) fn room(&self, bytes: usize) -> Result<Address, String> {
        self.machine.room(bytes)
    }

    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<Address, String> {
        let at = self.machine.room(bytes.len())?;
        self.machine.write(at, bytes)?;
        Ok(at)
    }

    pub(super) fn ints(&self, values: &[u32]) -> Result<Address, String> {
        self.bytes(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
    }

    #[expect(clippy::cast_possible_truncation, reason = "f32 is what is written")]
    pub(super) fn floats(&self, values: &[f64]) -> Result<Address, String> {
        let bytes = values.iter().flat_map(|value| (*value as f32).to_le_bytes());
        self.bytes(&bytes.collect::<Vec<_>>())
    }

    /// Values in the bench's type; [`Self::round`] says what they become.
    pub(super) fn values(&self, values: &[f64]) -> Result<Address, String> {
        let bytes = values.iter().flat_map(|value| match self.kind {
            Type::Bf16 => bf16::from_f64(*value).to_le_bytes(),
            Type::F16 => f16::from_f64(*value).to_le_bytes(),
        });
        self.bytes(&bytes.collect::<Vec<_>>())
    }

    pub(super) fn run(&self, launch: &Launch) -> Told {
        self.machine.run(launch)
    }

    fn read(&self, at: Address, bytes: usize) -> Result<Vec<u8>, String> {
        let mut found = vec![0; bytes];
        self.machine.read(at, &mut found)?;
        Ok(found)
    }

    pub(super) fn read_ints(&self, at: Address, count: usize) -> Result<Vec<u32>, String> {
        let bytes = self.read(at, 4 * count)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    pub(super) fn read_floats(&self, at: Address, count: usize) -> Result<Vec<f64>, String> {
        let words = self.read_ints(at, count)?;
        Ok(words.into_iter().map(|bits| f32::from_bits(bits).into()).collect())
    }

    pub(super) fn read_values(&self, at: Address, count: usize) -> Result<Vec<f64>, String> {
        let bytes = self.read(at, 2 * count)?;
        let halves = bytes.as_chunks::<2>().0.iter();
        Ok(match self.kind {
            Type::Bf16 => halves.map(|half| bf16::from_le_bytes(*half).to_f64()).collect(),
            Type::F16 => halves.map(|half| f16::from_le_bytes(*half).to_f64()).collect(),
        })
    }

    /// What a value is in the type.
    pub(super) fn round(&self, value: f64) -> f64 {
        match self.kind {
            Type::Bf16 => bf16::from_f64(value).to_f64(),
            Type::F16 => f16::from_f64(value).to_f64(),
        }
    }

    /// The largest relative error of one rounding.
    pub(super) const fn half_step(&self) -> f64 {
        match self.kind {
            Type::Bf16 => 1.0 / 256.0,
            Type::F16 => 1.0 / 2048.0,
        }
    }

    /// Xorshift: reproducible noise without a dependency.
    pub(super) fn bits(&self) -> u64 {
        let mut x = self.noise.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.noise.set(x);
        x
    }

    /// In -1..1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are an f64's")]
    fn number(&self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    pub(super) fn numbers(&self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.number()).collect()
    }

    /// Numbers that the type holds.
    pub(super) fn noise(&self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.round(self.number())).collect()
    }

    /// Every value within `relative` of its size, or within `absolute`.
    pub(super) fn check(
        &self,
        found: &[f64],
        expect: &[f64],
        [relative, absolute]: [f64; 2],
        what: &str,
    ) -> Told {
        if found.len() != expect.len() {
            return Err(format!("{what}: {} values, not {}", found.len(), expect.len()));
        }
        for (i, (found, expect)) in found.iter().zip(expect).enumerate() {
            let (error, near) = ((found - expect).abs(), relative * expect.abs() + absolute);
            // What is no number is not near anything.
            if error.is_nan() || error > near {
                return Err(format!("{what} [{i}]: {found}, not {expect}"));
            }
            if error > 0.0 {
                self.worst.set(self.worst.get().max(error / near));
            }
        }
        Ok(())
    }
}
