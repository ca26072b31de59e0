//! Reading configuration files that somebody else may have put there.
//!
//! Only regular files of bounded size are read, and what is checked is the opened file, not its name.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, RawMode, Stat};
use rustix::io::Errno;

/// Most bytes of a file; real ones have less than a thousand.
const BYTES_MAX: u64 = 1 << 20;
const OTHERS_WRITE: RawMode = 0o022;

/// A file's bytes; `None` where there is no such file.
///
/// # Errors
/// It is no regular file, too large or cannot be read.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match open(path)? {
        Some((file, _)) => content(file).map(Some),
        None => Ok(None),
    }
}

/// The same of a file that must belong to this user or to root, and that nobody else can write.
///
/// # Errors
/// As of [`read`], or it is somebody else's.
pub(super) fn read_own(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some((file, about)) = open(path)? else { return Ok(None) };
    check_owner(&about, rustix::process::geteuid().as_raw())?;
    content(file).map(Some)
}

/// The path of what a file names, with links followed: it must lie in the file's own folder.
///
/// # Errors
/// Why it is not taken.
pub(super) fn inside(file: &str, named: &str) -> Result<String, String> {
    let steps = Path::new(named).components();
    if steps.into_iter().any(|step| !matches!(step, Component::Normal(_) | Component::CurDir)) {
        return Err("it must be a path below the model's folder".to_owned());
    }
    let folder = Path::new(file).parent().filter(|f| !f.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).canonicalize().map_err(|e| e.to_string())?;
    let path = folder.join(named).canonicalize().map_err(|e| e.to_string())?;
    if !path.starts_with(&folder) {
        return Err("it leads out of the model's folder".to_owned());
    }
    if !path.is_file() {
        return Err("it is no file".to_owned());
    }
    path.into_os_string().into_string().map_err(|_| "its path is no text".to_owned())
}

fn open(path: &Path) -> io::Result<Option<(File, Stat)>> {
    // A pipe of that name must not make anybody wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let about = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(Some((file.into(), about)))
}

fn content(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn check_owner(about: &Stat, user: u32) -> io::Result<()> {
    if about.st_uid != user && about.st_uid != 0 {
        let why = format!("it belongs to user {}, not to this one or root", about.st_uid);
        return Err(io::Error::other(format!("{why}; name it with --config to use it")));
    }
    if about.st_mode & OTHERS_WRITE != 0 {
        let why = "others can write it; chmod go-w, or name it with --config to use it";
        return Err(io::Error::other(why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::cli::fixture::Folder;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    }

    #[test]
    fn an_own_file_is_ours_and_only_ours_to_write() {
        let folder = Folder::new();
        let path = folder.0.join("gimbal.yaml");
        assert_eq!(read_own(&path).expect("no file is no error"), None);
        fs::write(&path, "port: 1").expect("ours");
        for (bits, is_read) in
            [(0o600, true), (0o644, true), (0o664, false), (0o646, false), (0o666, false)]
        {
            mode(&path, bits);
            assert_eq!(read_own(&path).is_ok(), is_read, "{bits:o}");
        }
        mode(&path, 0o644);
        let about = rustix::fs::stat(&path).expect("there");
        let owner = about.st_uid;
        check_owner(&about, owner).expect("its own");
        assert_eq!(check_owner(&about, owner + 1).is_ok(), owner == 0, "only root's otherwise");
        let mut theirs = about;
        theirs.st_uid = owner + 7;
        let why = check_owner(&theirs, owner).expect_err("somebody else's").to_string();
        assert!(why.contains("belongs to user"), "{why}");
        let link = folder.0.join("link.yaml");
        symlink(&path, &link).expect("a link");
        assert!(read_own(&link).expect("the file counts, not the link").is_some());
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let folder = Folder::new();
        let at = |name: &str| folder.0.join(name);
        fs::create_dir(at("folder")).expect("ours");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .expect("a pipe");
        fs::write(at("large"), vec![b'#'; (1 << 20) + 1]).expect("ours");
        fs::write(at("most"), vec![b'#'; 1 << 20]).expect("ours");
        for name in ["folder", "pipe", "large"] {
            read(&at(name)).expect_err(name);
        }
        assert_eq!(read(&at("most")).expect("just so").map(|b| b.len()), Some(1 << 20));
        assert_eq!(read(&at("most").join("x")).expect("no file is no error"), None);
    }

    #[test]
    fn what_a_models_file_names_lies_in_its_folder() {
        let folder = Folder::new();
        folder.expand("== m/serving.properties\n== m/t.jinja\n== m/deep/t.jinja\n== secret\n");
        folder.expand("== link m/out -> ../secret\n== link m/up -> ..\n== link m/in -> deep\n");
        let file = folder.0.join("m/serving.properties").display().to_string();
        let root = folder.0.canonicalize().expect("there");
        let absolute = root.join("m/t.jinja").display().to_string();
        let cases = [
            ("t.jinja", Ok("m/t.jinja")),
            ("./t.jinja", Ok("m/t.jinja")),
            ("deep/t.jinja", Ok("m/deep/t.jinja")),
            ("in/t.jinja", Ok("m/deep/t.jinja")),
            ("deep/../t.jinja", Err("below the model's folder")),
            ("../secret", Err("below the model's folder")),
            ("/etc/passwd", Err("below the model's folder")),
            (absolute.as_str(), Err("below the model's folder")),
            ("out", Err("out of the model's folder")),
            ("up/secret", Err("out of the model's folder")),
            ("up/m/t.jinja", Ok("m/t.jinja")),
            ("deep", Err("no file")),
            ("", Err("no file")),
            ("missing", Err("No such file")),
        ];
        for (named, expect) in cases {
            match (inside(&file, named), expect) {
                (Ok(path), Ok(below)) => {
                    assert_eq!(path, root.join(below).display().to_string(), "{named}");
                }
                (Err(why), Err(word)) => assert!(why.contains(word), "{named}: {why}"),
                (found, _) => panic!("{named}: {found:?}"),
            }
        }
    }
}
