//! `cargo xtask attack`: attacks a server on loopback and prints what they cost, as Markdown.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use gimbal_conformance::attack;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut path = |what| arguments.next().map(PathBuf::from).context(what);
    let (binary, model) = (path("BINARY")?, path("MODEL")?);
    let rest: Vec<String> = arguments.collect();
    let seconds = |default| {
        let given = rest.get(1).and_then(|seconds| seconds.parse().ok());
        Duration::from_secs(given.unwrap_or(default))
    };
    let mut out = std::io::stdout();
    let report = match rest.first().map(String::as_str) {
        Some("overload") => attack::overload(&binary, &model, 2000, seconds(180))?,
        Some("disconnects") => attack::disconnects(&binary, &model, 48, seconds(300))?,
        _ => return attack::run(&binary, &model, &rest, &mut out),
    };
    Ok(writeln!(out, "{report}")?)
}
