//! The catalogue.

use crate::support::{Alone, CHAIN, from, names_field, register, request_id};
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_provisioning::store::MIGRATIONS;
use berth_provisioning::store::chains::releases;
use sqlx::PgPool;
use tonic::{Code, Status};

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const OTHER: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

fn without_digest() -> String {
    CHAIN.replace(&format!(", digest = \"{DIGEST}\""), "")
}

async fn send(all: &Alone, chain_toml: &str) -> Result<pb::Chain, Status> {
    let message = pb::RegisterChainRequest {
        request_id: request_id(),
        chain_toml: chain_toml.to_owned(),
        ..pb::RegisterChainRequest::default()
    };
    let answer = all.api.register_chain(from(all.account, message)).await?;
    Ok(answer.into_inner().chain.unwrap())
}

async fn pin(all: &Alone, component: &str, digest: &str) -> Result<pb::Chain, Status> {
    let message = pb::PinChainRequest {
        request_id: request_id(),
        chain: "testchain".to_owned(),
        digests: [(component.to_owned(), digest.to_owned())].into(),
    };
    let answer = all.api.pin_chain(from(all.account, message)).await?;
    Ok(answer.into_inner().chain.unwrap())
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_registered_chain_says_what_its_text_says(db: PgPool) {
    let all = Alone::new(db).await;
    let message = pb::GetChainRequest {
        chain: "testchain".to_owned(),
    };
    let chain = all.api.get_chain(from(all.account, message)).await.unwrap();
    let chain = chain.into_inner().chain.unwrap();
    assert_eq!(chain.chain_id, "test-1");
    assert_eq!(chain.custody(), pb::Custody::RemoteSigner);
    assert!(chain.launchable);
    assert_eq!(chain.images[0].digest, DIGEST);
    assert_eq!(chain.chain_toml, CHAIN);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_same_text_again_is_no_new_version_and_another_is(db: PgPool) {
    let all = Alone::new(db).await;
    let first = register(&all.api, all.account).await.unwrap();
    assert_eq!(register(&all.api, all.account).await.unwrap(), first);
    let second = send(&all, &CHAIN.replace("version = \"1\"", "version = \"2\""))
        .await
        .unwrap();
    assert_eq!(second.version, "2");
    assert_ne!(second.etag, first.etag);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_text_that_is_no_chain_is_refused_with_its_lines(db: PgPool) {
    let all = Alone::new(db).await;
    let refused = send(&all, "schema = 1\nnaem = \"x\"").await.unwrap_err();
    names_field(&refused, "chain_toml");
    assert!(refused.message().contains("line "), "{refused:?}");
    let message = pb::RegisterChainRequest {
        request_id: request_id(),
        chain_toml: CHAIN.to_owned(),
        files: [("unnamed.json".to_owned(), vec![1])].into(),
        validate_only: true,
    };
    let refused = all
        .api
        .register_chain(from(all.account, message))
        .await
        .unwrap_err();
    names_field(&refused, "files");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn checking_a_chain_stores_nothing(db: PgPool) {
    let all = Alone::new(db).await;
    let message = pb::RegisterChainRequest {
        request_id: request_id(),
        chain_toml: CHAIN.replace("testchain", "otherchain"),
        validate_only: true,
        ..pb::RegisterChainRequest::default()
    };
    let checked = all
        .api
        .register_chain(from(all.account, message))
        .await
        .unwrap();
    assert_eq!(checked.into_inner().chain.unwrap().id, "otherchain");
    let list = pb::ListChainsRequest::default();
    let list = all
        .api
        .list_chains(from(all.account, list))
        .await
        .unwrap()
        .into_inner();
    let ids: Vec<&str> = list.chains.iter().map(|chain| chain.id.as_str()).collect();
    assert_eq!(ids, ["testchain"]);
    assert!(list.chains[0].chain_toml.is_empty());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_pin_fills_a_digest_and_never_replaces_one(db: PgPool) {
    let all = Alone::new(db).await;
    let open = send(&all, &without_digest()).await.unwrap();
    assert!(
        !open.launchable && open.notice.contains("no digest"),
        "{}",
        open.notice
    );
    names_field(
        &pin(&all, "node", "latest").await.unwrap_err(),
        "digests.node",
    );
    names_field(
        &pin(&all, "nobody", DIGEST).await.unwrap_err(),
        "digests.nobody",
    );
    let pinned = pin(&all, "node", DIGEST).await.unwrap();
    assert!(pinned.launchable);
    assert_eq!(pinned.images[0].digest, DIGEST);
    assert_eq!(pin(&all, "node", DIGEST).await.unwrap(), pinned);
    let refused = pin(&all, "node", OTHER).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("never replaced"));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn many_registrations_at_once_make_one_version(db: PgPool) {
    let all = Alone::new(db).await;
    let text = CHAIN.replace("version = \"1\"", "version = \"7\"");
    let sends = (0..16).map(|_| send(&all, &text));
    let etags: Vec<String> = futures::future::join_all(sends)
        .await
        .into_iter()
        .map(|chain| chain.unwrap().etag)
        .collect();
    assert!(etags.iter().all(|etag| *etag == etags[0]), "{etags:?}");
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_database_reads_the_version_of_every_entry_of_the_catalogue(db: PgPool) {
    let all = Alone::new(db).await;
    let catalogue = concat!(env!("CARGO_MANIFEST_DIR"), "/../../images");
    let mut seen = 0;
    for folder in std::fs::read_dir(catalogue).unwrap() {
        let Ok(text) = std::fs::read_to_string(folder.unwrap().path().join("chain.toml")) else {
            continue;
        };
        seen += 1;
        for text in [
            text.clone(),
            text.replacen("version = ", "\"version\"=", 1),
            text.replacen("version = \"", "version   =   \"", 1),
        ] {
            let chain = send(&all, &text).await.unwrap();
            let mut conn = all.api.db.acquire().await.unwrap();
            let known = releases(&mut conn, &chain.id).await.unwrap();
            assert_eq!(known, [chain.version], "{}", chain.id);
        }
    }
    assert!(seen >= 8, "{seen}");
}
