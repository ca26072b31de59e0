//! What is served: a decoder, or an ONNX file.
//!
//! Every platform is handed the same artifact and says which it can run. Next: `platform.rs`.

use std::path::Path;
use std::sync::Arc;

use gimbal_model::{Model, ModelError, OnnxFile, name_of};

/// A model on its way to a device.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// A generation model: graph and mapped weights.
    Decoder(Arc<Model>),
    /// Any `.onnx` file.
    Onnx(Arc<OnnxFile>),
}

impl Artifact {
    /// Opens what lies at a path; no weight is read.
    ///
    /// # Errors
    /// Which file is missing, broken or not supported, and why.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        match OnnxFile::is_at(path) {
            true => Ok(Self::Onnx(Arc::new(OnnxFile::open(path)?))),
            false => Ok(Self::Decoder(Arc::new(Model::open(path)?))),
        }
    }

    /// The file or folder it came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Decoder(model) => &model.path,
            Self::Onnx(file) => &file.path,
        }
    }

    /// The name of its file without the ending, or of its folder.
    #[must_use]
    pub fn file_name(&self) -> String {
        name_of(self.path())
    }

    /// What it is, for messages.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self {
            Self::Decoder(_) => "a generation model",
            Self::Onnx(_) => "an .onnx file",
        }
    }
}
