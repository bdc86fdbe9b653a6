//! Ledger calls: read the request, decide, store, answer.

use super::{Api, convert, pb};
use crate::domain::{Balance, empty_time};
use crate::store::{forecast, ledger as store};
use berth_core::{AccountId, Error, Result, now};
use berth_runtime::auth;
use berth_runtime::once::once;
use berth_runtime::page::Page;
use sqlx::PgConnection;
use tonic::Request;

pub(super) async fn credit(
    api: &Api,
    request: Request<pb::CreditAccountRequest>,
) -> Result<pb::CreditAccountResponse> {
    let caller = auth::account(&request)?;
    let request = request.into_inner();
    let credit = convert::credit(caller, &request)?;
    let account = credit.account_id;
    let id = once(
        &api.db,
        caller,
        &request.request_id,
        &request,
        async |txn| Ok(store::post(txn, &credit, now()).await?.id),
    )
    .await?;
    let mut conn = api.connection().await?;
    let amount = store::entry(&mut conn, account, id).await?.balance;
    let now = balances(&mut conn, account).await?.into_iter();
    let balance = now
        .map(|balance| Balance { amount, ..balance })
        .find(|balance| balance.spend_per_hour.currency == amount.currency);
    Ok(pb::CreditAccountResponse {
        balance: balance.map(Into::into),
    })
}

/// What the account has, and how long that lasts.
async fn balances(conn: &mut PgConnection, account: AccountId) -> Result<Vec<Balance>> {
    let mut balances = store::balances(conn, account).await?;
    for balance in &mut balances {
        let burns = forecast::burns(conn, account, balance.amount.currency).await?;
        balance.empty_time = empty_time(balance.amount, &burns, now());
    }
    Ok(balances)
}

pub(super) async fn balance(
    api: &Api,
    request: Request<pb::GetBalanceRequest>,
) -> Result<pb::GetBalanceResponse> {
    let account: AccountId = auth::account(&request)?;
    let balances = balances(&mut *api.connection().await?, account).await?;
    Ok(pb::GetBalanceResponse {
        balances: balances.into_iter().map(Into::into).collect(),
    })
}

pub(super) async fn entries(
    api: &Api,
    request: Request<pb::ListLedgerEntriesRequest>,
) -> Result<pb::ListLedgerEntriesResponse> {
    let account = auth::account(&request)?;
    let request = request.into_inner();
    let page = Page::parse(request.page_size, &request.page_token)?;
    let before = page
        .after()
        .map(str::parse)
        .transpose()
        .map_err(|_| Error::invalid("page_token", "is not a `next_page_token` of this list"))?;
    let mut conn = api.connection().await?;
    let rows = store::entries(&mut conn, account, before, &page).await?;
    let (rows, next_page_token) = page.cut(rows, |row| row.position.to_string());
    Ok(pb::ListLedgerEntriesResponse {
        entries: rows.into_iter().map(Into::into).collect(),
        next_page_token,
    })
}
