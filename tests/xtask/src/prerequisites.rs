//! What must be on the machine; each missing thing is named with its package.

use anyhow::bail;

use crate::command::succeeds;

/// A program that is needed, how to see that it is there, and its Debian package.
const NEEDED: [(&str, &str, &[&str], &str); 5] = [
    ("a C linker", "cc", &["--version"], "gcc"),
    ("strip", "strip", &["--version"], "binutils"),
    ("python3", "python3", &["--version"], "python3"),
    ("pip for python3", "python3", &["-m", "pip", "--version"], "python3-pip"),
    ("venv for python3", "python3", &["-c", "import venv, ensurepip"], "python3-venv"),
];

/// Checks all of them.
pub(crate) fn check() -> anyhow::Result<()> {
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(_, program, arguments, _)| !succeeds(program, arguments))
        .map(|(what, _, _, package)| format!("  {what}: apt-get install {package}"))
        .collect();
    if !missing.is_empty() {
        bail!("missing on this machine:\n{}", missing.join("\n"));
    }
    Ok(())
}
