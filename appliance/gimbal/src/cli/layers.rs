//! Gathers what was said: firmware-configs, files, environment and flags become resolved settings.
//!
//! Files, the weakest first: fragments of the machine's family; `generation_config.json`,
//! `serving.properties` and `serving.yaml` of the model's folder; then `gimbal.yaml` of the working
//! folder or the one `--config` names.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::ArgMatches;
use gimbal_machine::{Catalogue, Family, Identity, Imds, Instance, Machine};
use gimbal_model::json_text;
use gimbal_settings::{
    ConfigFile, Facts, Format, Given, Ignored, Origin, Paths, Settings, Source, TABLE,
};

use super::{config_file, models};
use crate::failure::Failure;
use crate::print;
use crate::source::{self, Arrived, Progress};

/// Our own file in the working folder.
const OWN_FILE: &str = "gimbal.yaml";
/// Files beside a model, the weakest first; the first has its own sampling defaults.
const MODEL_FILES: [(&str, Format); 3] = [
    ("generation_config.json", Format::GenerationConfig),
    ("serving.properties", Format::Properties),
    ("serving.yaml", Format::Yaml),
];

/// A model that was asked for, with settings of its own.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The name it was given; `None` takes the file's or the setting's.
    pub(crate) name: Option<String>,
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// What holds for it.
    pub(crate) settings: Settings,
    said: Said,
}

/// What was said beside the model: with its own files it is resolved again once these are there.
#[derive(Clone)]
struct Said {
    given: Given,
    /// Our own file was not named.
    is_own: bool,
}

impl std::fmt::Debug for Said {
    // There are keys in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Said").finish_non_exhaustive()
    }
}

impl Wanted {
    /// The model where it can be opened, with the settings of what lies beside it there; see `source`.
    ///
    /// # Errors
    /// It does not arrive, or its settings are wrong.
    pub(crate) fn arrived(self, told: &mut dyn FnMut(&Progress)) -> Result<Self, Failure> {
        let arrived = source::arrive(&self.path, told)?;
        self.at(&arrived)
    }

    /// The same for a command, which says on stderr what takes long.
    pub(super) fn brought(self) -> Result<Self, Failure> {
        let arrived = bring(&self.path)?;
        self.at(&arrived)
    }

    /// The same for one that has arrived there.
    pub(super) fn at(self, arrived: &Arrived) -> Result<Self, Failure> {
        let Said { given, is_own } = self.said.clone();
        let settings = match arrived.path == self.path {
            true => self.settings,
            false => with_model(given, &arrived.path, self.name.is_some(), is_own)?,
        };
        let is_called = settings.text("served_model_name").is_some();
        let name = self.name.or_else(|| arrived.name.clone().filter(|_| !is_called));
        Ok(Self { name, path: arrived.path.clone(), settings, said: self.said })
    }
}

/// Everything that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// What holds for the process.
    pub(super) settings: Settings,
    /// At least one.
    pub(super) models: Vec<Wanted>,
}

/// Resolves all settings. The setting `model` decides which folder's files count.
pub(super) fn resolve(matches: &ArgMatches) -> Result<Asked, Failure> {
    resolve_for(matches, Origin::Operator, instance(matches)?)
}

/// The same for a machine of that type.
pub(super) fn resolve_on(
    matches: &ArgMatches,
    instance: Option<&Instance>,
) -> Result<Asked, Failure> {
    resolve_for(matches, Origin::Operator, instance)
}

/// The same for a command that only looks: what our own file in the working folder names is not
/// loaded.
pub(super) fn examine(matches: &ArgMatches) -> Result<Asked, Failure> {
    resolve_for(matches, Origin::Examined, None)
}

fn resolve_for(
    matches: &ArgMatches,
    own: Origin,
    instance: Option<&Instance>,
) -> Result<Asked, Failure> {
    let given = gather(matches, own, instance)?;
    let settings = Settings::resolve(&facts(), &given)?;
    let names = models::named(matches, &given)?;
    let is_own = matches.get_one::<String>("config").is_none();
    if names.is_empty() {
        let wanted = wanted(given, &settings, None, is_own)?;
        return Ok(Asked { settings: wanted.settings.clone(), models: vec![wanted] });
    }
    let named = |named: models::Named| {
        let given = named.given(&given);
        let settings = Settings::resolve(&facts(), &given)?;
        wanted(given, &settings, Some(named.name), is_own)
    };
    let models = names.into_iter().map(named).collect::<Result<_, Failure>>()?;
    Ok(Asked { settings, models })
}

fn wanted(
    given: Given,
    settings: &Settings,
    name: Option<String>,
    is_own: bool,
) -> Result<Wanted, Failure> {
    let path = model(settings);
    let given = distrusted(given, &path, is_own);
    let said = Said { given: given.clone(), is_own };
    let settings = with_model(given, &path, name.is_some(), is_own)?;
    Ok(Wanted { name, path, settings, said })
}

/// What was said beside a model: the same for all of them.
fn gather(
    matches: &ArgMatches,
    own: Origin,
    instance: Option<&Instance>,
) -> Result<Given, Failure> {
    let flags = TABLE.iter().filter_map(|setting| {
        let value = matches.get_many::<String>(setting.key)?.next_back()?;
        let is_named = setting.key == "model" && models::is_named(value);
        (!is_named).then(|| (setting.key.replace('_', "-"), value.clone()))
    });
    let positional = matches.try_get_one::<String>("MODEL").ok().flatten();
    let flags = flags.chain(positional.map(|model| ("model".to_owned(), model.clone())));
    // A value that is no text is told as far as it is one.
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    });
    let mut given = Given {
        firmware: firmware(family(instance)),
        environment: environment.collect(),
        flags: flags.collect(),
        paths: PATHS,
        ..Given::default()
    };
    match matches.get_one::<String>("config") {
        Some(path) => given.files.push(named_file(path)?),
        None => working_folders(&mut given, own),
    }
    Ok(given)
}

/// The settings with what lies beside the model. The only model's files are weaker than our
/// own; those of one among several are stronger than what was said for all.
fn with_model(
    given: Given,
    model: &Path,
    is_named: bool,
    is_own: bool,
) -> Result<Settings, Failure> {
    let mut given = distrusted(given, model, is_own);
    // What is to be unpacked has its files in it.
    let beside = match source::is_archive(model) {
        true => Vec::new(),
        false => beside(folder_of(model), &mut given.ignored),
    };
    match is_named {
        true => drop(given.of_model.splice(..0, beside)),
        false => drop(given.files.splice(..0, beside)),
    }
    Ok(Settings::resolve(&facts(), &given)?)
}

/// Our own file in the working folder has less to say where the model lies beside it: it may have
/// come with it.
fn distrusted(mut given: Given, model: &Path, is_own: bool) -> Given {
    if is_working_folder(folder_of(model)) {
        let own = |file: &&mut ConfigFile| file.path == OWN_FILE && is_own;
        let files = given.files.iter_mut().chain(&mut given.of_model);
        files.filter(own).for_each(|file| file.origin = Origin::Examined);
    }
    given
}

fn folder_of(model: &Path) -> &Path {
    if model.is_dir() { model } else { model.parent().unwrap_or(Path::new(".")) }
}

/// Brings a model where it can be opened, and says on stderr what takes long.
pub(super) fn bring(path: &Path) -> Result<Arrived, Failure> {
    let mut told = "";
    source::arrive(path, &mut |progress| {
        let Progress { doing, archive, folder: Some(folder), .. } = progress else { return };
        if std::mem::replace(&mut told, doing) != *doing {
            let (archive, folder) = (archive.display(), folder.display());
            print::stderr(&format!("gimbal: {archive}: {doing} ({folder})\n"));
        }
    })
}

/// All settings of a command that takes none.
pub(super) fn defaults() -> Result<Settings, Failure> {
    Ok(Settings::resolve(&facts(), &Given::default())?)
}

/// Settings by flags alone: what a parent tells its child.
pub(super) fn of_flags(matches: &ArgMatches) -> Result<Settings, Failure> {
    let flags = TABLE.iter().filter_map(|setting| {
        let value = matches.get_many::<String>(setting.key)?.next_back()?;
        Some((setting.key.replace('_', "-"), value.clone()))
    });
    let given = Given { flags: flags.collect(), paths: PATHS, ..Given::default() };
    Ok(Settings::resolve(&facts(), &given)?)
}

/// Looks at paths as this process sees them.
pub(super) const PATHS: Paths =
    Paths { is_there: |path| Path::new(path).exists(), inside: config_file::inside };

/// The model's path.
pub(super) fn model(settings: &Settings) -> PathBuf {
    settings.text("model").unwrap_or_default().into()
}

/// What defaults depend on, on this machine.
pub(super) fn facts() -> Facts {
    static WHY: OnceLock<Option<String>> = OnceLock::new();
    Facts { in_container: WHY.get_or_init(|| in_container(&machine().identity)).as_deref() }
}

/// How it is known that this is a container, or SageMaker.
fn in_container(identity: &Identity) -> Option<String> {
    let container = identity.container.iter().map(|how| format!("in a container: {how}"));
    container.chain(identity.sagemaker.iter().map(|how| format!("under SageMaker: {how}"))).next()
}

/// This machine, read once; nobody on the network is asked.
fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| Machine::here(Imds::Never))
}

/// The instance type that `--instance` names.
pub(super) fn instance(matches: &ArgMatches) -> Result<Option<&'static Instance>, Failure> {
    let Ok(Some(name)) = matches.try_get_one::<String>("instance") else { return Ok(None) };
    known_instance("--instance", name).map(Some)
}

/// An instance type that a flag names.
pub(super) fn known_instance(flag: &str, name: &str) -> Result<&'static Instance, Failure> {
    Catalogue::embedded().instance(name).map_err(|nearest| {
        let hint = nearest.map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        Failure::usage(format!("{flag} {name}: not in the catalogue{hint}"))
    })
}

/// This machine's type, where the catalogue has it.
pub(super) fn this_instance() -> Option<&'static Instance> {
    let name = machine().identity.instance.as_deref()?;
    Catalogue::embedded().instance(name).ok()
}

/// The family of an instance type, or of this machine.
fn family(instance: Option<&Instance>) -> &'static Family {
    let catalogue = Catalogue::embedded();
    let named = instance.and_then(|instance| catalogue.family(instance.family));
    named.unwrap_or_else(|| catalogue.family_of(machine()).0)
}

fn firmware(family: &Family) -> Vec<ConfigFile> {
    family.layers().into_iter().map(embedded).collect()
}

/// Settings of a model where it runs on a platform's devices.
///
/// # Errors
/// None: a test reads every embedded file.
pub(crate) fn on(platform: &str, settings: &Settings) -> Result<Settings, Failure> {
    match gimbal_machine::accelerator_settings(platform) {
        Some(file) => Ok(settings.on(embedded(file))?),
        None => Ok(settings.clone()),
    }
}

fn embedded((path, text): (&str, &str)) -> ConfigFile {
    ConfigFile {
        path: path.to_owned(),
        bytes: text.into(),
        format: Format::Yaml,
        origin: Origin::Operator,
        section: None,
    }
}

/// The file of `--config`, which is trusted as it was given.
fn named_file(path: &str) -> Result<ConfigFile, Failure> {
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::usage(format!("--config {path}: no such file")),
        _ => Failure::usage(format!("--config {path}: {error}")),
    })?;
    let path = path.to_owned();
    Ok(ConfigFile { path, bytes, format: Format::Yaml, origin: Origin::Operator, section: None })
}

/// Our own file in the working folder, which may be anybody's folder.
fn working_folders(given: &mut Given, origin: Origin) {
    match config_file::read_own(Path::new(OWN_FILE)) {
        Ok(Some(bytes)) => {
            let path = OWN_FILE.to_owned();
            given.files.push(ConfigFile {
                path,
                bytes,
                format: Format::Yaml,
                origin,
                section: None,
            });
        }
        Ok(None) => {}
        Err(error) => given.ignored.push(whole(Path::new(OWN_FILE), &error)),
    }
}

/// True for another name of the working folder, too.
fn is_working_folder(folder: &Path) -> bool {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let of = |path: &Path| path.canonicalize().ok();
    of(folder).is_some() && of(folder) == of(Path::new("."))
}

/// Files beside a model; what cannot be read is told.
fn beside(folder: &Path, ignored: &mut Vec<Ignored>) -> Vec<ConfigFile> {
    let mut files = Vec::new();
    for (name, format) in MODEL_FILES {
        let path = folder.join(name);
        match config_file::read(&path) {
            Ok(Some(mut bytes)) => {
                if format == Format::GenerationConfig {
                    bytes = json_text::strict(&bytes).into_owned();
                }
                let path = path.display().to_string();
                files.push(ConfigFile {
                    path,
                    bytes,
                    format,
                    origin: Origin::Model,
                    section: None,
                });
            }
            Ok(None) => {}
            Err(error) => ignored.push(whole(&path, &error)),
        }
    }
    files
}

/// A file of which nothing counts.
fn whole(path: &Path, error: &std::io::Error) -> Ignored {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let source = Source::File { path: path.display().to_string(), line: 1 };
    Ignored { name, source, why: format!("all of it: {error}"), is_loud: true }
}

#[cfg(test)]
mod tests;
