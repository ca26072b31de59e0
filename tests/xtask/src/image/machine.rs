//! An emulated machine: UEFI, NVMe disks, a network of its own with one port forwarded, a serial console
//! that is read and kept, and the power button.
//!
//! No virtualisation by hardware: what a machine of CI has. So times compare only with each other.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use super::Arch;
use crate::served::Served;
use crate::{apt, command};

/// A processor's machine.
struct Model {
    oci: &'static str,
    qemu: &'static str,
    /// Its flags: no virtualisation by hardware, a processor that EC2 could have.
    flags: &'static [&'static str],
    /// Debian's firmware, and where it keeps variables.
    firmware: [&'static str; 2],
    packages: [&'static str; 2],
    /// What Linux calls the serial console.
    console: &'static str,
}

const MODELS: [Model; 2] = [
    Model {
        oci: "amd64",
        qemu: "qemu-system-x86_64",
        flags: &["-accel", "tcg", "-cpu", "max"],
        firmware: ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"],
        packages: ["qemu-system-x86", "ovmf"],
        console: "ttyS0,115200n8",
    },
    Model {
        oci: "arm64",
        qemu: "qemu-system-aarch64",
        flags: &["-machine", "virt", "-accel", "tcg", "-cpu", "neoverse-n1"],
        firmware: ["/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"],
        packages: ["qemu-system-arm", "qemu-efi-aarch64"],
        console: "ttyAMA0",
    },
];
/// Between two lines of the console, or until the machine is off.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// After this Gimbal says no more until it is told to end.
pub(super) const FAILED: &str = "the boot failed";

/// A line of the console, and when it came.
pub(super) struct Line {
    pub(super) at: Duration,
    pub(super) text: String,
}

/// What it boots from.
pub(super) enum Source<'a> {
    /// Disks by its firmware, in order.
    Disks(&'a [&'a Path]),
    /// A kernel and a root in memory, without its firmware.
    Memory { kernel: &'a Path, initramfs: &'a Path },
}

/// The machine; it is off at the end.
pub(super) struct Machine {
    served: Served,
    console: Receiver<Line>,
    button: PathBuf,
}

impl Machine {
    /// Switches it on; the console is also written to a file.
    pub(super) fn start(
        arch: &Arch,
        source: &Source<'_>,
        work: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let model = MODELS.iter().find(|model| model.oci == arch.oci).context(arch.oci)?;
        let [code, variables] = model.firmware;
        if !command::succeeds(model.qemu, &["--version"]) || !Path::new(code).is_file() {
            apt::install(&model.packages).context("an emulated machine")?;
        }
        let address = free()?;
        let button = work.join("button");
        let mut qemu = Command::new(model.qemu);
        qemu.args(model.flags).args(["-smp", "2", "-m", "2048", "-nodefaults"]);
        qemu.args(["-display", "none", "-serial", "stdio", "-no-reboot"]);
        match source {
            Source::Disks(disks) => {
                let own = work.join("variables");
                fs::copy(variables, &own).context(variables)?;
                let code = format!("if=pflash,format=raw,readonly=on,file={code}");
                let own = format!("if=pflash,format=raw,file={}", own.display());
                qemu.args(["-drive", &code, "-drive", &own]);
                for (i, disk) in disks.iter().enumerate() {
                    // What the machine writes is gone with it.
                    let drive = format!("if=none,id=disk{i},format=raw,snapshot=on");
                    let drive = format!("{drive},file={}", disk.display());
                    let device = format!("nvme,drive=disk{i},serial=disk{i}");
                    qemu.args(["-drive", &drive, "-device", &device]);
                }
            }
            Source::Memory { kernel, initramfs } => {
                qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
                qemu.args(["-append", &format!("console={} panic=10", model.console)]);
            }
        }
        let net = format!("user,id=net,hostfwd=tcp:{address}-:8080");
        qemu.args(["-netdev", &net, "-device", "virtio-net-pci,netdev=net", "-qmp"]);
        qemu.arg(format!("unix:{},server=on,wait=off", button.display()));
        let started = Instant::now();
        let mut process = qemu
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", model.qemu))?;
        let output = process.stdout.take().context("its console is a pipe")?;
        let mut kept = fs::File::create(log).with_context(|| log.display().to_string())?;
        let (lines, console) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                let at = started.elapsed();
                // A log that cannot be written is missed by whoever looks for it.
                writeln!(kept, "{:7.2} {text}", at.as_secs_f64()).ok();
                if lines.send(Line { at, text }).is_err() {
                    break;
                }
            }
        });
        Ok(Self { served: Served { process, address }, console, button })
    }

    /// The next line of the console that has all of these words.
    pub(super) fn wait_for(&mut self, words: &[&str]) -> anyhow::Result<Line> {
        let mut last = String::new();
        loop {
            match self.console.recv_timeout(SILENCE_MAX) {
                Ok(line) if words.iter().all(|word| line.text.contains(word)) => return Ok(line),
                Ok(line) if line.text.contains(FAILED) => bail!("no {words:?}: {}", line.text),
                Ok(line) => last = line.text,
                Err(RecvTimeoutError::Timeout) => {
                    bail!("no {words:?} on the console, which is silent after {last:?}")
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the machine went off without {words:?}, after {last:?}")
                }
            }
        }
    }

    /// Whoever serves on its port.
    pub(super) fn served(&self) -> &Served {
        &self.served
    }

    /// Presses the power button; the system must go down well, and the machine be off.
    pub(super) fn power_off(mut self) -> anyhow::Result<()> {
        let mut button = UnixStream::connect(&self.button).context("the machine's monitor")?;
        for command in ["qmp_capabilities", "system_powerdown"] {
            writeln!(button, r#"{{"execute":"{command}"}}"#).context("the machine's monitor")?;
        }
        self.wait_for(&["reboot: Power down"])?;
        let status = self.off()?;
        ensure!(status.success(), "the machine ended with {status}");
        Ok(())
    }

    fn off(&mut self) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < SILENCE_MAX {
            if let Some(status) = self.served.process.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("the machine is not off {SILENCE_MAX:?} after it said so")
    }
}

/// A port that nobody has.
fn free() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a free port")?;
    Ok(listener.local_addr()?)
}
