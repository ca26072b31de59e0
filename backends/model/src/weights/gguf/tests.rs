//! Hostile and valid files for the reader.

use super::*;

/// A small valid file: three metadata entries and two tensors.
fn valid() -> Vec<u8> {
    let mut f = Vec::new();
    let text = |f: &mut Vec<u8>, s: &str| {
        f.extend((s.len() as u64).to_le_bytes());
        f.extend(s.as_bytes());
    };
    f.extend(b"GGUF");
    f.extend(3_u32.to_le_bytes());
    f.extend(2_u64.to_le_bytes());
    f.extend(3_u64.to_le_bytes());
    text(&mut f, "general.name");
    f.extend(8_u32.to_le_bytes());
    text(&mut f, "tiny");
    text(&mut f, "flag");
    f.extend(7_u32.to_le_bytes());
    f.push(1);
    text(&mut f, "list");
    f.extend(9_u32.to_le_bytes());
    f.extend(5_u32.to_le_bytes());
    f.extend(2_u64.to_le_bytes());
    f.extend((-1_i32).to_le_bytes());
    f.extend(7_i32.to_le_bytes());
    for (name, dims, kind, offset) in [("a", vec![4_u64, 2], 0_u32, 0_u64), ("b", vec![32], 8, 32)]
    {
        text(&mut f, name);
        f.extend(u32::try_from(dims.len()).expect("few").to_le_bytes());
        dims.iter().for_each(|d| f.extend(d.to_le_bytes()));
        f.extend(kind.to_le_bytes());
        f.extend(offset.to_le_bytes());
    }
    f.resize(f.len().div_ceil(32) * 32, 0);
    (0..8).for_each(|i| f.extend((i as f32).to_le_bytes()));
    f.extend(0x3c00_u16.to_le_bytes());
    f.extend(0..32_u8);
    f
}

fn error(bytes: &[u8]) -> String {
    match parse(bytes) {
        Ok(_) => "no error".to_owned(),
        Err(fault) => fault.at(Path::new("f")).to_string(),
    }
}

#[test]
fn a_valid_file_is_read() {
    let (metadata, entries) =
        parse(&valid()).unwrap_or_else(|f| panic!("{}", f.at(Path::new("f"))));
    assert_eq!(metadata["general.name"], Value::Text("tiny".to_owned()));
    let Value::Array(list) = &metadata["list"] else { panic!("{:?}", metadata["list"]) };
    let whole = valid();
    let elements: Vec<Value> = list.elements(&whole).collect();
    assert_eq!(elements, [Value::Signed(-1), Value::Signed(7)]);
    assert_eq!((entries["a"].rows, entries["a"].cols), (2, 4));
    let b = &entries["b"];
    let mut values = [0.0; 32];
    b.dtype.read(&valid()[b.bytes.clone()], &mut values);
    assert_eq!(values[31], 31.0);
}

#[test]
fn every_truncation_is_an_error() {
    let whole = valid();
    for len in 0..whole.len() {
        assert_ne!(error(&whole[..len]), "no error", "length {len}");
    }
    assert_eq!(
        error(&whole[..6]),
        "f is broken: the version at byte 4 ends past the file's 6 bytes"
    );
}

/// No flipped bit may panic; most are errors, some (a name, a value, a weight) stay readable.
#[test]
fn no_flipped_bit_panics() {
    let whole = valid();
    let mut errors = 0;
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        errors += usize::from(error(&flipped) != "no error");
    }
    assert!(errors > 500, "{errors}");
}

#[test]
fn hostile_counts_are_refused_before_allocating() {
    let mut f = valid();
    f[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(error(&f).contains("18446744073709551615 tensors at byte 8 do not fit the file"));
    let mut f = valid();
    f[4] = 2;
    assert_eq!(error(&f), "no error", "version 2 has the same layout");
    f[4] = 1;
    assert_eq!(error(&f), "f is not supported: GGUF version 1; known: 2, 3");
}
