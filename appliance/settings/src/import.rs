//! Other servers' configuration as our YAML, with what is ignored and why.
//!
//! Reads `serving.properties`, variables (`.env` lines, or the `Environment` of SageMaker's
//! `CreateModel` as JSON) and vLLM's `--config` YAML. What they mean is decided where it is decided for
//! `gimbal serve`: in `resolve.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::files::{ConfigFile, Format, Line, Origin, line_of};
use crate::foreign;
use crate::properties::properties;
use crate::resolve::{Given, Paths};
use crate::setting::Value;
use crate::settings::{Settings, Source};
use crate::{Facts, SettingError};

/// What a file says, as `gimbal serve` would be told.
struct Told {
    given: Given,
    /// Of each variable: its line, and its name in the file.
    variables: BTreeMap<String, (u32, String)>,
    /// Of each variable its value; what neither is taken nor ignored means nothing to anybody here.
    values: BTreeMap<String, String>,
}

/// The YAML that a foreign file means, with its sources; what has no effect stands in comments.
///
/// # Errors
/// The file is of no known kind, or broken, or says names of ours that `gimbal serve` would refuse.
pub fn import(path: &str, bytes: &[u8], paths: Paths) -> Result<String, SettingError> {
    let told = read(path, bytes, paths)?;
    let facts = Facts::default();
    let settings = Settings::resolve(&facts, &told.given)?;
    let place = |source: &Source| match source {
        Source::Environment(name) => {
            let (line, name) = told.variables.get(name).map_or((0, name), |(l, n)| (*l, n));
            (line, format!("{path}:{line} {name}"))
        }
        Source::File { line, .. } => (*line, format!("{path}:{line}")),
        other => (0, other.to_string()),
    };
    let mut unused: BTreeSet<&str> = told.variables.keys().map(String::as_str).collect();
    let mut use_up = |source: &Source| {
        if let Source::Environment(name) = source {
            unused.remove(name.as_str());
        }
    };
    let mut yaml = format!("# What {path} means to Gimbal. Check it: gimbal plan --config FILE\n");
    let mut ignored: Vec<(u32, String)> = Vec::new();
    for (key, entry) in settings.entries() {
        let all = entry.overrode.iter().map(|(_, source)| source).chain([&entry.source]);
        all.for_each(&mut use_up);
        for (value, source) in &entry.overrode {
            if !matches!(source, Source::Default(_)) {
                let (line, place) = place(source);
                let why = format!("{place}: {value} is overridden for {key}");
                ignored.push((line, why));
            }
        }
        let is_default = entry.overrode.first().is_some_and(|(value, _)| *value == entry.value);
        let (line, place) = place(&entry.source);
        match entry.source {
            Source::Default(_) => {}
            _ if is_default => {
                ignored.push((line, format!("{place}: {} is the default of {key}", entry.value)));
            }
            // What is written to be kept is read by many.
            _ if matches!(entry.value, Value::Secret(_)) => {
                let why =
                    format!("{place}: a secret is not written; set GIMBAL_{}", key.to_uppercase());
                ignored.push((line, why));
            }
            // Writing to a string cannot fail.
            _ => writeln!(yaml, "{key}: {}  # {place}", as_yaml(&entry.value)).unwrap_or_default(),
        }
    }
    for told in settings.ignored() {
        use_up(&told.source);
        let (line, place) = place(&told.source);
        let name = if place.ends_with(&told.name) { "" } else { &format!(" {}", told.name) };
        ignored.push((line, format!("{place}{name}: {}", told.why)));
    }
    for name in unused {
        let (line, place) = place(&Source::Environment(name.to_owned()));
        let value = told.values.get(name).map_or("", String::as_str);
        let why = if value.is_empty() { "it is empty" } else { foreign::UNKNOWN };
        ignored.push((line, format!("{place}: {why}")));
    }
    ignored.sort();
    if !ignored.is_empty() {
        yaml += "# Without effect:\n";
    }
    for (_, line) in ignored {
        // A name or value of a file must not end the comment.
        writeln!(yaml, "#   {}", line.replace(char::is_control, "\u{fffd}")).ok();
    }
    Ok(yaml)
}

fn read(path: &str, bytes: &[u8], paths: Paths) -> Result<Told, SettingError> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let file = |format, origin| {
        let (path, bytes) = (path.to_owned(), bytes.to_vec());
        ConfigFile { path, bytes, format, origin, section: None }
    };
    let named = |lines: Vec<Line>, named: &dyn Fn(&str) -> String| {
        let lines = lines.into_iter().map(|l| (named(&l.key), l));
        Ok(variables(lines, paths))
    };
    match name.rsplit('.').next().unwrap_or_default() {
        "properties" => {
            let files = vec![file(Format::Properties, Origin::Model)];
            let given = Given { files, paths, ..Given::default() };
            Ok(Told { given, variables: BTreeMap::new(), values: BTreeMap::new() })
        }
        "env" => named(properties(bytes).iter().map(exported).collect(), &str::to_owned),
        "json" => named(environment(path, bytes)?, &str::to_owned),
        "yaml" | "yml" => named(file(Format::Yaml, Origin::Operator).lines()?, &|key| {
            format!("SM_VLLM_{}", key.replace('-', "_").to_uppercase())
        }),
        other => Err(SettingError::File {
            path: path.to_owned(),
            why: format!(
                "a file that ends in .{other} is not known; known are serving.properties, .env, \
                 .json with SageMaker's Environment, and vLLM's .yaml"
            ),
        }),
    }
}

/// Lines as variables of the environment.
fn variables(lines: impl Iterator<Item = (String, Line)>, paths: Paths) -> Told {
    let (mut variables, mut values) = (BTreeMap::new(), BTreeMap::new());
    for (name, line) in lines {
        values.insert(name.clone(), line.value.unwrap_or_default());
        variables.insert(name, (line.line, line.key));
    }
    let environment = values.clone().into_iter().collect();
    Told { given: Given { environment, paths, ..Given::default() }, variables, values }
}

/// A line of a shell: `export` and quotes say nothing.
fn exported(line: &Line) -> Line {
    let mut key = line.key.clone();
    let mut value = line.value.clone().unwrap_or_default();
    // A blank ends a key of Java's, and the rest is its value.
    if let Some((name, rest)) = value.split_once('=').filter(|_| key == "export") {
        (key, value) = (name.trim().to_owned(), rest.trim().to_owned());
    }
    let quoted = |q: char| value.strip_prefix(q)?.strip_suffix(q);
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(&value).to_owned();
    Line { key, value: Ok(value), line: line.line }
}

/// The variables of a JSON object: itself, its `Environment`, or that of its `PrimaryContainer`.
fn environment(path: &str, bytes: &[u8]) -> Result<Vec<Line>, SettingError> {
    let broken = |why: String| SettingError::File { path: path.to_owned(), why };
    let text = std::str::from_utf8(bytes).map_err(|e| broken(e.to_string()))?;
    let value: serde_json::Value = serde_json::from_str(text).map_err(|e| broken(e.to_string()))?;
    let found = ["/PrimaryContainer/Environment", "/Environment", ""];
    let found = found.iter().find_map(|pointer| value.pointer(pointer)?.as_object());
    let variables = found.ok_or_else(|| broken("it must be a JSON object".to_owned()))?;
    let line = |(key, value): (&String, &serde_json::Value)| {
        let line = line_of(text, key);
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Line { key: key.clone(), value: Ok(value), line }
    };
    Ok(variables.iter().map(line).collect())
}

/// A value as YAML reads it back.
fn as_yaml(value: &Value) -> String {
    match value {
        // A JSON string is a YAML string.
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "job_queue_size: 500  # serving.properties:10",
            "max_model_len: 4096  # serving.properties:8",
            "max_rolling_batch_size: 64  # serving.properties:7",
            "# Without effect:",
            "#   serving.properties:1 engine: one engine serves every model",
            "#   serving.properties:2 option.async_mode: the rolling batch is always on",
            "#   serving.properties:3 option.rolling_batch: the rolling batch is always on",
            "#   serving.properties:4 option.entryPoint: no Python runs here",
            "#   serving.properties:5 option.model_id: \
             a model's folder has no say in model: it names a file or folder of this machine",
            "#   serving.properties:6: auto is the default of tensor_parallel_degree",
            "#   serving.properties:9: 0.9 is the default of device_memory_share",
        ];
        let found = import("serving.properties", LMI.as_bytes(), Paths::default())
            .expect("a known kind of file");
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
            let text = import(path, text.as_bytes(), Paths::default()).expect(path);
            let file = ConfigFile {
                path: "out.yaml".into(),
                bytes: text.into_bytes(),
                format: Format::Yaml,
                origin: Origin::Operator,
                section: None,
            };
            let given = Given { files: vec![file], ..Given::default() };
            let settings = Settings::resolve(&Facts::default(), &given).expect(path);
            assert_eq!(settings.integer("max_model_len"), Some(4096), "{path}");
            let queue = if path == "vllm.yaml" { 1000 } else { 500 };
            assert_eq!(settings.integer("job_queue_size"), Some(queue), "{path}");
        }
    }

    /// What `serve` ignores has no line; a path that is there has one.
    #[test]
    fn what_serve_would_ignore_is_no_setting() {
        let cases = [
            ("a.properties", "option.model_id=s3://bucket/x\nport=1\nonnxruntime=/x.so\n", ""),
            ("a.properties", "option.max_model_len=-1\njob_queue_size=0\n", ""),
            ("a.properties", "job_queue_size=5\njob_queue_size=0\n", ""),
            ("a.env", "HF_MODEL_ID=org/name\nOPTION_MODEL_ID=s3://x/y\n", ""),
            ("a.env", "export HF_MODEL_ID=/m\n", "model: \"/m\"  # a.env:1 HF_MODEL_ID"),
            ("a.env", "PORT=1\nGIMBAL_URL=x\nGIMBAL_A_PORT=tcp://x:1\n", ""),
            ("a.json", "{\"MAX_BATCH_SIZE\": \"0\", \"X\nport: 1\": \"\"}", ""),
            ("a.yaml", "model: org/name\nport: 9\n", "port: 9  # a.yaml:2 port"),
        ];
        let is_there: fn(&str) -> bool = |path| path.starts_with('/');
        for (path, text, expect) in cases {
            let paths = Paths { is_there, ..Paths::default() };
            let text = text.replace("X\n", "X\\n");
            let found = import(path, text.as_bytes(), paths).expect(path);
            let taken = found.lines().filter(|line| !line.starts_with('#'));
            assert_eq!(taken.collect::<Vec<_>>().join("\n"), expect, "{path}: {text}\n{found}");
        }
        let slip = import("a.env", b"GIMBAL_PROT=1\n", Paths::default());
        assert!(slip.expect_err("as serve").to_string().contains("did you mean GIMBAL_PORT?"));
    }

    #[test]
    fn what_is_no_configuration_says_so() {
        let error = |path: &str, text: &str| {
            import(path, text.as_bytes(), Paths::default()).expect_err("an error").to_string()
        };
        assert!(error("a.toml", "").contains("serving.properties"), "names what is known");
        assert!(error("a.json", "[1]").contains("JSON object"));
        assert!(error("a.json", "{").starts_with("a.json: "));
    }
}
