//! What each service may do, as a policy of Vault.

use crate::{config::Mounts, pki::PLACEMENT_ROLE, ssh::SSH_ROLE};

use super::{Grant, RolePlan};

/// The policy of `role`: its own token, its own certificate, its grants.
///
/// The public parts of the authorities can be read without a policy.
pub(super) fn text(mounts: &Mounts, role: &RolePlan) -> String {
    let mut rules = vec![
        rule("auth/token/lookup-self", &["read"]),
        rule("auth/token/renew-self", &["update"]),
        rule("auth/token/revoke-self", &["update"]),
        rule(
            &format!("{}/sign/{}", mounts.services(), role.name),
            &["update"],
        ),
    ];
    for grant in &role.grants {
        match grant {
            Grant::NodeSecrets => rules.extend([
                // No update: the first writer wins.
                rule(
                    &format!("{}/data/nodes/*", mounts.kv()),
                    &["create", "read"],
                ),
                rule(
                    &format!("{}/metadata/nodes/*", mounts.kv()),
                    &["list", "delete"],
                ),
            ]),
            Grant::SignPlacements => {
                rules.push(rule(
                    &format!("{}/sign/{PLACEMENT_ROLE}", mounts.placements()),
                    &["update"],
                ));
            }
            Grant::SignSshUsers => rules.extend([
                rule(&format!("{}/sign/{SSH_ROLE}", mounts.ssh()), &["update"]),
                rule(&format!("{}/config/ca", mounts.ssh()), &["read"]),
            ]),
        }
    }
    rules.concat()
}

fn rule(path: &str, capabilities: &[&str]) -> String {
    format!("path \"{path}\" {{ capabilities = {capabilities:?} }}\n")
}
