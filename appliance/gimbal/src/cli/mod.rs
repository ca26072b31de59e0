//! The command line, made from the table of settings.
//!
//! Each command is a file: `serve`, `generate`, `probe`.

mod generate;
mod probe;
mod serve;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use gimbal_settings::{Facts, Settings, TABLE};

use crate::failure::Failure;

/// Where SageMaker puts the model.
const MODEL_FOLDER: &str = "/opt/ml/model";

/// Parses and runs a command line.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            // `--help` and `--version` are answers, not errors.
            error.print().map_err(anyhow::Error::from)?;
            return Ok(());
        }
        Err(error) => {
            let text = error.to_string();
            return Err(Failure::usage(text.strip_prefix("error: ").unwrap_or(&text).trim_end()));
        }
    };
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(&settings(matches)?, &model(matches)),
        Some(("generate", matches)) => generate::run(&settings(matches)?, matches, &model(matches)),
        Some(("probe", matches)) => probe::run(matches),
        _ => Err(Failure::usage("a command is needed; see --help")),
    }
}

fn command() -> Command {
    let model = Arg::new("MODEL").help("A GGUF file, or a folder with one");
    let serve = Command::new("serve")
        .about("Serves a model over the SageMaker and OpenAI contracts")
        .arg(model.clone().help("A GGUF file, or a folder with one [default: /opt/ml/model]"))
        .args(flags());
    let generate = Command::new("generate")
        .about("Continues a prompt on stdout, by the path a request takes")
        .arg(Arg::new("PROMPT").required(true).help("What to continue"))
        .arg(model.long("model").value_name("MODEL"))
        .args(generate::flags())
        .args(flags());
    let json = Arg::new("json").long("json").num_args(0).help("Print JSON");
    let probe = Command::new("probe").about("Shows which devices there are, and why not").arg(json);
    Command::new("gimbal")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves models on whatever machine it wakes up on")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([serve, generate, probe])
}

/// One flag for each setting of the table, with `-` or `_`.
fn flags() -> impl Iterator<Item = Arg> {
    TABLE.iter().map(|setting| {
        let (value, why) = (setting.default)(&facts());
        let unit = if setting.unit.is_empty() { "VALUE" } else { setting.unit };
        Arg::new(setting.key)
            .long(setting.key.replace('_', "-"))
            .alias(setting.key)
            .value_name(unit.to_uppercase())
            .help(format!("{} [default: {value} ({why})]", setting.doc))
            .help_heading("Settings")
            .global(false)
    })
}

fn settings(matches: &ArgMatches) -> Result<Settings, Failure> {
    let given = TABLE.iter().filter_map(|setting| {
        let value: &String = matches.get_one(setting.key)?;
        Some((setting.key.replace('_', "-"), value.clone()))
    });
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    Ok(Settings::resolve(&facts(), &environment, &given.collect::<Vec<_>>())?)
}

/// The model's path: the argument, or where SageMaker puts it.
fn model(matches: &ArgMatches) -> PathBuf {
    let given: Option<&String> = matches.get_one("MODEL");
    given.map_or_else(|| PathBuf::from(MODEL_FOLDER), PathBuf::from)
}

fn facts() -> Facts {
    let is_sagemaker = std::env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("SAGEMAKER_") || name.starts_with("SM_")
    });
    let in_container =
        Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists();
    Facts { in_container: is_sagemaker || in_container }
}
