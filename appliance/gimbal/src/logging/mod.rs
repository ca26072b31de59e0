//! Structured logs on stderr: text on a terminal, JSON otherwise. Never a prompt.
//!
//! Lines are best effort: they go through a bounded queue to a thread of their own, so that nobody
//! who logs ever waits for, or fails by, whoever reads. Next: `queue.rs`.

mod queue;

use std::io::{self, IsTerminal};
use std::time::Duration;

use gimbal_settings::{Settings, Source};
use tracing::error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use queue::{Line, Queue};

/// How long a process that ends waits for its last lines to be written.
const FLUSH_TIME: Duration = Duration::from_millis(500);

/// The process's lines.
static LINES: Queue = Queue::new();

/// Installs the logger the settings ask for; `quiet` is the level where they say nothing.
pub(crate) fn start(settings: &Settings, quiet: Option<&str>) {
    let is_default = matches!(settings.entry("log_level").source, Source::Default(_));
    let level = settings.text("log_level").unwrap_or("info");
    let level = quiet.filter(|_| is_default).unwrap_or(level);
    let is_text = match settings.text("log_format") {
        Some("text") => true,
        Some("json") => false,
        _ => io::stderr().is_terminal(),
    };
    let logger = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(ToQueue)
        // It would say so on stderr, which is what has failed.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    if is_text {
        logger.with_target(false).init();
    } else {
        logger.json().flatten_event(true).with_current_span(false).init();
    }
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string);
        error!(at, message = panic.payload_as_str().unwrap_or("?"), "bug: a thread panicked");
    }));
    LINES.start();
}

/// Text for people, among the lines of the log.
pub(crate) fn say(text: &str) {
    LINES.push(text.as_bytes());
}

/// Waits a moment for what was logged to be written.
pub(crate) fn flush() {
    LINES.flush(FLUSH_TIME);
}

/// Makes the writer of one line.
struct ToQueue;

impl<'a> MakeWriter<'a> for ToQueue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line::of(&LINES)
    }
}
