//! The files of `tests/isa`: headings and rows.

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Word,
    Float,
    Half,
    Double,
    Predicate,
}

/// Forms of one meaning, and what they take.
#[derive(Debug)]
pub(crate) struct Heading {
    pub(crate) forms: Vec<String>,
    pub(crate) result: Kind,
    pub(crate) operands: Vec<Kind>,
}

/// Bits of a row: the result, then the operands.
pub(crate) type Row = Vec<u64>;

/// All of all files.
pub(crate) fn vectors() -> Vec<(Heading, Vec<Row>)> {
    let files = [
        include_str!("../isa/integers.txt"),
        include_str!("../isa/floats.txt"),
        include_str!("../isa/conversions.txt"),
        include_str!("../isa/comparisons.txt"),
    ];
    let mut all: Vec<(Heading, Vec<Row>)> = Vec::new();
    for line in files.iter().flat_map(|file| file.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((forms, kinds)) = line.split_once(" : ") {
            let kinds: Vec<Kind> =
                kinds.split_whitespace().filter(|k| *k != "=").map(kind).collect();
            let forms = forms.split_whitespace().map(str::to_owned).collect();
            let heading = Heading { forms, result: kinds[0], operands: kinds[1..].to_vec() };
            all.push((heading, Vec::new()));
            continue;
        }
        let (heading, rows) = all.last_mut().expect("a heading comes first");
        let kinds = [&[heading.result], &heading.operands[..]].concat();
        let values: Vec<&str> = line.split_whitespace().filter(|value| *value != "=").collect();
        assert_eq!(values.len(), kinds.len(), "{line}");
        rows.push(values.iter().zip(kinds).map(|(value, kind)| bits(value, kind)).collect());
    }
    all
}

fn kind(name: &str) -> Kind {
    match name {
        "w" => Kind::Word,
        "f" => Kind::Float,
        "h" => Kind::Half,
        "q" => Kind::Double,
        "p" => Kind::Predicate,
        other => panic!("the kind {other}"),
    }
}

fn bits(value: &str, kind: Kind) -> u64 {
    if let Some(hex) = value.strip_prefix("0f").or_else(|| value.strip_prefix("0x")) {
        return u64::from_str_radix(hex, 16).expect(value);
    }
    if kind == Kind::Float {
        return match value.parse::<f32>().expect(value) {
            nan if nan.is_nan() => 0x7fff_ffff,
            number => number.to_bits().into(),
        };
    }
    let whole = value.parse::<i128>().expect(value).cast_unsigned();
    let mask = match kind {
        Kind::Double => u64::MAX.into(),
        Kind::Half => 0xffff,
        _ => u128::from(u32::MAX),
    };
    u64::try_from(whole & mask).expect("masked")
}
