//! Chromium, for the tests of the dashboard and its picture: installed where we may, else named.
//!
//! It is the one thing that `cargo xtask test` does without: its tests skip aloud.

use std::process::Command;

use crate::command::{self, succeeds};

/// Debian's package, and the program in it.
const CHROMIUM: &str = "chromium";
/// Another apt-get may be at work, and mirrors hiccup. No answer in so long is none.
const PATIENCE: [&str; 3] =
    ["DPkg::Lock::Timeout=120", "Acquire::Retries=2", "Acquire::http::Timeout=60"];

/// True when it is there, if need be after installing it as root.
pub(crate) fn ensure() -> bool {
    if is_there() {
        return true;
    }
    if !is_root() {
        warn("it is not installed");
        return false;
    }
    eprintln!("installing {CHROMIUM}, for the tests of the dashboard");
    let installed = apt_get(&["update", "--quiet"])
        .and_then(|()| apt_get(&["install", "--yes", "--no-install-recommends", CHROMIUM]));
    if let Err(error) = installed {
        warn(&format!("{error:#}"));
        return false;
    }
    is_there()
}

fn is_there() -> bool {
    succeeds(CHROMIUM, &["--version"])
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    for option in PATIENCE {
        apt.args(["--option", option]);
    }
    command::run(&mut apt)
}

fn warn(why: &str) {
    eprintln!(
        "\nWARNING: no {CHROMIUM}: {why}\n  The tests of the dashboard in a browser are skipped.\n  \
         Install it: apt-get install {CHROMIUM}\n"
    );
}
