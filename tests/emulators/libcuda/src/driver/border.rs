//! What C hands over: places for results, texts, memory of the host. Every pointer of a caller is
//! followed here and nowhere else.
//!
//! Handles and addresses of the host are plain `usize` at this border: in the ABI they are the same.
//! Next: `code`, what functions answer.

use std::ffi::{CStr, c_char};
use std::ptr;

use super::code::{Code, INVALID_VALUE};

/// Where a caller wants a result.
#[repr(transparent)]
pub(super) struct Out<T>(*mut T);

impl<T> Out<T> {
    pub(super) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    pub(super) fn put(&self, value: T) -> Result<(), Code> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: only C makes these; its caller promises, as to NVIDIA's driver, that what is not null
        // (checked) is aligned room for a result.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// Puts it where the caller wants to know.
    pub(super) fn put_if_asked(&self, value: T) {
        if !self.is_null() {
            // SAFETY: as in `put`.
            unsafe { self.0.write(value) };
        }
    }
}

/// A text that ends with a zero.
#[repr(transparent)]
pub(super) struct Text(*const c_char);

impl Text {
    pub(super) fn read(&self) -> Result<String, Code> {
        if self.0.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: only C makes these; its caller promises a zero at the end of what is not null
        // (checked).
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map(str::to_owned).map_err(|_| INVALID_VALUE)
    }
}

/// The first bytes of something of unknown length, at least four long.
pub(super) fn opening(address: usize) -> [u8; 4] {
    std::array::from_fn(|i| {
        // A text may be shorter than four; what follows its zero is not read.
        let is_over = (0..i).any(|before| byte(address + before) == 0);
        if is_over { 0 } else { byte(address + i) }
    })
}

fn byte(address: usize) -> u8 {
    // SAFETY: callers pass the address of a module's image, whose bytes up to its first zero they may
    // read.
    unsafe { ptr::with_exposed_provenance::<u8>(address).read() }
}

/// A text at an address that C passed as untyped.
pub(super) fn text(address: usize) -> Result<String, Code> {
    Text(ptr::with_exposed_provenance(address)).read()
}

/// Bytes of the host.
pub(super) fn read(address: usize, bytes: usize) -> Vec<u8> {
    let mut copy = vec![0; bytes];
    let from = ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: whoever asked for a copy or passed an array promises the driver so many readable bytes
    // there until the work is done, and whose image begins as an ELF file promises a whole one, with a
    // header and as many bytes as that says; the copy has room for them.
    unsafe { ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), bytes) };
    copy
}

/// Writes bytes of the host.
pub(super) fn write(address: usize, bytes: &[u8]) {
    let to = ptr::with_exposed_provenance_mut(address);
    // SAFETY: as in `read`, of bytes that may be written.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
}

/// An array of pointers or of words of their size.
pub(super) fn words(address: usize, count: usize) -> Vec<usize> {
    let bytes = read(address, count * size_of::<usize>());
    let words = bytes.as_chunks::<{ size_of::<usize>() }>().0.iter();
    words.map(|word| usize::from_ne_bytes(*word)).collect()
}

/// An array of `int`.
pub(super) fn ints(address: usize, count: usize) -> Vec<i32> {
    let bytes = read(address, count * size_of::<i32>());
    bytes.as_chunks::<4>().0.iter().map(|int| i32::from_ne_bytes(*int)).collect()
}

/// Calls a function of the host with its argument.
pub(super) fn call_host(function: usize, argument: usize) {
    type Function = extern "C" fn(*mut u8);
    // SAFETY: a caller promises that it passed a `CUhostFn`, which is of this type.
    let function = unsafe {
        std::mem::transmute::<*const (), Function>(ptr::with_exposed_provenance(function))
    };
    function(ptr::with_exposed_provenance_mut(argument));
}
