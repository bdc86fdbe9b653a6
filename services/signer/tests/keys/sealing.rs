//! Keystores that owners seal to the signer.

use crate::made::{INFO, content, key, keystore, public_key, seal};
use crate::vault::Server;
use berth_core::AccountId;
use berth_secrets::SignerPath;
use berth_signer::domain::keystore::KeystoreError;
use berth_signer::sealing::{NoSealingKey, NotOpened, SealingKey};
use secrecy::ExposeSecret as _;
use serde_json::json;

#[tokio::test]
async fn a_sealed_keystore_opens_with_any_replica_for_its_account_alone() {
    let server = Server::start().await;
    let vault = server.login("signer").await;
    let (one, other) = tokio::join!(SealingKey::obtain(&vault), SealingKey::obtain(&vault));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.public_key(), other.public_key());
    assert_eq!(one.public_key().len(), 32);
    let (owner, thief) = (AccountId::generate(), AccountId::generate());
    let (encapsulated, ciphertext) = seal(one.public_key(), INFO, owner, &content(&keystore(1)));
    let (keystore, password) = other.open(owner, &encapsulated, &ciphertext).unwrap();
    let opened = keystore.open(password.expose_secret()).unwrap();
    assert_eq!(opened.public_key(), public_key(1));
    let refused = |account, encapsulated: &[u8], ciphertext: &[u8]| {
        let opened = one.open(account, encapsulated, ciphertext);
        assert_eq!(opened.map(|_| ()), Err(NotOpened::Sealed));
    };
    refused(thief, &encapsulated, &ciphertext);
    refused(owner, &encapsulated[..31], &ciphertext);
    refused(owner, &[], &ciphertext);
    refused(owner, &[0; 32], &ciphertext);
    refused(owner, &encapsulated, &ciphertext[1..]);
    refused(owner, &encapsulated, &[]);
    let (encapsulated, ciphertext) = seal(one.public_key(), "another use", owner, "{}");
    refused(owner, &encapsulated, &ciphertext);
    assert_eq!(format!("{one:?}"), "SealingKey(REDACTED)");
}

#[tokio::test]
async fn what_is_sealed_and_is_no_keystore_is_refused_without_quoting_it() {
    let server = Server::start().await;
    let sealing = SealingKey::obtain(&server.login("signer").await)
        .await
        .unwrap();
    let owner = AccountId::generate();
    let open = |content: &str| {
        let (encapsulated, ciphertext) = seal(sealing.public_key(), INFO, owner, content);
        let opened = sealing.open(owner, &encapsulated, &ciphertext);
        opened.map(|_| ()).unwrap_err()
    };
    let number = json!({ "keystore": keystore(1), "password": 731_731 });
    let huge = content(&json!({ "filling": "x".repeat(64 * 1024) }));
    for wrong in [
        "",
        "[]",
        "{}",
        r#"{"password":"x"}"#,
        &number.to_string(),
        &huge,
    ] {
        assert_eq!(open(wrong), NotOpened::Content, "{}", wrong.len());
    }
    assert_eq!(
        open(&content(&json!({ "version": 3 }))),
        NotOpened::Keystore(KeystoreError::Version(3))
    );
}

#[tokio::test]
async fn nobody_can_put_another_public_key_in_the_place_of_the_signers() {
    let server = Server::start().await;
    let vault = server.login("signer").await;
    let forged = hex::encode([9; 32]);
    let secret = key(1).to_bytes();
    let ciphertext = vault.encrypt(&*secret, "sealing key of another").await;
    let fields = [
        ("public_key".to_owned(), forged),
        ("ciphertext".to_owned(), ciphertext.unwrap()),
    ];
    let path = SignerPath::sealing_key();
    vault.write_record(&path, &fields.into(), 0).await.unwrap();
    let refused = SealingKey::obtain(&vault).await.unwrap_err();
    assert!(matches!(refused, NoSealingKey::Vault(_)), "{refused:?}");
}
