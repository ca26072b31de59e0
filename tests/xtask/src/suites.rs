//! `cargo xtask suites`: other servers' own tests, as they are, against the real binary. They
//! measure how much of that server's behaviour a program meets again here; nothing of them is kept
//! in the repository, and a failing one fails nothing.
//!
//! What stands in for their server and their packages is in `tests/clients/suites`. Next:
//! `suites/source.rs`.

mod source;

use std::process::Command;

use anyhow::{Context, bail};

use self::source::{Source, Start};
use crate::{assets, check, clients, root};

const PORT: &str = "8094";

/// Another server's tests.
struct Suite {
    name: &'static str,
    source: Source,
    /// What pytest loads beside `counts.py`.
    plugin: &'static str,
    /// Seconds that a test may take.
    seconds_max: &'static str,
    /// More flags of pytest.
    arguments: &'static [&'static str],
}

const SUITES: [Suite; 2] = [
    Suite {
        name: "llama.cpp",
        source: Source {
            package: "llama-cpp-python",
            version: "0.3.36",
            sha256: "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
            megabytes: 77,
            members: "vendor/llama.cpp/tools/server/tests/",
            start: Start::Tests,
        },
        plugin: "llama_suite",
        seconds_max: "60",
        arguments: &["-m", "not slow"],
    },
    Suite {
        name: "vllm",
        source: Source {
            package: "vllm",
            version: "0.33.0",
            sha256: "f4c33c2503d52bb411146afa9618a4f48bed68912f617e6803ac8d76e4c74112",
            megabytes: 47,
            members: "tests/entrypoints/",
            start: Start::Above("entrypoints"),
        },
        plugin: "vllm_suite",
        seconds_max: "25",
        arguments: &[],
    },
];

/// Runs one or all; what follows a name are files of it or flags of pytest.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let named = arguments.first().map(String::as_str);
    let Some(name) = named.filter(|word| !word.starts_with('-')) else {
        return SUITES.iter().try_for_each(|suite| run_one(suite, arguments));
    };
    let names = SUITES.map(|suite| suite.name).join(", ");
    let suite = SUITES.iter().find(|suite| suite.name == name);
    run_one(suite.with_context(|| format!("{name}: there are {names}"))?, &arguments[1..])
}

fn run_one(suite: &Suite, arguments: &[String]) -> anyhow::Result<()> {
    let assets = assets::fetch()?;
    let ours = root().join("tests/clients/suites").canonicalize()?;
    let tests = suite.source.fetch(&ours)?;
    let programs = clients::install("suites.txt", "what other servers' tests import")?;
    let binary = check::build_gimbal()?;
    let mut pytest = Command::new(programs.join("python"));
    pytest.args(["-m", "pytest", "-p", "counts", "-p", suite.plugin, "-p", "no:cacheprovider"]);
    pytest.args(["--quiet", "--tb=no", "--no-header", "-rN", "-p", "no:warnings"]);
    pytest.args(["--timeout", suite.seconds_max, "--continue-on-collection-errors"]);
    pytest.args(suite.arguments).args(arguments).current_dir(&tests);
    pytest.env("PYTHONPATH", format!("{}:{}", ours.display(), tests.display()));
    pytest.env("LLAMA_SERVER_BIN_PATH", ours.join("llama_server.py")).env("PORT", PORT);
    pytest.env("SUITE", &tests).env("HF_HUB_OFFLINE", "1").env("PYTHONDONTWRITEBYTECODE", "1");
    pytest.env("GIMBAL", binary).env("GIMBAL_MODEL", assets.model);
    pytest.env("GIMBAL_ONNXRUNTIME", assets.runtime);
    eprintln!("{} by {}", suite.name, suite.source);
    let status = pytest.status().context("cannot start pytest")?;
    match status.code() {
        // 1: some failed, which is what is counted.
        Some(0 | 1) => Ok(()),
        _ => bail!("pytest: {status}"),
    }
}
