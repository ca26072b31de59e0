//! What a device has allocated. Addresses are those of this process, so that hosts copy without maps.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// Memory of one device.
#[derive(Debug, Default)]
pub struct Memory {
    allocations: RwLock<BTreeMap<u64, Arc<Allocation>>>,
}

/// Bytes, and of each whether it was written: a bit in words of 64.
#[derive(Debug)]
struct Allocation {
    start: u64,
    layout: Layout,
    written: Box<[AtomicU64]>,
}

/// Allocations begin at multiples of it, as a driver's do.
const ALIGN: usize = 256;
/// What memory holds that nobody wrote: as floats, no numbers.
const POISON: u8 = 0xff;

impl Memory {
    /// So many bytes; none if there are none, or for 0.
    pub fn allocate(&self, bytes: usize) -> Option<u64> {
        let layout = Layout::from_size_align(bytes, ALIGN).ok().filter(|_| bytes > 0)?;
        // SAFETY: the layout has a size (filtered).
        let pointer = unsafe { alloc(layout) };
        if pointer.is_null() {
            return None;
        }
        // SAFETY: so many bytes were just allocated.
        unsafe { ptr::write_bytes(pointer, POISON, bytes) };
        let written = (0..bytes.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let start = pointer.expose_provenance() as u64;
        let mut allocations = self.allocations.write().unwrap_or_else(|p| p.into_inner());
        allocations.insert(start, Arc::new(Allocation { start, layout, written }));
        Some(start)
    }

    /// Gives an allocation back; whether there was one. What still runs may use it to its end.
    pub fn free(&self, address: u64) -> bool {
        let mut allocations = self.allocations.write().unwrap_or_else(|p| p.into_inner());
        allocations.remove(&address).is_some()
    }

    /// Writes bytes of the host.
    ///
    /// # Errors
    /// They do not lie in one allocation.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), String> {
        self.view().write(address.cast_signed(), 1, bytes)
    }

    /// Reads bytes to the host.
    ///
    /// # Errors
    /// They do not lie in one allocation, or not all were written.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.view().read(address.cast_signed(), 1, bytes)
    }

    /// Copies from another device's memory, or within this one; what nobody wrote stays unwritten.
    ///
    /// # Errors
    /// One of the two places does not lie in one allocation.
    pub fn copy(&self, to: u64, other: &Self, from: u64, bytes: usize) -> Result<(), String> {
        let [sources, targets] = [other, self].map(Self::view);
        let source = &sources.allocations[sources.find(from, bytes)?];
        let target = &targets.allocations[targets.find(to, bytes)?];
        // SAFETY: both places lie in allocations (found), where none of Rust's references lead.
        unsafe { ptr::copy(pointer(from), pointer(to), bytes) };
        if source.touch(from, bytes, false).is_ok() {
            return target.touch(to, bytes, true);
        }
        let marks = (from..from + bytes as u64).map(|at| source.is_written(at));
        // All of them first: the two places may overlap.
        for (at, is_written) in (to..).zip(marks.collect::<Vec<_>>()) {
            target.mark(at, is_written);
        }
        Ok(())
    }

    /// Where the allocation begins that an address lies in, and its bytes.
    pub fn allocation(&self, address: u64) -> Option<(u64, usize)> {
        let allocations = self.allocations.read().unwrap_or_else(|p| p.into_inner());
        let (_, found) = allocations.range(..=address).next_back()?;
        found.has(address, 1).then(|| (found.start, found.layout.size()))
    }

    /// What is allocated now.
    pub(super) fn view(&self) -> View {
        let allocations = self.allocations.read().unwrap_or_else(|p| p.into_inner());
        View { allocations: allocations.values().cloned().collect(), last: [0; 4] }
    }
}

/// What was allocated when a kernel was launched: a block looks here for each of its accesses.
#[derive(Debug)]
pub(super) struct View {
    /// By their addresses.
    allocations: Vec<Arc<Allocation>>,
    /// Where the last accesses were: the next one is there too, most often.
    last: [usize; 4],
}

impl View {
    /// Whether so many bytes lie in an allocation, and (to be read) were written.
    #[inline]
    fn check(&mut self, address: u64, bytes: usize, is_write: bool) -> Result<(), String> {
        let has = |index: &usize| {
            self.allocations.get(*index).is_some_and(|found| found.has(address, bytes))
        };
        match self.last.iter().position(has) {
            Some(0) => {}
            Some(other) => self.last.swap(0, other),
            None => {
                self.last.rotate_right(1);
                self.last[0] = self.find(address, bytes)?;
            }
        }
        self.allocations[self.last[0]].touch(address, bytes, is_write)
    }

    /// Writes bytes from a multiple of `align` on.
    pub(super) fn write(&mut self, at: i64, align: usize, bytes: &[u8]) -> Result<(), String> {
        let address = aligned(at, align)?;
        self.check(address, bytes.len(), true)?;
        // SAFETY: the place lies in an allocation (checked), where none of Rust's references lead.
        // Kernels that race with themselves leave what either wrote.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pointer(address), bytes.len()) };
        Ok(())
    }

    /// Reads bytes from a multiple of `align` on.
    pub(super) fn read(&mut self, at: i64, align: usize, to: &mut [u8]) -> Result<(), String> {
        if to.is_empty() {
            return Ok(());
        }
        let address = aligned(at, align)?;
        self.check(address, to.len(), false)?;
        // SAFETY: as in `write`.
        unsafe { ptr::copy_nonoverlapping(pointer(address), to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    /// The index of the allocation that bytes lie in.
    fn find(&self, address: u64, bytes: usize) -> Result<usize, String> {
        let what = || format!("{bytes} bytes at {address:#x} lie outside of what is allocated");
        let after = self.allocations.partition_point(|allocation| allocation.start <= address);
        let before = after.checked_sub(1).ok_or_else(what)?;
        let allocation = &self.allocations[before];
        if !allocation.has(address, bytes) {
            let (first, size) = (address - allocation.start, allocation.layout.size());
            return Err(format!("{} ({first} of an allocation of {size})", what()));
        }
        Ok(before)
    }
}

impl Allocation {
    fn has(&self, address: u64, bytes: usize) -> bool {
        let first = address.checked_sub(self.start).and_then(|first| usize::try_from(first).ok());
        first.is_some_and(|first| {
            first.checked_add(bytes).is_some_and(|end| end <= self.layout.size())
        })
    }

    /// The word with a byte's mark, and its bit.
    fn bit(&self, address: u64) -> (&AtomicU64, u64) {
        let at = usize::try_from(address - self.start).unwrap_or(0);
        (&self.written[at / 64], 1 << (at % 64))
    }

    fn is_written(&self, address: u64) -> bool {
        let (word, bit) = self.bit(address);
        word.load(Ordering::Relaxed) & bit != 0
    }

    fn mark(&self, address: u64, is_written: bool) {
        match self.bit(address) {
            (word, bit) if is_written => word.fetch_or(bit, Ordering::Relaxed),
            (word, bit) => word.fetch_and(!bit, Ordering::Relaxed),
        };
    }

    /// Marks bytes as written, or looks whether they are.
    #[inline]
    fn touch(&self, address: u64, bytes: usize, is_write: bool) -> Result<(), String> {
        let mut at = usize::try_from(address - self.start).unwrap_or(0);
        let end = at + bytes;
        while at < end {
            let (word, bit) = (at / 64, at % 64);
            let count = (64 - bit).min(end - at);
            let bits = u64::MAX >> (64 - count) << bit;
            let mark = &self.written[word];
            if !is_write {
                if mark.load(Ordering::Relaxed) & bits != bits {
                    return Err(format!("reads {bytes} bytes at {address:#x} that nobody wrote"));
                }
            } else if mark.load(Ordering::Relaxed) & bits != bits {
                mark.fetch_or(bits, Ordering::Relaxed);
            }
            at += count;
        }
        Ok(())
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout, and nobody has it any more.
        unsafe { dealloc(pointer(self.start), self.layout) };
    }
}

fn aligned(at: i64, align: usize) -> Result<u64, String> {
    let address = at.cast_unsigned();
    let is_aligned = match align.is_power_of_two() {
        true => address & (align as u64 - 1) == 0,
        false => address.is_multiple_of(align as u64),
    };
    match is_aligned {
        true => Ok(address),
        false => Err(format!("{align} bytes at {address:#x}, which is not aligned")),
    }
}

/// The host's pointer to an address.
fn pointer(address: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(usize::try_from(address).unwrap_or(0))
}
