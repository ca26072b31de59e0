//! Sampling fields all schemas share, and the model's own defaults for them.
//!
//! Next: `stream.rs`.

use gimbal_engine::SampleParams;

use crate::fault::Fault;
use crate::fields::Fields;

/// Takes the fields. Absent ones are the defaults where the request samples; greedy ones change
/// nothing unless they say so themselves.
pub(crate) fn params(
    fields: &mut Fields,
    temperature: f32,
    defaults: &SampleParams,
) -> Result<SampleParams, Fault> {
    let greedy = SampleParams::default();
    let defaults = if temperature == 0.0 { &greedy } else { defaults };
    Ok(SampleParams {
        temperature,
        top_k: top_k(fields)?.unwrap_or(defaults.top_k),
        top_p: fields.number("top_p")?.unwrap_or(defaults.top_p),
        min_p: fields.number("min_p")?.unwrap_or(defaults.min_p),
        repetition_penalty: fields
            .number("repetition_penalty")?
            .unwrap_or(defaults.repetition_penalty),
        presence_penalty: fields.number("presence_penalty")?.unwrap_or(defaults.presence_penalty),
        frequency_penalty: fields
            .number("frequency_penalty")?
            .unwrap_or(defaults.frequency_penalty),
        ..SampleParams::default()
    })
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
