//! What provisioning finds to do, and what it records.

use crate::fixture::{GIB, HOST_KEY, State, Yard, any, facts, fields, reason, state, why};
use berth_core::LeaseId;
use berth_inventory::store::MIGRATIONS;
use berth_proto::inventory::v1 as pb;
use berth_proto::inventory::v1::fleet_service_server::FleetService as _;
use sqlx::PgPool;
use tonic::{Code, Request, Status};

async fn failed(
    yard: &Yard,
    machine: &str,
    attempt: i64,
    transient: bool,
) -> Result<pb::Machine, Status> {
    let message = pb::RecordVerificationRequest {
        machine_id: machine.to_owned(),
        attempt,
        problem: "connection\nrefused".to_owned(),
        transient,
        ..Default::default()
    };
    let answer = yard.api.record_verification(Request::new(message)).await?;
    Ok(answer.into_inner().machine.unwrap())
}

/// A machine that a lease uses.
async fn leased(yard: &Yard) -> (String, LeaseId) {
    let (machine, _) = yard.free("m1", 1, 1_000_000).await;
    let lease = LeaseId::generate();
    yard.reserve(any(lease, 1_000_000)).await.unwrap();
    yard.confirm(lease).await.unwrap();
    (machine, lease)
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_machine_that_is_less_than_claimed_is_faulty_with_the_difference(db: PgPool) {
    let yard = Yard::new(db).await;
    let machine = yard.enroll("m1", 1).await.id;
    let measured = pb::Facts {
        cpu_cores: 4,
        memory_bytes: 16 * GIB,
        ..facts()
    };
    let faulty = yard.verified(&machine, measured).await.unwrap();
    assert_eq!(state(&faulty), State::Faulty);
    assert_eq!(
        why(&faulty),
        "4 processors measured, 8 claimed; 16.0 GiB (17179869184 bytes) of memory measured, \
         32.0 GiB (34359738368 bytes) claimed"
    );
    let status = faulty.status.unwrap();
    assert_eq!(status.facts.unwrap().cpu_cores, 4);
    assert!(status.verify_time.is_some());
    // Another chance.
    let good = yard.verified(&machine, facts()).await.unwrap();
    assert_eq!((state(&good), why(&good)), (State::Available, ""));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn another_host_key_makes_a_machine_faulty(db: PgPool) {
    let yard = Yard::new(db).await;
    let machine = yard.enroll("m1", 1).await;
    let other = HOST_KEY.replace("rpr8", "rpr9");
    let message = pb::RecordVerificationRequest {
        machine_id: machine.id.clone(),
        attempt: yard.begun(&machine.id).await,
        facts: Some(facts()),
        host_key: other,
        ..Default::default()
    };
    let answer = yard.api.record_verification(Request::new(message)).await;
    let faulty = answer.unwrap().into_inner().machine.unwrap();
    assert_eq!(state(&faulty), State::Faulty);
    assert!(
        why(&faulty).starts_with("host key SHA256:"),
        "{}",
        why(&faulty)
    );
    assert_eq!(faulty.spec, machine.spec, "the pinned key stays");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_passing_problem_keeps_the_work_and_shows_why(db: PgPool) {
    let yard = Yard::new(db).await;
    let first = yard.enroll("m1", 1).await.id;
    let second = yard.enroll("m2", 2).await.id;
    assert_eq!(yard.begun(&first).await, 2);
    assert_eq!(yard.begun(&second).await, 2);
    let waiting = failed(&yard, &first, 2, true).await.unwrap();
    assert_eq!(
        (state(&waiting), why(&waiting)),
        (State::Verifying, "connection refused")
    );
    // The one that failed stands behind the one that has not been tried.
    let message = pb::ListMachineWorkRequest { page_size: 1 };
    let answer = yard.api.list_machine_work(Request::new(message)).await;
    let work = answer.unwrap().into_inner().work;
    assert_eq!(work.len(), 1);
    assert_eq!(work[0].machine.as_ref().unwrap().id, second);
    // The attempt is still the same one.
    let verified = yard.measured(&first, 2, facts()).await.unwrap();
    assert_eq!((state(&verified), why(&verified)), (State::Available, ""));
    let faulty = failed(&yard, &second, 2, false).await.unwrap();
    assert_eq!(
        (state(&faulty), why(&faulty)),
        (State::Faulty, "connection refused")
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_late_result_of_an_earlier_attempt_is_fenced(db: PgPool) {
    let yard = Yard::new(db).await;
    let machine = yard.enroll("m1", 1).await.id;
    yard.verify(&machine).await.unwrap();
    // It is to be wiped first.
    let wrong_kind = yard.measured(&machine, 1, facts()).await.unwrap_err();
    assert_eq!(reason(&wrong_kind), "FENCED");
    yard.wiped(&machine, 1, "device busy").await.unwrap();
    assert_eq!(yard.begun(&machine).await, 3);
    for late in [
        yard.wiped(&machine, 1, "").await,
        yard.wiped(&machine, 2, "").await,
        yard.measured(&machine, 2, facts()).await,
        yard.measured(&machine, 4, facts()).await,
    ] {
        assert_eq!(reason(&late.unwrap_err()), "FENCED");
    }
    let wrong_kind = yard.wiped(&machine, 3, "").await.unwrap_err();
    assert_eq!(reason(&wrong_kind), "FENCED");
    let verified = yard.measured(&machine, 3, facts()).await.unwrap();
    // A repeat of the same result changes nothing.
    assert_eq!(yard.measured(&machine, 3, facts()).await.unwrap(), verified);
    // Work that was called off has no result.
    yard.verify(&machine).await.unwrap();
    yard.retire(&machine).await.unwrap();
    let late = yard.wiped(&machine, 4, "").await.unwrap_err();
    assert_eq!(reason(&late), "FENCED");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_new_machine_is_free_only_after_a_wipe(db: PgPool) {
    let yard = Yard::new(db).await;
    let machine = yard.enroll("m1", 1).await.id;
    yard.verify(&machine).await.unwrap();
    let faulty = yard.wiped(&machine, 1, "device busy").await.unwrap();
    assert_eq!(
        (state(&faulty), why(&faulty)),
        (State::Faulty, "device busy")
    );
    let free = yard.verified(&machine, facts()).await.unwrap();
    assert_eq!((state(&free), why(&free)), (State::Available, ""));
    // And again each time somebody asks.
    let free = yard.verified(&machine, facts()).await.unwrap();
    assert_eq!(state(&free), State::Available);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_used_machine_is_free_only_after_a_wipe(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, lease) = leased(&yard).await;
    yard.release(lease).await;
    let wiping = yard.get(&machine).await;
    assert_eq!(state(&wiping), State::Wiping);
    assert_eq!(wiping.status.unwrap().lease_id, "");
    let work = yard.work(&machine).await.unwrap();
    assert_eq!(
        (work.kind(), work.attempt),
        (pb::machine_work::Kind::Wipe, 3)
    );
    let faulty = yard.wiped(&machine, 3, "device busy").await.unwrap();
    assert_eq!(
        (state(&faulty), why(&faulty)),
        (State::Faulty, "device busy")
    );
    let free = yard.verified(&machine, facts()).await.unwrap();
    assert_eq!(state(&free), State::Available);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_problem_in_use_makes_the_machine_faulty_when_the_lease_is_over(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, lease) = leased(&yard).await;
    yard.report(&machine, "host key changed").await;
    let leased = yard.get(&machine).await;
    assert_eq!(
        (state(&leased), why(&leased)),
        (State::Leased, "host key changed")
    );
    yard.release(lease).await;
    let faulty = yard.get(&machine).await;
    assert_eq!(
        (state(&faulty), why(&faulty)),
        (State::Faulty, "host key changed")
    );
    let free = yard.verified(&machine, facts()).await.unwrap();
    assert_eq!(state(&free), State::Available);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_problem_of_a_free_machine_takes_it_out_at_once(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, _) = yard.free("m1", 1, 1_000_000).await;
    yard.report(&machine, "disk is read-only").await;
    assert_eq!(state(&yard.get(&machine).await), State::Faulty);
    let refused = yard.reserve(any(LeaseId::generate(), 1_000_000)).await;
    assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn facts_outside_bounds_are_refused_with_every_field(db: PgPool) {
    let yard = Yard::new(db).await;
    let machine = yard.enroll("m1", 1).await.id;
    let attempt = yard.begun(&machine).await;
    let hostile = pb::Facts {
        cpu_model: "x".repeat(300),
        kernel: "6.1\u{1b}[2J".to_owned(),
        cpu_flags: vec!["f".to_owned(); 2000],
        memory_bytes: u64::MAX,
        gpus: vec![pb::Gpu::default(); 65],
        ..facts()
    };
    let refused = yard.measured(&machine, attempt, hostile).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        fields(&refused),
        [
            "facts.cpu_flags",
            "facts.gpus",
            "facts.cpu_model",
            "facts.memory_bytes",
            "facts.kernel"
        ]
    );
    let message = pb::RecordVerificationRequest {
        machine_id: "m".to_owned(),
        ..Default::default()
    };
    let refused = yard.api.record_verification(Request::new(message)).await;
    assert_eq!(
        fields(&refused.unwrap_err()),
        ["machine_id", "attempt", "facts"]
    );
}
