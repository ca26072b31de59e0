//! Memory that tensors share: bytes, or numbers of one type and shape once a program has used them as such.
//!
//! Next: `program.rs`.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use gimbal_hlo::{Buffer, Shape};

/// What memory holds that nobody wrote: not a number in every type of floats, and -1 as an integer. A program that
/// reads it before it wrote it shows it.
pub(crate) const UNWRITTEN: u8 = 0xFF;

/// Memory of a core or of the host.
#[derive(Debug)]
pub(crate) struct Storage {
    /// On which core; none is the host's.
    pub(crate) core: Option<u32>,
    /// Bytes.
    pub(crate) size: usize,
    held: RwLock<Held>,
}

/// What is in it.
#[derive(Debug)]
pub(crate) enum Held {
    /// Bytes.
    Raw(Vec<u8>),
    /// Numbers.
    Typed(Buffer),
}

impl Storage {
    /// New memory, if this machine has as much.
    pub(crate) fn new(core: Option<u32>, size: usize) -> Option<Self> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).ok()?;
        bytes.resize(size, UNWRITTEN);
        Some(Self { core, size, held: RwLock::new(Held::Raw(bytes)) })
    }

    /// To be read; waits for an execution that changes it.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be written; waits for every execution that uses it.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Typed(buffer) => buffer.bytes(),
        }
    }

    /// The bytes, to be written.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Typed(buffer) => buffer.bytes_mut(),
        }
    }

    /// Makes it numbers of this type and shape, of as many bytes. Weights become it once.
    pub(crate) fn shape(&mut self, shape: &Shape) {
        if !matches!(self, Self::Typed(buffer) if buffer.shape() == shape) {
            *self = Self::Typed(buffer(shape, self.bytes()));
        }
    }
}

/// Numbers of these bytes, of which there are as many as the shape says.
pub(crate) fn buffer(shape: &Shape, bytes: &[u8]) -> Buffer {
    let mut buffer = Buffer::zeros(shape);
    buffer.bytes_mut().copy_from_slice(bytes);
    buffer
}
