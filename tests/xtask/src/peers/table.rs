//! Medians, ratios and the bars they are held against.

use std::fmt::Write;

use serde_json::Value;

/// Work and the least ratios: to the same file, and to llama.cpp on its best type.
const BARS: [(&str, &str, f64, f64); 4] = [
    ("decode, 1 sequence", "decode 1", 2.1, 1.6),
    ("decode, 8 sequences", "decode 8", 3.8, 2.3),
    ("decode, 32 sequences", "decode 32", 3.7, 2.1),
    ("prefill, 512 tokens", "prefill 512", 4.0, 1.9),
];
/// What HTTP may take of them.
const HTTP_SHARE: f64 = 0.95;

/// The names of all work of the libraries.
pub(super) fn works() -> impl Iterator<Item = &'static str> {
    BARS.iter().map(|(_, work, ..)| *work)
}

/// Everything for a person.
pub(super) fn table(report: &Value) -> String {
    let mut out = format!(
        "\n{} on {} ({} threads), {}\n\n",
        text(&report["model"]),
        text(&report["machine"]["cpu"]),
        text(&report["machine"]["threads"]),
        text(&report["machine"]["date"])
    );
    let rounds = report["rounds"].as_array().map_or(&[][..], Vec::as_slice);
    out.push_str("| library, tokens/s, medians | gimbal | llama.cpp | ratio | bar | ");
    out.push_str("llama.cpp Q4_0 | ratio | bar | Q4_0 by both | Q4_K_M by both |\n");
    out.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
    for (title, work, same, best) in BARS {
        let of = |file: &str, side: &str| median(rounds.iter().map(|r| &r[file][side][work]));
        // The ratio of each round, for what slows a round slows both sides of it.
        let ratio = |ours: (&str, &str), theirs: (&str, &str)| {
            let rounds = rounds.iter().map(|r| {
                let pace = |(file, side): (&str, &str)| r[file][side][work].as_f64();
                Some(pace(ours)? / pace(theirs)?)
            });
            middle(rounds.flatten().collect())
        };
        let own = ("own file", "gimbal");
        let row = format!(
            "| {title} | {:.0} | {:.0} | {:.2} | {same} | {:.0} | {:.2} | {best} | {:.2} | {:.2} |",
            of(own.0, own.1),
            of("own file", "llama.cpp"),
            ratio(own, ("own file", "llama.cpp")),
            of("Q4_0", "llama.cpp"),
            ratio(own, ("Q4_0", "llama.cpp")),
            ratio(("Q4_0", "gimbal"), ("Q4_0", "llama.cpp")),
            ratio(("Q4_K_M", "gimbal"), ("Q4_K_M", "llama.cpp")),
        );
        line(&mut out, &row);
    }
    for (engine, rate) in report["others"].as_object().into_iter().flatten() {
        let rate = rate.as_f64().map_or("not measured".to_owned(), |r| format!("{r:.1}"));
        line(&mut out, &format!("1 sequence of the own file by {engine}, tokens/s: {rate}"));
    }
    divergences(&mut out, report);
    busy(&mut out, report);
    served(&mut out, report);
    out
}

/// Mean KL of each configuration to the f32 reference of its file.
fn divergences(out: &mut String, report: &Value) {
    let Some(files) = report["kl"].as_object() else { return };
    for (file, means) in files {
        let means = means.as_object().into_iter().flatten();
        let of = |(name, mean): (&String, &Value)| {
            Some(format!("{name} {:.5}", mean.as_f64().filter(|_| name != "positions")?))
        };
        let means: Vec<String> = means.filter_map(of).collect();
        line(out, &format!("{file}, mean KL to f32: {}", means.join("; ")));
    }
}

fn busy(out: &mut String, report: &Value) {
    let Some(rounds) = report["busy"].as_array() else { return };
    for (title, work, ..) in &BARS[..3] {
        let share = |r: &Value| Some(r["busy"][work].as_f64()? / r["undisturbed"][work].as_f64()?);
        let share = 100.0 * middle(rounds.iter().filter_map(share).collect());
        line(out, &format!("{title} beside a busy loop on one core: {share:.0} % (bar 45)"));
    }
}

fn served(out: &mut String, report: &Value) {
    let Some(files) = report["http"].as_object() else { return };
    out.push_str(
        "\n| HTTP, prompts 128, outputs 128 | gimbal tokens/s | llama.cpp | ratio | bar |",
    );
    out.push_str(" TTFT p50 ms | ITL p50 ms |\n|---|---|---|---|---|---|---|\n");
    for (name, served) in files {
        for (clients, (_, _, same, best)) in ["1", "8", "32"].iter().zip(BARS) {
            let side = |i: usize, metric: &str| {
                served["cells"][clients]["sides"][i]["medians"][metric].as_f64().unwrap_or(f64::NAN)
            };
            let rate = "output_tokens_per_s";
            let bar = if name == "Q4_0" { best } else { same };
            let row = format!(
                "| {name}, {clients} | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} / {:.0} | {:.1} / {:.1} |",
                side(0, rate),
                side(1, rate),
                side(0, rate) / side(1, rate),
                bar * HTTP_SHARE,
                side(0, "ttft_p50_ms"),
                side(1, "ttft_p50_ms"),
                side(0, "itl_p50_ms"),
                side(1, "itl_p50_ms"),
            );
            line(out, &row);
        }
        let mib = |name: &str| served["memory"][name].as_f64().unwrap_or(f64::NAN) / 1_048_576.0;
        let (all, weights, kv) = (mib("resident"), mib("weights"), mib("kv"));
        let row = format!(
            "\n{name}: resident after the load {all:.0} MiB: {weights:.0} of weights, {kv:.0} of KV, {:.0} else (bar 64)\n",
            all - weights - kv
        );
        line(out, &row);
    }
    let first = |name: &str| {
        let side = &report["prefix"][name]["sides"][0]["medians"]["ttft_p50_ms"];
        side.as_f64().unwrap_or(f64::NAN)
    };
    let row = format!(
        "first token of 1,016 tokens: cold {:.1} ms, 1,000 of them cached {:.1} ms, ratio {:.1} (bar 20)",
        first("cold"),
        first("warm"),
        first("cold") / first("warm")
    );
    line(out, &row);
    let boots = report["boot"].as_array().into_iter().flatten();
    let total = median(boots.map(|boot| &boot["total_ms"]));
    line(
        out,
        &format!("process start to first token, packed weights there: {total:.0} ms (bar 150)"),
    );
}

fn line(out: &mut String, row: &str) {
    let written = writeln!(out, "{row}");
    debug_assert!(written.is_ok(), "a String takes everything");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("unknown")
}

fn median<'a>(values: impl Iterator<Item = &'a Value>) -> f64 {
    middle(values.filter_map(Value::as_f64).collect())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
