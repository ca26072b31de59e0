//! Prompts of a wanted length: short English words, of which nearly every tokenizer makes one
//! token each.
//!
//! A server that counts (`/tokenize`) is asked once which words are one token for it; from then on
//! lengths are exact without asking again. Next: `script.rs`.

use crate::rng::Rng;

/// Common words. 256 of them: two prompts share a block of 16 tokens by chance once in 2^128.
const WORDS: &str = "\
    the of and to in is you that it he was for on are as with his they at be this have from \
    or one had by word but not what all were we when your can said there use an each which \
    she do how their if will up other about out many then them these so some her would make \
    like him into time has look two more write go see number no way could people my than \
    first water been call who oil its now find long down day did get come made may part over \
    new sound take only little work know place year live me back give most very after thing \
    our just name good man think say great where help through much before line right too \
    mean old any same tell boy follow came want show also around form three small set put \
    end does another well large must big even such because turn here why ask went men read \
    need land different home us move try kind hand picture again change off play spell air \
    away animal house point page letter mother answer found study still learn should world \
    high every near add food between own below country plant last school father keep tree \
    never start city earth eye light thought head under story saw left few while along might \
    close something seem next hard open example begin life both paper together group often \
    run until side feet car night walk white sea grow river four carry state once";

/// The words prompts are made of, and how a server counts them.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    words: Vec<&'static str>,
    /// Tokens of a prompt beside its words: a mark of the beginning, for one.
    overhead: u32,
    /// A server counted the words.
    pub(crate) exact: bool,
}

impl Vocabulary {
    /// All words, each taken for a token.
    pub(crate) fn assumed() -> Self {
        Self { words: WORDS.split_whitespace().collect(), overhead: 0, exact: false }
    }

    /// The texts whose counts decide: [`Self::calibrated`] takes the answers in the same order.
    pub(crate) fn questions() -> impl Iterator<Item = String> {
        let twice = |word: &str| format!("{word} {word}");
        ["the".to_owned(), "the the".to_owned()]
            .into_iter()
            .chain(WORDS.split_whitespace().map(twice))
    }

    /// The words that are one token at the beginning and after a space. Without enough of them the
    /// tokenizer is of another kind, and lengths stay assumed.
    pub(crate) fn calibrated(counts: &[u32]) -> Option<Self> {
        let [one, two, words @ ..] = counts else { return None };
        if *two != one + 1 {
            return None;
        }
        let overhead = one - 1;
        let fits = |(word, count): (&'static str, &u32)| (*count == overhead + 2).then_some(word);
        let words: Vec<_> = WORDS.split_whitespace().zip(words).filter_map(fits).collect();
        (words.len() >= 64).then_some(Self { words, overhead, exact: true })
    }

    /// Corrects the tokens beside the words by what the server said of a prompt: routes differ in
    /// the marks they add.
    pub(crate) fn correct(&mut self, words: u32, prompt_tokens: u32) {
        if self.exact {
            self.overhead = prompt_tokens.saturating_sub(words);
        }
    }

    /// Words of a prompt of so many tokens; at least one.
    pub(crate) fn words_of(&self, tokens: u32) -> u32 {
        tokens.saturating_sub(self.overhead).max(1)
    }

    /// A text of so many words.
    pub(crate) fn text(&self, words: u32, rng: &mut Rng) -> String {
        let mut text = String::with_capacity(words as usize * 6);
        for n in 0..words {
            if n > 0 {
                text.push(' ');
            }
            text.push_str(self.words[rng.index(self.words.len())]);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn words_are_many_short_and_different() {
        let words: Vec<&str> = WORDS.split_whitespace().collect();
        let different: BTreeSet<&&str> = words.iter().collect();
        assert_eq!((words.len(), different.len()), (256, 256));
        assert!(words.iter().all(|w| w.len() <= 9 && w.bytes().all(|b| b.is_ascii_lowercase())));
    }

    #[test]
    fn a_server_that_counts_makes_lengths_exact() {
        // One mark at the beginning; words with an x cost two.
        let count = |text: &String| {
            1 + text.split(' ').map(|w| 1 + u32::from(w.contains('x'))).sum::<u32>()
        };
        let counts: Vec<u32> = Vocabulary::questions().map(|q| count(&q)).collect();
        let mut vocabulary = Vocabulary::calibrated(&counts).expect("words of one token");
        assert!(vocabulary.exact && vocabulary.words.iter().all(|w| !w.contains('x')));
        let mut rng = Rng::of(&[1]);
        for tokens in [2, 3, 64, 1_000] {
            let text = vocabulary.text(vocabulary.words_of(tokens), &mut rng);
            assert_eq!(count(&text), tokens);
        }
        assert_eq!(vocabulary.words_of(0), 1);
        // A route that adds three marks instead.
        vocabulary.correct(10, 13);
        assert_eq!(vocabulary.words_of(100), 97);
    }

    #[test]
    fn a_tokenizer_of_another_kind_leaves_lengths_assumed() {
        let bytes: Vec<u32> =
            Vocabulary::questions().map(|q| u32::try_from(q.len()).unwrap_or(0)).collect();
        assert!(Vocabulary::calibrated(&bytes).is_none());
        assert!(Vocabulary::calibrated(&[]).is_none());
        assert!(!Vocabulary::assumed().exact);
    }
}
