//! A chat that is asked for, by whichever door: the one way from what a body says to what runs.
//!
//! A door reads its own fields into these, and writes the answer in its own words. Next: `chat.rs`.

use std::sync::Arc;

use gimbal_engine::{GenerateRequest, Parser, Service};
use gimbal_text::ReasoningFormat;

use super::conversation::Conversation;
use super::request::patience;
use super::spoken::Reading;
use super::tools::{ToolFields, Tools, control};
use crate::call::Call;
use crate::fault::Fault;
use crate::generations::Generations;

/// Tokens of a prompt's end that say whether it has opened the thoughts.
const TAIL_TOKENS: usize = 16;

/// Fields whose form is that of texts: a call is none. Other grammars mean the whole answer.
const FORMS: [&str; 4] = ["response_format", "output_config", "text", "format"];

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) service: Arc<Service>,
    pub(crate) conversation: Conversation,
    pub(crate) tools: ToolFields,
    /// Bytes of the trees that were made of other fields.
    pub(crate) tree_bytes: usize,
    /// Everything but the prompt and what tools and thoughts ask for.
    pub(crate) base: GenerateRequest,
}

/// What runs, and how its texts are read where they may be more than texts.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) generations: Generations,
    pub(crate) reading: Option<Reading>,
}

impl Asked {
    /// Starts it. What the body holds of the memory for bodies is still held.
    pub(crate) async fn run(self, call: &mut Call) -> Result<Running, Fault> {
        let Self { service, conversation, tools, tree_bytes, base } = self;
        call.charge(conversation.bytes() + tree_bytes + tools.bytes())?;
        let tools = tools.tools(&service)?;
        let prompt = conversation.prompt(tools.as_ref())?;
        let (form, other) = match &base.grammar {
            Some(form) if FORMS.contains(&form.field) => (Some(form), None),
            other => (None, other.as_ref()),
        };
        let grammar = match &tools {
            Some(tools) => tools.grammar(call.client(), &service, form).await?,
            None => None,
        };
        if let (Some(_), Some(other)) = (&grammar, other) {
            let what = "not beside a tool_choice that asks for a call: an answer has one grammar";
            return Err(Fault::field(other.field, what));
        }
        let reasoning = reasoning(&service);
        let request = GenerateRequest {
            prompt,
            grammar: grammar.or(base.grammar.clone()),
            kept_tokens: kept(&service, tools.as_ref(), reasoning),
            ..base
        };
        let patience = patience(call, service.edge());
        let generations = Generations::start(&service, vec![request], patience).await?;
        let reasoning = reasoning.map(|format| {
            let tokens = generations.prompt(0);
            let end = &tokens[tokens.len().saturating_sub(TAIL_TOKENS)..];
            (format, format.begins_inside(&service.tokenizer().decode(end, false)))
        });
        let reading = Some(Reading { tools, reasoning }).filter(Reading::is_needed);
        Ok(Running { generations, reading })
    }

    /// The tokens of its prompt.
    pub(crate) async fn tokens(self, call: &mut Call) -> Result<Vec<u32>, Fault> {
        let Self { service, conversation, tools, tree_bytes, .. } = self;
        call.charge(conversation.bytes() + tree_bytes + tools.bytes())?;
        let tools = tools.tools(&service)?;
        let prompt = conversation.prompt(tools.as_ref())?;
        let _place = service.permits(1)?;
        Ok(service.tokenize(call.client(), prompt).await?)
    }
}

/// How the model writes what it thinks, if it does.
pub(crate) fn reasoning(service: &Service) -> Option<ReasoningFormat> {
    match service.edge().reasoning {
        Parser::Off => None,
        Parser::As(format) => Some(format),
        Parser::Auto => ReasoningFormat::of_template(service.template()?.source()),
    }
}

/// True if the model's template asks for a variable of that name.
pub(crate) fn has_variable(service: &Service, name: &str) -> bool {
    service.template().is_some_and(|template| template.source().contains(name))
}

/// Control tokens that are a part of calls and thoughts.
fn kept(
    service: &Service,
    tools: Option<&Tools>,
    reasoning: Option<ReasoningFormat>,
) -> Arc<[u32]> {
    let calls = tools.map_or(&[][..], |tools| tools.format.keeps());
    let thoughts = reasoning.map_or(&[][..], ReasoningFormat::keeps);
    let control = |text: &&'static str| control(service, text);
    let mut kept: Vec<u32> = calls.iter().chain(thoughts).filter_map(control).collect();
    kept.sort_unstable();
    kept.into()
}
