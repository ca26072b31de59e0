//! Attacks on a real server over loopback: bounded in bytes and seconds, each with what it cost the
//! attacker and what the server and an honest client lost.
//!
//! Nothing is asserted here but that the server lives; the figures stand in `docs/security.md`. Reading
//! order: `target` (the server and who watches it), `memory`, `seats`, `sockets` (the attacks), `crowd`
//! (overload and clients that leave, for minutes).

mod crowd;
mod memory;
mod seats;
mod sockets;
mod target;

pub use crowd::{disconnects, overload};
pub use target::Target;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// What an attacker sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Bytes over the socket.
    pub bytes: u64,
}

/// One attack.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    run: fn(&Target) -> anyhow::Result<Spent>,
}

/// All of them.
pub const ATTACKS: &[Attack] = &[
    Attack { name: "tree", what: "5 bodies of 25 MB of `{\"\":0}` at once", run: memory::trees },
    Attack {
        name: "stops",
        what: "one body: 256 prompts and 500,000 stop strings",
        run: memory::stop_list,
    },
    Attack {
        name: "stop-ids",
        what: "one body: 256 prompts and 24 MB of stop tokens",
        run: memory::stop_ids,
    },
    Attack {
        name: "choices",
        what: "220 requests of 128 choices and 64 stops of 1,024 letters",
        run: memory::choices,
    },
    Attack {
        name: "echo",
        what: "24 clients that want 650 KB 128 times and do not read",
        run: memory::echoes,
    },
    Attack {
        name: "bodies",
        what: "19 connections hold 105 MB of bodies that do not end",
        run: sockets::bodies,
    },
    Attack { name: "idle", what: "4,096 connections with half a head", run: sockets::idle },
    Attack {
        name: "ghosts",
        what: "1,100 requests of 4,000 tokens, a byte more, and gone",
        run: sockets::ghosts,
    },
    Attack {
        name: "messages",
        what: "2 connections: a million empty messages, again and again",
        run: sockets::messages,
    },
    Attack {
        name: "detokenize",
        what: "2 connections: 25 MB of token ids, again and again",
        run: sockets::detokenize,
    },
    Attack {
        name: "names",
        what: "2 connections: a model's name of 24 MB, again and again",
        run: sockets::names,
    },
    Attack {
        name: "tokenize",
        what: "64 connections tokenize 300 KB, again and again",
        run: sockets::tokenize,
    },
    Attack {
        name: "refusals",
        what: "8 connections ask for a route that is not there",
        run: sockets::refusals,
    },
    Attack {
        name: "n",
        what: "one request of 168 bytes: 128 choices of 8,000 tokens",
        run: seats::many_choices,
    },
    Attack { name: "long", what: "32 requests of 1,000 tokens", run: seats::long_answers },
    Attack { name: "prompts", what: "8 prompts of 7,900 tokens", run: seats::long_prompts },
];

/// Runs attacks, each on a fresh server, and writes a line of a Markdown table for each.
///
/// # Errors
/// A server does not start.
pub fn run(
    binary: &Path,
    model: &Path,
    names: &[String],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    writeln!(
        out,
        "| attack | sent | seconds | server's peak | `/ping` p50, p99, max | not 200 | honest first \
         token p50, max | log | server |\n|---|---|---|---|---|---|---|---|---|"
    )?;
    for attack in ATTACKS {
        if !names.is_empty() && !names.iter().any(|name| name == attack.name) {
            continue;
        }
        let target = Target::start(binary, model, &[])?;
        let watch = target.watch();
        let begun = Instant::now();
        let spent = (attack.run)(&target);
        let seconds = begun.elapsed().as_secs_f64();
        // What comes after the last byte counts too.
        std::thread::sleep(Duration::from_secs(2));
        let seen = watch.end();
        let lives = if target.is_alive() { "lives" } else { "ENDED" };
        let sent = match spent {
            Ok(spent) => format!("{:.1} MB", spent.bytes as f64 / 1e6),
            Err(error) => format!("({error:#})"),
        };
        writeln!(
            out,
            "| {} | {sent} | {seconds:.0} | {seen} | {} KB | {lives} |",
            attack.what,
            target.log_bytes() / 1000
        )?;
        out.flush()?;
    }
    Ok(())
}
