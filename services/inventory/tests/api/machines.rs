//! Machines: enrolling, changing, verifying, cordoning, retiring.

use crate::fixture::{
    FINGERPRINT, HOST_KEY, State, Yard, any, facts, fields, id, reason, state, why,
};
use berth_core::LeaseId;
use berth_inventory::store::MIGRATIONS;
use berth_proto::inventory::v1 as pb;
use berth_proto::inventory::v1::inventory_service_server::InventoryService as _;
use prost_types::FieldMask;
use sqlx::PgPool;
use tonic::{Code, Status};

async fn update(
    yard: &Yard,
    machine: &str,
    paths: &[&str],
    spec: pb::MachineSpec,
) -> Result<pb::Machine, Status> {
    let message = pb::UpdateMachineRequest {
        request_id: id(),
        machine_id: machine.to_owned(),
        spec: Some(spec),
        update_mask: Some(FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
        etag: String::new(),
    };
    let answer = yard.api.update_machine(yard.request(message)).await?;
    Ok(answer.into_inner().machine.unwrap())
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_stays_enrolling_until_somebody_verifies_it(db: PgPool) {
    let yard = Yard::new(db).await;
    let machine = yard.enroll("m1", 1).await;
    let spec = machine.spec.clone().unwrap();
    assert_eq!(state(&machine), State::Enrolling);
    assert_eq!(
        (spec.address.as_str(), spec.user.as_str()),
        ("192.0.2.1:22", "berth")
    );
    assert_eq!(yard.work(&machine.id).await, None);
    let verifying = yard.verify("m1").await.unwrap();
    assert_eq!(state(&verifying), State::Verifying);
    assert!(verifying.reconciling);
    let work = yard.work(&machine.id).await.unwrap();
    assert_eq!(
        (work.kind(), work.attempt),
        (pb::machine_work::Kind::Wipe, 1)
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn enrolling_again_gives_the_machine_that_is_there(db: PgPool) {
    let yard = Yard::new(db).await;
    let first = yard.enroll("m1", 1).await;
    assert_eq!(yard.enroll("m1", 1).await, first);

    let moved = yard
        .api
        .enroll_machine(yard.request(yard.enrollment("m1", 2)))
        .await;
    assert_eq!(reason(&moved.unwrap_err()), "NAME_TAKEN");
    let renamed = yard
        .api
        .enroll_machine(yard.request(yard.enrollment("m2", 1)))
        .await;
    let refused = renamed.unwrap_err();
    assert_eq!(reason(&refused), "ADDRESS_TAKEN");
    assert!(refused.message().contains("`m1`"), "{}", refused.message());

    yard.retire("m1").await.unwrap();
    assert_ne!(yard.enroll("m1", 1).await.id, first.id);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn sixteen_equal_enrollments_at_once_make_one_machine(db: PgPool) {
    let yard = Yard::new(db).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let yard = yard.clone();
        calls.spawn(async move { yard.enroll("m1", 1).await.id });
    }
    let mut ids = calls.join_all().await;
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn everything_wrong_with_an_enrollment_is_said_at_once(db: PgPool) {
    let yard = Yard::new(db).await;
    let message = pb::EnrollMachineRequest {
        request_id: id(),
        name: "-".to_owned(),
        spec: Some(pb::MachineSpec {
            supplier_id: String::new(),
            address: "a b".to_owned(),
            user: "a b".to_owned(),
            host_key: "trust me".to_owned(),
            claim: Some(pb::HardwareClaim {
                memory_bytes: u64::MAX,
                gpu_model: "x".repeat(200),
                ..Default::default()
            }),
            region: "y".repeat(64),
        }),
    };
    let refused = yard
        .api
        .enroll_machine(yard.request(message))
        .await
        .unwrap_err();
    assert_eq!(
        fields(&refused),
        [
            "name",
            "spec.supplier_id",
            "spec.address",
            "spec.user",
            "spec.host_key",
            "spec.claim.memory_bytes",
            "spec.claim.gpu_model",
            "spec.region"
        ]
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn another_account_cannot_see_or_touch_a_machine(db: PgPool) {
    let yard = Yard::new(db).await;
    let other = Yard::of(&yard.api).await;
    let machine = yard.enroll("m1", 1).await.id;
    for key in [machine.as_str(), "m1"] {
        let refusals = [
            other.verify(key).await,
            other.cordon(key).await,
            other.uncordon(key).await,
            other.retire(key).await,
            update(&other, key, &["region"], pb::MachineSpec::default()).await,
        ];
        for refused in refusals {
            assert_eq!(refused.unwrap_err().code(), Code::NotFound);
        }
        assert_eq!(
            other.offer(key, 1).await.unwrap_err().code(),
            Code::NotFound
        );
    }
    let foreign = other.request(yard.enrollment("m9", 9));
    let refused = other.api.enroll_machine(foreign).await.unwrap_err();
    assert_eq!(
        refused.message(),
        format!("supplier `{}` not found", yard.supplier)
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_name_that_two_suppliers_use_must_be_an_identifier(db: PgPool) {
    let mut yard = Yard::new(db).await;
    let first = yard.enroll("m1", 1).await.id;
    let message = pb::CreateSupplierRequest {
        request_id: id(),
        name: "ovh".to_owned(),
    };
    let made = yard
        .api
        .create_supplier(yard.request(message))
        .await
        .unwrap();
    yard.supplier = made.into_inner().supplier.unwrap().name;
    yard.enroll("m1", 1).await;
    assert_eq!(
        fields(&yard.verify("m1").await.unwrap_err()),
        ["machine_id"]
    );
    assert!(yard.verify(&first).await.is_ok());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn machines_are_listed_by_state_newest_first(db: PgPool) {
    let yard = Yard::new(db).await;
    for host in 1..=3 {
        yard.enroll(&format!("m{host}"), host).await;
    }
    yard.verify("m2").await.unwrap();
    let list = async |state: i32, page_token: String| {
        let message = pb::ListMachinesRequest {
            page_size: 2,
            page_token,
            state,
        };
        let answer = yard.api.list_machines(yard.request(message)).await?;
        let answer = answer.into_inner();
        let names: Vec<_> = answer.machines.into_iter().map(|m| m.name).collect();
        Ok::<_, Status>((names, answer.next_page_token))
    };
    let (names, next) = list(0, String::new()).await.unwrap();
    assert_eq!(names, ["m3", "m2"]);
    assert_eq!(
        list(0, next).await.unwrap(),
        (vec!["m1".to_owned()], String::new())
    );
    let (names, _) = list(State::Verifying.into(), String::new()).await.unwrap();
    assert_eq!(names, ["m2"]);
    assert_eq!(
        fields(&list(99, String::new()).await.unwrap_err()),
        ["state"]
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn what_was_measured_under_another_description_is_measured_again(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, _) = yard.free("m1", 1, 1_000_000).await;
    let spec = pb::MachineSpec {
        address: "192.0.2.77:2222".to_owned(),
        host_key: FINGERPRINT.to_owned(),
        region: "fi-hel".to_owned(),
        ..Default::default()
    };
    // The fingerprint is of the key that is pinned, and says less.
    let changed = update(&yard, &machine, &["region", "host_key"], spec.clone())
        .await
        .unwrap();
    assert_eq!(state(&changed), State::Available);
    assert_eq!(changed.spec.unwrap().host_key, HOST_KEY);
    let changed = update(&yard, &machine, &["address"], spec).await.unwrap();
    assert_eq!(state(&changed), State::Enrolling);
    assert_eq!(why(&changed), "its address changed; verify it again");
    let spec = changed.spec.unwrap();
    assert_eq!(
        (spec.region.as_str(), spec.address.as_str()),
        ("fi-hel", "192.0.2.77:2222")
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_update_is_guarded_by_its_mask_and_etag(db: PgPool) {
    let yard = Yard::new(db).await;
    let machine = yard.enroll("m1", 1).await;
    let spec = machine.spec.clone().unwrap();
    let refused = update(&yard, "m1", &["supplier_id", "nonsense"], spec.clone()).await;
    assert_eq!(
        fields(&refused.unwrap_err()),
        ["update_mask", "update_mask"]
    );
    let refused = update(&yard, "m1", &[], spec.clone()).await.unwrap_err();
    assert_eq!(fields(&refused), ["update_mask"]);
    yard.cordon("m1").await.unwrap();
    let message = pb::UpdateMachineRequest {
        request_id: id(),
        machine_id: "m1".to_owned(),
        spec: Some(spec),
        update_mask: Some(FieldMask {
            paths: vec!["region".to_owned()],
        }),
        etag: machine.etag,
    };
    let refused = yard.api.update_machine(yard.request(message)).await;
    assert_eq!(refused.unwrap_err().code(), Code::Aborted);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_in_use_is_not_changed_verified_or_retired(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, _) = yard.free("m1", 1, 1_000_000).await;
    let lease = LeaseId::generate();
    yard.reserve(any(lease, 1_000_000)).await.unwrap();
    yard.confirm(lease).await.unwrap();
    let spec = pb::MachineSpec::default();
    for refused in [
        update(&yard, &machine, &["region"], spec).await,
        yard.verify(&machine).await,
        yard.retire(&machine).await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), "MACHINE_STATE");
        assert!(
            refused.message().contains("LEASED"),
            "{}",
            refused.message()
        );
    }
    // It can be cordoned: then it is not free when the lease is over.
    let cordoned = yard.cordon(&machine).await.unwrap();
    assert_eq!(state(&cordoned), State::Leased);
    assert!(cordoned.status.unwrap().cordoned);
    yard.release(lease).await;
    let free = yard.wiped(&machine, 3, "").await.unwrap();
    assert_eq!(state(&free), State::Cordoned);
    assert_eq!(
        state(&yard.uncordon(&machine).await.unwrap()),
        State::Available
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_cordoned_machine_is_reserved_neither_by_price_nor_by_offer(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, offer) = yard.free("m1", 1, 1_000_000).await;
    let by_price = |lease| any(lease, 1_000_000);
    let by_offer = |lease| pb::ReserveMachineRequest {
        offer_id: offer.clone(),
        requirements: None,
        max_price_per_hour: None,
        ..any(lease, 1_000_000)
    };
    let cordoned = yard.cordon(&machine).await.unwrap();
    assert_eq!(state(&cordoned), State::Cordoned);
    for wish in [by_price(LeaseId::generate()), by_offer(LeaseId::generate())] {
        let refused = yard.reserve(wish).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(reason(&refused), "NO_CAPACITY");
    }
    assert_eq!(state(&yard.get(&machine).await), State::Cordoned);
    yard.uncordon(&machine).await.unwrap();
    let lease = LeaseId::generate();
    let got = yard.reserve(by_price(lease)).await.unwrap();
    assert_eq!(got.machine_id, machine);
    yard.release(lease).await;
    let got = yard.reserve(by_offer(LeaseId::generate())).await.unwrap();
    assert_eq!(got.machine_id, machine);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_retired_machine_takes_its_offer_with_it(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, offer) = yard.free("m1", 1, 1_000_000).await;
    assert_eq!(state(&yard.retire(&machine).await.unwrap()), State::Retired);
    assert_eq!(state(&yard.retire(&machine).await.unwrap()), State::Retired);
    let message = pb::GetOfferRequest { offer_id: offer };
    let answer = yard.api.get_offer(yard.request(message)).await.unwrap();
    let status = answer.into_inner().offer.unwrap().status.unwrap();
    assert_eq!(status.state(), pb::offer_status::State::Closed);
    let refused = yard.reserve(any(LeaseId::generate(), 1_000_000)).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    for refused in [yard.verify(&machine).await, yard.cordon(&machine).await] {
        assert_eq!(reason(&refused.unwrap_err()), "MACHINE_STATE");
    }
    let refused = yard.offer(&machine, 1).await.unwrap_err();
    assert_eq!(reason(&refused), "MACHINE_STATE");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_whole_key_takes_the_place_of_its_fingerprint(db: PgPool) {
    let yard = Yard::new(db).await;
    let machine = yard.enroll("m1", 1).await.id;
    let verified = yard.verified(&machine, facts()).await.unwrap();
    assert_eq!(verified.spec.unwrap().host_key, HOST_KEY);
}
