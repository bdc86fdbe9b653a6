//! Doing a request once, however often it is sent.
//!
//! The request is claimed before any effect: a second copy waits on the
//! claim's primary key until the first commits, then learns which resource the
//! first made. Claim and effects share one transaction. Only a hash of the
//! request is kept, with its secret fields cleared, and never an answer.
//!
//! Every service that uses it has this table:
//!
//! ```sql
//! create table request (
//!     account_id  uuid        not null,
//!     request_id  uuid        not null,
//!     body_hash   bytea       not null,
//!     resource_id text,
//!     create_time timestamptz not null default now(),
//!     primary key (account_id, request_id)
//! );
//! ```

use crate::{pg, schema};
use berth_core::{AccountId, Error, Result, Violation};
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgPool};
use std::fmt::Display;
use std::str::FromStr;
use uuid::Uuid;

/// Runs `work` in a transaction unless this account already sent the request;
/// either way answers with the identifier of the resource that `work` named.
///
/// # Errors
///
/// Those of `work`, and [`Error::Invalid`] when `request_id` is not a UUID or
/// was used for a different request.
pub async fn once<Req, Id>(
    db: &PgPool,
    account: AccountId,
    request_id: &str,
    request: &Req,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<Id>,
) -> Result<Id>
where
    Req: prost::Message + prost::Name,
    Id: Display + FromStr,
    Id::Err: std::error::Error + Send + Sync + 'static,
{
    let id = parse(request_id)?;
    let hash = hash(account, id, request);

    let mut txn = db.begin().await.map_err(pg::error)?;
    let claimed = sqlx::query(
        "insert into request (account_id, request_id, body_hash) values ($1, $2, $3)
         on conflict do nothing",
    )
    .bind(account)
    .bind(id)
    .bind(&hash)
    .execute(&mut *txn)
    .await
    .map_err(pg::error)?
    .rows_affected()
        == 1;
    if !claimed {
        return earlier(&mut txn, account, id, &hash).await;
    }
    let resource = work(&mut txn).await?;
    sqlx::query("update request set resource_id = $3 where account_id = $1 and request_id = $2")
        .bind(account)
        .bind(id)
        .bind(resource.to_string())
        .execute(&mut *txn)
        .await
        .map_err(pg::error)?;
    txn.commit().await.map_err(pg::error)?;
    Ok(resource)
}

/// Whether [`once`] would only answer. For a caller that asks other services
/// about what the first copy of the request may have changed.
///
/// # Errors
///
/// As [`once`] when `request_id` is not a UUID, or stands for another request.
pub async fn repeats<Req>(
    db: &PgPool,
    account: AccountId,
    request_id: &str,
    request: &Req,
) -> Result<bool>
where
    Req: prost::Message + prost::Name,
{
    let id = parse(request_id)?;
    let same: Option<bool> = sqlx::query_scalar(
        "select body_hash = $3 from request where account_id = $1 and request_id = $2",
    )
    .bind(account)
    .bind(id)
    .bind(hash(account, id, request))
    .fetch_optional(db)
    .await
    .map_err(pg::error)?;
    match same {
        None => Ok(false),
        Some(true) => Ok(true),
        Some(false) => Err(reused()),
    }
}

/// Whether a `request_id` is one, for a call that claims nothing.
///
/// # Errors
///
/// [`Error::Invalid`] when it is not a UUID.
pub fn check(request_id: &str) -> Result<()> {
    parse(request_id).map(drop)
}

fn reused() -> Error {
    Error::Invalid {
        reason: "REQUEST_ID_REUSED",
        violations: vec![Violation {
            field: "request_id".to_owned(),
            problem: "already used for a different request; make a new UUID".to_owned(),
        }],
    }
}

fn parse(request_id: &str) -> Result<Uuid> {
    Uuid::try_parse(request_id)
        .map_err(|_| Error::invalid("request_id", "expected a UUID that you choose"))
}

/// Salted with who asked and for what, so that equal requests do not show.
fn hash<Req: prost::Message + prost::Name>(account: AccountId, id: Uuid, request: &Req) -> Vec<u8> {
    Sha256::new()
        .chain_update(account.uuid().as_bytes())
        .chain_update(id.as_bytes())
        .chain_update(Req::full_name().as_bytes())
        .chain_update(schema::encode_without_secrets(request))
        .finalize()
        .to_vec()
}

async fn earlier<Id>(
    conn: &mut PgConnection,
    account: AccountId,
    id: Uuid,
    hash: &[u8],
) -> Result<Id>
where
    Id: FromStr,
    Id::Err: std::error::Error + Send + Sync + 'static,
{
    let row: Option<(bool, String)> = sqlx::query_as(
        "select body_hash = $3, resource_id from request where account_id = $1 and request_id = $2",
    )
    .bind(account)
    .bind(id)
    .bind(hash)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?;
    // A service may forget a request that it refused after all.
    let (same, resource) =
        row.ok_or_else(|| Error::unavailable("the request was refused a moment ago"))?;
    if !same {
        return Err(reused());
    }
    resource.parse().map_err(Error::internal)
}
