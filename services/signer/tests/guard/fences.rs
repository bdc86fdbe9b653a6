//! Fence, grant and state, and what the database itself refuses.

use crate::support::{BLOCK, Node, VOTE};
use berth_core::{Error, Fence};
use berth_signer::domain::refusal::Reason;
use berth_signer::domain::{Claim, Message};
use berth_signer::store::{decide::decide, fences};
use sqlx::{AssertSqlSafe, PgPool};

async fn one(db: &PgPool, claim: Claim) -> Option<Reason> {
    let verdict = decide(db, &[claim]).await.unwrap().remove(0);
    verdict.err().map(|refusal| refusal.reason)
}

async fn advance(db: &PgPool, node: &Node, fence: u64) -> Result<(), Error> {
    let mut txn = db.begin().await.unwrap();
    fences::advance(&mut txn, node.account, node.id, Fence::from(fence)).await?;
    txn.commit().await.unwrap();
    Ok(())
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn an_old_and_a_future_placement_sign_nothing(db: PgPool) {
    let node = Node::granted(&db).await;
    let key = node.key(&db, 1).await;
    let claim = |fence: u64, slot| Claim {
        fence: Fence::from(fence),
        ..node.claim(key, BLOCK(slot), 1)
    };
    assert_eq!(one(&db, claim(1, 1)).await, None);
    assert_eq!(one(&db, claim(2, 2)).await, Some(Reason::NotGranted));
    advance(&db, &node, 2).await.unwrap();
    assert_eq!(one(&db, claim(1, 2)).await, Some(Reason::Fenced));
    assert_eq!(one(&db, claim(1, 1)).await, Some(Reason::Fenced));
    assert_eq!(one(&db, claim(2, 2)).await, Some(Reason::NotGranted));
    let other = Claim {
        message: Message::Other,
        ..claim(2, 2)
    };
    assert_eq!(one(&db, other).await, Some(Reason::NotGranted));

    fences::grant(&mut db.acquire().await.unwrap(), node.id, Fence::from(2))
        .await
        .unwrap();
    assert_eq!(one(&db, other).await, None);
    assert_eq!(one(&db, claim(2, 2)).await, None);
    // The same fence again keeps the grant; a lower one is refused.
    advance(&db, &node, 2).await.unwrap();
    assert_eq!(one(&db, claim(2, 3)).await, None);
    let lower = advance(&db, &node, 1).await.unwrap_err();
    assert!(
        matches!(lower, Error::Fenced { have: 1, want: 2 }),
        "{lower}"
    );
    let stranger = Node {
        account: node.account,
        id: berth_core::NodeId::generate(),
    };
    assert_eq!(
        one(&db, stranger.claim(key, BLOCK(9), 1)).await,
        Some(Reason::UnknownKey)
    );
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_batch_is_judged_one_by_one(db: PgPool) {
    let node = Node::granted(&db).await;
    let mut claims = Vec::new();
    for number in (1..=40).rev() {
        let key = node.key(&db, number).await;
        claims.push(node.claim(key, VOTE(number % 3, 2), 1));
    }
    claims.push(node.claim(node.key(&db, 50).await, Message::Other, 1));
    claims.push(node.claim(node.key(&db, 51).await, BLOCK(u64::MAX), 1));
    claims.push(node.claim(berth_signer::domain::PublicKey([7; 48]), BLOCK(1), 1));
    let verdicts = decide(&db, &claims).await.unwrap();
    let reasons: Vec<_> = verdicts
        .iter()
        .filter_map(|v| v.as_ref().err())
        .map(|r| r.reason)
        .collect();
    assert_eq!(reasons, [Reason::FarFuture, Reason::UnknownKey]);
    let recorded: i64 = sqlx::query_scalar("select count(*) from signature")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(recorded, 40);
    let twice = [claims[0], claims[0]];
    assert!(decide(&db, &twice).await.is_err());
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_commit_that_fails_or_is_cut_off_is_never_a_yes(db: PgPool) {
    let node = Node::granted(&db).await;
    let key = node.key(&db, 1).await;
    for (at, fault) in [
        "raise exception 'full'",
        "perform pg_terminate_backend(pg_backend_pid())",
    ]
    .iter()
    .enumerate()
    {
        sqlx::raw_sql(AssertSqlSafe(format!(
            "create function fault_{at}() returns trigger language plpgsql as $$ begin {fault}; return null; end $$;
             create constraint trigger fault_{at} after insert on signature_rest
                 deferrable initially deferred for each row execute function fault_{at}()"
        )))
        .execute(&db)
        .await
        .unwrap();
        let claim = node.claim(key, BLOCK(1), 1);
        assert!(decide(&db, &[claim]).await.is_err(), "{fault}");
        sqlx::raw_sql(AssertSqlSafe(format!(
            "drop trigger fault_{at} on signature_rest"
        )))
        .execute(&db)
        .await
        .unwrap();
    }
    assert_eq!(one(&db, node.claim(key, BLOCK(1), 1)).await, None);
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn the_database_forgets_nothing(db: PgPool) {
    let node = Node::granted(&db).await;
    let key = node.key(&db, 1).await;
    assert_eq!(one(&db, node.claim(key, BLOCK(5), 1)).await, None);
    assert_eq!(one(&db, node.claim(key, VOTE(3, 5), 1)).await, None);
    for (statement, constraint) in [
        (
            "update validator set block_slot = 4",
            "watermark_only_grows",
        ),
        (
            "update validator set block_slot = null, block_root = null",
            "watermark_only_grows",
        ),
        (
            "update validator set block_root = decode(repeat('02', 32), 'hex')",
            "watermark_only_grows",
        ),
        (
            "update validator set source_epoch = 2, target_epoch = 6",
            "watermark_only_grows",
        ),
        (
            "update validator set target_epoch = 4",
            "watermark_only_grows",
        ),
        ("update validator set fence = 0", "fence_only_grows"),
        ("update node set fence = 0", "fence_only_grows"),
        (
            "update validator set public_key = decode(repeat('07', 48), 'hex')",
            "never_forgotten",
        ),
        (
            "update validator set account_id = gen_random_uuid()",
            "never_forgotten",
        ),
        ("delete from validator", "never_forgotten"),
        ("truncate validator", "never_forgotten"),
        ("delete from node", "never_forgotten"),
        ("truncate node cascade", "never_forgotten"),
        ("delete from signature", "never_forgotten"),
        ("update signature set slot = 1", "never_forgotten"),
        ("truncate signature", "never_forgotten"),
        ("truncate signature_rest", "never_forgotten"),
    ] {
        let error = sqlx::query(statement).execute(&db).await.unwrap_err();
        assert!(
            berth_runtime::pg::violates(&error, constraint),
            "{statement}: {error}"
        );
    }
}
