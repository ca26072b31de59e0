//! `gimbal inspect`: what a model is, what it holds, what it needs, and where it would run.
//!
//! Reads metadata, tokenizer and template; no weight.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, ArgMatches};
use gimbal_hal::{Artifact, Fit, Quantize};
use gimbal_model::{Decoder, HeadNorm, Model, printable};
use gimbal_settings::Settings;
use serde_json::{Value, json};

use crate::boot::{self, Devices};
use crate::config::{ModelConfig, Process};
use crate::failure::Failure;
use crate::logging;
use crate::print;
use crate::words::Words;

/// Flags of this command alone.
pub(super) fn flags() -> [Arg; 1] {
    [Arg::new("json").long("json").num_args(0).help("Print JSON")]
}

/// Runs the command.
pub(crate) fn run(settings: &Settings, matches: &ArgMatches, model: &Path) -> Result<(), Failure> {
    logging::start(settings, Some("warn"));
    let artifact = Artifact::open(model)?;
    let Artifact::Decoder(model) = &artifact else {
        return Err(Failure::data(format!(
            "{}: {} is not inspected yet, only GGUF and safetensors of language models",
            model.display(),
            artifact.what()
        )));
    };
    let facts = facts(model, &artifact, settings)?;
    let text = if matches.get_flag("json") { format!("{facts:#}\n") } else { lines(&facts) };
    print::stdout(text)
}

fn facts(model: &Model, artifact: &Artifact, settings: &Settings) -> Result<Value, Failure> {
    let mut types: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut parameters = 0;
    for (_, entry) in model.weights.entries() {
        let (count, bytes) = types.entry(entry.dtype.name()).or_default();
        *count += 1;
        *bytes += entry.bytes.len() as u64;
        parameters += (entry.rows * entry.cols) as u64;
    }
    let types: serde_json::Map<String, Value> = types
        .into_iter()
        .map(|(name, (count, bytes))| (name.into(), json!({ "tensors": count, "bytes": bytes })))
        .collect();
    let config = ModelConfig::of(settings);
    let words = Words::open(model, model.text.clone(), config.chat_template.as_deref())?;
    let ends = words.tokenizer.end_tokens().iter();
    let ends: Vec<String> = ends.map(|id| words.tokenizer.decode(&[*id], false)).collect();
    let kv = config.profile.kv_dtype.bytes_per_token(&model.graph);
    let memory = [("as it is", None), ("q8", Some(Quantize::Q8)), ("q4", Some(Quantize::Q4))];
    let memory = boot::with_tools(&Process::of(settings), |tools| {
        memory.map(|(name, quantize)| {
            let bytes = tools.packed_bytes(model, quantize);
            json!({ "quantize": name, "weights_bytes": bytes })
        })
    })?;
    Ok(json!({
        "path": model.path, "name": model.name, "licence": model.licence,
        "architecture": architecture(&model.decoder),
        "parameters": parameters, "context_tokens": model.context_tokens,
        "file_bytes": model.weights.bytes(), "types": types,
        "tokenizer": {
            "kind": words.kind, "tokens": words.tokenizer.vocabulary_len(),
            "bos": words.tokenizer.bos_text(), "ends": ends,
        },
        "chat_template": words.template_source,
        "kv_bytes_per_token": kv,
        "memory": memory,
        "runs_on": places(artifact, settings)?,
    }))
}

fn architecture(c: &Decoder) -> Value {
    let windows: Vec<usize> = c.layers.iter().filter_map(|layer| layer.window).collect();
    let still = c.layers.iter().filter(|layer| layer.rope.is_none()).count();
    json!({
        "layers": c.layers.len(), "hidden": c.hidden, "feed_forward": c.feed_forward,
        "heads": c.heads, "kv_heads": c.kv_heads, "head_dim": c.head_dim, "vocabulary": c.vocab,
        "window": windows.first(), "windowed_layers": windows.len(), "layers_without_rope": still,
        "qkv_bias": c.qkv_bias, "tied_embedding": c.tied,
        "head_norms": c.head_norms.map(|norm| match norm {
            HeadNorm::Head => "each head",
            HeadNorm::Row => "all heads",
        }),
    })
}

/// What each platform says of the model.
fn places(artifact: &Artifact, settings: &Settings) -> Result<Vec<Value>, Failure> {
    let devices = Devices::here(&Process::of(settings))?;
    let say = |(platform, fit): (String, Result<Fit, String>)| match fit {
        Ok(fit) => json!({
            "platform": platform, "fits": true, "device_bytes": fit.bytes(),
            "max_model_len": fit.limits().map(|limits| limits.context_tokens_max), "why": fit.why,
        }),
        Err(why) => json!({ "platform": platform, "fits": false, "why": [why] }),
    };
    Ok(devices.fits(artifact, settings).into_iter().map(say).collect())
}

fn lines(facts: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // What a file says is shown, not obeyed. Writing to a string cannot fail.
        let _ = writeln!(text, "{name:13} {}", printable(&value));
    };
    let string = |value: &Value| value.as_str().unwrap_or("not said").to_owned();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    line("model", format!("{} ({})", string(&facts["name"]), string(&facts["path"])));
    line("licence", string(&facts["licence"]));
    let a = &facts["architecture"];
    line(
        "architecture",
        format!(
            "{} layers, hidden {}, feed-forward {}, {} heads over {} kv heads of {}, vocabulary {}",
            a["layers"],
            a["hidden"],
            a["feed_forward"],
            a["heads"],
            a["kv_heads"],
            a["head_dim"],
            a["vocabulary"]
        ),
    );
    if number(&a["windowed_layers"]) > 0 {
        let (some, window) = (&a["windowed_layers"], &a["window"]);
        line("window", format!("{some} layers see {window} positions, the others all"));
    }
    let millions = number(&facts["parameters"]) as f64 / 1e6;
    line("parameters", format!("{millions:.1} million, context {}", facts["context_tokens"]));
    let kinds = facts["types"].as_object().into_iter().flatten();
    let kinds: Vec<String> = kinds
        .map(|(name, t)| format!("{name} × {} ({})", t["tensors"], mib(number(&t["bytes"]))))
        .collect();
    line("weights", format!("{}: {}", mib(number(&facts["file_bytes"])), kinds.join(", ")));
    let t = &facts["tokenizer"];
    let ends = t["ends"].as_array().into_iter().flatten().map(string).collect::<Vec<_>>().join(" ");
    let kind = string(&t["kind"]);
    line("tokenizer", format!("{kind}, {} tokens, bos {}, ends {ends}", t["tokens"], t["bos"]));
    let none = "none: chat is refused; name one with --chat-template FILE";
    line("chat template", facts["chat_template"].as_str().unwrap_or(none).to_owned());
    let mut shown = Vec::new();
    for memory in facts["memory"].as_array().into_iter().flatten() {
        // A model that is quantised already stays as it is.
        if shown.contains(&&memory["weights_bytes"]) {
            continue;
        }
        shown.push(&memory["weights_bytes"]);
        let bytes = memory["weights_bytes"].as_u64().map_or("cannot be computed".to_owned(), mib);
        line("memory", format!("{bytes} of weights, {}", string(&memory["quantize"])));
    }
    let kv = number(&facts["kv_bytes_per_token"]);
    let whole = mib(kv * number(&facts["context_tokens"]));
    line("", format!("{kv} bytes of KV a token, {whole} a full context"));
    for place in facts["runs_on"].as_array().into_iter().flatten() {
        let why = place["why"].as_array().into_iter().flatten().map(string).collect::<Vec<_>>();
        let platform = string(&place["platform"]);
        match place["fits"] == true {
            true => {
                let bytes = mib(number(&place["device_bytes"]));
                line("runs on", format!("{platform}: {bytes} in all; {}", why.join("; ")));
            }
            false => line("not on", format!("{platform}: {}", why.join("; "))),
        }
    }
    text
}
