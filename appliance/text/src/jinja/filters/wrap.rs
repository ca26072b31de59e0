//! Breaking a paragraph into lines, as Python's `textwrap` without hyphens. Next: `number.rs`.

use crate::jinja::meter::{Meter, Outcome};
use crate::jinja::text::{Letter, is_space};

/// The lines of a paragraph, each at most `width` long where that can be.
pub(super) fn wrap(
    text: &[Letter],
    width: usize,
    break_long: bool,
    meter: &Meter,
) -> Outcome<Vec<Vec<Letter>>> {
    let is_blank = |l: Letter| matches!(l.char(), ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}');
    let mut chunks: Vec<&[Letter]> = text.chunk_by(|a, b| is_blank(*a) == is_blank(*b)).collect();
    chunks.reverse();
    let is_empty = |chunk: &[Letter]| chunk.iter().all(|l| is_space(l.char()));
    let mut lines: Vec<Vec<Letter>> = Vec::new();
    while let Some(first) = chunks.last() {
        meter.items(1)?;
        if !lines.is_empty() && is_empty(first) {
            chunks.pop();
            continue;
        }
        let (mut line, mut len): (Vec<&[Letter]>, usize) = (Vec::new(), 0);
        while let Some(chunk) = chunks.last().filter(|chunk| len + chunk.len() <= width) {
            len += chunk.len();
            line.push(*chunk);
            chunks.pop();
        }
        if let Some(chunk) = chunks.last_mut().filter(|chunk| chunk.len() > width) {
            if break_long {
                let (head, tail) = chunk.split_at(width - len);
                if !head.is_empty() {
                    line.push(head);
                }
                *chunk = tail;
            } else if line.is_empty() {
                line.push(chunk);
                chunks.pop();
            }
        }
        if line.last().is_some_and(|last| is_empty(last)) {
            line.pop();
        }
        if !line.is_empty() {
            lines.push(line.concat());
        }
    }
    Ok(lines)
}
