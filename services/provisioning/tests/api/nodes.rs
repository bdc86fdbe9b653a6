//! What the owner of a node may want of it, without any machine.

use crate::support::{Alone, from, get, launch, names_field, request_id, state};
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_provisioning::store::MIGRATIONS;
use prost_types::FieldMask;
use sqlx::PgPool;
use tonic::Code;

fn update(node: &pb::Node, moniker: &str) -> pb::UpdateNodeRequest {
    pb::UpdateNodeRequest {
        request_id: request_id(),
        node_id: node.id.clone(),
        spec: Some(pb::NodeSpec {
            settings: [("moniker".to_owned(), moniker.to_owned())].into(),
            ..pb::NodeSpec::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["settings".to_owned()],
        }),
        etag: node.etag.clone(),
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn settings_change_only_as_the_chain_declares_and_against_the_newest(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    let changed = all
        .api
        .update_node(from(all.account, update(&node, "m1")))
        .await
        .unwrap();
    let changed = changed.into_inner().node.unwrap();
    assert_eq!(changed.spec.unwrap().settings["moniker"], "m1");
    let stale = all
        .api
        .update_node(from(all.account, update(&node, "m2")))
        .await
        .unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    let bad = pb::UpdateNodeRequest {
        etag: String::new(),
        ..update(&node, "M 2")
    };
    let refused = all
        .api
        .update_node(from(all.account, bad))
        .await
        .unwrap_err();
    names_field(&refused, "spec.settings.moniker");
    for mask in [None, Some(vec![]), Some(vec!["role".to_owned()])] {
        let bad = pb::UpdateNodeRequest {
            update_mask: mask.map(|paths| FieldMask { paths }),
            ..update(&node, "m2")
        };
        let refused = all
            .api
            .update_node(from(all.account, bad))
            .await
            .unwrap_err();
        names_field(&refused, "update_mask");
    }
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_node_without_a_machine_is_retired_and_nothing_else(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    let (request_id, node_id) = (request_id(), node.id.clone());
    let stop = pb::StopNodeRequest {
        request_id: request_id.clone(),
        node_id: node_id.clone(),
    };
    let start = pb::StartNodeRequest {
        request_id: request_id.clone(),
        node_id: node_id.clone(),
    };
    let retry = pb::RetryNodeRequest {
        request_id: request_id.clone(),
        node_id: node_id.clone(),
    };
    let refused = [
        all.api
            .stop_node(from(all.account, stop))
            .await
            .unwrap_err(),
        all.api
            .start_node(from(all.account, start))
            .await
            .unwrap_err(),
        all.api
            .retry_node(from(all.account, retry))
            .await
            .unwrap_err(),
    ];
    assert!(
        refused
            .iter()
            .all(|status| status.code() == Code::FailedPrecondition)
    );
    assert!(
        refused
            .iter()
            .all(|status| status.message().contains("PENDING"))
    );
    let retire = pb::RetireNodeRequest {
        request_id,
        node_id,
    };
    for _ in 0..2 {
        let gone = all
            .api
            .retire_node(from(all.account, retire.clone()))
            .await
            .unwrap();
        assert_eq!(state(&gone.into_inner().node.unwrap()), State::Retiring);
    }
    assert_eq!(
        state(&get(&all.api, all.account, "n1").await.unwrap()),
        State::Retiring
    );
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn nodes_are_listed_newest_first_and_by_pages(db: PgPool) {
    let all = Alone::new(db).await;
    for name in ["a", "b", "c"] {
        launch(&all.api, all.account, name).await;
    }
    let mut page_token = String::new();
    let mut names = Vec::new();
    loop {
        let message = pb::ListNodesRequest {
            page_size: 2,
            page_token,
            show_retired: false,
        };
        let page = all
            .api
            .list_nodes(from(all.account, message))
            .await
            .unwrap()
            .into_inner();
        names.extend(page.nodes.into_iter().map(|node| node.name));
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    assert_eq!(names, ["c", "b", "a"]);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn logs_of_a_node_on_no_machine_are_refused(db: PgPool) {
    let all = Alone::new(db).await;
    let node = launch(&all.api, all.account, "n1").await;
    let ask = |tail| pb::StreamNodeLogsRequest {
        node_id: node.id.clone(),
        tail,
        ..pb::StreamNodeLogsRequest::default()
    };
    let refused = all
        .api
        .stream_node_logs(from(all.account, ask(-1)))
        .await
        .err()
        .unwrap();
    names_field(&refused, "tail");
    let refused = all
        .api
        .stream_node_logs(from(all.account, ask(1)))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_host_key_is_read_from_a_sane_address_only(db: PgPool) {
    let all = Alone::new(db).await;
    let scan = |address: &str| pb::ScanHostKeyRequest {
        address: address.to_owned(),
    };
    let seen = all
        .api
        .scan_host_key(from(all.account, scan("192.0.2.7")))
        .await
        .unwrap();
    assert!(seen.into_inner().fingerprint.starts_with("SHA256:"));
    for bad in ["", "a b", "a\n", &"x".repeat(400)] {
        let refused = all
            .api
            .scan_host_key(from(all.account, scan(bad)))
            .await
            .unwrap_err();
        names_field(&refused, "address");
    }
}
