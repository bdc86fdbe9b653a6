//! Launching a node: what is refused, and that it is done once.

use crate::support::{Alone, from, get, launch, names_field, request_id, state, wish};
use berth_core::{AccountId, LeaseId, OfferId};
use berth_proto::api::v1::Money;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_provisioning::store::MIGRATIONS;
use sqlx::PgPool;
use std::collections::BTreeSet;
use tokio::task::JoinSet;
use tonic::Code;

fn spec(wish: &mut pb::LaunchNodeRequest) -> &mut pb::NodeSpec {
    wish.spec.as_mut().unwrap()
}

fn source(wish: &mut pb::LaunchNodeRequest) -> &mut pb::Source {
    spec(wish).source.as_mut().unwrap()
}

fn set(wish: &mut pb::LaunchNodeRequest, name: &str, value: &str) {
    spec(wish)
        .settings
        .insert(name.to_owned(), value.to_owned());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_wish_is_accepted_and_works_towards_a_machine(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    assert_eq!(state(&node), State::Pending);
    assert!(node.reconciling && node.id.starts_with("node-"));
    assert_eq!(get(&all.api, all.account, "n1").await.unwrap(), node);
    assert_eq!(get(&all.api, all.account, &node.id).await.unwrap(), node);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn every_field_that_is_wrong_is_named(db: PgPool) {
    type Spoil = fn(&mut pb::LaunchNodeRequest);
    let all = Alone::new(db).await;
    let table: [(&str, Spoil); 17] = [
        ("request_id", |w| w.request_id = "1".to_owned()),
        ("name", |w| w.name.clear()),
        ("name", |w| w.name = "a/b".to_owned()),
        ("spec", |w| w.spec = None),
        ("spec.chain", |w| spec(w).chain.clear()),
        ("spec.role", |w| spec(w).role = 0),
        ("spec.role", |w| spec(w).role = 99),
        ("spec.role", |w| spec(w).role = pb::Role::Archive.into()),
        ("spec.source", |w| spec(w).source = None),
        ("spec.source", |w| source(w).max_price_per_hour = None),
        ("spec.source", |w| {
            source(w).offer_id = OfferId::generate().to_string()
        }),
        ("spec.source.lease_id", |w| {
            *source(w) = pb::Source {
                lease_id: "x".to_owned(),
                ..pb::Source::default()
            };
        }),
        ("spec.source.max_price_per_hour.micros", |w| {
            source(w).max_price_per_hour = Some(Money {
                currency: "EUR".to_owned(),
                micros: 0,
            });
        }),
        ("spec.source.term", |w| {
            source(w).term = Some(prost_types::Duration {
                seconds: 1,
                nanos: 0,
            });
        }),
        ("spec.source.term", |w| {
            *source(w) = pb::Source {
                lease_id: LeaseId::generate().to_string(),
                term: Some(prost_types::Duration {
                    seconds: 3600,
                    nanos: 0,
                }),
                ..pb::Source::default()
            };
        }),
        ("spec.settings.colour", |w| set(w, "colour", "red")),
        ("spec.settings.moniker", |w| set(w, "moniker", "No Spaces")),
    ];
    for (field, spoil) in table {
        let mut wrong = wish("n1");
        spoil(&mut wrong);
        let refused = all
            .api
            .launch_node(from(all.account, wrong))
            .await
            .unwrap_err();
        names_field(&refused, field);
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn all_that_is_wrong_is_told_at_once(db: PgPool) {
    let all = Alone::new(db).await;
    let mut wrong = wish("-");
    spec(&mut wrong).role = 0;
    source(&mut wrong).max_price_per_hour = None;
    let refused = all
        .api
        .launch_node(from(all.account, wrong))
        .await
        .unwrap_err();
    for field in ["name", "spec.role", "spec.source"] {
        names_field(&refused, field);
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn what_cannot_run_here_is_refused_with_the_reason(db: PgPool) {
    let all = Alone::new(db).await;
    let mut unknown = wish("n1");
    spec(&mut unknown).chain = "nochain".to_owned();
    let refused = all
        .api
        .launch_node(from(all.account, unknown))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let mut signs = wish("n1");
    spec(&mut signs).role = pb::Role::Validator.into();
    let refused = all
        .api
        .launch_node(from(all.account, signs))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("signer"));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_check_stores_nothing(db: PgPool) {
    let all = Alone::new(db).await;
    let check = pb::LaunchNodeRequest {
        validate_only: true,
        ..wish("n1")
    };
    let checked = all.api.launch_node(from(all.account, check)).await.unwrap();
    assert_eq!(checked.into_inner().node.unwrap().id, "");
    let missing = get(&all.api, all.account, "n1").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_request_sent_many_times_at_once_makes_one_node(db: PgPool) {
    let all = Alone::new(db).await;
    let message = wish("n1");
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let (api, account, message) = (all.api.clone(), all.account, message.clone());
        calls.spawn(async move { api.launch_node(from(account, message)).await });
    }
    let mut ids = BTreeSet::new();
    while let Some(call) = calls.join_next().await {
        ids.insert(call.unwrap().unwrap().into_inner().node.unwrap().id);
    }
    assert_eq!(ids.len(), 1);
    let list = pb::ListNodesRequest::default();
    let list = all
        .api
        .list_nodes(from(all.account, list))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.nodes.len(), 1);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_request_id_cannot_be_used_for_another_wish(db: PgPool) {
    let all = Alone::new(db).await;
    let first = wish("n1");
    all.api
        .launch_node(from(all.account, first.clone()))
        .await
        .unwrap();
    let second = pb::LaunchNodeRequest {
        name: "n2".to_owned(),
        ..first
    };
    let refused = all
        .api
        .launch_node(from(all.account, second))
        .await
        .unwrap_err();
    names_field(&refused, "request_id");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_name_is_taken_until_its_node_is_retired(db: PgPool) {
    let all = Alone::new(db).await;
    launch(&all.api, all.account, "n1").await;
    let refused = all
        .api
        .launch_node(from(all.account, wish("n1")))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let other = AccountId::generate();
    all.api.launch_node(from(other, wish("n1"))).await.unwrap();
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn another_account_cannot_see_or_touch_a_node(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    let stranger = AccountId::generate();
    for name in ["n1", &node.id] {
        let refused = get(&all.api, stranger, name).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
        let retire = pb::RetireNodeRequest {
            request_id: request_id(),
            node_id: name.to_owned(),
        };
        let refused = all
            .api
            .retire_node(from(stranger, retire))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
}
