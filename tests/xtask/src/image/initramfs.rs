//! The same program as a machine's init, in memory with its model: what a boot from a disk is compared with.
//!
//! The root of the container image, modules of a network card, and busybox, which prepares what init is
//! given by nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::disk::Disk;
use crate::{apt, command};

/// Debian's packages: the tool that packs it, and the one that is in it.
const PACKAGES: [&str; 2] = ["cpio", "busybox-static"];
const BUSYBOX: &str = "/bin/busybox";
/// Modules of a machine's card that is emulated, below a kernel's folder; the lists `modules.*` as well.
const MODULES: [&str; 4] = [
    "kernel/drivers/virtio",
    "kernel/drivers/net/virtio_net.ko",
    "kernel/drivers/net/net_failover.ko",
    "kernel/net/core/failover.ko",
];
/// The address is that of qemu's own network.
const INIT: &str = r#"#!/busybox sh
/busybox mount -t proc proc /proc
/busybox mount -t sysfs sys /sys
/busybox mount -t devtmpfs dev /dev
/busybox modprobe virtio_pci
/busybox modprobe virtio_net
until [ -e /sys/class/net/eth0 ]; do /busybox usleep 10000; done
/busybox ip link set eth0 up
/busybox ip address add 10.0.2.15/24 dev eth0
export GIMBAL_HOST=0.0.0.0 GIMBAL_LOG_FORMAT=json XDG_CACHE_HOME=/var/cache
exec /gimbal serve --model /model.gguf
"#;

/// Makes it of a disk's parts.
pub(super) fn make(disk: &Disk, home: &Path) -> anyhow::Result<PathBuf> {
    if !command::succeeds("cpio", &["--version"]) || !Path::new(BUSYBOX).is_file() {
        apt::install(&PACKAGES).context("an initramfs")?;
    }
    let (files, packed) = (home.join("initramfs"), home.join("initramfs.cpio"));
    fs::create_dir_all(&files).with_context(|| files.display().to_string())?;
    for tree in disk.part.trees()?.0 {
        let archive = tree.archive()?;
        tar::Archive::new(&archive[..]).unpack(&files).context("the image's root")?;
    }
    let put = |from: &Path, to: &str| {
        let to = files.join(to);
        fs::copy(from, &to).with_context(|| to.display().to_string())
    };
    put(Path::new(BUSYBOX), "busybox")?;
    put(&disk.part.assets.model, "model.gguf")?;
    modules(&disk.base, &files)?;
    let init = files.join("init");
    fs::write(&init, INIT).with_context(|| init.display().to_string())?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).context("init")?;
    let mut names = Command::new("find");
    let mut names = names.current_dir(&files).arg(".").stdout(Stdio::piped()).spawn()?;
    let output = fs::File::create(&packed).with_context(|| packed.display().to_string())?;
    let mut cpio = Command::new("cpio");
    cpio.current_dir(&files).args(["--create", "--format=newc", "--owner=0:0", "--quiet"]);
    command::run(cpio.stdin(names.stdout.take().context("names")?).stdout(output))?;
    ensure!(names.wait()?.success(), "find");
    fs::remove_dir_all(&files).with_context(|| files.display().to_string())?;
    Ok(packed)
}

fn modules(base: &Path, files: &Path) -> anyhow::Result<()> {
    let all = base.join("usr/lib/modules");
    let kernel = fs::read_dir(&all)?.next().context("a kernel's modules")??.path();
    let into = files.join("usr/lib/modules").join(kernel.file_name().context("a name")?);
    fs::create_dir_all(&into).with_context(|| into.display().to_string())?;
    let mut copy = Command::new("cp");
    copy.current_dir(&kernel).args(["--recursive", "--parents"]).args(MODULES);
    command::run(copy.args(["modules.dep", "modules.builtin", "modules.alias"]).arg(into))
}
