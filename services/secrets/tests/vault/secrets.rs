//! Secrets of nodes.

use berth_secrets::{Error, SecretMap, SecretPath};
use secrecy::ExposeSecret as _;

use crate::harness::Server;

fn secret(value: &str) -> SecretMap {
    SecretMap::from([("key".to_owned(), value.into())])
}

fn value(secret: &SecretMap) -> &str {
    secret["key"].expose_secret()
}

fn path(name: &str) -> SecretPath {
    SecretPath::node("01890a5d-ac96-774b-bcce-b302099a8057", name).unwrap()
}

#[tokio::test]
async fn a_secret_is_created_read_and_deleted_whole() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    assert!(vault.read_secret(&path("p2p")).await.unwrap().is_none());
    let created = vault
        .create_secret(&path("p2p"), &secret("one"))
        .await
        .unwrap();
    assert_eq!(value(&created), "one");
    let read = vault.read_secret(&path("p2p")).await.unwrap().unwrap();
    assert_eq!(value(&read), "one");
    for _ in 0..2 {
        vault.delete_secret(&path("p2p")).await.unwrap();
        assert!(vault.read_secret(&path("p2p")).await.unwrap().is_none());
    }
    let again = vault
        .create_secret(&path("p2p"), &secret("two"))
        .await
        .unwrap();
    assert_eq!(value(&again), "two");
}

#[tokio::test]
async fn of_many_writers_at_once_the_first_wins_and_all_hold_its_secret() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..16 {
        let vault = vault.clone();
        writers.spawn(async move {
            let own = secret(&format!("of writer {writer}"));
            vault.create_secret(&path("p2p"), &own).await.unwrap()
        });
    }
    let held = writers.join_all().await;
    let stored = vault.read_secret(&path("p2p")).await.unwrap().unwrap();
    assert!(
        held.iter().all(|held| value(held) == value(&stored)),
        "not all hold the same"
    );
}

#[tokio::test]
async fn all_secrets_of_a_node_are_deleted_and_no_other_nodes() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    let other = SecretPath::node("other", "p2p").unwrap();
    for path in [&path("p2p"), &path("rpc"), &other] {
        vault.create_secret(path, &secret("x")).await.unwrap();
    }
    for _ in 0..2 {
        vault
            .delete_node_secrets("01890a5d-ac96-774b-bcce-b302099a8057")
            .await
            .unwrap();
    }
    assert!(vault.read_secret(&path("p2p")).await.unwrap().is_none());
    assert!(vault.read_secret(&path("rpc")).await.unwrap().is_none());
    assert!(vault.read_secret(&other).await.unwrap().is_some());
}

#[tokio::test]
async fn a_service_without_the_grant_is_denied_and_told_which_path() {
    let server = Server::start().await;
    let vault = server.vault("leasing").await;
    for refused in [
        vault.read_secret(&path("p2p")).await.unwrap_err(),
        vault
            .create_secret(&path("p2p"), &secret("s3ntinel"))
            .await
            .unwrap_err(),
        vault.delete_secret(&path("p2p")).await.unwrap_err(),
    ] {
        assert!(matches!(refused, Error::Denied { .. }), "{refused:?}");
        assert!(refused.to_string().contains("/p2p"), "{refused}");
        assert!(!refused.to_string().contains("s3ntinel"), "{refused}");
    }
}

#[tokio::test]
async fn an_empty_or_huge_secret_is_refused() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    let huge = secret(&"x".repeat(100_000));
    for wrong in [SecretMap::new(), huge] {
        let refused = vault.create_secret(&path("p2p"), &wrong).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    }
}
