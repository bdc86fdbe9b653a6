//! The client: what people and scripts type.

mod account;
mod again;
mod chain;
mod confirm;
mod context;
mod drain;
mod exit;
mod health;
mod import;
mod incident;
mod interchange;
mod key;
mod keystore_files;
mod launch;
mod lease;
mod logs;
mod machine;
mod node;
mod offer;
mod onchain;
mod output;
mod passwords;
mod progress;
mod protection;
mod registry;
mod seal;
mod staking;
mod typed;
mod upgrade;
mod validator;
mod vault;
mod voluntary_exit;
mod watch;
mod webhook;

pub(crate) use context::{Authed, Context, ContextArgs};
pub(crate) use exit::report;
pub(crate) use health::{columns as health_columns, line as describe_health};
pub(crate) use output::{money, table, word};

use clap::Subcommand;
use std::process::ExitCode;

/// What the client can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Machines that suppliers lend
    #[command(subcommand)]
    Machine(machine::Command),
    /// Machines at a price
    #[command(subcommand)]
    Offer(offer::Command),
    /// The right to use a machine until a time
    #[command(subcommand)]
    Lease(lease::Command),
    /// What an account has and owes
    #[command(subcommand)]
    Account(account::Command),
    /// URLs that are told what an account should know
    #[command(subcommand)]
    Webhook(webhook::Command),
    /// The catalogue of chains
    #[command(subcommand)]
    Chain(chain::Command),
    /// Nodes: what runs where, and how it is
    #[command(subcommand)]
    Node(node::Command),
    /// Show the health of a node
    Health(health::Health),
    /// Open problems, and who took them up
    #[command(subcommand)]
    Incident(incident::Command),
    /// Keys of validators: into the signer, and never out of it
    #[command(subcommand)]
    Key(key::Command),
    /// Validators: what signs, where, and for whom
    #[command(subcommand)]
    Validator(validator::Command),
    /// Prepare and check your Vault
    #[command(subcommand)]
    Vault(vault::Command),
}

/// Does it; the exit code is documented in the help.
pub(crate) fn run(context: &ContextArgs, command: Command) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return report(&error.into()),
    };
    let result = runtime.block_on(async {
        match command {
            Command::Machine(command) => machine::run(context, command).await,
            Command::Offer(command) => offer::run(context, command).await,
            Command::Lease(command) => lease::run(context, command).await,
            Command::Account(command) => account::run(context, command).await,
            Command::Webhook(command) => webhook::run(context, command).await,
            Command::Chain(command) => chain::run(context, command).await,
            Command::Node(command) => node::run(context, command).await,
            Command::Health(health) => health::run(context, health).await,
            Command::Incident(command) => incident::run(context, command).await,
            Command::Key(command) => key::run(context, command).await,
            Command::Validator(command) => validator::run(context, command).await,
            Command::Vault(command) => vault::run(command).await,
        }
    });
    // A stream may still be open; it ends with the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// A new request id: each command is one request.
fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
