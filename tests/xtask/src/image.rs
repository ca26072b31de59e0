//! `cargo xtask image`: what machines boot Gimbal from.
//!
//! `container` writes an OCI image layout without an engine, a daemon or, once its inputs are in the
//! cache, a network; the same commit gives the same digest. Its definition is `images/container`.
//! Reading order: `packages` (what is taken of Debian), `tree` (a root folder as data), `root` (what is
//! in it), `layout`, `statement` (materials and provenance), `check` with `inside` and `pace`; alone,
//! `kubernetes` (manifests). `disk` writes a raw disk of `images/ami`, `boot` boots it on a
//! `machine`, beside an `initramfs`.

mod boot;
mod check;
mod disk;
mod initramfs;
mod inside;
pub(crate) mod kubernetes;
mod layout;
mod machine;
mod pace;
mod packages;
mod root;
mod statement;
mod tree;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use self::layout::Layout;
use self::statement::Made;
use self::tree::Tree;
use crate::assets::Assets;
use crate::{arm64, assets, command, dist, serve};

/// A processor that images are for.
#[derive(Debug)]
struct Arch {
    /// Its name in OCI, and in Debian.
    oci: &'static str,
    /// Its name in Rust.
    rust: &'static str,
    /// Its name in UEFI.
    efi: &'static str,
    /// Where programs look for their loader.
    loader: &'static str,
}

const ARCHES: [Arch; 2] = [
    Arch { oci: "amd64", rust: "x86_64", efi: "x64", loader: "usr/lib64/ld-linux-x86-64.so.2" },
    Arch { oci: "arm64", rust: "aarch64", efi: "aa64", loader: "usr/lib/ld-linux-aarch64.so.1" },
];
/// The newest minor version of glibc 2 that a program may ask for: that of `packages.txt`.
const GLIBC_MAX: u32 = 36;

/// What is built of.
struct Commit {
    id: String,
    /// When it was made, in UTC.
    time: String,
}

/// A layout and where it is.
struct Built {
    layout: PathBuf,
    version: String,
    digest: String,
}

/// Runs the command: `container|check|disk [--arch amd64|arm64]`, or `kubernetes`.
#[expect(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    if arguments == ["kubernetes"] {
        return kubernetes::check();
    }
    let (what, arches) = parse(arguments)?;
    match what {
        "container" => {
            let built = container(&arches)?;
            println!("{}\n{}", built.layout.display(), built.digest);
            Ok(())
        }
        "disk" => {
            for arch in arches {
                println!("{}", disk::make(arch, false)?.raw.display());
            }
            Ok(())
        }
        "check" => check::run(&arches),
        other => bail!("it is `cargo xtask {other}`"),
    }
}

/// Runs `cargo xtask boot-test [--arch amd64|arm64]`.
pub(crate) fn boot(arguments: &[String]) -> anyhow::Result<()> {
    let arguments = [&["boot-test".to_owned()], arguments].concat();
    parse(&arguments)?.1.into_iter().try_for_each(boot::run)
}

fn parse(arguments: &[String]) -> anyhow::Result<(&str, Vec<&'static Arch>)> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (what, flags) = match words[..] {
        [what @ ("container" | "check" | "disk" | "boot-test"), ref flags @ ..] => (what, flags),
        _ => bail!("image takes container, check, disk or kubernetes, not {:?}", words.join(" ")),
    };
    let arches = match *flags {
        // What runs here is what can be checked, and installed.
        [] if what != "container" => ARCHES.iter().filter(|arch| arch.is_here()).collect(),
        [] => ARCHES.iter().collect(),
        ["--arch", name] => {
            let arch = ARCHES.iter().find(|arch| arch.oci == name);
            vec![arch.with_context(|| format!("--arch takes amd64 or arm64, not {name}"))?]
        }
        _ => bail!("{what} takes --arch amd64 or --arch arm64, not {}", flags.join(" ")),
    };
    Ok((what, arches))
}

/// Builds the programs and writes the layout of their images.
fn container(arches: &[&'static Arch]) -> anyhow::Result<Built> {
    let parts = arches.iter().map(|arch| Part::make(arch)).collect::<anyhow::Result<Vec<_>>>()?;
    assemble(&parts, &home(arches))
}

/// Where the images of these processors are written.
fn home(arches: &[&'static Arch]) -> PathBuf {
    let name = match arches {
        [arch] => format!("container-{}", arch.oci),
        _ => "container".to_owned(),
    };
    serve::built("release", "image").join(name)
}

/// What one image is made of.
struct Part {
    arch: &'static Arch,
    assets: Assets,
    program: PathBuf,
}

impl Part {
    fn make(arch: &'static Arch) -> anyhow::Result<Self> {
        let assets = assets::fetch_for(arch.rust)?;
        let binary = match arch.rust {
            "aarch64" if !arch.is_here() => arm64::program()?,
            _ if arch.is_here() => serve::build()?,
            other => bail!("a program for {other} can be built on {other} only; set --arch"),
        };
        let minor = arm64::libc_of(&binary, arch.rust)?;
        ensure!(
            minor <= GLIBC_MAX,
            "the program needs glibc 2.{minor}, the image has 2.{GLIBC_MAX}: build on an older \
             system, or pin a newer libc6 in images/container/packages.txt"
        );
        let program = dist::make_without_library(&binary, &assets)?;
        Ok(Self { arch, assets, program })
    }

    fn trees(&self) -> anyhow::Result<([Tree; 2], Vec<packages::Package>)> {
        let archives = packages::fetch(self.arch)?;
        let system = root::system(self.arch, &archives)?;
        root::check(self.arch, &system, &[&self.program, &self.assets.runtime])?;
        let program = root::program(&self.program, &self.assets.runtime)?;
        let packages = archives.into_iter().map(|archive| archive.package).collect();
        Ok(([system, program], packages))
    }
}

/// Writes the layout and what lies beside it into a folder.
fn assemble(parts: &[Part], home: &Path) -> anyhow::Result<Built> {
    let (version, commit) = (dist::version()?, Commit::read()?);
    let layout = home.join("layout");
    let mut images = Layout::new(&layout, &version, commit)?;
    let mut made = Vec::new();
    for part in parts {
        let (trees, packages) = part.trees()?;
        let [system, program] = [trees[0].archive()?, trees[1].archive()?];
        let layers = [("packages of Debian", &system[..]), ("gimbal", &program[..])];
        let digest = images.add(part.arch, &layers)?;
        made.push(Made { arch: part.arch, digest, packages, library: &part.assets.runtime });
    }
    let digest = images.finish()?;
    for image in &made {
        let bill = statement::bill(image, &version)?;
        write(home, &format!("sbom-{}.json", image.arch.oci), &bill)?;
    }
    let provenance = statement::provenance(&digest, &made, &Commit::read()?)?;
    write(home, "provenance.json", &provenance)?;
    Ok(Built { layout, version, digest })
}

fn write(home: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = home.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())
}

impl Arch {
    fn is_here(&self) -> bool {
        self.rust == std::env::consts::ARCH
    }

    /// The program of binutils for its files.
    fn objcopy(&self) -> String {
        match self.is_here() {
            true => "objcopy".to_owned(),
            false => format!("{}-linux-gnu-objcopy", self.rust),
        }
    }

    fn loader_name(&self) -> &str {
        self.loader.rsplit('/').next().unwrap_or(self.loader)
    }
}

impl Commit {
    /// The one that is checked out; changes that are not committed are told.
    fn read() -> anyhow::Result<Self> {
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(crate::root()).env("TZ", "UTC").args(arguments);
            anyhow::Ok(command::output(&mut git)?.trim().to_owned())
        };
        let mut id = git(&["rev-parse", "HEAD"])?;
        if !git(&["status", "--porcelain"])?.is_empty() {
            id.push_str("-changed");
        }
        let date = "--date=format-local:%Y-%m-%dT%H:%M:%SZ";
        let time = git(&["log", "--max-count=1", date, "--format=%cd"])?;
        Ok(Self { id, time })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String grows");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Option<Vec<&'static str>> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (_, arches) = parse(&words).ok()?;
        Some(arches.iter().map(|arch| arch.oci).collect())
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert_eq!(names(&["container"]), Some(vec!["amd64", "arm64"]));
        assert_eq!(names(&["container", "--arch", "arm64"]), Some(vec!["arm64"]));
        for words in [
            &[][..],
            &["tape"],
            &["container", "--arch"],
            &["container", "--arch", "x86_64"],
            &["check", "now"],
        ] {
            assert_eq!(names(words), None, "{words:?}");
        }
    }

    #[test]
    fn digests_are_written_as_hex() {
        assert_eq!(hex(&[0, 0xab, 0x0f]), "00ab0f");
    }
}
