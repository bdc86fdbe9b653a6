//! The development server itself.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use berth_secrets::{
    Error, SecretMap, SecretPath,
    bootstrap::{BootstrapPlan, bootstrap},
    dev::{DevStorage, DevVault, DevVaultConfig},
};
use secrecy::ExposeSecret as _;

use crate::harness::{Server, dev_config, eventually, folder, start_dev};

fn path() -> SecretPath {
    SecretPath::node("n1", "p2p").unwrap()
}

/// Whether a process of that id runs and is no zombie.
fn runs(id: u32) -> bool {
    std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test]
async fn what_was_stored_survives_a_restart() {
    let mut server = Server::start_durable().await;
    let vault = server.vault("provisioning").await;
    let secret = SecretMap::from([("key".to_owned(), "one".into())]);
    vault.create_secret(&path(), &secret).await.unwrap();
    let token = server.admin.token.expose_secret().to_owned();
    server.own().restart().await.unwrap();
    assert_eq!(server.own().admin().token.expose_secret(), token);
    let read = vault.read_secret(&path()).await.unwrap().unwrap();
    assert_eq!(read["key"].expose_secret(), "one");
}

#[tokio::test]
async fn its_files_are_for_their_owner_only() {
    let server = Server::start_alone().await;
    let data = server.folder.path().join("vault");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for name in [
        "admin-token",
        "unseal-key",
        "server-key.pem",
        "server.json",
        "server.log",
    ] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_stopped_or_dropped_server_is_gone() {
    let folder = folder();
    let stopped = start_dev(&folder, DevStorage::Files).await;
    let id = stopped.id().unwrap();
    assert!(runs(id));
    stopped.stop().await;
    assert!(!runs(id));
    let dropped = start_dev(&folder, DevStorage::Files).await;
    let id = dropped.id().unwrap();
    drop(dropped);
    eventually(async || (!runs(id)).then_some(())).await;
}

#[tokio::test]
async fn a_server_that_a_killed_process_left_behind_is_ended_first() {
    let folder = folder();
    let left_behind = start_dev(&folder, DevStorage::Files).await;
    let id = left_behind.id().unwrap();
    let config = DevVaultConfig {
        listen: left_behind
            .address()
            .trim_start_matches("https://")
            .parse()
            .unwrap(),
        ..dev_config(&folder, DevStorage::Files)
    };
    // The first is never told: its owner was killed.
    let next = DevVault::start(config).await.unwrap();
    assert!(!runs(id));
    bootstrap(next.admin(), &BootstrapPlan::default())
        .await
        .unwrap();
    drop(left_behind);
}

#[tokio::test]
async fn an_initialisation_that_did_not_end_is_begun_anew() {
    let folder = folder();
    let first = start_dev(&folder, DevStorage::Files).await;
    let token = first.admin().token.expose_secret().to_owned();
    first.stop().await;
    // As if it was killed between the initialisation and the token's file.
    std::fs::remove_file(folder.path().join("vault/admin-token")).unwrap();
    let second = start_dev(&folder, DevStorage::Files).await;
    assert_ne!(second.admin().token.expose_secret(), token);
    bootstrap(second.admin(), &BootstrapPlan::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = DevVaultConfig {
        listen: taken.local_addr().unwrap(),
        ..dev_config(&folder, DevStorage::Memory)
    };
    let error = DevVault::start(config.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error:?}");
    assert!(
        error.to_string().contains("address already in use"),
        "{error}"
    );
    config.binary = Some("/nonexistent/bao".into());
    let error = DevVault::start(config).await.unwrap_err().to_string();
    assert!(
        error.contains("/nonexistent/bao") && error.contains("install OpenBao"),
        "{error}"
    );
}

#[sqlx::test(migrations = false)]
async fn postgres_keeps_its_data(pool: sqlx::PgPool) {
    let database: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&pool)
        .await
        .unwrap();
    let url = std::env::var_os("DATABASE_URL")
        .unwrap()
        .into_string()
        .unwrap();
    let mut url = reqwest::Url::parse(&url).unwrap();
    url.set_path(&database);
    url.query_pairs_mut().append_pair("sslmode", "disable");
    let storage = DevStorage::Postgres(url.as_str().into());
    let folder = folder();
    let mut vault = start_dev(&folder, storage.clone()).await;
    bootstrap(vault.admin(), &BootstrapPlan::default())
        .await
        .unwrap();
    vault.restart().await.unwrap();
    let again = bootstrap(vault.admin(), &BootstrapPlan::default())
        .await
        .unwrap();
    assert_eq!(again.changes, Vec::<String>::new());
    vault.stop().await;
    std::fs::remove_file(folder.path().join("vault/admin-token")).unwrap();
    let anew = start_dev(&folder, storage).await;
    bootstrap(anew.admin(), &BootstrapPlan::default())
        .await
        .unwrap();
    anew.stop().await;
}
