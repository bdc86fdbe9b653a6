//! Offers.

use crate::fixture::{Yard, euro, fields, id, reason, seconds};
use berth_inventory::store::MIGRATIONS;
use berth_proto::inventory::v1 as pb;
use berth_proto::inventory::v1::inventory_service_server::InventoryService as _;
use sqlx::PgPool;
use tonic::{Code, Status};

async fn list(yard: &Yard, machine: &str, page_token: String) -> (Vec<i64>, String) {
    let message = pb::ListOffersRequest {
        page_size: 2,
        page_token,
        machine_id: machine.to_owned(),
    };
    let answer = yard.api.list_offers(yard.request(message)).await.unwrap();
    let answer = answer.into_inner();
    let price = |offer: pb::Offer| offer.spec.unwrap().price_per_hour.unwrap().micros;
    (
        answer.offers.into_iter().map(price).collect(),
        answer.next_page_token,
    )
}

async fn close(yard: &Yard, offer: &str) -> Result<pb::Offer, Status> {
    let message = pb::CloseOfferRequest {
        request_id: id(),
        offer_id: offer.to_owned(),
    };
    let answer = yard.api.close_offer(yard.request(message)).await?;
    Ok(answer.into_inner().offer.unwrap())
}

async fn get(yard: &Yard, offer: &str) -> Result<pb::Offer, Status> {
    let message = pb::GetOfferRequest {
        offer_id: offer.to_owned(),
    };
    let answer = yard.api.get_offer(yard.request(message)).await?;
    Ok(answer.into_inner().offer.unwrap())
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn offers_of_every_supplier_are_listed_cheapest_first(db: PgPool) {
    let yard = Yard::new(db).await;
    let other = Yard::of(&yard.api).await;
    let (machine, _) = yard.free("m1", 1, 3_000_000).await;
    yard.free("m2", 2, 1_000_000).await;
    other.free("m3", 3, 2_000_000).await;
    let (prices, next) = list(&yard, "", String::new()).await;
    assert_eq!(prices, [1_000_000, 2_000_000]);
    assert_eq!(
        list(&yard, "", next).await,
        (vec![3_000_000], String::new())
    );
    // An identifier may be another account's; a name is one's own.
    for (who, key) in [(&yard, "m1"), (&other, machine.as_str())] {
        assert_eq!(list(who, key, String::new()).await.0, [3_000_000]);
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_has_one_open_offer(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, offer) = yard.free("m1", 1, 1_000_000).await;
    let refused = yard.offer(&machine, 2_000_000).await.unwrap_err();
    assert_eq!(reason(&refused), "OFFER_OPEN");
    let closed = close(&yard, &offer).await.unwrap();
    assert_eq!(
        closed.status.unwrap().state(),
        pb::offer_status::State::Closed
    );
    assert!(
        close(&yard, &offer).await.is_ok(),
        "closing twice is closing"
    );
    assert!(yard.offer(&machine, 2_000_000).await.is_ok());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_open_offer_is_everybodys_to_see_and_its_suppliers_to_close(db: PgPool) {
    let yard = Yard::new(db).await;
    let other = Yard::of(&yard.api).await;
    let (_, offer) = yard.free("m1", 1, 1_000_000).await;
    let seen = get(&other, &offer).await.unwrap().status.unwrap();
    assert_eq!(
        (seen.machine_name.as_str(), seen.machine_available),
        ("m1", true)
    );
    let refused = close(&other, &offer).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    close(&yard, &offer).await.unwrap();
    assert_eq!(
        get(&other, &offer).await.unwrap_err().code(),
        Code::NotFound
    );
    assert!(get(&yard, &offer).await.is_ok());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn everything_wrong_with_an_offer_is_said_at_once(db: PgPool) {
    let yard = Yard::new(db).await;
    let create = async |spec: Option<pb::OfferSpec>| {
        let message = pb::CreateOfferRequest {
            request_id: id(),
            spec,
        };
        fields(
            &yard
                .api
                .create_offer(yard.request(message))
                .await
                .unwrap_err(),
        )
    };
    assert_eq!(create(None).await, ["spec"]);
    let spec = pb::OfferSpec {
        machine_id: String::new(),
        price_per_hour: Some(euro(0)),
        min_term: Some(seconds(1)),
        max_term: Some(seconds(-1)),
    };
    assert_eq!(
        create(Some(spec.clone())).await,
        [
            "spec.machine_id",
            "spec.price_per_hour.micros",
            "spec.min_term",
            "spec.max_term"
        ]
    );
    let spec = pb::OfferSpec {
        machine_id: "m1".to_owned(),
        price_per_hour: Some(euro(1)),
        min_term: Some(seconds(120)),
        max_term: Some(seconds(60)),
    };
    assert_eq!(create(Some(spec)).await, ["spec.max_term"]);
}
