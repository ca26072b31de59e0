//! The committed kernels on an emulated device: nothing here ran on a GPU.
//!
//! The cases are those of `gimbal selftest --cuda`.

mod cases;
mod device;
mod shipped;
