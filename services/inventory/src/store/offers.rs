//! Queries on `offer`, and the copy of the open one that stands with its machine.

use crate::domain::{NewOffer, Offer, OfferState, Place, Terms};
use berth_core::{AccountId, Currency, Error, MachineId, Money, Name, OfferId, Resource, Result};
use berth_runtime::page::Page;
use berth_runtime::pg;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use std::str::FromStr as _;

#[derive(sqlx::FromRow)]
struct Row {
    id: OfferId,
    account_id: AccountId,
    machine_id: MachineId,
    currency: String,
    price_micros: i64,
    min_seconds: Option<i64>,
    max_seconds: Option<i64>,
    state: OfferState,
    version: i64,
    create_time: DateTime<Utc>,
    machine_name: Name,
    machine_available: bool,
}

impl Row {
    fn offer(self) -> Result<Offer> {
        Ok(Offer {
            id: self.id,
            account_id: self.account_id,
            machine_id: self.machine_id,
            price: money(&self.currency, self.price_micros)?,
            terms: Terms {
                min: self.min_seconds.map(TimeDelta::seconds),
                max: self.max_seconds.map(TimeDelta::seconds),
            },
            state: self.state,
            version: self.version,
            create_time: self.create_time,
            machine_name: self.machine_name,
            machine_available: self.machine_available,
        })
    }
}

/// An amount as two columns keep it.
pub(super) fn money(currency: &str, micros: i64) -> Result<Money> {
    let currency = Currency::from_str(currency).map_err(Error::internal)?;
    Ok(Money::new(currency, micros))
}

/// Stores an open offer and puts its price to the machine.
///
/// # Errors
///
/// [`Error::Precondition`] when the machine has an open offer.
pub async fn insert(
    conn: &mut PgConnection,
    account: AccountId,
    new: &NewOffer,
) -> Result<OfferId> {
    let id = OfferId::generate();
    sqlx::query(
        "with made as (
             insert into offer (id, account_id, machine_id, currency, price_micros, min_seconds,
                                max_seconds, state)
             values ($1, $2, $3, $4, $5, $6, $7, 'open') returning *)
         update machine set
             ask_offer_id = made.id, ask_currency = made.currency, ask_micros = made.price_micros,
             ask_min_seconds = made.min_seconds, ask_max_seconds = made.max_seconds
         from made where machine.id = made.machine_id",
    )
    .bind(id)
    .bind(account)
    .bind(new.machine_id)
    .bind(new.price.currency.as_str())
    .bind(new.price.micros)
    .bind(new.terms.min.map(|term| term.num_seconds()))
    .bind(new.terms.max.map(|term| term.num_seconds()))
    .execute(conn)
    .await
    .map_err(|error| {
        if pg::violates(&error, "offer_machine_open") {
            Error::precondition(
                "OFFER_OPEN",
                "the machine has an open offer already; close that one first",
            )
        } else {
            pg::error(error)
        }
    })?;
    Ok(id)
}

/// Finds an offer that the account may see.
///
/// # Errors
///
/// [`Error::NotFound`] also when it is closed and another account's.
pub async fn get(conn: &mut PgConnection, account: AccountId, id: OfferId) -> Result<Offer> {
    find(conn, id)
        .await?
        .filter(|offer| offer.is_visible_to(account))
        .ok_or_else(|| Error::not_found(Resource::Offer, id))
}

/// Finds any offer.
///
/// # Errors
///
/// Those of the database.
pub async fn find(conn: &mut PgConnection, id: OfferId) -> Result<Option<Offer>> {
    let row: Option<Row> = sqlx::query_as(
        "select offer.*, machine.name as machine_name,
                machine.state = 'available' as machine_available
         from offer join machine on machine.id = offer.machine_id where offer.id = $1",
    )
    .bind(id)
    .fetch_optional(conn)
    .await
    .map_err(pg::error)?;
    row.map(Row::offer).transpose()
}

/// Open offers of all suppliers, by currency and then cheapest first.
///
/// # Errors
///
/// Those of the database.
pub async fn list(
    conn: &mut PgConnection,
    machine: Option<MachineId>,
    after: Option<&Place>,
    page: &Page,
) -> Result<Vec<Offer>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select offer.*, machine.name as machine_name,
                machine.state = 'available' as machine_available
         from offer join machine on machine.id = offer.machine_id
         where offer.state = 'open' and ($1::uuid is null or offer.machine_id = $1)
           and ($2::text is null or (offer.currency, offer.price_micros, offer.id) > ($2, $3, $4))
         order by offer.currency, offer.price_micros, offer.id limit $5",
    )
    .bind(machine)
    .bind(after.map(|place| place.currency.as_str()))
    .bind(after.map(|place| place.price_micros))
    .bind(after.map(|place| place.id))
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    rows.into_iter().map(Row::offer).collect()
}

/// Closes an offer of the account, if it is open, and takes its price from the
/// machine.
///
/// # Errors
///
/// [`Error::NotFound`] also when it belongs to another account.
pub async fn close(conn: &mut PgConnection, account: AccountId, id: OfferId) -> Result<()> {
    let found: Option<MachineId> =
        sqlx::query_scalar("select machine_id from offer where id = $1 and account_id = $2")
            .bind(id)
            .bind(account)
            .fetch_optional(&mut *conn)
            .await
            .map_err(pg::error)?;
    let machine = found.ok_or_else(|| Error::not_found(Resource::Offer, id))?;
    sqlx::query(
        "update machine set ask_offer_id = null, ask_currency = null, ask_micros = null,
                            ask_min_seconds = null, ask_max_seconds = null
         where id = $1 and ask_offer_id = $2",
    )
    .bind(machine)
    .bind(id)
    .execute(&mut *conn)
    .await
    .map_err(pg::error)?;
    sqlx::query(
        "update offer set state = 'closed', version = version + 1 where id = $1 and state = 'open'",
    )
    .bind(id)
    .execute(conn)
    .await
    .map_err(pg::error)?;
    Ok(())
}

/// Closes the open offer of a machine, if it has one.
///
/// # Errors
///
/// Those of the database.
pub async fn close_of(
    conn: &mut PgConnection,
    account: AccountId,
    machine: MachineId,
) -> Result<()> {
    let open: Option<OfferId> =
        sqlx::query_scalar("select id from offer where machine_id = $1 and state = 'open'")
            .bind(machine)
            .fetch_optional(&mut *conn)
            .await
            .map_err(pg::error)?;
    match open {
        Some(id) => close(conn, account, id).await,
        None => Ok(()),
    }
}
