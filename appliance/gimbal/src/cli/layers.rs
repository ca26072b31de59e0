//! Gathers what was said: files, environment and flags become resolved settings.
//!
//! Files, the weakest first: `serving.properties` and `serving.yaml` of the model's folder, then
//! `gimbal.yaml` of the working folder or the one `--config` names.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use gimbal_settings::{ConfigFile, Facts, Format, Given, Settings, TABLE};

use crate::failure::Failure;

/// Our own file in the working folder.
const OWN_FILE: &str = "gimbal.yaml";

/// Resolves all settings for a model.
pub(super) fn settings(matches: &ArgMatches, model: &Path) -> Result<Settings, Failure> {
    let flags = TABLE.iter().filter_map(|setting| {
        let value: &String = matches.get_one(setting.key)?;
        Some((setting.key.replace('_', "-"), value.clone()))
    });
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let folder = if model.is_dir() { model } else { model.parent().unwrap_or(Path::new(".")) };
    let mut files = Vec::new();
    files.extend(read(&folder.join("serving.properties"), Format::Properties)?);
    files.extend(read(&folder.join("serving.yaml"), Format::Yaml)?);
    match matches.get_one::<String>("config").map(PathBuf::from) {
        None => files.extend(read(Path::new(OWN_FILE), Format::Yaml)?),
        Some(path) => match read(&path, Format::Yaml)? {
            Some(file) => files.push(file),
            None => {
                return Err(Failure::usage(format!("--config {}: no such file", path.display())));
            }
        },
    }
    let given = Given { files, environment: environment.collect(), flags: flags.collect() };
    Ok(Settings::resolve(&facts(), &given)?)
}

/// What defaults depend on, on this machine.
pub(super) fn facts() -> Facts {
    let is_sagemaker = std::env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("SAGEMAKER_") || name.starts_with("SM_")
    });
    let marks = ["/.dockerenv", "/run/.containerenv"];
    let in_container = marks.iter().any(|mark| Path::new(mark).exists());
    Facts { in_container: is_sagemaker || in_container }
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
