//! A folder that only this user can write, held by its descriptor.
//!
//! What lies in it may be run. So each step below a folder of the system is opened without following
//! links and belongs to this user alone; a name that somebody else made first is refused, and nothing
//! that is renamed afterwards changes what is held. Next: `bundle.rs`.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RawMode, Stat};
use rustix::io::Errno;

const ONLY_US: Mode = Mode::RWXU;
const OTHERS_WRITE: RawMode = 0o022;

/// The folder.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

impl Folder {
    /// The folder of these names below `base`, which are made where they are missing.
    ///
    /// # Errors
    /// One of them is a link, is no folder, or belongs to or may be written by somebody else.
    pub(crate) fn open(base: &Path, names: &[&str]) -> io::Result<Self> {
        std::fs::create_dir_all(base)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = rustix::fs::open(base, flags, Mode::empty())?;
        for name in names {
            match rustix::fs::mkdirat(&folder, *name, ONLY_US) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            folder = rustix::fs::openat(&folder, *name, flags | OFlags::NOFOLLOW, Mode::empty())?;
            check(&rustix::fs::fstat(&folder)?)?;
        }
        Ok(Self(folder))
    }

    /// Opens a file for reading; one that somebody else could change is refused.
    pub(crate) fn read(&self, name: &str) -> io::Result<File> {
        // A pipe of that name must not make anybody wait.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.0, name, flags, Mode::empty())?;
        check(&rustix::fs::fstat(&file)?)?;
        let file = File::from(file);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("no regular file"));
        }
        Ok(file)
    }

    /// Makes a file that is not there yet.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::CREATE | OFlags::EXCL;
        Ok(rustix::fs::openat(&self.0, name, flags | OFlags::NOFOLLOW, Mode::RWXU)?.into())
    }

    /// Gives a file another name.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }
}

fn check(about: &Stat) -> io::Result<()> {
    let is_ours = about.st_uid == rustix::process::geteuid().as_raw();
    if is_ours && about.st_mode & OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(io::Error::other("others can write there"))
}

/// Where this user's caches are.
pub(crate) fn user_folders() -> impl Iterator<Item = PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let home = of("HOME").map(|home| home.join(".cache"));
    [of("XDG_CACHE_HOME"), home].into_iter().flatten()
}

/// Why no file can be kept in that folder, which is made where it is missing; nothing is written.
pub(crate) fn cache_problem(folder: &Path) -> Option<String> {
    use rustix::fs::{Access, access};
    // The nearest step that is there decides: the rest would be made.
    let there = folder.ancestors().find(|p| p.symlink_metadata().is_ok());
    let there = there.unwrap_or_else(|| Path::new("."));
    match there.metadata() {
        Err(error) => Some(format!("{}: {error}", there.display())),
        Ok(about) if !about.is_dir() => {
            Some(format!("{} is a file, not a folder", there.display()))
        }
        Ok(_) => access(there, Access::WRITE_OK | Access::EXEC_OK)
            .err()
            .map(|error| format!("{} cannot be written: {error}", there.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::*;

    fn base(name: &str) -> PathBuf {
        let base =
            std::env::temp_dir().join(format!("gimbal-folder-{name}-{}", std::process::id()));
        fs::create_dir_all(&base).expect("a folder");
        base
    }

    #[test]
    fn every_step_must_be_ours_and_no_link() {
        let base = base("steps");
        for at in ["gimbal", "gimbal/hash"] {
            Folder::open(&base, &["gimbal", "hash"]).expect("made by us");
            let step = base.join(at);
            fs::set_permissions(&step, fs::Permissions::from_mode(0o777)).expect("ours");
            Folder::open(&base, &["gimbal", "hash"]).expect_err("others can write there");
            fs::remove_dir_all(&step).expect("ours");
            symlink("/tmp", &step).expect("a link");
            Folder::open(&base, &["gimbal", "hash"]).expect_err("a link");
            fs::remove_file(&step).expect("ours");
        }
        fs::remove_dir_all(base).expect("ours");
    }

    #[test]
    fn what_is_renamed_away_stays_what_it_was() {
        let base = base("swap");
        let folder = Folder::open(&base, &["gimbal", "hash"]).expect("made by us");
        fs::write(base.join("gimbal/hash/library"), "ours").expect("ours");
        fs::rename(base.join("gimbal"), base.join("away")).expect("ours");
        fs::create_dir_all(base.join("gimbal/hash")).expect("ours");
        fs::write(base.join("gimbal/hash/library"), "theirs").expect("ours");
        let read = io::read_to_string(folder.read("library").expect("there")).expect("text");
        assert_eq!(read, "ours");
        fs::remove_dir_all(base).expect("ours");
    }

    #[test]
    fn links_pipes_and_files_of_everybody_are_no_files() {
        let base = base("files");
        let folder = Folder::open(&base, &["gimbal"]).expect("made by us");
        symlink("/etc/hostname", base.join("gimbal/link")).expect("a link");
        folder.read("link").expect_err("a link");
        fs::write(base.join("gimbal/open"), "x").expect("ours");
        let everybody = fs::Permissions::from_mode(0o666);
        fs::set_permissions(base.join("gimbal/open"), everybody).expect("ours");
        folder.read("open").expect_err("others can write there");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            base.join("gimbal/pipe"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("a pipe");
        folder.read("pipe").expect_err("a pipe");
        folder.create("link").expect_err("it is there");
        fs::remove_dir_all(base).expect("ours");
    }
}
