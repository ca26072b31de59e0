//! What JSON the fields of bodies may be, for `/openapi.json`: their types, and the ranges that the engine
//! keeps. `null` is as good as absent everywhere.
//!
//! What a field is for stands in `names.rs`. Next: `openapi.rs`.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AnyOfBuilder, ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type,
};

use crate::typed::{PROMPTS_MAX, STOP_TOKENS_MAX, STOPS_MAX};

/// Letters of a text that ends an answer.
const STOP_LETTERS_MAX: usize = 1024;
/// Alternatives to a token.
const TOP_MAX: u32 = 20;
/// Tokens whose log probabilities may be asked for.
const ASKED_MAX: usize = 128;
/// Continuations of a prompt.
const CHOICES_MAX: u32 = 128;

fn or_null(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([kind, Type::Null]))
}

fn plain(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(kind))
}

/// True, false, or null.
pub(crate) fn flag() -> Schema {
    or_null(Type::Boolean).build().into()
}

/// A text, or null.
pub(crate) fn text() -> Schema {
    or_null(Type::String).build().into()
}

/// A text that must be there.
pub(crate) fn needed_text() -> Schema {
    plain(Type::String).build().into()
}

/// Any object, or null.
pub(crate) fn object() -> Schema {
    or_null(Type::Object).build().into()
}

/// Tools in OpenAI's form.
pub(crate) fn tools() -> Schema {
    let function = plain(Type::Object).property("name", needed_text()).required("name");
    let kind = plain(Type::String).enum_values(Some(["function"]));
    let tool = plain(Type::Object).property("type", kind).property("function", function);
    let tool = tool.required("type").required("function");
    list_or_null(tool.build().into()).build().into()
}

/// Functions in OpenAI's older form.
pub(crate) fn functions() -> Schema {
    let function = plain(Type::Object).property("name", needed_text()).required("name");
    list_or_null(function.build().into()).build().into()
}

/// `response_format`: what it holds beside its type depends on the type.
pub(crate) fn response_format() -> Schema {
    let kinds = ["text", "json_object", "json_schema"];
    let kind = plain(Type::String).enum_values(Some(kinds));
    or_null(Type::Object).property("type", kind).required("type").build().into()
}

/// A JSON schema, as an object or as a text.
pub(crate) fn written_schema() -> Schema {
    let kinds = [Type::Object, Type::Boolean, Type::String, Type::Null];
    ObjectBuilder::new().schema_type(SchemaType::from_iter(kinds)).build().into()
}

/// A text, or an object with its type and its value.
pub(crate) fn text_or_object() -> Schema {
    let kinds = [Type::Object, Type::String, Type::Null];
    ObjectBuilder::new().schema_type(SchemaType::from_iter(kinds)).build().into()
}

/// Whether, or how much.
pub(crate) fn flag_or_effort() -> Schema {
    let efforts = plain(Type::String).enum_values(Some(["low", "medium", "high", "max"]));
    AnyOfBuilder::new().item(flag()).item(efforts).build().into()
}

/// `"json"`, or a JSON schema.
pub(crate) fn json_or_schema() -> Schema {
    let word = plain(Type::String).enum_values(Some(["json", ""]));
    AnyOfBuilder::new().item(or_null(Type::Object)).item(word).build().into()
}

/// A conversation as Ollama writes it.
pub(crate) fn ollama_turns() -> Schema {
    let roles = plain(Type::String).enum_values(Some(["system", "user", "assistant", "tool"]));
    let turn = plain(Type::Object).property("role", roles).property("content", text());
    list(turn.required("role").build().into()).build().into()
}

/// A count from 1, or -1 or -2 for no limit.
pub(crate) fn any_length() -> Schema {
    let none = plain(Type::Integer).enum_values(Some([-1, -2]));
    AnyOfBuilder::new().item(length()).item(none).build().into()
}

/// Texts, or null.
pub(crate) fn texts() -> Schema {
    list_or_null(needed_text()).build().into()
}

/// Whatever a template reads.
pub(crate) fn variable() -> Schema {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).build().into()
}

fn number(least: f64, most: f64) -> Schema {
    or_null(Type::Number).minimum(Some(least)).maximum(Some(most)).build().into()
}

/// 0 is greedy.
pub(crate) fn temperature() -> Schema {
    number(0.0, 100.0)
}

/// A share of probability above 0.
pub(crate) fn top_p() -> Schema {
    number(1e-30, 1.0)
}

/// A share of the best probability.
pub(crate) fn min_p() -> Schema {
    number(0.0, 1.0)
}

/// A factor.
pub(crate) fn repetition_penalty() -> Schema {
    number(1e-3, 1e3)
}

/// What is taken from logits.
pub(crate) fn penalty() -> Schema {
    number(-2.0, 2.0)
}

/// A count from 0.
pub(crate) fn count() -> Schema {
    or_null(Type::Integer).minimum(Some(0)).build().into()
}

/// A count from 1.
pub(crate) fn length() -> Schema {
    or_null(Type::Integer).minimum(Some(1)).build().into()
}

/// Alternatives to each token.
pub(crate) fn alternatives() -> Schema {
    or_null(Type::Integer).minimum(Some(0)).maximum(Some(TOP_MAX)).build().into()
}

/// Continuations of a prompt.
pub(crate) fn choices() -> Schema {
    or_null(Type::Integer).minimum(Some(1)).maximum(Some(CHOICES_MAX)).build().into()
}

/// 0 and -1 keep all.
pub(crate) fn top_k() -> Schema {
    or_null(Type::Integer).minimum(Some(-1)).maximum(Some(u32::MAX)).build().into()
}

/// Any number of 64 bits.
pub(crate) fn seed() -> Schema {
    or_null(Type::Integer).minimum(Some(isize::MIN)).maximum(Some(isize::MAX)).build().into()
}

fn id() -> Schema {
    plain(Type::Integer).minimum(Some(0)).maximum(Some(u32::MAX)).build().into()
}

fn list(items: Schema) -> ArrayBuilder {
    ArrayBuilder::new().items(RefOr::T(items))
}

fn list_or_null(items: Schema) -> ArrayBuilder {
    list(items).schema_type(SchemaType::from_iter([Type::Array, Type::Null]))
}

/// Tokens that end an answer.
pub(crate) fn stop_tokens() -> Schema {
    list_or_null(id()).max_items(Some(STOP_TOKENS_MAX - 1)).build().into()
}

/// Tokens whose log probabilities are asked for.
pub(crate) fn asked_tokens() -> Schema {
    list_or_null(id()).min_items(Some(1)).max_items(Some(ASKED_MAX)).build().into()
}

/// Tokens.
pub(crate) fn tokens() -> Schema {
    list(id()).build().into()
}

/// Texts that end an answer.
pub(crate) fn stop() -> Schema {
    let one = || plain(Type::String).min_length(Some(1)).max_length(Some(STOP_LETTERS_MAX)).build();
    let many = list(one().into()).max_items(Some(STOPS_MAX - 1)).build();
    any([one().into(), many.into(), plain(Type::Null).build().into()])
}

/// One text, or some.
pub(crate) fn inputs() -> Schema {
    let many = list(needed_text()).min_items(Some(1)).max_items(Some(PROMPTS_MAX)).build();
    any([needed_text(), many.into()])
}

/// A text, texts, token ids, or lists of them.
pub(crate) fn prompts() -> Schema {
    let some = |items: Schema| list(items).min_items(Some(1));
    let texts = some(needed_text()).max_items(Some(PROMPTS_MAX)).build();
    let ids = || some(id()).build();
    let lists = some(ids().into()).max_items(Some(PROMPTS_MAX)).build();
    any([needed_text(), texts.into(), ids().into(), lists.into()])
}

/// A conversation.
pub(crate) fn messages() -> Schema {
    let part = plain(Type::Object)
        .property("type", plain(Type::String).enum_values(Some(["text"])))
        .property("text", needed_text())
        .required("type")
        .required("text");
    let parts = list(part.build().into()).build();
    let content = any([needed_text(), parts.into(), plain(Type::Null).build().into()]);
    let message = plain(Type::Object)
        .property("role", needed_text())
        .property("content", content)
        .required("role");
    list(message.build().into()).min_items(Some(1)).build().into()
}

/// A text, or blocks of text.
pub(crate) fn text_blocks() -> Schema {
    any([needed_text(), list(text_block()).build().into(), plain(Type::Null).build().into()])
}

fn text_block() -> Schema {
    typed("text").property("text", needed_text()).required("text").build().into()
}

/// An object whose type is this one.
fn typed(kind: &'static str) -> ObjectBuilder {
    let kind = plain(Type::String).enum_values(Some([kind]));
    plain(Type::Object).property("type", kind).required("type")
}

/// A conversation of two sides.
pub(crate) fn turns() -> Schema {
    let result = typed("tool_result")
        .property("tool_use_id", needed_text())
        .property("content", any([needed_text(), list(text_block()).build().into()]))
        .property("is_error", plain(Type::Boolean))
        .required("tool_use_id");
    let call = typed("tool_use")
        .property("id", needed_text())
        .property("name", needed_text())
        .property("input", plain(Type::Object));
    let call = call.required("id").required("name").required("input");
    let turn = |role: &'static str, block: ObjectBuilder| {
        let blocks = list(any([text_block(), block.build().into()])).min_items(Some(1)).build();
        let role = plain(Type::String).enum_values(Some([role]));
        let turn = plain(Type::Object).property("role", role).required("role");
        turn.property("content", any([needed_text(), blocks.into()])).required("content").build()
    };
    let turns = any([turn("user", result).into(), turn("assistant", call).into()]);
    list(turns).min_items(Some(1)).build().into()
}

/// What a response answers: a text, or items.
pub(crate) fn items() -> Schema {
    let part =
        |kind: &'static str| typed(kind).property("text", needed_text()).required("text").build();
    let message = |roles: &[&'static str], kind: &'static str| {
        let content = any([needed_text(), list(part(kind).into()).build().into()]);
        let role = plain(Type::String).enum_values(Some(roles.iter().copied()));
        let message = typed("message").property("role", role).required("role");
        message.property("content", content).required("content").build()
    };
    let output = typed("function_call_output")
        .property("call_id", needed_text())
        .property("output", any([needed_text(), list(part("input_text").into()).build().into()]))
        .required("call_id")
        .required("output");
    let item = any([
        message(&["user", "system", "developer"], "input_text").into(),
        message(&["assistant"], "output_text").into(),
        output.build().into(),
    ]);
    any([needed_text(), list(item).min_items(Some(1)).build().into()])
}

/// Functions in the form of responses.
pub(crate) fn flat_tools() -> Schema {
    list(typed("function").property("name", needed_text()).required("name").build().into())
        .build()
        .into()
}

/// What an answer must look like.
pub(crate) fn text_config() -> Schema {
    let kinds = plain(Type::String).enum_values(Some(["text", "json_object", "json_schema"]));
    let format = or_null(Type::Object).property("type", kinds).required("type");
    or_null(Type::Object).property("format", format).build().into()
}

/// How much effort.
pub(crate) fn reasoning() -> Schema {
    let effort = ["low", "medium", "high", "minimal", "none"];
    let effort = plain(Type::String).enum_values(Some(effort));
    or_null(Type::Object).property("effort", effort).build().into()
}

/// What more an answer tells.
pub(crate) fn included() -> Schema {
    let names = ["message.output_text.logprobs", "reasoning.encrypted_content"];
    let name = plain(Type::String).enum_values(Some(names)).build();
    list_or_null(name.into()).max_items(Some(8)).build().into()
}

/// A client's own notes.
pub(crate) fn notes() -> Schema {
    let letters = |most: usize| plain(Type::String).max_length(Some(most)).build();
    or_null(Type::Object)
        .additional_properties(Some(Schema::from(letters(512))))
        .property_names(Some(letters(64)))
        .max_properties(Some(16))
        .build()
        .into()
}

/// Tools in Anthropic's form.
pub(crate) fn client_tools() -> Schema {
    let tool = plain(Type::Object)
        .property("name", needed_text())
        .property("input_schema", plain(Type::Object))
        .required("name")
        .required("input_schema");
    list(tool.build().into()).build().into()
}

/// Whether a model thinks.
pub(crate) fn thinking() -> Schema {
    let kinds = plain(Type::String).enum_values(Some(["disabled", "adaptive", "enabled"]));
    or_null(Type::Object).property("type", kinds).required("type").build().into()
}

/// Texts that end an answer, as a list.
pub(crate) fn stop_list() -> Schema {
    let one = plain(Type::String).min_length(Some(1)).max_length(Some(STOP_LETTERS_MAX)).build();
    list_or_null(one.into()).max_items(Some(STOPS_MAX - 1)).build().into()
}

fn any<const N: usize>(all: [Schema; N]) -> Schema {
    all.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).build().into()
}
