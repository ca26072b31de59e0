//! A model compiled for Neuron: a folder of NEFFs, weights as safetensors, and a manifest with all digests.
//!
//! A bundle is written whole or not at all, and nothing of one is used before its digest was checked. Next:
//! `bundle/manifest.rs`.

mod manifest;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use gimbal_model::Model;
use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest, Sha256};

use crate::neff::{self, NeffError};
use crate::probe::Chip;

pub use manifest::{
    Compiler, Dtype, FORMAT, Manifest, Output, Program, Source, Stored, Tensor, Weights,
};

/// The manifest's name.
pub const MANIFEST: &str = "manifest.json";
/// Bytes of a manifest at most.
const MANIFEST_MAX: u64 = 64 << 20;
/// Bytes of a safetensors header at most: the crate's own bound.
const TENSORS_MAX: u64 = 100 << 20;
/// Bytes of a NEFF at most: it is held in memory while it is loaded.
const NEFF_MAX: u64 = 8 << 30;
/// Bytes that are hashed at a time.
const PIECE: usize = 1 << 20;

/// A folder whose manifest was read and fits its files' names and lengths.
#[derive(Clone, Debug)]
pub struct Bundle {
    folder: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// What a bundle is to be loaded on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The chip.
    pub chip: Chip,
    /// Physical cores of a logical one.
    pub lnc: u32,
    /// Logical cores that the process may use.
    pub cores: u32,
    /// The runtime's version, major and minor, if it is known.
    pub runtime: Option<[u64; 2]>,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest says something that cannot be.
    #[error("{file}: {why}; compile the model again")]
    Manifest {
        /// Which.
        file: PathBuf,
        /// Field and reason.
        why: String,
    },
    /// A file is not the one that was written.
    #[error("{file}: {why}; copy the bundle again from where it was compiled")]
    Changed {
        /// Which.
        file: PathBuf,
        /// How it differs.
        why: String,
    },
    /// A NEFF cannot be loaded.
    #[error(transparent)]
    Neff(#[from] NeffError),
    /// It is for something else.
    #[error("{folder}: {why}")]
    Unfit {
        /// Which.
        folder: PathBuf,
        /// For what, what is here, and what to do.
        why: String,
    },
}

impl Bundle {
    /// Reads the manifest, and looks whether each file is there and as long as it says. No digest is computed.
    ///
    /// # Errors
    /// The manifest or a file is missing, or they do not fit each other.
    pub fn open(folder: &Path) -> Result<Self, BundleError> {
        let file = folder.join(MANIFEST);
        let text = read_bounded(&file, MANIFEST_MAX)?;
        let manifest = Manifest::read(&text).map_err(|why| BundleError::Manifest { file, why })?;
        for stored in manifest.stored() {
            let file = folder.join(&stored.file);
            // Links are followed: caches of models keep files elsewhere.
            let bytes = fs::metadata(&file).and_then(|metadata| match metadata.is_file() {
                true => Ok(metadata.len()),
                false => Err(io::Error::other("it is no file")),
            });
            let bytes = bytes.map_err(|source| BundleError::Read { file: file.clone(), source })?;
            if bytes != stored.bytes {
                let why = format!("{bytes} bytes, and the manifest says {}", stored.bytes);
                return Err(BundleError::Changed { file, why });
            }
        }
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Says whether a machine can load it.
    ///
    /// # Errors
    /// It was compiled for another chip, another division of cores, more ranks, or by a newer SDK.
    pub fn check(&self, machine: &Machine) -> Result<(), BundleError> {
        let manifest = &self.manifest;
        let (target, sdk) = (manifest.target, &manifest.compiler.sdk);
        let unfit = |why: String| Err(BundleError::Unfit { folder: self.folder.clone(), why });
        if target != machine.chip {
            let chip = machine.chip;
            return unfit(format!(
                "compiled for {target}, and this machine has {chip}: compile it for {chip}"
            ));
        }
        if manifest.lnc != machine.lnc {
            return unfit(format!(
                "compiled for logical cores of {}, and here they are of {}: set \
                 NEURON_LOGICAL_NC_CONFIG={} or compile it with --lnc {}",
                manifest.lnc, machine.lnc, manifest.lnc, machine.lnc
            ));
        }
        if manifest.ranks > machine.cores {
            return unfit(format!(
                "compiled for {} ranks, and there are {} logical cores for this process: use a larger \
                 instance or compile it for fewer",
                manifest.ranks, machine.cores
            ));
        }
        let [major, minor] = manifest.compiler.runtime;
        match machine.runtime {
            Some(runtime) if runtime < manifest.compiler.runtime => unfit(format!(
                "compiled by Neuron SDK {sdk}, whose runtime is {major}.{minor}, and here it is {}.{}: \
                 update aws-neuronx-runtime-lib or compile it with the installed SDK",
                runtime[0], runtime[1]
            )),
            _ => Ok(()),
        }
    }

    /// Computes every digest, reads every NEFF's header and every header of weights.
    ///
    /// # Errors
    /// A file is not what the manifest says.
    pub fn verify(&self) -> Result<(), BundleError> {
        for program in &self.manifest.programs {
            self.neff(program)?;
        }
        let mut tensors = vec![BTreeMap::new(); self.manifest.ranks as usize];
        for weights in &self.manifest.weights {
            self.digest(&weights.stored)?;
            let named = self.tensors(weights)?;
            if let Some(rank) = tensors.get_mut(weights.rank as usize) {
                rank.extend(named);
            }
        }
        let folder = &self.folder;
        for program in &self.manifest.programs {
            for input in program.inputs.iter().filter(|input| input.from == Source::Weights) {
                let wanted = (input.dtype, input.shape.clone());
                for (rank, tensors) in tensors.iter().enumerate() {
                    let why = match tensors.get(&input.name) {
                        Some(found) if *found == wanted => continue,
                        Some(found) => format!("has {found:?}, and {wanted:?} is wanted"),
                        None => "is missing".to_owned(),
                    };
                    let name = &input.name;
                    let why = format!("tensor {name:?} of rank {rank} {why}");
                    return Err(BundleError::Changed { file: folder.join(MANIFEST), why });
                }
            }
        }
        Ok(())
    }

    /// A program's NEFF, whose digest and header were checked.
    ///
    /// # Errors
    /// It is not what the manifest says, or none that a runtime can load.
    pub fn neff(&self, program: &Program) -> Result<Vec<u8>, BundleError> {
        let stored = &program.neff;
        let file = self.folder.join(&stored.file);
        let bytes = read_bounded(&file, NEFF_MAX)?;
        same(&file, stored, bytes.len() as u64, &hex(&Sha256::digest(&bytes)))?;
        let header = neff::verify(&file.display().to_string(), &bytes)?;
        if header.lnc != self.manifest.lnc {
            let why = format!(
                "it is of logical cores of {}, and the manifest's of {}",
                header.lnc, self.manifest.lnc
            );
            return Err(BundleError::Changed { file, why });
        }
        Ok(bytes)
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file of weights is.
    #[must_use]
    pub fn path(&self, weights: &Weights) -> PathBuf {
        self.folder.join(&weights.stored.file)
    }

    /// Tensors of a file of weights, in its order, each with its place in it.
    ///
    /// # Errors
    /// The file cannot be read, or is not what safetensors are.
    pub fn places(&self, weights: &Weights) -> Result<Vec<(String, Range<u64>)>, BundleError> {
        let file = self.path(weights);
        let read = header(&file);
        let read = read.map_err(|source| BundleError::Read { file: file.clone(), source })?;
        let (begin, metadata) = read.map_err(|why| BundleError::Changed { file, why })?;
        let place = |(name, info): (String, &TensorInfo)| {
            let (first, end) = info.data_offsets;
            (name, begin + first as u64..begin + end as u64)
        };
        let mut places: Vec<_> = metadata.tensors().into_iter().map(place).collect();
        places.sort_by_key(|(_, range)| range.start);
        Ok(places)
    }

    fn digest(&self, stored: &Stored) -> Result<(), BundleError> {
        let file = self.folder.join(&stored.file);
        let read = |source| BundleError::Read { file: file.clone(), source };
        let from = fs::File::open(&file).map_err(read)?;
        let (bytes, sha256) = copy(from, &mut io::sink()).map_err(read)?;
        same(&file, stored, bytes, &sha256)
    }

    /// The tensors of a file of weights: type and sizes by name.
    fn tensors(
        &self,
        weights: &Weights,
    ) -> Result<BTreeMap<String, (Dtype, Vec<u64>)>, BundleError> {
        let file = self.path(weights);
        let changed = |why: String| BundleError::Changed {
            file: file.clone(),
            why: format!("weights: {why}"),
        };
        let read = header(&file);
        let read = read.map_err(|source| BundleError::Read { file: file.clone(), source })?;
        let (begin, metadata) = read.map_err(changed)?;
        let end = metadata.tensors().values().map(|info| info.data_offsets.1).max().unwrap_or(0);
        if begin.checked_add(end as u64) != Some(weights.stored.bytes) {
            return Err(changed(format!("{end} bytes of tensors behind {begin} of header")));
        }
        let tensor = |(name, info): (String, &TensorInfo)| {
            let dtype = match info.dtype {
                safetensors::Dtype::F32 => Dtype::F32,
                safetensors::Dtype::BF16 => Dtype::Bf16,
                safetensors::Dtype::I32 => Dtype::I32,
                safetensors::Dtype::U32 => Dtype::U32,
                safetensors::Dtype::U8 => Dtype::U8,
                other => return Err(changed(format!("tensor {name:?} is of {other:?}"))),
            };
            Ok((name, (dtype, info.shape.iter().map(|size| *size as u64).collect())))
        };
        metadata.tensors().into_iter().map(tensor).collect()
    }
}

/// A bundle that is being written, beside its place: it gets there when it is whole.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    part: PathBuf,
}

impl Writer {
    /// Begins a bundle that is to be `folder`, which must not be there.
    ///
    /// # Errors
    /// It is there, or cannot be made.
    pub fn create(folder: &Path) -> io::Result<Self> {
        if folder.try_exists()? {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is such a folder"));
        }
        let mut part = folder.as_os_str().to_owned();
        part.push(format!(".part-{}", std::process::id()));
        let part = PathBuf::from(part);
        fs::create_dir_all(&part)?;
        Ok(Self { folder: folder.to_owned(), part })
    }

    /// Writes a file, piece by piece, and tells what the manifest is to say of it.
    ///
    /// # Errors
    /// It cannot be read or written, or there is one of that name.
    pub fn add(&self, file: &str, from: impl Read) -> io::Result<Stored> {
        let to = fs::File::options().write(true).create_new(true).open(self.part.join(file));
        let mut to = to?;
        let (bytes, sha256) = copy(from, &mut to)?;
        to.sync_all()?;
        Ok(Stored { file: file.to_owned(), bytes, sha256 })
    }

    /// Writes the manifest, reads the whole bundle again, and puts it in its place.
    ///
    /// # Errors
    /// It cannot be written, or it is not whole.
    pub fn finish(self, manifest: &Manifest) -> Result<Bundle, BundleError> {
        let file = self.part.join(MANIFEST);
        let write = |source| BundleError::Read { file: file.clone(), source };
        let mut text = serde_json::to_string_pretty(manifest)
            .map_err(|error| write(io::Error::other(error)))?;
        text.push('\n');
        self.add(MANIFEST, text.as_bytes()).map_err(write)?;
        Bundle::open(&self.part)?.verify()?;
        fs::rename(&self.part, &self.folder).map_err(write)?;
        Bundle::open(&self.folder)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Gone already, once it is in its place; of one that was given up nothing should be left.
        drop(fs::remove_dir_all(&self.part));
    }
}

/// Where a model's bundle is looked for, and written if nothing else was said: beside a file, in a folder. It takes
/// [`gimbal_model::Model::path`].
#[must_use]
pub fn beside(model: &Path) -> PathBuf {
    if model.is_dir() {
        return model.join("neuron");
    }
    let mut path = model.as_os_str().to_owned();
    path.push(".neuron");
    path.into()
}

/// Where a safetensors file's data begins, and what its header says; an inner error is the header's.
fn header(file: &Path) -> io::Result<Result<(u64, Metadata), String>> {
    let mut from = fs::File::open(file)?;
    let mut size = [0; 8];
    from.read_exact(&mut size)?;
    let bytes = u64::from_le_bytes(size);
    if bytes > TENSORS_MAX {
        return Ok(Err(format!("a header of {bytes} bytes")));
    }
    let mut text = Vec::new();
    from.take(bytes).read_to_end(&mut text)?;
    // Checks that tensors lie one behind the other, each of as many bytes as its shape says.
    let read = serde_json::from_slice(&text);
    Ok(read.map(|metadata| (8 + bytes, metadata)).map_err(|error| error.to_string()))
}

fn same(file: &Path, stored: &Stored, bytes: u64, sha256: &str) -> Result<(), BundleError> {
    match bytes == stored.bytes && sha256 == stored.sha256 {
        true => Ok(()),
        false => {
            let why = format!("its digest is {sha256}, and the manifest says {}", stored.sha256);
            Err(BundleError::Changed { file: file.to_owned(), why })
        }
    }
}

fn read_bounded(file: &Path, bytes_max: u64) -> Result<Vec<u8>, BundleError> {
    let read = |source| BundleError::Read { file: file.to_owned(), source };
    let mut bytes = Vec::new();
    let from = fs::File::open(file).map_err(read)?;
    from.take(bytes_max + 1).read_to_end(&mut bytes).map_err(read)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(read(io::Error::other(format!("more than {bytes_max} bytes")))),
        false => Ok(bytes),
    }
}

/// Copies and hashes.
fn copy(mut from: impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let (mut hash, mut count, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok((count, hex(&hash.finalize()))),
            Ok(read) => {
                hash.update(&piece[..read]);
                to.write_all(&piece[..read])?;
                count += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a model's files are, as a manifest says it.
#[must_use]
pub fn fingerprint(model: &Model) -> String {
    hex(&model.weights.fingerprint_of_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
