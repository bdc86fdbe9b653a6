//! Conflicting messages for one key at once: exactly one is signed. The same
//! against a guard that checks and then writes must find violations.

use crate::support::{BLOCK, Node, VOTE};
use berth_signer::domain::{Claim, Message, Watermarks};
use berth_signer::store::decide::decide;
use futures::future::join_all;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

const TASKS: usize = 16;

#[expect(
    clippy::disallowed_methods,
    reason = "how long to race, as PROPTEST_CASES is"
)]
fn rounds() -> u64 {
    std::env::var("BERTH_RACE_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap())
}

/// Two messages that must not both be signed.
fn pairings() -> [(&'static str, [(Message, u8); 2]); 4] {
    [
        ("double proposal", [(BLOCK(9), 1), (BLOCK(9), 2)]),
        ("double vote", [(VOTE(1, 9), 1), (VOTE(1, 9), 2)]),
        ("surround", [(VOTE(4, 5), 1), (VOTE(3, 6), 2)]),
        ("surrounded", [(VOTE(3, 6), 1), (VOTE(4, 5), 2)]),
    ]
}

/// Another pool on the same database, as a second process has.
async fn another(db: &PgPool) -> PgPool {
    PgPoolOptions::new()
        .max_connections(8)
        .connect_with((*db.connect_options()).clone())
        .await
        .unwrap()
}

/// Which of the two messages were signed, each asked for by half of the tasks
/// through both pools.
async fn race<F: Future<Output = bool>>(
    pools: &[PgPool; 2],
    claims: [Claim; 2],
    guard: impl Fn(PgPool, Claim) -> F,
) -> [bool; 2] {
    let answers = join_all((0..TASKS).map(|task| {
        let claim = claims[task % 2];
        guard(pools[task / 2 % 2].clone(), claim)
    }))
    .await;
    [0, 1].map(|which| answers.iter().skip(which).step_by(2).any(|signed| *signed))
}

async fn ours(db: PgPool, claim: Claim) -> bool {
    decide(&db, &[claim]).await.unwrap()[0].is_ok()
}

/// Reads, judges by the same rules, and writes.
async fn check_then_write(db: PgPool, claim: Claim) -> bool {
    let key = claim.public_key.0.to_vec();
    let (slot, source, target): (Option<i64>, Option<i64>, Option<i64>) = sqlx::query_as(
        "select block_slot, source_epoch, target_epoch from validator where public_key = $1",
    )
    .bind(&key)
    .fetch_one(&db)
    .await
    .unwrap();
    let known = Watermarks {
        block: slot.map(i64::unsigned_abs),
        vote: source
            .map(i64::unsigned_abs)
            .zip(target.map(i64::unsigned_abs)),
        ..Watermarks::default()
    };
    let Ok(next) = known.sign(claim.message, claim.root) else {
        return false;
    };
    let number = |number: Option<u64>| number.map(|number| i64::try_from(number).unwrap());
    sqlx::query(
        "update validator set block_slot = $2, source_epoch = $3, target_epoch = $4
         where public_key = $1",
    )
    .bind(&key)
    .bind(number(next.block))
    .bind(number(next.vote.map(|vote| vote.0)))
    .bind(number(next.vote.map(|vote| vote.1)))
    .execute(&db)
    .await
    .unwrap();
    true
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn of_two_conflicting_messages_exactly_one_is_signed(db: PgPool) {
    let node = Node::granted(&db).await;
    let pools = [another(&db).await, another(&db).await];
    let mut number = 0;
    for (name, messages) in pairings() {
        for round in 0..rounds() {
            number += 1;
            let key = node.key(&db, number).await;
            let claims = messages.map(|(message, root)| node.claim(key, message, root));
            let signed = race(&pools, claims, ours).await;
            assert!(signed[0] != signed[1], "{name}, round {round}: {signed:?}");
        }
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn everyone_who_asks_for_the_same_message_gets_it(db: PgPool) {
    let node = Node::granted(&db).await;
    let pools = [another(&db).await, another(&db).await];
    for round in 1..=rounds() {
        let key = node.key(&db, round).await;
        let message = if round % 2 == 0 { BLOCK(9) } else { VOTE(1, 9) };
        let claim = node.claim(key, message, 1);
        let asked = (0..TASKS).map(|task| ours(pools[task % 2].clone(), claim));
        assert!(join_all(asked).await.into_iter().all(|signed| signed));
    }
    let recorded: i64 = sqlx::query_scalar("select count(*) from signature")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(recorded.unsigned_abs(), rounds());
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_guard_that_checks_and_then_writes_is_found_out(db: PgPool) {
    sqlx::query("alter table validator disable trigger validator_watermark_only_grows")
        .execute(&db)
        .await
        .unwrap();
    let node = Node::granted(&db).await;
    let pools = [another(&db).await, another(&db).await];
    let mut number = 0;
    for (name, messages) in pairings() {
        let mut violated = false;
        for _ in 0..rounds() {
            number += 1;
            let key = node.key(&db, number).await;
            let claims = messages.map(|(message, root)| node.claim(key, message, root));
            violated = race(&pools, claims, check_then_write).await == [true, true];
            if violated {
                break;
            }
        }
        assert!(violated, "{name}: the harness saw nothing");
    }
}
