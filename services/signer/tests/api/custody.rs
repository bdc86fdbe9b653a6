//! The way out of quarantine: what monitoring says of a key, and what the signer
//! makes of it. An epoch takes 8 seconds.

use crate::house::{CHAIN, GENESIS_ROOT, House, fields, id, reason};
use crate::made::public_key;
use berth_core::NodeId;
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::custody_service_server::CustodyService as _;
use berth_signer::domain::refusal::Reason;
use berth_signer::domain::{Message, PublicKey};
use pb::report_observation_request::Seen;
use pb::validator_status::State;
use sqlx::PgPool;
use tonic::{Code, Request, Status};

/// The epoch in which the keys came.
const CAME: u64 = 100;

async fn quarantined(db: PgPool) -> (House, PublicKey) {
    let house = House::new(db).await;
    let request = pb::ImportKeysRequest {
        request_id: id(),
        chain: CHAIN.to_owned(),
        keystores: house.sealed(&[1]).await,
        interchange: String::new(),
        fresh: false,
        fee_recipient: String::new(),
        gas_limit: 0,
    };
    house.import(&request).await.unwrap();
    // In the time of the test's chain.
    sqlx::query("update validator set quarantine_time = to_timestamp($1)")
        .bind(i32::try_from(CAME * 8).unwrap())
        .execute(&house.db)
        .await
        .unwrap();
    house.set_epoch(CAME + 4);
    (house, public_key(1))
}

fn observation(key: &PublicKey, seen: Option<Seen>) -> pb::ReportObservationRequest {
    pb::ReportObservationRequest {
        public_key: key.to_string(),
        chain: CHAIN.to_owned(),
        genesis_validators_root: GENESIS_ROOT.0.to_vec(),
        seen,
    }
}

fn silent(first_epoch: u64, last_epoch: u64) -> Option<Seen> {
    Some(Seen::Silent(pb::SeenSilent {
        first_epoch,
        last_epoch,
    }))
}

async fn tell(house: &House, request: pb::ReportObservationRequest) -> Result<State, Status> {
    let answer = house.api.report_observation(Request::new(request)).await?;
    Ok(answer.into_inner().state())
}

async fn listed(house: &House) -> pb::ListQuarantinedResponse {
    let request = pb::ListQuarantinedRequest {
        chain: CHAIN.to_owned(),
        ..pb::ListQuarantinedRequest::default()
    };
    let answer = house.api.list_quarantined(Request::new(request)).await;
    answer.unwrap().into_inner()
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_key_that_is_silent_for_two_epochs_signs_above_all_that_went_before(db: PgPool) {
    let (house, key) = quarantined(db).await;
    let node = NodeId::generate();
    house.bind(node, 1, &[key]).await.unwrap();
    house.advance(node, 1).await.unwrap();
    house.grant(node, 1).await.unwrap();
    let vote = |target| Message::Attestation {
        source: target - 1,
        target,
    };
    let held = house.sign(node, 1, key, vote(CAME + 4)).await;
    assert_eq!(held, Some(Reason::Quarantined));
    let waiting = listed(&house).await;
    assert_eq!(waiting.keys.len(), 1);
    assert_eq!(waiting.keys[0].public_key, key.to_string());
    let came = waiting.keys[0].quarantine_time.unwrap();
    assert_eq!(came.seconds, i64::try_from(CAME * 8).unwrap());
    let chain = waiting.chain.unwrap();
    assert_eq!(
        (chain.name.as_str(), chain.preset.as_str()),
        (CHAIN, "minimal")
    );

    let told = observation(&key, silent(CAME + 1, CAME + 2));
    let state = tell(&house, told.clone()).await.unwrap();
    assert_eq!(state, State::Active);
    let status = house.status(&key).await;
    assert_eq!(status.state(), State::Active);
    assert!(
        status.status_reason.contains("from epoch 101 to 102"),
        "{status:?}"
    );
    let marks = status.watermarks.unwrap();
    assert_eq!(marks.target_epoch, Some(CAME + 5));
    assert_eq!(marks.source_epoch, Some(CAME + 4));
    assert_eq!(marks.block_slot, Some((CAME + 5) * 8));
    assert!(listed(&house).await.keys.is_empty());
    for (epoch, signed) in [(CAME + 4, false), (CAME + 5, false), (CAME + 6, true)] {
        let refused = house.sign(node, 1, key, vote(epoch)).await;
        assert_eq!(refused.is_none(), signed, "{epoch}: {refused:?}");
    }
    let again = tell(&house, told).await.unwrap_err();
    assert_eq!(reason(&again), "VALIDATOR_STATE");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_key_stays_for_every_lack_of_evidence_and_says_which(db: PgPool) {
    let (house, key) = quarantined(db).await;
    let why = house.status(&key).await.status_reason;
    assert!(why.contains("no observer"), "{why}");
    let short = observation(&key, silent(CAME + 1, CAME + 1));
    let early = observation(&key, silent(CAME, CAME + 2));
    let open = observation(&key, silent(CAME + 1, CAME + 3));
    let other_network = pb::ReportObservationRequest {
        genesis_validators_root: vec![8; 32],
        ..observation(&key, silent(CAME + 1, CAME + 2))
    };
    for (told, wanted) in [
        (short, "OBSERVATION_SHORT"),
        (early, "OBSERVATION_EARLY"),
        (open, "OBSERVATION_NOT_OVER"),
        (other_network, "CHAIN_PINNED"),
    ] {
        let refused = tell(&house, told).await.unwrap_err();
        assert_eq!(reason(&refused), wanted);
    }
    house.set_epoch(CAME + 11);
    let old = observation(&key, silent(CAME + 1, CAME + 2));
    let old = tell(&house, old).await.unwrap_err();
    assert_eq!(reason(&old), "OBSERVATION_OLD");

    for (seen, said) in [
        (Seen::Active(pb::SeenActive { epoch: 109 }), "in epoch 109"),
        (
            Seen::Idle(pb::SeenIdle {
                status: "pending_queued".to_owned(),
            }),
            "(pending_queued)",
        ),
    ] {
        let state = tell(&house, observation(&key, Some(seen))).await.unwrap();
        assert_eq!(state, State::Quarantined);
        let status = house.status(&key).await;
        assert!(status.status_reason.contains(said), "{status:?}");
        assert_eq!(status.watermarks.unwrap(), pb::Watermarks::default());
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn silence_that_is_told_late_does_not_outweigh_what_was_seen_since(db: PgPool) {
    let (house, key) = quarantined(db).await;
    let active = |epoch| observation(&key, Some(Seen::Active(pb::SeenActive { epoch })));
    tell(&house, active(CAME + 2)).await.unwrap();
    // Of another replica, which saw less.
    tell(&house, active(CAME + 1)).await.unwrap();
    house.set_epoch(CAME + 6);
    for first in [CAME + 1, CAME + 2] {
        let late = observation(&key, silent(first, CAME + 4));
        let refused = tell(&house, late).await.unwrap_err();
        assert_eq!(reason(&refused), "OBSERVATION_CONTRADICTED");
    }
    let silent = observation(&key, silent(CAME + 3, CAME + 4));
    assert_eq!(tell(&house, silent).await.unwrap(), State::Active);
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn what_is_malformed_or_of_nobody_changes_nothing(db: PgPool) {
    let (house, key) = quarantined(db).await;
    let good = observation(&key, silent(CAME + 1, CAME + 2));
    let word = Some(Seen::Idle(pb::SeenIdle {
        status: "Stop it\n".to_owned(),
    }));
    for (told, field) in [
        (observation(&key, None), "seen"),
        (observation(&key, word), "idle.status"),
        (
            pb::ReportObservationRequest {
                public_key: "0x12".to_owned(),
                ..good.clone()
            },
            "public_key",
        ),
        (
            pb::ReportObservationRequest {
                genesis_validators_root: vec![7; 31],
                ..good.clone()
            },
            "genesis_validators_root",
        ),
    ] {
        let refused = tell(&house, told).await.unwrap_err();
        assert_eq!(fields(&refused), [field]);
    }
    let unknown = observation(&public_key(2), silent(CAME + 1, CAME + 2));
    let unknown = tell(&house, unknown).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    // Its owner was faster.
    sqlx::query("update validator set state = 'disabled'")
        .execute(&house.db)
        .await
        .unwrap();
    let late = tell(&house, good).await.unwrap_err();
    assert_eq!(reason(&late), "VALIDATOR_STATE");
    assert_eq!(house.status(&key).await.state(), State::Disabled);
}
