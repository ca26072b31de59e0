//! Every field that clients of OpenAI, Anthropic, vLLM, llama.cpp, TGI, LMI and SGLang send, and what becomes of
//! it: done, harmless, or refused. What could change an answer is never read past.
//!
//! `docs/fields.md` is written from this table, and a test sends every row by every route. A name
//! that stands in no row is ignored and told in `x-gimbal-ignored`. Next: `fields.rs`.

use serde_json::Value;

use Neutral::{Empty, Numbers, TextFormat, TextOnly, True, Words};
use Verdict::{Harmless, Refused};

/// Where a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Chat,
    Completion,
    /// The body in LMI's schema.
    Lmi,
    /// `parameters` in LMI's schema.
    LmiParameters,
    Tokenize,
    Detokenize,
    StreamOptions,
    /// The bodies of Anthropic's routes.
    Messages,
    Responses,
}

impl Scope {
    /// Its letter in the table.
    fn letter(self) -> char {
        match self {
            Self::Chat => 'c',
            Self::Completion => 'p',
            Self::Lmi => 'l',
            Self::LmiParameters => 'm',
            Self::Tokenize => 't',
            Self::Detokenize => 'd',
            Self::StreamOptions => 's',
            Self::Messages => 'a',
            Self::Responses => 'r',
        }
    }
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It has its effect.
    Done,
    /// It could change nothing here; told in a header.
    Harmless,
    /// It has its effect in `parameters` only: 400 says so.
    Misplaced,
    /// It would change the answer: 400, unless its value asks for nothing.
    Refused(Neutral),
}

/// Values that ask for nothing; `null` always does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Neutral {
    /// `[]`, `{}`, `""`, `false`.
    Empty,
    True,
    Numbers(&'static [f64]),
    Words(&'static [&'static str]),
    /// `{"type": "text"}`, or empty.
    TextFormat,
    /// `["text"]`, or empty.
    TextOnly,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Letters of the scopes where it is done.
    done: &'static str,
    /// What becomes of it elsewhere.
    elsewhere: Verdict,
    /// A legal value that asks for something, as JSON.
    #[cfg_attr(not(test), expect(dead_code, reason = "what the tests send"))]
    pub(crate) sample: &'static str,
    /// Whose it is.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the document"))]
    origin: &'static str,
    doc: &'static str,
}

const fn row(
    name: &'static str,
    done: &'static str,
    elsewhere: Verdict,
    sample: &'static str,
    origin: &'static str,
    doc: &'static str,
) -> Row {
    Row { name, done, elsewhere, sample, origin, doc }
}

impl Row {
    fn verdict(&self, scope: Scope) -> Verdict {
        let is_done = |scope: Scope| self.done.contains(scope.letter());
        match scope {
            _ if is_done(scope) => Verdict::Done,
            Scope::Lmi if is_done(Scope::LmiParameters) => Verdict::Misplaced,
            _ => self.elsewhere,
        }
    }
}

impl Neutral {
    /// True if a value asks for nothing.
    pub(crate) fn holds(self, json: &[u8]) -> bool {
        // What asks for nothing is short; a long value need not become a tree to be refused.
        const NEUTRAL_BYTES_MAX: usize = 64;
        if json.len() > NEUTRAL_BYTES_MAX {
            return false;
        }
        let Ok(value) = serde_json::from_slice::<Value>(json) else { return false };
        let is_empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(flag) => !flag,
            Value::String(text) => text.is_empty(),
            Value::Number(_) => false,
        };
        match self {
            _ if value.is_null() => true,
            Empty => is_empty,
            True => value == true,
            Numbers(numbers) => is_empty || value.as_f64().is_some_and(|n| numbers.contains(&n)),
            Words(words) => {
                is_empty && !value.is_boolean()
                    || value.as_str().is_some_and(|w| words.contains(&w))
            }
            TextFormat => is_empty || value["type"] == "text",
            TextOnly => is_empty || value.as_array().is_some_and(|k| k.iter().all(|k| k == "text")),
        }
    }
}

/// The table's own name for a field.
pub(crate) fn known(name: &str) -> Option<&'static str> {
    find(name).map(|row| row.name)
}

pub(crate) fn is_known(name: &str) -> bool {
    find(name).is_some()
}

/// What becomes of a field of the table.
pub(crate) fn verdict(name: &str, scope: Scope) -> Verdict {
    find(name).map_or(Harmless, |row| row.verdict(scope))
}

/// What a field of the table is for.
pub(crate) fn doc(name: &str) -> &'static str {
    find(name).map_or("", |row| row.doc)
}

fn find(name: &str) -> Option<&'static Row> {
    let index = TABLE.binary_search_by(|row| row.name.cmp(name)).ok()?;
    TABLE.get(index)
}

/// By name.
#[rustfmt::skip]
pub(crate) const TABLE: &[Row] = &[
    row("adapters", "", Refused(Empty), "[\"x\"]", "LMI, TGI", "Adapters (LoRA)."),
    row("add_generation_prompt", "ct", Harmless, "true", "vLLM", "Begins the assistant's turn."),
    row("add_special", "t", Harmless, "true", "llama.cpp", "What the tokenizer puts around a text."),
    row("add_special_tokens", "cpt", Harmless, "true", "vLLM", "What the tokenizer puts around a text."),
    row("allowed_token_ids", "", Refused(Empty), "[5]", "vLLM", "Only these tokens."),
    row("audio", "", Refused(Empty), "{\"voice\": \"x\"}", "OpenAI", "Spoken answers."),
    row("background", "", Refused(Empty), "true", "OpenAI", "Answers later."),
    row("bad_words", "", Refused(Empty), "[\"x\"]", "vLLM", "Words that may not come."),
    row("best_of", "p", Refused(Numbers(&[1.0])), "2", "OpenAI, TGI", "Candidates; only as many as `n`."),
    row("cache_control", "", Harmless, "{\"type\": \"ephemeral\"}", "Anthropic", "Prefixes are found by content."),
    row("cache_prompt", "", Harmless, "true", "llama.cpp", "Prefixes are always looked for."),
    row("cache_salt", "cpm", Harmless, "\"x\"", "vLLM", "Shares cached prefixes only with the same salt."),
    row("chat_template", "", Refused(Empty), "\"x\"", "vLLM", "A template of the client's."),
    row("chat_template_kwargs", "ct", Harmless, "{}", "vLLM", "More variables of the template."),
    row("container", "", Refused(Empty), "\"x\"", "Anthropic", "A machine for tools of the server's."),
    row("content", "t", Harmless, "\"Hi\"", "llama.cpp", "What to tokenize."),
    row("context_management", "", Refused(Empty), "{\"edits\": [{}]}", "OpenAI, Anthropic", "Drops parts of a conversation."),
    row("continue_final_message", "ct", Refused(Empty), "true", "vLLM", "Goes on with the last message."),
    row("continuous_usage_stats", "s", Harmless, "true", "vLLM", "Usage on every chunk."),
    row("conversation", "", Refused(Empty), "\"x\"", "OpenAI", "A conversation that the server keeps."),
    row("custom_logit_processor", "", Refused(Empty), "\"x\"", "SGLang", "Code of the client's."),
    row("custom_params", "", Refused(Empty), "{\"a\": 1}", "SGLang", "For code of the client's."),
    row("decoder_input_details", "m", Harmless, "true", "TGI, LMI", "Lists the prompt's tokens."),
    row("details", "m", Harmless, "true", "TGI, LMI", "Lists the tokens."),
    row("detokenize", "", Refused(True), "false", "vLLM", "Text is always made."),
    row("diagnostics", "", Harmless, "{\"previous_message_id\": \"x\"}", "Anthropic", "Why a prefix was not found."),
    row("do_sample", "m", Refused(True), "false", "TGI, LMI", "Samples, or takes the most probable."),
    row("documents", "", Refused(Empty), "[{\"text\": \"x\"}]", "vLLM", "For templates that quote documents."),
    row("dry_allowed_length", "", Harmless, "2", "llama.cpp", "Nothing without `dry_multiplier`."),
    row("dry_base", "", Harmless, "1.75", "llama.cpp", "Nothing without `dry_multiplier`."),
    row("dry_multiplier", "", Refused(Numbers(&[0.0])), "0.8", "llama.cpp", "DRY sampling."),
    row("dry_penalty_last_n", "", Harmless, "-1", "llama.cpp", "Nothing without `dry_multiplier`."),
    row("dry_sequence_breakers", "", Harmless, "[\"x\"]", "llama.cpp", "Nothing without `dry_multiplier`."),
    row("dynatemp_exponent", "", Harmless, "1", "llama.cpp", "Nothing without `dynatemp_range`."),
    row("dynatemp_range", "", Refused(Numbers(&[0.0])), "0.5", "llama.cpp", "A temperature that moves."),
    row("early_stopping", "", Refused(Empty), "true", "LMI", "Of beam search."),
    row("ebnf", "cpm", Refused(Empty), "\"root ::= x\"", "SGLang", "A grammar."),
    row("echo", "p", Refused(Empty), "true", "OpenAI", "The prompt before the answer."),
    row("enable_thinking", "ct", Harmless, "true", "vLLM, SGLang", "A variable of the template."),
    row("epsilon_cutoff", "", Refused(Numbers(&[0.0])), "0.1", "HF", "Epsilon sampling."),
    row("eta_cutoff", "", Refused(Numbers(&[0.0])), "0.1", "HF", "Eta sampling."),
    row("frequency_penalty", "cpm", Harmless, "0.5", "OpenAI", "Against tokens, by how often they came."),
    row("function_call", "c", Refused(Words(&["none", "auto"])), "{\"name\": \"f\"}", "OpenAI", "Tools, the older way."),
    row("functions", "c", Refused(Empty), "[{\"name\": \"f\"}]", "OpenAI", "Tools, the older way."),
    row("grammar", "cpm", Refused(Empty), "\"root ::= x\"", "llama.cpp, TGI", "A grammar."),
    row("grammar_lazy", "", Harmless, "true", "llama.cpp", "Nothing without a grammar."),
    row("grammar_triggers", "", Harmless, "[\"x\"]", "llama.cpp", "Nothing without a grammar."),
    row("guided_choice", "cpm", Refused(Empty), "[\"x\"]", "vLLM", "One of these texts."),
    row("guided_decoding_backend", "", Harmless, "\"auto\"", "vLLM", "There is one."),
    row("guided_grammar", "cpm", Refused(Empty), "\"root ::= x\"", "vLLM", "A grammar."),
    row("guided_json", "cpm", Refused(Empty), "{\"type\": \"object\"}", "vLLM", "A JSON schema."),
    row("guided_regex", "cpm", Refused(Empty), "\"a+\"", "vLLM", "A regular expression."),
    row("guided_whitespace_pattern", "", Refused(Empty), "\"x\"", "vLLM", "Blanks between parts of JSON."),
    row("id_slot", "", Harmless, "1", "llama.cpp", "Slots are chosen here."),
    row("ignore_eos", "cpm", Harmless, "true", "vLLM", "Goes on after the end token."),
    row("ignore_eos_token", "m", Refused(Empty), "true", "LMI", "Goes on after the end token."),
    row("image_data", "", Refused(Empty), "[\"x\"]", "llama.cpp, SGLang", "Images."),
    row("include", "r", Harmless, "[\"message.output_text.logprobs\"]", "OpenAI", "More in the answer: log probabilities."),
    row("include_obfuscation", "", Harmless, "true", "OpenAI", "Padding against eavesdroppers."),
    row("include_reasoning", "", Harmless, "true", "vLLM", "Reasoning is part of the text."),
    row("include_stop_str_in_output", "cpm", Harmless, "true", "vLLM", "The stop string belongs to the text."),
    row("include_usage", "s", Harmless, "true", "OpenAI", "Usage at the end of a stream."),
    row("inference_geo", "", Harmless, "\"eu\"", "Anthropic", "Where the server stands is the operator's choice."),
    row("input", "r", Refused(Empty), "\"x\"", "OpenAI", "What to answer, or to embed."),
    row("input_extra", "", Refused(Empty), "[\"x\"]", "llama.cpp", "Infilling."),
    row("input_prefix", "", Refused(Empty), "\"x\"", "llama.cpp", "Infilling."),
    row("input_suffix", "", Refused(Empty), "\"x\"", "llama.cpp", "Infilling."),
    row("inputs", "l", Refused(Empty), "\"x\"", "TGI, LMI", "What to continue."),
    row("instructions", "r", Refused(Empty), "\"x\"", "OpenAI", "What comes before an input."),
    row("json_schema", "cpm", Refused(Empty), "{\"type\": \"object\"}", "llama.cpp, SGLang", "A JSON schema."),
    row("length_penalty", "", Refused(Numbers(&[1.0])), "0.5", "LMI", "Of beam search."),
    row("logit_bias", "", Refused(Empty), "{\"5\": 1}", "OpenAI", "For or against tokens."),
    row("logits_processors", "", Refused(Empty), "[\"x\"]", "vLLM", "Code of the client's."),
    row("logprob_token_ids", "cp", Refused(Empty), "[5]", "vLLM", "Log probabilities of these tokens."),
    row("logprobs", "cpm", Refused(Empty), "1", "OpenAI", "Log probabilities."),
    row("lora", "", Refused(Empty), "[{\"id\": 0}]", "llama.cpp", "Adapters (LoRA)."),
    row("max_completion_tokens", "c", Refused(Empty), "2", "OpenAI", "The longest answer."),
    row("max_length", "", Refused(Empty), "2", "HF", "Prompt and answer together."),
    row("max_new_tokens", "m", Refused(Empty), "2", "TGI, LMI", "The longest answer."),
    row("max_output_tokens", "r", Refused(Empty), "2", "OpenAI", "The longest answer."),
    row("max_tokens", "cpma", Refused(Empty), "2", "OpenAI", "The longest answer."),
    row("max_tool_calls", "", Harmless, "2", "OpenAI", "Of tools that the server runs; there are none."),
    row("mcp_servers", "", Refused(Empty), "[{\"type\": \"url\"}]", "Anthropic", "Tools of other servers."),
    row("media_io_kwargs", "", Refused(Empty), "{\"a\": 1}", "vLLM", "Images."),
    row("messages", "cta", Refused(Empty), "[{\"role\": \"user\", \"content\": \"Hi\"}]", "OpenAI", "A conversation."),
    row("metadata", "r", Harmless, "{\"a\": \"b\"}", "OpenAI", "The client's own notes."),
    row("min_keep", "", Refused(Numbers(&[0.0])), "2", "llama.cpp", "Tokens that sampling keeps at least."),
    row("min_length", "", Refused(Numbers(&[0.0])), "2", "HF", "Prompt and answer together, at least."),
    row("min_new_tokens", "m", Refused(Numbers(&[0.0])), "2", "HF, LMI", "The shortest answer."),
    row("min_p", "cpm", Harmless, "0.1", "vLLM", "Only tokens so probable, beside the best."),
    row("min_tokens", "cpm", Refused(Numbers(&[0.0])), "2", "vLLM", "The shortest answer."),
    row("mirostat", "", Refused(Numbers(&[0.0])), "2", "llama.cpp", "Mirostat sampling."),
    row("mirostat_eta", "", Harmless, "0.1", "llama.cpp", "Nothing without `mirostat`."),
    row("mirostat_tau", "", Harmless, "5", "llama.cpp", "Nothing without `mirostat`."),
    row("mm_processor_kwargs", "", Refused(Empty), "{\"a\": 1}", "vLLM", "Images."),
    row("modalities", "", Refused(TextOnly), "[\"audio\"]", "OpenAI", "Kinds of answers."),
    row("model", "cpltdar", Harmless, "\"m\"", "OpenAI", "Which model."),
    row("moderation", "", Refused(Empty), "{\"model\": \"x\"}", "OpenAI", "A judgement of texts."),
    row("n", "cpm", Refused(Numbers(&[1.0])), "2", "OpenAI", "Answers to one prompt."),
    row("n_discard", "", Harmless, "1", "llama.cpp", "Contexts are never shifted."),
    row("n_indent", "", Refused(Numbers(&[0.0])), "2", "llama.cpp", "Lines indented so far."),
    row("n_keep", "", Harmless, "1", "llama.cpp", "Contexts are never shifted."),
    row("n_predict", "", Refused(Empty), "2", "llama.cpp", "The longest answer."),
    row("n_probs", "", Refused(Numbers(&[0.0])), "2", "llama.cpp", "Log probabilities."),
    row("no_repeat_ngram_size", "", Refused(Numbers(&[0.0])), "2", "HF", "No sequence of tokens twice."),
    row("num_beams", "", Refused(Numbers(&[1.0])), "2", "HF, LMI", "Beam search."),
    row("num_return_sequences", "", Refused(Numbers(&[1.0])), "2", "HF", "Answers to one prompt."),
    row("output_config", "a", Refused(Empty), "{\"effort\": \"low\"}", "Anthropic", "How much effort, and a JSON schema."),
    row("parallel_tool_calls", "cr", Harmless, "true", "OpenAI", "Several calls in one answer."),
    row("parameters", "l", Refused(Empty), "{\"top_k\": 5}", "TGI, LMI", "All other fields."),
    row("parse_special", "", Refused(True), "false", "llama.cpp", "Control tokens in texts are always taken as such."),
    row("parse_tool_calls", "", Harmless, "true", "llama.cpp", "Nothing without tools."),
    row("penalty_alpha", "", Refused(Numbers(&[0.0])), "0.5", "HF", "Contrastive search."),
    row("post_sampling_probs", "", Harmless, "true", "llama.cpp", "Nothing without `n_probs`."),
    row("prediction", "", Refused(Empty), "{\"type\": \"content\"}", "OpenAI", "Text that will probably come."),
    row("presence_penalty", "cpm", Harmless, "0.5", "OpenAI", "Against tokens that came."),
    row("previous_response_id", "r", Refused(Empty), "\"x\"", "OpenAI", "Goes on with a response that is kept."),
    row("priority", "", Harmless, "1", "vLLM", "Order is first come, first served."),
    row("prompt", "pt", Refused(Empty), "\"Hi\"", "OpenAI", "What to continue."),
    row("prompt_cache_key", "", Harmless, "\"x\"", "OpenAI", "Prefixes are found by content."),
    row("prompt_cache_retention", "", Harmless, "\"24h\"", "OpenAI", "Prefixes stay while there is room."),
    row("prompt_embeds", "", Refused(Empty), "\"x\"", "vLLM", "A prompt of vectors."),
    row("prompt_logprobs", "cp", Refused(Empty), "1", "vLLM", "Log probabilities of the prompt."),
    row("reasoning", "r", Harmless, "{\"effort\": \"low\"}", "OpenAI", "How much effort."),
    row("reasoning_effort", "ct", Harmless, "\"low\"", "OpenAI", "A variable of the template."),
    row("reasoning_format", "", Harmless, "\"none\"", "llama.cpp", "Reasoning is part of the text."),
    row("reasoning_in_content", "", Harmless, "true", "llama.cpp", "Reasoning is part of the text."),
    row("regex", "cpm", Refused(Empty), "\"a+\"", "SGLang", "A regular expression."),
    row("repeat_last_n", "", Refused(Numbers(&[-1.0, 0.0, 64.0])), "8", "llama.cpp", "Nothing without `repeat_penalty`."),
    row("repeat_penalty", "", Refused(Numbers(&[1.0])), "1.5", "llama.cpp", "Against tokens of a window."),
    row("repetition_penalty", "cpm", Harmless, "1.5", "TGI, vLLM", "Against tokens that came."),
    row("requestType", "", Refused(Empty), "\"NEW_SESSION\"", "LMI", "Stateful sessions."),
    row("request_id", "", Harmless, "\"x\"", "vLLM", "The header x-request-id is taken."),
    row("response_fields", "", Harmless, "[\"x\"]", "llama.cpp", "Answers are whole."),
    row("response_format", "cpm", Refused(TextFormat), "{\"type\": \"json_object\"}", "OpenAI", "JSON."),
    row("return_full_text", "m", Refused(Empty), "true", "TGI, LMI", "The prompt before the answer."),
    row("return_hidden_states", "", Refused(Empty), "true", "SGLang", "Vectors of the model."),
    row("return_progress", "", Harmless, "true", "llama.cpp", "How far a prompt is."),
    row("return_token_ids", "cp", Refused(Empty), "true", "vLLM", "Token ids in the answer."),
    row("return_token_strs", "t", Harmless, "true", "vLLM", "The text of each token."),
    row("return_tokens", "", Refused(Empty), "true", "llama.cpp", "Token ids in the answer."),
    row("return_tokens_as_token_ids", "cp", Refused(Empty), "true", "vLLM", "Token ids in place of texts."),
    row("safety_identifier", "", Harmless, "\"x\"", "OpenAI", "Who asks."),
    row("samplers", "", Refused(Empty), "[\"top_k\"]", "llama.cpp", "The order of samplers."),
    row("seed", "cpm", Harmless, "1", "OpenAI", "Decides all randomness."),
    row("separate_reasoning", "", Harmless, "true", "SGLang", "Reasoning is part of the text."),
    row("service_tier", "", Harmless, "\"auto\"", "OpenAI", "There is one."),
    row("skip_special_tokens", "cpm", Refused(True), "false", "vLLM", "Leaves control tokens out of the text."),
    row("spaces_between_special_tokens", "m", Harmless, "true", "vLLM", "Tokens carry their own."),
    row("speed", "", Harmless, "\"fast\"", "Anthropic", "There is one."),
    row("stop", "cpm", Refused(Empty), "[\"x\"]", "OpenAI", "Texts that end an answer."),
    row("stop_regex", "", Refused(Empty), "\"x\"", "SGLang", "Texts that end an answer."),
    row("stop_sequences", "ma", Refused(Empty), "[\"x\"]", "TGI, LMI, Anthropic", "Texts that end an answer."),
    row("stop_token_ids", "cpm", Refused(Empty), "[5]", "vLLM", "Tokens that end an answer."),
    row("store", "r", Harmless, "true", "OpenAI", "Keeps a response for later requests; nothing else is kept."),
    row("stream", "cplmar", Refused(Empty), "true", "OpenAI", "Sends tokens as they come."),
    row("stream_options", "cp", Harmless, "{}", "OpenAI", "More about streams."),
    row("stream_reasoning", "", Harmless, "true", "SGLang", "Reasoning is part of the text."),
    row("structural_tag", "", Refused(Empty), "\"x\"", "SGLang, vLLM", "A grammar."),
    row("structured_outputs", "cpm", Refused(Empty), "{\"regex\": \"a\"}", "vLLM", "A grammar."),
    row("suffix", "", Refused(Empty), "\"x\"", "OpenAI", "Infilling."),
    row("system", "a", Refused(Empty), "\"x\"", "Anthropic", "What comes before a conversation."),
    row("t_max_predict_ms", "", Refused(Numbers(&[0.0])), "5", "llama.cpp", "Time of an answer."),
    row("temperature", "cpmar", Harmless, "0.5", "OpenAI", "0 takes the most probable token."),
    row("temperature_last", "", Refused(Empty), "true", "llama.cpp", "The order of samplers."),
    row("text", "r", Refused(Empty), "{\"format\": {\"type\": \"json_object\"}}", "OpenAI", "JSON."),
    row("tfs_z", "", Refused(Numbers(&[1.0])), "0.5", "llama.cpp", "Tail free sampling."),
    row("thinking", "a", Refused(Empty), "{\"type\": \"enabled\"}", "Anthropic", "Whether the model thinks first."),
    row("thinking_budget_tokens", "", Refused(Empty), "5", "llama.cpp", "Reasoning, by a budget."),
    row("timings_per_token", "", Harmless, "true", "llama.cpp", "Times are in /metrics."),
    row("tokens", "d", Refused(Empty), "[5]", "vLLM", "What to write as text."),
    row("tool_choice", "car", Refused(Words(&["none", "auto"])), "\"required\"", "OpenAI", "Tools."),
    row("tool_prompt", "", Harmless, "\"x\"", "TGI", "Nothing without tools."),
    row("tools", "car", Refused(Empty), "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}}]", "OpenAI", "Tools."),
    row("top_a", "", Refused(Numbers(&[0.0])), "0.5", "SGLang", "Top-a sampling."),
    row("top_k", "cpma", Harmless, "5", "vLLM", "Only so many tokens."),
    row("top_logprobs", "cr", Refused(Numbers(&[0.0])), "1", "OpenAI", "Alternatives to each token."),
    row("top_n_sigma", "", Refused(Numbers(&[-1.0, 0.0])), "2", "llama.cpp", "Top-n-sigma sampling."),
    row("top_n_tokens", "m", Refused(Numbers(&[0.0])), "2", "TGI, LMI", "Alternatives to each token."),
    row("top_p", "cpmar", Harmless, "0.5", "OpenAI", "Only the most probable, up to this sum."),
    row("truncate", "m", Refused(Empty), "5", "TGI, LMI", "Keeps so many tokens of the prompt."),
    row("truncate_prompt_tokens", "cp", Refused(Empty), "5", "vLLM", "Keeps so many tokens of the prompt."),
    row("truncation", "", Refused(Words(&["disabled"])), "\"auto\"", "OpenAI", "Drops the middle of a conversation."),
    row("truncation_side", "", Refused(Words(&["left"])), "\"right\"", "vLLM", "Prompts keep their end."),
    row("typical", "", Refused(Numbers(&[1.0])), "0.5", "HF", "Typical sampling."),
    row("typical_p", "", Refused(Numbers(&[1.0])), "0.5", "TGI, LMI", "Typical sampling."),
    row("use_beam_search", "", Refused(Empty), "true", "vLLM", "Beam search."),
    row("user", "cpr", Harmless, "\"x\"", "OpenAI", "Who asks."),
    row("verbosity", "", Refused(Words(&["medium"])), "\"low\"", "OpenAI", "Longer or shorter answers."),
    row("vllm_xargs", "", Refused(Empty), "{\"a\": 1}", "vLLM", "For code of the client's."),
    row("watermark", "", Refused(Empty), "true", "TGI", "A mark in the text."),
    row("web_search_options", "", Refused(Empty), "{\"a\": 1}", "OpenAI", "A search of the web."),
    row("with_pieces", "t", Harmless, "true", "llama.cpp", "The text of each token."),
    row("xtc_probability", "", Refused(Numbers(&[0.0])), "0.5", "llama.cpp", "XTC sampling."),
    row("xtc_threshold", "", Harmless, "0.1", "llama.cpp", "Nothing without `xtc_probability`."),
];

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "\
# Request fields

Written from the table in `src/names.rs`; do not edit. *done*: it has its effect. *harmless*: it
could change nothing here, and `x-gimbal-ignored` names it. *refused*: 400 `not_supported`, unless
its value asks for nothing. *in parameters*: 400, for it has its effect there. Names that stand in
no row are ignored and told likewise.
";
    const SCOPES: [(Scope, &str); 8] = [
        (Scope::Chat, "chat"),
        (Scope::Completion, "completions"),
        (Scope::Lmi, "LMI"),
        (Scope::LmiParameters, "LMI parameters"),
        (Scope::Tokenize, "tokenize"),
        (Scope::Detokenize, "detokenize"),
        (Scope::Messages, "messages"),
        (Scope::Responses, "responses"),
    ];

    fn markdown() -> String {
        let mut text = format!("{HEAD}\n| field | of | meaning | example |");
        SCOPES.iter().for_each(|(_, name)| text += &format!(" {name} |"));
        text += &format!("\n|---|---|---|---|{}\n", "---|".repeat(SCOPES.len()));
        for row in TABLE {
            text +=
                &format!("| `{}` | {} | {} | `{}` |", row.name, row.origin, row.doc, row.sample);
            for (scope, _) in SCOPES {
                let word = match row.verdict(scope) {
                    Verdict::Done => "done",
                    Harmless => "harmless",
                    Verdict::Misplaced => "in parameters",
                    Refused(_) => "refused",
                };
                text += &format!(" {word} |");
            }
            text.push('\n');
        }
        text
    }

    /// `GIMBAL_TEST_UPDATE=1 cargo test` writes it.
    #[test]
    fn the_document_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/fields.md");
        if std::env::var_os("GIMBAL_TEST_UPDATE").is_some() {
            std::fs::write(path, markdown()).expect("a writable tree");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(written == markdown(), "run GIMBAL_TEST_UPDATE=1 cargo test -p gimbal-http");
    }

    #[test]
    fn rows_are_in_order_and_their_samples_ask_for_something() {
        assert!(TABLE.is_sorted_by(|a, b| a.name < b.name));
        for row in TABLE {
            assert!(serde_json::from_str::<Value>(row.sample).is_ok(), "{}", row.name);
            if let Refused(neutral) = row.elsewhere {
                let is_plain = row.sample == "{}";
                assert!(is_plain || !neutral.holds(row.sample.as_bytes()), "{}", row.name);
                assert!(neutral.holds(b"null"), "{}", row.name);
            }
        }
    }

    #[test]
    fn neutral_values_ask_for_nothing() {
        let check = |neutral: Neutral, json: &str, holds: bool| {
            assert_eq!(neutral.holds(json.as_bytes()), holds, "{neutral:?} {json}");
        };
        check(Empty, "[]", true);
        check(Empty, "{ }", true);
        check(Empty, "0", false);
        check(True, "true", true);
        check(True, "false", false);
        check(Numbers(&[1.0]), "1", true);
        check(Numbers(&[1.0]), "1.0", true);
        check(Numbers(&[1.0]), "2", false);
        check(Words(&["none"]), "\"none\"", true);
        check(Words(&["none"]), "\"f\"", false);
        check(TextFormat, r#"{"type": "text"}"#, true);
        check(TextFormat, r#"{"type": "json_object"}"#, false);
        check(TextOnly, r#"["text"]"#, true);
        check(TextOnly, r#"["text", "audio"]"#, false);
    }
}
