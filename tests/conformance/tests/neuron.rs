//! The binary on an emulated Inferentia or Trainium, as it serves on a real one: libnrt and neuronx-cc are ours
//! (`tests/emulators/libnrt`), all else is what ships. It says nothing about speed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, ensure};
use gimbal_conformance::client::{post, send};
use gimbal_conformance::emulated::{self, Case, TOKENS, memory_peak, streams};
use gimbal_conformance::server::{Server, binary_path};
// Named so that cargo builds the library that the server loads.
use gimbal_libnrt as _;
use serde_json::{Value, json};

/// Prompts in pieces of 16, four sequences at once.
const BUCKETS: &str = "1x16x96,1x1x96,4x1x96";
/// The longest wait for something that must come.
const SOON: Duration = Duration::from_secs(90);

/// A machine and a model that was compiled for it, in a folder that is gone with the test.
struct Machine {
    folder: PathBuf,
    model: PathBuf,
}

impl Machine {
    /// What a script says of a machine, and the model as a link, for its bundle is to lie beside it.
    fn new(name: &str, model: &Path, script: &str) -> anyhow::Result<Self> {
        let folder = env::temp_dir().join(format!("gimbal-neuron-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let machine = Self { model: folder.join("model.gguf"), folder };
        std::os::unix::fs::symlink(model, &machine.model)?;
        machine.becomes(script)?;
        Ok(machine)
    }

    /// The next process finds another script.
    fn becomes(&self, script: &str) -> anyhow::Result<()> {
        let report = self.folder.join("report");
        Ok(fs::write(self.folder.join("script.toml"), format!("report = {report:?}\n{script}"))?)
    }

    /// `gimbal ARGUMENTS` on it.
    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let tests = env::current_exe()?;
        let folder = tests.parent().context("a folder")?;
        let library = folder.join("libgimbal_libnrt.so");
        ensure!(library.is_file(), "{} is not built", library.display());
        let compiler = folder.parent().context("a folder")?.join("neuronx-cc");
        ensure!(compiler.is_file(), "{} is not built", compiler.display());
        let mut command = Command::new(binary_path().context("GIMBAL_TEST_BINARY is not set")?);
        command.args(arguments).arg("--libnrt").arg(library).arg("--neuronx-cc").arg(compiler);
        command.env("GIMBAL_TEST_NRT", self.folder.join("script.toml"));
        command.env("XDG_CACHE_HOME", self.folder.join("cache"));
        Ok(command)
    }

    /// Compiles the model for it; its bundle's folder.
    fn compile(&self, target: &str, ranks: &str) -> anyhow::Result<PathBuf> {
        let arguments = ["compile", "--target", target, "--tp", ranks, "--buckets", BUCKETS];
        let output = self.command(&arguments)?.arg(&self.model).output()?;
        ensure!(output.status.success(), "{}", text(&output));
        Ok(self.folder.join("model.gguf.neuron"))
    }

    fn serving(&self, flags: &[&str]) -> anyhow::Result<Command> {
        let mut command = self.command(&["serve", "--backend", "neuron", "--host", "127.0.0.1"])?;
        command.args(["--port", "0", "--log-format", "json"]);
        // Beside other tests a stream waits long for its turn.
        command.args(["--invocation-timeout-s", "1200"]).args(flags).arg(&self.model);
        Ok(command)
    }

    fn serve(&self, flags: &[&str]) -> anyhow::Result<Server> {
        Server::spawn(self.serving(flags)?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// What `gimbal plan` says that the model takes of its cores.
fn planned_bytes(machine: &Machine) -> anyhow::Result<u64> {
    let plan = ["plan", "--backend", "neuron", "--replicas", "1"];
    let output = machine.command(&plan)?.arg(&machine.model).output()?;
    emulated::planned_bytes(&text(&output), "neuron")
}

fn wait_for(what: &str, is_so: impl Fn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let until = Instant::now() + SOON;
    while !is_so()? {
        ensure!(Instant::now() < until, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Behind a worker, four at once in a rolling batch, by `/invocations` and by OpenAI's route; and what else an
/// operator sees of it.
#[test]
fn golden_prompts_are_answered_on_an_emulated_chip() -> anyhow::Result<()> {
    let Some((model, cases)) = Case::first(12)? else { return Ok(()) };
    let machine = Machine::new("golden", &model, "instance = \"inf2.xlarge\"\n")?;
    machine.compile("inf2", "1")?;
    let server = machine.serve(&["--replicas", "1"])?;
    let found = streams(&server, &cases, || Ok(()))?;
    let mut equal = 0;
    for (case, found) in cases.iter().zip(&found) {
        equal += case.check(found)?;
    }
    ensure!(equal >= 10 * TOKENS, "{equal} tokens before the first unclear choice: {found:?}");
    let shape = |shape: &str| server.metric("gimbal_shape_steps_total", &format!("{shape:?}"));
    ensure!(shape("4x1x96")? >= TOKENS as f64, "no four at once");
    ensure!(shape("1x16x96")? >= cases.len() as f64, "no prompts in pieces");
    ensure!(server.metric("gimbal_padding_rows_total", "")? > 0.0, "no padding");
    let status = send(server.address, "GET", "/status", "")?.text()?;
    ensure!(status.contains("Inferentia2 (EMULATED)"), "{status}");
    let body = json!({
        "messages": [{ "role": "user", "content": "What is a prime number?" }],
        "max_tokens": 8, "temperature": 0,
    });
    let (status, answer) = post(server.address, "/v1/chat/completions", &body)?;
    ensure!(status == 200, "{answer}");
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap_or_default();
    ensure!(text.starts_with("A prime number is"), "{answer}");
    // What no program computes is refused with its name, and costs nobody anything.
    let body = json!({ "inputs": "a", "parameters": { "repetition_penalty": 1.3 } });
    let (status, answer) = post(server.address, "/invocations", &body)?;
    ensure!(status == 400 && answer.to_string().contains("penalt"), "{status}: {answer}");
    let worker = server.workers()?[0];
    let host = memory_peak(worker)?;
    server.terminate()?;
    ensure!(server.wait()? == Some(0), "no clean end");
    let report = fs::read_to_string(machine.folder.join(format!("report.{worker}")))?;
    ensure!(report.starts_with("closed: 0 leaks, 0 misuses\n"), "{report}");
    let peak = report.lines().find_map(|line| line.strip_prefix("peak of core 0: "));
    let peak: u64 = peak.and_then(|l| l.split(' ').next()).context("a peak")?.parse()?;
    let share = peak as f64 / planned_bytes(&machine)? as f64;
    ensure!((0.98..=1.02).contains(&share), "{share} of what was planned: {report}");
    // The emulated device's memory is the worker's own, and so is what the interpreter holds of a step.
    let beside = host - peak;
    ensure!(beside <= 512 << 20, "{beside} bytes of the host beside {peak} of the device");
    Ok(())
}

/// Three cores that hold a part of the model each: nine heads do not divide by two.
#[test]
fn ranks_give_the_tokens_of_one() -> anyhow::Result<()> {
    let Some((model, cases)) = Case::first(3)? else { return Ok(()) };
    let machine = Machine::new("ranks", &model, "instance = \"trn1.32xlarge\"\n")?;
    machine.compile("trn1", "3")?;
    let server = machine.serve(&["--replicas", "1"])?;
    ensure!(server.workers()?.len() == 1, "one process has all ranks");
    let found = streams(&server, &cases, || Ok(()))?;
    let mut equal = 0;
    for (case, found) in cases.iter().zip(&found) {
        equal += case.check(found)?;
    }
    ensure!(equal >= 2 * TOKENS, "{equal} tokens before the first unclear choice: {found:?}");
    let status = send(server.address, "GET", "/status", "")?.text()?;
    ensure!(["nc0", "nc1", "nc2"].iter().all(|core| status.contains(core)), "{status}");
    Ok(())
}

/// What breaks in the middle of four streams: the worker ends, another one comes, and no client sees more than a
/// pause. The model beside it goes on all the while.
#[test]
fn a_core_that_breaks_costs_no_stream_anything() -> anyhow::Result<()> {
    let Some((model, cases)) = Case::first(4)? else { return Ok(()) };
    let whole = "instance = \"trn1.32xlarge\"\n";
    let machine = Machine::new("breaks", &model, whole)?;
    machine.compile("trn1", "1")?;
    let other = format!("--model=other={}", machine.model.display());
    for how in ["status = 1201", "status = 101", "hang = \"timeout\"", "hang = \"forever\""] {
        machine.becomes(&format!(
            "{whole}timeout_ms = 500\nfail = [{{ call = \"nrt_execute\", nth = 14, {how} }}]\n"
        ))?;
        let named = format!("--model=first={}", machine.model.display());
        let mut command =
            machine.command(&["serve", "--backend", "neuron", "--host", "127.0.0.1"])?;
        command.args(["--port", "0", "--log-format", "json", "--replicas", "1", &named, &other]);
        command.args(["--invocation-timeout-s", "1200", "--watchdog-timeout-s", "5"]);
        let server = Server::spawn(command)?;
        // A process reads its script once: the next one finds a core that is whole.
        machine.becomes(whole)?;
        let losses =
            |model: &str| server.metric("gimbal_device_losses_total", &format!("model={model:?}"));
        let beside = || {
            let body = json!({ "model": "other", "inputs": "The alphabet: A, B, C,",
                "parameters": { "max_new_tokens": 2 } });
            wait_for(how, || Ok(losses("first")? >= 1.0))?;
            let (status, answer) = post(server.address, "/invocations", &body)?;
            ensure!(status == 200, "{how}: {answer}");
            Ok(())
        };
        let found = streams(&server, &cases, beside)?;
        for (case, found) in cases.iter().zip(&found) {
            case.check(found).with_context(|| how.to_owned())?;
        }
        ensure!(losses("first")? == 1.0 && losses("other")? == 0.0, "{how}");
        ensure!(send(server.address, "GET", "/ping", "")?.status == 200, "{how}");
    }
    Ok(())
}

/// What keeps it from serving is told in a sentence, and the processor does not take over unasked.
#[test]
fn what_cannot_be_loaded_is_told() -> anyhow::Result<()> {
    let Some((model, _)) = Case::first(0)? else { return Ok(()) };
    let inf2 = "instance = \"inf2.xlarge\"\n";
    let machine = Machine::new("refused", &model, inf2)?;
    let bundle = machine.folder.join("model.gguf.neuron");
    let refused = |script: &str, flags: &[&str], wanted: &[&str]| {
        machine.becomes(script)?;
        let mut command = machine.serving(flags)?;
        // It would stay to tell a client; here it is to end.
        let output = command.output()?;
        let told = text(&output);
        ensure!(!output.status.success(), "{script}: {told}");
        for word in wanted {
            ensure!(told.contains(word), "{script}: no {word:?} in {told}");
        }
        Ok(())
    };
    refused(inf2, &[], &["gimbal compile", "--target inf2", "gimbal serve", "model.gguf.neuron"])?;
    machine.compile("inf2", "1")?;
    let trn1 = "instance = \"trn1.2xlarge\"\n";
    let fails =
        |call: &str, how: &str| format!("{inf2}fail = [{{ call = {call:?}, nth = 3, {how} }}]\n");
    for (script, flags, wanted) in [
        (trn1.to_owned(), &[][..], &["compiled for inf2", "compile it for trn1"][..]),
        (format!("{inf2}version = \"2.20.0.0\"\n"), &[], &["update aws-neuronx-runtime-lib"]),
        (format!("{inf2}version = \"3.1.0.0\"\n"), &[], &["no Neuron device"]),
        (format!("{inf2}absent = true\n"), &[], &["nrt_init"]),
        (
            format!("{inf2}memory = 99000000\n"),
            &[],
            &["the model needs", "an emulated core of 99000000"],
        ),
        (fails("nrt_tensor_allocate", "status = 4"), &[], &["nrt_tensor_allocate: tensor"]),
        (fails("nrt_load", "status = 2"), &[], &["nrt_load"]),
        (inf2.to_owned(), &["--max-model-len", "97"], &["max_model_len = 97", "programs reach 96"]),
        (inf2.to_owned(), &["--tensor-parallel-degree", "2"], &["it was compiled for 1"]),
        (inf2.to_owned(), &["--kv-cache-dtype", "int8"], &["kv_cache_dtype = int8"]),
        (inf2.to_owned(), &["--replicas", "3"], &["room for 2 copies on 2 cores"]),
        (inf2.to_owned(), &["--worker", "off", "--replicas", "2"], &["worker = auto"]),
    ] {
        refused(&script, flags, wanted)?;
    }
    // One flipped bit of a program.
    let file = bundle.join("4x1x96.neff");
    let mut bytes = fs::read(&file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes)?;
    refused(inf2, &[], &["4x1x96.neff", "copy the bundle again"])?;
    // Another model's bundle.
    let text = fs::read_to_string(bundle.join("manifest.json"))?;
    let manifest: Value = serde_json::from_str(&text)?;
    let own = manifest["fingerprint"].as_str().context("a fingerprint")?;
    fs::write(bundle.join("manifest.json"), text.replace(own, &"0".repeat(64)))?;
    refused(inf2, &[], &["compiled of other weights", "compile the model again"])?;
    Ok(())
}

/// Without a bundle the processor serves, unless that is not wanted.
#[test]
fn without_a_bundle_the_processor_serves_where_it_may() -> anyhow::Result<()> {
    let Some((model, _)) = Case::first(0)? else { return Ok(()) };
    let machine = Machine::new("fallback", &model, "instance = \"inf2.xlarge\"\n")?;
    let plan = |variables: &[(&str, &str)]| -> anyhow::Result<(bool, String)> {
        let mut command = machine.command(&["plan"])?;
        let output = command.envs(variables.iter().copied()).arg(&machine.model).output()?;
        Ok((output.status.success(), text(&output)))
    };
    let (fits, told) = plan(&[])?;
    ensure!(fits && told.contains("planned: on onnx"), "{told}");
    ensure!(told.contains("not on neuron: nothing is compiled of the model for inf2"), "{told}");
    let (fits, told) = plan(&[("SAGEMAKER_REGION", "eu-west-1")])?;
    ensure!(!fits && told.contains("nothing is compiled of the model"), "{told}");
    Ok(())
}
