//! `weir completions`: what a shell completes.

use clap::CommandFactory;
use std::process::ExitCode;

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

const EXAMPLES: &str = "Examples:
  weir completions bash > /etc/bash_completion.d/weir
  weir completions zsh  > \"${fpath[1]}/_weir\"
  weir completions fish > ~/.config/fish/completions/weir.fish";

pub fn run(arguments: &Arguments) -> ExitCode {
    let shell = match arguments.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    // Into memory first: clap_complete panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Arguments::command(), "weir", &mut script);
    put!("{}", String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
