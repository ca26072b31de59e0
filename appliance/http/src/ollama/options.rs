//! `options`: how to continue, by Ollama's names.
//!
//! Next: `history.rs`.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::fault::Fault;
use crate::fields::Fields;
use crate::members::part;
use crate::names::Scope;
use crate::sampling::Sampling;
use crate::schemas;
use crate::typed::{Count, Integer, Number, STOPS_MAX, Texts, TopK};

/// What it may say.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct Options {
    #[schema(schema_with = schemas::any_length)]
    num_predict: Option<Integer>,
    #[schema(schema_with = schemas::temperature)]
    temperature: Option<Number>,
    #[schema(schema_with = schemas::top_p)]
    top_p: Option<Number>,
    #[schema(schema_with = schemas::min_p)]
    min_p: Option<Number>,
    #[schema(schema_with = schemas::top_k)]
    top_k: Option<TopK>,
    #[schema(schema_with = schemas::penalty)]
    presence_penalty: Option<Number>,
    #[schema(schema_with = schemas::penalty)]
    frequency_penalty: Option<Number>,
    #[schema(schema_with = schemas::seed)]
    seed: Option<Integer>,
    #[schema(schema_with = schemas::stop)]
    stop: Option<Texts<STOPS_MAX>>,
}

impl Options {
    /// Takes them.
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Fault> {
        fields.nested("options", "options.", |fields| {
            fields.refuse_unsupported(Scope::OllamaOptions)?;
            part(fields)
        })
    }

    /// The longest answer; -1 and -2 are as long as the context allows.
    pub(super) fn length(&self) -> Result<Option<u32>, Fault> {
        match self.num_predict {
            None | Some(Integer(-1 | -2)) => Ok(None),
            Some(Integer(count @ 1..)) => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
            Some(Integer(count)) => {
                let what = format!("must be at least 1, or -1 for no limit, not {count}");
                Err(Fault::field("options.num_predict", what))
            }
        }
    }

    pub(super) fn sampling(self, length: Option<u32>) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            min_p: self.min_p,
            top_k: self.top_k,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self.seed,
            stop: self.stop,
            max_tokens: length.map(|length| Count(length.into())),
            ..Sampling::default()
        }
    }
}
