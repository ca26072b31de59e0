//! Several models in one process: `--model NAME=PATH`, as often as there are models, and `models:` of
//! our own file.

use std::path::Path;

use clap::ArgMatches;
use gimbal_settings::{ConfigFile, Given};

use crate::failure::Failure;

/// Bytes of a name: it stands in URLs, labels and logs.
const NAME_BYTES_MAX: usize = 128;

/// A model with a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    /// From the flag; a file says it in the model's section.
    path: Option<String>,
}

impl Named {
    /// What was said for all, and for this one.
    pub(super) fn given(&self, all: &Given) -> Given {
        let sections = all.files.iter().filter(|file| names(file).contains(&self.name));
        let section =
            |file: &ConfigFile| ConfigFile { section: Some(self.name.clone()), ..file.clone() };
        let mut given = all.clone();
        given.of_model = sections.map(section).collect();
        given.flags.extend(self.path.iter().map(|path| ("model".to_owned(), path.clone())));
        given
    }
}

/// Every model that has a name: those of files in their order, then those of flags.
///
/// # Errors
/// A name is there twice or cannot be one, or a model without a name is asked for beside them.
pub(super) fn named(matches: &ArgMatches, given: &Given) -> Result<Vec<Named>, Failure> {
    let mut all: Vec<Named> = Vec::new();
    let in_files = given.files.iter().flat_map(names);
    let in_files = in_files.map(|name| Named { name, path: None });
    let flags = matches.get_many::<String>("model").into_iter().flatten();
    let (of_flags, bare): (Vec<&String>, Vec<&String>) = flags.partition(|flag| is_named(flag));
    let of_flags = of_flags.into_iter().filter_map(|flag| {
        let (name, path) = flag.split_once('=')?;
        Some(Named { name: name.to_owned(), path: Some(path.to_owned()) })
    });
    for named in in_files.chain(of_flags) {
        if !is_name(&named.name) {
            return Err(Failure::usage(format!(
                "{:?} is no name of a model: letters, digits and . _ - : / @, at most \
                 {NAME_BYTES_MAX}",
                named.name
            )));
        }
        if let Some(path) = named.path.as_deref().filter(|path| path.is_empty()) {
            return Err(Failure::usage(format!(
                "--model {}={path}: a path is missing",
                named.name
            )));
        }
        if let Some(other) = all.iter_mut().find(|other| other.name == named.name) {
            // A flag may say where the model of a file lies; two flags contradict each other.
            if other.path.is_some() || named.path.is_none() {
                return Err(Failure::usage(format!(
                    "two models have the name {:?}; give each one of its own",
                    named.name
                )));
            }
            other.path = named.path;
            continue;
        }
        all.push(named);
    }
    let positional = matches.try_get_one::<String>("MODEL").ok().flatten();
    match (all.is_empty(), bare.first().copied().or(positional)) {
        // Whoever names one model by its path wants that one, whatever the working folder's file has.
        (false, Some(_)) if all.iter().all(|named| named.path.is_none()) => Ok(Vec::new()),
        (false, Some(path)) => Err(Failure::usage(format!(
            "{path} has no name, and other models have: give --model NAME={path}"
        ))),
        _ => Ok(all),
    }
}

/// True for `NAME=PATH`; a path of that spelling that is there is a path.
pub(super) fn is_named(flag: &str) -> bool {
    let name = flag.split_once('=').map(|(name, _)| name);
    name.is_some_and(is_name) && !Path::new(flag).exists()
}

fn is_name(name: &str) -> bool {
    let is_legal = |c: u8| c.is_ascii_alphanumeric() || b"._-:/@".contains(&c);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_legal)
}

/// A broken file has been told by whoever resolved it.
fn names(file: &ConfigFile) -> Vec<String> {
    file.models().unwrap_or_default()
}
