//! Secret ids on their way to a service.

use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use berth_secrets::{Error, Vault, deliver_secret_id, unwrap_secret_id, wrapped_secret_id};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::harness::Server;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_wrapping_token_gives_a_secret_id_once() {
    let server = Server::start().await;
    let config = server.config("leasing");
    let prefix = &server.plan.mount_prefix;
    let token = wrapped_secret_id(&server.admin, prefix, "leasing", MINUTE)
        .await
        .unwrap();
    unwrap_secret_id(&config, &token).await.unwrap();
    let mode = std::fs::metadata(&config.secret_id_file)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    Vault::connect(config.clone()).await.unwrap();
    let again = unwrap_secret_id(&config, &token).await.unwrap_err();
    assert!(again.to_string().contains("was used already"), "{again}");
    assert!(
        !format!("{again:?}").contains(token.expose_secret()),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_wrapping_token_lives_as_long_as_was_said() {
    let server = Server::start().await;
    let prefix = &server.plan.mount_prefix;
    let life = Duration::from_secs(1234);
    let token = wrapped_secret_id(&server.admin, prefix, "leasing", life)
        .await
        .unwrap();
    let body = json!({ "token": token.expose_secret() });
    let wrapped = server.admin("POST", "sys/wrapping/lookup", body).await;
    assert_eq!(wrapped["data"]["creation_ttl"], json!(1234));
    for life in [Duration::ZERO, Duration::from_hours(25)] {
        let refused = wrapped_secret_id(&server.admin, prefix, "leasing", life)
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn a_token_that_wraps_something_else_is_not_even_opened() {
    let server = Server::start().await;
    let prefix = &server.plan.mount_prefix;
    let token = wrapped_secret_id(&server.admin, prefix, "gateway", MINUTE)
        .await
        .unwrap();
    let refused = unwrap_secret_id(&server.config("leasing"), &token)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("wraps something else"),
        "{refused}"
    );
    unwrap_secret_id(&server.config("gateway"), &token)
        .await
        .unwrap();
    for nonsense in ["nonsense", "a b", "a\nb"] {
        let refused = unwrap_secret_id(&server.config("gateway"), &nonsense.into())
            .await
            .unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn a_secret_id_that_works_is_not_replaced() {
    let server = Server::start().await;
    let config = server.config("leasing");
    assert!(deliver_secret_id(&server.admin, &config).await.unwrap());
    let first = std::fs::read(&config.secret_id_file).unwrap();
    assert!(!deliver_secret_id(&server.admin, &config).await.unwrap());
    assert_eq!(std::fs::read(&config.secret_id_file).unwrap(), first);
    std::fs::write(&config.secret_id_file, "wrong").unwrap();
    assert!(deliver_secret_id(&server.admin, &config).await.unwrap());
    Vault::connect(config).await.unwrap();
}
