//! API keys: which requests may use which routes.
//!
//! A key is known by its SHA-256 alone, and found in a table by it. How long that takes depends on a
//! digest, which nobody who does not know the key can steer towards one of ours; so time tells nothing
//! about keys, and ten thousand cost what one costs. Keys are never logged, told or kept.
//! Next: `key_file.rs`.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};

use crate::fault::{Details, Fault, Kind};
use crate::key_file::{KeyFile, Look};
use crate::scopes::{Digest, KeyScope, KeyScopes, Table};

/// Longest key; what is longer is none of ours and not even hashed.
pub(crate) const KEY_BYTES_MAX: usize = 4096;
/// How often the file is looked at.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Where Anthropic's and Azure's clients put a key.
const OTHER_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];

/// All keys; by default there is none and every route is open. Clones are the same keys.
#[derive(Clone, Debug, Default)]
pub struct Keys(Option<Arc<Known>>);

/// Why there are no keys.
#[derive(Debug)]
pub struct KeysError(String);

struct Known {
    /// Those that were set; they may everything.
    set: Table,
    file: Option<KeyFile>,
    table: RwLock<Arc<Table>>,
}

impl Keys {
    /// Keys that may everything, with commas between them, and those of a file. With neither, every
    /// route is open.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is wrong.
    pub fn open(set: &str, file: Option<&Path>) -> Result<Self, KeysError> {
        let words = set.split(',').map(str::trim).filter(|word| !word.is_empty());
        let set: Table = words.map(|key| (digest(key.as_bytes()), KeyScopes::EVERY)).collect();
        if set.is_empty() && file.is_none() {
            return Ok(Self::default());
        }
        let mut known = Known { set, file: None, table: RwLock::default() };
        let mut table = Table::new();
        if let Some(path) = file {
            let (file, read) = KeyFile::open(path).map_err(KeysError)?;
            (known.file, table) = (Some(file), read);
        }
        known.put(table);
        Ok(Self(Some(Arc::new(known))))
    }

    /// How many there are; `None` where every route is open.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.0.as_ref().map(|known| known.table().len())
    }

    /// Refuses a request that has no key for a scope. Before a byte of its body is read.
    pub(crate) fn check(&self, headers: &HeaderMap, scope: KeyScope) -> Result<(), Fault> {
        let Some(known) = &self.0 else { return Ok(()) };
        let (table, mut is_sent, mut is_known) = (known.table(), false, false);
        for key in sent(headers) {
            is_sent = true;
            let found = (key.len() <= KEY_BYTES_MAX).then(|| table.get(&digest(key))).flatten();
            match found {
                Some(scopes) if scopes.may(scope) => return Ok(()),
                Some(_) => is_known = true,
                None => {}
            }
        }
        let name = scope.name();
        if is_known {
            let message = format!("this API key has not the scope {name}; use one that has it");
            let details = Details { scope: Some(name), ..Details::default() };
            return Err(Fault::new(Kind::KeyScope, message).with(details));
        }
        let message = match is_sent {
            true => "this API key is not known",
            false => "an API key is needed: send it as authorization: Bearer KEY",
        };
        Err(Fault::new(Kind::Key, message))
    }

    /// Whose a request is that was let in to run a model: the digest of its key. `None` where every
    /// route is open.
    pub(crate) fn owner(&self, headers: &HeaderMap) -> Option<Digest> {
        let table = self.0.as_ref()?.table();
        let digests = sent(headers).filter(|key| key.len() <= KEY_BYTES_MAX).map(digest);
        let may = |key: &Digest| table.get(key).is_some_and(|may| may.may(KeyScope::Infer));
        digests.into_iter().find(may)
    }

    /// Reads the file again whenever it has changed, until dropped.
    pub(crate) async fn keep_up(&self) {
        let Some(known) = self.0.as_ref().filter(|known| known.file.is_some()) else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(LOOK_PERIOD).await;
            let known = Arc::clone(known);
            // A file system may hang; sockets must not wait for it.
            drop(tokio::task::spawn_blocking(move || known.look()).await);
        }
    }
}

impl Known {
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The file's keys beside those that were set, which are stronger.
    fn put(&self, mut table: Table) {
        table.extend(&self.set);
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// A file that is broken, or gone, leaves the keys as they were.
    fn look(&self) {
        let Some(file) = &self.file else { return };
        match file.look() {
            Look::Same => {}
            Look::New(table) => {
                self.put(table);
                info!(keys = self.table().len(), "API keys read again");
            }
            Look::Broken(why) => warn!(why, "the API keys stay as they were"),
        }
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keys", self.table().len())
    }
}

impl std::fmt::Display for KeysError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeysError {}

/// Keys that a request brings, wherever clients put them.
pub(crate) fn sent(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
    });
    let others = OTHER_HEADERS.into_iter().filter_map(|name| headers.get(name));
    let others = others.map(|value| value.as_bytes().trim_ascii());
    bearer.into_iter().chain(others).filter(|key| !key.is_empty())
}

fn digest(key: &[u8]) -> Digest {
    Sha256::digest(key).into()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A file of keys that is gone at the end.
    pub(crate) struct Temporary(pub(crate) PathBuf);

    impl Temporary {
        pub(crate) fn new(name: &str, text: &str) -> Self {
            let name = format!("gimbal-keys-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, text).expect("a writable folder");
            Self(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            fs::remove_file(&self.0).ok();
        }
    }

    /// A line of the file for a key.
    pub(crate) fn line(name: &str, key: &str, scopes: &str) -> String {
        let hex: String = digest(key.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        format!("{name} {hex} {scopes}\n")
    }

    fn status(keys: &Keys, name: &'static str, value: &str, scope: KeyScope) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a value"));
        match keys.check(&headers, scope).map_err(|fault| fault.kind) {
            Ok(()) => 200,
            Err(Kind::Key) => 401,
            Err(Kind::KeyScope) => 403,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_taken_from_every_header_that_clients_use() {
        let keys = Keys::open("first, second", None).expect("keys");
        for (name, value, expect) in [
            ("authorization", "Bearer first", 200),
            ("authorization", "bearer  second ", 200),
            ("x-api-key", "second", 200),
            ("api-key", "first", 200),
            ("authorization", "Basic first", 401),
            ("authorization", "first", 401),
            ("authorization", "Bearer", 401),
            ("authorization", "Bearer first, second", 401),
            ("authorization", "Bearer FIRST", 401),
            ("x-api-key", "firs", 401),
            ("cookie", "first", 401),
        ] {
            assert_eq!(status(&keys, name, value, KeyScope::Infer), expect, "{name}: {value}");
        }
        let long = "a".repeat(KEY_BYTES_MAX + 1);
        let keys = Keys::open(&long, None).expect("keys");
        assert_eq!(status(&keys, "x-api-key", &long, KeyScope::Infer), 401);
        assert!(
            Keys::open("", None).expect("none").check(&HeaderMap::new(), KeyScope::Admin).is_ok()
        );
    }

    #[test]
    fn ten_thousand_keys_are_each_found_and_no_other() {
        let lines = (0..10_000).map(|i| line(&format!("n{i}"), &format!("key-{i}"), "infer"));
        let file = Temporary::new("many", &lines.collect::<String>());
        let keys = Keys::open("", Some(&file.0)).expect("keys");
        assert_eq!(keys.count(), Some(10_000));
        for i in 0..10_100 {
            let expect = if i < 10_000 { 200 } else { 401 };
            assert_eq!(status(&keys, "api-key", &format!("key-{i}"), KeyScope::Infer), expect);
        }
    }

    #[test]
    fn a_changed_file_counts_and_a_broken_one_leaves_the_keys_as_they_were() {
        let file = Temporary::new("reload", &line("a", "one", "infer"));
        let keys = Keys::open("set", Some(&file.0)).expect("keys");
        let known = keys.0.as_ref().expect("there are keys");
        let check = |text: Option<&str>, expect: [u16; 3]| {
            match text {
                Some(text) => fs::write(&file.0, text).expect("a writable file"),
                None => fs::remove_file(&file.0).expect("it is there"),
            }
            known.look();
            let found =
                ["one", "two", "set"].map(|key| status(&keys, "x-api-key", key, KeyScope::Infer));
            assert_eq!(found, expect, "{text:?}");
        };
        check(Some(&line("b", "two", "infer")), [401, 200, 200]);
        check(Some("b what"), [401, 200, 200]);
        check(Some(""), [401, 200, 200]);
        check(None, [401, 200, 200]);
        check(Some(&(line("a", "one", "infer") + &line("b", "two", "metrics"))), [200, 403, 200]);
        // The same length within one tick of the clock.
        check(Some(&(line("a", "eno", "infer") + &line("b", "two", "metrics"))), [401, 403, 200]);
        assert!(!format!("{keys:?}").contains("one"), "{keys:?}");
    }
}
