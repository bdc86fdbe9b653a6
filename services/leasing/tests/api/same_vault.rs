//! One database, one Vault.

use crate::vault::Server;
use berth_core::Error;
use berth_leasing::same_vault;
use berth_leasing::store::MIGRATIONS;
use sqlx::PgPool;

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_second_leasing_may_share_the_database_only_with_the_same_vault(db: PgPool) {
    let (first, other) = (Server::start().await, Server::start().await);
    let (one, two) = tokio::join!(
        same_vault::check(&db, &first.leasing),
        same_vault::check(&db, &first.leasing)
    );
    one.unwrap();
    two.unwrap();
    let refused = same_vault::check(&db, &other.leasing).await.unwrap_err();
    let Error::Precondition { reason, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*reason, "OTHER_VAULT");
    assert!(refused.to_string().contains("leasing.database.url"));
    same_vault::check(&db, &first.leasing).await.unwrap();
}
