//! Logins, and what happens when the server or the token goes away.

use berth_secrets::{
    Error, SecretPath, Vault, VaultConfig, deliver_secret_id,
    dev::{DevStorage, DevVault},
};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::harness::{PATIENCE, Server, dev_config, eventually, folder, start_dev};

fn path() -> SecretPath {
    SecretPath::node("n1", "absent").unwrap()
}

#[tokio::test]
async fn work_waits_for_a_sealed_vault_and_goes_on_by_itself() {
    let mut server = Server::start_durable().await;
    let vault = server.vault("provisioning").await;
    server.admin("PUT", "sys/seal", json!({})).await;
    let sealed = eventually(async || vault.read_secret(&path()).await.err()).await;
    assert!(
        matches!(sealed, Error::Sealed { .. }) && sealed.is_transient(),
        "{sealed:?}"
    );
    assert!(sealed.to_string().contains("unseal it"), "{sealed}");
    let late = Vault::connect(server.config("provisioning"))
        .await
        .unwrap_err();
    assert!(matches!(late, Error::Sealed { .. }), "{late:?}");
    server.own().restart().await.unwrap();
    assert!(vault.read_secret(&path()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_client_that_may_wait_connects_when_the_server_is_unsealed() {
    let mut server = Server::start_durable().await;
    server.vault("gateway").await;
    server.admin("PUT", "sys/seal", json!({})).await;
    let config = VaultConfig {
        connect_wait_seconds: PATIENCE.as_secs(),
        ..server.config("gateway")
    };
    let (connected, restarted) = tokio::join!(Vault::connect(config), server.own().restart());
    restarted.unwrap();
    connected.unwrap().services_ca().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable_and_comes_back() {
    let mut server = Server::start_durable().await;
    let vault = server.vault("provisioning").await;
    let own = server.own.take().unwrap();
    own.stop().await;
    let gone = vault.read_secret(&path()).await.unwrap_err();
    assert!(
        matches!(gone, Error::Unreachable { .. }) && gone.is_transient(),
        "{gone:?}"
    );
    let mut config = dev_config(&server.folder, DevStorage::Files);
    config.listen = server
        .admin
        .address
        .trim_start_matches("https://")
        .parse()
        .unwrap();
    let _again = DevVault::start(config).await.unwrap();
    assert!(vault.read_secret(&path()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let server = Server::start().await;
    server.vault("gateway").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = VaultConfig {
        address: format!("https://{}", silent.local_addr().unwrap()),
        timeout_seconds: 1,
        ..server.config("gateway")
    };
    let given_up = tokio::time::timeout(PATIENCE, Vault::connect(config)).await;
    let error = given_up.expect("no time-out of its own").unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_wrong_ca_is_named_and_the_right_one_is_found_without_a_restart() {
    let server = Server::start_alone().await;
    let other_folder = folder();
    let other = start_dev(&other_folder, DevStorage::Memory).await;
    let ca = server.folder.path().join("ca.pem");
    std::fs::copy(other.ca_file(), &ca).unwrap();
    let mut config = server.config("gateway");
    deliver_secret_id(&server.admin, &config).await.unwrap();
    config.ca_file = Some(ca.clone());
    let vault = Vault::new(config).unwrap();
    let wrong = vault.services_ca().await.unwrap_err();
    assert!(
        matches!(wrong, Error::Untrusted { .. }) && wrong.is_transient(),
        "{wrong:?}"
    );
    assert!(wrong.to_string().contains(ca.to_str().unwrap()), "{wrong}");
    std::fs::write(&ca, "no certificate").unwrap();
    let garbage = vault.services_ca().await.unwrap_err();
    assert!(matches!(garbage, Error::File { .. }), "{garbage:?}");
    std::fs::copy(server.admin.ca_file.as_ref().unwrap(), &ca).unwrap();
    vault.services_ca().await.unwrap();
}

#[tokio::test]
async fn a_revoked_token_logs_in_again_by_itself() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    vault.read_secret(&path()).await.unwrap();
    let revoked = format!(
        "sys/leases/revoke-prefix/auth/{}-approle",
        server.plan.mount_prefix
    );
    server.admin("PUT", &revoked, json!({})).await;
    vault.read_secret(&path()).await.unwrap();
}

#[tokio::test]
async fn many_callers_make_one_login() {
    let server = Server::start_alone().await;
    let config = server.config("provisioning");
    deliver_secret_id(&server.admin, &config).await.unwrap();
    let logins = || audited(&server, "-approle/login");
    let before = logins();
    let vault = Vault::new(config).unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let vault = vault.clone();
        callers.spawn(async move { vault.read_secret(&path()).await });
    }
    assert!(
        callers
            .join_all()
            .await
            .into_iter()
            .all(|read| read.is_ok())
    );
    assert_eq!(logins() - before, 1);
}

#[tokio::test]
async fn an_idle_service_renews_its_token_and_logs_in_when_its_time_is_up() {
    let server = Server::start_alone().await;
    let role = "auth/PREFIX-approle/role/gateway";
    server
        .admin(
            "POST",
            role,
            json!({ "token_ttl": "2s", "token_max_ttl": "5s" }),
        )
        .await;
    let vault = server.vault("gateway").await;
    let logins = audited(&server, "-approle/login");
    let kept = async {
        eventually(async || (audited(&server, "auth/token/renew-self") > 0).then_some(())).await;
        eventually(async || (audited(&server, "-approle/login") > logins).then_some(())).await;
    };
    tokio::select! {
        () = vault.keep_alive() => unreachable!("it has no end"),
        () = kept => {}
    }
}

#[tokio::test]
async fn a_secret_id_that_ended_is_named_and_a_new_one_is_used_without_a_restart() {
    let server = Server::start().await;
    let config = server.config("leasing");
    let vault = Vault::new(config.clone()).unwrap();
    let missing = vault.services_ca().await.unwrap_err();
    assert!(
        matches!(missing, Error::File { .. }) && missing.is_transient(),
        "{missing:?}"
    );
    deliver_secret_id(&server.admin, &config).await.unwrap();
    vault.services_ca().await.unwrap();
    let secret_id = std::fs::read_to_string(&config.secret_id_file).unwrap();
    let role = "auth/PREFIX-approle/role/leasing";
    server
        .admin(
            "POST",
            &format!("{role}/secret-id/destroy"),
            json!({ "secret_id": secret_id }),
        )
        .await;
    vault.log_out().await;
    let ended = vault.services_ca().await.unwrap_err();
    assert!(
        matches!(ended, Error::LoginRefused { .. }) && ended.is_transient(),
        "{ended:?}"
    );
    assert!(!ended.to_string().contains(&secret_id), "{ended}");
    assert!(deliver_secret_id(&server.admin, &config).await.unwrap());
    vault.services_ca().await.unwrap();
}

#[tokio::test]
async fn a_login_from_another_network_is_refused() {
    let mut server = Server::start().await;
    for role in &mut server.plan.roles {
        role.cidrs = vec!["192.0.2.0/24".to_owned()];
    }
    berth_secrets::bootstrap::bootstrap(&server.admin, &server.plan)
        .await
        .unwrap();
    let config = server.config("gateway");
    let life = std::time::Duration::from_mins(1);
    let prefix = &server.plan.mount_prefix;
    let token = berth_secrets::wrapped_secret_id(&server.admin, prefix, "gateway", life)
        .await
        .unwrap();
    berth_secrets::unwrap_secret_id(&config, &token)
        .await
        .unwrap();
    let refused = Vault::connect(config).await.unwrap_err();
    assert!(matches!(refused, Error::LoginRefused { .. }), "{refused:?}");
    let again = berth_secrets::bootstrap::bootstrap(&server.admin, &server.plan)
        .await
        .unwrap();
    assert_eq!(again.changes, Vec::<String>::new());
}

/// How often a path stands in the requests of the server's audit log.
fn audited(server: &Server, path: &str) -> usize {
    let log = server.folder.path().join("vault/audit.log");
    let log = std::fs::read_to_string(log).unwrap();
    let requests = log
        .lines()
        .filter(|line| line.contains("\"type\":\"request\""));
    requests.filter(|line| line.contains(path)).count()
}

#[tokio::test]
async fn no_token_and_no_secret_is_printed() {
    let server = Server::start().await;
    let config = server.config("provisioning");
    let vault = server.vault("provisioning").await;
    let path = SecretPath::node("n1", "p2p").unwrap();
    let secret = berth_secrets::SecretMap::from([("key".to_owned(), "s3ntinel".into())]);
    let stored = vault.create_secret(&path, &secret).await.unwrap();
    let identity = vault
        .issue_service_certificate("provisioning")
        .await
        .unwrap();
    let secret_id = std::fs::read_to_string(&config.secret_id_file).unwrap();
    let printed = format!(
        "{vault:?} {config:?} {:?} {:?} {stored:?} {secret:?} {identity:?}",
        server.admin, server.own
    );
    let key = identity.private_key.expose_secret().lines().nth(1).unwrap();
    for secret in [
        "s3ntinel",
        key,
        secret_id.trim(),
        server.admin.token.expose_secret(),
    ] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[tokio::test]
async fn expected_refusals_are_not_logged_as_errors_and_nothing_logs_a_token() {
    let server = Server::start().await;
    let log = Log::default();
    let written = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || written.clone())
        .finish();
    let _until_the_end = tracing::subscriber::set_default(subscriber);
    let vault = server.vault("leasing").await;
    vault.read_secret(&path()).await.unwrap_err();
    vault.services_ca().await.unwrap();
    let secret_id = std::fs::read_to_string(server.config("leasing").secret_id_file).unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(!log.is_empty(), "nothing was captured");
    let token = server.admin.token.expose_secret();
    for word in ["ERROR", "WARN", "vaultrs", "rustify", &secret_id, token] {
        assert!(!log.contains(word), "{word} in {log}");
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
