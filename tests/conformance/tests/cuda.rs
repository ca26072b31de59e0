//! The binary on an emulated GPU, as it serves on a real one: NVIDIA's driver is our own emulator
//! (`tests/emulators/libcuda`), all else is what ships. It says nothing about speed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use gimbal_conformance::client::{post, send};
use gimbal_conformance::emulated::{self, Case, TOKENS, memory_peak, stream, streams};
use gimbal_conformance::server::{Server, binary_path, signal};
// Named so that cargo builds the library that the server loads.
use gimbal_libcuda as _;
use serde_json::{Value, json};

/// Tells the emulator of which PTX cubins were made.
const MANIFEST: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../backends/cuda/ptx/MANIFEST.toml");

/// An emulated machine, in a file that is gone with the test.
struct Machine(PathBuf);

impl Machine {
    fn new(name: &str, text: &str) -> anyhow::Result<Self> {
        let file = format!("gimbal-cuda-{}-{name}.toml", std::process::id());
        let machine = Self(std::env::temp_dir().join(file));
        let account = machine.0.with_extension("account");
        let paths = format!("cubins = {MANIFEST:?}\naccount = {account:?}\n");
        std::fs::write(&machine.0, paths + text)?;
        Ok(machine)
    }

    /// What a process has written down of its calls and bytes.
    fn account(&self, process: u32, what: &str) -> anyhow::Result<u64> {
        let path = self.0.with_extension(format!("account.{process}"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no {what} in {text}"))?.parse()?)
    }

    /// `gimbal COMMAND` on it.
    fn command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let tests = std::env::current_exe()?;
        let library = tests.parent().context("a folder")?.join("libgimbal_libcuda.so");
        ensure!(library.is_file(), "{} is not built", library.display());
        let mut command = Command::new(binary_path().context("GIMBAL_TEST_BINARY is not set")?);
        command.args(arguments).arg("--libcuda").arg(library).env("GIMBAL_TEST_CUDA", &self.0);
        Ok(command)
    }

    fn serve(&self, model: &Path, flags: &[&str]) -> anyhow::Result<Server> {
        let mut command = self.command(&["serve", "--backend", "cuda", "--host", "127.0.0.1"])?;
        command.args(["--port", "0", "--log-format", "json"]);
        if !flags.contains(&"--max-model-len") {
            command.args(["--max-model-len", "512"]);
        }
        // Beside other tests a stream waits long for its turn.
        command.args(["--invocation-timeout-s", "1200"]).args(flags).arg(model);
        Server::spawn(command)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let folder = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        let stem = self.0.file_stem().unwrap_or_default().to_string_lossy().into_owned() + ".";
        for entry in folder.filter(|e| e.file_name().to_string_lossy().starts_with(&stem)) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

/// An A10G with the driver that SageMaker still gives by default.
const G5: &str = "name = \"NVIDIA A10G\"\nsm = 86\nmemory = 23999807488\ndriver = 11040\n";

/// The golden prompts: as many as `GIMBAL_TEST_PROMPTS` says, four unless it does: an emulated step takes about a
/// second.
fn setup() -> anyhow::Result<Option<(PathBuf, Vec<Case>)>> {
    let count = std::env::var("GIMBAL_TEST_PROMPTS").ok().map_or(Ok(4), |count| count.parse())?;
    Case::first(count)
}

/// Behind a worker, four at once in a rolling batch, by `/invocations` and by OpenAI's route.
#[test]
fn golden_prompts_are_answered_on_an_emulated_device() -> anyhow::Result<()> {
    let Some((model, cases)) = setup()? else { return Ok(()) };
    let machine = Machine::new("golden", G5)?;
    let server = machine.serve(&model, &["--max-rolling-batch-size", "4"])?;
    let found = streams(&server, &cases, || Ok(()))?;
    let mut equal = 0;
    for (case, found) in cases.iter().zip(&found) {
        equal += case.check(found)?;
    }
    ensure!(equal >= 2 * TOKENS, "{equal} tokens before the first unclear choice: {found:?}");
    // Most steps were of single rows: recorded launches, queued again.
    let worker = server.workers()?[0];
    let replays = machine.account(worker, "cuGraphLaunch")?;
    let recorded = machine.account(worker, "cuGraphInstantiateWithFlags")?;
    ensure!(replays >= 15 && recorded <= 6, "{replays} replays of {recorded} shapes");
    let planned = planned_bytes(&machine, &model)?;
    let peak = machine.account(worker, "peak 0")?;
    let share = peak as f64 / planned as f64;
    ensure!((0.98..=1.02).contains(&share), "{peak} bytes on the device, {planned} planned");
    // The emulated device's memory is the worker's own.
    let beside = memory_peak(worker)?.saturating_sub(peak);
    ensure!(beside <= 256 << 20, "{beside} bytes of the host beside {peak} of the device");
    let status = send(server.address, "GET", "/status", "")?.text()?;
    ensure!(status.contains("EMULATED NVIDIA A10G"), "{status}");
    let body = json!({
        "messages": [{ "role": "user", "content": "What is a prime number?" }],
        "max_tokens": 8, "temperature": 0,
    });
    let (status, answer) = post(server.address, "/v1/chat/completions", &body)?;
    ensure!(status == 200, "{answer}");
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap_or_default();
    ensure!(text.starts_with("A prime number is"), "{answer}");
    Ok(())
}

/// With five blocks for four sequences that need two each: who is preempted comes to the same tokens.
#[test]
fn preempted_sequences_answer_the_same() -> anyhow::Result<()> {
    let Some((model, cases)) = setup()? else { return Ok(()) };
    let machine = Machine::new("preempted", G5)?;
    // Of 16 tokens, 30 layers, 3 heads of 64 keys and values of 2 bytes.
    let kv = (5 * 16 * 30 * 2 * 3 * 64 * 2).to_string();
    let flags = ["--max-rolling-batch-size", "4", "--kv-cache-bytes", &kv, "--max-model-len", "48"];
    let server = machine.serve(&model, &flags)?;
    let found = streams(&server, &cases, || Ok(()))?;
    for (case, found) in cases.iter().zip(&found) {
        case.check(found)?;
    }
    let preemptions = server.metric("gimbal_preemptions_total", "")?;
    ensure!(preemptions >= 1.0, "nobody was preempted");
    Ok(())
}

/// Tokens drawn on the device are those that the host chooses where alternatives are asked for.
#[test]
fn the_device_draws_as_the_host_does() -> anyhow::Result<()> {
    let Some((model, _)) = setup()? else { return Ok(()) };
    let machine = Machine::new("drawn", G5)?;
    let server = machine.serve(&model, &["--max-rolling-batch-size", "4"])?;
    for parameters in [
        json!({ "do_sample": true, "temperature": 1.0, "seed": 11 }),
        json!({ "do_sample": true, "temperature": 1.5, "seed": 3, "top_k": 40, "top_p": 0.9,
            "repetition_penalty": 1.3, "frequency_penalty": 0.5 }),
    ] {
        let answer = |alternatives: u32| {
            let mut parameters = parameters.clone();
            parameters["max_new_tokens"] = json!(10);
            parameters["details"] = json!(true);
            parameters["top_n_tokens"] = json!(alternatives);
            let body = json!({ "inputs": "Once upon a time", "parameters": parameters });
            let (status, answer) = post(server.address, "/invocations", &body)?;
            ensure!(status == 200, "{answer}");
            let tokens = answer["details"]["tokens"].as_array().context("tokens")?.clone();
            let told = |token: &Value| Some((token["id"].as_u64()?, token["log_prob"].as_f64()?));
            tokens.iter().map(|token| told(token).with_context(|| answer.to_string())).collect()
        };
        let (drawn, chosen): (Vec<(u64, f64)>, Vec<_>) = (answer(0)?, answer(2)?);
        let is_same = |((id, logprob), (other, expect)): (&(u64, f64), &(u64, f64))| {
            id == other && (logprob - expect).abs() < 1e-4
        };
        let is_equal = drawn.len() == 10 && drawn.iter().zip(&chosen).all(is_same);
        ensure!(is_equal, "{parameters}: {drawn:?}, not {chosen:?}");
    }
    Ok(())
}

/// What `gimbal plan` says that the model takes of the device.
fn planned_bytes(machine: &Machine, model: &Path) -> anyhow::Result<u64> {
    let mut plan =
        machine.command(&["plan", "--backend", "cuda", "--max-rolling-batch-size", "4"])?;
    let output = plan.args(["--max-model-len", "512"]).arg(model).output()?;
    let text = String::from_utf8(output.stdout)?;
    emulated::planned_bytes(&text, "cuda")
}

/// The worker is killed, and in another run the device fails, in the middle of streams: the same tokens.
#[test]
fn streams_go_on_after_a_worker_s_death_and_a_device_s_fault() -> anyhow::Result<()> {
    let Some((model, cases)) = setup()? else { return Ok(()) };
    // Every worker's sixth replay of a recorded step fails; the one that goes on has fewer left.
    let fault = format!("{G5}[[fail]]\ncall = \"cuGraphLaunch\"\nat = 6\ncode = 719\n");
    for (name, text) in [("killed", G5.to_owned()), ("719", fault)] {
        let machine = Machine::new(name, &text)?;
        let server = machine.serve(&model, &["--max-rolling-batch-size", "4"])?;
        let case = &cases[0];
        let address = server.address;
        let found = std::thread::scope(|scope| {
            let running = scope.spawn(move || stream(address, &case.text, 10));
            if name == "killed" {
                while server.metric("gimbal_tokens_total", "kind=\"output\"")? < 4.0 {
                    ensure!(!running.is_finished(), "it ended before anything happened");
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                let worker = server.workers()?[0];
                signal("-KILL", worker)?;
            }
            running.join().expect("no panic")
        })?;
        ensure!(found == case.tokens[..10], "{name}: {found:?}, not {:?}", case.tokens);
        let losses = server.metric("gimbal_device_losses_total", "")?;
        ensure!(losses >= 1.0, "{name}: nothing was lost");
    }
    Ok(())
}

/// Three GPUs together, with three heads each: the golden tokens, also after one of them has failed.
#[test]
fn three_ranks_answer_as_one_does() -> anyhow::Result<()> {
    let Some((model, cases)) = setup()? else { return Ok(()) };
    let text =
        format!("{G5}devices = 3\n[[fail]]\ncall = \"cuMemcpyPeerAsync\"\nat = 1500\ncode = 719\n");
    let machine = Machine::new("ranks", &text)?;
    let server = machine.serve(&model, &["--tensor-parallel-degree", "3"])?;
    let case = &cases[0];
    let found = stream(server.address, &case.text, 6)?;
    ensure!(found == case.tokens[..6], "{found:?}, not {:?}", case.tokens);
    let losses = server.metric("gimbal_device_losses_total", "")?;
    ensure!(losses >= 1.0, "no rank failed");
    Ok(())
}

/// Nine heads do not divide by two: the plan says so, and one GPU has the model.
#[test]
fn a_model_that_does_not_divide_gets_fewer_ranks() -> anyhow::Result<()> {
    let Some((model, _)) = setup()? else { return Ok(()) };
    let machine = Machine::new("divide", &format!("{G5}devices = 2\n"))?;
    let flags = ["plan", "--backend", "cuda", "--tensor-parallel-degree", "2"];
    let output = machine.command(&flags)?.arg(&model).output()?;
    let text = String::from_utf8(output.stdout)?;
    let expect = "tensor_parallel_degree = 1, not 2: layer 0: 9 query heads do not divide among 2";
    ensure!(output.status.success() && text.contains(expect), "{text}");
    Ok(())
}

/// What each machine's probe says: a device with its image, or a reason.
#[test]
fn machines_are_told_apart() -> anyhow::Result<()> {
    if binary_path().is_none() {
        return Ok(());
    }
    for (name, machine, expect) in [
        ("t4", "name = \"Tesla T4\"\nsm = 75\ndriver = 11040", "\"sm_75\",\"sm75.cubin\""),
        ("a10g", G5, "\"sm_86\",\"sm86.cubin\""),
        ("R550", "sm = 89\ndriver = 12040", "\"sm_89\",\"sm89.cubin\""),
        ("b300", "sm = 103\ndriver = 13000", "\"sm_103\",\"sm100.cubin\""),
        ("h100", "name = \"NVIDIA H100\"\nsm = 90\ndriver = 12080\ndevices = 8", "\"ordinal\":7"),
        ("none", "devices = 0", "\"Absent\""),
        ("old driver", "sm = 86\ndriver = 10020", "InferenceAmiVersion"),
        ("full", "memory = 1048576", "\"memory_bytes\":1048576"),
        ("mismatch", "[[fail]]\ncall = \"cuInit\"\nat = 1\ncode = 803", "start the machine again"),
    ] {
        let machine = Machine::new(name, machine)?;
        let output = machine.command(&["probe", "--json", "--platform", "cuda"])?.output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() || !text.contains(expect) {
            bail!("{name}: {text}{}", String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(())
}
