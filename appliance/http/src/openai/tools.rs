//! Tools of a chat: what a client says of them, what the template and the grammar are told.
//!
//! How calls are written stands in `gimbal-text`; how they are answered in `spoken.rs`. Next:
//! `spoken.rs`.

use std::sync::Arc;

use gimbal_engine::{Client, Parser, Service, Wanted, text_pool};
use gimbal_text::{
    GrammarError, ToolChoice, ToolError, ToolFormat, ToolSpec, tool_grammar, tool_grammar_or,
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::fault::Fault;
use crate::schemas;
use crate::typed::{Flag, Tree};

/// The fields of tools.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct ToolFields {
    #[schema(schema_with = schemas::tools)]
    pub(crate) tools: Option<Tree>,
    #[schema(schema_with = schemas::text_or_object)]
    pub(crate) tool_choice: Option<Tree>,
    #[schema(schema_with = schemas::flag)]
    pub(crate) parallel_tool_calls: Option<Flag>,
    #[schema(schema_with = schemas::functions)]
    pub(crate) functions: Option<Tree>,
    #[schema(schema_with = schemas::text_or_object)]
    pub(crate) function_call: Option<Tree>,
}

/// Tools that may be called.
#[derive(Clone, Debug)]
pub(super) struct Tools {
    pub(super) specs: Arc<[ToolSpec]>,
    pub(super) format: ToolFormat,
    pub(super) is_parallel: bool,
    /// Functions, the older way: one call, told otherwise.
    pub(super) is_older: bool,
    /// As the client wrote them, for the template.
    pub(super) told: Value,
    pub(super) forced: Option<ToolChoice>,
}

impl ToolFields {
    /// Bytes of the trees that were made of them.
    pub(super) fn bytes(&self) -> usize {
        let all = [&self.tools, &self.tool_choice, &self.functions, &self.function_call];
        all.into_iter().flatten().map(|tree| tree.bytes).sum()
    }

    /// Says what is wrong with them.
    pub(crate) fn check(self, service: &Service) -> Result<(), Fault> {
        self.tools(service).map(drop)
    }

    /// The tools that an answer may call; none where there are none, or none may be called.
    pub(super) fn tools(self, service: &Service) -> Result<Option<Tools>, Fault> {
        let empty = |tree: &Tree| tree.value.as_array().is_some_and(Vec::is_empty);
        let (newer, older) = (self.tools, self.functions);
        let (newer, older) = (newer.filter(|t| !empty(t)), older.filter(|t| !empty(t)));
        let (field, is_older, told) = match (newer, older) {
            (Some(_), Some(_)) => {
                return Err(Fault::field("functions", "not beside tools, their newer name"));
            }
            (Some(Tree { value, .. }), None) => ("tools", false, value),
            (None, Some(Tree { value, .. })) => ("functions", true, as_tools(value)?),
            (None, None) => {
                let asks = |tree: &Option<Tree>| {
                    tree.as_ref().is_some_and(|tree| {
                        !["none", "auto"].map(Value::from).contains(&tree.value)
                    })
                };
                let choices =
                    [("tool_choice", &self.tool_choice), ("function_call", &self.function_call)];
                if let Some((field, _)) = choices.into_iter().find(|(_, tree)| asks(tree)) {
                    return Err(Fault::field(field, "asks for a call, but there are no tools"));
                }
                return Ok(None);
            }
        };
        let specs = ToolSpec::read(&told).map_err(|ToolError(what)| placed(field, &what))?;
        let (name, choice) = match is_older {
            false => ("tool_choice", self.tool_choice),
            true => ("function_call", self.function_call),
        };
        let choice = choice.map(|tree| tree.value);
        let forced = match choice.as_ref().map(|choice| chosen(name, choice, &specs)) {
            None => None,
            Some(chosen) => match chosen? {
                Chosen::None => return Ok(None),
                Chosen::Auto => None,
                Chosen::Forced(forced) => Some(forced),
            },
        };
        let format = match service.edge().tool_calls {
            Parser::As(format) => format,
            Parser::Auto => ToolFormat::of_template(service.template().map_or("", |t| t.source())),
            Parser::Off if forced.is_some() => ToolFormat::Generic,
            Parser::Off => return Ok(None),
        };
        let is_parallel = !is_older && self.parallel_tool_calls.is_none_or(|Flag(flag)| flag);
        let specs = specs.into();
        Ok(Some(Tools { specs, format, is_parallel, is_older, told, forced }))
    }
}

impl Tools {
    /// The grammar of a call that must come, or of one that may where an answer has a form. Each tool's
    /// schema is tried by itself, on a thread for texts.
    pub(super) async fn grammar(
        &self,
        client: Client,
        service: &Arc<Service>,
        form: Option<&Wanted>,
    ) -> Result<Option<Wanted>, Fault> {
        let (service, tools) = (Arc::clone(service), self.clone());
        let form = form.filter(|_| self.forced.is_none()).cloned();
        let field = form.as_ref().map_or("tools", |form| form.field);
        let make = move || {
            let Self { format, specs, is_parallel, .. } = &tools;
            let control = |text: &str| control(&service, text);
            match (&tools.forced, &form) {
                (Some(choice), _) => {
                    tool_grammar(*format, specs, choice, *is_parallel, &control).map(Some)
                }
                (None, Some(Wanted { field, source })) => {
                    tool_grammar_or(*format, specs, (field, source), *is_parallel, &control)
                }
                (None, None) => Ok(None),
            }
        };
        let made = text_pool::run(client, make).await?;
        let source = made.map_err(|GrammarError(what)| placed(field, &what))?;
        Ok(source.map(|source| Wanted { field, source: Arc::new(source) }))
    }

    /// What a template that knows no tools is told of them: in words.
    pub(super) fn in_words(&self) -> Option<String> {
        (self.format == ToolFormat::Generic).then(|| {
            format!(
                "You may call these tools:\n{}\nTo call one, answer only with a JSON object: \
                 {{\"name\": the tool's name, \"arguments\": an object of its arguments}}.",
                self.told
            )
        })
    }
}

/// The control token of that text, where the model has one.
pub(super) fn control(service: &Service, text: &str) -> Option<u32> {
    let tokenizer = service.tokenizer();
    match tokenizer.encode_plain(text, true).ok()?.as_slice() {
        [id] if tokenizer.is_control(*id) => Some(*id),
        _ => None,
    }
}

/// Whether a call must come.
enum Chosen {
    None,
    Auto,
    Forced(ToolChoice),
}

fn chosen(field: &str, choice: &Value, specs: &[ToolSpec]) -> Result<Chosen, Fault> {
    let name = match choice {
        Value::String(word) => match word.as_str() {
            "none" => return Ok(Chosen::None),
            "auto" => return Ok(Chosen::Auto),
            // `any` is Mistral's and Anthropic's word.
            "required" | "any" => return Ok(Chosen::Forced(ToolChoice::Required)),
            _ => None,
        },
        // `{"type": "function", "function": {"name": …}}`, or the name at once.
        choice => choice["function"]["name"].as_str().or_else(|| choice["name"].as_str()),
    };
    let Some(name) = name else {
        let what = "must be \"none\", \"auto\", \"required\" or name a function";
        return Err(Fault::field(field, what));
    };
    if !specs.iter().any(|spec| spec.name == name) {
        let known: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).take(8).collect();
        let name: String = name.chars().take(64).collect();
        let what = format!("there is no tool {name:?}; there are {}", known.join(", "));
        return Err(Fault::field(field, what));
    }
    Ok(Chosen::Forced(ToolChoice::Named(name.to_owned())))
}

/// Functions in the newer form.
fn as_tools(functions: Value) -> Result<Value, Fault> {
    let Value::Array(functions) = functions else {
        return Err(Fault::field("functions", "must be a list"));
    };
    let tool = |function: Value| json!({ "type": "function", "function": function });
    Ok(functions.into_iter().map(tool).collect())
}

/// An error whose words begin with a place in `tools`.
fn placed(field: &str, what: &str) -> Fault {
    match what.split_once(": ") {
        Some((place, what)) if place.starts_with("tools") || place == field => {
            Fault::field(place, what)
        }
        _ => Fault::field(field, what),
    }
}
