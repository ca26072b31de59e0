//! The GGUF reader (v2 and v3): metadata and the places of tensors, every bound checked.
//!
//! It reads no weight and trusts nothing: counts, lengths and offsets are checked against the
//! file before anything is allocated. **Source**: ggml `docs/gguf.md`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::elements::{self, Array, Elements, Value};
use super::{DType, Entry, Mapping, Weights};
use crate::ModelError;

/// Deepest nesting of arrays; real files have 1.
const ARRAY_DEPTH_MAX: u32 = 3;
/// Most dimensions of a tensor (ggml's `GGML_MAX_DIMS`).
const DIMS_MAX: u32 = 4;
/// Most metadata entries; real files have fewer than a hundred.
const ENTRIES_MAX: usize = 1 << 16;
/// Most tensors; the largest known models have some ten thousand in all their files.
const TENSORS_MAX: usize = 1 << 18;
/// Longest name of a key or tensor. **Source**: ggml `docs/gguf.md`.
const NAME_BYTES_MAX: usize = u16::MAX as usize;
/// Longest string value; the largest known chat template has 60 KB.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// An opened file.
#[derive(Clone, Debug)]
pub struct Gguf {
    path: PathBuf,
    metadata: HashMap<String, Value>,
    weights: Weights,
}

impl Gguf {
    /// Maps and reads a file.
    ///
    /// # Errors
    /// What is wrong with it, and at which byte.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let mapping = Mapping::open(path)
            .map_err(|e| ModelError::Missing { path: path.to_owned(), why: e.to_string() })?;
        Self::read(path, Arc::new(mapping))
    }

    /// Reads a file that lies in memory; `path` is what errors call it.
    ///
    /// # Errors
    /// As `open`.
    pub fn from_mapping(path: &Path, mapping: Mapping) -> Result<Self, ModelError> {
        Self::read(path, Arc::new(mapping))
    }

    fn read(path: &Path, mapping: Arc<Mapping>) -> Result<Self, ModelError> {
        let (metadata, entries) = parse(mapping.bytes()).map_err(|fault| fault.at(path))?;
        let weights = Weights::new(mapping, entries);
        Ok(Self { path: path.to_owned(), metadata, weights })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its tensors.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// A metadata value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A string, if that is what the key holds.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A non-negative integer, if that is what the key holds.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<u64> {
        match *self.get(key)? {
            Value::Unsigned(n) => Some(n),
            Value::Signed(n) => u64::try_from(n).ok(),
            _ => None,
        }
    }

    /// A float, if that is what the key holds.
    #[must_use]
    pub fn float(&self, key: &str) -> Option<f64> {
        match *self.get(key)? {
            Value::Float(x) => Some(x),
            _ => None,
        }
    }

    /// A bool, if that is what the key holds.
    #[must_use]
    pub fn boolean(&self, key: &str) -> Option<bool> {
        match *self.get(key)? {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// An array's elements, read as they are asked for, if that is what the key holds.
    #[must_use]
    pub fn array(&self, key: &str) -> Option<Elements<'_>> {
        match self.get(key)? {
            Value::Array(array) => Some(array.elements(self.weights.first_bytes())),
            _ => None,
        }
    }

    /// Keys that begin with a prefix, in order, with their values.
    #[must_use]
    pub fn keys(&self, prefix: &str) -> Vec<(&str, &Value)> {
        let all = self.metadata.iter().map(|(key, value)| (key.as_str(), value));
        let mut found: Vec<_> = all.filter(|(key, _)| key.starts_with(prefix)).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        found
    }
}

enum Fault {
    Broken(String),
    Unsupported { what: String, known: String },
}

impl Fault {
    fn at(self, path: &Path) -> ModelError {
        let path = path.to_owned();
        match self {
            Self::Broken(why) => ModelError::Broken { path, why },
            Self::Unsupported { what, known } => ModelError::Unsupported { path, what, known },
        }
    }
}

fn broken<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Broken(why.into()))
}

type Parsed = (HashMap<String, Value>, HashMap<String, Entry>);

fn parse(bytes: &[u8]) -> Result<Parsed, Fault> {
    let mut r = Reader { bytes, at: 0 };
    if r.take(4, "the magic")? != b"GGUF" {
        return broken("it does not begin with GGUF");
    }
    let version = r.u32("the version")?;
    // 2 and 3 differ in byte order alone, which is told by the version itself.
    if !matches!(version, 2 | 3) {
        let what = format!("GGUF version {version}");
        return Err(Fault::Unsupported { what, known: "2, 3".to_owned() });
    }
    // A tensor entry has at least 24 bytes, a metadata entry at least 13.
    let tensors = r.count(24, "tensors")?;
    let pairs = r.count(13, "metadata entries")?;
    for (n, most, what) in
        [(tensors, TENSORS_MAX, "tensors"), (pairs, ENTRIES_MAX, "metadata entries")]
    {
        if n > most {
            return broken(format!("it has {n} {what}; at most {most} are read"));
        }
    }
    let mut metadata = HashMap::new();
    for _ in 0..pairs {
        let key = r.text("a metadata key", NAME_BYTES_MAX)?;
        let kind = r.u32("a metadata type")?;
        let value = r.value(kind, 0)?;
        metadata.insert(key, value);
    }
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(Value::Unsigned(n)) if n.is_power_of_two() && *n <= 1 << 20 => {
            usize::try_from(*n).unwrap_or(32)
        }
        Some(other) => return broken(format!("general.alignment is {other:?}")),
    };
    let mut places = Vec::new();
    for _ in 0..tensors {
        places.push(r.tensor()?);
    }
    let data = r.at.div_ceil(alignment) * alignment;
    let mut entries = HashMap::with_capacity(places.len());
    for (name, dtype, rows, cols, offset) in places {
        if offset % alignment as u64 != 0 {
            return broken(format!("tensor {name} is not aligned to {alignment} bytes"));
        }
        let size = rows.checked_mul(dtype.row_bytes(cols));
        let start = usize::try_from(offset).ok().and_then(|o| o.checked_add(data));
        let range = start.zip(size).and_then(|(start, size)| Some(start..start.checked_add(size)?));
        let range = match range {
            Some(range) if range.end <= bytes.len() => range,
            _ => {
                let have = bytes.len();
                return broken(format!("tensor {name} ends past the file's {have} bytes"));
            }
        };
        let entry = Entry { dtype, rows, cols, file: 0, bytes: range };
        if entries.insert(name.clone(), entry).is_some() {
            return broken(format!("tensor {name} stands twice"));
        }
    }
    Ok((metadata, entries))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8], Fault> {
        let Some(found) = self.at.checked_add(n).and_then(|end| self.bytes.get(self.at..end))
        else {
            let (at, have) = (self.at, self.bytes.len());
            return broken(format!("{what} at byte {at} ends past the file's {have} bytes"));
        };
        self.at += n;
        Ok(found)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Fault> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of things that each take at least `least` bytes, so that it cannot exceed the file.
    fn count(&mut self, least: usize, what: &str) -> Result<usize, Fault> {
        let n = self.u64(what)?;
        let room = (self.bytes.len() - self.at) / least;
        match usize::try_from(n) {
            Ok(n) if n <= room => Ok(n),
            _ => broken(format!("{n} {what} at byte {} do not fit the file", self.at - 8)),
        }
    }

    fn text(&mut self, what: &str, most: usize) -> Result<String, Fault> {
        let n = self.count(1, what)?;
        if n > most {
            return broken(format!("{what} at byte {} has {n} bytes, not {most}", self.at));
        }
        Ok(String::from_utf8_lossy(self.take(n, what)?).into_owned())
    }

    /// Where an array lies; nothing of it is copied.
    fn array_value(&mut self, depth: u32) -> Result<Array, Fault> {
        let kind = self.u32("an array's type")?;
        let count = self.count(elements::least_bytes(kind), "array elements")?;
        let start = self.at;
        match elements::fixed_bytes(kind) {
            Some(size) => {
                // The count was checked against the file, so the product cannot overflow.
                self.take(count * size, "an array")?;
            }
            None => {
                for _ in 0..count {
                    match kind {
                        8 => {
                            let n = self.count(1, "a metadata string")?;
                            self.take(n, "a metadata string")?;
                        }
                        _ => drop(self.value(kind, depth + 1)?),
                    }
                }
            }
        }
        Ok(Array { kind, count, bytes: start..self.at })
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, Fault> {
        let what = "a metadata value";
        Ok(match kind {
            0 => Value::Unsigned(u64::from(self.array::<1>(what)?[0])),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.array(what)?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.array(what)?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.array(what)?))),
            4 => Value::Unsigned(u64::from(self.u32(what)?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.array(what)?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array(what)?))),
            7 => match self.array::<1>(what)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                n => return broken(format!("a bool at byte {} is {n}", self.at - 1)),
            },
            8 => Value::Text(self.text("a metadata string", TEXT_BYTES_MAX)?),
            9 if depth < ARRAY_DEPTH_MAX => Value::Array(self.array_value(depth)?),
            10 => Value::Unsigned(self.u64(what)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(what)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(what)?)),
            _ => return broken(format!("metadata type {kind} at byte {}", self.at - 4)),
        })
    }

    fn tensor(&mut self) -> Result<(String, DType, usize, usize, u64), Fault> {
        let name = self.text("a tensor's name", NAME_BYTES_MAX)?;
        let dims = self.u32("a tensor's dimensions")?;
        if dims == 0 || dims > DIMS_MAX {
            return broken(format!("tensor {name} has {dims} dimensions"));
        }
        let mut sizes = [1_usize; DIMS_MAX as usize];
        for size in sizes.iter_mut().take(dims as usize) {
            let n = self.u64("a dimension")?;
            *size = match usize::try_from(n) {
                Ok(n) if n > 0 => n,
                _ => return broken(format!("tensor {name} has a dimension of {n}")),
            };
        }
        let kind = self.u32("a tensor's type")?;
        let offset = self.u64("a tensor's offset")?;
        let Some(dtype) = DType::ALL.into_iter().find(|t| t.gguf_id() == kind) else {
            let what = format!("tensor {name} has ggml type {kind}");
            let known = DType::ALL.map(DType::name).join(", ");
            return Err(Fault::Unsupported { what, known });
        };
        let (cols, block) = (sizes[0], dtype.block().0);
        if cols % block != 0 {
            let kind = dtype.name();
            return broken(format!("tensor {name} has {cols} columns, {kind} takes {block}s"));
        }
        let rows = sizes[1..].iter().try_fold(1_usize, |all, n| all.checked_mul(*n));
        let fits = rows.and_then(|rows| rows.checked_mul(cols)?.checked_mul(4));
        match (rows, fits) {
            (Some(rows), Some(_)) => Ok((name, dtype, rows, cols, offset)),
            _ => broken(format!("tensor {name} is larger than memory can be")),
        }
    }
}

#[cfg(test)]
mod tests;
