//! Structured logs on stderr: text on a terminal, JSON otherwise. Never a prompt.

use std::io::IsTerminal;

use gimbal_settings::{Settings, Source};
use tracing_subscriber::EnvFilter;

/// Installs the logger the settings ask for; `quiet` is the level where they say nothing.
pub(crate) fn start(settings: &Settings, quiet: Option<&str>) {
    let is_default = matches!(settings.entry("log_level").source, Source::Default(_));
    let level = settings.text("log_level").unwrap_or("info");
    let level = quiet.filter(|_| is_default).unwrap_or(level);
    let is_text = match settings.text("log_format") {
        Some("text") => true,
        Some("json") => false,
        _ => std::io::stderr().is_terminal(),
    };
    let logger = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if is_text {
        logger.with_target(false).init();
    } else {
        logger.json().flatten_event(true).with_current_span(false).init();
    }
}
