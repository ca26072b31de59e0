//! Masks of a grammar: at once where they are quick, on a thread for texts where they are not.
//!
//! Nearly every mask takes some microseconds, less than handing it to another thread. Now and then one
//! takes milliseconds; whoever had one is not worked on by the lane any more. What a mask is stands in
//! `gimbal-text`. Next: `request.rs`.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gimbal_batch::{TokenId, TokenMask};
use gimbal_scheduler::Client;
use gimbal_text::{Grammar, GrammarError, GrammarSource, Grammars, Matching, Tokenizer};
use tracing::debug;

use crate::constraint::{Constrain, Constraint, Ready};
use crate::{Refusal, text_pool};

/// A mask that takes longer is not quick.
const QUICK: Duration = Duration::from_millis(1);

/// The grammars of a model, made beside its first answers: the vocabulary as a tree takes a while.
#[derive(Debug)]
pub(crate) struct ModelGrammars {
    tokenizer: Arc<Tokenizer>,
    made: OnceLock<Result<Grammars, GrammarError>>,
}

impl ModelGrammars {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, made: OnceLock::new() }
    }

    /// Compiles one. May take long.
    pub(crate) fn compile(&self, source: &GrammarSource) -> Result<Arc<Grammar>, GrammarError> {
        self.made().as_ref().map_err(Clone::clone)?.compile(source)
    }

    /// Makes what all of them need.
    pub(crate) fn prepare(&self) {
        if let Err(error) = self.made() {
            debug!(%error, "this model's answers cannot be held to grammars");
        }
    }

    fn made(&self) -> &Result<Grammars, GrammarError> {
        self.made.get_or_init(|| Grammars::new(&self.tokenizer))
    }
}

/// A grammar for the continuations of one request.
#[derive(Clone, Debug)]
pub(crate) struct ByGrammar {
    pub(crate) grammar: Arc<Grammar>,
    pub(crate) client: Client,
    pub(crate) form: Form,
}

/// How masks are written.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// Words of a mask: as many as the device's vocabulary needs.
    pub(crate) words: usize,
    /// Tokens that come only where nothing else may.
    pub(crate) last: Arc<[u32]>,
}

impl Constrain for ByGrammar {
    fn begin(&self, ready: Ready) -> Box<dyn Constraint> {
        let matching = Box::new(self.grammar.begin());
        let state = State::Here { matching, tokens: Vec::new() };
        let (client, form) = (self.client, self.form.clone());
        Box::new(Answer { state, is_slow: false, ready, client, form })
    }
}

/// One continuation.
struct Answer {
    state: State,
    is_slow: bool,
    ready: Ready,
    client: Client,
    form: Form,
}

enum State {
    /// With the tokens it has not taken yet.
    Here { matching: Box<Matching>, tokens: Vec<TokenId> },
    /// On another thread.
    Away(Receiver<(Box<Matching>, TokenMask)>),
    /// Nothing may come any more.
    Over,
}

impl Constraint for Answer {
    fn mask(&mut self) -> Option<TokenMask> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Here { mut matching, mut tokens } if !self.is_slow => {
                let from = Instant::now();
                let mask = self.form.next(&mut matching, &tokens);
                self.is_slow = from.elapsed() > QUICK;
                tokens.clear();
                self.state = State::Here { matching, tokens };
                Some(mask)
            }
            State::Here { mut matching, tokens } => {
                let (sender, receiver) = sync_channel(1);
                let (ready, form) = (Arc::clone(&self.ready), self.form.clone());
                text_pool::spawn(self.client, move || {
                    let mask = form.next(&mut matching, &tokens);
                    // The answer may have ended meanwhile.
                    drop(sender.send((matching, mask)));
                    ready();
                });
                self.state = State::Away(receiver);
                None
            }
            State::Away(receiver) => match receiver.try_recv() {
                Ok((matching, mask)) => {
                    self.state = State::Here { matching, tokens: Vec::new() };
                    Some(mask)
                }
                Err(TryRecvError::Empty) => {
                    self.state = State::Away(receiver);
                    None
                }
                // A bug ended it, and nothing is known of what may come.
                Err(TryRecvError::Disconnected) => Some(self.form.nothing()),
            },
            State::Over => Some(self.form.nothing()),
        }
    }

    fn ahead(&mut self, mask: &TokenMask, guesses: &[TokenId]) -> Vec<TokenMask> {
        let mut masks: Vec<TokenMask> = Vec::with_capacity(guesses.len());
        if let (State::Here { matching, .. }, false) = (&mut self.state, self.is_slow) {
            let from = Instant::now();
            let here = matching.tokens();
            for guess in guesses {
                let is_allowed = masks.last().unwrap_or(mask).allows(*guess);
                if !is_allowed || from.elapsed() > QUICK {
                    break;
                }
                masks.push(self.form.next(matching, &[*guess]));
            }
            if matching.back_to(here).is_err() {
                self.state = State::Over;
            }
        }
        masks.resize_with(guesses.len(), || self.form.nothing());
        masks
    }

    fn accept(&mut self, token: TokenId) {
        // A token comes of a mask, and a mask brings it here.
        if let State::Here { tokens, .. } = &mut self.state {
            tokens.push(token);
        }
    }
}

impl Form {
    /// Takes tokens and finds out what may follow. What goes wrong allows nothing: the answer ends.
    fn next(&self, matching: &mut Matching, tokens: &[TokenId]) -> TokenMask {
        let taken = tokens.iter().try_for_each(|token| matching.accept(token.get()));
        match taken.and_then(|()| matching.mask()) {
            Ok(words) => self.written(words),
            Err(error) => {
                debug!(%error, "a grammar cannot go on");
                self.nothing()
            }
        }
    }

    /// Without the last tokens, unless nothing would be left.
    fn written(&self, mut words: Vec<u32>) -> TokenMask {
        words.resize(self.words, 0);
        if self.last.is_empty() {
            return TokenMask(words.into());
        }
        let mut rest = words.clone();
        for token in self.last.iter() {
            if let Some(word) = rest.get_mut(*token as usize / 32) {
                *word &= !(1 << (token % 32));
            }
        }
        let is_empty = rest.iter().all(|word| *word == 0);
        TokenMask(if is_empty { words } else { rest }.into())
    }

    fn nothing(&self) -> TokenMask {
        TokenMask(vec![0; self.words].into())
    }
}

impl Refusal {
    /// What is wrong with a grammar that stood in a field.
    pub(crate) fn of_grammar(field: &'static str, error: &GrammarError) -> Self {
        Self::Invalid { field, what: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use gimbal_text::TokenizerData;

    use super::*;

    fn answer(regex: &str, is_slow: bool, last: &[u32], ready: Ready) -> Answer {
        let tokenizer = Tokenizer::new(&TokenizerData::byte_level()).expect("bytes");
        let grammars = ModelGrammars::new(Arc::new(tokenizer));
        let grammar = grammars.compile(&GrammarSource::Regex(regex.to_owned())).expect("fine");
        let state = State::Here { matching: Box::new(grammar.begin()), tokens: Vec::new() };
        let form = Form { words: 9, last: last.into() };
        Answer { state, is_slow, ready, client: Client::default(), form }
    }

    fn allowed(mask: &TokenMask) -> Vec<u32> {
        (0..32 * 9).filter(|id| mask.allows(TokenId::new(*id))).collect()
    }

    /// What is slow is done elsewhere: asked again after `ready`, it is there, and the same.
    #[test]
    fn a_slow_mask_is_late_and_the_same() {
        let (sender, told) = sync_channel(4);
        let ready: Ready = Arc::new(move || sender.send(()).expect("the test waits"));
        let mut quick = answer("a[bc]", false, &[], Arc::new(|| ()));
        let mut slow = answer("a[bc]", true, &[], ready);
        for token in [u32::from(b'a'), u32::from(b'c'), 257] {
            let expect = quick.mask().expect("at once");
            let mut found = slow.mask();
            if found.is_none() {
                told.recv().expect("it is made");
                found = slow.mask();
            }
            assert_eq!(found.as_ref(), Some(&expect));
            assert!(expect.allows(TokenId::new(token)));
            quick.accept(TokenId::new(token));
            slow.accept(TokenId::new(token));
        }
    }

    #[test]
    fn who_goes_on_ends_only_where_nothing_else_is_left() {
        let mut free = answer("a{1,2}", false, &[], Arc::new(|| ()));
        let mut on = answer("a{1,2}", false, &[257], Arc::new(|| ()));
        let a = TokenId::new(b'a'.into());
        let seen: Vec<_> = (0..3)
            .map(|_| {
                let masks = [&mut free, &mut on].map(|answer| answer.mask().expect("at once"));
                free.accept(a);
                on.accept(a);
                masks.map(|mask| allowed(&mask))
            })
            .collect();
        let a = a.get();
        assert_eq!(seen, [[vec![a], vec![a]], [vec![a, 257], vec![a]], [vec![257], vec![257]]]);
    }

    /// What follows guesses is what follows the tokens, and nothing has changed after the question.
    #[test]
    fn what_follows_a_guess_is_known_before_it_is_right() {
        let ids = |text: &str| text.bytes().map(|b| TokenId::new(b.into())).collect::<Vec<_>>();
        let mut asked = answer("ab[cd]|ax", false, &[], Arc::new(|| ()));
        let mut told = answer("ab[cd]|ax", false, &[], Arc::new(|| ()));
        let first = told.mask().expect("at once");
        assert_eq!(asked.mask().as_ref(), Some(&first));
        let ahead: Vec<_> = asked.ahead(&first, &ids("abcz")).iter().map(allowed).collect();
        let expect: [Vec<u32>; 2] = ["bx", "cd"].map(|text| text.bytes().map(u32::from).collect());
        assert_eq!(ahead[..2], expect);
        assert_eq!(ahead[2..], [vec![257], vec![]], "the end, and nothing behind it");
        let wrong: Vec<_> = asked.ahead(&first, &ids("acb")).iter().map(allowed).collect();
        assert_eq!(wrong[1..], [[0; 0]; 2], "c does not follow a");
        for token in ids("abc") {
            asked.accept(token);
            told.accept(token);
            assert_eq!(asked.mask(), told.mask());
        }
        // Two tokens that one step brought.
        let mut both = answer("ab[cd]|ax", false, &[], Arc::new(|| ()));
        assert!(both.mask().is_some());
        ids("ab").into_iter().for_each(|token| both.accept(token));
        assert_eq!(allowed(&both.mask().expect("at once")), expect[1]);
        let mut slow = answer("ab[cd]|ax", true, &[], Arc::new(|| ()));
        assert_eq!(
            slow.ahead(&first, &ids("ab")).iter().map(allowed).collect::<Vec<_>>(),
            [[0; 0]; 2]
        );
    }

    #[test]
    fn a_token_that_does_not_fit_leaves_nothing() {
        let mut answer = answer("ab", false, &[], Arc::new(|| ()));
        assert!(answer.mask().is_some());
        answer.accept(TokenId::new(b'x'.into()));
        assert_eq!(allowed(&answer.mask().expect("at once")), [0_u32; 0]);
    }
}
