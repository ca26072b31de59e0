//! `/tokenize` and `/detokenize`: vLLM's shapes; and llama.cpp's, for who sends its fields.
//!
//! Next: `info.rs`.

use axum::body::Body;
use axum::http::Response;
use gimbal_engine::{Prompt, text_pool};
use gimbal_text::Tokenizer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::conversation::Conversation;

use crate::call::{self, Call, tell_ignored};
use crate::fault::Fault;
use crate::fields::Fields;
use crate::members::part;
use crate::names::Scope;
use crate::schemas;
use crate::typed::{Flag, Ids};
use crate::whole;

/// Tokens that are written as text at once: more than any context, and some megabytes.
const DETOKENIZE_MAX: usize = 1 << 20;

/// What a body of `/tokenize` says beside a conversation.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct TokenizeFields {
    #[schema(schema_with = schemas::text)]
    model: Option<String>,
    #[schema(schema_with = schemas::needed_text)]
    prompt: Option<String>,
    #[schema(schema_with = schemas::needed_text)]
    content: Option<String>,
    #[schema(schema_with = schemas::flag)]
    add_special: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
    return_token_strs: Option<Flag>,
    #[schema(schema_with = schemas::flag)]
    with_pieces: Option<Flag>,
}

/// What a body of `/detokenize` says.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct DetokenizeFields {
    #[schema(schema_with = schemas::text)]
    model: Option<String>,
    #[schema(schema_with = schemas::tokens)]
    tokens: Option<Ids<DETOKENIZE_MAX>>,
}

/// The tokens of a text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tokenized {
    count: usize,
    max_model_len: u32,
    tokens: Tokens,
    #[schema(required = true)]
    token_strs: Option<Vec<String>>,
}

/// Ids, or llama.cpp's pieces.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Tokens {
    Ids(Vec<u32>),
    Pieces(Vec<Piece>),
}

/// A token with its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Piece {
    id: u32,
    piece: Part,
}

/// Text, or bytes that are none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Part {
    Text(String),
    Bytes(Vec<u8>),
}

/// The text of tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Detokenized<'a> {
    prompt: &'a str,
    /// The same, by llama.cpp's name.
    content: &'a str,
}

/// Token ids of `prompt` or `content`, or of `messages` by the model's template.
pub(crate) async fn tokenize(call: &mut Call, mut fields: Fields) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Tokenize)?;
    one_of(&fields)?;
    let own: TokenizeFields = part(&mut fields)?;
    let service = call.app.model(own.model.as_deref(), call.door)?;
    let is = |flag: Option<Flag>| flag.is_some_and(|Flag(flag)| flag);
    let (with_strings, with_pieces) = (is(own.return_token_strs), is(own.with_pieces));
    let prompt = what(own, part(&mut fields)?)?;
    let _place = service.permits(1)?;
    let tokens = service.tokenize(call.client(), prompt).await?;
    let (tokenizer, max_model_len) = (service.tokenizer().clone(), service.max_model_len());
    let answer = move || {
        let strings = with_strings
            .then(|| tokens.iter().map(|id| tokenizer.decode(&[*id], false)).collect::<Vec<_>>());
        let count = tokens.len();
        let tokens = match with_pieces {
            true => Tokens::Pieces(tokens.iter().map(|id| piece(&tokenizer, *id)).collect()),
            false => Tokens::Ids(tokens),
        };
        call::json_bytes(&Tokenized { count, max_model_len, tokens, token_strs: strings })
    };
    let mut response = whole::json(call, text_pool::run(call.client(), answer).await?)?;
    tell_ignored(&mut response, &fields);
    Ok(response)
}

/// Refuses two of the three fields that say what is to be tokenized.
fn one_of(fields: &Fields) -> Result<(), Fault> {
    let names: Vec<_> =
        ["messages", "prompt", "content"].into_iter().filter(|n| fields.has(n)).collect();
    if let [first, other, ..] = names[..] {
        return Err(Fault::field(other, format!("not beside {first}: it is one or the other")));
    }
    Ok(())
}

/// What is to be tokenized.
fn what(own: TokenizeFields, conversation: Conversation) -> Result<Prompt, Fault> {
    let llama = own.add_special.map(|Flag(add)| add);
    if conversation.messages.is_some() {
        let mut prompt = conversation.prompt(None)?;
        if let Prompt::Chat { add_special_tokens, .. } = &mut prompt {
            *add_special_tokens |= llama.unwrap_or(false);
        }
        return Ok(prompt);
    }
    let said = conversation.add_special_tokens.map(|Flag(add)| add).or(llama);
    // llama.cpp adds nothing unless asked to; vLLM follows the model's own rule.
    match (own.prompt, own.content) {
        (Some(text), _) => Ok(prompt_of(text, said.unwrap_or(true))),
        (None, Some(text)) => Ok(prompt_of(text, said.unwrap_or(false))),
        (None, None) => Err(Fault::field("prompt", "is missing")),
    }
}

/// A token as llama.cpp shows it: its text, or its bytes where they are a part of a character.
fn piece(tokenizer: &Tokenizer, id: u32) -> Piece {
    let bytes = tokenizer.bytes(id);
    let text = std::str::from_utf8(bytes).map(str::to_owned);
    Piece { id, piece: text.map_or_else(|_| Part::Bytes(bytes.to_vec()), Part::Text) }
}

/// A text with or without what the tokenizer puts around it.
pub(super) fn prompt_of(text: String, add_special_tokens: bool) -> Prompt {
    if add_special_tokens { Prompt::Text(text) } else { Prompt::Plain(text) }
}

/// The text of `tokens`.
pub(crate) async fn detokenize(
    call: &mut Call,
    mut fields: Fields,
) -> Result<Response<Body>, Fault> {
    fields.refuse_unsupported(Scope::Detokenize)?;
    let own: DetokenizeFields = part(&mut fields)?;
    let service = call.app.model(own.model.as_deref(), call.door)?;
    let Ids(tokens) = own.tokens.ok_or_else(|| Fault::field("tokens", "is missing"))?;
    let known = service.tokenizer().vocabulary_len();
    if let Some(id) = tokens.iter().find(|id| **id as usize >= known) {
        return Err(Fault::field("tokens", format!("{id} is no token: there are {known}")));
    }
    let _place = service.permits(1)?;
    let tokenizer = service.tokenizer().clone();
    let decode = move || {
        let text = tokenizer.decode(&tokens, false);
        call::json(&Detokenized { prompt: &text, content: &text })
    };
    let mut response = text_pool::run(call.client(), decode).await?;
    tell_ignored(&mut response, &fields);
    Ok(response)
}
