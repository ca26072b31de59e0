//! `gimbal plan --compare T1,T2`: one model on several instance types, a line each.
//!
//! Each is planned as `--instance` plans it; a type on which it does not run says why. Next: `plan.rs`.

use std::path::Path;

use clap::ArgMatches;
use gimbal_machine::Instance;
use gimbal_model::printable;
use serde_json::{Value, json};

use super::layers::{self, Wanted};
use super::plan;
use super::prices::Prices;
use crate::boot::{Devices, Plan};
use crate::config::Process;
use crate::failure::Failure;
use crate::print;
use crate::source::Arrived;

/// Most types of a comparison: all of the catalogue, and as many again.
const TYPES_MAX: usize = 2000;
/// Columns of the table.
const COLUMNS: [&str; 10] = [
    "type",
    "platform",
    "device",
    "copies × ranks",
    "weights",
    "KV tokens",
    "tokens/s of 1",
    "tokens/s of all",
    "sequences",
    "1M tokens cost ≥",
];

/// One type's answer.
struct Row {
    instance: &'static Instance,
    /// How it would run there, or why not.
    plan: Result<Plan, Failure>,
    /// What a million tokens cost at least, where that is known.
    cost: Option<f64>,
}

/// Runs the command for the types that were named.
///
/// # Errors
/// A type that is not in the catalogue, several models, or settings that are wrong.
pub(super) fn run(matches: &ArgMatches, types: &[&str]) -> Result<(), Failure> {
    if types.len() > TYPES_MAX {
        let count = types.len();
        return Err(Failure::usage(format!("--compare takes {TYPES_MAX} types, not {count}")));
    }
    let instances = types.iter().map(|name| layers::known_instance("--compare", name));
    let instances = instances.collect::<Result<Vec<_>, _>>()?;
    let prices = matches.get_one::<String>("prices").map(Path::new).map(Prices::read);
    let prices = prices.transpose()?;
    let none = Prices::default();
    let (known, mut arrived) = (prices.as_ref().unwrap_or(&none), None);
    let rows = instances.into_iter().map(|instance| row(matches, instance, known, &mut arrived));
    let rows = rows.collect::<Result<Vec<Row>, Failure>>()?;
    let text = match matches.get_flag("json") {
        true => {
            let compared: Vec<Value> = rows.iter().map(Row::json).collect();
            format!("{:#}\n", json!({ "compared": compared }))
        }
        false => table(&rows, prices.is_some()),
    };
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    print::stdout(lines.join("\n"))
}

/// The model arrives once for all rows.
fn row(
    matches: &ArgMatches,
    instance: &'static Instance,
    prices: &Prices,
    arrived: &mut Option<Arrived>,
) -> Result<Row, Failure> {
    let asked = layers::resolve_on(matches, Some(instance))?;
    let [wanted] = <[Wanted; 1]>::try_from(asked.models)
        .map_err(|_| Failure::usage("--compare takes one model: name its path"))?;
    let arrived = match arrived {
        Some(arrived) => arrived,
        None => arrived.insert(layers::bring(&wanted.path)?),
    };
    let Wanted { name, path, settings, .. } = &wanted.at(arrived)?;
    let devices = Devices::of(&Process::of(&asked.settings), instance)?;
    let plan = devices.plan(name.as_deref(), settings, path);
    let roofline = plan.as_ref().ok().and_then(|plan| plan.roofline(Some(instance)).ok());
    let cost = roofline.and_then(|roofline| prices.of_million(&instance.name, &roofline));
    Ok(Row { instance, plan, cost })
}

impl Row {
    fn json(&self) -> Value {
        let name = &self.instance.name;
        match &self.plan {
            Err(why) => json!({ "type": name, "fits": false, "why": [why.to_string()] }),
            Ok(plan) => {
                let mut facts = plan::facts(plan, Some(self.instance));
                facts["type"] = json!(name);
                facts["fits"] = json!(true);
                facts["why"] = json!(plan.why());
                facts["cost_of_million"] = json!(self.cost);
                facts
            }
        }
    }

    fn cells(&self) -> [String; 10] {
        let name = self.instance.name.clone();
        let none = || "–".to_owned();
        let Ok(plan) = &self.plan else {
            let mut cells: [String; 10] = std::array::from_fn(|_| none());
            cells[0] = name;
            return cells;
        };
        let facts = plan::facts(plan, Some(self.instance));
        let number = |value: &Value, digits: usize| match value.as_f64() {
            Some(number) => format!("{number:.digits$}"),
            None => "unknown".to_owned(),
        };
        let roofline = &facts["roofline"];
        [
            name,
            plan.platform().to_owned(),
            plan.device().to_owned(),
            format!("{} × {}", facts["replicas"], facts["ranks"]),
            facts["weight_bytes"].as_f64().map_or_else(none, |b| format!("{:.3} GB", b / 1e9)),
            facts["kv_tokens"].to_string(),
            number(&roofline["tokens_s_one"], 1),
            number(&roofline["tokens_s_all"], 0),
            facts["sequences"].to_string(),
            self.cost.map_or_else(none, |cost| format!("{cost:.4}")),
        ]
    }

    /// What the table has no column for.
    fn notes(&self) -> Vec<String> {
        let name = &self.instance.name;
        match &self.plan {
            Err(why) => vec![format!("{name}: {why}")],
            Ok(plan) => {
                let passed = plan.passed().iter();
                let passed =
                    passed.map(|(platform, why)| format!("{name}: not on {platform}: {why}"));
                let unknown = plan.roofline(Some(self.instance)).err();
                passed.chain(unknown.map(|why| format!("{name}: {why}"))).collect()
            }
        }
    }
}

fn table(rows: &[Row], has_prices: bool) -> String {
    let count = if has_prices { COLUMNS.len() } else { COLUMNS.len() - 1 };
    let mut lines = vec![COLUMNS.map(str::to_owned)];
    lines.extend(rows.iter().map(Row::cells));
    let wide = |i: usize| lines.iter().map(|cells| cells[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; 10] = std::array::from_fn(wide);
    let mut text = String::new();
    for cells in &lines {
        let padded =
            cells.iter().zip(widths).take(count).map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        text += line.trim_end();
        text += "\n";
    }
    text += "tokens/s are upper bounds of one copy by arithmetic (memory bandwidth ÷ what a step reads), \
             not measured: gimbal plan --instance TYPE shows them\n";
    for note in rows.iter().flat_map(Row::notes) {
        text += &format!("{note}\n");
    }
    text
}
