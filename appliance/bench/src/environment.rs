//! Where and when: what a figure means nothing without.
//!
//! Next: `report.rs`.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The machine the client ran on, and the command.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// The command line.
    pub command: String,
    /// When it began, in UTC.
    pub date: String,
    /// The client's processor.
    pub cpu: String,
    /// Its hardware threads that this process may use.
    pub threads: u32,
    /// The client's system.
    pub system: String,
    /// Version of this crate.
    pub bench_version: &'static str,
}

impl Environment {
    /// This machine, now.
    #[must_use]
    pub fn here(command: String) -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            command,
            date: date(seconds),
            cpu: cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            system: format!(
                "{} {} {}",
                std::env::consts::OS,
                std::env::consts::ARCH,
                kernel.trim()
            )
            .trim_end()
            .to_owned(),
            bench_version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The processor's name in Linux's list; Arm's has none.
fn cpu(info: &str) -> String {
    let value = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    };
    value("model name").or_else(|| value("CPU part")).unwrap_or_else(|| "unknown".to_owned())
}

/// Seconds since 1970 as a date, by Howard Hinnant's `civil_from_days`.
fn date(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        for (seconds, expect) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds), expect);
        }
    }

    #[test]
    fn processors_are_named_where_the_system_does() {
        assert_eq!(cpu("processor\t: 0\nmodel name\t: EPYC 1\n"), "EPYC 1");
        assert_eq!(cpu("CPU part\t: 0xd0c\n"), "0xd0c");
        assert_eq!(cpu(""), "unknown");
    }
}
