//! A model file with the same weights in f32: activations meet them as they are, so that nothing but
//! a backend's own arithmetic stands between it and the reference.
//!
//! Next: `rig.rs`.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use gimbal_model::weights::{Gguf, Value};

/// Where tensors begin in a file. **Source**: ggml, `docs/gguf.md`, as the types' numbers below.
const ALIGNMENT: usize = 32;

/// The file; it goes with this.
#[derive(Debug)]
pub struct Wide {
    /// Where it is.
    pub path: PathBuf,
}

impl Wide {
    /// Writes it for a model into the folder of temporary files.
    ///
    /// # Errors
    /// The model cannot be read, or there is no room for four bytes a weight.
    pub fn of(model: &Path) -> anyhow::Result<Self> {
        let file = Gguf::open(model)?;
        let name = format!("gimbal-wide-{}.gguf", std::process::id());
        let wide = Self { path: std::env::temp_dir().join(name) };
        write(&file, &mut BufWriter::new(File::create(&wide.path)?))?;
        Ok(wide)
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            eprintln!("{}: {error}", self.path.display());
        }
    }
}

fn write(file: &Gguf, out: &mut impl Write) -> io::Result<()> {
    let metadata: Vec<_> =
        file.keys("").into_iter().map(|(key, value)| told(file, key, value)).collect();
    let mut tensors: Vec<_> = file.weights().entries().collect();
    tensors.sort_unstable_by_key(|(name, _)| *name);
    let mut head = Vec::from(*b"GGUF\x03\0\0\0");
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, kind, value) in metadata {
        text(&mut head, key);
        head.extend(kind.to_le_bytes());
        head.extend(value);
    }
    let mut offset = 0_u64;
    for (name, entry) in &tensors {
        text(&mut head, name);
        // Of f32, which is type 0.
        head.extend(2_u32.to_le_bytes());
        head.extend((entry.cols as u64).to_le_bytes());
        head.extend((entry.rows as u64).to_le_bytes());
        head.extend(0_u32.to_le_bytes());
        head.extend(offset.to_le_bytes());
        let bytes = 4 * entry.rows * entry.cols;
        offset += bytes.next_multiple_of(ALIGNMENT) as u64;
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
    out.write_all(&head)?;
    for (name, _) in tensors {
        let tensor = file.weights().get(name).ok_or_else(|| io::Error::other(name.to_owned()))?;
        let mut bytes: Vec<u8> = tensor.to_f32().into_iter().flat_map(f32::to_le_bytes).collect();
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        out.write_all(&bytes)?;
    }
    out.flush()
}

/// A value as a file says it, with its type's number; each integer in 64 bits.
fn told<'a>(file: &Gguf, key: &'a str, value: &Value) -> (&'a str, u32, Vec<u8>) {
    let (kind, bytes) = match (value, file.array(key)) {
        (Value::Bool(value), _) => (7, vec![u8::from(*value)]),
        (Value::Text(value), _) => {
            let mut bytes = Vec::new();
            text(&mut bytes, value);
            (8, bytes)
        }
        (Value::Unsigned(value), _) => (10, value.to_le_bytes().to_vec()),
        (Value::Signed(value), _) => (11, value.to_le_bytes().to_vec()),
        (Value::Float(value), _) => (12, value.to_le_bytes().to_vec()),
        (Value::Array(_), elements) => {
            // No list of lists stands in a model's file.
            let all: Vec<_> =
                elements.into_iter().flatten().map(|value| told(file, "", &value)).collect();
            let kind = all.first().map_or(0, |(_, kind, _)| *kind);
            let mut bytes = kind.to_le_bytes().to_vec();
            bytes.extend((all.len() as u64).to_le_bytes());
            bytes.extend(all.into_iter().flat_map(|(_, _, bytes)| bytes));
            (9, bytes)
        }
    };
    (key, kind, bytes)
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
