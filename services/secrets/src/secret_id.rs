//! Secret ids on their way to a service: wrapped in a token that works once,
//! so that whoever reads it first is noticed.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::{
    AdminVault, Error, Result, Vault, VaultConfig,
    config::Mounts,
    connection::{Call, Connection},
    file, name,
};

/// A token that gives a new secret id for `role` to whoever shows it first,
/// within `life` (1 second to 24 hours).
///
/// # Errors
/// [`Error::Invalid`] when a name or the life cannot be; else as Vault
/// answers.
pub async fn wrapped_secret_id(
    admin: &AdminVault,
    mount_prefix: &str,
    role: &str,
    life: Duration,
) -> Result<SecretString> {
    let seconds = life.as_secs();
    if !(1..=86_400).contains(&seconds) {
        return Err(Error::invalid("life", "must be 1 second to 24 hours"));
    }
    let path = secret_id_path(mount_prefix, role)?;
    let operation = format!("creating a secret id for {role}");
    let vault = Connection::open(&admin.server()?, Some(&admin.token))?;
    let wrapped = vault
        .call_wrapped(&operation, Call::post(path, json!({})), seconds)
        .await?;
    wrapped["wrap_info"]["token"]
        .as_str()
        .map(SecretString::from)
        .ok_or_else(|| Error::answer(operation))
}

/// Exchanges a wrapping token for the secret id of `config`'s role, and
/// stores it in `config`'s file with mode 0600.
///
/// # Errors
/// [`Error::Invalid`] when the token was used, has expired, or was made for
/// anything but this role's secret id.
pub async fn unwrap_secret_id(config: &VaultConfig, token: &SecretString) -> Result<()> {
    let path = secret_id_path(&config.mount_prefix, &config.role)?;
    let server = config.server()?;
    let operation = "unwrapping a secret id";
    let look_up = Call::post(
        "sys/wrapping/lookup",
        json!({ "token": token.expose_secret() }),
    );
    let wrapped = Connection::open(&server, None)?
        .call(operation, look_up)
        .await
        .map_err(spent)?;
    if wrapped["data"]["creation_path"].as_str() != Some(path.as_str()) {
        let problem = format!("wraps something else than the secret id of {}", config.role);
        return Err(Error::invalid("wrapping token", problem));
    }
    let unwrap = Call::post("sys/wrapping/unwrap", json!({}));
    let answer = Connection::open(&server, Some(token))?
        .call(operation, unwrap)
        .await
        .map_err(spent)?;
    let secret_id = answer["data"]["secret_id"]
        .as_str()
        .ok_or_else(|| Error::answer(operation))?;
    file::write_secret(&config.secret_id_file, &secret_id.into())
}

/// Sees that `config`'s file holds a secret id that logs in: leaves one that
/// does, and stores a new one otherwise. Says whether it stored one.
///
/// # Errors
/// As [`wrapped_secret_id`] and [`unwrap_secret_id`].
pub async fn deliver_secret_id(admin: &AdminVault, config: &VaultConfig) -> Result<bool> {
    match Vault::connect(VaultConfig {
        connect_wait_seconds: 0,
        ..config.clone()
    })
    .await
    {
        Ok(_) => return Ok(false),
        Err(Error::LoginRefused { .. } | Error::File { .. }) => {}
        Err(error) => return Err(error),
    }
    let life = Duration::from_mins(1);
    let token = wrapped_secret_id(admin, &config.mount_prefix, &config.role, life).await?;
    unwrap_secret_id(config, &token).await?;
    Ok(true)
}

fn secret_id_path(mount_prefix: &str, role: &str) -> Result<String> {
    let mounts = Mounts::new(name::segment("mount prefix", mount_prefix)?);
    let role = name::segment("role", role)?;
    Ok(format!("auth/{}/role/{role}/secret-id", mounts.approle()))
}

/// What it means that a wrapping token is refused.
fn spent(error: Error) -> Error {
    if !matches!(
        error,
        Error::Invalid { .. } | Error::Denied { .. } | Error::NotFound { .. }
    ) {
        return error;
    }
    Error::invalid(
        "wrapping token",
        "was used already or has expired; if you did not use it, somebody else may hold the \
         secret id: destroy it and ask for a new one",
    )
}
