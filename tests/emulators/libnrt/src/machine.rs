//! The machine that is emulated: a script in TOML, named by `GIMBAL_TEST_NRT`.
//!
//! Next: `border.rs`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use neuron_sys::{Family, InstanceSize, Status};
use serde::Deserialize;

/// Names the file.
const VARIABLE: &str = "GIMBAL_TEST_NRT";

/// Instances that a script may name.
///
/// **Source**: AWS Neuron's documentation, `about-neuron/arch/neuron-hardware`; a chip of Inferentia2 and
/// Trainium1 has two cores and 32 GiB, one of Trainium2 eight and 96 GiB.
const INSTANCES: [Instance; 6] = [
    Instance::new("inf2.xlarge", Family::INF2, InstanceSize::XL1, 2, 16),
    Instance::new("inf2.48xlarge", Family::INF2, InstanceSize::XL48, 24, 16),
    Instance::new("trn1.2xlarge", Family::TRN1, InstanceSize::XL2, 2, 16),
    Instance::new("trn1.32xlarge", Family::TRN1, InstanceSize::XL32, 32, 16),
    Instance::new("trn2.3xlarge", Family::TRN2, InstanceSize::XL3, 8, 12),
    Instance::new("trn2.48xlarge", Family::TRN2, InstanceSize::XL48, 128, 12),
];

/// What an instance has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instance {
    name: &'static str,
    /// Its family.
    pub(crate) family: Family,
    /// Its size.
    pub(crate) size: InstanceSize,
    /// Physical cores.
    cores: u32,
    /// Memory of each.
    gib: u64,
}

impl Instance {
    const fn new(
        name: &'static str,
        family: Family,
        size: InstanceSize,
        cores: u32,
        gib: u64,
    ) -> Self {
        Self { name, family, size, cores, gib }
    }
}

/// A script.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Script {
    instance: String,
    cores: Option<u32>,
    memory: Option<u64>,
    lnc: u32,
    version: String,
    absent: bool,
    latency_us: u64,
    timeout_ms: u64,
    locks: Option<PathBuf>,
    report: Option<PathBuf>,
    fail: Vec<Failure>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            instance: "inf2.xlarge".to_owned(),
            cores: None,
            memory: None,
            lnc: 1,
            version: "2.35.0.0".to_owned(),
            absent: false,
            latency_us: 0,
            timeout_ms: 2000,
            locks: None,
            report: None,
            fail: Vec::new(),
        }
    }
}

/// A call that fails by script.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    /// The function's symbol, such as `nrt_execute`.
    pub(crate) call: String,
    /// Which of its calls, from 1.
    pub(crate) nth: u32,
    /// What happens.
    #[serde(flatten)]
    pub(crate) how: How,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// It answers this at once.
    Status(i32),
    /// It hangs.
    Hang(Hang),
}

/// How long a call hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Hang {
    /// Until the runtime gives up, which answers `NRT_TIMEOUT`.
    Timeout,
    /// It never comes back.
    Forever,
}

/// The machine of a script.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// What it is.
    pub(crate) instance: Instance,
    /// Logical cores.
    pub(crate) cores: u32,
    /// Bytes of memory of each logical core.
    pub(crate) memory: u64,
    /// Physical cores of a logical one.
    pub(crate) lnc: u32,
    /// Major, minor, patch, maintenance.
    pub(crate) version: [u64; 4],
    /// There is no device.
    pub(crate) is_absent: bool,
    /// How long each execution takes at least.
    pub(crate) latency: Duration,
    /// After how long the runtime gives up.
    pub(crate) timeout: Duration,
    /// The folder whose locked files say which cores are in use.
    pub(crate) locks: Option<PathBuf>,
    /// What `nrt_close` writes its report beside: `PATH.PID`.
    pub(crate) report: Option<PathBuf>,
    /// Calls that fail.
    pub(crate) fail: Vec<Failure>,
}

impl Machine {
    /// The one that the environment names, or an inf2.xlarge.
    pub(crate) fn load() -> Result<Self, String> {
        let Some(path) = std::env::var_os(VARIABLE) else { return Self::read("", Path::new("")) };
        let at = |error: &dyn std::fmt::Display| {
            format!("{VARIABLE}={}: {error}", path.to_string_lossy())
        };
        let text = std::fs::read_to_string(&path).map_err(|error| at(&error))?;
        let folder = Path::new(&path).parent().unwrap_or(Path::new(""));
        Self::read(&text, folder).map_err(|error| at(&error))
    }

    /// The machine of a script in a folder, from which its paths count.
    fn read(text: &str, folder: &Path) -> Result<Self, String> {
        let script: Script = toml::from_str(text).map_err(|error| error.to_string())?;
        let named = INSTANCES.iter().find(|instance| instance.name == script.instance);
        let instance = *named.ok_or_else(|| {
            let known = INSTANCES.map(|instance| instance.name).join(", ");
            format!("instance = {:?}: not {known}", script.instance)
        })?;
        let is_lnc = script.lnc == 1 || script.lnc == 2 && instance.family == Family::TRN2;
        if !is_lnc {
            return Err(format!("lnc = {}: 1, or 2 of trn2", script.lnc));
        }
        let numbers: Option<Vec<u64>> =
            script.version.split('.').map(|part| part.parse().ok()).collect();
        let version = numbers.and_then(|numbers| numbers.try_into().ok());
        let version =
            version.ok_or_else(|| format!("version = {:?}: not four numbers", script.version))?;
        // Who says that it did what it did not do.
        let may_lie = |call: &str| ["nrt_execute", "nrt_tensor_write"].contains(&call);
        let is_wrong = |f: &&Failure| {
            f.nth == 0 || f.how == How::Status(0) && !may_lie(&f.call) || !is_known(&f.call)
        };
        if let Some(wrong) = script.fail.iter().find(is_wrong) {
            return Err(format!(
                "{wrong:?}: calls count from 1, the function must be one of libnrt's that answers a \
                 status, and the status is 0 of nrt_execute and nrt_tensor_write only"
            ));
        }
        Ok(Self {
            instance,
            cores: script.cores.unwrap_or(instance.cores / script.lnc),
            memory: script.memory.unwrap_or((instance.gib * u64::from(script.lnc)) << 30),
            lnc: script.lnc,
            version,
            is_absent: script.absent,
            latency: Duration::from_micros(script.latency_us),
            timeout: Duration::from_millis(script.timeout_ms),
            locks: script.locks.map(|path| folder.join(path)),
            report: script.report.map(|path| folder.join(path)),
            fail: script.fail,
        })
    }
}

impl How {
    /// What the call answers, if it comes back.
    pub(crate) fn status(self) -> Option<Status> {
        match self {
            Self::Status(status) => Some(Status(status)),
            Self::Hang(Hang::Timeout) => Some(Status::TIMEOUT),
            Self::Hang(Hang::Forever) => None,
        }
    }
}

/// A function that is here and answers a status.
fn is_known(call: &str) -> bool {
    let answers_nothing =
        ["nrt_close", "nrt_tensor_free", "nrt_destroy_tensor_set", "nrt_tensor_get_size"];
    let all = [neuron_sys::Functions::REQUIRED, neuron_sys::Functions::OPTIONAL].concat();
    all.contains(&call) && !answers_nothing.contains(&call)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Machine, String> {
        Machine::read(text, Path::new("/folder"))
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let cases = [
            ("instance = \"inf3.xlarge\"", "not inf2.xlarge"),
            ("memroy = 1", "unknown field `memroy`"),
            ("lnc = 2", "1, or 2 of trn2"),
            ("instance = \"trn2.48xlarge\"\nlnc = 4", "1, or 2 of trn2"),
            ("version = \"2.34\"", "not four numbers"),
            ("fail = [{ call = \"nrt_init\", nth = 0, status = 1 }]", "count from 1"),
            ("fail = [{ call = \"nrt_init\", nth = 1, status = 0 }]", "is 0 of nrt_execute"),
            ("fail = [{ call = \"nrt_int\", nth = 1, status = 1 }]", "one of libnrt's"),
            ("fail = [{ call = \"nrt_close\", nth = 1, status = 1 }]", "answers a status"),
            ("fail = [{ call = \"nrt_init\", nth = 1, hang = \"long\" }]", "long"),
            ("fail = [{ call = \"nrt_init\", nth = 1 }]", "fail"),
        ];
        for (text, expect) in cases {
            let error = read(text).expect_err(text);
            assert!(error.contains(expect), "{text}: {error}");
        }
    }

    #[test]
    fn a_logical_core_of_two_has_the_memory_of_both() {
        let machine = |lnc: u32| {
            read(&format!("instance = \"trn2.48xlarge\"\nlnc = {lnc}")).expect("a machine")
        };
        let told = [1, 2].map(|lnc| (machine(lnc).cores, machine(lnc).memory >> 30));
        assert_eq!(told, [(128, 12), (64, 24)]);
    }

    #[test]
    fn a_script_says_which_call_fails_and_how() {
        let text = "report = \"account\"\nfail = [
            { call = \"nrt_execute\", nth = 3, status = 1201 },
            { call = \"nrt_load\", nth = 1, hang = \"timeout\" },
            { call = \"nrt_load\", nth = 2, hang = \"forever\" },
        ]";
        let machine = read(text).expect("a machine");
        let told: Vec<_> = machine.fail.iter().map(|f| (f.nth, f.how.status())).collect();
        let expect = [(3, Some(Status(1201))), (1, Some(Status::TIMEOUT)), (2, None)];
        assert_eq!(told, expect);
        assert_eq!(machine.report.as_deref(), Some(Path::new("/folder/account")));
    }
}
