//! Stop strings over the borders of pieces.
//!
//! Which strings are legal and how many is the edge's choice. Next: `template.rs`.

use std::sync::Arc;

/// Looks for stop strings in text that comes in pieces, and holds back what could become one.
///
/// The string that is complete first wins; of those complete at the same character, the longest.
/// How the text is cut into pieces never matters. Clones share the strings.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Arc<[String]>,
    include: bool,
    held: String,
}

/// What a piece of text led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Text that may be shown now.
    pub text: String,
    /// The index of the stop string that was found; nothing may follow.
    pub stop: Option<usize>,
}

impl StopStrings {
    /// Empty strings never match. With `include`, the stop string is part of the text.
    #[must_use]
    pub fn new(stops: Arc<[String]>, include: bool) -> Self {
        Self { stops, include, held: String::new() }
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, piece: &str) -> Stopped {
        if self.stops.is_empty() {
            return Stopped { text: piece.to_owned(), stop: None };
        }
        self.held.push_str(piece);
        if let Some((stop, start, end)) = self.first_match() {
            let mut text = std::mem::take(&mut self.held);
            text.truncate(if self.include { end } else { start });
            return Stopped { text, stop: Some(stop) };
        }
        let keep_from = self.keep_from();
        let rest = self.held.split_off(keep_from);
        Stopped { text: std::mem::replace(&mut self.held, rest), stop: None }
    }

    /// The text still held back, when no more will come.
    #[must_use]
    pub fn finish(self) -> String {
        self.held
    }

    /// The match that ends first, as (index, start, end).
    fn first_match(&self) -> Option<(usize, usize, usize)> {
        let found = self.stops.iter().enumerate().filter(|(_, s)| !s.is_empty());
        let found = found.filter_map(|(i, s)| self.held.find(s).map(|at| (i, at, at + s.len())));
        found.min_by_key(|&(i, start, end)| (end, start, i))
    }

    /// Where the longest suffix begins that is the beginning of a stop string.
    fn keep_from(&self) -> usize {
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let earliest = (self.held.len() + 1).saturating_sub(longest);
        let begins = |at: &usize| {
            self.held.get(*at..).is_some_and(|tail| self.stops.iter().any(|s| s.starts_with(tail)))
        };
        (earliest..self.held.len()).find(begins).unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pushes the pieces until one stops; returns all text and the stop.
    fn run(stops: &[&str], include: bool, pieces: &[&str]) -> (String, Option<usize>) {
        let stops = stops.iter().map(|s| (*s).to_owned()).collect();
        let (mut stops, mut text) = (StopStrings::new(stops, include), String::new());
        for piece in pieces {
            let stopped = stops.push(piece);
            text.push_str(&stopped.text);
            if stopped.stop.is_some() {
                return (text, stopped.stop);
            }
        }
        (text + &stops.finish(), None)
    }

    fn check(stops: &[&str], pieces: &[&str], expect: (&str, Option<usize>)) {
        assert_eq!(run(stops, false, pieces), (expect.0.to_owned(), expect.1), "{pieces:?}");
    }

    #[test]
    fn stops_are_found_over_borders() {
        check(&["END"], &["a E", "N", "D b"], ("a ", Some(0)));
        check(&["END"], &["a E", "N", "d b"], ("a ENd b", None));
        check(&["\n\n", "."], &["a\n", "\nb."], ("a", Some(0)));
        check(&["aab"], &["aa", "ab"], ("a", Some(0)));
        check(&["é!"], &["caf", "é", "!"], ("caf", Some(0)));
        check(&["bc", "abcd"], &["abcd"], ("a", Some(0)));
        check(&["cd", "abcd"], &["ab", "cd"], ("", Some(1)));
        check(&[], &["a", "b"], ("ab", None));
        check(&[""], &["a"], ("a", None));
    }

    #[test]
    fn the_stop_string_is_included_on_request() {
        assert_eq!(run(&["END"], true, &["a EN", "D b"]), ("a END".to_owned(), Some(0)));
    }

    #[test]
    fn only_what_could_match_is_held() {
        let mut stops = StopStrings::new(["END".into()].into(), false);
        assert_eq!(stops.push("abc E").text, "abc ");
        assert_eq!(stops.push("x").text, "Ex");
    }

    proptest! {
        #[test]
        fn pieces_never_matter(
            text in "[ab]{0,12}",
            stops in proptest::collection::vec("[ab]{1,4}", 0..3),
            cut in 0_usize..13,
            include: bool,
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let (left, right) = text.split_at(cut.min(text.len()));
            let letters: Vec<&str> = text.split("").collect();
            let whole = run(&stops, include, &[&text]);
            prop_assert_eq!(&run(&stops, include, &[left, right]), &whole);
            prop_assert_eq!(&run(&stops, include, &letters), &whole);
        }
    }
}
