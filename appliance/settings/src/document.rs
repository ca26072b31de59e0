//! The table of settings for people: `docs/settings.md` is written by a test from here.

use std::fmt::Write;

use crate::Facts;
use crate::setting::{Kind, Names, Scope};
use crate::table::TABLE;

const HEAD: &str = "\
# Settings

Written from the table in `src/table.rs`; do not edit. `gimbal plan` shows each value on your
machine with its source, `gimbal plan --explain KEY` what it beat.

A setting is a flag (`--job-queue-size 100`), a variable (`GIMBAL_JOB_QUEUE_SIZE=100`), a line of
YAML (`job_queue_size: 100`), or one of the other servers' names listed with it: `OPTION_X` is also
`option.x` and `SERVING_X` is also `x` in `serving.properties`. Later wins: built-in <
`firmware-configs` (the machine's family < the devices a model runs on) <
`generation_config.json`, `serving.properties`, `serving.yaml` beside the model < `gimbal.yaml` <
environment < flags.

Who may set what: flags, `GIMBAL_` variables and the file of `--config` everything, and a mistake
in them is an error. `gimbal.yaml` of the working folder too, where it belongs to this user or to
root and nobody else can write it; otherwise it is not read. Where the working folder is the
model's, and by `gimbal doctor`, no library is taken from it. The files beside a model only what is
marked `model` below, with paths inside of that folder: a model's folder may be anybody's. Other
servers' names are taken where their value can be. What is not taken stands with its reason in the
log, in `gimbal plan` and in `gimbal doctor`, and never stops a boot.
";

/// All settings as Markdown.
#[must_use]
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for setting in TABLE {
        let (value, why) = (setting.default)(&Facts::default());
        let kind = match setting.kind {
            Kind::Text => "text".to_owned(),
            Kind::Choice(words) => format!("one of `{}`", words.join("`, `")),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max } => format!("a number from {min} to {max}"),
            Kind::Flag => "`true` or `false`".to_owned(),
            Kind::Secret => "text that is never shown, or `none`".to_owned(),
        };
        let unit = if setting.unit.is_empty() { "" } else { ", in " };
        let auto = if setting.allows_auto() { ", or `auto`" } else { "" };
        let scope = match setting.scope {
            Scope::Process(_) => "process",
            Scope::Model(Names::Nothing) => "model",
            Scope::Model(_) => "model; from its own files only inside of its folder",
        };
        let names: Vec<String> = setting.environment.iter().map(|n| format!("`{n}`")).collect();
        let names = if names.is_empty() { "–".to_owned() } else { names.join(", ") };
        // Writing to a string cannot fail.
        write!(
            text,
            "\n## `{key}`\n\n{doc}\n\n| | |\n|---|---|\n| value | {kind}{auto}{unit}{unit_name} |\n\
             | default | `{value}`: {why} |\n| scope | {scope} |\n| other names | {names} |\n",
            key = setting.key,
            doc = setting.doc,
            unit_name = setting.unit,
        )
        .ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `GIMBAL_TEST_UPDATE=1 cargo test` writes it.
    #[test]
    fn the_document_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
        if std::env::var_os("GIMBAL_TEST_UPDATE").is_some() {
            std::fs::write(path, markdown()).expect("a writable tree");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == markdown(), "run GIMBAL_TEST_UPDATE=1 cargo test -p gimbal-settings");
    }
}
