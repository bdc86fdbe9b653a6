//! The audit log.

use crate::fixture::{Site, reason, signed};
use berth_proto::leasing::v1::CreditAccountRequest;
use berth_proto::leasing::v1::leasing_service_client::LeasingServiceClient;
use berth_proto::monitoring::v1::GetHealthRequest;
use berth_proto::provisioning::v1::LaunchNodeRequest;
use berth_proto::provisioning::v1::provisioning_service_client::ProvisioningServiceClient;
use sqlx::PgPool;
use tonic::Code;
use uuid::Uuid;

#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Row {
    account_id: Uuid,
    token_id: String,
    method: String,
    peer: String,
    code: Option<i32>,
}

async fn rows(db: &PgPool) -> Vec<Row> {
    sqlx::query_as("select account_id, token_id, method, peer, code from audit order by id")
        .fetch_all(db)
        .await
        .unwrap()
}

fn codes(rows: &[Row]) -> Vec<Option<i32>> {
    rows.iter().map(|row| row.code).collect()
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn a_change_is_written_down_with_what_came_of_it_and_a_read_is_not(db: PgPool) {
    let site = Site::new(&db).await;
    site.read(signed(GetHealthRequest::default()))
        .await
        .unwrap();
    site.credit("").await.unwrap();
    let status = site.credit("refuse").await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    assert_eq!(status.message(), "somebody was faster");

    let rows = rows(&db).await;
    assert_eq!(codes(&rows), [Some(0), Some(10)]);
    let row = &rows[0];
    assert_eq!(row.account_id, site.account.uuid());
    assert_eq!(row.token_id, "admin");
    assert_eq!(row.method, "/berth.leasing.v1.LeasingService/CreditAccount");
    assert!(row.peer.starts_with("127.0.0.1:"), "{row:?}");
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn a_change_that_no_service_took_is_written_down_too(db: PgPool) {
    let site = Site::new(&db).await;
    let mut client = ProvisioningServiceClient::new(site.channel.clone());
    let launch = signed(LaunchNodeRequest::default());
    let status = client.launch_node(launch).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(reason(&status), "DEPENDENCY_DOWN");
    assert_eq!(status.message(), "temporarily unavailable; try again");
    assert_eq!(codes(&rows(&db).await), [Some(14)]);
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn a_change_is_in_the_log_while_it_runs_and_stays_open_when_the_client_leaves(db: PgPool) {
    let mut site = Site::new(&db).await;
    let mut client = LeasingServiceClient::new(site.channel.clone());
    let request = signed(CreditAccountRequest {
        memo: "wait".to_owned(),
        ..CreditAccountRequest::default()
    });
    let waiting = client.credit_account(request);
    // The service has it, and will never answer.
    tokio::select! {
        answer = waiting => panic!("{answer:?}"),
        seen = site.seen() => assert_eq!(seen.account, site.account.to_string()),
    }
    assert_eq!(codes(&rows(&db).await), [None]);
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn rows_cannot_be_changed_or_removed(db: PgPool) {
    let site = Site::new(&db).await;
    site.credit("").await.unwrap();
    let before = rows(&db).await;
    for attempt in [
        "update audit set code = 7",
        "update audit set code = null",
        "update audit set token_id = 'other', code = 0",
        "delete from audit",
        "truncate audit",
    ] {
        let error = sqlx::query(attempt).execute(&db).await.unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("never changed or removed"),
            "{attempt}: {told}"
        );
    }
    // A row that is still open takes its outcome, and nothing besides.
    sqlx::query(
        "insert into audit (id, account_id, token_id, method, peer)
         values (gen_random_uuid(), gen_random_uuid(), 't', 'm', 'p')",
    )
    .execute(&db)
    .await
    .unwrap();
    let attempt = "update audit set code = 0, method = 'other' where code is null";
    sqlx::query(attempt).execute(&db).await.unwrap_err();
    assert_eq!(rows(&db).await[..1], before);
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn without_its_database_the_gateway_reads_and_changes_nothing(db: PgPool) {
    let mut site = Site::new(&db).await;
    db.close().await;
    let status = site.credit("").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    site.read(signed(GetHealthRequest::default()))
        .await
        .unwrap();
    // The read is the only one that got through.
    site.seen().await;
    assert!(site.seen.try_recv().is_err());
}
