//! Compiled programs: their containers, as they are and with the digest that fits what was changed, and the manifests
//! of bundles.

use gimbal_neuron::bundle::Manifest;
use gimbal_neuron::neff::{File, HEADER_BYTES, Header, Package, pack, unpack};
use md5::{Digest, Md5};

pub(crate) const WORDS: &[&str] = &["ustar", "neff.json", "sg00/def.json", "../", "path="];

/// Bytes that an archive may unpack to.
const UNPACKED_MAX: u64 = 1 << 20;

/// What is read is written again with the same header.
pub(crate) fn neff(bytes: &[u8]) {
    read(bytes);
    // A digest ends most inputs at once: what is behind it is looked at, too.
    if bytes.len() > HEADER_BYTES {
        let mut whole = bytes.to_vec();
        let data = &bytes[HEADER_BYTES..];
        whole[0x10..0x18].copy_from_slice(&(data.len() as u64).to_le_bytes());
        whole[0xAC..0xBC].copy_from_slice(&Md5::digest(data));
        whole[0xBC..0xCC].fill(b'0');
        read(&whole);
    }
}

fn read(bytes: &[u8]) {
    let Ok((header, files)) = unpack("fuzz.neff", bytes, UNPACKED_MAX) else { return };
    let size: usize = files.iter().map(|file| file.bytes.len()).sum();
    assert!(size as u64 <= UNPACKED_MAX, "no more than was allowed");
    // A path that is read may be longer than one that is written.
    if let Ok(again) = pack(&header, &files) {
        assert_eq!(unpack("again.neff", &again, UNPACKED_MAX), Ok((header, files)));
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let files = [("neff.json", &b"{}"[..]), ("sg00/def.json", &[7; 600])]
        .map(|(path, bytes)| File { path: path.to_owned(), bytes: bytes.to_vec() });
    [Package::Plain, Package::Gzip]
        .map(|package| {
            let header = Header {
                package,
                version: [2, 0],
                compiler: "2.28".to_owned(),
                cores: 1,
                uuid: [0; 16],
                name: "decode".to_owned(),
                cores_wanted: 1,
                features: 0,
                lnc: 1,
            };
            pack(&header, &files).expect("a NEFF")
        })
        .to_vec()
}

pub(crate) const MANIFEST_WORDS: &[&str] =
    &["\"alias\":", "\"sha256\":", "\"shape\":[", "18446744073709551615", "null", "../", "inf2"];

/// What is read is written as something that reads the same.
pub(crate) fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::read(bytes) else { return };
    let text = serde_json::to_vec(&manifest).expect("it was JSON");
    assert_eq!(Manifest::read(&text), Ok(manifest));
}

pub(crate) fn manifest_seeds() -> Vec<Vec<u8>> {
    let stored = |file: &str| serde_json::json!({ "file": file, "bytes": 9, "sha256": "0123456789abcdef".repeat(4) });
    let state = serde_json::json!({ "name": "keys.0", "dtype": "F32", "shape": [9, 2] });
    let [mut input, mut output] = [state.clone(), state];
    input["from"] = "state".into();
    output["alias"] = "keys.0".into();
    let manifest = serde_json::json!({
        "format": "gimbal.neuron/1",
        "model": "m",
        "fingerprint": "0123456789abcdef".repeat(4),
        "target": "trn2",
        "lnc": 2,
        "ranks": 2,
        "compiler": {
            "version": "2.28", "flags": ["-O1"], "sdk": "2.33.0", "runtime": [2, 35],
        },
        "programs": [{
            "sequences": 4, "rows_each": 1, "context": 2048, "neff": stored("decode.neff"),
            "inputs": [input], "outputs": [output],
        }],
        "weights": [{ "rank": 1, "stored": stored("weights.safetensors") }],
    });
    let text = manifest.to_string().into_bytes();
    assert!(Manifest::read(&text).is_ok(), "the seed is a manifest");
    vec![text]
}
