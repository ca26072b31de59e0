//! Gathers what was said: firmware-configs, files, environment and flags become resolved settings.
//!
//! Files, the weakest first: fragments of the machine's family; `generation_config.json`,
//! `serving.properties` and `serving.yaml` of the model's folder; then `gimbal.yaml` of the working
//! folder or the one `--config` names.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::ArgMatches;
use gimbal_machine::{Catalogue, Family, Imds, Instance, Machine};
use gimbal_model::json_text;
use gimbal_settings::{ConfigFile, Facts, Format, Given, Settings, TABLE};

use crate::failure::Failure;

/// Our own file in the working folder.
const OWN_FILE: &str = "gimbal.yaml";
/// A model's own sampling defaults, the weakest of the files beside it.
const HINTS: &str = "generation_config.json";
/// Bytes of it that are read; real ones have less than a thousand.
const HINTS_BYTES_MAX: u64 = 1 << 20;
/// Files beside a model, the weakest first.
const MODEL_FILES: [(&str, Format); 2] =
    [("serving.properties", Format::Properties), ("serving.yaml", Format::Yaml)];

/// Resolves all settings. The setting `model` decides which folder's files count.
pub(super) fn resolve(matches: &ArgMatches) -> Result<Settings, Failure> {
    let flags = TABLE.iter().filter_map(|setting| {
        let value: &String = matches.get_one(setting.key)?;
        Some((setting.key.replace('_', "-"), value.clone()))
    });
    let positional = matches.try_get_one::<String>("MODEL").ok().flatten();
    let flags = flags.chain(positional.map(|model| ("model".to_owned(), model.clone())));
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut given = Given {
        files: firmware(family(instance(matches)?)),
        environment: environment.collect(),
        flags: flags.collect(),
        is_there: Some(|path| Path::new(path).exists()),
    };
    let firmware = given.files.len();
    given.files.extend(own_file(matches)?);
    let model = model(&Settings::resolve(&facts(), &given)?);
    let folder = if model.is_dir() { &model } else { model.parent().unwrap_or(Path::new(".")) };
    let mut beside = Vec::new();
    beside.extend(hints(&folder.join(HINTS)));
    for (name, format) in MODEL_FILES {
        beside.extend(read(&folder.join(name), format)?);
    }
    given.files.splice(firmware..firmware, beside);
    Ok(Settings::resolve(&facts(), &given)?)
}

/// The model's path.
pub(super) fn model(settings: &Settings) -> PathBuf {
    settings.text("model").unwrap_or_default().into()
}

/// What defaults depend on, on this machine.
pub(super) fn facts() -> Facts {
    let identity = &machine().identity;
    Facts { in_container: identity.sagemaker.is_some() || identity.container.is_some() }
}

/// This machine, read once; nobody on the network is asked.
fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| Machine::here(Imds::Never))
}

/// The instance type that `--instance` names.
pub(super) fn instance(matches: &ArgMatches) -> Result<Option<&'static Instance>, Failure> {
    let Ok(Some(name)) = matches.try_get_one::<String>("instance") else { return Ok(None) };
    let found = Catalogue::embedded().instance(name).map_err(|nearest| {
        let hint = nearest.map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        Failure::usage(format!("--instance {name}: not in the catalogue{hint}"))
    });
    found.map(Some)
}

/// The family of an instance type, or of this machine.
fn family(instance: Option<&Instance>) -> &'static Family {
    let catalogue = Catalogue::embedded();
    let named = instance.and_then(|instance| catalogue.family(instance.family));
    named.unwrap_or_else(|| catalogue.family_of(machine()).0)
}

fn firmware(family: &Family) -> Vec<ConfigFile> {
    let file = |(path, text): (&str, &str)| ConfigFile {
        path: path.to_owned(),
        text: text.to_owned(),
        format: Format::Yaml,
    };
    family.layers().into_iter().map(file).collect()
}

fn own_file(matches: &ArgMatches) -> Result<Option<ConfigFile>, Failure> {
    let Some(path) = matches.get_one::<String>("config").map(PathBuf::from) else {
        return read(Path::new(OWN_FILE), Format::Yaml);
    };
    let file = read(&path, Format::Yaml)?;
    let missing = || Failure::usage(format!("--config {}: no such file", path.display()));
    file.map(Some).ok_or_else(missing)
}

/// The text of a model's hints, which are read as far as they go; `None` where there are none.
fn hints(path: &Path) -> Option<ConfigFile> {
    let mut bytes = Vec::new();
    if path.exists() {
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(HINTS_BYTES_MAX).read_to_end(&mut bytes));
        if let Err(error) = read {
            // As a text that is no JSON, it is told and ignored.
            bytes = error.to_string().into_bytes();
        }
        let text = String::from_utf8_lossy(&json_text::strict(&bytes)).into_owned();
        let path = path.display().to_string();
        return Some(ConfigFile { path, text, format: Format::GenerationConfig });
    }
    None
}

/// A file's text; `None` where there is no such file.
fn read(path: &Path, format: Format) -> Result<Option<ConfigFile>, Failure> {
    let shown = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(ConfigFile { path: shown, text, format })),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Failure::usage(format!("{shown}: {error}"))),
    }
}
