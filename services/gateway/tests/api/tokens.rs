//! Who calls: the token, and nothing else that a client sends.

use crate::fixture::{Site, TOKEN, reason, signed, with_token};
use berth_core::AccountId;
use berth_proto::monitoring::v1::GetHealthRequest;
use sqlx::PgPool;
use tonic::{Code, Request};

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn only_the_token_itself_is_let_in(db: PgPool) {
    let mut site = Site::new(&db).await;
    let ask = GetHealthRequest::default;
    let status = site.read(Request::new(ask())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(reason(&status), "NOT_SIGNED_IN");
    assert!(status.message().contains("BERTH_TOKEN"), "{status}");

    let longer = format!("Bearer {TOKEN}0");
    let endless = format!("Bearer {}", "x".repeat(4000));
    for (value, expected) in [
        ("Bearer berth_admin_guess", "TOKEN_UNKNOWN"),
        (longer.as_str(), "TOKEN_UNKNOWN"),
        ("Bearer ", "TOKEN_UNKNOWN"),
        (endless.as_str(), "TOKEN_MALFORMED"),
        (TOKEN, "TOKEN_MALFORMED"),
        ("Basic YWRtaW46YWRtaW4=", "TOKEN_MALFORMED"),
    ] {
        let status = site.read(with_token(ask(), value)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{value}");
        assert_eq!(reason(&status), expected, "{value}");
        assert!(!status.message().contains("guess"), "{status}");
    }
    site.read(signed(ask())).await.unwrap();
    // One call got through, and no other.
    assert_eq!(site.seen().await.account, site.account.to_string());
    assert!(site.seen.try_recv().is_err());
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn the_account_that_a_client_names_is_dropped_and_so_is_its_token(db: PgPool) {
    let mut site = Site::new(&db).await;
    let mut request = signed(GetHealthRequest::default());
    for _ in 0..2 {
        let other = AccountId::generate().to_string().parse().unwrap();
        request.metadata_mut().append("berth-account", other);
    }
    request
        .metadata_mut()
        .insert("x-kept", "as it came".parse().unwrap());
    site.read(request).await.unwrap();
    let seen = site.seen().await;
    assert_eq!(seen.account, site.account.to_string());
    let accounts: Vec<_> = seen.metadata.get_all("berth-account").iter().collect();
    assert_eq!(accounts, [site.account.to_string().as_str()]);
    assert!(seen.metadata.get("authorization").is_none());
    assert_eq!(seen.metadata.get("x-kept").unwrap(), "as it came");
}
