//! The command line of the agent.

use std::io::{Read, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use berth_agent::config::{Config, DEFAULT_PATH};
use berth_agent::heartbeat::Heartbeat;
use berth_agent::identity::{MAX_CHAIN, Store};
use berth_agent::run::{Pace, run};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Measures a node and tells Berth.
#[derive(Debug, Parser)]
#[command(name = "berth-agent", version)]
struct Arguments {
    /// Configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// What to do; `run` when absent.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Measure and send until told to stop.
    Run,
    /// Print a certificate request (PKCS#10, PEM) for the agent's key.
    Csr,
    /// Take the certificate chain (PEM) on standard input as the agent's own.
    InstallCertificate,
    /// Succeed when the running agent measured lately.
    Healthcheck,
}

fn main() -> ExitCode {
    if let Err(problem) = berth_input::arguments::check(std::env::args_os()) {
        eprintln!("berth-agent: {problem}");
        return ExitCode::from(2);
    }
    match act(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("berth-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: &Arguments) -> Result<()> {
    let config = Config::load(&arguments.config)
        .with_context(|| format!("configuration {}", arguments.config.display()))?;
    let store = Store::new(config.identity.clone());
    match arguments.command.unwrap_or(Command::Run) {
        Command::Run => measure(config),
        Command::Csr => {
            print!("{}", store.csr()?);
            Ok(())
        }
        Command::InstallCertificate => {
            let mut chain = String::new();
            stdin()
                .take(MAX_CHAIN as u64 + 1)
                .read_to_string(&mut chain)
                .context("cannot read standard input")?;
            store.install(&chain)?;
            Ok(())
        }
        Command::Healthcheck => {
            let age = Heartbeat::new(config.state_dir())
                .age()
                .context("no round of probes has ended yet")?;
            let patience = Heartbeat::patience(config.interval());
            ensure!(
                age <= patience,
                "the last round of probes ended {} s ago",
                age.as_secs()
            );
            Ok(())
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn measure(config: Config) -> Result<()> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_target(false)
        .init();
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        bail!("a TLS provider stands already");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let node = &config.node;
    tracing::info!(
        node_id = node.node_id,
        placement_id = node.placement_id,
        fence = node.fence,
        chain = node.chain,
        "agent starts"
    );
    let result = run(config, Pace::default(), stop).await;
    tracing::info!("agent stops");
    result
}
