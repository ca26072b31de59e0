//! What machine this is, and what follows from it.
//!
//! [`Machine::read`] gathers facts below a root folder: processor, memory, cgroup, NUMA, identity,
//! accelerators. [`Catalogue`] holds what is known of families and instances beforehand and finds
//! the family of a machine; [`Family::layers`] gives its settings.
//!
//! Reading order: `machine`, then a fact each in `cpu`, `memory`, `cgroup`, `limits`, `numa`, `system`,
//! `identity` (with `imds` and `container`), `accelerator`; `tree` is how files are read; `kernels` tells
//! which of our kernels run. Then
//! `catalogue`, `family`, `instance`, and `embedded`, the files of `firmware-configs`.
//!
//! **Invariants.** Nothing here fails: what cannot be read is absent or has a reason. No file is
//! written, nothing is opened but files below the root and, where asked for, one address of the
//! metadata service. It does not know devices' libraries: that a GPU computes is for its platform to
//! say. No other crate of ours is used.

#![forbid(unsafe_code)]

mod accelerator;
mod catalogue;
mod cgroup;
mod container;
mod cpu;
mod cpuset;
mod embedded;
mod family;
mod identity;
mod imds;
mod instance;
mod kernels;
mod limits;
mod machine;
mod memory;
mod numa;
mod system;
mod tree;

pub use accelerator::{Accelerator, State, Vendor};
pub use catalogue::Catalogue;
pub use cgroup::{Cgroup, MemoryLimit};
pub use cpu::{Cache, Cpu};
pub use cpuset::CpuSet;
pub use embedded::{File, accelerator_settings};
pub use family::{Fact, Family, Processor, WEIGHT_BYTES};
pub use identity::Identity;
pub use imds::{IMDS_ADDRESS, Imds, Metadata};
pub use instance::{Accelerators, Chip, Gpu, Instance};
pub use kernels::KernelTable;
pub use limits::{Limits, Room};
pub use machine::{Around, Machine};
pub use memory::Memory;
pub use numa::Node;
pub use system::System;
