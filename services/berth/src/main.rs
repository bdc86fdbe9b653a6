//! The `berth` executable: every control-plane role, the client, and
//! `berth dev`, which runs all of Berth on one machine.
//!
//! Deliberately absent: the signer, which is an executable of its own so that
//! the process that holds keys has no code that opens SSH or Docker.

#[cfg(test)]
mod arguments;
mod client;
mod demo;
mod dev;
mod serve;

use clap::{CommandFactory as _, Parser, Subcommand};
use std::process::ExitCode;

/// Runs validator nodes on leased machines.
#[derive(Debug, Parser)]
#[command(name = "berth", version, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    context: client::ContextArgs,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  berth dev --data-dir ./berth-dev --machines 3
  berth node launch --chain cosmos-devnet --role full --name n1 --max-price 1.00 --wait
  berth node list --output json

Exit codes: 0 done · 1 failed · 2 wrong usage or a wrong field · 3 not found
            4 not permitted · 5 state forbids it · 6 nothing free or no funds
            7 not reachable · 8 not finished in time";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one service
    Serve(serve::Serve),
    /// Run all of Berth on this machine, with machines of its own
    Dev(dev::Dev),
    /// Launch a node on a machine of this box, and watch it follow a real chain
    Demo(demo::Demo),
    /// Print the completion script of a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    #[command(flatten)]
    Client(client::Command),
}

fn main() -> ExitCode {
    // Once, before any TLS; a second provider in the process is a bug.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        return ExitCode::FAILURE;
    }
    if let Err(problem) = berth_input::arguments::check(std::env::args_os()) {
        eprintln!("error: {problem}");
        return ExitCode::from(2);
    }
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Dev(dev) => dev::run(&dev),
        Command::Demo(demo) => demo::run(&demo),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "berth", &mut std::io::stdout());
            Ok(())
        }
        Command::Client(command) => return client::run(&cli.context, command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => client::report(&error),
    }
}
