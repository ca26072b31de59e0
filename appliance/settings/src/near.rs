//! The name that was probably meant.

/// Edits that still count as a slip.
const SLIP: usize = 3;

/// The closest of `names`, if it is at most three edits away and not a different word altogether; two
/// neighbouring letters in the wrong order are one edit.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = names.into_iter().map(|name| (strsim::osa_distance(given, name), name));
    let (edits, name) = scored.min_by_key(|(edits, _)| *edits)?;
    (edits <= SLIP && edits * 2 < given.chars().count()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_name_and_other_words_do_not() {
        let names = ["port", "host", "max_rolling_batch_size"];
        assert_eq!(nearest("prot", names), Some("port"), "one swap of letters");
        assert_eq!(nearest("ptro", names), None, "two edits of four letters are no slip");
        assert_eq!(nearest("url", names), None);
        assert_eq!(nearest("ports", names), Some("port"));
        assert_eq!(nearest("max_roling_batch_sise", names), Some("max_rolling_batch_size"));
        assert_eq!(nearest("colour", names), None);
    }
}
