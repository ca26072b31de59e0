//! The file of API keys: its lines, and whether it has changed.
//!
//! Keys stand in it as their SHA-256, so who reads the file has no key: `printf %s KEY | sha256sum`.
//! No message repeats a word of it: somebody may have written a key itself. Next: `routes.rs`.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::scopes::{Digest, KeyScope, KeyScopes, Table};

/// Bytes of the file: a hundred thousand keys.
const BYTES_MAX: u64 = 16 << 20;
/// Letters of a name.
const NAME_MAX: usize = 100;
/// A file that changed so lately may have changed again within a tick of its clock.
const FRESH: Duration = Duration::from_secs(2);

/// A file of keys.
#[derive(Debug)]
pub(crate) struct KeyFile {
    path: PathBuf,
    seen: Mutex<Seen>,
}

/// What was seen of it last.
#[derive(Debug)]
struct Seen {
    stamp: Option<Stamp>,
    /// What it held then, or why it was broken.
    held: Result<Table, String>,
}

/// What changes with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    changed: (i64, i64),
    bytes: u64,
    inode: u64,
}

/// What a look at the file tells.
#[derive(Debug)]
pub(crate) enum Look {
    Same,
    New(Table),
    /// Told once for each way to be broken.
    Broken(String),
}

impl KeyFile {
    /// Reads a file for the first time.
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub(crate) fn open(path: &Path) -> Result<(Self, Table), String> {
        let (stamp, table) = read(path)?;
        let seen = Mutex::new(Seen { stamp: Some(stamp), held: Ok(table.clone()) });
        Ok((Self { path: path.to_owned(), seen }, table))
    }

    /// Reads it again if it seems to have changed.
    pub(crate) fn look(&self) -> Look {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(&self.path).ok().map(|data| Stamp::of(&data));
        if now.is_some_and(|now| Some(now) == seen.stamp && !now.is_fresh()) {
            return Look::Same;
        }
        let (stamp, held) = match read(&self.path) {
            Ok((stamp, table)) => (Some(stamp), Ok(table)),
            Err(why) => (now, Err(why)),
        };
        seen.stamp = stamp;
        if held == seen.held {
            return Look::Same;
        }
        seen.held.clone_from(&held);
        match held {
            Ok(table) => Look::New(table),
            Err(why) => Look::Broken(why),
        }
    }
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        Self { changed: (data.mtime(), data.mtime_nsec()), bytes: data.len(), inode: data.ino() }
    }

    fn is_fresh(self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        now.saturating_sub(changed) <= FRESH
    }
}

fn read(path: &Path) -> Result<(Stamp, Table), String> {
    let shown = path.display();
    let unread = |error: std::io::Error| format!("{shown}: {error}");
    let file = File::open(path).map_err(unread)?;
    let data = file.metadata().map_err(unread)?;
    if !data.is_file() {
        return Err(format!("{shown}: no file"));
    }
    // Before the bytes: what is written meanwhile is seen at the next look.
    let (stamp, mut text) = (Stamp::of(&data), String::new());
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(unread)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(format!("{shown}: it has more than {BYTES_MAX} bytes"));
    }
    let table = parse(&text).map_err(|why| format!("{shown}{why}"))?;
    Ok((stamp, table))
}

/// The keys of a text: a name, a digest and scopes on each line.
fn parse(text: &str) -> Result<Table, String> {
    let (mut table, mut names) = (Table::new(), HashMap::new());
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().take(4).collect();
        let wrong = |what: &str| Err(format!(":{number}: {what}"));
        let (name, digest, scopes) = match words[..] {
            [] => continue,
            [name, digest, scopes] if name.len() <= NAME_MAX => (name, digest, scopes),
            _ => return wrong("a line is a name, the SHA-256 of a key, and scopes with commas"),
        };
        let Some(digest) = digest_of(digest) else {
            return wrong(
                "the second word must be the SHA-256 of a key in 64 hexadecimal digits \
                 (printf %s KEY | sha256sum)",
            );
        };
        let mut may = KeyScopes::default();
        for scope in scopes.split(',') {
            match KeyScope::ALL.iter().find(|(name, _)| *name == scope) {
                Some((_, scope)) => may.add(*scope),
                None => return wrong("scopes are infer, metrics and admin, with commas"),
            }
        }
        if let Some(before) = names.insert(name, number) {
            return wrong(&format!("line {before} has that name already"));
        }
        if table.insert(digest, may).is_some() {
            return wrong("that key stands on a line before");
        }
    }
    // It may be about to be written; nobody means to lock everybody out.
    if table.is_empty() { Err(": it has no key".to_owned()) } else { Ok(table) }
}

/// 64 hexadecimal digits.
fn digest_of(text: &str) -> Option<Digest> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = Digest::default();
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_keys_or_say_what_is_wrong_without_a_word_of_theirs() {
        let digest = |digit: &str| digit.repeat(64);
        let (a, b) = (digest("a"), digest("B"));
        let fine = format!("# who\n\n ci {a} infer # the build\r\nops\t{b}  admin,infer\n");
        let table = parse(&fine).expect("two keys");
        let may = |infer, admin| Some(KeyScopes { infer, metrics: false, admin });
        assert_eq!(table.get(&[0xAA; 32]).copied(), may(true, false));
        assert_eq!(table.get(&[0xBB; 32]).copied(), may(true, true));
        for (text, expect) in [
            ("", ": it has no key"),
            ("# nobody", ": it has no key"),
            ("cheese", ":1: a line is"),
            (&format!("x {a}"), ":1: a line is"),
            (&format!("x {a} infer more"), ":1: a line is"),
            (&format!("{} {a} infer", "cheese".repeat(20)), ":1: a line is"),
            ("\nx cheese infer", ":2: the second word must be the SHA-256"),
            (&format!("x {}é infer", "a".repeat(62)), ":1: the second word"),
            (&format!("x {a} cheese"), ":1: scopes are infer"),
            (&format!("x {a} infer,"), ":1: scopes are infer"),
            (&format!("x {a} infer\nx {b} infer"), ":2: line 1 has that name"),
            (&format!("x {a} infer\ny {} infer", digest("A")), ":2: that key stands"),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.starts_with(expect) && !why.contains("cheese"), "{text}: {why}");
        }
        assert!(KeyFile::open(Path::new("/nonexistent/keys")).is_err());
        assert!(KeyFile::open(Path::new("/")).is_err());
    }
}
