//! Ledger calls: read the request, decide, store, answer.

use super::{Api, convert, pb};
use crate::store::ledger as store;
use berth_core::{AccountId, Error, Money, Result, now};
use berth_runtime::once::once;
use berth_runtime::page::Page;
use berth_runtime::{auth, wire};
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
    let balances = store::balances(&mut conn, account).await?;
    let spend = balances
        .into_iter()
        .map(|balance| balance.spend_per_hour)
        .find(|spend| spend.currency == amount.currency)
        .unwrap_or(Money::new(amount.currency, 0));
    Ok(pb::CreditAccountResponse {
        balance: Some(pb::Balance {
            amount: Some(wire::money(amount)),
            spend_per_hour: Some(wire::money(spend)),
        }),
    })
}

pub(super) async fn balance(
    api: &Api,
    request: Request<pb::GetBalanceRequest>,
) -> Result<pb::GetBalanceResponse> {
    let account: AccountId = auth::account(&request)?;
    let balances = store::balances(&mut *api.connection().await?, account).await?;
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
