//! Tensors of `.safetensors` files, mapped; one file or several.
//!
//! **Source** of the format: the crate `safetensors`, which checks every offset.

use std::path::Path;
use std::sync::Arc;

use safetensors::{Dtype, SafeTensors};

use super::{DType, Entry, Mapping, Weights};
use crate::ModelError;

/// Adds a file's tensors under the names `name` gives them.
///
/// # Errors
/// What is wrong with the file, or which tensor or type is not supported.
pub(crate) fn add(
    weights: &mut Weights,
    path: &Path,
    mapping: Mapping,
    name: &dyn Fn(&str) -> Option<String>,
) -> Result<(), ModelError> {
    let broken = |why: String| ModelError::Broken { path: path.to_owned(), why };
    let unsupported = |what: String, known: &str| ModelError::Unsupported {
        path: path.to_owned(),
        what,
        known: known.to_owned(),
    };
    let bytes = mapping.bytes();
    let (header, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| broken(e.to_string()))?;
    let data = header + 8;
    let mut found = Vec::new();
    let tensors = metadata.tensors().into_iter();
    for (theirs, info) in tensors.filter(|(theirs, _)| !crate::config::is_no_weight(theirs)) {
        let Some(ours) = name(&theirs) else {
            return Err(unsupported(format!("tensor {theirs}"), "the architecture's own tensors"));
        };
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                return Err(unsupported(format!("{theirs} of type {other:?}"), "F32, F16, BF16"));
            }
        };
        let (rows, cols) = match *info.shape.as_slice() {
            [cols] => (1, cols),
            [rows, cols] => (rows, cols),
            _ => {
                return Err(unsupported(format!("{theirs} {:?}", info.shape), "1 or 2 dimensions"));
            }
        };
        let (start, end) = info.data_offsets;
        let size = rows.checked_mul(cols).and_then(|n| n.checked_mul(dtype.row_bytes(1)));
        if size.is_none() || size != end.checked_sub(start) || rows == 0 || cols == 0 {
            return Err(broken(format!("tensor {theirs} is {:?} in {start}..{end}", info.shape)));
        }
        if data + end > bytes.len() {
            let had = bytes.len();
            return Err(broken(format!(
                "tensor {theirs} ends at {}, the file at {had}",
                data + end
            )));
        }
        found.push((ours, Entry { dtype, rows, cols, file: 0, bytes: data + start..data + end }));
    }
    weights.add(Arc::new(mapping), found);
    Ok(())
}
