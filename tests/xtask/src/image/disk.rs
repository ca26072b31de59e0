//! `cargo xtask image disk`: a raw disk that boots by UEFI, of `images/ami`.
//!
//! Debian's packages by mmdebstrap, our files over them, Gimbal; then one EFI program of kernel and
//! command line, so there is no boot loader. The kernel knows NVMe disks and ext4, so there is no initrd. Partitions are files that are put into place: no device
//! is mounted. It takes the packages that Debian has today, so the same commit may give another disk.
//! Next: `boot`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::{Arch, Part, packages};
use crate::{apt, command, root, serve};

/// Debian's packages of the programs that make a disk.
const TOOLS: [(&str, &str); 6] = [
    ("mmdebstrap", "mmdebstrap"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mke2fs", "e2fsprogs"),
    ("sfdisk", "fdisk"),
    ("objcopy", "binutils"),
];
const FILES: &str = "images/ami";
const PACKAGES: &str = include_str!("../../../../images/ami/packages.txt");
const UNITS: &str = include_str!("../../../../images/ami/units.txt");
/// What runs another processor's programs while its packages are installed, and makes its EFI program.
const FOREIGN: [&str; 3] = ["qemu-user-static", "binfmt-support", "binutils-aarch64-linux-gnu"];
/// Where Gimbal is in it.
const HOME: &str = "usr/lib/gimbal";
/// Documentation but licences, and what is told in other languages, stays out.
const LEFT_OUT: [&str; 4] = [
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
];

/// Names of the disk, of the first partition and of the second; command lines have the last.
const IDS: [&str; 3] = [
    "2b8a6c1e-5b0f-4c7e-9d53-7f1d3a9e6b00",
    "2b8a6c1e-5b0f-4c7e-9d53-7f1d3a9e6b01",
    "2b8a6c1e-5b0f-4c7e-9d53-7f1d3a9e6b02",
];
/// MiB of the partition that firmware reads.
const ESP_MIB: u64 = 64;
/// MiB that the root has beside its files, for ext4's own tables.
const SPARE_MIB: u64 = 48;
/// Where the parts of the EFI program are loaded: **Source**: systemd-stub(7) of systemd 252.
const SECTIONS: [(&str, u64); 3] =
    [(".osrel", 0x2_0000), (".cmdline", 0x3_0000), (".linux", 0x200_0000)];
/// What the kernel must have in itself to find its root.
const BUILT_IN: [&str; 3] = ["/ext4.ko", "/nvme.ko", "/nvme-core.ko"];

/// A disk, and what else came of making it.
pub(super) struct Disk {
    pub(super) raw: PathBuf,
    /// The kernel of it.
    pub(super) kernel: PathBuf,
    /// Debian's part as files.
    pub(super) base: PathBuf,
    pub(super) part: Part,
}

/// Makes the disk for a processor. An earlier base is taken, if that will do.
pub(super) fn make(arch: &'static Arch, is_old_fine: bool) -> anyhow::Result<Disk> {
    let missing = |program: &str| !command::succeeds("which", &[program]);
    let wanted: Vec<&str> =
        TOOLS.iter().filter(|(program, _)| missing(program)).map(|(_, package)| *package).collect();
    if !wanted.is_empty() {
        apt::install(&wanted).context("what makes disks")?;
    }
    if !arch.is_here() && (missing("update-binfmts") || missing(&arch.objcopy())) {
        apt::install(&FOREIGN).context("what makes disks for another processor")?;
    }
    let part = Part::make(arch)?;
    let home = serve::built("release", "image").join(format!("disk-{}", arch.oci));
    fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
    let base = home.join("base");
    if !(is_old_fine && base.join("boot").is_dir()) {
        debian(arch, &base)?;
    }
    let files = home.join("root");
    remove(&files)?;
    command::run(Command::new("cp").arg("--archive").arg(&base).arg(&files))?;
    fill(&files, &part)?;
    let kernel = home.join("linux");
    let program = efi_program(arch, &files, &kernel, &home)?;
    let raw = partitions(arch, &files, &program, &home)?;
    remove(&files)?;
    let bytes = fs::metadata(&raw).with_context(|| raw.display().to_string())?.len();
    eprintln!("{}: {} MiB", raw.display(), bytes >> 20);
    Ok(Disk { raw, kernel, base, part })
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    Ok(())
}

/// Debian's part, from this machine's mirrors.
fn debian(arch: &Arch, base: &Path) -> anyhow::Result<()> {
    let packages = listed(PACKAGES).map(|line| line.replace("ARCH", arch.oci));
    let mut debian = bootstrap(arch, "essential", &packages.collect::<Vec<_>>());
    debian.arg("--aptopt=APT::Install-Recommends \"false\"");
    debian.args(LEFT_OUT.map(|option| format!("--dpkgopt={option}")));
    // An initrd is made when the kernel is installed, as small as can be: nobody uses it.
    let ours = root().join(FILES).join("root/etc/initramfs-tools").canonicalize()?;
    debian.arg(format!("--setup-hook=copy-in {} /etc", ours.display()));
    finish(debian, base, &apt::sources(packages::SUITE)?)
}

/// A kernel with its modules and busybox, of the release's backports; nothing is installed.
pub(super) fn kernel(arch: &Arch, package: &str, base: &Path) -> anyhow::Result<()> {
    let packages = [package.to_owned(), "busybox-static".to_owned()];
    let backports = apt::backports(packages::SUITE)?;
    let sources = format!("{}{backports}", apt::sources(packages::SUITE)?);
    finish(bootstrap(arch, "extract", &packages), base, &sources)
}

fn bootstrap(arch: &Arch, variant: &str, packages: &[String]) -> Command {
    let mut command = Command::new("mmdebstrap");
    command.args(["--mode=root", "--format=directory"]).arg(format!("--variant={variant}"));
    command.arg(format!("--architectures={}", arch.oci));
    command.arg(format!("--include={}", packages.join(",")));
    command
}

fn finish(mut bootstrap: Command, base: &Path, sources: &str) -> anyhow::Result<()> {
    remove(base)?;
    let list = base.with_extension("list");
    fs::write(&list, sources).with_context(|| list.display().to_string())?;
    command::run(bootstrap.arg(packages::SUITE).arg(base).arg(&list))
}

fn listed(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Our files, units and Gimbal over Debian's.
fn fill(files: &Path, part: &Part) -> anyhow::Result<()> {
    let ours = root().join(FILES).join("root/.");
    command::run(Command::new("cp").arg("--recursive").arg(ours).arg(files))?;
    for folder in [HOME, "opt/ml/model"] {
        fs::create_dir_all(files.join(folder)).context(folder)?;
    }
    let program = files.join(HOME).join("gimbal");
    fs::copy(&part.program, &program).with_context(|| program.display().to_string())?;
    let library = files.join(HOME).join("libonnxruntime.so");
    fs::copy(&part.assets.runtime, &library).with_context(|| library.display().to_string())?;
    check_kernel(&files.join("usr/lib/modules"))?;
    append(&files.join("etc/passwd"), "gimbal:x:10001:10001:Gimbal:/:/usr/sbin/nologin\n")?;
    append(&files.join("etc/group"), "gimbal:x:10001:\n")?;
    // Empty: each boot gets an id of its own, in memory.
    fs::write(files.join("etc/machine-id"), "").context("etc/machine-id")?;
    let units = files.join("etc/systemd/system");
    let started = units.join("multi-user.target.wants");
    let generators = files.join("etc/systemd/system-generators");
    for folder in [&started, &generators] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    for line in listed(UNITS) {
        let (link, target) = match line.split_once(' ') {
            Some(("mask", unit)) => (units.join(unit), PathBuf::from("/dev/null")),
            Some(("without", generator)) => {
                (generators.join(generator), PathBuf::from("/dev/null"))
            }
            Some(("enable", unit)) if units.join(unit).is_file() => {
                (started.join(unit), Path::new("/etc/systemd/system").join(unit))
            }
            Some(("enable", unit)) => {
                (started.join(unit), Path::new("/lib/systemd/system").join(unit))
            }
            _ => bail!(
                "{FILES}/units.txt: {line:?} is no line that begins with enable, mask or without"
            ),
        };
        symlink(target, &link).with_context(|| link.display().to_string())?;
    }
    Ok(())
}

/// The drivers of EC2's disks and network must be there.
fn check_kernel(modules: &Path) -> anyhow::Result<()> {
    let find =
        |name: &str| command::output(Command::new("find").arg(modules).args(["-name", name]));
    ensure!(!find("ena.ko*")?.is_empty(), "the kernel has no driver of EC2's network, ena");
    let list = find("modules.builtin")?;
    let built_in = fs::read_to_string(list.trim()).with_context(|| list.clone())?;
    for module in BUILT_IN {
        let has = built_in.lines().any(|line| line.ends_with(module));
        ensure!(has, "the kernel has no {module} in itself, so it cannot find its root");
    }
    Ok(())
}

fn append(file: &Path, line: &str) -> anyhow::Result<()> {
    let open = OpenOptions::new().append(true).open(file);
    let mut open = open.with_context(|| file.display().to_string())?;
    open.write_all(line.as_bytes()).with_context(|| file.display().to_string())
}

/// Kernel, initrd and command line as one program, taken out of the root.
fn efi_program(arch: &Arch, files: &Path, linux: &Path, home: &Path) -> anyhow::Result<PathBuf> {
    let boot = files.join("boot");
    let found = kernel_in(&boot)?;
    fs::rename(&found, linux).with_context(|| found.display().to_string())?;
    remove(&boot)?;
    fs::create_dir(&boot).with_context(|| boot.display().to_string())?;
    let (program, osrel) = (home.join("boot.efi"), files.join("usr/lib/os-release"));
    let cmdline = root().join(FILES).join(format!("cmdline-{}", arch.oci));
    let mut objcopy = Command::new(arch.objcopy());
    for ((name, at), file) in SECTIONS.iter().zip([&*osrel, &*cmdline, linux]) {
        objcopy.arg(format!("--add-section={name}={}", file.display()));
        objcopy.arg(format!("--change-section-vma={name}={at:#x}"));
    }
    let stub = files.join("usr/lib/systemd/boot/efi").join(format!("linux{}.efi.stub", arch.efi));
    command::run(objcopy.arg(stub).arg(&program))?;
    Ok(program)
}

/// The only kernel in a folder.
pub(super) fn kernel_in(boot: &Path) -> anyhow::Result<PathBuf> {
    let entries = fs::read_dir(boot).with_context(|| boot.display().to_string())?;
    let is_kernel = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let found: Vec<PathBuf> = paths.filter(is_kernel).collect();
    match &found[..] {
        [found] => Ok(found.clone()),
        _ => bail!("{} kernels in {}", found.len(), boot.display()),
    }
}

/// Both partitions as files, and the disk that holds them.
fn partitions(arch: &Arch, files: &Path, program: &Path, home: &Path) -> anyhow::Result<PathBuf> {
    let (esp, system, disk) = (home.join("esp"), home.join("system"), home.join("disk.raw"));
    for file in [&esp, &system, &disk] {
        fs::write(file, "").with_context(|| file.display().to_string())?;
    }
    resize(&esp, ESP_MIB)?;
    command::run(Command::new("mkfs.vfat").args(["-F", "32", "-n", "ESP"]).arg(&esp))?;
    command::run(Command::new("mmd").arg("-i").arg(&esp).args(["::/EFI", "::/EFI/BOOT"]))?;
    let name = format!("::/EFI/BOOT/BOOT{}.EFI", arch.efi.to_uppercase());
    command::run(Command::new("mcopy").arg("-i").arg(&esp).arg(program).arg(name))?;
    let used = command::output(Command::new("du").args(["-s", "-m"]).arg(files))?;
    let used: u64 = used.split_whitespace().next().context("du")?.parse().context("du")?;
    let mib = used + used / 10 + SPARE_MIB;
    resize(&system, mib)?;
    filesystem(&system, "gimbal-root", files)?;
    // A MiB before the partitions, and one behind them for the table's copy.
    resize(&disk, 1 + ESP_MIB + mib + 1)?;
    let [whole, first, second] = IDS;
    let table = format!(
        "label: gpt\nlabel-id: {whole}\n\
         start=1MiB, size={ESP_MIB}MiB, type=uefi, name=esp, uuid={first}\n\
         start={}MiB, size={mib}MiB, type=linux, name=root, uuid={second}\n",
        1 + ESP_MIB
    );
    let script = home.join("table");
    fs::write(&script, table).with_context(|| script.display().to_string())?;
    let input = fs::File::open(&script).with_context(|| script.display().to_string())?;
    command::run(Command::new("sfdisk").arg("--quiet").arg(&disk).stdin(input))?;
    for (part, at) in [(&esp, 1), (&system, 1 + ESP_MIB)] {
        let mut dd = Command::new("dd");
        dd.arg(format!("if={}", part.display())).arg(format!("of={}", disk.display()));
        dd.args(["bs=1M", "conv=notrunc,sparse", "status=none"]).arg(format!("seek={at}"));
        command::run(&mut dd)?;
        fs::remove_file(part).with_context(|| part.display().to_string())?;
    }
    Ok(disk)
}

/// A file system of a folder's files in a file of its size.
pub(super) fn filesystem(file: &Path, label: &str, files: &Path) -> anyhow::Result<()> {
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-F", "-t", "ext4", "-m", "0", "-L", label, "-d"]).arg(files);
    command::run(make.arg(file))
}

/// Gives a file so many MiB.
pub(super) fn resize(file: &Path, mib: u64) -> anyhow::Result<()> {
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(file);
    let open = open.with_context(|| file.display().to_string())?;
    open.set_len(mib << 20).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CMDLINES: [(&str, &str); 2] = [
        ("amd64", include_str!("../../../../images/ami/cmdline-amd64")),
        ("arm64", include_str!("../../../../images/ami/cmdline-arm64")),
    ];

    #[test]
    fn what_is_listed_can_be_read() {
        let words = ["enable", "mask", "without"];
        let is_known = |line: &str| words.contains(&line.split(' ').next().unwrap_or_default());
        assert!(listed(UNITS).all(is_known));
        assert!(listed(UNITS).any(|line| line == "enable gimbal.service"));
        assert!(listed(PACKAGES).any(|line| line == "linux-image-cloud-ARCH"));
        for (arch, line) in CMDLINES {
            assert!(
                line.contains(&format!("root=PARTUUID={} rootwait ro ", IDS[2])),
                "{arch}: {line}"
            );
        }
    }

    /// A machine whose model is broken must tell so, and nobody must be able to log in.
    #[test]
    fn the_unit_stays_and_is_sandboxed() {
        let unit = root().join(FILES).join("root/etc/systemd/system/gimbal.service");
        let unit = fs::read_to_string(unit).expect("the unit");
        let lines: Vec<&str> = unit.lines().collect();
        for line in [
            "Environment=GIMBAL_ON_BOOT_FAILURE=stay",
            "StandardError=journal+console",
            "User=gimbal",
            "CapabilityBoundingSet=",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "TimeoutStopSec=30",
        ] {
            assert!(lines.contains(&line), "{line}");
        }
        for getty in ["getty.target", "getty@.service", "serial-getty@.service"] {
            assert!(listed(UNITS).any(|line| line == format!("mask {getty}")), "{getty}");
        }
    }
}
