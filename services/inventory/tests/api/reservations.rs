//! Reservations: the cheapest that fits, once a lease, never twice a machine.

use crate::fixture::{GIB, State, Yard, any, euro, facts, fields, reason, seconds, serve, state};
use berth_core::{AccountId, LeaseId};
use berth_inventory::store::MIGRATIONS;
use berth_proto::api::v1::Requirements;
use berth_proto::inventory::v1 as pb;
use berth_proto::inventory::v1::fleet_service_server::FleetService as _;
use sqlx::PgPool;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::{Code, Request};

fn this(lease: LeaseId, offer: &str) -> pb::ReserveMachineRequest {
    pb::ReserveMachineRequest {
        lease_id: lease.to_string(),
        offer_id: offer.to_owned(),
        term: Some(seconds(3600)),
        ..Default::default()
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_cheapest_machine_that_fits_is_reserved(db: PgPool) {
    let yard = Yard::new(db).await;
    yard.free("dear", 1, 3_000_000).await;
    let (cheap, offer) = yard.free("cheap", 2, 1_000_000).await;
    let (middle, _) = yard.free("middle", 3, 2_000_000).await;
    let got = yard
        .reserve(any(LeaseId::generate(), 9_000_000))
        .await
        .unwrap();
    assert_eq!((&got.machine_id, &got.offer_id), (&cheap, &offer));
    assert_eq!(got.price_per_hour, Some(euro(1_000_000)));
    assert_eq!(got.max_term, Some(seconds(30 * 86400)));
    assert_eq!(state(&yard.get(&cheap).await), State::Reserved);
    let got = yard
        .reserve(any(LeaseId::generate(), 9_000_000))
        .await
        .unwrap();
    assert_eq!(got.machine_id, middle);
    let refused = yard
        .reserve(any(LeaseId::generate(), 2_500_000))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "NO_CAPACITY");
    assert!(
        refused.message().ends_with("the cheapest costs 3.00 EUR"),
        "{}",
        refused.message()
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn every_requirement_is_looked_at(db: PgPool) {
    let yard = Yard::new(db).await;
    let gpu = pb::Gpu {
        memory_bytes: 80 * GIB,
        driver: "555.42.06".to_owned(),
        ..Default::default()
    };
    let measured = pb::Facts {
        gpus: vec![gpu; 2],
        ..facts()
    };
    yard.free_with("m1", 1, 1_000_000, measured).await;
    let none = Requirements::default;
    let too_much = [
        Requirements {
            cpu_cores: 9,
            ..none()
        },
        Requirements {
            memory_bytes: 32 * GIB,
            ..none()
        },
        Requirements {
            disk_bytes: 451 * GIB,
            ..none()
        },
        Requirements {
            disk_read_iops: 40_001,
            ..none()
        },
        Requirements {
            disk_write_iops: 20_001,
            ..none()
        },
        Requirements {
            cpu_flags: vec!["avx512f".to_owned()],
            ..none()
        },
        Requirements {
            gpu_count: 3,
            ..none()
        },
        Requirements {
            gpu_memory_bytes: 81 * GIB,
            ..none()
        },
        Requirements {
            gpu_driver: "560".to_owned(),
            ..none()
        },
        Requirements {
            smt_off: true,
            ..none()
        },
    ];
    for requirements in too_much {
        let wish = pb::ReserveMachineRequest {
            requirements: Some(requirements.clone()),
            ..any(LeaseId::generate(), 1_000_000)
        };
        let refused = yard.reserve(wish).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{requirements:?}");
        assert!(
            refused.message().contains("at any price"),
            "{}",
            refused.message()
        );
    }
    for wish in [
        pb::ReserveMachineRequest {
            max_price_per_hour: Some(euro(999_999)),
            ..any(LeaseId::generate(), 0)
        },
        pb::ReserveMachineRequest {
            term: Some(seconds(31 * 86400)),
            ..any(LeaseId::generate(), 1_000_000)
        },
        pb::ReserveMachineRequest {
            max_price_per_hour: Some(berth_proto::api::v1::Money {
                currency: "USD".to_owned(),
                micros: 1_000_000,
            }),
            ..any(LeaseId::generate(), 0)
        },
    ] {
        let refused = yard.reserve(wish).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
    }
    let exact = Requirements {
        cpu_cores: 8,
        memory_bytes: 31 * GIB,
        disk_bytes: 450 * GIB,
        disk_read_iops: 40_000,
        disk_write_iops: 20_000,
        cpu_flags: ["aes", "avx2"].map(str::to_owned).to_vec(),
        gpu_count: 2,
        gpu_memory_bytes: 80 * GIB,
        gpu_driver: "555".to_owned(),
        smt_off: false,
    };
    let wish = pb::ReserveMachineRequest {
        requirements: Some(exact),
        ..any(LeaseId::generate(), 1_000_000)
    };
    assert!(yard.reserve(wish).await.is_ok());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn thirty_two_leases_at_once_get_eight_machines_once_each(db: PgPool) {
    let yard = Yard::new(db).await;
    for host in 1..=8 {
        yard.free(&format!("m{host}"), host, 1_000_000).await;
    }
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let yard = yard.clone();
        calls.spawn(async move { yard.reserve(any(LeaseId::generate(), 1_000_000)).await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
    let machines: BTreeSet<_> = won
        .iter()
        .map(|r| r.as_ref().unwrap().machine_id.clone())
        .collect();
    assert_eq!((won.len(), machines.len()), (8, 8));
    for refused in lost {
        assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_that_asks_many_times_at_once_gets_one_machine(db: PgPool) {
    let yard = Yard::new(db).await;
    for host in 1..=4 {
        yard.free(&format!("m{host}"), host, 1_000_000).await;
    }
    let lease = LeaseId::generate();
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let yard = yard.clone();
        calls.spawn(async move {
            yard.reserve(any(lease, 1_000_000))
                .await
                .unwrap()
                .machine_id
        });
    }
    let machines: BTreeSet<_> = calls.join_all().await.into_iter().collect();
    assert_eq!(machines.len(), 1);
    for _ in 0..3 {
        assert!(
            yard.reserve(any(LeaseId::generate(), 1_000_000))
                .await
                .is_ok()
        );
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn leases_of_two_replicas_and_two_wishes_at_once_get_the_cheapest_once_each(db: PgPool) {
    let yard = Yard::new(db.clone()).await;
    let (api, tasks) = serve(db);
    let replica = Yard {
        api,
        _tasks: tasks,
        ..yard.clone()
    };
    for host in 1..=40 {
        let price = 1_000_000 + i64::from(host) * 1000;
        yard.free(&format!("m{host}"), host, price).await;
    }
    let mut calls = JoinSet::new();
    for number in 0..40_i64 {
        let yard = if number % 2 == 0 { &yard } else { &replica }.clone();
        let most = if number % 3 == 0 {
            1_012_000
        } else {
            2_000_000
        };
        calls.spawn(async move {
            let lease = LeaseId::generate();
            loop {
                match yard.reserve(any(lease, most)).await {
                    Ok(got) => break Some((got.machine_id, got.price_per_hour.unwrap().micros)),
                    // Those that fit are on their way to others.
                    Err(later) if later.code() == Code::Unavailable => {}
                    Err(refused) => {
                        assert_eq!(reason(&refused), "NO_CAPACITY", "{refused:?}");
                        break None;
                    }
                }
            }
        });
    }
    let got: Vec<_> = calls.join_all().await.into_iter().flatten().collect();
    let machines: BTreeSet<_> = got.iter().map(|(machine, _)| machine).collect();
    assert_eq!(machines.len(), got.len(), "each once");
    // Those who pay more may take what is cheap from those who do not.
    let dearest = 1_000_000 + i64::try_from(got.len()).unwrap() * 1000;
    assert!(got.len() >= 26, "{got:?}");
    assert!(got.iter().all(|(_, price)| *price <= dearest), "{got:?}");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn who_is_called_off_takes_nothing_from_those_who_came_with_it(db: PgPool) {
    let yard = Yard::new(db).await;
    for host in 1..=6 {
        yard.free(&format!("m{host}"), host, 1_000_000).await;
    }
    for turn in 0..20 {
        let leases: Vec<_> = (0..6).map(|_| LeaseId::generate()).collect();
        let mut calls = JoinSet::new();
        for (place, lease) in leases.iter().copied().enumerate() {
            let yard = yard.clone();
            calls.spawn(async move {
                let call = yard.reserve(any(lease, 1_000_000));
                if place < 2 {
                    let soon = tokio::time::timeout(Duration::from_micros(turn * 200), call);
                    soon.await.ok().map(Result::unwrap)
                } else {
                    Some(call.await.unwrap())
                }
            });
        }
        let got = calls.join_all().await;
        let machines: Vec<_> = got.iter().flatten().map(|got| &got.machine_id).collect();
        let distinct: BTreeSet<_> = machines.iter().collect();
        assert!(machines.len() >= 4, "{got:?}");
        assert_eq!(distinct.len(), machines.len(), "{got:?}");
        for lease in leases {
            yard.release(lease).await;
        }
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_lease_is_not_refused_for_machines_that_are_only_on_their_way_to_somebody(db: PgPool) {
    let yard = Yard::new(db.clone()).await;
    let (machine, _) = yard.free("m1", 1, 1_000_000).await;
    let mut held = db.begin().await.unwrap();
    sqlx::query("select from machine for update")
        .execute(&mut *held)
        .await
        .unwrap();
    let lease = LeaseId::generate();
    let later = yard.reserve(any(lease, 1_000_000)).await.unwrap_err();
    assert_eq!(later.code(), Code::Unavailable, "{later:?}");
    held.rollback().await.unwrap();
    let got = yard.reserve(any(lease, 1_000_000)).await.unwrap();
    assert_eq!(got.machine_id, machine);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_offer_gives_its_own_machine_or_says_why_not(db: PgPool) {
    let yard = Yard::new(db).await;
    yard.free("cheap", 1, 1_000_000).await;
    let (machine, offer) = yard.free("m1", 2, 2_000_000).await;
    let long = pb::ReserveMachineRequest {
        term: Some(seconds(31 * 86400)),
        ..this(LeaseId::generate(), &offer)
    };
    assert_eq!(
        reason(&yard.reserve(long).await.unwrap_err()),
        "TERM_NOT_OFFERED"
    );
    let lease = LeaseId::generate();
    let got = yard.reserve(this(lease, &offer)).await.unwrap();
    assert_eq!(got.machine_id, machine);
    let refused = yard
        .reserve(this(LeaseId::generate(), &offer))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "NO_CAPACITY");
    yard.retire(&machine).await.unwrap_err();
    yard.release(lease).await;
    yard.retire(&machine).await.unwrap();
    let refused = yard
        .reserve(this(LeaseId::generate(), &offer))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "OFFER_CLOSED");
    let nowhere = berth_core::OfferId::generate().to_string();
    let refused = yard
        .reserve(this(LeaseId::generate(), &nowhere))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_reservation_that_was_not_confirmed_goes_back_unwiped(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, _) = yard.free("m1", 1, 1_000_000).await;
    let lease = LeaseId::generate();
    yard.reserve(any(lease, 1_000_000)).await.unwrap();
    yard.release(lease).await;
    yard.release(lease).await;
    assert_eq!(state(&yard.get(&machine).await), State::Available);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_reservation_that_arrives_after_its_release_is_refused(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, _) = yard.free("m1", 1, 1_000_000).await;
    let lease = LeaseId::generate();
    yard.release(lease).await;
    let refused = yard.reserve(any(lease, 1_000_000)).await.unwrap_err();
    assert_eq!(reason(&refused), "LEASE_OVER");
    assert_eq!(state(&yard.get(&machine).await), State::Available);
    let refused = yard.confirm(lease).await.unwrap_err();
    assert_eq!(reason(&refused), "LEASE_HOLDS_NOTHING");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_release_that_races_with_its_reservation_leaves_nothing_held(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, _) = yard.free("m1", 1, 1_000_000).await;
    for _ in 0..16 {
        let lease = LeaseId::generate();
        let reserve = yard.reserve(any(lease, 1_000_000));
        let (_, ()) = tokio::join!(reserve, yard.release(lease));
        assert_eq!(state(&yard.get(&machine).await), State::Available);
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn confirming_twice_is_confirming(db: PgPool) {
    let yard = Yard::new(db).await;
    let (machine, offer) = yard.free("m1", 1, 1_000_000).await;
    let lease = LeaseId::generate();
    yard.reserve(any(lease, 1_000_000)).await.unwrap();
    yard.confirm(lease).await.unwrap();
    yard.confirm(lease).await.unwrap();
    let leased = yard.get(&machine).await;
    assert_eq!(state(&leased), State::Leased);
    assert_eq!(leased.status.unwrap().lease_id, lease.to_string());
    // A repeat after the fact still tells which machine it was.
    let again = yard.reserve(this(lease, &offer)).await.unwrap();
    assert_eq!(again.machine_id, machine);
    let resolve = async |account_id: String| {
        let message = pb::ResolveMachineRequest {
            machine_id: machine.clone(),
            account_id,
        };
        let answer = yard.api.resolve_machine(Request::new(message)).await;
        answer.map(|answer| answer.into_inner().machine.unwrap().id)
    };
    assert_eq!(resolve(String::new()).await.unwrap(), machine);
    assert_eq!(resolve(yard.account.to_string()).await.unwrap(), machine);
    let other = resolve(AccountId::generate().to_string()).await;
    assert_eq!(other.unwrap_err().code(), Code::NotFound);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn everything_wrong_with_a_reservation_is_said_at_once(db: PgPool) {
    let yard = Yard::new(db).await;
    let wish = pb::ReserveMachineRequest {
        requirements: Some(Requirements {
            memory_bytes: u64::MAX,
            gpu_driver: "new".to_owned(),
            cpu_flags: vec!["x".to_owned(); 65],
            ..Default::default()
        }),
        ..Default::default()
    };
    assert_eq!(
        fields(&yard.reserve(wish).await.unwrap_err()),
        [
            "lease_id",
            "term",
            "max_price_per_hour",
            "requirements.cpu_flags",
            "requirements.gpu_driver",
            "requirements.memory_bytes"
        ]
    );
}
