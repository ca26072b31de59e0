//! A model as an `.onnx` file: which file, and that it can be one.
//!
//! Its graph is read by the platform that runs it. Next: `model.rs`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::ModelError;

/// First byte of a `ModelProto` as every exporter writes it: field 1, `ir_version`, a varint.
/// **Source**: ONNX, `onnx.proto`.
const FIRST_BYTE: u8 = 0x08;

/// An `.onnx` file, looked at but not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnnxFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size; weights may lie in files beside it.
    pub bytes: u64,
}

impl OnnxFile {
    /// True if the path names an `.onnx` file.
    #[must_use]
    pub fn is_at(path: &Path) -> bool {
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) && path.is_file()
    }

    /// Looks at the file's head.
    ///
    /// # Errors
    /// It cannot be read or is no ONNX model.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let missing =
            |e: std::io::Error| ModelError::Missing { path: path.to_owned(), why: e.to_string() };
        let mut file = File::open(path).map_err(missing)?;
        let bytes = file.metadata().map_err(missing)?.len();
        let mut first = [0];
        if file.read(&mut first).map_err(missing)? == 0 || first != [FIRST_BYTE] {
            let why = "it does not begin as an ONNX model does".to_owned();
            return Err(ModelError::Broken { path: path.to_owned(), why });
        }
        Ok(Self { path: path.to_owned(), bytes })
    }
}
