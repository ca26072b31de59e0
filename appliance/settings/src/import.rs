//! Other servers' configuration as our YAML, with what is ignored and why.
//!
//! Reads `serving.properties`, variables (`.env` lines, or the `Environment` of SageMaker's
//! `CreateModel` as JSON) and vLLM's `--config` YAML.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::files::{ConfigFile, Format, Line, properties};
use crate::foreign;
use crate::resolve::{is_property_of, parse};
use crate::table::{Setting, TABLE, Value};
use crate::{Facts, SettingError};

/// Who wrote a file, and so what its keys are.
#[derive(Clone, Copy)]
enum Dialect {
    Properties,
    Environment,
    Vllm,
}

/// The YAML that a foreign file means, with its sources; what has no effect stands in comments.
///
/// # Errors
/// The file is of no known kind, or broken.
pub fn import(path: &str, text: &str) -> Result<String, SettingError> {
    let (dialect, lines) = read(path, text)?;
    let mut taken: BTreeMap<&str, String> = BTreeMap::new();
    let mut ignored = Vec::new();
    for Line { key, value, line } in lines {
        let place = format!("{path}:{line} {key}");
        let Some(setting) = find(dialect, &key) else {
            let property = match dialect {
                Dialect::Properties => key.clone(),
                Dialect::Environment => foreign::property(&key),
                Dialect::Vllm => format!("option.{}", key.replace('-', "_")),
            };
            ignored.push(format!("{place} = {value}: {}", foreign::why(&property)));
            continue;
        };
        match parse(setting, &value) {
            Err(expected) => ignored.push(format!("{place} = {value}: {expected}")),
            Ok(parsed) if parsed == (setting.default)(&Facts::default()).0 => {
                ignored.push(format!("{place} = {value}: it is the default of {}", setting.key));
            }
            Ok(parsed) => {
                taken.insert(setting.key, format!("{}  # {place}", yaml(&parsed)));
            }
        }
    }
    let mut yaml = format!("# What {path} means to Gimbal. Check it: gimbal plan --config FILE\n");
    for (key, value) in &taken {
        // Writing to a string cannot fail.
        writeln!(yaml, "{key}: {value}").ok();
    }
    if !ignored.is_empty() {
        yaml += "# Without effect:\n";
    }
    for line in ignored {
        writeln!(yaml, "#   {line}").ok();
    }
    Ok(yaml)
}

fn read(path: &str, text: &str) -> Result<(Dialect, Vec<Line>), SettingError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.rsplit('.').next().unwrap_or_default() {
        "properties" => Ok((Dialect::Properties, properties(text))),
        "env" => Ok((Dialect::Environment, properties(text).iter().map(exported).collect())),
        "json" => Ok((Dialect::Environment, environment(path, text)?)),
        "yaml" | "yml" => {
            let (path, text) = (path.to_owned(), text.to_owned());
            let file = ConfigFile { path, text, format: Format::Yaml };
            Ok((Dialect::Vllm, file.lines()?))
        }
        other => Err(SettingError::File {
            path: path.to_owned(),
            why: format!(
                "a file that ends in .{other} is not known; known are serving.properties, .env, \
                 .json with SageMaker's Environment, and vLLM's .yaml"
            ),
        }),
    }
}

/// A line of a shell: `export` and quotes say nothing.
fn exported(line: &Line) -> Line {
    let key = line.key.strip_prefix("export ").unwrap_or(&line.key).trim().to_owned();
    let quoted = |q: char| line.value.strip_prefix(q)?.strip_suffix(q);
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(&line.value).to_owned();
    Line { key, value, line: line.line }
}

/// The variables of a JSON object: itself, its `Environment`, or that of its `PrimaryContainer`.
fn environment(path: &str, text: &str) -> Result<Vec<Line>, SettingError> {
    let broken = |why: String| SettingError::File { path: path.to_owned(), why };
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| broken(e.to_string()))?;
    let found = ["/PrimaryContainer/Environment", "/Environment", ""];
    let found = found.iter().find_map(|pointer| value.pointer(pointer)?.as_object());
    let variables = found.ok_or_else(|| broken("it must be a JSON object".to_owned()))?;
    let line = |(key, value): (&String, &serde_json::Value)| {
        let before = text.find(&format!("\"{key}\"")).map_or("", |at| &text[..at]);
        let line = u32::try_from(before.lines().count().max(1)).unwrap_or(u32::MAX);
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Line { key: key.clone(), value, line }
    };
    Ok(variables.iter().map(line).collect())
}

fn find(dialect: Dialect, key: &str) -> Option<&'static Setting> {
    let named = |name: &str| {
        TABLE.iter().find(|s| {
            s.environment.contains(&name)
                || name.strip_prefix("GIMBAL_") == Some(&s.key.to_uppercase())
        })
    };
    match dialect {
        Dialect::Properties => TABLE.iter().find(|s| is_property_of(s, key)),
        Dialect::Environment => named(key),
        Dialect::Vllm => named(&format!("SM_VLLM_{}", key.replace('-', "_").to_uppercase())),
    }
}

/// A value as YAML reads it back.
fn yaml(value: &Value) -> String {
    match value {
        // A JSON string is a YAML string.
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Given, Settings};

    /// **Source**: DJL-Serving, `serving/docs/lmi/user_guides/vllm_user_guide.md` and
    /// `starting-guide.md`, options as written there.
    const LMI: &str = "\
engine=Python
option.async_mode=true
option.rolling_batch=disable
option.entryPoint=djl_python.lmi_vllm.vllm_async_service
option.model_id=/opt/ml/model
option.tensor_parallel_degree=max
option.max_rolling_batch_size=64
option.max_model_len=4096
option.gpu_memory_utilization=0.9
job_queue_size=500
";

    #[test]
    fn lmis_documented_file_is_imported_with_reasons() {
        let expect = [
            "# What serving.properties means to Gimbal. Check it: gimbal plan --config FILE",
            "job_queue_size: 500  # serving.properties:10 job_queue_size",
            "max_model_len: 4096  # serving.properties:8 option.max_model_len",
            "max_rolling_batch_size: 64  # serving.properties:7 option.max_rolling_batch_size",
            "# Without effect:",
            "#   serving.properties:1 engine = Python: one engine serves every model",
            "#   serving.properties:2 option.async_mode = true: the rolling batch is always on",
            "#   serving.properties:3 option.rolling_batch = disable: the rolling batch is always on",
            "#   serving.properties:4 option.entryPoint = djl_python.lmi_vllm.vllm_async_service: \
             no Python runs here",
            "#   serving.properties:5 option.model_id = /opt/ml/model: it is the default of model",
            "#   serving.properties:6 option.tensor_parallel_degree = max: \
             ranks are planned from the model and the devices",
            "#   serving.properties:9 option.gpu_memory_utilization = 0.9: \
             memory is planned in bytes; see kv_cache_bytes",
        ];
        let found = import("serving.properties", LMI).expect("a known kind of file");
        assert_eq!(found.lines().collect::<Vec<_>>(), expect);
    }

    /// Whatever a dialect says, the YAML resolves, and to the same values.
    #[test]
    fn every_dialect_becomes_yaml_that_resolves() {
        let cases = [
            ("a/serving.properties", LMI),
            (
                "x.env",
                "export SM_VLLM_MAX_MODEL_LEN='4096'\nMAX_CONCURRENT_REQUESTS=\"500\"\nA=b\n",
            ),
            (
                "model.json",
                "{\"PrimaryContainer\": {\"Environment\": {\n \"OPTION_MAX_MODEL_LEN\": \"4096\",\n \
                 \"SERVING_JOB_QUEUE_SIZE\": \"500\"}}}",
            ),
            ("vllm.yaml", "max-model-len: 4096\ntensor-parallel-size: 2\n"),
        ];
        for (path, text) in cases {
            let text = import(path, text).expect(path);
            let file = ConfigFile { path: "out.yaml".into(), text, format: Format::Yaml };
            let given = Given { files: vec![file], ..Given::default() };
            let settings = Settings::resolve(&Facts::default(), &given).expect(path);
            assert_eq!(settings.integer("max_model_len"), Some(4096), "{path}");
            let queue = if path == "vllm.yaml" { 1000 } else { 500 };
            assert_eq!(settings.integer("job_queue_size"), Some(queue), "{path}");
        }
    }

    #[test]
    fn what_is_no_configuration_says_so() {
        let error = |path, text| import(path, text).expect_err("an error").to_string();
        assert!(error("a.toml", "").contains("serving.properties"), "names what is known");
        assert!(error("a.json", "[1]").contains("JSON object"));
        assert!(error("a.json", "{").starts_with("a.json: "));
    }
}
