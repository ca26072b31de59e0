//! For which processor a library was built, by the header of its file.
//!
//! The loader refuses one for another processor with words that name neither. What is no ELF file is
//! left to the loader. Next: `session.rs`, which loads.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes up to the end of `e_machine`.
const HEADER: usize = 20;
/// Values of `e_machine` with Rust's names. **Source**: `elf.h` of glibc.
const MACHINES: [(u16, &str); 7] = [
    (3, "x86"),
    (21, "powerpc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "aarch64"),
    (243, "riscv64"),
];

/// Why the library cannot run in this process; `None` where its file says nothing against it.
pub(crate) fn other_processor(library: &Path) -> Option<String> {
    let here = std::env::consts::ARCH;
    let built_for = machine(library)?;
    (built_for != here).then(|| format!("it is for {built_for}, and this Gimbal is for {here}"))
}

/// The processor of an ELF file.
fn machine(library: &Path) -> Option<String> {
    // A pipe in its place must not make anybody wait.
    if !std::fs::metadata(library).ok()?.is_file() {
        return None;
    }
    let mut header = [0; HEADER];
    File::open(library).ok()?.read_exact(&mut header).ok()?;
    let number = [header[18], header[19]];
    let number = match header {
        [0x7f, b'E', b'L', b'F', _, 1, ..] => u16::from_le_bytes(number),
        [0x7f, b'E', b'L', b'F', _, 2, ..] => u16::from_be_bytes(number),
        _ => return None,
    };
    let known = MACHINES.iter().find(|(known, _)| *known == number);
    Some(known.map_or_else(|| format!("ELF machine {number}"), |(_, name)| (*name).to_owned()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The beginning of a library for a machine, in a file of its own.
    pub(crate) fn library(name: &str, order: u8, machine: [u8; 2]) -> PathBuf {
        let file = format!("gimbal-elf-{}-{name}.so", std::process::id());
        let path = std::env::temp_dir().join(file);
        let mut header = vec![0x7f, b'E', b'L', b'F', 2, order, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0];
        header.extend(machine);
        std::fs::write(&path, header).expect("a temporary file");
        path
    }

    #[test]
    fn the_processor_of_a_library_is_read() {
        for (name, order, number, expect) in [
            ("arm", 1, [183, 0], Some("aarch64")),
            ("x86", 1, [62, 0], Some("x86_64")),
            ("power", 2, [0, 21], Some("powerpc64")),
            ("odd", 1, [9, 1], Some("ELF machine 265")),
            ("order", 7, [62, 0], None),
        ] {
            let path = library(name, order, number);
            assert_eq!(machine(&path).as_deref(), expect, "{name}");
            std::fs::remove_file(path).expect("ours");
        }
        assert_eq!(machine(Path::new("/nowhere")), None);
        assert_eq!(machine(Path::new("/dev/zero")), None);
        let own = std::env::current_exe().expect("this test");
        assert_eq!(machine(&own).as_deref(), Some(std::env::consts::ARCH));
        assert_eq!(other_processor(&own), None);
    }
}
