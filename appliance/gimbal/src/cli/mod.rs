//! The command line, made from the table of settings.
//!
//! Each command is a file: `serve`, `generate`, `plan` (`compare`: several machines), `inspect`, `pack`, `compile`, `import`, `probe`, `doctor`, `selftest`,
//! `bench`, `worker` (a device in a process of its own), `shell` (completions and manual pages), `notices` (licences); `layers` resolves settings.

mod bench;
mod compare;
mod compile;
mod config_file;
mod doctor;
#[cfg(test)]
#[path = "../../../machine/tests/fixture/mod.rs"]
pub(crate) mod fixture;
mod generate;
mod import;
mod inspect;
mod layers;
mod listen;
mod models;
mod notices;
mod pack;
mod plan;
mod prices;
mod probe;
mod selftest;
mod serve;
mod shell;
mod signals;
mod worker;

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};
use gimbal_settings::TABLE;

pub(crate) use layers::{Wanted, on};

use crate::failure::Failure;
use crate::print;

/// Parses and runs a command line.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            // `--help` and `--version` are answers, not errors.
            return print::stdout(error.to_string());
        }
        Err(error) => {
            let text = error.to_string();
            return Err(Failure::usage(text.strip_prefix("error: ").unwrap_or(&text).trim_end()));
        }
    };
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Failure::usage("a command is needed; see --help"));
    };
    match name {
        "probe" => return probe::run(matches),
        "worker" => return worker::run(matches),
        "doctor" => return doctor::run(matches),
        "selftest" => return selftest::run(matches),
        "bench" => return bench::run(matches),
        "import" => return import::run(matches),
        "completions" => return shell::completions(matches, command()),
        "man" => return shell::man(command()),
        _ => {}
    }
    if let Some(printed) = notices::run(name) {
        return printed;
    }
    let asked = layers::resolve(matches)?;
    match name {
        "serve" => return serve::run(asked),
        "plan" => return plan::run(asked, matches),
        _ => {}
    }
    let [wanted] = <[Wanted; 1]>::try_from(asked.models).map_err(|models| {
        let names: Vec<&str> = models.iter().filter_map(|model| model.name.as_deref()).collect();
        Failure::usage(format!(
            "gimbal {name} takes one model, and there are {}: name its path",
            names.join(", ")
        ))
    })?;
    let Wanted { path: model, settings, .. } = &wanted.brought()?;
    for told in settings.ignored().iter().filter(|told| told.is_loud) {
        print::stderr(&format!("gimbal: ignored: {told}\n"));
    }
    match name {
        "generate" => generate::run(settings, matches, model),
        "pack" => pack::run(settings, model),
        "compile" => compile::run(settings, matches, model),
        _ => inspect::run(settings, matches, model),
    }
}

/// Settings and models of a command line of `gimbal serve`.
#[cfg(test)]
pub(crate) fn asked(
    line: Vec<OsString>,
) -> Result<(gimbal_settings::Settings, Vec<Wanted>), Failure> {
    let matches =
        command().try_get_matches_from(line).map_err(|e| Failure::usage(e.to_string()))?;
    let (_, matches) = matches.subcommand().ok_or_else(|| Failure::usage("a command is needed"))?;
    let asked = layers::resolve(matches)?;
    Ok((asked.settings, asked.models))
}

fn command() -> Command {
    let model = Arg::new("MODEL")
        .help("A GGUF file, a folder with one or with config.json and safetensors, a .tar.gz of either, or a model of Hugging Face's cache (models--ORG--NAME) [default: the setting model: /opt/ml/model]");
    let serve = Command::new("serve")
        .about("Serves a model over the SageMaker and OpenAI contracts")
        .arg(model.clone())
        .args(flags());
    let generate = Command::new("generate")
        .about("Continues a prompt on stdout, by the path a request takes")
        .arg(Arg::new("PROMPT").required(true).help("What to continue"))
        .args(generate::flags())
        .args(flags());
    let plan = Command::new("plan")
        .about("Shows every setting with its source, and how the model would run")
        .arg(model.clone())
        .args(plan::flags())
        .args(flags());
    let inspect = Command::new("inspect")
        .about("Shows what a model is, what it needs and where it would run; reads no weight")
        .arg(model.clone())
        .args(inspect::flags())
        .args(flags());
    let pack = Command::new("pack")
        .about("Writes a model's weights in the kernels' layout, for starts that only map them")
        .arg(model.clone())
        .args(flags());
    let compile = Command::new("compile")
        .about("Compiles a model for AWS Inferentia or Trainium, ahead of time; needs neuronx-cc and no device")
        .arg(model.clone())
        .args(compile::flags())
        .args(flags());
    let json = Arg::new("json").long("json").num_args(0).help("Print JSON");
    let probe = Command::new("probe")
        .about("Shows the machine, its family and which devices there are, and why not")
        .arg(json.clone())
        .arg(
            Arg::new("platform")
                .long("platform")
                .value_name("NAME")
                .help("Look for one platform's devices, by flags alone, and print them as JSON"),
        )
        .args(flags());
    let worker = Command::new("worker").hide(true).args(flags());
    let doctor = Command::new("doctor")
        .about("Checks what serving needs of this machine, with a remedy for each finding")
        .arg(model)
        .arg(json)
        .args(flags());
    Command::new("gimbal")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Serves models on whatever machine it wakes up on")
        // Of a flag that is given twice the last one counts, as with other servers.
        .args_override_self(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            serve,
            generate,
            plan,
            inspect,
            pack,
            compile,
            probe,
            doctor,
            selftest::command(flags()),
            worker,
            bench::command(),
        ])
        .subcommands([import::command()])
        .subcommands(shell::commands())
        .subcommands(notices::commands())
}

/// One flag for each setting of the table, with `-` or `_`.
fn flags() -> impl Iterator<Item = Arg> {
    let config = Arg::new("config").long("config").value_name("FILE");
    let config = config.help("A YAML file of settings [default: gimbal.yaml, if there is one]");
    let facts = layers::facts();
    let settings = TABLE.iter().map(move |setting| {
        let (value, why) = (setting.default)(&facts);
        let unit = if setting.unit.is_empty() { "VALUE" } else { setting.unit };
        let arg = Arg::new(setting.key);
        // Several models have a flag each.
        let arg = if setting.key == "model" { arg.action(ArgAction::Append) } else { arg };
        arg.long(setting.key.replace('_', "-"))
            .alias(setting.key)
            .value_name(unit.to_uppercase())
            .help(format!("{} [default: {value} ({why})]", setting.doc))
            .help_heading("Settings")
    });
    std::iter::once(config.help_heading("Settings")).chain(settings)
}
