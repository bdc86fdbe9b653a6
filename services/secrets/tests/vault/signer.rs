//! What only the signer keeps.

use std::collections::BTreeMap;

use berth_secrets::{Error, SignerPath, bootstrap::bootstrap};
use serde_json::json;
use uuid::Uuid;

use crate::harness::Server;

fn fields(value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("k".to_owned(), value.to_owned())])
}

#[tokio::test]
async fn a_validators_record_is_created_once_and_destroyed_whole() {
    let server = Server::start().await;
    let vault = server.vault("signer").await;
    let path = SignerPath::validator(&[7; 48]);
    assert_eq!(vault.read_record(&path).await.unwrap(), None);
    let write = async |value| vault.write_record(&path, &fields(value), 0).await.unwrap();
    assert_eq!(write("one").await, Some(1));
    assert_eq!(write("two").await, None);
    let record = vault.read_record(&path).await.unwrap().unwrap();
    assert_eq!((record.version, record.fields), (1, fields("one")));
    let update = vault.write_record(&path, &fields("two"), 1).await;
    assert!(matches!(update, Err(Error::Denied { .. })), "{update:?}");
    for _ in 0..2 {
        vault.destroy_record(&path).await.unwrap();
        assert_eq!(vault.read_record(&path).await.unwrap(), None);
    }
    assert_eq!(write("two").await, Some(1));
}

#[tokio::test]
async fn a_withdrawal_is_written_once_listed_and_never_taken_back() {
    let server = Server::start().await;
    let vault = server.vault("signer").await;
    let (database, another) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let folder = SignerPath::withdrawals(database);
    assert!(vault.list_records(&folder).await.unwrap().is_empty());
    let path = SignerPath::withdrawal(database, &[7; 48], 1);
    for written in [Some(1), None] {
        let write = vault.write_record(&path, &BTreeMap::new(), 0).await;
        assert_eq!(write.unwrap(), written);
    }
    let names = vault.list_records(&folder).await.unwrap();
    assert_eq!(names, [format!("{}.1", "07".repeat(48))]);
    let elsewhere = SignerPath::withdrawals(another);
    assert!(vault.list_records(&elsewhere).await.unwrap().is_empty());
    let destroyed = vault.destroy_record(&path).await;
    assert!(
        matches!(destroyed, Err(Error::Denied { .. })),
        "{destroyed:?}"
    );
}

#[tokio::test]
async fn the_anchor_is_replaced_only_by_who_knows_it() {
    let server = Server::start().await;
    let vault = server.vault("signer").await;
    let path = SignerPath::anchor();
    let write = async |value, replaces| {
        let written = vault.write_record(&path, &fields(value), replaces).await;
        written.unwrap()
    };
    assert_eq!(write("one", 0).await, Some(1));
    assert_eq!(write("another", 0).await, None);
    assert_eq!(write("two", 1).await, Some(2));
    assert_eq!(write("late", 1).await, None);
    let record = vault.read_record(&path).await.unwrap().unwrap();
    assert_eq!((record.version, record.fields), (2, fields("two")));
    let destroyed = vault.destroy_record(&path).await;
    assert!(
        matches!(destroyed, Err(Error::Denied { .. })),
        "{destroyed:?}"
    );
}

#[tokio::test]
async fn of_many_writers_of_one_version_one_wins() {
    let server = Server::start().await;
    let vault = server.vault("signer").await;
    for (path, replaces) in [
        (SignerPath::validator(&[7; 48]), 0),
        (SignerPath::anchor(), 0),
        (SignerPath::anchor(), 1),
    ] {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..16 {
            let (vault, path) = (vault.clone(), path.clone());
            let fields = fields(&format!("of writer {writer}"));
            writers.spawn(async move { vault.write_record(&path, &fields, replaces).await });
        }
        let outcomes = writers.join_all().await;
        let winners = outcomes
            .into_iter()
            .filter_map(Result::unwrap)
            .collect::<Vec<_>>();
        assert_eq!(winners, [replaces + 1], "{path}");
    }
}

#[tokio::test]
async fn what_is_encrypted_is_decrypted_only_for_what_it_is_bound_to() {
    let server = Server::start().await;
    let vault = server.vault("signer").await;
    let ciphertext = vault.encrypt(b"s3ntinel", "database/key").await.unwrap();
    assert!(ciphertext.starts_with("vault:v1:"), "{ciphertext}");
    let secret = vault.decrypt(&ciphertext, "database/key").await.unwrap();
    assert_eq!(**secret, *b"s3ntinel");
    for (ciphertext, bound_to) in [
        (ciphertext.as_str(), "another/key"),
        (ciphertext.as_str(), ""),
        (&ciphertext[..ciphertext.len() - 4], "database/key"),
        ("", "database/key"),
        ("vault:v1:", "database/key"),
        ("vault:v2:AAAA", "database/key"),
    ] {
        let refused = vault.decrypt(ciphertext, bound_to).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
        assert!(!refused.to_string().contains("s3ntinel"), "{refused}");
    }
}

#[tokio::test]
async fn another_service_neither_reads_records_nor_decrypts() {
    let server = Server::start().await;
    let signer = server.vault("signer").await;
    let path = SignerPath::validator(&[7; 48]);
    signer.write_record(&path, &fields("x"), 0).await.unwrap();
    let ciphertext = signer.encrypt(b"s3ntinel", "x").await.unwrap();
    let vault = server.vault("provisioning").await;
    for refused in [
        vault.read_record(&path).await.unwrap_err(),
        vault
            .write_record(&path, &fields("y"), 0)
            .await
            .unwrap_err(),
        vault.destroy_record(&path).await.unwrap_err(),
        vault.encrypt(b"s3ntinel", "x").await.unwrap_err(),
        vault.decrypt(&ciphertext, "x").await.unwrap_err(),
    ] {
        assert!(matches!(refused, Error::Denied { .. }), "{refused:?}");
        assert!(!refused.to_string().contains("s3ntinel"), "{refused}");
    }
}

#[tokio::test]
async fn a_transit_key_that_somebody_made_deletable_is_kept_again() {
    let server = Server::start().await;
    let config = "PREFIX-transit/keys/signer/config";
    server
        .admin("POST", config, json!({ "deletion_allowed": true }))
        .await;
    let report = bootstrap(&server.admin, &server.plan).await.unwrap();
    let prefix = &server.plan.mount_prefix;
    assert_eq!(
        report.changes,
        [format!(
            "set deletion_allowed of {prefix}-transit/keys/signer"
        )]
    );
    let again = bootstrap(&server.admin, &server.plan).await.unwrap();
    assert_eq!(again.changes, Vec::<String>::new());
}

#[tokio::test]
async fn a_transit_key_that_could_have_left_is_refused() {
    let server = Server::start_alone().await;
    let config = "PREFIX-transit/keys/signer/config";
    server
        .admin("POST", config, json!({ "exportable": true }))
        .await;
    let refused = bootstrap(&server.admin, &server.plan).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("differs in exportable"), "{text}");
    assert!(text.contains("choose another mount prefix"), "{text}");
}
