//! What the emulator answers, through the bindings and by a C program: every rule of the contract is kept, and a
//! program that breaks one is told which.
//!
//! `process` runs a test's body with a script, `module` makes NEFFs, `nrt` calls functions. Then `states`, `tensors`,
//! `models`, `execution`, `ranks`, `faults`, `c` and `symbols`.

mod c;
mod execution;
mod faults;
mod models;
mod module;
mod nrt;
mod process;
mod ranks;
mod states;
mod symbols;
mod tensors;
