//! `gimbal compile`, with a fake neuronx-cc (`tests/emulators/libnrt`): what it makes, keeps and refuses. And `gimbal
//! selftest --neuron`, with the emulated runtime beside it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use anyhow::{Context, ensure};
use gimbal_conformance::model_path;
use gimbal_conformance::server::binary_path;
// Named so that cargo builds the library.
use gimbal_libnrt as _;
use serde_json::Value;

/// A tiny model.
const FAMILY: &str = "../golden/families/llama-64.gguf";
/// Five programs of it.
const SMALL: &[&str] =
    &["--target", "inf2", "--max-rolling-batch-size", "3", "--max-model-len", "64"];

/// A folder with a model, and another for caches; both are gone with the test.
struct Place {
    folder: PathBuf,
    model: PathBuf,
}

impl Place {
    fn new(name: &str) -> anyhow::Result<Self> {
        let folder = env::temp_dir().join(format!("gimbal-compile-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let model = folder.join("tiny.gguf");
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(FAMILY), &model)?;
        Ok(Self { folder, model })
    }

    /// `gimbal compile ARGUMENTS MODEL` without any compiler.
    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary_path().context("GIMBAL_TEST_BINARY is not set")?);
        command.arg("compile").args(arguments).arg(&self.model);
        // A machine of the tests may have the real one.
        command.env("PATH", &self.folder).env("XDG_CACHE_HOME", self.folder.join("cache"));
        Ok(command)
    }

    /// The same with the fake compiler.
    fn compile(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(arguments)?.arg("--neuronx-cc").arg(built("../neuronx-cc")?).output()?)
    }

    /// `gimbal selftest --neuron ARGUMENTS` on a machine of a script.
    fn selftest(&self, script: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let file = self.folder.join("script.toml");
        fs::write(&file, script)?;
        let mut command = Command::new(binary_path().context("GIMBAL_TEST_BINARY is not set")?);
        command.args(["selftest", "--neuron"]).args(arguments);
        command.arg("--libnrt").arg(built("libgimbal_libnrt.so")?);
        command.arg("--neuronx-cc").arg(built("../neuronx-cc")?);
        command.env("GIMBAL_TEST_NRT", &file).env("XDG_CACHE_HOME", self.folder.join("cache"));
        Ok(command.output()?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// What cargo built beside this test.
fn built(name: &str) -> anyhow::Result<PathBuf> {
    let tests = env::current_exe()?;
    let path = tests.parent().context("a folder")?.join(name);
    ensure!(path.is_file(), "{} is not built: -p gimbal-libnrt", path.display());
    Ok(path)
}

/// What it says on stdout and on stderr.
fn told(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_model_becomes_a_bundle_beside_it_and_nothing_is_compiled_twice() -> anyhow::Result<()> {
    if binary_path().is_none() {
        return Ok(());
    }
    let place = Place::new("bundle")?;
    let output = place.compile(SMALL)?;
    let (out, told_first) = told(&output);
    ensure!(output.status.success(), "{told_first}");
    let bundle = place.folder.join("tiny.gguf.neuron");
    ensure!(out.contains(&format!("{}  ", bundle.display())), "{out}");
    ensure!(out.contains("5 programs for inf2, ranks = 1"), "{out}");
    let serve = format!("serve it there: gimbal serve {}", place.model.display());
    ensure!(out.contains(&serve), "{out}");
    for line in [
        "planned: ranks = 1: one core holds the model",
        "planned: a core of inf2 has 17179869184 bytes, of which 15461882265 may be taken",
        "planned: KV cache = 192 tokens",
        ": all sequences at full length",
        "planned: jobs = ",
        "neuronx-cc 2.28.7631.0+FAKE, 5 programs",
        "1x64x64: compiled in ",
        "3x1x64: compiled in ",
        "weights of rank 0: ",
    ] {
        ensure!(told_first.contains(line), "no {line:?} in {told_first}");
    }
    ensure!(bundle.join("manifest.json").is_file(), "no manifest");
    // The same again elsewhere: every program is there already.
    let other = place.folder.join("other");
    let flags: Vec<&str> =
        SMALL.iter().copied().chain(["--json", "-o"]).chain(other.to_str()).collect();
    let output = place.compile(&flags)?;
    let (out, told_again) = told(&output);
    ensure!(output.status.success(), "{told_again}");
    ensure!(told_again.matches("was kept from an earlier run").count() == 5, "{told_again}");
    let json: Value = serde_json::from_str(&out)?;
    ensure!(json["bundle"] == other.to_str().context("a plain path")?, "{json}");
    ensure!(
        json["buckets"] == serde_json::json!(["1x1x64", "1x32x64", "1x64x64", "2x1x64", "3x1x64"]),
        "{json}"
    );
    ensure!(json["kv_tokens"] == 192 && json["ranks"] == 1 && json["target"] == "inf2", "{json}");
    let docs = include_str!("../../../appliance/gimbal/docs/json.md");
    for key in json.as_object().context("an object")?.keys() {
        ensure!(docs.contains(&format!("`{key}`")), "{key} is not written down");
    }
    let of = |folder: &Path| fs::read(folder.join("manifest.json"));
    ensure!(of(&bundle)? == of(&other)?, "the same bundle twice");
    Ok(())
}

#[test]
fn modules_are_written_without_a_compiler() -> anyhow::Result<()> {
    if binary_path().is_none() {
        return Ok(());
    }
    let place = Place::new("emit")?;
    let folder = place.folder.join("modules");
    let folder = folder.to_str().context("a plain path")?;
    let arguments =
        ["--target", "trn1", "--tp", "2", "--buckets", "2x1x32,1x16x64", "--emit-hlo", folder];
    let output = place.command(&arguments)?.output()?;
    let (out, err) = told(&output);
    ensure!(output.status.success(), "{err}");
    let expect = format!("{folder}/1x16x64.hlo.pb\n{folder}/2x1x32.hlo.pb\n");
    ensure!(out == expect && err.contains("ranks = 2: as asked"), "{out}{err}");
    ensure!(!place.folder.join("tiny.gguf.neuron").exists(), "no bundle was asked for");
    Ok(())
}

/// Trainium2 has logical cores of two, unless they are of one.
#[test]
fn trainium2_is_compiled_for_either_division_of_cores() -> anyhow::Result<()> {
    if binary_path().is_none() {
        return Ok(());
    }
    let place = Place::new("trn2")?;
    for (lnc, bytes) in [(None, 24_u64 << 30), (Some("1"), 12 << 30)] {
        let other = place.folder.join(lnc.unwrap_or("none"));
        let other = other.to_str().context("a plain path")?;
        let mut arguments = vec!["--target", "trn2", "--buckets", "2x1x64", "-o", other];
        arguments.extend(lnc.iter().flat_map(|lnc| ["--lnc", lnc]));
        let (_, err) = told(&place.compile(&arguments)?);
        ensure!(err.contains(&format!("a core of trn2 has {bytes} bytes")), "{err}");
        let manifest = fs::read_to_string(Path::new(other).join("manifest.json"))?;
        let manifest: Value = serde_json::from_str(&manifest)?;
        ensure!(manifest["lnc"] == lnc.map_or(2, |_| 1), "{manifest}");
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_told_with_what_would_do() -> anyhow::Result<()> {
    if binary_path().is_none() {
        return Ok(());
    }
    let place = Place::new("wrong")?;
    let there = place.folder.join("there");
    fs::create_dir(&there)?;
    let there = there.to_str().context("a plain path")?;
    for (arguments, code, expect) in [
        (&["--target", "inf3"][..], 64, "no chip that is known: inf2, trn1 or trn2"),
        (&["--target", "inf1"], 64, "no longer supported by the Neuron SDK"),
        (&["--target", "trn3"], 64, "were not looked at yet"),
        (&[], 64, "--target <CHIP>"),
        (&["--target", "inf2", "--tp", "0"], 64, "--tp"),
        (&["--target", "inf2", "--tp", "3"], 65, "do not divide among 3"),
        (&["--target", "inf2", "--tp", "2", "--tensor-parallel-degree", "4"], 64, "--tp 2 and"),
        (&["--target", "inf2", "--lnc", "2"], 64, "--lnc 2: inf2 has logical cores of 1"),
        (&["--target", "inf2", "--buckets", "4x1"], 64, "SEQUENCESxROWSxCONTEXT, as 4x1x2048"),
        (
            &["--target", "inf2", "--buckets", "1x1x1025"],
            64,
            "--buckets 1x1x1025: a sequence has 1024",
        ),
        (&["--target", "inf2", "--max-model-len", "1025"], 64, "trained for 1024 tokens"),
        (&["--target", "inf2", "--kv-cache-bytes", "1"], 71, "raise --kv-cache-bytes"),
        (&["--target", "inf2", "--dtype", "float16"], 64, "weights are bf16 in a bundle"),
        (&["--target", "inf2", "--quantize", "q8"], 64, "weights are bf16 in a bundle"),
        (&["--target", "inf2", "--kv-cache-dtype", "int8"], 64, "are bf16 in a bundle"),
        (&["--target", "inf2", "-o", there], 64, "is there: remove it, or name another with -o"),
        (&["--target", "inf2", "--emit-hlo", there, "--jobs", "2"], 64, "cannot be used with"),
        (&["--target", "inf2"], 69, "neuronx-cc is neither on the PATH nor in"),
        (&["--target", "inf2", "--neuronx-cc", "/bin/false"], 69, "/bin/false --version"),
        (&["--target", "inf2", "--batch", "2"], 64, "--batch"),
    ] {
        let output = place.command(arguments)?.output()?;
        let (out, err) = told(&output);
        ensure!(output.status.code() == Some(code), "{arguments:?}: {}: {err}", output.status);
        ensure!(err.contains(expect) && out.is_empty(), "{arguments:?}: {out}{err}");
    }
    // A model that is not there, and one that is none.
    for (name, bytes, code) in [("nothing.gguf", None, 66), ("text.gguf", Some("text"), 65)] {
        let path = place.folder.join(name);
        bytes.map(|bytes| fs::write(&path, bytes)).transpose()?;
        let binary = binary_path().context("a binary")?;
        let output =
            Command::new(binary).args(["compile", "--target", "inf2"]).arg(path).output()?;
        ensure!(output.status.code() == Some(code), "{name}: {}", told(&output).1);
    }
    Ok(())
}

/// The default model: its sizes, with the default shapes.
#[test]
fn the_default_model_is_sized_for_a_core() -> anyhow::Result<()> {
    let (Some(model), Some(binary)) = (model_path(), binary_path()) else { return Ok(()) };
    let place = Place::new("default")?;
    let folder = place.folder.join("modules");
    let mut command = Command::new(binary);
    command.args(["compile", "--target", "inf2", "--emit-hlo"]).arg(&folder).arg(model);
    let (out, err) = told(&command.output()?);
    ensure!(err.contains("max_model_len = 4096: each longer context takes more programs"), "{err}");
    ensure!(err.contains("ranks = 1: one core holds the model"), "{err}");
    // 32 sequences of 4096 tokens fit beside it.
    ensure!(err.contains("KV cache = 131072 tokens"), "{err}");
    ensure!(out.lines().count() == fs::read_dir(folder)?.count(), "{out}");
    Ok(())
}

#[test]
fn a_selftest_tells_what_an_emulated_chip_computed() -> anyhow::Result<()> {
    if binary_path().is_none() {
        return Ok(());
    }
    let place = Place::new("selftest")?;
    let output = place.selftest("instance = \"inf2.xlarge\"\n", &[])?;
    let (out, err) = told(&output);
    ensure!(output.status.success(), "{out}{err}");
    for line in [
        "device       EMULATED Inferentia2\n",
        "emulated     no chip is here: nothing below tells how one computes",
        "neuronx-cc   2.28.7631.0+FAKE\n",
        "emulated     a product of bf16 that sums in f32: error at most ",
        "emulated     steps of it by two ranks: error at most ",
    ] {
        ensure!(out.contains(line), "no {line:?} in {out}");
    }
    ensure!(!out.contains("verified") && !out.contains("measured"), "{out}");
    let fails = "fail = [{ call = \"nrt_execute\", nth = 2, status = 0 }]\n";
    let output = place.selftest(fails, &["--json", "--quick"])?;
    let (out, err) = told(&output);
    ensure!(output.status.code() == Some(69), "{}: {out}{err}", output.status);
    ensure!(err.contains("1 rows failed; this device must not serve"), "{err}");
    let json: Value = serde_json::from_str(&out)?;
    let rows = json["devices"][0]["rows"].as_array().context("rows")?;
    let verdicts: Vec<_> = rows.iter().filter_map(|row| row["verdict"].as_str()).collect();
    ensure!(verdicts == ["emulated", "failed", "emulated", "emulated", "emulated"], "{json}");
    ensure!(json["devices"][0]["is_emulated"] == true, "{json}");
    // Which devices must be said.
    let binary = binary_path().context("a binary")?;
    let (_, err) = told(&Command::new(binary).arg("selftest").output()?);
    ensure!(err.contains("--cuda") && err.contains("--neuron"), "{err}");
    Ok(())
}
