//! A device through the driver, as the cases use it.
//!
//! Next: `timing.rs`.

use std::cell::RefCell;

use super::bench::{Machine, Told};
use crate::driver::{Device, Memory};
use crate::launch::{Address, Launch};

/// A device and what a case has allocated.
#[derive(Debug)]
pub(super) struct Real {
    pub(super) device: Device,
    memory: RefCell<Vec<Memory>>,
}

impl Real {
    pub(super) fn new(device: Device) -> Self {
        Self { device, memory: RefCell::default() }
    }
}

fn plain<T>(outcome: Result<T, gimbal_hal::DeviceError>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

impl Machine for Real {
    fn room(&self, bytes: usize) -> Result<Address, String> {
        let memory = plain(self.device.allocate(bytes))?;
        let at = memory.address();
        self.memory.borrow_mut().push(memory);
        Ok(at)
    }

    fn clear(&self) -> Told {
        plain(self.device.settle())?;
        self.memory.borrow_mut().clear();
        Ok(())
    }

    fn write(&self, at: Address, bytes: &[u8]) -> Told {
        plain(self.device.write(at, bytes))
    }

    fn run(&self, launch: &Launch) -> Told {
        plain(self.device.bind())?;
        // SAFETY: cases give each parameter memory of `room` that is as large as the kernel's shape, and it
        // is freed in `clear`, which waits.
        plain(unsafe { self.device.launch(launch) })
    }

    fn read(&self, at: Address, bytes: &mut [u8]) -> Told {
        plain(self.device.read(at, bytes))
    }
}
