//! The ledger: credits, balances, statements, and that it balances.

use crate::fixture::{House, PRICE, euro, fields, id, reason};
use berth_core::AccountId;
use berth_leasing::store::MIGRATIONS;
use berth_proto::leasing::v1 as pb;
use berth_proto::leasing::v1::leasing_service_server::LeasingService as _;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::task::JoinSet;

async fn statement(house: &House) -> Vec<pb::LedgerEntry> {
    let mut lines = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = pb::ListLedgerEntriesRequest {
            page_size: 3,
            page_token,
        };
        let answer = house.api.list_ledger_entries(house.request(message)).await;
        let answer = answer.unwrap().into_inner();
        lines.extend(answer.entries);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return lines;
        }
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_statement_shows_every_line_with_the_balance_after_it(db: PgPool) {
    let house = House::new(db, 1, 2 * PRICE).await;
    let lease = house.lease().await.id;
    for _ in 0..3 {
        house.pass(360).await;
        house.turn().await;
    }
    house.credit(5).await;
    house.end(&lease).await.unwrap();

    let mut lines = statement(&house).await;
    lines.reverse();
    let mut balance = 0;
    for line in &lines {
        balance += line.amount.as_ref().unwrap().micros;
        assert_eq!(line.balance, Some(euro(balance)), "{lines:#?}");
        let charged = line.kind() == pb::ledger_entry::Kind::Charge;
        assert_eq!(charged, line.lease_id == lease, "{line:?}");
    }
    assert!(lines.len() >= 5, "{lines:#?}");
    assert_eq!(house.balance().await.0, balance);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_credit_sent_many_times_at_once_is_one_credit(db: PgPool) {
    let house = Arc::new(House::new(db, 0, 0).await);
    let message = pb::CreditAccountRequest {
        request_id: id(),
        amount: Some(euro(7)),
        memo: "bank transfer 42".to_owned(),
        ..Default::default()
    };
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let (house, message) = (Arc::clone(&house), message.clone());
        calls.spawn(async move {
            let answer = house.api.credit_account(house.request(message)).await;
            answer.unwrap().into_inner().balance.unwrap().amount
        });
    }
    for amount in calls.join_all().await {
        assert_eq!(amount, Some(euro(7)));
    }
    let lines = statement(&house).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].memo, "bank transfer 42");
    let other = pb::CreditAccountRequest {
        amount: Some(euro(8)),
        ..message
    };
    let refused = house.api.credit_account(house.request(other)).await;
    assert_eq!(reason(&refused.unwrap_err()), "REQUEST_ID_REUSED");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn credits_at_once_leave_no_gap_in_the_statement(db: PgPool) {
    let house = Arc::new(House::new(db, 0, 0).await);
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let house = Arc::clone(&house);
        calls.spawn(async move { house.credit(1).await });
    }
    calls.join_all().await;
    let balances: Vec<_> = statement(&house)
        .await
        .into_iter()
        .map(|line| line.balance.unwrap().micros)
        .collect();
    assert_eq!(balances, (1..=16).rev().collect::<Vec<_>>());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_administrator_credits_another_account(db: PgPool) {
    let mut house = House::new(db, 0, 0).await;
    let other = AccountId::generate();
    let message = pb::CreditAccountRequest {
        request_id: id(),
        account_id: other.to_string(),
        amount: Some(euro(3)),
        ..Default::default()
    };
    let answer = house.api.credit_account(house.request(message)).await;
    let balance = answer.unwrap().into_inner().balance.unwrap();
    assert_eq!(
        (balance.amount, balance.spend_per_hour),
        (Some(euro(3)), Some(euro(0)))
    );
    assert_eq!(house.balance().await, (0, 0));
    house.account = other;
    assert_eq!(house.balance().await, (3, 0));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn everything_wrong_with_a_credit_is_said_at_once(db: PgPool) {
    let house = House::new(db, 0, 0).await;
    let message = pb::CreditAccountRequest {
        request_id: id(),
        account_id: "me".to_owned(),
        amount: Some(euro(0)),
        memo: "x".repeat(201),
    };
    let refused = house.api.credit_account(house.request(message)).await;
    assert_eq!(
        fields(&refused.unwrap_err()),
        ["account_id", "amount.micros", "memo"]
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_database_refuses_what_does_not_balance_and_every_change(db: PgPool) {
    let house = House::new(db, 0, 1).await;
    let constraint = |error: sqlx::Error| {
        let error = error.as_database_error().unwrap();
        error.constraint().unwrap_or_default().to_owned()
    };
    let lonely = sqlx::query(
        "insert into entry (id, transfer_id, book, account_id, currency, micros, kind)
         values (gen_random_uuid(), gen_random_uuid(), 'bank', gen_random_uuid(), 'EUR', 1,
                 'credit')",
    );
    let refused = lonely.execute(&house.db).await.unwrap_err();
    assert_eq!(constraint(refused), "entry_balances");
    for change in [
        "update entry set micros = 0",
        "delete from entry",
        "truncate entry",
    ] {
        let refused = sqlx::query(change).execute(&house.db).await.unwrap_err();
        assert_eq!(constraint(refused), "entry_is_final", "{change}");
    }
    assert_eq!(house.books().await, (0, 0));
}
