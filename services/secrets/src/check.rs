//! Says what a Vault lacks for Berth, by doing what the services do.
//!
//! Every probe cleans up after itself; what stays are lines in the audit log.

use std::{fmt, path::PathBuf, time::Duration};

use secrecy::SecretString;
use serde_json::json;

use crate::{
    AdminVault, Error, Result, SecretMap, SecretPath, SignerPath, Vault, VaultConfig,
    bootstrap::{BootstrapPlan, Grant, RolePlan, bootstrap},
    config::{Mounts, Server},
    connection::{Call, Connection},
    pki,
};

/// What to type to put most things right.
const BOOTSTRAP: &str = "run `berth vault bootstrap`";

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What was tried, for example `provisioning: sign an SSH user`.
    pub name: String,
    /// What is wrong, or nothing.
    pub problem: Option<String>,
    /// What to do about it, where there is a problem.
    pub remedy: Option<String>,
}

impl Probe {
    /// Whether it worked.
    pub fn ok(&self) -> bool {
        self.problem.is_none()
    }

    fn new<T>(name: impl Into<String>, outcome: Result<T>) -> (Self, Option<T>) {
        let (problem, value) = match outcome {
            Ok(value) => (None, Some(value)),
            Err(error) => (Some(error), None),
        };
        let probe = Self {
            name: name.into(),
            remedy: problem.as_ref().map(|error| remedy(error).to_owned()),
            problem: problem.map(|error| error.to_string()),
        };
        (probe, value)
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.problem, &self.remedy) {
            (Some(problem), Some(remedy)) => {
                write!(f, "FAIL  {}: {problem}\n      {remedy}", self.name)
            }
            (Some(problem), None) => write!(f, "FAIL  {}: {problem}", self.name),
            (None, _) => write!(f, "ok    {}", self.name),
        }
    }
}

/// Checks a server as an administrator: whether it runs, whether everything
/// of `plan` is there, and whether each role can do its work. A secret id is
/// made for each role and destroyed again.
pub async fn check(admin: &AdminVault, plan: &BootstrapPlan) -> Vec<Probe> {
    let server = admin.server();
    let (probe, server) = Probe::new("the server's address", server);
    let Some(server) = server else {
        return vec![probe];
    };
    let (probe, healthy) = Probe::new("the server runs and is unsealed", healthy(&server).await);
    let mut probes = vec![probe];
    if healthy.is_none() {
        return probes;
    }
    let dry = BootstrapPlan {
        dry_run: true,
        ..plan.clone()
    };
    let (mut probe, missing) = Probe::new("everything is set up", bootstrap(admin, &dry).await);
    if let Some(missing) = missing.filter(|report| !report.changes.is_empty()) {
        probe.problem = Some(missing.to_string());
        probe.remedy = Some(BOOTSTRAP.to_owned());
    }
    probes.push(probe);
    for role in &plan.roles {
        probes.extend(check_login(admin, plan, role).await);
    }
    probes
}

/// Checks a server as one service sees it, with that service's own login and
/// what `plan` grants it.
pub async fn check_service(config: &VaultConfig, plan: &BootstrapPlan) -> Vec<Probe> {
    let (probe, server) = Probe::new("the configuration", config.server());
    let Some(server) = server else {
        return vec![probe];
    };
    let (probe, healthy) = Probe::new("the server runs and is unsealed", healthy(&server).await);
    if healthy.is_none() {
        return vec![probe];
    }
    let mut probes = vec![probe];
    let known = plan.roles.iter().find(|role| role.name == config.role);
    match (known, Vault::new(config.clone())) {
        (Some(role), Ok(vault)) => probes.extend(check_role(&vault, role).await),
        (_, Err(error)) => probes.push(Probe::new::<()>("the configuration", Err(error)).0),
        (None, _) => {
            let error = Error::invalid("vault.role", "is no service of Berth");
            probes.push(Probe::new::<()>("the configuration", Err(error)).0);
        }
    }
    probes
}

/// Logs in as `role` with a passing secret id and does the role's work.
async fn check_login(admin: &AdminVault, plan: &BootstrapPlan, role: &RolePlan) -> Vec<Probe> {
    let name = format!("{}: obtain a secret id", role.name);
    let (probe, made) = Probe::new(name, PassingSecretId::create(admin, plan, role).await);
    let Some(made) = made else { return vec![probe] };
    let config = VaultConfig {
        mount_prefix: plan.mount_prefix.clone(),
        ..VaultConfig::new(
            &admin.address,
            admin.ca_file.clone(),
            &role.name,
            PathBuf::new(),
        )
    };
    let mut probes = vec![probe];
    if let Ok(vault) = Vault::with_secret_id(config, Some(made.secret_id.clone())) {
        probes.extend(check_role(&vault, role).await);
        vault.log_out().await;
    }
    let name = format!("{}: destroy the secret id again", role.name);
    probes.push(Probe::new(name, made.destroy().await).0);
    probes
}

/// Does once what the role's service does all day.
async fn check_role(vault: &Vault, role: &RolePlan) -> Vec<Probe> {
    let name = &role.name;
    let login = vault.services_ca().await;
    let mut probes = vec![Probe::new(format!("{name}: log in"), login).0];
    if !probes[0].ok() {
        return probes;
    }
    let issued = vault.issue_service_certificate(name).await;
    probes.push(Probe::new(format!("{name}: obtain its certificate"), issued).0);
    for grant in &role.grants {
        let (what, outcome) = match grant {
            Grant::NodeSecrets => {
                let path = SecretPath::node(&probe_name(), "probe");
                (
                    "create, read and delete a secret",
                    secret(vault, path).await,
                )
            }
            Grant::WebhookKeys => {
                let path = SecretPath::webhook(&probe_name());
                (
                    "create, read and delete a webhook's key",
                    secret(vault, path).await,
                )
            }
            Grant::SignPlacements => ("sign a placement", placement(vault).await),
            Grant::SignSshUsers => ("sign an SSH user", ssh_user(vault).await),
            Grant::ValidatorKeys => (
                "encrypt, create, read and destroy a key",
                validator_key(vault).await,
            ),
        };
        probes.push(Probe::new(format!("{name}: {what}"), outcome).0);
    }
    probes
}

fn probe_name() -> String {
    format!("check-{}", uuid::Uuid::new_v4())
}

async fn secret(vault: &Vault, path: Result<SecretPath>) -> Result<()> {
    let path = path?;
    let secret = SecretMap::from([("value".to_owned(), SecretString::from("probe"))]);
    let created = vault.create_secret(&path, &secret).await;
    let read = vault.read_secret(&path).await;
    vault.delete_secret(&path).await?;
    created?;
    read?.map(|_| ()).ok_or_else(|| Error::NotFound {
        operation: format!("reading {path}"),
    })
}

async fn placement(vault: &Vault) -> Result<()> {
    let (_, request) = pki::key_and_request()?;
    vault
        .sign_placement_csr(&request, "check", "check", 0)
        .await?;
    vault.placements_ca().await.map(|_| ())
}

async fn ssh_user(vault: &Vault) -> Result<()> {
    // Nobody has the private part of this key.
    let key =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f check";
    vault
        .sign_ssh_user(key, "check", Duration::from_mins(1))
        .await?;
    vault.ssh_ca_public_key().await.map(|_| ())
}

async fn validator_key(vault: &Vault) -> Result<()> {
    let mut name = [0; 48];
    for part in name.chunks_exact_mut(16) {
        part.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    let path = SignerPath::validator(&name);
    let ciphertext = vault.encrypt(b"probe", "check").await?;
    let fields = [("ciphertext".to_owned(), ciphertext)].into();
    let created = vault.write_record(&path, &fields, 0).await;
    let read = vault.read_record(&path).await;
    vault.destroy_record(&path).await?;
    created?;
    let read = read?.and_then(|mut record| record.fields.remove("ciphertext"));
    let ciphertext = read.ok_or_else(|| Error::NotFound {
        operation: format!("reading {path}"),
    })?;
    vault.decrypt(&ciphertext, "check").await?;
    let nobodys = SignerPath::withdrawals(uuid::Uuid::nil());
    vault.list_records(&nobodys).await?;
    vault.read_record(&SignerPath::sealing_key()).await?;
    vault.read_record(&SignerPath::anchor()).await.map(|_| ())
}

/// Whether the server, or the active node behind it, serves requests. (The
/// client library's own health call fails on a healthy OpenBao.)
async fn healthy(server: &Server) -> Result<()> {
    let health = Call::get_with("sys/health", "standbyok=true&perfstandbyok=true");
    let answer = Connection::open(server, None)?
        .call("the health check", health)
        .await?;
    match answer["initialized"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(Error::answer("the health check")),
    }
}

fn remedy(error: &Error) -> &'static str {
    match error {
        Error::Sealed { .. } => "initialise it if it is new, and unseal it",
        Error::Unreachable { .. } => "check the address, the network and that it runs",
        Error::Untrusted { .. } => "give the CA that signed the server's certificate",
        Error::Busy { .. } => "see the server's log",
        Error::LoginRefused { .. } => "deliver a new secret id",
        Error::Denied { .. } | Error::NotFound { .. } => BOOTSTRAP,
        Error::Answer { .. } => {
            "check that a Vault or OpenBao listens there, version 1.15 or later"
        }
        Error::Invalid { .. } | Error::File { .. } | Error::Start { .. } => {
            "change what the message names"
        }
    }
}

/// A secret id that lives as long as its check.
struct PassingSecretId {
    vault: Connection,
    login: String,
    accessor: String,
    secret_id: SecretString,
}

impl PassingSecretId {
    async fn create(admin: &AdminVault, plan: &BootstrapPlan, role: &RolePlan) -> Result<Self> {
        let vault = Connection::open(&admin.server()?, Some(&admin.token))?;
        let login = format!(
            "auth/{}/role/{}",
            Mounts::new(&plan.mount_prefix).approle(),
            role.name
        );
        let operation = format!("creating a secret id for {}", role.name);
        let made = vault
            .data(
                &operation,
                Call::post(format!("{login}/secret-id"), json!({})),
            )
            .await?;
        let field = |name: &str| made[name].as_str().ok_or_else(|| Error::answer(&operation));
        let (accessor, secret_id) = (
            field("secret_id_accessor")?.to_owned(),
            field("secret_id")?.into(),
        );
        Ok(Self {
            vault,
            login,
            accessor,
            secret_id,
        })
    }

    async fn destroy(self) -> Result<()> {
        let body = json!({ "secret_id_accessor": self.accessor });
        let destroy = Call::post(format!("{}/secret-id-accessor/destroy", self.login), body);
        self.vault
            .call("destroying a secret id", destroy)
            .await
            .map(|_| ())
    }
}
