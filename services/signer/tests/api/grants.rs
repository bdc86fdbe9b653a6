//! Chains, validators of nodes, fences and grants, as provisioning says them.

use crate::eventually::eventually;
use crate::house::{CHAIN, House, chain, fields, reason};
use berth_core::{AccountId, NodeId};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::grant_service_server::GrantService as _;
use berth_signer::domain::Message;
use berth_signer::domain::refusal::Reason;
use sqlx::PgPool;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;
use tonic::{Code, Request};

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_chain_is_pinned_once_and_forks_follow_also_late(db: PgPool) {
    let house = House::new(db).await;
    house.put(chain(5)).await.unwrap();
    house.set_epoch(1000);
    house.put(chain(6)).await.unwrap();
    house.put(chain(6)).await.unwrap();
    // Whoever knows fewer changes nothing.
    house.put(chain(5)).await.unwrap();
    let mut changed = chain(6);
    changed.forks[3].epoch += 1;
    assert_eq!(
        reason(&house.put(changed).await.unwrap_err()),
        "CHAIN_PINNED"
    );
    let other = pb::SigningChain {
        genesis_validators_root: vec![8; 32],
        ..chain(6)
    };
    let other = house.put(other).await.unwrap_err();
    assert_eq!(other.code(), Code::FailedPrecondition);
    assert!(
        other.message().contains("genesis validators root"),
        "{other}"
    );
    let wrong = pb::SigningChain {
        name: "no name".to_owned(),
        genesis_validators_root: vec![7; 31],
        seconds_per_slot: 0,
        preset: "gnosis".to_owned(),
        genesis_time: u64::MAX,
        forks: vec![],
    };
    let wrong = house.put(wrong).await.unwrap_err();
    let named = fields(&wrong);
    assert_eq!(named.len(), 6, "{named:?}");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_node_signs_with_the_validators_that_it_is_given_and_no_others(db: PgPool) {
    let house = House::new(db).await;
    let keys = house.validators(3).await;
    let node = house.node(&keys[..2]).await;
    let vote = |target| Message::Attestation { source: 0, target };
    assert_eq!(house.sign(node, 1, keys[0], vote(1)).await, None);
    assert_eq!(
        house.sign(node, 1, keys[2], vote(1)).await,
        Some(Reason::UnknownKey)
    );

    // The same again changes nothing; a new one signs at once.
    house.bind(node, 1, &keys[..2]).await.unwrap();
    house.bind(node, 1, &keys[1..]).await.unwrap();
    assert_eq!(
        house.sign(node, 1, keys[0], vote(2)).await,
        Some(Reason::UnknownKey)
    );
    assert_eq!(house.sign(node, 1, keys[1], vote(2)).await, None);
    assert_eq!(house.sign(node, 1, keys[2], vote(2)).await, None);
    let freed = house.status(&keys[0]).await;
    assert_eq!(
        (freed.node_id.as_str(), freed.fence, freed.granted),
        ("", 0, false)
    );

    // Those that come with the next placement wait for its grant.
    house.bind(node, 2, &keys).await.unwrap();
    assert_eq!(
        house.sign(node, 1, keys[0], vote(3)).await,
        Some(Reason::NotGranted)
    );
    assert_eq!(house.advance(node, 2).await.unwrap(), 2);
    assert_eq!(
        house.sign(node, 1, keys[1], vote(3)).await,
        Some(Reason::Fenced)
    );
    assert_eq!(
        house.sign(node, 2, keys[0], vote(3)).await,
        Some(Reason::NotGranted)
    );
    house.grant(node, 2).await.unwrap();
    assert_eq!(house.sign(node, 2, keys[0], vote(3)).await, None);
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn whoever_was_overtaken_changes_nothing_and_learns_the_fence(db: PgPool) {
    use tonic_types::StatusExt as _;
    let house = House::new(db).await;
    let keys = house.validators(1).await;
    let node = house.node(&keys).await;
    house.advance(node, 5).await.unwrap();
    for refused in [
        house.bind(node, 4, &[]).await.unwrap_err(),
        house.advance(node, 4).await.unwrap_err(),
        house.grant(node, 4).await.unwrap_err(),
        house.grant(node, 6).await.unwrap_err(),
    ] {
        let info = refused.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["want"].as_str()),
            ("FENCED", "5")
        );
    }
    assert_eq!(house.status(&keys[0]).await.node_id, node.to_string());
    let absurd = house.advance(node, u64::MAX).await.unwrap_err();
    assert_eq!(fields(&absurd), ["fence"]);
    assert_eq!(
        fields(&house.advance(node, 0).await.unwrap_err()),
        ["fence"]
    );
    let unknown = house.grant(NodeId::generate(), 1).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_validator_that_cannot_sign_for_a_node_is_refused_by_name(db: PgPool) {
    let house = House::new(db).await;
    let keys = house.validators(2).await;
    let node = house.node(&keys[..1]).await;
    let another = NodeId::generate();
    let taken = house.bind(another, 1, &keys).await.unwrap_err();
    assert_eq!(reason(&taken), "VALIDATOR_BOUND");
    assert!(taken.message().contains(&node.to_string()), "{taken}");
    // All or none.
    assert_eq!(house.status(&keys[1]).await.node_id, "");

    let request = |account: AccountId, chain: &str, key: String| {
        Request::new(pb::BindValidatorsRequest {
            node_id: NodeId::generate().to_string(),
            account_id: account.to_string(),
            chain: chain.to_owned(),
            public_keys: vec![key],
            fence: 1,
        })
    };
    let bind = async |account, chain, key: String| {
        let request = request(account, chain, key);
        house.api.bind_validators(request).await.unwrap_err()
    };
    let free = keys[1].to_string();
    let stranger = bind(AccountId::generate(), CHAIN, free.clone()).await;
    assert_eq!(stranger.code(), Code::NotFound);
    let elsewhere = bind(house.account, "ethereum-mainnet", free).await;
    assert_eq!(reason(&elsewhere), "VALIDATOR_CHAIN");
    let malformed = bind(house.account, CHAIN, "0x12".to_owned()).await;
    assert_eq!(fields(&malformed), ["public_keys[0]"]);
    sqlx::query("update validator set state = 'removed' where public_key = $1")
        .bind(&keys[1].0[..])
        .execute(&house.db)
        .await
        .unwrap();
    let removed = house.bind(another, 1, &keys[1..]).await.unwrap_err();
    assert_eq!(reason(&removed), "VALIDATOR_STATE");
}

/// Several placements of one node, one after the other, while old ones go on
/// asking and the node's validators come and go: once a fence is raised, no
/// older placement signs anything any more.
#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn nothing_is_signed_under_an_old_fence_while_all_happens_at_once(db: PgPool) {
    const PLACEMENTS: u64 = 12;
    let house = Arc::new(House::new(db).await);
    let keys = house.validators(4).await;
    let node = house.node(&keys).await;
    // The fence that is known, and one more than the last when all is over.
    let current = Arc::new(AtomicU64::new(1));
    let slot = Arc::new(AtomicU64::new(1));
    let mut tasks = JoinSet::new();
    for key in keys.clone() {
        let (house, slot, current) = (house.clone(), slot.clone(), current.clone());
        tasks.spawn(async move {
            while current.load(Ordering::SeqCst) <= PLACEMENTS {
                for fence in 1..=PLACEMENTS {
                    let slot = slot.fetch_add(1, Ordering::SeqCst);
                    house.sign(node, fence, key, Message::Block { slot }).await;
                }
            }
        });
    }
    for half in [0, 2] {
        let (house, keys, current) = (house.clone(), keys.clone(), current.clone());
        tasks.spawn(async move {
            while current.load(Ordering::SeqCst) <= PLACEMENTS {
                for bound in [&keys[half..half + 2], &keys[..]] {
                    let fence = current.load(Ordering::SeqCst);
                    if let Err(refused) = house.bind(node, fence, bound).await {
                        assert_eq!(reason(&refused), "FENCED");
                    }
                }
            }
        });
    }
    let mut counts = Vec::new();
    for fence in 1..=PLACEMENTS {
        house.advance(node, fence).await.unwrap();
        counts.push((fence, signatures(&house.db, 0..fence).await));
        house.grant(node, fence).await.unwrap();
        current.store(fence, Ordering::SeqCst);
        eventually("the placement signs", async || {
            let signed = signatures(&house.db, fence..fence + 1).await;
            (signed > 0).then_some(())
        })
        .await;
    }
    current.store(PLACEMENTS + 1, Ordering::SeqCst);
    tasks.join_all().await;
    for (fence, count) in counts {
        let now = signatures(&house.db, 0..fence).await;
        assert_eq!(now, count, "fence {fence}");
    }
}

/// How many signatures there are under these fences.
async fn signatures(db: &PgPool, fences: Range<u64>) -> i64 {
    let number = |fence| i64::try_from(fence).unwrap();
    sqlx::query_scalar("select count(*) from signature where fence >= $1 and fence < $2")
        .bind(number(fences.start))
        .bind(number(fences.end))
        .fetch_one(db)
        .await
        .unwrap()
}
