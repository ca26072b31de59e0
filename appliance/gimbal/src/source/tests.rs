//! Archives that nobody should trust, archives that were cut, and snapshots.

use std::fs;
use std::io::{self, Write};
use std::iter;
use std::os::unix::fs::{PermissionsExt, symlink};

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::archive::{Limits, unpack};
use super::*;
use crate::cli::fixture::Folder;

/// A member: kind, name, text or link.
type Member<'a> = (u8, &'a str, &'a str);

/// Paths, and what is there.
type Tree<'a> = &'a [(&'a str, &'a str)];

const FILE: u8 = b'0';
const HARD: u8 = b'1';
const LINK: u8 = b'2';
const DEVICE: u8 = b'3';
const FOLDER: u8 = b'5';
const PIPE: u8 = b'6';

/// A tar as no tool writes it: every name goes in as it is.
fn tar(members: &[Member]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, content) in members {
        let is_link = [HARD, LINK].contains(kind);
        let data = if is_link { "" } else { content };
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        if is_link {
            old.linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_entry_type(EntryType::new(*kind));
        header.set_size(data.len() as u64);
        header.set_mode(0o4777);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).expect("memory");
    packed.finish().expect("memory")
}

const ROOMY: Limits = Limits { bytes_max: 1 << 20, free: |_| Ok(u64::MAX), sync: |_| Ok(()) };

/// What lies below a folder: paths with a file's text, a link's target or `/`.
fn tree(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at).expect("a folder").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("there"));
            let what = if kind.is_symlink() {
                fs::read_link(&path).expect("a link").display().to_string()
            } else if kind.is_dir() {
                open.push(path.clone());
                "/".to_owned()
            } else {
                fs::read_to_string(&path).expect("a text")
            };
            let path = path.strip_prefix(folder).expect("below").display().to_string();
            found.push((path, what));
        }
    }
    found.sort();
    found
}

/// Unpacks into a folder that has a neighbour; it stays what it was.
fn unpacked(packed: &[u8], limits: &Limits) -> Result<Vec<(String, String)>, String> {
    let around = Folder::new();
    let into = around.0.join("into");
    fs::create_dir(&into).expect("ours");
    fs::write(around.0.join("neighbour"), "untouched").expect("ours");
    let made = unpack(packed, &into, limits);
    let beside: Vec<_> = fs::read_dir(&around.0).expect("ours").flatten().collect();
    assert_eq!(beside.len(), 2, "something was written beside the folder");
    assert_eq!(fs::read(around.0.join("neighbour")).expect("there"), b"untouched");
    for (path, _) in tree(&into) {
        // What is a link leads nowhere or to what is inside.
        if let Ok(real) = into.join(&path).canonicalize() {
            let root = into.canonicalize().expect("ours");
            assert!(real.starts_with(&root), "{path} is {}", real.display());
        }
    }
    made.map(|()| tree(&into)).map_err(|failure| failure.to_string())
}

#[test]
fn what_stays_inside_is_unpacked() {
    let cases: &[(&[Member], Tree)] = &[
        (&[], &[]),
        (
            &[(FILE, "a", "x"), (b'7', "b", "y"), (0, "c", "z")],
            &[("a", "x"), ("b", "y"), ("c", "z")],
        ),
        (&[(FOLDER, "./", ""), (FILE, "./a", "x")], &[("a", "x")]),
        (&[(FILE, "d/e/a", "x")], &[("d", "/"), ("d/e", "/"), ("d/e/a", "x")]),
        (&[(FOLDER, "d", ""), (FOLDER, "d/", ""), (0, "d/e/", "")], &[("d", "/"), ("d/e", "/")]),
        (&[(b'g', "pax_global_header", "18 comment=abcdef\n"), (FILE, "a", "x")], &[("a", "x")]),
        // As in Hugging Face's cache.
        (
            &[(FILE, "blobs/1", "x"), (LINK, "snapshots/r/a", "../../blobs/1")],
            &[
                ("blobs", "/"),
                ("blobs/1", "x"),
                ("snapshots", "/"),
                ("snapshots/r", "/"),
                ("snapshots/r/a", "../../blobs/1"),
            ],
        ),
        (&[(FILE, "a", "x"), (HARD, "d/b", "./a")], &[("a", "x"), ("d", "/"), ("d/b", "x")]),
    ];
    for (members, expect) in cases {
        let found = unpacked(&gzip(&tar(members)), &ROOMY).expect("nothing leaves");
        let found: Vec<_> = found.iter().map(|(p, w)| (p.as_str(), w.as_str())).collect();
        assert_eq!(found, *expect);
    }
}

#[test]
fn what_leaves_or_is_no_file_is_refused_by_name() {
    let long = "x/".repeat(33);
    let cases: &[(&[Member], &str)] = &[
        (&[(FILE, "/etc/passwd", "x")], "member /etc/passwd: its path is absolute"),
        (&[(FILE, "../neighbour", "x")], "member ../neighbour: its path leaves"),
        (&[(FILE, "a/../../neighbour", "x")], "its path leaves"),
        (&[(FOLDER, "..", "")], "its path leaves"),
        (&[(FOLDER, &long, "")], "more than 32 parts"),
        (&[(FILE, ".", "x")], "it has no name"),
        (&[(LINK, "a", "/etc/passwd")], "member a: it is a link that leaves"),
        (&[(LINK, "a", "../neighbour")], "a link that leaves"),
        (&[(LINK, "d/a", "../../neighbour")], "a link that leaves"),
        (&[(LINK, "a", "")], "a link that leaves"),
        // `d` is deeper than it looks from `e`, so what climbs behind it cannot be told.
        (&[(LINK, "d", "e/f"), (LINK, "e/f/l", "../../d/../../neighbour")], "a link that leaves"),
        (&[(LINK, "d", "e"), (FILE, "d/a", "x")], "goes through a member that is no folder"),
        (&[(FOLDER, "e", ""), (LINK, "d", "e"), (FILE, "d/a", "x")], "no folder"),
        (&[(FILE, "a", "x"), (FILE, "a/b", "x")], "no folder"),
        (&[(HARD, "a", "/etc/passwd")], "member a: its link: its path is absolute"),
        (&[(HARD, "a", "../neighbour")], "its link: its path leaves"),
        (&[(HARD, "a", "b")], "a link to no file of the archive"),
        (&[(LINK, "b", "c"), (HARD, "a", "b")], "a link to no file of the archive"),
        (&[(FILE, "a", "x"), (FILE, "./a", "y")], "member ./a: another one has its path"),
        (&[(FILE, "a", "x"), (FOLDER, "a", "")], "no folder"),
        (&[(DEVICE, "sda", "")], "member sda: it is a device"),
        (&[(b'4', "sda", "")], "member sda: it is a device"),
        (&[(PIPE, "p", "")], "member p: it is a pipe"),
        (&[(b'V', "volume", "")], "its kind 'V' is none of a file, folder or link"),
        (&[(FILE, "a\u{1b}]0;x", "x"), (FILE, "a\u{1b}]0;x", "x")], "member a\\u{1b}]0;x:"),
    ];
    for (members, expect) in cases {
        let why = unpacked(&gzip(&tar(members)), &ROOMY).expect_err(expect);
        assert!(why.contains(expect), "{why:?}, not {expect:?}");
    }
}

#[test]
fn bombs_end_at_their_limit() {
    let zeros = "\0".repeat(1 << 20);
    let name = (b'L', "././@LongLink", &*zeros);
    let pax = (b'x', "pax", &*zeros);
    let small = Limits { bytes_max: 1 << 19, ..ROOMY };
    let full = Limits { free: |_| Ok(3), ..ROOMY };
    let small_free = "a has 1048576 bytes, and 3 are free in";
    let cases: &[(&[Member], &Limits, &str)] = &[
        (&[(FILE, "a", &zeros)], &small, "a: with it the archive has 1048576 bytes"),
        (&[(FILE, "a", &zeros), (FILE, "b", "x")], &ROOMY, "b: with it the archive has 1048577"),
        (&[name, (FILE, "a", "")], &ROOMY, "more than 1 MiB that belongs to no file"),
        (&[pax, (FILE, "a", "")], &ROOMY, "more than 1 MiB that belongs to no file"),
        (&[(FILE, "a", &zeros)], &full, small_free),
    ];
    for (members, limits, expect) in cases {
        let why = unpacked(&gzip(&tar(members)), limits).expect_err(expect);
        assert!(why.contains(expect), "{why:?}, not {expect:?}");
    }
    let many: Vec<u8> =
        (0..=100_000).flat_map(|_| tar(&[(FOLDER, "d", "")])[..512].to_vec()).collect();
    let why = unpacked(&gzip(&many), &ROOMY).expect_err("too many");
    assert_eq!(why, "more than 100000 members");
    let mut ends = tar(&[(FILE, "a", "x")]);
    ends.resize(ends.len() + (3 << 20), 0);
    let why = unpacked(&gzip(&ends), &ROOMY).expect_err("a long end");
    assert!(why.contains("more than 1 MiB"), "{why}");
}

/// Wherever an archive ends and whichever byte was changed: refused, or (a header's time, owner or
/// name, the gzip's own date) unpacked inside.
#[test]
fn cut_and_changed_archives_stay_inside() {
    let whole = tar(&[(FILE, "d/a", "some text"), (LINK, "d/l", "a"), (HARD, "b", "d/a")]);
    let packed = gzip(&whole);
    let expect = unpacked(&packed, &ROOMY).expect("whole");
    for length in 0..packed.len() {
        let why = unpacked(&packed[..length], &ROOMY).expect_err("it was cut");
        assert!(why.contains("no whole tar.gz"), "{why}");
    }
    for at in 10..packed.len() {
        let mut changed = packed.clone();
        changed[at] ^= 0x10;
        // Some bits fill a byte up and say nothing.
        if let Ok(found) = unpacked(&changed, &ROOMY) {
            assert_eq!(found, expect, "byte {at}");
        }
    }
    for at in (0..whole.len()).step_by(7) {
        for bit in [0x01, 0x40] {
            let mut changed = whole.clone();
            changed[at] ^= bit;
            drop(unpacked(&gzip(&changed), &ROOMY));
        }
    }
}

/// Members of every kind with every name that could lead somewhere, in any order.
#[test]
fn no_archive_leaves_its_folder() {
    let seed = std::env::var("GIMBAL_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut state: u64 = seed;
    let mut draw = |n: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % n
    };
    eprintln!("GIMBAL_SEED={seed}");
    let parts = ["a", "b", "..", ".", "", "neighbour"];
    let kinds = [FILE, HARD, LINK, LINK, FOLDER];
    let mut whole = 0;
    for _ in 0..1000 {
        let mut path = || {
            let count = 1 + draw(4);
            let parts: Vec<&str> = (0..count).map(|_| parts[draw(parts.len())]).collect();
            parts.join("/")
        };
        let texts: Vec<(String, String)> = (0..5).map(|_| (path(), path())).collect();
        let members: Vec<Member> = texts
            .iter()
            .map(|(name, content)| (kinds[draw(kinds.len())], name.as_str(), content.as_str()))
            .collect();
        // One that is refused is begun again without what was refused.
        for end in 1..=members.len() {
            whole += usize::from(unpacked(&gzip(&tar(&members[..end])), &ROOMY).is_ok());
        }
    }
    assert!(whole > 100, "{whole} were unpacked");
}

fn base(folder: &Folder) -> impl Iterator<Item = PathBuf> + use<> {
    iter::once(folder.0.join("cache"))
}

fn model(folder: &Folder, name: &str, members: &[Member]) -> PathBuf {
    let path = folder.0.join(name);
    fs::write(&path, gzip(&tar(members))).expect("ours");
    path
}

/// What arrives, and what was told of it.
fn arrived(folder: &Folder, path: &Path) -> (Result<Arrived, String>, Vec<(&'static str, f32)>) {
    let mut told: Vec<(&'static str, f32)> = Vec::new();
    let arrived = arrive_in(path, base(folder), &mut |progress| {
        told.push((progress.doing, progress.share));
    });
    assert!(told.is_sorted_by(|(_, a), (_, b)| a <= b), "{told:?}");
    (arrived.map_err(|failure| failure.to_string()), told)
}

#[test]
fn an_archive_is_unpacked_once() {
    let folder = Folder::new();
    let path = model(&folder, "Tiny.TAR.GZ", &[(FILE, "config.json", "{}")]);
    let (first, told) = arrived(&folder, &path);
    let first = first.expect("whole");
    assert_eq!(first.name.as_deref(), Some("Tiny"));
    assert!(first.path.starts_with(folder.0.join("cache/gimbal/models")), "{first:?}");
    assert_eq!(tree(&first.path), [("config.json".to_owned(), "{}".to_owned())]);
    assert_eq!(told.last(), Some(&("unpacking", 1.0)));
    // The same content, whatever it is called; nothing is written.
    let again = folder.0.join("other.tgz");
    fs::copy(&path, &again).expect("ours");
    let (second, told) = arrived(&folder, &again);
    let second = second.expect("whole");
    assert_eq!((&second.path, second.name.as_deref()), (&first.path, Some("other")));
    assert!(told.iter().all(|(doing, _)| *doing == "reading"), "{told:?}");
    // Others write neither there nor in between.
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0.join("cache/gimbal/models")), 0o700);
    fs::set_permissions(folder.0.join("cache/gimbal"), fs::Permissions::from_mode(0o777))
        .expect("ours");
    let why = arrived(&folder, &path).0.expect_err("others can write there");
    assert!(why.contains("set XDG_CACHE_HOME"), "{why}");
}

#[test]
fn what_was_refused_or_interrupted_leaves_nothing() {
    let folder = Folder::new();
    let path = model(&folder, "a.tgz", &[(FILE, "a", "x"), (FILE, "../b", "x")]);
    let why = arrived(&folder, &path).0.expect_err("it leaves");
    assert!(why.starts_with(&format!("{}: member ../b: ", path.display())), "{why}");
    let cache = folder.0.join("cache/gimbal/models");
    let kept = || {
        let names = fs::read_dir(&cache).expect("there").flatten().map(|e| e.file_name());
        names.filter(|name| !name.to_string_lossy().ends_with(".lock")).count()
    };
    assert_eq!(kept(), 0);
    // One that was killed in the middle.
    let path = model(&folder, "b.tgz", &[(FILE, "a", "x")]);
    let whole = arrived(&folder, &path).0.expect("whole").path;
    let partial = PathBuf::from(format!("{}.partial", whole.display()));
    fs::rename(&whole, &partial).expect("ours");
    fs::write(partial.join("half"), "x").expect("ours");
    assert_eq!(arrived(&folder, &path).0.expect("whole").path, whole);
    assert_eq!(tree(&whole), [("a".to_owned(), "x".to_owned())]);
    assert_eq!(kept(), 1);
}

#[test]
fn a_second_process_waits_for_the_first() {
    let folder = Folder::new();
    let path = model(&folder, "a.tgz", &[(FILE, "a", "x")]);
    let whole = arrived(&folder, &path).0.expect("whole").path;
    fs::remove_dir_all(&whole).expect("ours");
    let lock = fs::File::open(format!("{}.lock", whole.display())).expect("it stays");
    lock.lock().expect("nobody has it");
    let mut lock = Some(lock);
    let mut told = Vec::new();
    let arrived = arrive_in(&path, base(&folder), &mut |progress| {
        told.push(progress.doing);
        if progress.doing == "waiting" {
            // The first one is done.
            fs::create_dir(&whole).expect("ours");
            drop(lock.take());
        }
    });
    assert_eq!(arrived.expect("the first one's").path, whole);
    assert_eq!(told.last(), Some(&"waiting"));
}

#[test]
fn models_are_found_in_what_was_packed_around_them() {
    let cases: &[(&[Member], &str, Option<&str>)] = &[
        (&[(FILE, "tiny.gguf", "x")], "", None),
        (&[(FILE, "Tiny/config.json", "{}"), (FILE, "._Tiny", "mac")], "Tiny", None),
        (&[(FILE, "a/b/config.json", "{}")], "a/b", None),
        (&[(FILE, "a/config.json", "{}"), (FILE, "b", "")], "", Some("m")),
        (&[(FOLDER, "a", ""), (LINK, "b", "a")], "", Some("m")),
        (
            &[(FILE, "models--o--n/snapshots/r/config.json", "{}")],
            "models--o--n/snapshots/r",
            Some("o/n"),
        ),
    ];
    for (members, expect, name) in cases {
        let folder = Folder::new();
        let found = arrived(&folder, &model(&folder, "m.tar.gz", members)).0.expect("whole");
        let root = fs::read_dir(folder.0.join("cache/gimbal/models")).expect("there").flatten();
        let root = root.map(|entry| entry.path()).find(|path| path.is_dir()).expect("unpacked");
        let inner = if expect.is_empty() { root } else { root.join(expect) };
        assert_eq!((found.path, found.name.as_deref()), (inner, *name), "{members:?}");
    }
}

#[test]
fn a_model_of_hugging_faces_cache_is_its_snapshot() {
    let cases = [
        ("== models--o--n/snapshots/r1/config.json\n", Ok("models--o--n/snapshots/r1")),
        (
            "== models--o--n/refs/main\nr2\n== models--o--n/snapshots/r1/a\n\
             == models--o--n/snapshots/r2/a\n",
            Ok("models--o--n/snapshots/r2"),
        ),
        (
            "== models--o--n/snapshots/r1/a\n== models--o--n/snapshots/r2/a\n",
            Err("several snapshots, name one: "),
        ),
        (
            "== models--o--n/refs/main\nr3\n== models--o--n/snapshots/r1/a\n",
            Err("it names \"r3\", which is no folder of"),
        ),
        (
            "== models--o--n/refs/main\n../..\n== models--o--n/snapshots/r1/a\n",
            Err("it names \"../..\", which is no folder of"),
        ),
        ("== dir models--o--n/snapshots\n", Err("snapshots/ is empty")),
        // A folder that only has the name, or only has snapshots of something else.
        ("== models--o--n/config.json\n", Ok("models--o--n")),
        ("== models--o--n/a\n== plain/snapshots/r/a\n", Ok("models--o--n")),
    ];
    for (files, expect) in cases {
        let folder = Folder::new();
        folder.expand(files);
        let found = arrived(&folder, &folder.0.join("models--o--n")).0;
        match (expect, found) {
            (Ok(path), Ok(found)) => {
                assert_eq!(found.path, folder.0.join(path));
                let is_snapshot = path.contains("snapshots");
                assert_eq!(found.name.as_deref(), is_snapshot.then_some("o/n"));
            }
            (Err(expect), Err(why)) => assert!(why.contains(expect), "{why:?}, not {expect:?}"),
            (expect, found) => panic!("{found:?}, not {expect:?}"),
        }
    }
    // Files are links to blobs, and the snapshot itself may be named.
    let folder = Folder::new();
    folder.expand("== models--o--n/blobs/1\n{}\n== dir models--o--n/snapshots/r\n");
    let snapshot = folder.0.join("models--o--n/snapshots/r");
    symlink("../../blobs/1", snapshot.join("config.json")).expect("ours");
    let found = arrived(&folder, &snapshot).0.expect("there");
    assert_eq!(found, Arrived { path: snapshot.clone(), name: Some("o/n".to_owned()) });
    assert_eq!(fs::read_to_string(snapshot.join("config.json")).expect("a link"), "{}\n");
}

#[test]
fn what_is_no_archive_is_what_it_is() {
    let folder = Folder::new();
    folder.expand("== m.gguf\nx\n== dir folder.tar.gz\n");
    for name in ["m.gguf", "folder.tar.gz", "not-there.tgz", "not-there"] {
        let path = folder.0.join(name);
        let (found, told) = arrived(&folder, &path);
        assert_eq!(found, Ok(Arrived { path, name: None }));
        assert_eq!(told, []);
    }
    assert!(!folder.0.join("cache").exists());
}

#[test]
fn room_is_looked_at_before_a_file_is_written() {
    let free: fn(&Path) -> io::Result<u64> = |_| Ok(0);
    let limits = Limits { free, ..ROOMY };
    let packed = gzip(&tar(&[(FILE, "empty", ""), (FILE, "a", "x")]));
    let why = unpacked(&packed, &limits).expect_err("a full disk");
    assert!(why.starts_with("a has 1 bytes, and 0 are free in "), "{why}");
    assert!(why.ends_with("free some, or set XDG_CACHE_HOME to a folder with more"), "{why}");
}
