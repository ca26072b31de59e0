//! The committed PTX. ISA 7.4: drivers from R470 (CUDA 11.4) on read it.

static SM75: &str = include_str!("../ptx/sm75.ptx");
static SM80: &str = include_str!("../ptx/sm80.ptx");

/// The module for a device of that compute capability (`86` is 8.6); none below 7.5.
#[must_use]
pub fn ptx(capability: u32) -> Option<&'static str> {
    match capability {
        80.. => Some(SM80),
        75..80 => Some(SM75),
        _ => None,
    }
}
