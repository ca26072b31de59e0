//! Finds libcuda, checks that it has what we call, and loads it, once a process.
//!
//! Next: `error.rs`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::Library;

/// The name that the loader knows it by.
const SONAME: &str = "libcuda.so.1";

/// Where containers and WSL have it when the loader does not know. Sources: NVIDIA device plugin of GKE and
/// EKS (`/usr/local/nvidia`), NVIDIA container toolkit, Microsoft's GPU in WSL.
const ELSEWHERE: [&str; 5] = [
    "/usr/local/nvidia/lib64/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
];

/// Every function that may be called, a line each.
const ENTRY_POINTS: &str = include_str!("../entry_points.txt");

/// Why there is no library.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Missing {
    /// Nowhere.
    #[error("{why}")]
    Nowhere {
        /// What the loader said.
        why: String,
    },
    /// It is there and is not to be used.
    #[error("{path}: {why}")]
    Unusable {
        /// Which.
        path: String,
        /// Why not.
        why: String,
    },
}

/// What was loaded, and whether by the setting.
static LOADED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Loads the library, if that has not happened; tells which. `set` is the setting `libcuda`.
///
/// # Errors
/// There is none, or one that cannot be used. Another one than was loaded before cannot be had.
pub(crate) fn load(set: Option<&Path>) -> Result<PathBuf, Missing> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*loaded {
        return match set {
            Some(other) if other != path => Err(Missing::Unusable {
                path: other.display().to_string(),
                why: format!("this process has loaded {} already", path.display()),
            }),
            _ => Ok(path.clone()),
        };
    }
    let (path, library) = match set {
        Some(path) => (path.to_owned(), open(path).map_err(|why| unusable(path, why))?),
        None => search()?,
    };
    check(&path, &library)?;
    // What has been loaded stays: cudarc keeps it too.
    std::mem::forget(library);
    *loaded = Some(path.clone());
    Ok(path)
}

fn search() -> Result<(PathBuf, Library), Missing> {
    let by_loader = match open(Path::new(SONAME)) {
        Ok(library) => return Ok((SONAME.into(), library)),
        Err(why) => why,
    };
    match elsewhere(Path::new("/")) {
        Some(path) => match open(&path) {
            Ok(library) => Ok((path, library)),
            Err(why) => Err(unusable(&path, why)),
        },
        None => Err(Missing::Nowhere { why: by_loader }),
    }
}

/// The first of the places that has it, below a root folder.
fn elsewhere(root: &Path) -> Option<PathBuf> {
    let places = ELSEWHERE.iter().map(|place| root.join(place.trim_start_matches('/')));
    places.into_iter().find(|path| path.is_file())
}

fn unusable(path: &Path, why: String) -> Missing {
    Missing::Unusable { path: path.display().to_string(), why }
}

fn open(path: &Path) -> Result<Library, String> {
    // SAFETY: loading runs the library's initialisers; it is NVIDIA's, or what a person has set in its
    // place.
    let opened = unsafe { Library::new(path) };
    // The loader's own words are behind ours.
    opened.map_err(|error| error.source().map_or_else(|| error.to_string(), ToString::to_string))
}

/// All functions are there, and they are the ones that cudarc calls.
fn check(path: &Path, library: &Library) -> Result<(), Missing> {
    let symbols = ENTRY_POINTS.lines().filter(|line| line.starts_with("cu"));
    let missing: Vec<&str> = symbols.filter(|name| address(library, name).is_none()).collect();
    if !missing.is_empty() {
        let why = format!(
            "it lacks {}: a driver of R470 (CUDA 11.4) or later is needed; under SageMaker \
             InferenceAmiVersion chooses it",
            missing.join(", ")
        );
        return Err(unusable(path, why));
    }
    // Cudarc searches by name, and what is loaded under its soname comes first unless there is a file
    // named libcuda.so.
    // SAFETY: a library that was found is loaded a second time, which only counts.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        let why = "it is not known to the loader under the name libcuda.so.1".to_owned();
        return Err(unusable(path, why));
    }
    // SAFETY: as above.
    let bound = unsafe { cudarc::driver::sys::culib() };
    if address(bound, "cuInit") != address(library, "cuInit") {
        let why = "another libcuda.so is before it on the loader's path: remove that from \
                   LD_LIBRARY_PATH";
        return Err(unusable(path, why.to_owned()));
    }
    Ok(())
}

/// Where a function lies.
fn address(library: &Library, name: &str) -> Option<usize> {
    // SAFETY: the symbol is only looked at; nothing is called through it.
    let symbol = unsafe { library.get::<*const ()>(name.as_bytes()) };
    symbol.ok().map(|symbol| symbol.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_wsl_have_it_in_places_of_their_own() {
        let root = std::env::temp_dir().join(format!("gimbal-libcuda-{}", std::process::id()));
        assert_eq!(elsewhere(&root), None);
        // The last first: one that is named before it then hides it.
        for place in ELSEWHERE.iter().rev() {
            let path = root.join(place.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
            std::fs::write(&path, "").expect("it can be written");
            assert_eq!(elsewhere(&root), Some(path));
        }
        std::fs::remove_dir_all(&root).expect("it was made here");
    }
}
