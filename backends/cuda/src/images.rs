//! Which of the committed images a device may be given: cubins first, then PTX.
//!
//! A cubin is machine code: it needs none of the driver's compiler and none of its cache. PTX is what a
//! device gets for which there is no cubin. Nothing is loaded here; who loads takes the next image where
//! the driver refuses one. Next: `ptx`.
//!
//! **Source**: NVIDIA Ada GPU Architecture Compatibility Guide, 1.2 (a cubin runs on devices of the same
//! major and the same or a higher minor compute capability); CUDA Compatibility, minor version
//! compatibility (what a toolkit of 11.x or 12.x makes loads on every driver from 11.0 or 12.0 on); PTX
//! ISA, release history (7.4 came with CUDA 11.4).

use std::io::Read;

use flate2::read::GzDecoder;

use crate::ptx;

/// The lowest compute capability that there are kernels for.
const CAPABILITY_MIN: [u32; 2] = [7, 5];
/// The first CUDA version whose driver reads our PTX: R470.
const PTX_DRIVER_MIN: [u32; 2] = [11, 4];

/// Machine code for an architecture.
struct Cubin {
    capability: [u32; 2],
    /// The major version of its assembler, which the driver must have.
    assembler: u32,
    packed: &'static [u8],
}

/// In rising order.
static CUBINS: [Cubin; 7] = [
    cubin([7, 5], 11, include_bytes!("../ptx/sm75.cubin.gz")),
    cubin([8, 0], 11, include_bytes!("../ptx/sm80.cubin.gz")),
    cubin([8, 6], 11, include_bytes!("../ptx/sm86.cubin.gz")),
    cubin([8, 9], 11, include_bytes!("../ptx/sm89.cubin.gz")),
    cubin([9, 0], 11, include_bytes!("../ptx/sm90.cubin.gz")),
    cubin([10, 0], 12, include_bytes!("../ptx/sm100.cubin.gz")),
    cubin([12, 0], 12, include_bytes!("../ptx/sm120.cubin.gz")),
];

const fn cubin(capability: [u32; 2], assembler: u32, packed: &'static [u8]) -> Cubin {
    Cubin { capability, assembler, packed }
}

/// What `cuModuleLoadData` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The file it comes from, for people: `sm89.cubin`, `sm80.ptx`.
    pub name: String,
    /// A cubin, or PTX with the zero at its end that the driver looks for.
    pub bytes: Vec<u8>,
}

/// Why there is no image for a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The device is too old.
    #[error(
        "a device of compute capability {}.{}: kernels need {}.{} or later; use a T4 (g4dn) or a newer GPU",
        .0[0], .0[1], CAPABILITY_MIN[0], CAPABILITY_MIN[1]
    )]
    Capability([u32; 2]),
    /// The driver is too old.
    #[error(
        "a driver of CUDA {}.{}: kernels need {}.{} (R470) or later; update the driver, or give SageMaker's \
         endpoint a newer `InferenceAmiVersion`",
        .0[0], .0[1], PTX_DRIVER_MIN[0], PTX_DRIVER_MIN[1]
    )]
    Driver([u32; 2]),
}

impl Cubin {
    fn runs_on(&self, capability: [u32; 2], driver: [u32; 2]) -> bool {
        self.capability[0] == capability[0]
            && self.capability[1] <= capability[1]
            && self.assembler <= driver[0]
    }

    fn image(&self) -> Image {
        let mut bytes = Vec::new();
        let outcome = GzDecoder::new(self.packed).read_to_end(&mut bytes);
        outcome.expect("a test unpacks each of them");
        let [major, minor] = self.capability;
        Image { name: format!("sm{major}{minor}.cubin"), bytes }
    }
}

/// What to try to load on a device, best first; never empty.
///
/// `capability` is the device's (8.6 is `[8, 6]`), `driver` the CUDA version that the driver knows (11.4 is
/// `[11, 4]`).
///
/// NVIDIA's boards for embedding are of capabilities of their own (8.7, 11.0), and that a cubin of the
/// same major runs there is promised for other devices only: the PTX behind it is for them.
///
/// **Errors**: the device or its driver is older than any image.
pub fn images(capability: [u32; 2], driver: [u32; 2]) -> Result<Vec<Image>, Refused> {
    if capability < CAPABILITY_MIN {
        return Err(Refused::Capability(capability));
    }
    let cubins = CUBINS.iter().rev().filter(|cubin| cubin.runs_on(capability, driver));
    let mut images: Vec<Image> = cubins.map(Cubin::image).collect();
    if driver >= PTX_DRIVER_MIN {
        let (name, text) = ptx::module(capability[0] * 10 + capability[1])
            .ok_or(Refused::Capability(capability))?;
        images.push(Image { name: name.to_owned(), bytes: [text.as_bytes(), &[0]].concat() });
    }
    if images.is_empty() { Err(Refused::Driver(driver)) } else { Ok(images) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(device: &str, capability: [u32; 2], driver: [u32; 2], expect: &[&str]) {
        let images = images(capability, driver).expect(device);
        let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, expect, "{device}");
        for image in &images {
            match image.name.ends_with(".ptx") {
                true => {
                    assert!(image.bytes.ends_with(b"}\n\n\0") || image.bytes.ends_with(b"}\n\0"))
                }
                false => assert!(image.bytes.starts_with(b"\x7fELF"), "{}", image.name),
            }
        }
    }

    #[test]
    fn a_device_gets_its_nearest_cubin_first_and_ptx_last() {
        check("T4 on R470", [7, 5], [11, 4], &["sm75.cubin", "sm75.ptx"]);
        check("T4 on R450", [7, 5], [11, 0], &["sm75.cubin"]);
        check("A100", [8, 0], [11, 4], &["sm80.cubin", "sm80.ptx"]);
        check("A10G", [8, 6], [11, 4], &["sm86.cubin", "sm80.cubin", "sm80.ptx"]);
        let of_ada = &["sm89.cubin", "sm86.cubin", "sm80.cubin", "sm80.ptx"];
        check("L4", [8, 9], [12, 2], of_ada);
        check("H100", [9, 0], [11, 8], &["sm90.cubin", "sm80.ptx"]);
        check("H100", [9, 0], [12, 2], &["sm90.cubin", "sm80.ptx"]);
        check("H200", [9, 0], [12, 8], &["sm90.cubin", "sm80.ptx"]);
        check("B200", [10, 0], [12, 8], &["sm100.cubin", "sm80.ptx"]);
        check("B300", [10, 3], [12, 9], &["sm100.cubin", "sm80.ptx"]);
        check("RTX PRO 6000", [12, 0], [12, 9], &["sm120.cubin", "sm80.ptx"]);
        check("RTX PRO 6000", [12, 0], [13, 0], &["sm120.cubin", "sm80.ptx"]);
        check("Turing on a driver of today", [7, 5], [13, 0], &["sm75.cubin", "sm75.ptx"]);
    }

    #[test]
    fn devices_without_a_cubin_of_their_own_are_given_what_the_rule_gives() {
        check("8.7", [8, 7], [12, 2], &["sm86.cubin", "sm80.cubin", "sm80.ptx"]);
        check("8.8", [8, 8], [13, 0], &["sm86.cubin", "sm80.cubin", "sm80.ptx"]);
        check("10.1", [10, 1], [12, 8], &["sm100.cubin", "sm80.ptx"]);
        check("12.1", [12, 1], [13, 0], &["sm120.cubin", "sm80.ptx"]);
        check("a major without cubins", [11, 0], [13, 0], &["sm80.ptx"]);
        check("a major to come", [13, 0], [14, 0], &["sm80.ptx"]);
        // Assembled by 12.9, and this driver is of the major before.
        check("B200 on a driver of 11.8", [10, 0], [11, 8], &["sm80.ptx"]);
    }

    #[test]
    fn what_is_too_old_is_refused_with_the_limit_and_the_remedy() {
        let old = images([7, 0], [12, 2]).expect_err("a V100").to_string();
        assert!(old.contains("capability 7.0") && old.contains("need 7.5 or later"), "{old}");
        for (capability, driver) in [([7, 5], [10, 2]), ([11, 0], [11, 3]), ([8, 6], [0, 0])] {
            let old = images(capability, driver).expect_err("an old driver");
            assert_eq!(old, Refused::Driver(driver));
            let old = old.to_string();
            assert!(old.contains(&format!("CUDA {}.{}", driver[0], driver[1])), "{old}");
            assert!(old.contains("11.4 (R470)") && old.contains("InferenceAmiVersion"), "{old}");
        }
    }

    #[test]
    fn every_cubin_is_for_the_architecture_that_it_is_kept_under() {
        for cubin in &CUBINS {
            let Image { name, bytes } = cubin.image();
            // Two layouts of an ELF file's flags, told apart by the version of the ABI.
            let sm = if bytes[8] == 8 { bytes[49] } else { bytes[48] };
            assert_eq!(u32::from(sm), cubin.capability[0] * 10 + cubin.capability[1], "{name}");
            // EM_CUDA.
            assert_eq!(bytes[18..20], [190, 0], "{name}");
        }
    }
}
