//! The driver's functions, called by `cudarc` as it comes from the registry. Nothing here has run on a
//! GPU.
//!
//! `process` gives a test a process of its own with a machine of its own; `kernels` are ours and two small
//! ones; then what is tested, by theme.

mod cubins;
mod devices;
mod faults;
mod graphs;
mod kernels;
mod modules;
mod monitor;
mod plain;
mod process;
mod selftest;
mod streams;
