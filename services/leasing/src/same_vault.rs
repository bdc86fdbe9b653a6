//! Whether this Vault is the one that this database belongs with.
//!
//! A second control plane that was pointed at this database by mistake, with a Vault
//! and an inventory of its own, would take up leases here and find no machine for
//! them. Replicas with the same Vault are welcome, whoever starts them.

use crate::store;
use berth_core::{Error, Result};
use berth_runtime::pg;
use berth_secrets::{SecretMap, SecretPath, Vault};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use uuid::Uuid;

/// The field of the id in Vault.
const FIELD: &str = "id";

/// Gives Vault and the database an id at the first start, and refuses one that has
/// another.
///
/// # Errors
///
/// `OTHER_VAULT`, and those of Vault and the database.
pub async fn check(db: &PgPool, vault: &Vault) -> Result<()> {
    let ours = id(vault).await?;
    let mut conn = db.acquire().await.map_err(pg::error)?;
    let known = store::vault::keep(&mut conn, ours).await?;
    if known == ours {
        return Ok(());
    }
    Err(Error::precondition(
        "OTHER_VAULT",
        format!(
            "this database belongs to a control plane with another Vault: it knows Vault as \
             `{known}`, and this one is `{ours}`; correct `leasing.database.url` or \
             `vault.address`"
        ),
    ))
}

/// The id that this Vault has for leasing, made if there is none yet.
async fn id(vault: &Vault) -> Result<Uuid> {
    let path = SecretPath::leasing_database();
    let found = vault.read_secret(&path).await.map_err(Error::unavailable)?;
    let stored = match found {
        Some(stored) => stored,
        None => {
            let id = SecretString::from(Uuid::now_v7().to_string());
            let new = SecretMap::from([(FIELD.to_owned(), id)]);
            let created = vault.create_secret(&path, &new).await;
            created.map_err(Error::unavailable)?
        }
    };
    let id = stored.get(FIELD).map(SecretString::expose_secret);
    id.and_then(|id| id.parse().ok())
        .ok_or_else(|| Error::internal(format!("{path} in Vault holds no id")))
}
