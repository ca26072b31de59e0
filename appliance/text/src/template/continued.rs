//! `continue_final_message`: the prompt ends where the last message ends, so that the model goes on
//! with it. As `transformers`: a mark is added to the message, and looked for in the prompt.
//!
//! Next: `decoder.rs`.

use std::rc::Rc;

use crate::jinja::{Letter, Meter, Outcome, Text, Value, fail, find, is_space};

/// What is added; its blank tells whether the template strips messages.
const MARK: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// What must be in the prompt: the last message, without the blanks around it.
#[derive(Debug)]
pub(super) struct Ending(Text);

/// Marks the end of the last message's content.
///
/// # Errors
/// There is nothing to continue.
pub(super) fn mark(reads_content: bool, messages: &mut [Value]) -> Outcome<Ending> {
    let Some(Value::Dict(last)) = messages.last_mut() else {
        return fail("continue_final_message: there is no message to continue");
    };
    if !reads_content {
        return fail("continue_final_message: the template does not read the content of messages");
    }
    let content = last.field("content").cloned();
    let (marked, text) = match content {
        Some(Value::Text(text)) => (Value::Text(with_mark(&text)), text),
        Some(Value::List(parts)) => {
            let mut parts = parts.items.clone();
            let text_of = |part: &Value| match part {
                Value::Dict(part) => match part.field("text") {
                    Some(Value::Text(text)) => Some(text.clone()),
                    _ => None,
                },
                _ => None,
            };
            let found = parts.iter().enumerate().rev().find_map(|(i, p)| Some((i, text_of(p)?)));
            let Some((at, text)) = found else {
                return fail("continue_final_message: the last message has no text to continue");
            };
            if let Value::Dict(part) = &mut parts[at] {
                let marked = Value::Text(with_mark(&text));
                Rc::make_mut(part).insert(Value::own("text"), marked)?;
            }
            (Value::list(parts)?, text)
        }
        _ => return fail("continue_final_message: the last message has no content to continue"),
    };
    Rc::make_mut(last).insert(Value::own("content"), marked)?;
    Ok(Ending(trimmed(text.letters()).into()))
}

fn with_mark(text: &Text) -> Text {
    text.letters().iter().copied().chain(MARK.chars().map(Letter::client)).collect()
}

fn trimmed(letters: &[Letter]) -> &[Letter] {
    let keeps = |letter: &Letter| !is_space(letter.char());
    let start = letters.iter().position(keeps).unwrap_or(letters.len());
    let end = letters.iter().rposition(keeps).map_or(start, |at| at + 1);
    &letters[start..end]
}

/// Cuts the prompt at the mark.
///
/// # Errors
/// The template has changed the message or left it out.
pub(super) fn cut(prompt: &mut Vec<Letter>, ending: &Ending, meter: &Meter) -> Outcome<()> {
    let mark = Text::own(MARK);
    let short = trimmed(mark.letters());
    let at = prompt.windows(short.len()).rposition(|window| window == short);
    let is_there = find(prompt, ending.0.letters(), meter)?.is_some();
    let Some(at) = at.filter(|_| is_there) else {
        return fail(
            "continue_final_message: the last message does not appear in the prompt as it was sent",
        );
    };
    let keeps_blanks = prompt[at..].starts_with(mark.letters());
    prompt.truncate(at);
    if !keeps_blanks {
        let end = prompt.iter().rposition(|letter| !is_space(letter.char()));
        prompt.truncate(end.map_or(0, |at| at + 1));
    }
    Ok(())
}
