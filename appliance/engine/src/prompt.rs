//! The second station, *tokenize*: prompts to token ids, next to where they arrive.
//!
//! What needs the count of tokens is checked in `service.rs`. Next: `service.rs`.

use std::sync::Arc;
use std::time::SystemTime;

use gimbal_text::{RenderOptions, TextError};

use crate::clock::between;
use crate::meters::Station;
use crate::request::{Prompt, Turn};
use crate::{Client, Refusal, Service, text_pool, validation};

/// Texts up to so many bytes are tokenized where they arrive (1 ms at 5 MB/s); longer ones by the
/// threads for texts.
const INLINE_BYTES_MAX: usize = 4 << 10;

impl Service {
    /// Token ids of a prompt, as [`Service::submit`] would make them.
    ///
    /// # Errors
    /// The prompt has no tokens by this model.
    pub async fn tokenize(&self, client: Client, prompt: Prompt) -> Result<Vec<u32>, Refusal> {
        let from = self.clock.now();
        let ids = match prompt {
            Prompt::Tokens(ids) => {
                let vocabulary = self.tokenizer.vocabulary_len();
                if let Some(id) = ids.iter().find(|id| **id as usize >= vocabulary) {
                    let what = format!("token {id} is out of vocabulary, which has {vocabulary}");
                    return Err(Refusal::Invalid { field: "prompt", what });
                }
                ids
            }
            Prompt::Text(text) => {
                self.check_text_len(text.len())?;
                let (bytes, tokenizer) = (text.len(), Arc::clone(&self.tokenizer));
                in_turn(client, bytes, move || tokenizer.encode(&text, true)).await?
            }
            Prompt::Plain(text) => {
                self.check_text_len(text.len())?;
                let (bytes, tokenizer) = (text.len(), Arc::clone(&self.tokenizer));
                in_turn(client, bytes, move || tokenizer.encode_plain(&text, true)).await?
            }
            Prompt::Chat { messages, variables, turn, add_special_tokens } => {
                let Some(template) = self.template.clone() else {
                    let what = "this model has no chat template; send a prompt, or serve it with \
                                --chat-template FILE";
                    return Err(Refusal::Invalid { field: "messages", what: what.to_owned() });
                };
                let bytes = messages.iter().map(validation::text_bytes).sum();
                self.check_text_len(bytes)?;
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let now_unix = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(0);
                let options = RenderOptions {
                    add_generation_prompt: turn == Turn::Begun,
                    continue_final_message: turn == Turn::Continued,
                    variables,
                    now_unix,
                };
                let tokenizer = Arc::clone(&self.tokenizer);
                let render = move || {
                    let ids = template.encode(&tokenizer, &messages, &options)?;
                    Ok(if add_special_tokens { tokenizer.surround(ids) } else { ids })
                };
                // A template may do anything with few bytes, so it is never run here.
                in_turn(client, usize::MAX, render).await?
            }
        };
        Station::Tokenize.record(between(from, self.clock.now()));
        Ok(ids)
    }

    /// Refuses what cannot fit however it is tokenized, without tokenizing it.
    fn check_text_len(&self, bytes: usize) -> Result<(), Refusal> {
        let (tokens_min, max_model_len) = (self.tokenizer.tokens_min(bytes), self.max_model_len());
        if tokens_min <= max_model_len as usize {
            return Ok(());
        }
        let prompt_tokens = u32::try_from(tokens_min).unwrap_or(u32::MAX);
        Err(Refusal::TooLong { prompt_tokens, at_least: true, max_new_tokens: 1, max_model_len })
    }
}

async fn in_turn(
    client: Client,
    bytes: usize,
    encode: impl FnOnce() -> Result<Vec<u32>, TextError> + Send + 'static,
) -> Result<Vec<u32>, Refusal> {
    if bytes <= INLINE_BYTES_MAX {
        return Ok(encode()?);
    }
    Ok(text_pool::run(client, encode).await??)
}
