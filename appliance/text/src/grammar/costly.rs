//! What no limit of the library bounds, refused before it is compiled.
//!
//! `multipleOf` becomes an automaton of about as many states as the number has units, and several that
//! hold at once one of about their product: 99991 takes seconds, a million minutes and gigabytes.
//! Next: `ascii.rs`.

use serde_json::{Deserializer, Value};

use super::GrammarError;

/// Units of one number, and of all of a schema whose parts may hold at once.
const UNITS_MAX: f64 = 10_000.0;

/// Refuses a schema that takes too long to compile.
pub(crate) fn check(schema: &Value) -> Result<(), GrammarError> {
    let mut found = Found::default();
    found.look(schema);
    let most = found.units.iter().copied().fold(1.0, f64::max);
    let product: f64 = found.units.iter().product();
    if most > UNITS_MAX || found.merges && product > UNITS_MAX {
        let what = format!(
            "multipleOf asks for too much: at most {UNITS_MAX} units of its last digit are taken, \
             and of several that may hold at once their product counts"
        );
        return Err(GrammarError(what));
    }
    Ok(())
}

/// The same for the schemas that stand in a grammar in Lark's form.
pub(super) fn check_lark(text: &str) -> Result<(), GrammarError> {
    for (at, mark) in text.match_indices("%json") {
        let rest = text.get(at + mark.len()..).unwrap_or_default();
        // What is no JSON is no schema; the library says so.
        if let Some(Ok(schema)) = Deserializer::from_str(rest).into_iter::<Value>().next() {
            check(&schema)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    /// Different numbers, in units of their last digits.
    units: Vec<f64>,
    /// Schemas are merged.
    merges: bool,
}

impl Found {
    fn look(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.look(item)),
            Value::Object(members) => {
                for (name, value) in members {
                    match (name.as_str(), value) {
                        ("multipleOf", Value::Number(number)) => {
                            let units = units(&number.to_string());
                            if !self.units.contains(&units) {
                                self.units.push(units);
                            }
                        }
                        ("allOf" | "$ref" | "anyOf" | "oneOf", _) => self.merges = true,
                        _ => {}
                    }
                    self.look(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// A number in units of its last digit: 25 for 0.25, 100 for 100.
fn units(number: &str) -> f64 {
    let plain: String = number.trim_start_matches('-').replace('.', "");
    match (number.contains(['e', 'E']), plain.parse::<f64>()) {
        (false, Ok(units)) => units.max(1.0),
        // Very large or very small.
        _ => f64::INFINITY,
    }
}
