//! An answer as a row of blocks (thoughts, texts, calls), for doors that tell it so.
//!
//! Whole answers and streams come by the same way, a token at a time, so they cannot differ. What a
//! text says is read by `spoken.rs`. Next: `chat.rs`.

use gimbal_engine::TokenInfo;

use super::spoken::{Reader, Reading, Said};

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Block {
    Thought(String),
    Text(String),
    /// A call of a tool; its arguments are a text of JSON, a part of one where the answer was cut.
    Call {
        id: String,
        name: String,
        arguments: String,
    },
}

/// What happened to the newest block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// It is there, and empty.
    Begins,
    /// More of its text, with the tokens it came by; or more of its arguments.
    Grows(String, Vec<TokenInfo>),
    /// It is complete.
    Ends,
}

/// The blocks of one answer.
#[derive(Debug)]
pub(crate) struct Blocks {
    reader: Option<Reader>,
    pub(crate) all: Vec<Block>,
    is_open: bool,
    /// Blanks; they are the answer's if a text follows, or nothing else comes.
    blanks: String,
    /// Tokens of which it is not known yet what they say.
    pending: Vec<TokenInfo>,
    /// Tokens of thoughts, about: the mark at their end is not counted.
    pub(crate) thought_tokens: u32,
}

impl Blocks {
    pub(crate) fn new(reading: Option<&Reading>) -> Self {
        Self {
            reader: reading.map(Reading::reader),
            all: Vec::new(),
            is_open: false,
            blanks: String::new(),
            pending: Vec::new(),
            thought_tokens: 0,
        }
    }

    /// The blocks of a whole answer, telling each change. `text` may end before its tokens do.
    pub(crate) fn whole(
        reading: Option<&Reading>,
        text: &str,
        tokens: &[(TokenInfo, String)],
        mut tell: impl FnMut(usize, Change),
    ) -> Self {
        let mut blocks = Self::new(reading);
        let mut told = 0;
        for (token, piece) in tokens {
            let end = text.len().min(told + piece.len());
            let changes = blocks.push(text.get(told..end).unwrap_or_default(), Some(token));
            changes.into_iter().for_each(|(at, change)| tell(at, change));
            told = end;
        }
        // What was held back comes with no token.
        let mut changes = blocks.push(text.get(told..).unwrap_or_default(), None);
        changes.extend(blocks.finish());
        changes.into_iter().for_each(|(at, change)| tell(at, change));
        blocks
    }

    /// Takes more of the answer; gives what happened, each with the index of its block.
    pub(crate) fn push(&mut self, text: &str, token: Option<&TokenInfo>) -> Vec<(usize, Change)> {
        self.pending.extend(token.cloned());
        let said = match &mut self.reader {
            Some(reader) => reader.push(text),
            None if text.is_empty() => Vec::new(),
            None => vec![Said::Text(text.to_owned())],
        };
        self.take(said)
    }

    /// No more comes. An answer that is neither text nor call is an empty text.
    pub(crate) fn finish(&mut self) -> Vec<(usize, Change)> {
        let rest = self.reader.as_mut().map(Reader::finish).unwrap_or_default();
        let mut changes = self.take(rest);
        if let Some(Block::Thought(_)) = self.all.last() {
            self.note_thought();
        }
        if self.all.iter().all(|block| matches!(block, Block::Thought(_))) {
            self.begin(Block::Text(String::new()), &mut changes);
            let blanks = std::mem::take(&mut self.blanks);
            self.grow(&blanks, &mut changes);
        }
        self.end(&mut changes);
        changes
    }

    /// True if a tool is called.
    pub(crate) fn has_call(&self) -> bool {
        self.all.iter().any(|block| matches!(block, Block::Call { .. }))
    }

    fn take(&mut self, said: Vec<Said>) -> Vec<(usize, Change)> {
        let mut changes = Vec::new();
        for said in said {
            match said {
                Said::Thought(text) => {
                    self.note_thought();
                    if !matches!(self.all.last(), Some(Block::Thought(_))) {
                        self.begin(Block::Thought(String::new()), &mut changes);
                    }
                    self.grow(&text, &mut changes);
                }
                Said::Text(text) => {
                    self.blanks += &text;
                    let is_text = matches!(self.all.last(), Some(Block::Text(_)));
                    if !is_text && self.blanks.trim().is_empty() {
                        continue;
                    }
                    if !is_text {
                        self.begin(Block::Text(String::new()), &mut changes);
                    }
                    let text = std::mem::take(&mut self.blanks);
                    self.grow(&text, &mut changes);
                }
                Said::Call { id, name, .. } => {
                    // Blanks around calls are none of the answer.
                    self.blanks.clear();
                    let call = Block::Call { id, name, arguments: String::new() };
                    self.begin(call, &mut changes);
                }
                Said::Arguments { delta, .. } => self.grow(&delta, &mut changes),
            }
        }
        changes
    }

    fn note_thought(&mut self) {
        let tokens = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
        self.thought_tokens = self.thought_tokens.saturating_add(tokens);
        self.pending.clear();
    }

    fn begin(&mut self, block: Block, changes: &mut Vec<(usize, Change)>) {
        self.end(changes);
        self.all.push(block);
        self.is_open = true;
        changes.push((self.all.len() - 1, Change::Begins));
    }

    fn grow(&mut self, more: &str, changes: &mut Vec<(usize, Change)>) {
        let at = self.all.len().saturating_sub(1);
        let Some(block) = self.all.last_mut() else { return };
        let tokens = std::mem::take(&mut self.pending);
        let (text, tokens) = match block {
            Block::Text(text) => (text, tokens),
            Block::Thought(text) | Block::Call { arguments: text, .. } => (text, Vec::new()),
        };
        if more.is_empty() {
            return;
        }
        text.push_str(more);
        changes.push((at, Change::Grows(more.to_owned(), tokens)));
    }

    fn end(&mut self, changes: &mut Vec<(usize, Change)>) {
        if std::mem::take(&mut self.is_open) {
            changes.push((self.all.len() - 1, Change::Ends));
        }
    }
}

#[cfg(test)]
mod tests {
    use gimbal_text::{ReasoningFormat, ToolFormat, ToolSpec};
    use serde_json::json;

    use super::super::tools::Tools;
    use super::*;

    /// The blocks of a text, a letter a token, and of each block what was told of it.
    fn read(reading: Option<&Reading>, text: &str) -> (Vec<Block>, u32) {
        let token = |letter: char| {
            let info = TokenInfo { id: 7, logprob: 0.0, top: Vec::new(), special: false };
            (info, letter.to_string())
        };
        let tokens: Vec<_> = text.chars().map(token).collect();
        let mut told: Vec<(String, bool)> = Vec::new();
        let blocks = Blocks::whole(reading, text, &tokens, |at, change| match change {
            Change::Begins => {
                assert_eq!(at, told.len());
                assert!(told.iter().all(|(_, has_ended)| *has_ended));
                told.push((String::new(), false));
            }
            Change::Grows(more, _) => told[at].0 += &more,
            Change::Ends => told[at].1 = true,
        });
        assert!(told.iter().all(|(_, has_ended)| *has_ended));
        for ((told, _), block) in told.iter().zip(&blocks.all) {
            let (Block::Thought(text) | Block::Text(text) | Block::Call { arguments: text, .. }) =
                block;
            assert_eq!(told, text);
        }
        (blocks.all, blocks.thought_tokens)
    }

    #[test]
    fn thoughts_texts_and_calls_follow_each_other_and_blanks_between_are_none() {
        let text = |text: &str| Block::Text(text.to_owned());
        assert_eq!(read(None, "Hi"), (vec![text("Hi")], 0));
        assert_eq!(read(None, ""), (vec![text("")], 0));
        assert_eq!(read(None, " \n"), (vec![text(" \n")], 0));
        let told = json!([{ "type": "function", "function": { "name": "f" } }]);
        let tools = Tools {
            specs: ToolSpec::read(&told).expect("fine").into(),
            format: ToolFormat::Hermes,
            is_parallel: true,
            is_older: false,
            told,
            forced: None,
        };
        let reasoning = Some((ReasoningFormat::Think, true));
        let reading = Reading { tools: Some(tools), reasoning };
        let call = "\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>\n";
        let (blocks, thought) = read(Some(&reading), &format!("Hm.</think>\n\n{call}{call}Done."));
        assert_eq!(thought, 3);
        let [Block::Thought(hm), Block::Call { name, arguments, .. }, Block::Call { .. }, last] =
            &blocks[..]
        else {
            panic!("{blocks:?}");
        };
        assert_eq!((hm.as_str(), name.as_str(), arguments.as_str()), ("Hm.", "f", "{\"a\": 1}"));
        assert_eq!(last, &Block::Text("\nDone.".to_owned()));
        assert_eq!(read(Some(&reading), "So"), (vec![Block::Thought("So".into()), text("")], 2));
    }
}
