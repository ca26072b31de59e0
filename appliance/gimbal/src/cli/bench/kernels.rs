//! `gimbal bench --kernels`: the CPU's kernels against what bounds them, as a table and as data.

use std::fmt::Write;

use gimbal_bench::Environment;
use gimbal_hal::KernelReport;
use gimbal_model::Model;
use serde_json::json;

use crate::boot;
use crate::cli::layers;
use crate::config::Process;
use crate::failure::Failure;
use crate::host::host;

/// Operations or bytes a second as the table writes them.
const GIGA: f64 = 1e9;
/// Bytes as the roofline writes them.
const MEGA: f64 = 1e6;

pub(super) fn measure(threads: Option<u32>) -> Result<KernelReport, Failure> {
    eprintln!("measuring every kernel five times, for some seconds");
    let threads = threads.unwrap_or_else(|| host().cores);
    let process = Process::of(&layers::defaults()?);
    let measured = boot::with_tools(&process, |tools| tools.measure(threads))?;
    measured.map_err(|e| Failure::unavailable(format!("memory for the weights: {e}")))
}

/// What memory allows a model of one sequence.
pub(super) struct Roofline {
    model: String,
    /// Packed weights, each of which a token reads once; KV is not counted.
    bytes_per_token: u64,
    /// That by the bandwidth of the report.
    tokens_per_second: f64,
}

impl Roofline {
    pub(super) fn of(model: &Model, report: &KernelReport) -> Result<Self, Failure> {
        let process = Process::of(&layers::defaults()?);
        let bytes = boot::with_tools(&process, |tools| tools.packed_bytes(model, None))?;
        let bytes = bytes.ok_or_else(|| {
            Failure::unavailable(format!("no kernels for {}: see gimbal plan", model.name))
        })?;
        let tokens_per_second = report.peaks.read / bytes as f64;
        Ok(Self { model: model.name.clone(), bytes_per_token: bytes, tokens_per_second })
    }
}

pub(super) fn table(
    report: &KernelReport,
    roofline: Option<&Roofline>,
    environment: &Environment,
) -> String {
    let KernelReport { kernels, threads, peaks, figures } = report;
    let mut out = format!(
        "{} on {} ({threads} threads, kernels: {kernels})\n\
         read {:.1} GB/s; in registers, GOP/s: \
         u4·i8 {:.0}, with offsets {:.0}, i8·i8 {:.0}, f32 {:.0}\n\n\
         {:<12} {:>5} {:>8} {:>6} {:>8} {:>6}\n",
        environment.date,
        environment.cpu,
        peaks.read / GIGA,
        peaks.nibbles / GIGA,
        peaks.offsets / GIGA,
        peaks.bytes / GIGA,
        peaks.floats / GIGA,
        "weights",
        "rows",
        "GB/s",
        "%",
        "GOP/s",
        "%"
    );
    for figure in figures {
        let written = writeln!(
            out,
            "{:<12} {:>5} {:>8.1} {:>6.0} {:>8.0} {:>6.0}",
            figure.dtype,
            figure.rows,
            figure.bytes / GIGA,
            figure.of_read * 100.0,
            figure.operations / GIGA,
            figure.of_peak * 100.0
        );
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    out.push_str(
        "\nBest of five rounds each. % of the bandwidth at which all threads read memory, and of \
         what the same\narithmetic does on registers alone, scales of each block of 32 included. \
         Weights come from memory at\n1 row and from a cache at more.\n",
    );
    if let Some(Roofline { model, bytes_per_token, tokens_per_second }) = roofline {
        let written = writeln!(
            out,
            "\nroofline of {model}: {:.1} MB of weights a token / {:.1} GB/s: at most \
             {tokens_per_second:.0} tokens/s of one sequence",
            *bytes_per_token as f64 / MEGA,
            peaks.read / GIGA,
        );
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    out
}

pub(super) fn json(
    report: &KernelReport,
    roofline: Option<&Roofline>,
    environment: &Environment,
) -> String {
    let roofline = roofline.map(|roofline| {
        json!({
            "model": roofline.model,
            "bytes_per_token": roofline.bytes_per_token,
            "tokens_per_second": roofline.tokens_per_second,
        })
    });
    let figures = report.figures.iter().map(|figure| {
        json!({
            "dtype": figure.dtype,
            "rows": figure.rows,
            "bytes_per_second": figure.bytes,
            "operations_per_second": figure.operations,
            "of_read": figure.of_read,
            "of_peak": figure.of_peak,
        })
    });
    let peaks = report.peaks;
    json!({
        "environment": environment,
        "kernels": report.kernels,
        "threads": report.threads,
        "peaks": {
            "read_bytes_per_second": peaks.read,
            "u4_i8_operations_per_second": peaks.nibbles,
            "u4_i8_offset_operations_per_second": peaks.offsets,
            "i8_i8_operations_per_second": peaks.bytes,
            "f32_operations_per_second": peaks.floats,
        },
        "figures": figures.collect::<Vec<_>>(),
        "roofline": roofline,
    })
    .to_string()
}
