//! `cargo xtask clients`: agents, structured output and evaluators of other projects, unchanged,
//! against the real binary with the default model. Each is a script of `tests/clients/frameworks`
//! that prints `passed: WHAT` or `failed: WHAT` for each of its checks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

use crate::serve::Running;
use crate::{assets, check, clients, command, models, root};

const PORT: &str = "8095";
/// The model's name on the wire.
const MODEL: &str = "smollm2";
/// Two environments, since `instructor` and LlamaIndex hold others to older versions.
const FRAMEWORKS: Runtime = Runtime::Python("frameworks.txt");
const EVALUATORS: Runtime = Runtime::Python("evaluators.txt");
const CLIENTS: [Client; 15] = [
    Client { name: "openai", script: "openai_python.py", runtime: FRAMEWORKS },
    Client { name: "openai-node", script: "openai_node.mjs", runtime: Runtime::Node },
    Client { name: "anthropic", script: "anthropic_client.py", runtime: FRAMEWORKS },
    Client { name: "ollama", script: "ollama_client.py", runtime: FRAMEWORKS },
    Client { name: "litellm", script: "litellm_client.py", runtime: FRAMEWORKS },
    Client { name: "langchain", script: "langchain_client.py", runtime: FRAMEWORKS },
    Client { name: "pydantic-ai", script: "pydantic_ai_client.py", runtime: FRAMEWORKS },
    Client { name: "openai-agents", script: "openai_agents_client.py", runtime: FRAMEWORKS },
    Client { name: "smolagents", script: "smolagents_client.py", runtime: FRAMEWORKS },
    Client { name: "dspy", script: "dspy_client.py", runtime: FRAMEWORKS },
    Client { name: "haystack", script: "haystack_client.py", runtime: FRAMEWORKS },
    Client { name: "inspect", script: "inspect_client.py", runtime: FRAMEWORKS },
    Client { name: "instructor", script: "instructor_client.py", runtime: EVALUATORS },
    Client { name: "llama-index", script: "llama_index_client.py", runtime: EVALUATORS },
    Client { name: "lm-eval", script: "lm_eval_client.py", runtime: EVALUATORS },
];
/// What keeps packages from asking or telling anybody but the server.
const QUIET: [(&str, &str); 6] = [
    ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
    ("OPENAI_AGENTS_DISABLE_TRACING", "1"),
    ("HAYSTACK_TELEMETRY_ENABLED", "False"),
    ("LANGSMITH_TRACING", "false"),
    ("HF_HUB_OFFLINE", "1"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
];

/// A client of another project.
struct Client {
    name: &'static str,
    script: &'static str,
    runtime: Runtime,
}

/// What runs a client's script.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Runtime {
    /// An environment of these pins.
    Python(&'static str),
    /// Node, with the packages of `tests/clients/frameworks/node`.
    Node,
}

/// Runs all of them, or the one after `--only`; fails where a check of one fails.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let wanted = match arguments {
        [] => None,
        [flag, name] if flag == "--only" => Some(name.as_str()),
        _ => bail!("only `--only NAME`"),
    };
    let chosen: Vec<&Client> =
        CLIENTS.iter().filter(|client| wanted.is_none_or(|name| client.name == name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
        bail!("no client of that name; there are {}", names.join(", "));
    }
    let assets = assets::fetch()?;
    let programs = programs(&chosen)?;
    let binary = check::build_gimbal()?;
    let mut server = Command::new(binary);
    server.args(["serve", "--model", &format!("{MODEL}={}", assets.model.display())]);
    server.arg("--onnxruntime").arg(assets.runtime).args(["--log-level", "warn"]);
    server.args(["--host", "127.0.0.1", "--port", PORT]);
    let _server = Running(server.spawn().context("cannot start the server")?);
    models::wait_until_ready(PORT, "/ping")?;
    let mut failed = Vec::new();
    for client in chosen {
        match &programs[&client.runtime] {
            Ok(program) if client.check(program)? => {}
            Ok(_) => failed.push(client.name),
            Err(reason) => eprintln!("skipped  {}: {reason}", client.name),
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// What runs the scripts of each runtime, installed where it is missing, or why it is not there.
fn programs(
    chosen: &[&Client],
) -> anyhow::Result<BTreeMap<Runtime, Result<PathBuf, &'static str>>> {
    let mut programs = BTreeMap::new();
    for client in chosen {
        if programs.contains_key(&client.runtime) {
            continue;
        }
        let program = match client.runtime {
            Runtime::Python(pins) => {
                let what = format!("clients of {pins}, some hundreds of MB");
                Ok(clients::install(pins, &what)?.join("python"))
            }
            Runtime::Node if !command::succeeds("npm", &["--version"]) => {
                Err("there is no npm: apt-get install npm")
            }
            Runtime::Node => Ok(clients::install_node()?),
        };
        programs.insert(client.runtime, program);
    }
    Ok(programs)
}

impl Client {
    /// Runs it, says in one line what it checked, and shows all it said where it failed.
    fn check(&self, program: &Path) -> anyhow::Result<bool> {
        let script = root().join("tests/clients/frameworks").join(self.script);
        let mut process = match self.runtime {
            Runtime::Python(_) => Command::new(program),
            Runtime::Node => {
                let mut node = Command::new("node");
                node.env("GIMBAL_NODE_MODULES", program);
                node
            }
        };
        process.arg(script).envs(QUIET);
        process.env("GIMBAL_URL", format!("http://127.0.0.1:{PORT}")).env("GIMBAL_MODEL", MODEL);
        let started = Instant::now();
        let output = process.output().with_context(|| format!("cannot start {}", self.name))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let passed: Vec<&str> =
            said.lines().filter_map(|line| line.strip_prefix("passed: ")).collect();
        let is_passed = output.status.success() && !passed.is_empty();
        let word = if is_passed { "passed" } else { "failed" };
        let seconds = started.elapsed().as_secs_f64();
        eprintln!("{word}  {} ({seconds:.1} s): {}", self.name, passed.join("; "));
        if !is_passed {
            eprintln!("{said}{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(is_passed)
    }
}
