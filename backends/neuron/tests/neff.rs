//! The container of compiled programs: what is written is read, and of what is broken the field is named.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use gimbal_neuron::neff::{
    File, HEADER_BYTES, Header, NeffError, Package, Remedy, pack, unpack, verify,
};
use md5::{Digest, Md5};
use proptest::prelude::*;

/// Bytes that an archive may unpack to.
const UNPACKED_MAX: u64 = 1 << 20;

fn header(package: Package) -> Header {
    Header {
        package,
        version: [2, 5],
        compiler: "2.28.7631.0".to_owned(),
        cores: 2,
        uuid: *b"0123456789abcdef",
        name: "decode".to_owned(),
        cores_wanted: 1,
        features: 0x3,
        lnc: 2,
    }
}

fn files() -> Vec<File> {
    let long = format!("sg00/{}", "deep/".repeat(30));
    [("neff.json", &b"{}"[..]), ("sg00/def.json", &[7; 3000]), (&format!("{long}pe.bin"), b"")]
        .map(|(path, bytes)| File { path: path.to_owned(), bytes: bytes.to_vec() })
        .to_vec()
}

fn whole(package: Package) -> Vec<u8> {
    pack(&header(package), &files()).expect("a NEFF")
}

/// A NEFF around an archive of any kind.
fn around(archive: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(archive).expect("memory");
    let data = gzip.finish().expect("memory");
    let mut neff = pack(&header(Package::Gzip), &[]).expect("a NEFF");
    neff.truncate(HEADER_BYTES);
    neff[0x10..0x18].copy_from_slice(&(data.len() as u64).to_le_bytes());
    neff[0xAC..0xBC].copy_from_slice(&Md5::digest(&data));
    neff.extend(data);
    neff
}

/// An archive of one entry of this kind, path and content.
fn archive(kind: tar::EntryType, path: &str, bytes: &[u8], times: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for _ in 0..times {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        // As bytes: the crate's own setter refuses what a hostile archive has.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, bytes).expect("memory");
    }
    builder.into_inner().expect("memory")
}

#[test]
fn what_is_written_is_read_and_the_same_each_time() {
    for package in [Package::Plain, Package::Gzip] {
        let bytes = whole(package);
        assert_eq!(verify("a.neff", &bytes), Ok(header(package)));
        assert_eq!(unpack("a.neff", &bytes, UNPACKED_MAX), Ok((header(package), files())));
        assert_eq!(bytes, whole(package), "no time and no chance in it");
    }
}

#[test]
fn fields_lie_where_a_runtime_reads_them() {
    let bytes = whole(Package::Gzip);
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
    let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
    let data = &bytes[1024..];
    let words = [0, 8, 16, 24, 32, 0x220].map(word);
    assert_eq!(words, [2, 1024, data.len() as u64, 2, 5, 3]);
    assert_eq!([0xA8, 0x1DC, 0x228].map(half), [2, 1, 2]);
    assert_eq!(bytes[40..52], *b"2.28.7631.0\0");
    assert_eq!(bytes[0xDC..0xE3], *b"decode\0");
    assert_eq!(bytes[0xCC..0xDC], *b"0123456789abcdef");
    assert_eq!(bytes[0xAC..0xBC], Md5::digest(data)[..]);
    assert_eq!(bytes[0xBC..0xCC], [b'0'; 16]);
}

/// Bytes of the header that are others.
type Changes<'a> = &'a [(usize, &'a [u8])];

#[test]
fn the_field_that_is_wrong_is_named_with_what_to_do() {
    let cases: [(Changes<'_>, &str, Remedy); 13] = [
        (&[(0, &[3])], "package version (byte 0)", Remedy::CompileAgain),
        (&[(8, &[1])], "header size (byte 8)", Remedy::CompileAgain),
        (&[(16, &[1, 0, 0, 0])], "data size (byte 16)", Remedy::CopyAgain),
        (&[(16, &[0xFF; 8])], "data size (byte 16)", Remedy::CopyAgain),
        (&[(24, &[3])], "version (byte 24)", Remedy::MatchVersions),
        (&[(0xAC, &[0; 8])], "digest (byte 172)", Remedy::CopyAgain),
        (&[(0xCB, b"1")], "digest (byte 172)", Remedy::CopyAgain),
        (&[(0x223, &[8])], "features (byte 544)", Remedy::MatchVersions),
        (&[(0xA8, &[0])], "cores (byte 168)", Remedy::CompileAgain),
        (&[(0x1DC, &[0])], "cores of a load (byte 476)", Remedy::CompileAgain),
        (&[(0x228, &[4])], "physical cores of a logical core (byte 552)", Remedy::MatchVersions),
        (&[(40, &[b'x'; 128])], "compiler's version (byte 40)", Remedy::CompileAgain),
        (&[(0xDC, &[0xC3, 0])], "name (byte 220)", Remedy::CompileAgain),
    ];
    for (changes, field, remedy) in cases {
        let mut bytes = whole(Package::Gzip);
        for (at, new) in changes {
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
        let error = verify("model/decode.neff", &bytes).expect_err(field);
        assert_eq!((error.field, error.remedy), (field, remedy), "{changes:?}");
        let told = error.to_string();
        assert!(told.starts_with(&format!("model/decode.neff: {field}: ")), "{told}");
        assert!(told.contains("; "), "{told}");
    }
}

#[test]
fn what_a_header_cannot_hold_is_not_written() {
    let header = header(Package::Gzip);
    let wrong = [
        Header { compiler: "x".repeat(128), ..header.clone() },
        Header { name: "x".repeat(256), ..header.clone() },
        Header { name: "a\0b".to_owned(), ..header.clone() },
        Header { lnc: 3, ..header.clone() },
        Header { cores: 0, ..header.clone() },
        Header { version: [3, 0], ..header.clone() },
        Header { features: 1 << 40, ..header.clone() },
    ];
    for header in wrong {
        assert!(pack(&header, &files()).is_err(), "{header:?}");
    }
    let longest = Header { name: "x".repeat(255), ..header };
    assert!(pack(&longest, &files()).is_ok());
}

#[test]
fn archives_hold_files_within_them_and_nothing_else() {
    use tar::EntryType;
    let large = vec![0; usize::try_from(UNPACKED_MAX).expect("small") + 1];
    let cases = [
        (archive(EntryType::Regular, "/etc/passwd", b"x", 1), "no path within"),
        (archive(EntryType::Regular, "a/../../b", b"x", 1), "no path within"),
        (archive(EntryType::Regular, "a//b", b"x", 1), "no path within"),
        (archive(EntryType::Symlink, "a", b"", 1), "no file"),
        (archive(EntryType::Char, "a", b"", 1), "no file"),
        (archive(EntryType::Regular, "a", b"x", 2), "there twice"),
        (archive(EntryType::Regular, "a", &large, 1), "more than 1048576 bytes"),
        (archive(EntryType::Regular, "a", b"x", 1)[..600].to_vec(), ""),
        (b"not an archive at all".repeat(50), ""),
    ];
    for (archive, expect) in cases {
        let error = unpack("a.neff", &around(&archive), UNPACKED_MAX).expect_err(expect);
        assert_eq!(error.field, "archive (byte 1024)");
        assert!(error.why.contains(expect), "{expect}: {}", error.why);
    }
    let folder = archive(EntryType::Directory, "sg00/", b"", 1);
    assert!(unpack("a.neff", &around(&folder), UNPACKED_MAX).is_ok(), "a folder is no file");
    let dotted = archive(EntryType::Regular, "./sg00/a", b"x", 1);
    let (_, files) = unpack("a.neff", &around(&dotted), UNPACKED_MAX).expect("as tar writes it");
    assert_eq!(files[0].path, "sg00/a");
}

#[test]
fn what_unpacks_to_more_than_is_allowed_is_not_unpacked() {
    // Two gigabytes of zeros in two megabytes: what is read ends at the bound.
    let mut header = tar::Header::new_ustar();
    header.set_path("a").expect("a path");
    header.set_size(2 << 30);
    header.set_cksum();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(header.as_bytes()).expect("memory");
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        gzip.write_all(&zeros).expect("memory");
    }
    let mut neff = around(b"");
    neff.truncate(HEADER_BYTES);
    let data = gzip.finish().expect("memory");
    neff[0x10..0x18].copy_from_slice(&(data.len() as u64).to_le_bytes());
    neff[0xAC..0xBC].copy_from_slice(&Md5::digest(&data));
    neff.extend(data);
    let error = unpack("a.neff", &neff, UNPACKED_MAX).expect_err("it is too large");
    assert!(error.why.contains("more than"), "{}", error.why);
}

/// Any way of reading it; all that may come is an error with the file's name.
fn read(bytes: &[u8]) -> Result<Header, NeffError> {
    let read = unpack("a.neff", bytes, UNPACKED_MAX).map(|(header, _)| header);
    if let Err(error) = &read {
        assert_eq!(error.file, "a.neff");
    }
    read
}

proptest! {
    #[test]
    fn what_is_cut_off_is_refused(end in 0_usize..2000) {
        for package in [Package::Plain, Package::Gzip] {
            let bytes = whole(package);
            let end = end.min(bytes.len() - 1);
            let remedy = read(&bytes[..end]).expect_err("it is cut off").remedy;
            prop_assert_eq!(remedy, Remedy::CopyAgain);
        }
    }

    #[test]
    fn a_bit_of_the_data_that_flips_is_found(at in 1024_usize..1 << 20, bit in 0_u8..8) {
        for package in [Package::Plain, Package::Gzip] {
            let mut bytes = whole(package);
            let at = HEADER_BYTES + at % (bytes.len() - HEADER_BYTES);
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(read(&bytes).expect_err("a bit flipped").field, "digest (byte 172)");
        }
    }

    #[test]
    fn a_header_of_any_bytes_is_read_or_refused(
        changes in prop::collection::vec((0_usize..HEADER_BYTES, any::<u8>()), 0..8),
    ) {
        let mut bytes = whole(Package::Gzip);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        // What is read is written again with the same header.
        if let Ok(header) = read(&bytes) {
            let again = pack(&header, &files()).expect("it was read");
            prop_assert_eq!(verify("a.neff", &again), Ok(header));
        }
    }

    #[test]
    fn an_archive_of_any_bytes_is_read_or_refused(
        changes in prop::collection::vec((0_usize..4096, any::<u8>()), 0..8),
        end in 0_usize..4096,
    ) {
        let data = whole(Package::Plain)[HEADER_BYTES..].to_vec();
        let mut data = data[..data.len().min(end)].to_vec();
        for (at, byte) in changes {
            if let Some(place) = data.get_mut(at) {
                *place = byte;
            }
        }
        drop(read(&around(&data)));
    }
}
