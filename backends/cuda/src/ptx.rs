//! The committed PTX. ISA 7.4: drivers from R470 (CUDA 11.4) on read it. Next: `images`, which of it and
//! of the cubins a device is given.

static SM75: &str = include_str!("../ptx/sm75.ptx");
static SM80: &str = include_str!("../ptx/sm80.ptx");

/// The module for a device of that compute capability (`86` is 8.6); none below 7.5.
#[must_use]
pub fn ptx(capability: u32) -> Option<&'static str> {
    module(capability).map(|(_, text)| text)
}

/// The same, with the file's name.
pub(crate) fn module(capability: u32) -> Option<(&'static str, &'static str)> {
    match capability {
        80.. => Some(("sm80.ptx", SM80)),
        75..80 => Some(("sm75.ptx", SM75)),
        _ => None,
    }
}
