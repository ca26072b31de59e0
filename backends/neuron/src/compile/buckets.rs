//! Which shapes steps may have.
//!
//! Each is a program of its own that takes minutes to compile and memory to hold, and whatever a step lacks to its
//! shape is computed in vain. Next: `sizes.rs`.

use gimbal_batch::Bucket;

/// Rows of a prompt that are computed together: short ones, so that a short prompt or the last piece of a long one
/// is not mostly padding (`docs/backends/neuron.md` has the figures), and long ones.
const PREFILL_ROWS: [u32; 3] = [32, 64, 128];
/// How much longer the next longer context is.
const CONTEXT_STEP: u32 = 4;
/// The longest context that has shapes unless somebody says how long it is: each longer one takes more programs, and
/// minutes for each.
pub const CONTEXT_DEFAULT: u32 = 4096;
/// The shortest context that has shapes of its own.
const CONTEXT_MIN: u32 = 512;

/// Shapes for so many sequences of so many tokens, and pieces of prompts of so many rows at most: single rows
/// of each power of two of sequences up to all, so that fewer than half of a step's rows are padding, and pieces
/// of one prompt; each over the whole context, and over shares of it, so that short sequences do not read all of
/// it.
#[must_use]
pub fn default_buckets(sequences: u32, context: u32, rows_max: u32) -> Vec<Bucket> {
    let mut contexts = vec![context];
    while let Some(shorter) = contexts.last().map(|last| last / CONTEXT_STEP)
        && shorter >= CONTEXT_MIN
    {
        contexts.push(shorter);
    }
    let mut counts: Vec<u32> = (0..32).map(|bit| 1 << bit).take_while(|n| *n < sequences).collect();
    counts.push(sequences);
    let mut buckets = Vec::new();
    for context in contexts {
        let most = rows_max.min(context).max(1);
        let prompt = |rows: &u32| Bucket { sequences: 1, rows_each: most.min(*rows), context };
        let single = |sequences: &u32| Bucket { sequences: *sequences, rows_each: 1, context };
        buckets.extend(counts.iter().map(single));
        buckets.extend(PREFILL_ROWS.iter().map(prompt));
    }
    buckets.sort_unstable();
    buckets.dedup();
    buckets
}

/// Shapes as a person writes them, `4x1x2048,1x128x2048`: sequences, rows of each, tokens of context.
///
/// # Errors
/// What is no shape.
pub fn parse_buckets(text: &str) -> Result<Vec<Bucket>, String> {
    let mut buckets = Vec::new();
    for word in text.split(',').map(str::trim) {
        let numbers = word.split('x').map(str::parse).collect::<Result<Vec<u32>, _>>();
        let numbers = numbers.ok().filter(|numbers| !numbers.contains(&0));
        let Some([sequences, rows_each, context]) = numbers.as_deref() else {
            return Err(format!("{word:?} is no bucket: SEQUENCESxROWSxCONTEXT, as 4x1x2048"));
        };
        let (sequences, rows_each, context) = (*sequences, *rows_each, *context);
        if rows_each > context {
            return Err(format!("{word:?}: {rows_each} rows in a context of {context} tokens"));
        }
        buckets.push(Bucket { sequences, rows_each, context });
    }
    buckets.sort_unstable();
    buckets.dedup();
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(buckets: &[Bucket]) -> Vec<String> {
        buckets.iter().map(|bucket| super::super::name(*bucket)).collect()
    }

    #[test]
    fn shapes_follow_from_sequences_and_context() {
        let found = words(&default_buckets(6, 2048, 4096));
        let expect = [
            "1x1x512",
            "1x1x2048",
            "1x32x512",
            "1x32x2048",
            "1x64x512",
            "1x64x2048",
            "1x128x512",
            "1x128x2048",
            "2x1x512",
            "2x1x2048",
            "4x1x512",
            "4x1x2048",
            "6x1x512",
            "6x1x2048",
        ];
        assert_eq!(found, expect);
        assert_eq!(words(&default_buckets(1, 64, 4096)), ["1x1x64", "1x32x64", "1x64x64"]);
        assert_eq!(words(&default_buckets(1, 64, 16)), ["1x1x64", "1x16x64"]);
    }

    #[test]
    fn shapes_are_read_as_they_are_told() {
        let read = |text| parse_buckets(text).map(|buckets| words(&buckets));
        assert_eq!(read("4x1x64, 1x16x64,4x1x64"), Ok(vec!["1x16x64".into(), "4x1x64".into()]));
        for (text, expect) in [
            ("", "\"\" is no bucket"),
            ("4x1", "\"4x1\" is no bucket"),
            ("4x0x64", "\"4x0x64\" is no bucket"),
            ("4xax64", "\"4xax64\" is no bucket"),
            ("1x65x64", "65 rows in a context of 64"),
            ("1x1x64x2", "is no bucket"),
        ] {
            let told = read(text).expect_err(text);
            assert!(told.contains(expect), "{text}: {told}");
        }
    }
}
