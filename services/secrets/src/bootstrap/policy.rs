//! What each service may do, as a policy of Vault.

use crate::{SignerPath, config::Mounts, pki::PLACEMENT_ROLE, ssh::SSH_ROLE, transit::TRANSIT_KEY};

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
            Grant::WebhookKeys => rules.extend([
                rule(
                    &format!("{}/data/webhooks/*", mounts.kv()),
                    &["create", "read"],
                ),
                rule(&format!("{}/metadata/webhooks/*", mounts.kv()), &["delete"]),
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
            Grant::ValidatorKeys => rules.extend(validator_keys(mounts)),
        }
    }
    rules.concat()
}

fn validator_keys(mounts: &Mounts) -> [String; 8] {
    let (keys, transit) = (mounts.keys(), mounts.transit());
    let data = |path| format!("{keys}/data/{path}");
    [
        // No update: a key belongs to the database that stored it first.
        rule(&data("validators/*".to_owned()), &["create", "read"]),
        rule(&format!("{keys}/metadata/validators/*"), &["delete"]),
        // Neither update nor delete: what was withdrawn stays known.
        rule(&data("withdrawn/*".to_owned()), &["create", "read"]),
        rule(&format!("{keys}/metadata/withdrawn/*"), &["list"]),
        rule(
            &data(SignerPath::sealing_key().to_string()),
            &["create", "read"],
        ),
        rule(
            &data(SignerPath::anchor().to_string()),
            &["create", "read", "update"],
        ),
        rule(&format!("{transit}/encrypt/{TRANSIT_KEY}"), &["update"]),
        rule(&format!("{transit}/decrypt/{TRANSIT_KEY}"), &["update"]),
    ]
}

fn rule(path: &str, capabilities: &[&str]) -> String {
    format!("path \"{path}\" {{ capabilities = {capabilities:?} }}\n")
}
