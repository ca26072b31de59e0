//! The fake compiler as a program: `gimbal_libnrt::compiler`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match gimbal_libnrt::compiler::run(&arguments) {
        Ok(told) => {
            #[expect(clippy::print_stdout, reason = "a program's answer")]
            {
                println!("{told}");
            }
            ExitCode::SUCCESS
        }
        Err(refused) => {
            eprintln!("{}", refused.why);
            ExitCode::from(refused.code)
        }
    }
}
