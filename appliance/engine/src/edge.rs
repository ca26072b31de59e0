//! What a model's settings say of the requests it gets, for whoever stands at the edge.
//!
//! Plain data: the engine itself reads none of it. Next: `registry.rs`.

use std::time::Duration;

use gimbal_batch::SampleParams;
use gimbal_text::{ReasoningFormat, ToolFormat};

/// How requests for one model are taken and answered.
#[derive(Clone, Debug)]
pub struct Edge {
    /// What requests that sample get where they say nothing.
    pub sampling: SampleParams,
    /// What `/invocations` answers in unless a request says otherwise.
    pub output_formatter: OutputFormatter,
    /// LMI's schema answers as TGI does: lists, `special`, 422, server-sent events.
    pub tgi_compat: bool,
    /// How the model writes calls of tools.
    pub tool_calls: Parser<ToolFormat>,
    /// How it writes what it thinks.
    pub reasoning: Parser<ReasoningFormat>,
    /// Time to answer on `/invocations`, or to begin a stream there.
    pub deadline: Duration,
    /// Time of a whole stream on `/invocations`.
    pub stream_deadline: Duration,
}

/// How an answer's text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parser<T> {
    /// As the chat template shows it to the model.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// So.
    As(T),
}

/// What LMI's schema answers in; JSON lines are also what chat streams on `/invocations` become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormatter {
    /// As the request says: `stream: true` gives JSON lines, `Accept` may ask for SSE.
    #[default]
    Auto,
    /// One JSON value, whatever `Accept` says; what asks to be streamed is JSON lines.
    Json,
    /// JSON lines, also without `stream`.
    JsonLines,
    /// Server-sent events, also without `stream`.
    Sse,
}

impl Default for Edge {
    /// The cloud's limits: 60 s to answer, 8 min of stream.
    fn default() -> Self {
        Self {
            sampling: SampleParams { temperature: 1.0, ..SampleParams::default() },
            output_formatter: OutputFormatter::Auto,
            tgi_compat: false,
            tool_calls: Parser::Auto,
            reasoning: Parser::Auto,
            deadline: Duration::from_secs(60),
            stream_deadline: Duration::from_secs(480),
        }
    }
}
