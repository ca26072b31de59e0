//! Sampling fields all schemas share, and the model's own defaults for them.
//!
//! Next: `stream.rs`.

use gimbal_engine::SampleParams;

use crate::fault::Fault;
use crate::fields::Fields;

/// Which tokens may come, as far as a request says it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Narrowing {
    top_k: Option<u32>,
    top_p: Option<f32>,
    min_p: Option<f32>,
}

impl Narrowing {
    pub(crate) fn take(fields: &mut Fields) -> Result<Self, Fault> {
        let (top_p, min_p) = (fields.number("top_p")?, fields.number("min_p")?);
        Ok(Self { top_k: top_k(fields)?, top_p, min_p })
    }

    /// True if it leaves some tokens out.
    pub(crate) fn is_some(self) -> bool {
        let all = SampleParams::default();
        self.top_k.is_some_and(|k| k != all.top_k)
            || self.top_p.is_some_and(|p| p < all.top_p)
            || self.min_p.is_some_and(|p| p > all.min_p)
    }

    /// With the other fields. Absent ones are the defaults where the request samples; greedy ones
    /// change nothing unless they say so themselves.
    pub(crate) fn params(
        self,
        fields: &mut Fields,
        temperature: f32,
        defaults: &SampleParams,
    ) -> Result<SampleParams, Fault> {
        let greedy = SampleParams::default();
        let defaults = if temperature == 0.0 { &greedy } else { defaults };
        let mut number = |name: &str, default: f32| -> Result<f32, Fault> {
            Ok(fields.number(name)?.unwrap_or(default))
        };
        Ok(SampleParams {
            temperature,
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: number("repetition_penalty", defaults.repetition_penalty)?,
            presence_penalty: number("presence_penalty", defaults.presence_penalty)?,
            frequency_penalty: number("frequency_penalty", defaults.frequency_penalty)?,
            ..SampleParams::default()
        })
    }
}

/// 0 and -1 keep all tokens.
fn top_k(fields: &mut Fields) -> Result<Option<u32>, Fault> {
    match fields.integer("top_k")? {
        None => Ok(None),
        Some(-1) => Ok(Some(0)),
        Some(k) => {
            let k = u32::try_from(k).map_err(|_| Fault::field("top_k", "must be from 0, or -1"));
            k.map(Some)
        }
    }
}
