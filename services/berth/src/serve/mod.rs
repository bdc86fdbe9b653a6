//! `berth serve <role>`: one service in this process.

mod config;
#[cfg(test)]
mod hostile;

use crate::serve::config::{Config, DEFAULTS};
use berth_process::Process;
use berth_runtime::config::Loaded;
use berth_runtime::platform::Platform;
use berth_runtime::tasks::Tasks;
use berth_secrets::Vault;
use clap::{Args, ValueEnum};
use std::fmt;
use std::path::PathBuf;

/// What a process can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Suppliers, machines and offers.
    Inventory,
    /// Leases and the ledger.
    Leasing,
    /// Chains, nodes and placements.
    Provisioning,
    /// Signals and health.
    Monitoring,
    /// The public endpoint.
    Gateway,
}

impl Role {
    /// Every role, in the order in which `berth dev` starts them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Inventory,
        Self::Leasing,
        Self::Monitoring,
        Self::Provisioning,
        Self::Gateway,
    ];

    /// The name in certificates, Vault and configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Leasing => "leasing",
            Self::Provisioning => "provisioning",
            Self::Monitoring => "monitoring",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Arguments of `berth serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth serve leasing --config /etc/berth/berth.toml
  BERTH__LEASING__LISTEN=0.0.0.0:7202 berth serve leasing
  berth serve --print-config > berth.toml")]
pub(crate) struct Serve {
    /// What to serve
    #[arg(required_unless_present = "print_config")]
    role: Option<Role>,
    /// Configuration file, laid over the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the commented defaults and end
    #[arg(long)]
    print_config: bool,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

/// Runs a service until it is told to end.
pub(crate) fn run(serve: &Serve) -> anyhow::Result<()> {
    let Some(role) = serve.role.filter(|_| !serve.print_config) else {
        print!("{DEFAULTS}");
        return Ok(());
    };
    if serve.end_with_parent {
        berth_process::end_with_parent()?;
    }
    let loaded = berth_runtime::config::read(DEFAULTS, serve.config.as_deref())?;
    let config: Config = loaded.whole()?;
    check(role, &loaded)?;
    tokio::runtime::Runtime::new()?.block_on(service(role, &config, &loaded))
}

/// Reads the role's own section before anything is connected to.
fn check(role: Role, loaded: &Loaded) -> anyhow::Result<()> {
    let name = role.name();
    loaded.check_numbers(&[name, "telemetry", "vault", "peers"])?;
    let database = match role {
        Role::Inventory => loaded.section::<berth_inventory::Config>(name)?.database,
        Role::Leasing => loaded.section::<berth_leasing::Config>(name)?.database,
        Role::Monitoring => loaded.section::<berth_monitoring::Config>(name)?.database,
        Role::Gateway => loaded.section::<berth_gateway::Config>(name)?.database,
        Role::Provisioning => loaded.section::<berth_provisioning::Config>(name)?.database,
    };
    Ok(database.check(name)?)
}

async fn service(role: Role, config: &Config, loaded: &Loaded) -> anyhow::Result<()> {
    let process = Process {
        role: role.name(),
        telemetry: &config.telemetry,
        vault: &config.vault,
        peers: &config.peers,
    };
    let start = async |platform: &Platform, vault: &Vault, tasks: &mut Tasks| {
        match role {
            Role::Inventory => {
                berth_inventory::start(&loaded.section(role.name())?, platform, tasks).await
            }
            Role::Leasing => {
                let section = loaded.section(role.name())?;
                berth_leasing::start(&section, platform, vault.clone(), tasks).await
            }
            Role::Monitoring => {
                berth_monitoring::start(&loaded.section(role.name())?, platform, tasks).await
            }
            Role::Gateway => {
                berth_gateway::start(&loaded.section(role.name())?, platform, tasks).await
            }
            Role::Provisioning => {
                let section = loaded.section(role.name())?;
                berth_provisioning::start(&section, platform, vault.clone(), tasks).await
            }
        }
        .map_err(anyhow::Error::new)
    };
    Ok(process.serve(start).await?)
}
