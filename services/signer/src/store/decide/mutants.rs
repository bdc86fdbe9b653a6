//! Every comparison of the statement, weakened: the table of cases must notice
//! each. The triggers are off, so that the statement stands alone.

use super::{STATEMENT, run};
use crate::domain::{Claim, Message, PublicKey, Root};
use berth_core::{Fence, NodeId};
use sqlx::PgPool;

const MUTANTS: &[(&str, &str)] = &[
    ("state = 'active' and", ""),
    ("node_id = node and", ""),
    ("fence = claimed_fence", "fence >= claimed_fence"),
    ("fence = claimed_fence", "fence <= claimed_fence"),
    ("and granted,", ","),
    (
        "slot > coalesce(block_slot, -1)",
        "slot >= coalesce(block_slot, -1)",
    ),
    (
        "slot > coalesce(block_slot, -1)",
        "slot > coalesce(block_slot, 0)",
    ),
    ("source <= target and source >=", "source >="),
    (
        "source >= coalesce(source_epoch, 0)",
        "source > coalesce(source_epoch, -1)",
    ),
    ("source >= coalesce(source_epoch, 0)", "true"),
    (
        "target > coalesce(target_epoch, -1)",
        "target >= coalesce(target_epoch, -1)",
    ),
    (
        "target > coalesce(target_epoch, -1)",
        "target > coalesce(target_epoch, 0)",
    ),
    ("target > coalesce(target_epoch, -1)", "true"),
    ("slot = block_slot and", "slot <= block_slot and"),
    ("and root = block_root", ""),
    ("target = target_epoch and", "target <= target_epoch and"),
    ("and root = attestation_root", ""),
    ("source = source_epoch and", ""),
    ("judged.admitted\n", "true\n"),
    ("(judged.fresh or judged.again)", "true"),
    ("(judged.fresh or judged.again)", "judged.fresh"),
    (
        "else judged.root end,\n        source",
        "else null end,\n        source",
    ),
    ("else judged.root end\n", "else null end\n"),
    (
        "coalesce(judged.slot, validator.block_slot)",
        "validator.block_slot",
    ),
    (
        "coalesce(judged.source, validator.source_epoch)",
        "coalesce(validator.source_epoch, judged.source)",
    ),
    (
        "coalesce(judged.target, validator.target_epoch)",
        "coalesce(validator.target_epoch, judged.target)",
    ),
    ("where not again", ""),
    ("select admitted and other,", "select other,"),
    ("for update of validator", ""),
    (
        "order by validator.public_key\n",
        "order by validator.public_key desc\n",
    ),
];

const NODE: u128 = 7;

fn key(number: u8) -> PublicKey {
    PublicKey([number; 48])
}

fn claim(number: u8, message: Message, root: u8) -> Claim {
    Claim {
        public_key: key(number),
        node_id: NodeId::from(sqlx::types::Uuid::from_u128(NODE)),
        fence: Fence::from(5),
        message,
        root: Root([root; 32]),
    }
}

/// Keys 1 to 5: one that may sign, then one of another node, one without a
/// grant and two that are silent.
async fn fill(db: &PgPool) {
    sqlx::raw_sql(
        "drop table if exists pristine;
         alter table validator disable trigger all; alter table signature disable trigger all;
         insert into chain values ('devnet', decode(repeat('00', 32), 'hex'), 0, 12, 'minimal', '[]');
         insert into node (id, account_id, fence) values
             ('00000000-0000-0000-0000-000000000007', gen_random_uuid(), 5),
             ('00000000-0000-0000-0000-000000000008', gen_random_uuid(), 5);
         insert into validator (public_key, account_id, chain, state, node_id, fence, granted)
         select decode(repeat('0' || n, 48), 'hex'), gen_random_uuid(), 'devnet',
                case n when 4 then 'disabled' when 5 then 'quarantined' else 'active' end,
                case n when 2 then '00000000-0000-0000-0000-000000000008'
                       else '00000000-0000-0000-0000-000000000007' end::uuid, 5, n <> 3
         from generate_series(6, 1, -1) n",
    )
    .execute(db)
    .await
    .unwrap();
}

async fn wipe(db: &PgPool) {
    sqlx::raw_sql(
        "update validator set block_slot = null, block_root = null, source_epoch = null,
             target_epoch = null, attestation_root = null, fence = 5;
         delete from signature",
    )
    .execute(db)
    .await
    .unwrap();
}

/// Whether a statement does all that it should.
async fn holds(statement: &'static str, db: &PgPool) -> bool {
    wipe(db).await;
    table(statement, db).await && newest(statement, db).await && ordered(statement, db).await
}

async fn asks(statement: &'static str, db: &PgPool, claim: Claim) -> Option<bool> {
    let verdicts = run(statement, db, &[claim]).await.ok()?;
    Some(verdicts.first()?.is_ok())
}

async fn table(statement: &'static str, db: &PgPool) -> bool {
    let block = |slot| Message::Block { slot };
    let vote = |source, target| Message::Attestation { source, target };
    let at = |fence: u64, claim| Claim {
        fence: Fence::from(fence),
        ..claim
    };
    let cases = [
        (claim(2, block(1), 1), false),
        (claim(3, block(1), 1), false),
        (claim(3, Message::Other, 1), false),
        (claim(4, block(1), 1), false),
        (claim(5, vote(0, 1), 1), false),
        (at(4, claim(1, block(1), 1)), false),
        (at(6, claim(1, block(1), 1)), false),
        (claim(1, Message::Other, 1), true),
        (claim(1, vote(2, 1), 1), false),
        (claim(1, block(0), 1), true),
        (claim(1, vote(0, 0), 1), true),
        (claim(1, block(10), 1), true),
        (claim(1, block(10), 1), true),
        (claim(1, block(10), 2), false),
        (claim(1, block(9), 1), false),
        (claim(1, vote(0, 4), 1), true),
        (claim(1, vote(3, 5), 1), true),
        (claim(1, vote(3, 5), 1), true),
        (claim(1, vote(6, 5), 1), false),
        (claim(1, vote(3, 5), 2), false),
        (claim(1, vote(2, 5), 1), false),
        (claim(1, vote(4, 5), 1), false),
        (claim(1, vote(3, 4), 1), false),
        (claim(1, vote(2, 6), 2), false),
        (claim(1, vote(3, 6), 3), true),
        (claim(1, block(11), 3), true),
        (claim(1, block(11), 3), true),
    ];
    for (claim, expected) in cases {
        if asks(statement, db, claim).await != Some(expected) {
            return false;
        }
    }
    let recorded: i64 = sqlx::query_scalar("select count(*) from signature")
        .fetch_one(db)
        .await
        .unwrap();
    recorded == 7
}

/// What waited for a lock judges what was committed meanwhile.
async fn newest(statement: &'static str, db: &PgPool) -> bool {
    let mut txn = db.begin().await.unwrap();
    sqlx::query("update validator set block_slot = 50 where public_key = $1")
        .bind(&key(6).0[..])
        .execute(&mut *txn)
        .await
        .unwrap();
    let late = asks(statement, db, claim(6, Message::Block { slot: 40 }, 1));
    let (late, ()) = tokio::join!(late, async {
        waiting(db).await;
        txn.commit().await.unwrap();
    });
    late == Some(false)
}

/// The lower key is locked first: while it is taken the higher one is free.
async fn ordered(statement: &'static str, db: &PgPool) -> bool {
    let mut txn = db.begin().await.unwrap();
    sqlx::query("select from validator where public_key = $1 for update")
        .bind(&key(1).0[..])
        .execute(&mut *txn)
        .await
        .unwrap();
    let claims = [6, 1].map(|number| claim(number, Message::Block { slot: 99 }, 1));
    let both = run(statement, db, &claims);
    let (both, free) = tokio::join!(both, async {
        waiting(db).await;
        let free = sqlx::query("select from validator where public_key = $1 for update nowait")
            .bind(&key(6).0[..])
            .execute(&mut *txn)
            .await
            .is_ok();
        txn.rollback().await.unwrap();
        free
    });
    free && both.is_ok_and(|verdicts| verdicts.iter().all(Result::is_ok))
}

/// Until a statement of this database waits for a lock.
async fn waiting(db: &PgPool) {
    let asked = async {
        loop {
            let waits: bool = sqlx::query_scalar(
                "select exists (select from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock')",
            )
            .fetch_one(db)
            .await
            .unwrap();
            if waits {
                return;
            }
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, asked).await.unwrap();
}

#[sqlx::test(migrator = "crate::store::MIGRATIONS")]
async fn no_weakened_statement_goes_unnoticed(db: PgPool) {
    fill(&db).await;
    assert!(holds(STATEMENT, &db).await);
    for (from, to) in MUTANTS {
        assert_eq!(STATEMENT.matches(from).count(), 1, "{from}");
        let mutant: &'static str = STATEMENT.replace(from, to).leak();
        assert!(!holds(mutant, &db).await, "`{from}` as `{to}` survived");
    }
}
