//! Exits that owners have signed.

use crate::house::{House, fields, id, reason};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::signing_service_server::SigningService as _;
use berth_signer::domain::PublicKey;
use berth_signer::domain::eth::exit::SignedVoluntaryExit;
use berth_signer::store::chains;
use sqlx::PgPool;
use tonic::{Code, Status};

async fn exit(house: &House, key: &PublicKey, typed: &str, epoch: u64) -> Result<String, Status> {
    let request = house.call(pb::SignVoluntaryExitRequest {
        request_id: id(),
        public_key: key.to_string(),
        confirmation: typed.to_owned(),
        validator_index: 7,
        epoch,
    });
    let answer = house.api.sign_voluntary_exit(request).await?;
    Ok(answer.into_inner().signed_exit)
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn an_exit_is_signed_for_who_types_the_key_again_and_never_ahead_of_time(db: PgPool) {
    let house = House::new(db).await;
    let keys = house.validators(2).await;
    let typed = keys[0].to_string();
    let another = keys[1].to_string();
    for wrong in ["", "yes", &another] {
        let refused = exit(&house, &keys[0], wrong, 0).await.unwrap_err();
        assert_eq!(fields(&refused), ["confirmation"]);
    }
    house.set_epoch(15);
    let early = exit(&house, &keys[0], &typed, 16).await.unwrap_err();
    assert_eq!(
        (early.code(), reason(&early).as_str()),
        (Code::FailedPrecondition, "FAR_FUTURE")
    );

    let signed = exit(&house, &keys[0], &typed, 15).await.unwrap();
    let signed: SignedVoluntaryExit = serde_json::from_str(&signed).unwrap();
    assert_eq!(
        (signed.message.epoch, signed.message.validator_index),
        (15, 7)
    );
    let mut conn = house.db.acquire().await.unwrap();
    let chain = chains::get(&mut conn, crate::house::CHAIN).await.unwrap();
    // Past deneb, and signed for capella.
    let root = signed.message.signing_root(&chain, 15 * 8).unwrap();
    assert!(keys[0].signed(&root, &signed.signature));
}
