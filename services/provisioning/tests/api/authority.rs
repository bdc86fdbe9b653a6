//! Two control planes that were pointed at one database.

use crate::support::{Elsewhere, Whole};
use berth_core::Error;
use berth_provisioning::authority;
use berth_provisioning::store::MIGRATIONS;
use sqlx::PgPool;

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_second_control_plane_may_share_the_database_only_with_the_same_vault(db: PgPool) {
    let (first, other) = (Whole::new(db.clone()).await, Elsewhere::new().await);
    for _replica in 0..2 {
        authority::check(&db, &first.context.vault).await.unwrap();
    }
    let refused = authority::check(&db, &other.vault).await.unwrap_err();
    let Error::Precondition { reason, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(*reason, "OTHER_VAULT");
    let said = refused.to_string();
    let ours = first.context.vault.ssh_ca_public_key().await.unwrap();
    let theirs = other.vault.ssh_ca_public_key().await.unwrap();
    assert!(said.contains(&ours) && said.contains(&theirs), "{said}");
    authority::check(&db, &first.context.vault).await.unwrap();
}
