//! The `berth-signer` executable.

use anyhow::Context as _;
use berth_process::Process;
use berth_runtime::platform::Platform;
use berth_runtime::tasks::Tasks;
use berth_secrets::Vault;
use berth_signer::config::{DEFAULTS, File};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use secrecy::SecretString;
use std::path::PathBuf;
use std::process::ExitCode;

/// The role in certificates, Vault and telemetry.
const ROLE: &str = "signer";

/// Holds validator keys and signs what can never be slashed.
#[derive(Debug, Parser)]
#[command(
    name = "berth-signer",
    version,
    after_help = "Examples:
  berth-signer --print-config > signer.toml
  berth-signer migrate --database-url postgres://owner@db/berth_signer --grant-to berth_signer
  berth-signer serve --config /etc/berth/signer.toml
  berth-signer reanchor --config /etc/berth/signer.toml --dry-run

Any number of replicas serve one database; no two databases serve one key."
)]
struct Cli {
    /// Print the commented defaults and end
    #[arg(long, exclusive = true)]
    print_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign, until told to end
    Serve(Serve),
    /// Prepare the database, as its owner; again after each upgrade
    Migrate(Migrate),
    /// Let a restored or promoted database sign again; raises every watermark
    Reanchor(Reanchor),
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file, laid over the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(&self) -> anyhow::Result<File> {
        Ok(berth_signer::config::load(self.config.as_deref())?)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth-signer serve --config /etc/berth/signer.toml
  BERTH__SIGNER__DUTY_LISTEN=0.0.0.0:7208 berth-signer serve")]
struct Serve {
    #[command(flatten)]
    config: ConfigArgs,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth-signer migrate --database-url postgres://owner@db/berth_signer --grant-to berth_signer
  BERTH_DATABASE_URL=postgres:///berth_signer berth-signer migrate --grant-to berth_signer")]
struct Migrate {
    /// The database, as its owner; in the environment where it holds a password
    #[arg(
        long,
        env = "BERTH_DATABASE_URL",
        hide_env_values = true,
        value_name = "URL"
    )]
    database_url: SecretString,
    /// The role that serves; it owns nothing
    #[arg(long, value_name = "ROLE")]
    grant_to: String,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth-signer reanchor --config /etc/berth/signer.toml --dry-run
  berth-signer reanchor --config /etc/berth/signer.toml

Stop every signer on another database first. Every watermark goes above what can
have been signed until now, which costs each validator two to three epochs.")]
struct Reanchor {
    #[command(flatten)]
    config: ConfigArgs,
    /// Say what is wrong and what would be raised, and change nothing
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    // Before anything else: no key may ever stand in a file.
    if let Err(error) = berth_signer::process::no_dumps() {
        eprintln!("error: cannot turn core dumps off: {error}");
        return ExitCode::FAILURE;
    }
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
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        _ if cli.print_config => print!("{DEFAULTS}"),
        None => Cli::command().print_help()?,
        Some(Command::Serve(arguments)) => {
            if arguments.end_with_parent {
                berth_process::end_with_parent()?;
            }
            let file = arguments.config.load()?;
            tokio::runtime::Runtime::new()?.block_on(serve(&file))?;
        }
        Some(Command::Migrate(arguments)) => {
            tokio::runtime::Runtime::new()?.block_on(migrate(arguments))?;
        }
        Some(Command::Reanchor(arguments)) => {
            let file = arguments.config.load()?;
            tokio::runtime::Runtime::new()?.block_on(reanchor(&file, arguments.dry_run))?;
        }
    }
    Ok(())
}

async fn serve(file: &File) -> anyhow::Result<()> {
    let process = Process {
        role: ROLE,
        telemetry: &file.telemetry,
        vault: &file.vault,
        peers: &file.peers,
    };
    let start = async |platform: &Platform, vault: &Vault, tasks: &mut Tasks| {
        berth_signer::start(&file.signer, platform, vault, tasks).await
    };
    Ok(process.serve(start).await?)
}

async fn migrate(arguments: Migrate) -> anyhow::Result<()> {
    berth_signer::store::install::install(&arguments.database_url, &arguments.grant_to)
        .await
        .context("cannot prepare the database")?;
    println!("the database is prepared; {} may serve", arguments.grant_to);
    Ok(())
}

async fn reanchor(file: &File, dry_run: bool) -> anyhow::Result<()> {
    let vault = Vault::connect(file.vault.of(ROLE)).await?;
    let outcome = berth_signer::reanchor(&file.signer, &vault, dry_run).await;
    vault.log_out().await;
    let found = outcome?;
    match found.problem {
        Some(problem) => println!("nothing is signed on this database: {problem}"),
        None => println!("the database was the anchored one"),
    }
    let verb = if dry_run { "would raise" } else { "raised" };
    for (ceiling, count) in found.chains {
        println!(
            "{verb} {count} validators of {} to slot {}, source {} and target {} where they were lower",
            ceiling.chain, ceiling.slot, ceiling.source, ceiling.target
        );
    }
    if found.withdrawn > 0 {
        let verb = if dry_run { "would disable" } else { "disabled" };
        println!(
            "{verb} {} validators that their owners withdrew, which this database does not know",
            found.withdrawn
        );
    }
    if !dry_run {
        println!("the database is anchored; running signers take notice within seconds");
    }
    Ok(())
}
