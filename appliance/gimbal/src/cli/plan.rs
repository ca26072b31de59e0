//! `gimbal plan`: every setting with its value and source, and how the model would run.
//!
//! Reads the model's metadata, not a weight; opens nothing.

use clap::{Arg, ArgAction, ArgMatches};
use gimbal_machine::Instance;
use gimbal_model::printable;
use gimbal_settings::{Entry, Settings, Source, find, nearest};
use serde_json::{Map, Value, json};

use super::compare;
use super::layers::{self, Asked, Wanted};
use crate::boot::{Devices, Plan};
use crate::config::Process;
use crate::failure::Failure;
use crate::print;

/// Flags of this command alone.
pub(super) fn flags() -> [Arg; 5] {
    [
        Arg::new("instance").long("instance").value_name("TYPE").help(
            "Plan for an instance type of the catalogue (ml.c7g.xlarge), not for this machine",
        ),
        Arg::new("compare")
            .long("compare")
            .value_name("TYPES")
            .action(ArgAction::Append)
            .value_delimiter(',')
            .conflicts_with_all(["instance", "explain"])
            .help("Plan for several instance types (g5.xlarge,c7g.xlarge), a line each"),
        Arg::new("prices").long("prices").value_name("FILE").requires("compare").help(
            "Prices of an hour (lines such as g6.xlarge: 0.80): what a million tokens cost at least",
        ),
        Arg::new("explain").long("explain").value_name("KEY").help("Explain one setting"),
        Arg::new("json").long("json").num_args(0).help("Print JSON"),
    ]
}

/// Runs the command; without a model only the settings are shown. Of several models each is shown with
/// what those before it have left.
pub(crate) fn run(asked: Asked, matches: &ArgMatches) -> Result<(), Failure> {
    if let Some(types) = matches.get_many::<String>("compare") {
        return compare::run(matches, &types.map(String::as_str).collect::<Vec<_>>());
    }
    let process = Process::of(&asked.settings);
    let elsewhere = layers::instance(matches)?;
    let devices = match elsewhere {
        Some(other) => Devices::of(&process, other)?,
        None => Devices::here(&process)?,
    };
    let instance = elsewhere.or_else(layers::this_instance);
    let mut plans = Vec::new();
    for wanted in asked.models {
        let Wanted { name, path, settings, .. } = &wanted.brought()?;
        // Nobody named a model and there is none: the settings are worth showing all the same.
        let is_named = !matches!(settings.entry("model").source, Source::Default(_));
        if !is_named && !path.exists() {
            let why = [format!("no model: there is no {}", path.display())];
            show(settings, matches, &why, None)?;
            continue;
        }
        let plan = devices.plan(name.as_deref(), settings, path)?;
        let named = name.iter().map(|name| format!("model {name}"));
        let speed = match plan.roofline(instance) {
            Ok(roofline) => format!("roofline = {}", roofline.why),
            Err(why) => format!("roofline = unknown: {why}"),
        };
        let why: Vec<String> = named.chain(plan.why()).chain([speed]).collect();
        show(plan.settings(), matches, &why, Some(&facts(&plan, instance)))?;
        // What it claims counts for those after it.
        plans.push(plan);
    }
    Ok(())
}

/// Where and how a model would run, as `docs/json.md` has it.
pub(super) fn facts(plan: &Plan, instance: Option<&Instance>) -> Value {
    let fit = plan.fit();
    let ranks = fit.replicas.first().map_or(1, |placed| placed.devices.len());
    let limits = fit.limits();
    let tokens = limits.map(|l| u64::from(l.kv.blocks) * u64::from(l.kv.block_tokens));
    let roofline = match plan.roofline(instance) {
        Ok(roofline) => json!({
            "tokens_one": roofline.tokens_one, "tokens_each": roofline.tokens_each,
            "tokens_s_one": roofline.one, "tokens_s_all": roofline.all,
            "is_compute_bound": roofline.is_compute_bound, "why": roofline.why,
        }),
        Err(why) => json!({ "tokens_s_one": null, "tokens_s_all": null, "why": why }),
    };
    json!({
        "platform": plan.platform(), "device": plan.device(), "replicas": fit.replicas.len(),
        "ranks": ranks, "bytes": fit.bytes(), "kv_tokens": tokens,
        "sequences": limits.map(|limits| limits.sequences_max),
        "max_model_len": limits.map(|limits| limits.context_tokens_max),
        "weight_bytes": fit.reads.map(|reads| reads.weight_bytes),
        "kv_bytes_per_token": fit.reads.map(|reads| reads.kv_bytes_per_token),
        "roofline": roofline,
    })
}

fn show(
    settings: &Settings,
    matches: &ArgMatches,
    why: &[String],
    fit: Option<&Value>,
) -> Result<(), Failure> {
    let text = if let Some(key) = matches.get_one::<String>("explain") {
        explain(settings, key)?
    } else if matches.get_flag("json") {
        format!("{:#}\n", as_json(settings, why, fit))
    } else {
        table(settings, why)
    };
    // Names and values out of somebody's files may be anything; our own lines stay lines.
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    print::stdout(lines.join("\n"))
}

fn explain(settings: &Settings, key: &str) -> Result<String, Failure> {
    let Some(setting) = find(key) else {
        let keys = settings.entries().map(|(key, _)| key);
        let hint = nearest(&key.replace('-', "_"), keys).map(|n| format!("; did you mean {n}?"));
        return Err(Failure::usage(format!("no setting {key}{}", hint.unwrap_or_default())));
    };
    let entry = settings.entry(setting.key);
    let mut text = format!("{} = {} {}", setting.key, entry.value, setting.unit);
    text = format!("{}\n  {}\n  from {}\n", text.trim_end(), setting.doc, entry.source);
    for (value, source) in entry.overrode.iter().rev() {
        text += &format!("  overrides {value} from {source}\n");
    }
    let own = format!("GIMBAL_{}", setting.key.to_uppercase());
    let names: Vec<&str> =
        std::iter::once(own.as_str()).chain(setting.environment.iter().copied()).collect();
    text += &format!("  set by --{} or {}\n", setting.key.replace('_', "-"), names.join(", "));
    Ok(text)
}

fn table(settings: &Settings, why: &[String]) -> String {
    let value = |entry: &Entry| entry.value.to_string();
    let widths =
        |f: &dyn Fn(&(&str, &Entry)) -> usize| settings.entries().map(|e| f(&e)).max().unwrap_or(0);
    let key_width = widths(&|(key, _)| key.len());
    let value_width = widths(&|(_, entry)| value(entry).len());
    let mut text = String::new();
    for (key, entry) in settings.entries() {
        text += &format!("{key:key_width$}  {:value_width$}  {}\n", value(entry), entry.source);
    }
    for told in settings.ignored() {
        text += &format!("ignored: {told}\n");
    }
    for line in why {
        text += &format!("planned: {line}\n");
    }
    text + &format!("hash {}\n", settings.hash())
}

fn as_json(settings: &Settings, why: &[String], fit: Option<&Value>) -> Value {
    let one = |(value, source): (String, String)| json!({ "value": value, "source": source });
    let entry = |(key, entry): (&str, &Entry)| {
        let overrode = entry.overrode.iter().map(|(v, s)| one((v.to_string(), s.to_string())));
        let mut shown = one((entry.value.to_string(), entry.source.to_string()));
        shown["overrode"] = overrode.collect();
        (key.to_owned(), shown)
    };
    let entries: Map<String, Value> = settings.entries().map(entry).collect();
    let ignored = settings
        .ignored()
        .iter()
        .map(|i| json!({ "name": i.name, "source": i.source.to_string(), "why": i.why }));
    let ignored: Vec<Value> = ignored.collect();
    json!({
        "settings": entries, "ignored": ignored, "planned": why, "fit": fit,
        "hash": settings.hash(),
    })
}
