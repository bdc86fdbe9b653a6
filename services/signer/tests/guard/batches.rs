//! Claims that come together.

use crate::support::{BLOCK, Node, VOTE};
use berth_signer::batch::Batcher;
use futures::future::join_all;
use sqlx::PgPool;
use tokio::task::JoinSet;

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn claims_that_come_together_share_statements_and_one_key_never_shares(db: PgPool) {
    let node = Node::granted(&db).await;
    let (batcher, task) = Batcher::new(db.clone());
    let mut tasks = JoinSet::from_iter([task]);
    let mut claims = Vec::new();
    for number in 0..100 {
        let key = node.key(&db, number).await;
        claims.extend([1, 2, 3].map(|root| node.claim(key, VOTE(0, 1), root)));
        claims.push(node.claim(key, BLOCK(1), 1));
    }
    let verdicts = join_all(claims.into_iter().map(|claim| batcher.sign(claim))).await;
    let signed = verdicts
        .into_iter()
        .filter(|verdict| verdict.as_ref().unwrap().is_ok());
    assert_eq!(signed.count(), 200);
    let statements: i64 = sqlx::query_scalar("select count(distinct transaction) from signature")
        .fetch_one(&db)
        .await
        .unwrap();
    assert!(statements < 100, "{statements}");
    drop(batcher);
    tasks.join_next().await.unwrap().unwrap();
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn without_its_database_a_batch_is_no_yes(db: PgPool) {
    let node = Node::granted(&db).await;
    let claim = node.claim(node.key(&db, 1).await, BLOCK(1), 1);
    let (batcher, task) = Batcher::new(db.clone());
    let mut tasks = JoinSet::from_iter([task]);
    db.close().await;
    assert!(batcher.sign(claim).await.is_err());
    drop(batcher);
    tasks.join_next().await.unwrap().unwrap();
}
