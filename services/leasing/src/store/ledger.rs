//! Queries on `entry` and `balance`.

use super::row::money;
use crate::domain::{Balance, Entry, Kind, Transfer};
use berth_core::{AccountId, Currency, EntryId, LeaseId, Money, Result};
use berth_runtime::page::Page;
use berth_runtime::pg;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

#[derive(sqlx::FromRow)]
struct Row {
    id: EntryId,
    position: i64,
    currency: String,
    micros: i64,
    balance_micros: i64,
    kind: Kind,
    lease_id: Option<LeaseId>,
    memo: String,
    create_time: DateTime<Utc>,
}

impl Row {
    fn entry(self) -> Result<Entry> {
        Ok(Entry {
            id: self.id,
            position: self.position,
            kind: self.kind,
            amount: money(&self.currency, self.micros)?,
            balance: money(&self.currency, self.balance_micros)?,
            lease_id: self.lease_id,
            memo: self.memo,
            create_time: self.create_time,
        })
    }
}

/// Writes both sides of a transfer and moves the balance, in one statement;
/// answers with the account's side.
///
/// # Errors
///
/// Those of the database.
pub async fn post(
    conn: &mut PgConnection,
    transfer: &Transfer,
    now: DateTime<Utc>,
) -> Result<Entry> {
    // Locks the balance first: positions are then in the order of balances.
    let row: Row = sqlx::query_as(
        "with moved as (
             insert into balance (account_id, currency, micros) values ($1, $2, $3)
             on conflict (account_id, currency)
             do update set micros = balance.micros + excluded.micros returning micros),
         written as (
             insert into entry (id, transfer_id, book, account_id, currency, micros,
                                balance_micros, kind, lease_id, memo, create_time)
             select $4, $6, 'account', $1, $2, $3, moved.micros, $7, $9, $10, $11 from moved
             union all
             select $5, $6, $8, $1, $2, -$3, null, $7, $9, $10, $11 from moved
             returning *)
         select * from written where book = 'account'",
    )
    .bind(transfer.account_id)
    .bind(transfer.amount.currency.as_str())
    .bind(transfer.amount.micros)
    .bind(EntryId::generate())
    .bind(EntryId::generate())
    .bind(Uuid::now_v7())
    .bind(transfer.kind)
    .bind(transfer.kind.contra())
    .bind(transfer.lease_id)
    .bind(&transfer.memo)
    .bind(now)
    .fetch_one(conn)
    .await
    .map_err(pg::error)?;
    row.entry()
}

/// What the account has in a currency; nobody else moves it until the
/// transaction ends.
///
/// # Errors
///
/// Those of the database.
pub async fn lock_balance(
    conn: &mut PgConnection,
    account: AccountId,
    currency: Currency,
) -> Result<Money> {
    let micros: i64 = sqlx::query_scalar(
        "insert into balance (account_id, currency, micros) values ($1, $2, 0)
         on conflict (account_id, currency) do update set micros = balance.micros
         returning micros",
    )
    .bind(account)
    .bind(currency.as_str())
    .fetch_one(conn)
    .await
    .map_err(pg::error)?;
    Ok(Money::new(currency, micros))
}

/// What the account has, a balance a currency.
///
/// # Errors
///
/// Those of the database.
pub async fn balances(conn: &mut PgConnection, account: AccountId) -> Result<Vec<Balance>> {
    let rows: Vec<(String, i64, i64, Option<String>)> = sqlx::query_as(
        "select balance.currency, balance.micros, coalesce(sum(price_micros), 0)::bigint,
                case when balance.warned_seconds is not null then (
                    select message from account_event event
                    where event.account_id = balance.account_id
                      and event.currency = balance.currency
                    order by event.id desc limit 1) end
         from balance left join lease on lease.account_id = balance.account_id
             and lease.currency = balance.currency and lease.state = 'active'
         where balance.account_id = $1
         group by balance.account_id, balance.currency order by balance.currency",
    )
    .bind(account)
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    rows.into_iter()
        .map(|(currency, micros, spend, warning)| {
            Ok(Balance {
                amount: money(&currency, micros)?,
                spend_per_hour: money(&currency, spend)?,
                empty_time: None,
                warning: warning.unwrap_or_default(),
            })
        })
        .collect()
}

/// One line of the account's statement.
///
/// # Errors
///
/// Those of the database.
pub async fn entry(conn: &mut PgConnection, account: AccountId, id: EntryId) -> Result<Entry> {
    let row: Row = sqlx::query_as(
        "select * from entry where id = $1 and account_id = $2 and book = 'account'",
    )
    .bind(id)
    .bind(account)
    .fetch_one(conn)
    .await
    .map_err(pg::error)?;
    row.entry()
}

/// Lines of the account's statement before a position, newest first.
///
/// # Errors
///
/// Those of the database.
pub async fn entries(
    conn: &mut PgConnection,
    account: AccountId,
    before: Option<i64>,
    page: &Page,
) -> Result<Vec<Entry>> {
    let rows: Vec<Row> = sqlx::query_as(
        "select * from entry
         where account_id = $1 and book = 'account' and ($2::bigint is null or position < $2)
         order by position desc limit $3",
    )
    .bind(account)
    .bind(before)
    .bind(page.limit())
    .fetch_all(conn)
    .await
    .map_err(pg::error)?;
    rows.into_iter().map(Row::entry).collect()
}
