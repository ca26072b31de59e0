//! What a device has allocated. Addresses are those of this process, so that hosts copy without maps.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ptr;
use std::sync::RwLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// Memory of one device.
#[derive(Debug, Default)]
pub struct Memory {
    allocations: RwLock<BTreeMap<u64, Allocation>>,
}

/// What an allocation has: its bytes, and of each whether it was written.
#[derive(Debug)]
struct Allocation {
    layout: Layout,
    written: Box<[AtomicU8]>,
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
        let written = (0..bytes).map(|_| AtomicU8::new(0)).collect();
        let address = pointer.expose_provenance() as u64;
        let mut allocations = self.allocations.write().unwrap_or_else(|p| p.into_inner());
        allocations.insert(address, Allocation { layout, written });
        Some(address)
    }

    /// Gives an allocation back; whether there was one.
    pub fn free(&self, address: u64) -> bool {
        let mut allocations = self.allocations.write().unwrap_or_else(|p| p.into_inner());
        let Some(Allocation { layout, .. }) = allocations.remove(&address) else { return false };
        // SAFETY: it was allocated with this layout, and nobody finds it any more.
        unsafe { dealloc(pointer(address), layout) };
        true
    }

    /// Writes bytes of the host.
    ///
    /// # Errors
    /// They do not lie in one allocation.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), String> {
        self.check(address, bytes.len(), true)?;
        // SAFETY: the place lies in an allocation (checked), where none of Rust's references lead.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), pointer(address), bytes.len()) };
        Ok(())
    }

    /// Reads bytes to the host.
    ///
    /// # Errors
    /// They do not lie in one allocation, or not all were written.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), String> {
        self.check(address, bytes.len(), false)?;
        // SAFETY: as in `write`.
        unsafe { ptr::copy_nonoverlapping(pointer(address), bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Whether so many bytes lie in an allocation, and (to be read) were written.
    pub(super) fn check(&self, address: u64, bytes: usize, is_write: bool) -> Result<(), String> {
        let allocations = self.allocations.read().unwrap_or_else(|p| p.into_inner());
        let before = allocations.range(..=address).next_back();
        let (start, allocation) = before.ok_or_else(|| outside(address, bytes))?;
        let first = usize::try_from(address - start).map_err(|_| outside(address, bytes))?;
        let end = first.checked_add(bytes).filter(|end| *end <= allocation.layout.size());
        let Some(end) = end else {
            let size = allocation.layout.size();
            return Err(format!(
                "{} ({first} of an allocation of {size})",
                outside(address, bytes)
            ));
        };
        let marks = &allocation.written[first..end];
        if is_write {
            marks.iter().for_each(|mark| mark.store(1, Ordering::Relaxed));
        } else if marks.iter().any(|mark| mark.load(Ordering::Relaxed) == 0) {
            return Err(format!("reads {bytes} bytes at {address:#x} that nobody wrote"));
        }
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let allocations = self.allocations.get_mut().unwrap_or_else(|p| p.into_inner());
        for (address, Allocation { layout, .. }) in allocations.iter() {
            // SAFETY: it was allocated with this layout, and nobody else has this memory.
            unsafe { dealloc(pointer(*address), *layout) };
        }
    }
}

fn outside(address: u64, bytes: usize) -> String {
    format!("{bytes} bytes at {address:#x} lie outside of what is allocated")
}

/// The host's pointer to an address.
pub(super) fn pointer(address: u64) -> *mut u8 {
    ptr::with_exposed_provenance_mut(usize::try_from(address).unwrap_or(0))
}
