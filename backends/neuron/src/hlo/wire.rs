//! Bytes → messages, with every field accounted for: one that `proto` does not have is refused by its
//! path and number, where protobuf would read past it.
//!
//! Next: `module.rs`, what messages mean.

use prost::Message;

use super::proto::HloModule;

/// Fields of a message that carry messages; others are values.
#[derive(Debug)]
struct Known {
    /// The message's name, for errors.
    name: &'static str,
    /// Numbers of fields with values.
    values: &'static [u64],
    /// Numbers of fields with messages, and those.
    messages: &'static [(u64, &'static Self)],
    /// Numbers of fields that say nothing about what is computed.
    harmless: &'static [u64],
}

const LAYOUT: Known = Known { name: "LayoutProto", values: &[1, 16], messages: &[], harmless: &[] };
static SHAPE: Known = Known {
    name: "ShapeProto",
    values: &[2, 3, 6],
    messages: &[(4, &ELEMENT), (5, &LAYOUT)],
    harmless: &[],
};
/// A tuple's element: no tuple, for nothing here makes a tuple of tuples.
static ELEMENT: Known =
    Known { name: "ShapeProto", values: &[2, 3, 6], messages: &[(5, &LAYOUT)], harmless: &[] };
static LITERAL: Known = Known {
    name: "LiteralProto",
    values: &[2, 4, 6, 8, 13],
    messages: &[(1, &SHAPE)],
    harmless: &[],
};
static PROGRAM: Known = Known {
    name: "ProgramShapeProto",
    values: &[3],
    messages: &[(1, &SHAPE), (2, &SHAPE)],
    harmless: &[],
};
static SLICE: Known =
    Known { name: "SliceDimensions", values: &[1, 2, 3], messages: &[], harmless: &[] };
static DOT: Known =
    Known { name: "DotDimensionNumbers", values: &[1, 2, 3, 4], messages: &[], harmless: &[] };
static GATHER: Known =
    Known { name: "GatherDimensionNumbers", values: &[1, 2, 3, 4], messages: &[], harmless: &[] };
static SCATTER: Known =
    Known { name: "ScatterDimensionNumbers", values: &[1, 2, 3, 4], messages: &[], harmless: &[] };
static GROUP: Known = Known { name: "ReplicaGroup", values: &[1], messages: &[], harmless: &[] };
static ENTRY: Known = Known { name: "map entry", values: &[1, 2], messages: &[], harmless: &[] };
static ATTRIBUTES: Known =
    Known { name: "FrontendAttributes", values: &[], messages: &[(1, &ENTRY)], harmless: &[] };
static INSTRUCTION: Known = Known {
    name: "HloInstructionProto",
    values: &[1, 2, 9, 14, 34, 35, 36, 38, 63],
    messages: &[
        (3, &SHAPE),
        (8, &LITERAL),
        (17, &SLICE),
        (30, &DOT),
        (33, &GATHER),
        (48, &SCATTER),
        (49, &GROUP),
        (68, &ATTRIBUTES),
    ],
    // metadata, indices_are_sorted, unique_indices: where it comes from, and hints.
    harmless: &[7, 67, 69],
};
static COMPUTATION: Known = Known {
    name: "HloComputationProto",
    values: &[1, 5, 6],
    messages: &[(2, &INSTRUCTION), (4, &PROGRAM)],
    harmless: &[],
};
static ALIAS_ENTRY: Known =
    Known { name: "AliasEntryProto", values: &[1, 2, 3, 4], messages: &[], harmless: &[] };
static ALIAS: Known = Known {
    name: "HloInputOutputAliasProto",
    values: &[],
    messages: &[(1, &ALIAS_ENTRY)],
    harmless: &[],
};
static MODULE: Known = Known {
    name: "HloModuleProto",
    values: &[1, 2, 5, 6],
    messages: &[(3, &COMPUTATION), (4, &PROGRAM), (8, &ALIAS)],
    // stack_frame_index: lines of the program that wrote it.
    harmless: &[17],
};

/// Reads a module's messages.
///
/// # Errors
/// The bytes are no such message, or have a field that nothing here reads.
pub fn decode(bytes: &[u8]) -> Result<HloModule, String> {
    check(bytes, &MODULE)?;
    HloModule::decode(bytes).map_err(|error| format!("no HloModuleProto: {error}"))
}

/// Walks the fields of a message. As deep as `Known` is, so bytes cannot make it deeper.
fn check(mut bytes: &[u8], known: &'static Known) -> Result<(), String> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes, known)?;
        let (field, kind) = (key >> 3, key & 7);
        let content = content(&mut bytes, kind, known)?;
        if known.values.contains(&field) || known.harmless.contains(&field) {
            continue;
        }
        let message = known.messages.iter().find(|(number, _)| *number == field);
        let Some((_, message)) = message else {
            return Err(format!("{} has a field {field}, which is not read here", known.name));
        };
        let Some(content) = content else {
            return Err(format!("{}: field {field} is no message", known.name));
        };
        check(content, message)?;
    }
    Ok(())
}

/// Passes a field's content; the bytes of one that has a length.
fn content<'a>(bytes: &mut &'a [u8], kind: u64, known: &Known) -> Result<Option<&'a [u8]>, String> {
    let length = match kind {
        0 => {
            varint(bytes, known)?;
            return Ok(None);
        }
        1 => 8,
        2 => varint(bytes, known)?,
        5 => 4,
        _ => return Err(format!("{}: wire type {kind}", known.name)),
    };
    let split = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
    let Some((content, rest)) = split else {
        return Err(format!("{}: the bytes end within a field", known.name));
    };
    *bytes = rest;
    Ok((kind == 2).then_some(content))
}

fn varint(bytes: &mut &[u8], known: &Known) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else {
            return Err(format!("{}: the bytes end within a number", known.name));
        };
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(format!("{}: a number of more than 64 bits", known.name))
}

#[cfg(test)]
mod tests {
    use super::super::proto::{HloComputation, HloInstruction};
    use super::*;

    #[test]
    fn what_is_not_read_is_refused() {
        let module = HloModule { name: "m".to_owned(), ..HloModule::default() };
        let mut bytes = module.encode_to_vec();
        assert_eq!(decode(&bytes), Ok(module));
        // is_dynamic, field 11, true.
        bytes.extend([11 << 3, 1]);
        let told = "HloModuleProto has a field 11, which is not read here";
        assert_eq!(decode(&bytes), Err(told.to_owned()));
        // precision_config (51) of an instruction, in a computation (3), as field 2 of it.
        let instruction = HloInstruction { id: 1, ..HloInstruction::default() };
        let mut inner = instruction.encode_to_vec();
        inner.extend([0x9a, 0x03, 0]);
        let length = |bytes: &[u8]| u8::try_from(bytes.len()).expect("short");
        let computation = [&[2 << 3 | 2, length(&inner)], inner.as_slice()].concat();
        let outer = [&[3 << 3 | 2, length(&computation)], computation.as_slice()].concat();
        let told = "HloInstructionProto has a field 51, which is not read here";
        assert_eq!(decode(&outer), Err(told.to_owned()));
    }

    #[test]
    fn cut_bytes_are_errors() {
        let computation = HloComputation { name: "c".to_owned(), id: 7, ..Default::default() };
        let module = HloModule { computations: vec![computation], ..HloModule::default() };
        let bytes = module.encode_to_vec();
        for end in 1..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "{end} bytes");
        }
        assert!(decode(&[0xff; 16]).is_err());
    }
}
