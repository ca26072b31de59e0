//! What the process may use of the machine it runs on.
//!
//! Read once by whoever starts it; a platform asks nobody else for limits. Next: `placement.rs`.

/// The host's share of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// Its flags that decide which kernels run, as the kernel spells them; empty where nothing tells.
    pub features: Vec<String>,
    /// Threads that compute without standing still (quota and affinity counted), at least one.
    pub cores: u32,
    /// Memory there is, cut by the strictest limit, in bytes.
    pub memory_total_bytes: u64,
    /// Memory that can still be taken, in bytes.
    pub memory_bytes: u64,
    /// What limits it, with numbers.
    pub memory_why: String,
}
