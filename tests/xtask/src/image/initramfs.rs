//! The program as a machine's init, in memory with its model: what a boot from a disk is compared with, and how
//! other kernels are tried.
//!
//! The root of the container image, modules of a network card, and busybox, which prepares what init is
//! given by nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::Part;
use crate::{apt, command};

/// Debian's packages: the tool that packs it, and the one that is in it.
const PACKAGES: [&str; 2] = ["cpio", "busybox-static"];
const BUSYBOX: &str = "bin/busybox";
/// Modules of the card that is emulated, below a kernel's folder, in the order in which they are loaded. Some kernels
/// have some in themselves.
const MODULES: [&str; 8] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
];
/// The address is that of qemu's own network.
const INIT: &str = r#"#!/busybox sh
/busybox mount -t proc proc /proc
/busybox mount -t sysfs sys /sys
/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /busybox insmod "$module"; done
until [ -e /sys/class/net/eth0 ]; do /busybox usleep 10000; done
/busybox ip link set eth0 up
/busybox ip address add 10.0.2.15/24 dev eth0
export GIMBAL_HOST=0.0.0.0 GIMBAL_LOG_FORMAT=json XDG_CACHE_HOME=/var/cache
PROBE
exec /gimbal serve --model /model.gguf
"#;

/// Makes it of an image's parts, and of a kernel's modules below `base`. With `is_told` the console first tells what
/// the program finds of the machine.
pub(super) fn make(
    part: &Part,
    base: &Path,
    is_told: bool,
    home: &Path,
) -> anyhow::Result<PathBuf> {
    let of_base = base.join(BUSYBOX);
    let own = Path::new("/").join(BUSYBOX);
    let busybox = if of_base.is_file() { of_base } else { own };
    if !command::succeeds("cpio", &["--version"]) || !busybox.is_file() {
        apt::install(&PACKAGES).context("an initramfs")?;
    }
    let (files, packed) = (home.join("initramfs"), home.join("initramfs.cpio"));
    fs::create_dir_all(&files).with_context(|| files.display().to_string())?;
    for tree in part.trees()?.0 {
        let archive = tree.archive()?;
        tar::Archive::new(&archive[..]).unpack(&files).context("the image's root")?;
    }
    let put = |from: &Path, to: &str| {
        let to = files.join(to);
        fs::copy(from, &to).with_context(|| to.display().to_string())
    };
    put(&busybox, "busybox")?;
    put(&part.assets.model, "model.gguf")?;
    modules(base, &files.join("modules"))?;
    let init = files.join("init");
    let probe = if is_told { "/gimbal probe --json" } else { "" };
    fs::write(&init, INIT.replace("PROBE", probe)).with_context(|| init.display().to_string())?;
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

/// Copies them by numbers; newer kernels' are compressed.
fn modules(base: &Path, into: &Path) -> anyhow::Result<()> {
    let all = base.join("lib/modules");
    let kernel = fs::read_dir(&all).with_context(|| all.display().to_string())?;
    let kernel = kernel.into_iter().next().context("a kernel's modules")??.path().join("kernel");
    fs::create_dir_all(into).with_context(|| into.display().to_string())?;
    for (i, module) in MODULES.iter().enumerate() {
        let to = into.join(i.to_string());
        let compressed = kernel.join(format!("{module}.xz"));
        if compressed.is_file() {
            let output = fs::File::create(&to).with_context(|| to.display().to_string())?;
            let mut xz = Command::new("xz");
            command::run(xz.args(["--decompress", "--stdout"]).arg(&compressed).stdout(output))?;
        } else if kernel.join(module).is_file() {
            fs::copy(kernel.join(module), &to).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}
