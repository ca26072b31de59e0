//! How long prompts and answers are: one length, a range, or a named mix.
//!
//! The mixes are the scheduler's laboratory's (`tests/simulate`), in real tokens. They are
//! assumptions about traffic, not measurements of somebody's. Next: `words.rs`.

use std::fmt;

use crate::rng::Rng;

/// The longest prompt or answer: beyond any model's context, so a slip of the finger is an error.
const TOKENS_MAX: u32 = 1 << 20;

/// A distribution of lengths, in tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Lengths {
    /// Every one is this long.
    Fixed(u32),
    /// Every length from the first to the last is as probable.
    Uniform(u32, u32),
    /// Log-normal around a median, cut at `most`.
    Mix {
        /// What the user calls it.
        name: &'static str,
        /// Half are shorter.
        median: u32,
        /// Standard deviation of the logarithm.
        spread: f64,
        /// None is longer.
        most: u32,
    },
}

/// Name, prompt (median, spread, most), answer (median, spread, most).
type Named = (&'static str, (u32, f64, u32), (u32, f64, u32));

/// Questions; documents with short answers; the steps of a tool loop.
const MIXES: [Named; 3] = [
    ("chat", (220, 0.9, 4_000), (180, 0.7, 1_500)),
    ("long", (7_000, 0.6, 24_000), (150, 0.6, 1_000)),
    ("agent", (150, 0.6, 1_000), (80, 0.5, 500)),
];

impl Lengths {
    /// Lengths of prompts: `128`, `64-512`, `chat`, `long` or `agent`.
    ///
    /// # Errors
    /// What is wrong with the text, and what would be right.
    pub fn prompt(text: &str) -> Result<Self, String> {
        Self::parse(text, |(_, prompt, _)| *prompt)
    }

    /// Lengths of answers, written as those of prompts.
    ///
    /// # Errors
    /// What is wrong with the text, and what would be right.
    pub fn output(text: &str) -> Result<Self, String> {
        Self::parse(text, |(_, _, output)| *output)
    }

    fn parse(text: &str, part: fn(&Named) -> (u32, f64, u32)) -> Result<Self, String> {
        if let Some(named) = MIXES.iter().find(|(name, ..)| *name == text) {
            let (median, spread, most) = part(named);
            return Ok(Self::Mix { name: named.0, median, spread, most });
        }
        let number = |text: &str| {
            let tokens = text.trim().parse().ok();
            tokens.filter(|tokens| (1..=TOKENS_MAX).contains(tokens)).ok_or_else(|| {
                format!(
                    "give tokens (128), a range (64-512), chat, long or agent; \
                         lengths are from 1 to {TOKENS_MAX}"
                )
            })
        };
        let Some((low, high)) = text.split_once('-') else { return number(text).map(Self::Fixed) };
        let (low, high) = (number(low)?, number(high)?);
        if low > high {
            return Err(format!("the range {low}-{high} is empty; write {high}-{low}"));
        }
        Ok(Self::Uniform(low, high))
    }

    /// One length.
    pub(crate) fn sample(&self, rng: &mut Rng) -> u32 {
        match *self {
            Self::Fixed(tokens) => tokens,
            Self::Uniform(low, high) => low + rng.below(high - low + 1),
            Self::Mix { median, spread, most, .. } => {
                let value = f64::from(median) * (spread * rng.normal()).exp();
                #[expect(clippy::cast_possible_truncation, reason = "clamped to 1..=most")]
                #[expect(clippy::cast_sign_loss, reason = "clamped to 1..=most")]
                let tokens = value.clamp(1.0, f64::from(most)) as u32;
                tokens
            }
        }
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(tokens) => write!(f, "{tokens}"),
            Self::Uniform(low, high) => write!(f, "{low}-{high}"),
            Self::Mix { name, .. } => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_or_refused_with_what_is_accepted() {
        assert_eq!(Lengths::prompt("128"), Ok(Lengths::Fixed(128)));
        assert_eq!(Lengths::prompt("64-512"), Ok(Lengths::Uniform(64, 512)));
        for text in ["chat", "long", "agent"] {
            assert_eq!(Lengths::output(text).expect(text).to_string(), text);
        }
        for (text, expect) in [
            ("0", "from 1"),
            ("", "give tokens"),
            ("-3", "give tokens"),
            ("9-3", "write 3-9"),
            ("chats", "agent"),
            ("2000000", "1048576"),
        ] {
            let why = Lengths::prompt(text).expect_err(text);
            assert!(why.contains(expect), "{text}: {why}");
        }
    }

    #[test]
    fn samples_stay_in_range_and_reach_its_ends() {
        let mut rng = Rng::of(&[3]);
        let mut draw = |lengths: &Lengths| -> Vec<u32> {
            (0..2_000).map(|_| lengths.sample(&mut rng)).collect()
        };
        let uniform = draw(&Lengths::Uniform(3, 6));
        assert_eq!((uniform.iter().min(), uniform.iter().max()), (Some(&3), Some(&6)));
        let mut chat = draw(&Lengths::prompt("chat").expect("a mix"));
        chat.sort_unstable();
        assert!((150..300).contains(&chat[1_000]), "median {}", chat[1_000]);
        assert!(chat[0] >= 1 && chat[1_999] <= 4_000);
    }
}
