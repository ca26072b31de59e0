//! Simulated devices by a YAML file: how many, how large, and what goes wrong with them.
//!
//! The file stands for the hardware: it is read again whenever devices are looked for, so what it says
//! may change under a server that runs. What it can say is in `docs/simulation.md`.

use std::path::PathBuf;
use std::time::Duration;

use gimbal_hal::{
    Artifact, Class, DeviceError, DeviceInfo, Fit, Host, Platform, Probe, Profile, Reading, Seat,
    Servable, Unfit,
};
use gimbal_sim::{Config, Cost, Incident, Reads, Script, Sensors, SimPlatform, Time};
use serde::Deserialize;

use crate::failure::Failure;

/// Simulated devices.
#[derive(Clone, Debug)]
pub(crate) struct Simulation {
    path: Option<PathBuf>,
    class: Class,
}

/// What a file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Machine {
    /// They pass for accelerators, which are tried before the CPU.
    accelerator: bool,
    /// How many there are.
    devices: u16,
    /// Memory of each.
    memory_bytes: u64,
    /// What each tells of itself when it is asked how it is; without a word it tells nothing.
    memory_used_bytes: Option<u64>,
    load: Option<f64>,
    temperature: Option<f64>,
    errors: Option<u64>,
    /// What becomes of those who look for them.
    probe: Probing,
    /// Microseconds of a step, and of each of its rows.
    step_us: f64,
    row_us: f64,
    /// Steps, counted from 0 in each process that opens a device, at which it is lost.
    lost_at: Vec<u64>,
    /// Opening a device fails, for this reason.
    broken: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Probing {
    #[default]
    Found,
    Absent,
    Crash,
    Hang,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            accelerator: false,
            devices: 1,
            memory_bytes: 1 << 30,
            memory_used_bytes: None,
            load: None,
            temperature: None,
            errors: None,
            probe: Probing::default(),
            step_us: 1000.0,
            row_us: 100.0,
            lost_at: Vec::new(),
            broken: None,
        }
    }
}

impl Simulation {
    /// Those of a file, or the one that is always there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn of(path: Option<PathBuf>) -> Result<Self, Failure> {
        let mut simulation = Self { path, class: Class::Simulated };
        if simulation.machine().map_err(Failure::usage)?.accelerator {
            simulation.class = Class::Accelerator;
        }
        Ok(simulation)
    }

    fn machine(&self) -> Result<Machine, String> {
        let Some(path) = &self.path else { return Ok(Machine::default()) };
        let told = |why: String| format!("simulation = {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|e| told(e.to_string()))?;
        serde_yaml::from_str(&text).map_err(|e| told(e.to_string()))
    }

    fn platform(&self, machine: &Machine) -> SimPlatform {
        let incidents: Vec<_> = machine.lost_at.iter().map(|at| (*at, Incident::Lost)).collect();
        let config = Config {
            vocab: 0,
            cost: Cost { step_us: machine.step_us, row_us: machine.row_us, ..Cost::NONE },
            time: Time::Real,
            reads: Reads::All,
            script: Script::new(&incidents),
        };
        let devices = vec![machine.memory_bytes; usize::from(machine.devices)];
        let Machine { memory_used_bytes, load, temperature, errors, .. } = *machine;
        let sensors = Sensors { memory_used_bytes, load, temperature, errors };
        SimPlatform { devices, sensors, class: self.class, ..SimPlatform::new(config) }
    }

    /// As the file is now; one that cannot be read any more is as a machine without devices.
    fn now(&self) -> SimPlatform {
        let none = Machine { devices: 0, ..Machine::default() };
        self.platform(&self.machine().unwrap_or(none))
    }
}

impl Platform for Simulation {
    fn name(&self) -> &'static str {
        gimbal_sim::NAME
    }

    fn class(&self) -> Class {
        self.class
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn probe(&self, host: &Host) -> Probe {
        let machine = match self.machine() {
            Ok(machine) => machine,
            Err(why) => return Probe::Absent { why },
        };
        match machine.probe {
            Probing::Found if machine.devices > 0 => self.platform(&machine).probe(host),
            Probing::Found | Probing::Absent => {
                Probe::Absent { why: "the simulation has no devices".to_owned() }
            }
            Probing::Crash => std::process::abort(),
            Probing::Hang => loop {
                std::thread::sleep(Duration::from_secs(60));
            },
        }
    }

    fn fit(
        &self,
        devices: &[DeviceInfo],
        artifact: &Artifact,
        profile: &Profile,
    ) -> Result<Fit, Unfit> {
        self.now().fit(devices, artifact, profile)
    }

    fn open(&self, fit: &Fit, seat: Seat, artifact: &Artifact) -> Result<Servable, DeviceError> {
        let machine = self.machine().map_err(|why| DeviceError::Lost { why })?;
        match &machine.broken {
            Some(why) => Err(DeviceError::Lost { why: why.clone() }),
            None => self.platform(&machine).open(fit, seat, artifact),
        }
    }

    fn settings(&self) -> &'static [&'static str] {
        self.now().settings()
    }

    fn readings(&self) -> Vec<Reading> {
        self.now().readings()
    }
}
