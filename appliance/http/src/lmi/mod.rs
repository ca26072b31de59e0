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

/// The members of a body's struct, and of its parameters'.
#[cfg(test)]
pub(crate) fn members() -> [Vec<&'static str>; 2] {
    use crate::members::tests::names;
    use crate::sampling::Sampling;

    let body = [names::<request::LmiFields>(), &["parameters"]].concat();
    [
        body,
        [
            names::<Sampling>(),
            names::<request::LmiParameters>(),
            names::<crate::structured::Structured>(),
        ]
        .concat(),
    ]
}
