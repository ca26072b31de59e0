//! `gimbal completions SHELL` and `gimbal man`: what a package installs beside the binary.

use std::io::Write;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::print;

/// The commands.
pub(super) fn commands() -> [Command; 2] {
    let shell = Arg::new("SHELL").required(true).value_parser(value_parser!(Shell));
    [
        Command::new("completions")
            .about("Prints completions for a shell: bash, elvish, fish, powershell, zsh")
            .arg(shell.help("For bash: gimbal completions bash > /etc/bash_completion.d/gimbal")),
        Command::new("man").about("Prints the manual page: gimbal man | man -l -"),
    ]
}

/// Prints completions of the whole command line.
pub(super) fn completions(matches: &ArgMatches, mut command: Command) -> Result<(), Failure> {
    let Some(shell) = matches.get_one::<Shell>("SHELL") else {
        return Err(Failure::usage("a shell is needed"));
    };
    let mut text = Vec::new();
    clap_complete::generate(*shell, &mut command, "gimbal", &mut text);
    print::stdout(text)
}

/// Prints one page for the whole command line: that of the program, then one for each command.
pub(super) fn man(mut command: Command) -> Result<(), Failure> {
    command.build();
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut text).map_err(anyhow::Error::from)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let page = clap_mangen::Man::new(sub.clone());
        writeln!(text, ".SH \"GIMBAL {}\"", sub.get_name().to_uppercase())
            .and_then(|()| page.render_synopsis_section(&mut text))
            .and_then(|()| page.render_description_section(&mut text))
            .and_then(|()| page.render_options_section(&mut text))
            .map_err(anyhow::Error::from)?;
    }
    print::stdout(text)
}
