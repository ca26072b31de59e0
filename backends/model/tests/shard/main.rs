//! Sharded graphs: the group of all ranks computes what the whole graph computes, and what cannot
//! be cut is refused by name.
//!
//! `rig` makes random models of any block type, `families` holds the golden ones to llama.cpp,
//! `layouts` walks what differs between families, `random` tries shapes, `refusals` what is refused.

mod families;
mod layouts;
mod random;
mod refusals;
mod rig;
