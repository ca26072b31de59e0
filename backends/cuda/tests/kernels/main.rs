//! The committed kernels on an emulated device: nothing here ran on a GPU.

#![expect(clippy::cast_possible_truncation, reason = "sizes of tests are small")]

mod attention;
mod device;
mod products;
mod rows;
mod shipped;
