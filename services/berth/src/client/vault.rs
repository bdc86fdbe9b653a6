//! `berth vault`: preparing and checking the operator's Vault. Talks to Vault
//! itself, not to Berth.

use super::output::{OutputArgs, table};
use anyhow::{Context as _, ensure};
use berth_secrets::bootstrap::{BootstrapPlan, bootstrap};
use berth_secrets::check::check;
use berth_secrets::{AdminVault, VaultConfig, deliver_secret_id};
use clap::{Args, Subcommand};
use secrecy::SecretString;
use std::path::PathBuf;

/// Longest file with a token, in bytes.
const MAX_TOKEN: usize = 64 << 10;

/// What can be done with Vault.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the mounts, authorities, policies and roles that Berth needs
    Bootstrap(Bootstrap),
    /// Try what Berth needs, and say what is missing
    Check(Check),
}

/// How an administrator reaches Vault.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Address of the server
    #[arg(long, env = "VAULT_ADDR", value_name = "URL")]
    address: String,
    /// File with a token that may administer it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token; better in a file or the environment
    #[arg(
        long,
        env = "VAULT_TOKEN",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    token: Option<String>,
    /// PEM file with the authority of its certificate
    #[arg(long, env = "VAULT_CACERT", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// What the names of Berth's mounts, roles and policies begin with
    #[arg(long, default_value = "berth")]
    mount_prefix: String,
}

/// Arguments of `bootstrap`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth vault bootstrap --address https://vault:8200 --token-file admin.token --dry-run
  berth vault bootstrap --address https://vault:8200 --token-file admin.token \\
      --secret-id-dir /etc/berth/secret-id")]
pub(crate) struct Bootstrap {
    #[command(flatten)]
    server: Server,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also put a secret id for each role into this folder (0600)
    #[arg(long, value_name = "DIR")]
    secret_id_dir: Option<PathBuf>,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    output: OutputArgs,
}

impl Server {
    fn admin(&self) -> anyhow::Result<AdminVault> {
        let token = match (&self.token_file, &self.token) {
            (Some(path), _) => berth_input::file::text(path, MAX_TOKEN)
                .with_context(|| format!("cannot read the token {}", path.display()))?
                .trim()
                .to_owned(),
            (None, Some(token)) => token.clone(),
            (None, None) => anyhow::bail!("no token: pass --token-file or set VAULT_TOKEN"),
        };
        Ok(AdminVault {
            address: self.address.clone(),
            ca_file: self.ca_file.clone(),
            token: SecretString::from(token),
        })
    }

    fn plan(&self) -> BootstrapPlan {
        BootstrapPlan {
            mount_prefix: self.mount_prefix.clone(),
            ..BootstrapPlan::default()
        }
    }
}

pub(super) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Bootstrap(arguments) => prepare(arguments).await,
        Command::Check(arguments) => examine(arguments).await,
    }
}

async fn prepare(arguments: Bootstrap) -> anyhow::Result<()> {
    let admin = arguments.server.admin()?;
    let mut plan = arguments.server.plan();
    plan.dry_run = arguments.dry_run;
    println!("{}", bootstrap(&admin, &plan).await?);
    let Some(dir) = arguments.secret_id_dir.filter(|_| !plan.dry_run) else {
        return Ok(());
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for role in &plan.roles {
        let file = dir.join(&role.name);
        let mut login = VaultConfig::new(&admin.address, admin.ca_file.clone(), &role.name, &file);
        login.mount_prefix.clone_from(&plan.mount_prefix);
        if deliver_secret_id(&admin, &login).await? {
            println!("put a secret id for {} into {}", role.name, file.display());
        }
    }
    Ok(())
}

async fn examine(arguments: Check) -> anyhow::Result<()> {
    let admin = arguments.server.admin()?;
    let probes = check(&admin, &arguments.server.plan()).await;
    let failed = probes.iter().filter(|probe| !probe.ok()).count();
    if arguments.output.is_json() {
        let all: Vec<_> = probes
            .iter()
            .map(|probe| {
                serde_json::json!({
                    "name": probe.name, "ok": probe.ok(),
                    "problem": probe.problem, "remedy": probe.remedy,
                })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
    } else {
        let rows = probes.iter().map(|probe| {
            [
                probe.name.clone(),
                if probe.ok() { "ok" } else { "failed" }.to_owned(),
                probe.problem.clone().unwrap_or_default(),
                probe.remedy.clone().unwrap_or_default(),
            ]
        });
        println!(
            "{}",
            table(["probe", "result", "problem", "what to do"], rows.collect())
        );
    }
    ensure!(failed == 0, "{failed} of {} probes failed", probes.len());
    Ok(())
}
