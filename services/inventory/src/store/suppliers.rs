//! Queries on `supplier`.

use crate::domain::Supplier;
use berth_core::{AccountId, Error, Name, Resource, Result, SupplierId};
use berth_runtime::page::Page;
use berth_runtime::pg;
use sqlx::PgConnection;

/// Stores a supplier.
///
/// # Errors
///
/// [`Error::Exists`] when the account has one of this name.
pub async fn insert(
    conn: &mut PgConnection,
    account: AccountId,
    id: SupplierId,
    name: &Name,
) -> Result<()> {
    sqlx::query("insert into supplier (id, account_id, name) values ($1, $2, $3)")
        .bind(id)
        .bind(account)
        .bind(name)
        .execute(conn)
        .await
        .map_err(|error| {
            if pg::violates(&error, "supplier_name_taken") {
                Error::Exists {
                    resource: Resource::Supplier,
                    name: name.to_string(),
                }
            } else {
                pg::error(error)
            }
        })?;
    Ok(())
}

/// Finds a supplier of the account by identifier.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn get(conn: &mut PgConnection, account: AccountId, id: SupplierId) -> Result<Supplier> {
    sqlx::query_as("select * from supplier where id = $1 and account_id = $2")
        .bind(id)
        .bind(account)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Supplier, id))
}

/// Finds a supplier of the account by name.
///
/// # Errors
///
/// [`Error::NotFound`] when there is none.
pub async fn find(conn: &mut PgConnection, account: AccountId, name: &Name) -> Result<SupplierId> {
    sqlx::query_scalar("select id from supplier where account_id = $1 and name = $2")
        .bind(account)
        .bind(name)
        .fetch_optional(conn)
        .await
        .map_err(pg::error)?
        .ok_or_else(|| Error::not_found(Resource::Supplier, name))
}

/// Suppliers of the account, newest first.
///
/// # Errors
///
/// Those of the database, and of a page token of another list.
pub async fn list(
    conn: &mut PgConnection,
    account: AccountId,
    page: &Page,
) -> Result<Vec<Supplier>> {
    sqlx::query_as(
        "select * from supplier
         where account_id = $1 and ($2::uuid is null or id < $2)
         order by id desc limit $3",
    )
    .bind(account)
    .bind(page.after_uuid()?)
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)
}
