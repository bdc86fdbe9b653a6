//! Whether this Vault is the one that the machines of this database trust.
//!
//! A second control plane that was pointed at this database by mistake, with a
//! Vault of its own, would claim work that it cannot do: it can sign in to no
//! machine, and would make new keys for nodes that have some. Replicas with the
//! same Vault are welcome, whoever starts them.

use crate::store;
use berth_core::{Error, Result};
use berth_runtime::pg;
use berth_secrets::Vault;
use sqlx::PgPool;

/// Remembers the SSH authority of Vault at the first start, and refuses another.
///
/// # Errors
///
/// `OTHER_VAULT`, and those of Vault and the database.
pub async fn check(db: &PgPool, vault: &Vault) -> Result<()> {
    let ours = vault
        .ssh_ca_public_key()
        .await
        .map_err(Error::unavailable)?;
    let mut conn = db.acquire().await.map_err(pg::error)?;
    let known = store::authority::keep(&mut conn, &ours).await?;
    if known == ours {
        return Ok(());
    }
    Err(Error::precondition(
        "OTHER_VAULT",
        format!(
            "this database belongs to a control plane with another Vault: its machines trust \
             the SSH authority `{known}`, and that of this Vault is `{ours}`; \
             correct `provisioning.database.url` or `vault.address`"
        ),
    ))
}
