//! Layers: built-in < family < devices < files, in the order given < environment < files of one
//! model among several < flags.
//!
//! What a person writes with our names (flags, `GIMBAL_*`, our own files) must be right: a slip is an
//! error with the nearest name. What comes with a model or was meant for another server is taken as
//! far as it can be; the rest is listed with its reason and never stops a boot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::files::{ConfigFile, Format, Line, Origin};
use crate::foreign;
use crate::setting::{Names, Scope, Setting, Value};
use crate::settings::{Entry, Ignored, Settings, Source};
use crate::table::{TABLE, find};
use crate::{SettingError, nearest};

/// Prefix of our variables.
const PREFIX: &str = "GIMBAL_";
/// Variables of ours that are no settings, by how they begin: replay seeds, test harnesses.
const NOT_SETTINGS: [&str; 2] = ["GIMBAL_SEED", "GIMBAL_TEST_"];

/// What defaults depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The process runs in a container or under SageMaker, and how that is known.
    pub in_container: Option<&'static str>,
}

/// Everything that was said, by layer.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What is known of the machine's family, the weakest first.
    pub firmware: Vec<ConfigFile>,
    /// What is known of the devices that a model may run on; see [`Settings::on`].
    pub device: Vec<ConfigFile>,
    /// Files, the weakest first.
    pub files: Vec<ConfigFile>,
    /// Files that beat the environment: a model's own among several, and what names it.
    pub of_model: Vec<ConfigFile>,
    /// Variables of the environment.
    pub environment: Vec<(String, String)>,
    /// Flags, without the leading dashes; of a name that is there twice the last counts.
    pub flags: Vec<(String, String)>,
    /// What was not even read, and why.
    pub ignored: Vec<Ignored>,
    /// What paths are, where somebody looks.
    pub paths: Paths,
}

/// What is asked of paths that foreign names and a model's files say.
#[derive(Clone, Copy, Debug)]
pub struct Paths {
    /// Whether a path is there. Foreign names of the model may also name a repository somewhere
    /// else, which is none of ours.
    pub is_there: fn(&str) -> bool,
    /// The path of what a file names, or why it does not lie in the file's folder.
    pub inside: fn(file: &str, named: &str) -> Result<String, String>,
}

impl Default for Paths {
    fn default() -> Self {
        Self { is_there: |_| true, inside: |_, _| Err("nobody looks at files here".to_owned()) }
    }
}

/// A value and who said it.
struct Said<'a> {
    name: &'a str,
    text: &'a str,
    source: Source,
}

impl Settings {
    /// Resolves every setting of the table.
    ///
    /// # Errors
    /// An unknown name of ours, a value that is not legal, or a broken file, with its place.
    pub fn resolve(facts: &Facts, given: &Given) -> Result<Self, SettingError> {
        let default = |setting: &'static Setting| {
            let (value, why) = (setting.default)(facts);
            let (source, is_foreign) = (Source::Default(why), false);
            (setting.key, Entry { value, source, is_foreign, overrode: Vec::new() })
        };
        let entries = TABLE.iter().map(default).collect();
        let said = Arc::new((*facts, given.clone()));
        let mut settings = Self { entries, ignored: given.ignored.clone(), said };
        for files in [&given.firmware, &given.device, &given.files] {
            settings.read_files(files, given.paths)?;
        }
        settings.read_environment(&given.environment, given.paths)?;
        settings.read_files(&given.of_model, given.paths)?;
        for (name, text) in &given.flags {
            let source = Source::Flag(name.clone());
            let setting = find(name).ok_or_else(|| unknown_flag(name))?;
            settings.set(setting, text, source)?;
        }
        Ok(settings)
    }

    /// The same, where a model runs on devices of which `file` knows something: a layer between the
    /// machine's family and everything that a person or a model says.
    ///
    /// # Errors
    /// The file is broken.
    pub fn on(&self, file: ConfigFile) -> Result<Self, SettingError> {
        let (facts, given) = &*self.said;
        Self::resolve(facts, &Given { device: vec![file], ..given.clone() })
    }

    fn read_files(&mut self, files: &[ConfigFile], paths: Paths) -> Result<(), SettingError> {
        for file in files {
            match file.origin {
                Origin::Model => self.read_models_file(file, paths)?,
                Origin::Operator | Origin::Examined => self.read_own_file(file)?,
            }
        }
        Ok(())
    }

    fn read_own_file(&mut self, file: &ConfigFile) -> Result<(), SettingError> {
        for Line { key, value, line } in file.lines()? {
            let source = Source::File { path: file.path.clone(), line };
            let Some(setting) = find(&key) else {
                let nearest = nearest(&key, TABLE.iter().map(|s| s.key)).map(str::to_owned);
                return Err(SettingError::Unknown {
                    given: format!("{source} says {key}"),
                    nearest,
                });
            };
            let path = || file.path.clone();
            if let (Some(model), Scope::Process(_)) = (&file.section, setting.scope)
                && key != "model"
            {
                let why =
                    format!("models.{model}.{key}: it holds for the whole process ({source})");
                return Err(SettingError::File { path: path(), why });
            }
            let value =
                value.map_err(|why| SettingError::File { path: path(), why: why.into() })?;
            if file.origin == Origin::Examined && setting.names() == Names::Library {
                let why = "no library is taken from this file here; give the flag, or the file \
                           with --config";
                self.ignore(&key, source, why, true);
            } else {
                self.set(setting, &value, source)?;
            }
        }
        Ok(())
    }

    /// A model's folder may be anybody's: nothing of it stops a boot, and it has no say in what lies
    /// outside of it.
    fn read_models_file(&mut self, file: &ConfigFile, paths: Paths) -> Result<(), SettingError> {
        let source = |line| Source::File { path: file.path.clone(), line };
        let lines = match file.lines() {
            Ok(lines) => lines,
            Err(SettingError::File { why, .. }) => {
                let name = file.path.rsplit('/').next().unwrap_or(&file.path);
                self.ignore(name, source(1), &format!("all of it: {why}"), true);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let last: BTreeMap<&str, u32> = lines.iter().map(|l| (l.key.as_str(), l.line)).collect();
        for Line { key, value, line } in &lines {
            let (found, unknown) = named(file.format, key);
            let Some(setting) = found else {
                if let Some((why, is_loud)) = unknown {
                    self.ignore(key, source(*line), &why, is_loud);
                }
                continue;
            };
            let again = last.get(key.as_str()).filter(|last| *last != line);
            let said = match (again, value) {
                (Some(last), _) => Err(format!("line {last} says it again")),
                (None, Err(why)) => Err((*why).to_owned()),
                (None, Ok(text)) => models_value(setting, &file.path, text, paths),
            };
            match said {
                Ok(value) => self.put(setting, value, source(*line), true),
                Err(why) => self.ignore(key, source(*line), &why, true),
            }
        }
        Ok(())
    }

    /// Ours must be legal, and nearly ours is a slip; what belongs to somebody else never stops a
    /// boot.
    fn read_environment(
        &mut self,
        environment: &[(String, String)],
        paths: Paths,
    ) -> Result<(), SettingError> {
        let own: Vec<String> = TABLE.iter().map(Setting::variable).collect();
        for (name, text) in environment {
            let is_test = NOT_SETTINGS.iter().any(|prefix| name.starts_with(prefix));
            let known = TABLE.iter().any(|s| s.environment.contains(&name.as_str()));
            let is_theirs = foreign::PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            let source = Source::Environment(name.clone());
            if foreign::is_service_link(name, text) {
                let why = "Kubernetes made it for a service of that name";
                self.ignore(name, source, why, false);
            } else if name.starts_with(PREFIX) && !is_test && !own.contains(name) {
                self.unknown_variable(name, text, source)?;
            } else if !known && is_theirs {
                self.ignore(name, source, foreign::why(&foreign::property(name)), false);
            }
        }
        for (setting, own) in TABLE.iter().zip(&own) {
            let said = |name: &str| {
                let found =
                    environment.iter().rev().find(|(n, text)| n == name && !text.is_empty());
                found.map(|(n, text)| Said {
                    name: n,
                    text,
                    source: Source::Environment(n.clone()),
                })
            };
            // The weakest name first, so that our own one wins.
            for said in setting.environment.iter().rev().filter_map(|name| said(name)) {
                self.set_foreign(setting, said, paths);
            }
            if let Some(said) = said(own).filter(|s| !foreign::is_service_link(s.name, s.text)) {
                self.set(setting, said.text, said.source)?;
            }
        }
        Ok(())
    }

    fn unknown_variable(
        &mut self,
        name: &str,
        text: &str,
        source: Source,
    ) -> Result<(), SettingError> {
        let keys: Vec<String> = TABLE.iter().map(|s| s.key.to_uppercase()).collect();
        let given = name.strip_prefix(PREFIX).unwrap_or(name);
        let nearest = nearest(given, keys.iter().map(String::as_str));
        // A variable that is set to nothing is not set.
        if let Some(nearest) = nearest.filter(|_| !text.is_empty()) {
            let (given, nearest) = (format!("{name} is set"), Some(format!("{PREFIX}{nearest}")));
            return Err(SettingError::Unknown { given, nearest });
        }
        self.ignore(name, source, "there is no such setting, nor one of a similar name", true);
        Ok(())
    }

    /// Takes what another server's variable says, where that can be.
    fn set_foreign(&mut self, setting: &'static Setting, said: Said<'_>, paths: Paths) {
        let Said { name, text, source } = said;
        match setting.parse(text) {
            Err(expected) => {
                let why = format!("{:?} is no {}: {expected}", setting.shown(text), setting.key);
                self.ignore(name, source, &why, true);
            }
            Ok(_) if setting.names() == Names::Path && !(paths.is_there)(text) => {
                let why = format!(
                    "there is no {text:?} on this machine, and nothing is fetched from elsewhere"
                );
                self.ignore(name, source, &why, true);
            }
            Ok(value) => self.put(setting, value, source, true),
        }
    }

    fn ignore(&mut self, name: &str, source: Source, why: &str, is_loud: bool) {
        let (name, why) = (name.to_owned(), why.to_owned());
        self.ignored.push(Ignored { name, source, why, is_loud });
    }

    fn set(&mut self, setting: &Setting, text: &str, source: Source) -> Result<(), SettingError> {
        let value = setting.parse(text).map_err(|expected| SettingError::Illegal {
            key: setting.key,
            value: setting.shown(text),
            from: source.clone(),
            expected,
        })?;
        self.put(setting, value, source, false);
        Ok(())
    }

    fn put(&mut self, setting: &Setting, value: Value, source: Source, is_foreign: bool) {
        if let Some(entry) = self.entries.get_mut(setting.key) {
            let value = std::mem::replace(&mut entry.value, value);
            let source = std::mem::replace(&mut entry.source, source);
            entry.overrode.push((value, source));
            entry.is_foreign = is_foreign;
        }
    }
}

/// The setting a key of a model's file means, or what to say of one that means none, and how loud.
fn named(format: Format, key: &str) -> (Option<&'static Setting>, Option<(String, bool)>) {
    match format {
        Format::Properties => {
            let found = TABLE.iter().find(|s| s.is_property(key));
            (found, Some((foreign::why(key).to_owned(), false)))
        }
        Format::Yaml => {
            let hint = crate::hint(nearest(key, TABLE.iter().map(|s| s.key)));
            (find(key), Some((format!("there is no such setting{hint}"), true)))
        }
        // What is no sampling default of ours is not worth a word: token ids, versions.
        Format::GenerationConfig => (find(&format!("default_{key}")), None),
    }
}

/// What a model's file may say of a setting.
fn models_value(setting: &Setting, file: &str, text: &str, paths: Paths) -> Result<Value, String> {
    match setting.scope {
        Scope::Process(names) => {
            let why = names.why();
            Err(format!("a model's folder has no say in {}: {why}", setting.key))
        }
        Scope::Model(Names::Path) if text != "auto" => {
            let inside = (paths.inside)(file, text);
            inside.map(Value::Text).map_err(|why| format!("{text:?} is not taken: {why}"))
        }
        Scope::Model(_) => {
            let parsed = setting.parse(text);
            parsed.map_err(|expected| format!("{text} is no {}: {expected}", setting.key))
        }
    }
}

fn unknown_flag(name: &str) -> SettingError {
    let nearest = nearest(&name.replace('-', "_"), TABLE.iter().map(|s| s.key));
    let nearest = nearest.map(|key| format!("--{}", key.replace('_', "-")));
    SettingError::Unknown { given: format!("flag --{name} is given"), nearest }
}

#[cfg(test)]
mod tests;
