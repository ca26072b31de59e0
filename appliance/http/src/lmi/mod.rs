//! LMI's schema on `/invocations`: `{"inputs": …, "parameters": {…}, "stream": …}`, and TGI's
//! spellings of it.
//!
//! Chat and completion bodies on the same route are OpenAI's (`openai/`). Reading order:
//! `request`, `response`.

mod request;
mod response;
mod shown;

pub(crate) use request::invocation;
pub(crate) use response::number;
