//! This program as a child of itself: for what may crash or hang.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::config::Process;

/// This program again; a binary that was replaced on disk meanwhile is still this one.
///
/// # Errors
/// Where it lies cannot be told.
pub(crate) fn command() -> io::Result<Command> {
    let own = Path::new("/proc/self/exe");
    match own.exists() {
        true => Ok(Command::new(own)),
        false => std::env::current_exe().map(Command::new),
    }
}

/// Flags that tell a child what the platforms are made of. Everything is said, so that neither a file
/// nor the environment says it otherwise there.
pub(crate) fn flags(process: &Process) -> Vec<String> {
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|p| p.display().to_string());
    let packed = path(&process.packed_cache).unwrap_or_else(|| "off".to_owned());
    [
        ("threads", process.threads.map(|threads| threads.to_string())),
        ("kernels", Some(process.kernels.name().to_owned())),
        ("onnxruntime", path(&process.onnxruntime)),
        ("libcuda", path(&process.libcuda)),
        ("libnrt", path(&process.libnrt)),
        ("packed-cache", Some(packed)),
        ("simulation", path(&process.simulation)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(format!("--{name}={}", value?)))
    .collect()
}
