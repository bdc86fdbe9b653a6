//! A service as a process of its own: telemetry, the login to Vault, the
//! certificate, and an end within ten seconds. What the executables of Berth
//! have in common.
//!
//! Deliberately absent: which arguments there are, and configuration files, which
//! differ.

use berth_core::report;
use berth_runtime::identity::{Bundle, Identity};
use berth_runtime::platform::{Peers, Platform};
use berth_runtime::tasks::Tasks;
use berth_runtime::telemetry::{self, TelemetryConfig};
use berth_secrets::{Vault, VaultConfig};
use serde::Deserialize;
use std::error::Error;
use std::path::PathBuf;
use tokio::sync::watch;

/// Why a process cannot serve, or stopped to.
#[derive(Debug, thiserror::Error)]
#[error("{role}: {what}")]
pub struct Problem {
    role: String,
    what: String,
}

/// Where Vault is, for whichever role; the section `vault` of a configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultSection {
    address: String,
    ca_file: PathBuf,
    mount_prefix: String,
    secret_id_dir: PathBuf,
    timeout_seconds: u64,
    connect_wait_seconds: u64,
    names: Vec<String>,
}

impl VaultSection {
    /// How one role reaches Vault.
    #[must_use]
    pub fn of(&self, role: &str) -> VaultConfig {
        VaultConfig {
            address: self.address.clone(),
            ca_file: Some(self.ca_file.clone()).filter(|path| !path.as_os_str().is_empty()),
            mount_prefix: self.mount_prefix.clone(),
            role: role.to_owned(),
            secret_id_file: self.secret_id_dir.join(role),
            names: self.names.clone(),
            timeout_seconds: self.timeout_seconds,
            connect_wait_seconds: self.connect_wait_seconds,
        }
    }
}

/// A process that serves one role.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// The name in certificates, Vault and telemetry.
    pub role: &'a str,
    /// What it says about itself.
    pub telemetry: &'a TelemetryConfig,
    /// Where Vault is.
    pub vault: &'a VaultSection,
    /// Where the other services are.
    pub peers: &'a Peers,
}

impl Process<'_> {
    /// Starts the service and runs it until it is told to end.
    ///
    /// # Errors
    ///
    /// Why it cannot start, or which of its tasks ended by itself.
    pub async fn serve<E: Into<Box<dyn Error + Send + Sync>>>(
        self,
        start: impl AsyncFnOnce(&Platform, &Vault, &mut Tasks) -> Result<(), E>,
    ) -> Result<(), Problem> {
        let platform = Platform {
            identity: Identity::pending(),
            peers: self.peers.clone(),
        };
        let collector = Some(platform.monitoring());
        let _telemetry = telemetry::init(self.role, self.telemetry, collector)
            .map_err(|problem| self.problem(problem))?;
        let mut tasks = Tasks::new();
        let vault = self.log_in().await?;
        self.become_known(&vault, &platform.identity, &mut tasks)
            .await?;
        start(&platform, &vault, &mut tasks)
            .await
            .map_err(|error| self.problem(report(&*error.into())))?;
        let ended = tasks.run().await;
        vault.log_out().await;
        ended.map_err(|what| self.problem(what))
    }

    async fn log_in(&self) -> Result<Vault, Problem> {
        let config = self.vault.of(self.role);
        Vault::connect(config)
            .await
            .map_err(|error| self.problem(format!("cannot log in to Vault: {}", report(&error))))
    }

    /// Gets a certificate, and keeps it and the login alive.
    async fn become_known(
        &self,
        vault: &Vault,
        identity: &Identity,
        tasks: &mut Tasks,
    ) -> Result<(), Problem> {
        let refused = |error: &dyn Error| {
            self.problem(format!(
                "cannot get a certificate from Vault: {}",
                report(error)
            ))
        };
        let (newest, renew) = vault
            .keep_service_certificate(self.role)
            .await
            .map_err(|error| refused(&error))?;
        let placements = vault
            .placements_ca()
            .await
            .map_err(|error| refused(&error))?;
        identity
            .replace(&bundle(&newest, &placements))
            .map_err(|error| refused(&error))?;
        tasks.spawn_endless("vault login", vault.keep_alive());
        tasks.spawn_endless("certificate renewal", renew);
        tasks.spawn_endless("certificate", follow(newest, placements, identity.clone()));
        Ok(())
    }

    fn problem(&self, what: String) -> Problem {
        Problem {
            role: self.role.to_owned(),
            what,
        }
    }
}

async fn follow(
    mut newest: watch::Receiver<berth_secrets::Identity>,
    placements: String,
    identity: Identity,
) {
    while newest.changed().await.is_ok() {
        match identity.replace(&bundle(&newest, &placements)) {
            Ok(()) => tracing::info!("certificate renewed"),
            Err(error) => tracing::error!(%error, "the renewed certificate cannot be used"),
        }
    }
}

fn bundle(newest: &watch::Receiver<berth_secrets::Identity>, placements: &str) -> Bundle {
    let identity = newest.borrow();
    Bundle {
        certificate_pem: identity.certificate_chain.clone(),
        private_key_pem: identity.private_key.clone(),
        services_ca_pem: identity.ca.clone(),
        placements_ca_pem: placements.to_owned(),
        not_after: identity.not_after.into(),
    }
}

/// Has this process told to end when the one that started it ends, however.
///
/// # Errors
///
/// What the kernel says.
pub fn end_with_parent() -> std::io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM).map_err(Into::into)
}
