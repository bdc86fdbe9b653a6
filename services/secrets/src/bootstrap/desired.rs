//! How mounts and roles should be, in the form in which Vault shows them:
//! durations in seconds, lists as lists.

use serde_json::{Value, json};

use crate::ssh::MAX_LIFE;

use super::RolePlan;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// How far the clock of a machine's sshd may be behind ours.
const CLOCK_SKEW: u64 = 300;

pub(super) fn kv_mount() -> Value {
    json!({ "type": "kv", "options": { "version": "2" }, "description": "Berth: secrets of nodes" })
}

pub(super) fn kv_config() -> Value {
    json!({ "cas_required": true })
}

pub(super) fn keys_mount() -> Value {
    json!({ "type": "kv", "options": { "version": "2" }, "description": "Berth: the signer" })
}

pub(super) fn transit_mount() -> Value {
    json!({ "type": "transit", "description": "Berth: encryption for the signer" })
}

/// A key that does its work inside of Vault only.
pub(super) fn transit_key() -> Value {
    json!({
        "type": "aes256-gcm96",
        "derived": false,
        "exportable": false,
        "allow_plaintext_backup": false,
        "deletion_allowed": false,
    })
}

pub(super) fn pki_mount() -> Value {
    json!({
        "type": "pki",
        "description": "Berth: certificates",
        "config": { "max_lease_ttl": 3650 * DAY },
    })
}

pub(super) fn ssh_mount() -> Value {
    json!({ "type": "ssh", "description": "Berth: logins to machines" })
}

/// A root that lives ten years, the mount's maximum.
pub(super) fn root(name: &str) -> Value {
    json!({
        "common_name": name,
        "key_type": "ec",
        "key_bits": 256,
        "max_path_length": 0,
        "ttl": format!("{}s", 3650 * DAY),
    })
}

/// A service gets its own URI only. It lives three days and is renewed after
/// one, so that a Vault that is sealed overnight stops nobody.
pub(super) fn service_role(role: &RolePlan) -> Value {
    let mut domains = vec![role.name.clone()];
    domains.extend(role.names.iter().cloned());
    let own = json!({
        "allowed_uri_sans": [format!("berth://service/{}", role.name)],
        "allowed_domains": domains,
        "allow_bare_domains": true,
        "allow_localhost": true,
        "allow_ip_sans": true,
        "client_flag": true,
        "server_flag": true,
        "max_ttl": 3 * DAY,
        "ttl": 3 * DAY,
    });
    with(own, certificate())
}

pub(super) fn placement_role() -> Value {
    let own = json!({
        "allowed_uri_sans": ["berth://placement/*"],
        "allowed_domains": [],
        "allow_bare_domains": false,
        "allow_localhost": false,
        "allow_ip_sans": false,
        "client_flag": true,
        "server_flag": false,
        "max_ttl": DAY,
        "ttl": DAY,
    });
    with(own, certificate())
}

/// What both kinds of certificate have in common: only the key is taken from
/// the request, and no copy is kept. They begin a day ago: a machine whose clock is
/// behind must reach the services also after these have renewed theirs.
fn certificate() -> Value {
    json!({
        "allow_any_name": false,
        "allow_glob_domains": false,
        "allow_subdomains": false,
        "allow_wildcard_certificates": false,
        "enforce_hostnames": true,
        "require_cn": false,
        "use_csr_common_name": false,
        "use_csr_sans": false,
        "code_signing_flag": false,
        "email_protection_flag": false,
        "key_type": "ec",
        "key_bits": 256,
        "key_usage": ["DigitalSignature"],
        "no_store": true,
        "not_before_duration": DAY,
    })
}

pub(super) fn ssh_authority() -> Value {
    json!({ "generate_signing_key": true, "key_type": "ed25519" })
}

/// Vault cannot limit principals by pattern; that the CA is trusted for a
/// machine's own principal only is set on the machine.
pub(super) fn ssh_role() -> Value {
    json!({
        "key_type": "ca",
        "allow_user_certificates": true,
        "allow_host_certificates": false,
        "allow_user_key_ids": false,
        "allowed_users": "*",
        "allowed_extensions": "permit-port-forwarding",
        "default_extensions": { "permit-port-forwarding": "" },
        "not_before_duration": CLOCK_SKEW,
        "ttl": 5 * 60,
        "max_ttl": MAX_LIFE.as_secs(),
    })
}

/// A login whose token lives 20 minutes at a time and a day in all.
pub(super) fn login(role: &RolePlan, policy: &str) -> Value {
    let cidrs = if role.cidrs.is_empty() {
        Value::Null
    } else {
        json!(role.cidrs)
    };
    json!({
        "bind_secret_id": true,
        "secret_id_bound_cidrs": cidrs,
        "secret_id_num_uses": 0,
        "secret_id_ttl": 30 * DAY,
        "token_bound_cidrs": role.cidrs,
        "token_max_ttl": DAY,
        "token_no_default_policy": true,
        "token_policies": [policy],
        "token_ttl": HOUR / 3,
    })
}

/// Not a secret, and the same everywhere, so that no service has to be told.
pub(super) fn role_id(policy: &str) -> Value {
    json!({ "role_id": policy })
}

fn with(mut all: Value, more: Value) -> Value {
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}
