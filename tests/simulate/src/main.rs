//! The commands of the simulation; `scheduler/docs/scheduler.md` says what each is for.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use gimbal_simulate::bench::Crowd;
use gimbal_simulate::{Scenario, lab, mutants, run};

const USAGE: &str = "\
usage: gimbal-simulate COMMAND
  seeds [COUNT] [FIRST]   run COUNT seeds (1000000) from FIRST (0) on all cores
  mutants [NAME…]         break the scheduler on purpose, one way after the other
  bench                   what a step costs the host
  lab [--help]            what a policy is worth on a simulated device
";

/// Threads that run seeds.
const THREADS_MAX: usize = 64;

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = std::io::stdout().lock();
    let done = match arguments.as_slice() {
        ["seeds", rest @ ..] => seeds(rest, &mut out),
        ["mutants", rest @ ..] => mutants::run_all(rest, &mut out),
        ["bench"] => bench(&mut out),
        ["lab", rest @ ..] => lab::run_command(rest, &mut out),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn seeds(arguments: &[&str], out: &mut impl Write) -> Result<(), Failure> {
    let argument =
        |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse::<u64>());
    let (count, first) = (argument(0, 1_000_000)?, argument(1, 0)?);
    let begin = Instant::now();
    let threads = std::thread::available_parallelism()?.get().min(THREADS_MAX);
    std::thread::scope(|scope| {
        let stride = |thread| (first + thread..first + count).step_by(threads);
        let run_all = |thread| move || stride(thread).for_each(run_one);
        for handle in
            (0..threads as u64).map(|thread| scope.spawn(run_all(thread))).collect::<Vec<_>>()
        {
            handle.join().map_err(|_| "a rule is broken; its seed is printed above")?;
        }
        Ok::<(), Failure>(())
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    writeln!(
        out,
        "{count} seeds from {first}: every rule held ({seconds:.0} s, {threads} threads)"
    )?;
    Ok(())
}

fn run_one(seed: u64) {
    let scenario = Scenario::new(seed);
    let outcome = std::panic::catch_unwind(|| run(&scenario));
    if let Err(panic) = outcome {
        eprintln!("replay with GIMBAL_SEED={seed} cargo test -p gimbal-simulate --test seeds");
        std::panic::resume_unwind(panic);
    }
}

fn bench(out: &mut impl Write) -> Result<(), Failure> {
    writeln!(out, "one step of the scheduler, schedule and commit, every sequence decoding")?;
    for sequences in [1, 8, 32, 64, 128, 256] {
        for prefix_cache in [false, true] {
            let mut crowd = Crowd::new(sequences, prefix_cache);
            let mut micros: Vec<f64> = (0..3000).map(|_| time_step(&mut crowd)).collect();
            micros.sort_by(f64::total_cmp);
            let (median, p99) = (micros[1500], micros[2970]);
            writeln!(
                out,
                "{sequences:4} sequences, prefix cache {}: median {median:6.1} µs, p99 {p99:6.1} µs",
                if prefix_cache { "on " } else { "off" },
            )?;
        }
    }
    Ok(())
}

fn time_step(crowd: &mut Crowd) -> f64 {
    let (mut total, mut begin) = (0.0, Instant::now());
    crowd.step(|begins| match begins {
        true => begin = Instant::now(),
        false => total += begin.elapsed().as_secs_f64() * 1e6,
    });
    total
}
