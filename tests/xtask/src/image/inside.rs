//! An unpacked image as an engine starts it: in namespaces of its own, the root read-only, a user
//! whom nobody knows, no capabilities.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;

/// A user of no image, as some clusters give every pod one.
pub(super) const USER: u32 = 99999;
/// Where SageMaker puts a model.
const MODEL: &str = "opt/ml/model";

/// Root of a mount namespace until its end. $1 mounts, $2 root, $3 user. One `mount` for all: each more would
/// count as the container's time.
const SCRIPT: &str = r#"set -e
mount --all --fstab "$1"
root=$2 user=$3
shift 3
exec unshare --root "$root" --wd / --setgid "$user" --setuid "$user" -- "$@"
"#;

/// An unpacked image, and what it says of its process.
pub(super) struct Inside {
    root: PathBuf,
    process: Value,
    /// Words before the program's own: an emulator.
    before: Vec<String>,
}

impl Inside {
    /// Of what `umoci unpack` made.
    pub(super) fn new(bundle: &Path) -> anyhow::Result<Self> {
        let path = bundle.join("config.json");
        let config = fs::read(&path).with_context(|| path.display().to_string())?;
        let config: Value = serde_json::from_slice(&config).context("config.json")?;
        let root = bundle.join("rootfs");
        // An engine makes what it mounts on.
        let model = root.join(MODEL);
        fs::create_dir_all(&model).with_context(|| model.display().to_string())?;
        Ok(Self { root, process: config["process"].clone(), before: Vec::new() })
    }

    /// Runs it on an emulated processor, by a static program of this machine.
    pub(super) fn emulated(&mut self, emulator: &Path, words: &[&str]) -> anyhow::Result<()> {
        let copy = self.root.join("emulator");
        fs::copy(emulator, &copy).with_context(|| emulator.display().to_string())?;
        let words = words.iter().map(|word| (*word).to_owned());
        self.before = std::iter::once("/emulator".to_owned()).chain(words).collect();
        Ok(())
    }

    /// What an engine starts, with more variables; a cache is a folder over `/var/cache`.
    pub(super) fn command(
        &self,
        model: &Path,
        cache: Option<&Path>,
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Command> {
        let mounts = self.mounts(model, cache)?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--"]);
        command.args(["/bin/sh", "-c", SCRIPT, "sh"]).arg(mounts).arg(&self.root);
        command.arg(USER.to_string()).args(&self.before).args(self.words("args")?);
        command.env_clear();
        for variable in self.words("env")? {
            let (name, value) = variable.split_once('=').context("a variable")?;
            command.env(name, value);
        }
        command.envs(variables.iter().copied());
        Ok(command)
    }

    /// What is mounted, as a file for `mount`: the root over itself, then all else over that.
    fn mounts(&self, model: &Path, cache: Option<&Path>) -> anyhow::Result<PathBuf> {
        let model = model.parent().context("a model in a folder")?;
        let mut mounts = vec![
            (self.root.as_path(), "", "none bind,ro"),
            (model, MODEL, "none bind,ro"),
            (Path::new("proc"), "proc", "proc defaults"),
            (Path::new("/sys"), "sys", "none rbind"),
            (Path::new("/dev"), "dev", "none rbind"),
        ];
        mounts.extend(cache.map(|cache| (cache, "var/cache", "none bind")));
        let mut lines = String::new();
        for (source, target, how) in mounts {
            let target = field(&self.root.join(target))?;
            writeln!(lines, "{} {target} {how} 0 0", field(source)?)?;
        }
        let name = if cache.is_some() { "mounts-with-cache" } else { "mounts" };
        let path = self.root.with_file_name(name);
        fs::write(&path, lines).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// Its program, for this machine.
    pub(super) fn program(&self) -> PathBuf {
        self.root.join("gimbal")
    }

    /// A list of words of the process.
    pub(super) fn words(&self, key: &str) -> anyhow::Result<Vec<&str>> {
        let words = self.process[key].as_array().with_context(|| format!("process.{key}"))?;
        words.iter().map(|word| word.as_str().context("a word")).collect()
    }

    /// The image's own user.
    pub(super) fn user(&self) -> &Value {
        &self.process["user"]
    }
}

/// A path as a file of mounts has it.
fn field(path: &Path) -> anyhow::Result<String> {
    let path = path.to_str().context("a path is not UTF-8")?;
    Ok(path.trim_end_matches('/').replace('\\', "\\134").replace(' ', "\\040"))
}

/// The process inside, by the one that was started; it must be whom it shall be.
pub(super) fn process(outside: u32) -> anyhow::Result<u32> {
    let path = format!("/proc/{outside}/task/{outside}/children");
    let children = fs::read_to_string(&path).with_context(|| path.clone())?;
    let inside: u32 = children.trim().parse().with_context(|| format!("{path}: {children:?}"))?;
    let status = fs::read_to_string(format!("/proc/{inside}/status")).context("its status")?;
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>()).unwrap_or_default()
    };
    let user = USER.to_string();
    for key in ["Uid:", "Gid:"] {
        ensure!(value(key) == [&*user; 4], "{key} {:?}, not {user}", value(key));
    }
    ensure!(value("Groups:").is_empty(), "it is in groups: {:?}", value("Groups:"));
    for key in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        ensure!(value(key) == ["0000000000000000"], "{key} {:?}", value(key));
    }
    Ok(inside)
}
