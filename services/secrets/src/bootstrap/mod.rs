//! Prepares a Vault for Berth: mounts, authorities, roles, policies and one
//! login a service.
//!
//! It compares what is there with what should be and writes the difference,
//! so it can run again after an upgrade, after a crash, or for nothing. It
//! never removes anything, replaces an authority or hands out a secret id.

mod apply;
mod desired;
mod policy;

use std::fmt;

use crate::{
    AdminVault, Result,
    config::{Mounts, host},
    connection::Connection,
    name,
    transit::TRANSIT_KEY,
};
use apply::Apply;

/// What to prepare.
#[derive(Debug, Clone)]
pub struct BootstrapPlan {
    /// What the names of all mounts, roles and policies begin with.
    pub mount_prefix: String,
    /// The services that log in.
    pub roles: Vec<RolePlan>,
    /// Say what would change, and change nothing.
    pub dry_run: bool,
}

/// One service's login.
#[derive(Debug, Clone)]
pub struct RolePlan {
    /// The service, for example `provisioning`.
    pub name: String,
    /// What it may do beside obtaining its own certificate.
    pub grants: Vec<Grant>,
    /// DNS names that its certificate may carry beside `localhost` and its
    /// own. IP addresses need no mention: peers trust the service's URI.
    pub names: Vec<String>,
    /// Networks from which it may log in and use its token; none = any.
    pub cidrs: Vec<String>,
}

/// What a service may do in Vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Create, read and delete the secrets of nodes.
    NodeSecrets,
    /// Create, read and delete the keys of webhooks' signatures.
    WebhookKeys,
    /// Sign certificates of placements.
    SignPlacements,
    /// Sign certificates of SSH users.
    SignSshUsers,
    /// Keep validator keys, encrypted, and the anchor of what they signed.
    ValidatorKeys,
}

/// What a bootstrap changed, or would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// One line a change, in order.
    pub changes: Vec<String>,
    /// Whether nothing was really changed.
    pub dry_run: bool,
}

impl Default for BootstrapPlan {
    /// Every service of Berth, with what it needs and no more.
    fn default() -> Self {
        let role = |name: &str, grants: &[Grant]| RolePlan {
            name: name.to_owned(),
            grants: grants.to_vec(),
            names: Vec::new(),
            cidrs: Vec::new(),
        };
        Self {
            mount_prefix: "berth".to_owned(),
            roles: vec![
                role("gateway", &[]),
                role("inventory", &[]),
                role("leasing", &[Grant::WebhookKeys]),
                role("monitoring", &[]),
                role(
                    "provisioning",
                    &[
                        Grant::NodeSecrets,
                        Grant::SignPlacements,
                        Grant::SignSshUsers,
                    ],
                ),
                role("signer", &[Grant::ValidatorKeys]),
            ],
            dry_run: false,
        }
    }
}

impl BootstrapPlan {
    fn validate(&self) -> Result<()> {
        name::segment("mount prefix", &self.mount_prefix)?;
        for role in &self.roles {
            name::segment("role", &role.name)?;
            for name in &role.names {
                host("name", name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return f.write_str("nothing to change");
        }
        let verb = if self.dry_run { "would " } else { "" };
        let lines: Vec<_> = self
            .changes
            .iter()
            .map(|change| format!("{verb}{change}"))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Makes the server behind `admin` as `plan` says and reports each change.
///
/// # Errors
/// [`crate::Error::Invalid`] when the plan or the token cannot work, or when a
/// mount of that name exists for something else; else as Vault answers. What
/// was changed until then stays, and the next run goes on from there.
pub async fn bootstrap(admin: &AdminVault, plan: &BootstrapPlan) -> Result<Report> {
    plan.validate()?;
    let vault = Connection::open(&admin.server()?, Some(&admin.token))?;
    let mut apply = Apply::new(&vault, plan.dry_run);
    let mounts = Mounts::new(&plan.mount_prefix);
    secrets(&mut apply, &mounts).await?;
    authorities(&mut apply, &mounts, plan).await?;
    logins(&mut apply, &mounts, plan).await?;
    Ok(Report {
        changes: apply.changes,
        dry_run: plan.dry_run,
    })
}

async fn secrets(apply: &mut Apply<'_>, mounts: &Mounts) -> Result<()> {
    apply.mount(mounts.kv(), &desired::kv_mount()).await?;
    let config = format!("{}/config", mounts.kv());
    apply.fields(&config, &desired::kv_config()).await?;
    let (keys, transit) = (mounts.keys(), mounts.transit());
    apply.mount(&keys, &desired::keys_mount()).await?;
    let config = format!("{keys}/config");
    apply.fields(&config, &desired::kv_config()).await?;
    apply.mount(&transit, &desired::transit_mount()).await?;
    let key = format!("{transit}/keys/{TRANSIT_KEY}");
    apply.transit_key(&key, &desired::transit_key()).await
}

async fn authorities(apply: &mut Apply<'_>, mounts: &Mounts, plan: &BootstrapPlan) -> Result<()> {
    let (services, placements, ssh) = (mounts.services(), mounts.placements(), mounts.ssh());
    apply.mount(&services, &desired::pki_mount()).await?;
    apply
        .root(&services, &desired::root("Berth services"))
        .await?;
    for role in &plan.roles {
        let path = format!("{services}/roles/{}", role.name);
        apply.fields(&path, &desired::service_role(role)).await?;
    }
    apply.mount(&placements, &desired::pki_mount()).await?;
    apply
        .root(&placements, &desired::root("Berth placements"))
        .await?;
    let path = format!("{placements}/roles/{}", crate::pki::PLACEMENT_ROLE);
    apply.fields(&path, &desired::placement_role()).await?;
    apply.mount(&ssh, &desired::ssh_mount()).await?;
    apply.ssh_authority(&ssh, &desired::ssh_authority()).await?;
    let path = format!("{ssh}/roles/{}", crate::ssh::SSH_ROLE);
    apply.fields(&path, &desired::ssh_role()).await
}

async fn logins(apply: &mut Apply<'_>, mounts: &Mounts, plan: &BootstrapPlan) -> Result<()> {
    let approle = mounts.approle();
    apply.login_method(&approle).await?;
    for role in &plan.roles {
        let policy = mounts.role(&role.name);
        apply.policy(&policy, &policy::text(mounts, role)).await?;
        let path = format!("auth/{approle}/role/{}", role.name);
        apply.fields(&path, &desired::login(role, &policy)).await?;
        apply
            .fields(&format!("{path}/role-id"), &desired::role_id(&policy))
            .await?;
    }
    Ok(())
}
