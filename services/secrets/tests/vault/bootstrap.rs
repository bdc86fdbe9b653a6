//! Preparing a server.

use berth_secrets::{
    AdminVault, Error,
    bootstrap::{BootstrapPlan, Grant, RolePlan, bootstrap},
    check::{check, check_service},
};

use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::harness::Server;

#[tokio::test]
async fn a_second_bootstrap_changes_nothing() {
    let server = Server::start().await;
    let again = bootstrap(&server.admin, &server.plan).await.unwrap();
    assert_eq!(again.changes, Vec::<String>::new());
    assert_eq!(again.to_string(), "nothing to change");
}

#[tokio::test]
async fn a_prepared_server_passes_every_probe() {
    let server = Server::start().await;
    for probe in check(&server.admin, &server.plan).await {
        assert!(probe.ok(), "{probe}");
    }
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let server = Server::start().await;
    let plan = BootstrapPlan {
        mount_prefix: "test-dry".into(),
        dry_run: true,
        ..server.plan.clone()
    };
    let first = bootstrap(&server.admin, &plan).await.unwrap();
    assert!(
        first.to_string().starts_with("would mount kv at test-dry/"),
        "{first}"
    );
    assert_eq!(bootstrap(&server.admin, &plan).await.unwrap(), first);
    let mounts = server.admin("GET", "sys/mounts", json!({})).await;
    assert!(mounts["data"]["test-dry/"].is_null());
}

#[tokio::test]
async fn what_somebody_widened_is_narrowed_again() {
    let server = Server::start().await;
    let role = "PREFIX-pki-services/roles/leasing";
    server
        .admin(
            "POST",
            role,
            json!({ "allow_any_name": true, "allowed_uri_sans": ["*"] }),
        )
        .await;
    let wide = json!({ "policy": "path \"*\" { capabilities = [\"read\"] }" });
    server
        .admin("POST", "sys/policies/acl/PREFIX-leasing", wide)
        .await;
    let prefix = &server.plan.mount_prefix;
    let report = bootstrap(&server.admin, &server.plan).await.unwrap();
    let [role, policy] = &report.changes[..] else {
        panic!("{report}");
    };
    assert!(role.starts_with("set allow_any_name, "), "{role}");
    assert!(
        role.ends_with(&format!(" of {prefix}-pki-services/roles/leasing")),
        "{role}"
    );
    assert_eq!(*policy, format!("write the policy {prefix}-leasing"));
    assert_eq!(
        bootstrap(&server.admin, &server.plan)
            .await
            .unwrap()
            .changes,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_bootstrap_keeps_the_authorities() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    let before = (
        vault.services_ca().await.unwrap(),
        vault.ssh_ca_public_key().await.unwrap(),
    );
    bootstrap(&server.admin, &server.plan).await.unwrap();
    assert_eq!(
        (
            vault.services_ca().await.unwrap(),
            vault.ssh_ca_public_key().await.unwrap()
        ),
        before
    );
}

#[tokio::test]
async fn a_mount_of_another_kind_is_left_alone() {
    let server = Server::start().await;
    server
        .admin(
            "POST",
            "sys/mounts/PREFIX-taken",
            json!({ "type": "transit" }),
        )
        .await;
    let plan = BootstrapPlan {
        mount_prefix: format!("{}-taken", server.plan.mount_prefix),
        ..server.plan.clone()
    };
    let refused = bootstrap(&server.admin, &plan)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("choose another mount prefix"), "{refused}");
}

#[tokio::test]
async fn a_token_that_may_not_is_told_so() {
    let server = Server::start().await;
    for token in ["nonsense".to_owned(), server.token("gateway").await] {
        let admin = AdminVault {
            token: token.as_str().into(),
            ..server.admin.clone()
        };
        let refused = bootstrap(&admin, &server.plan).await.unwrap_err();
        assert!(
            matches!(&refused, Error::Invalid { field, .. } if field == "admin token"),
            "{refused}"
        );
        assert!(!refused.to_string().contains(&token), "{refused}");
    }
}

#[tokio::test]
async fn a_plan_with_hostile_names_is_refused() {
    let server = Server::start().await;
    let role = |name: &str, host: &str| RolePlan {
        name: name.to_owned(),
        grants: vec![Grant::NodeSecrets],
        names: vec![host.to_owned()],
        cidrs: Vec::new(),
    };
    for roles in [
        vec![role("../sys", "a")],
        vec![role("a\" { }", "a")],
        vec![role("a", "*.example.com")],
    ] {
        let plan = BootstrapPlan {
            roles,
            ..server.plan.clone()
        };
        assert!(
            matches!(
                bootstrap(&server.admin, &plan).await,
                Err(Error::Invalid { .. })
            ),
            "{plan:?}"
        );
    }
}

#[tokio::test]
async fn a_check_names_what_is_missing_and_how_to_get_it() {
    let server = Server::start().await;
    let plan = BootstrapPlan {
        mount_prefix: "test-absent".into(),
        ..server.plan.clone()
    };
    let probes = check(&server.admin, &plan).await;
    let missing = probes
        .iter()
        .find(|probe| probe.name == "everything is set up")
        .unwrap();
    assert!(
        missing
            .problem
            .as_ref()
            .unwrap()
            .contains("would mount kv at test-absent/"),
        "{missing}"
    );
    assert_eq!(
        missing.remedy.as_deref(),
        Some("run `berth vault bootstrap`")
    );
    assert!(
        probes
            .iter()
            .any(|probe| probe.name == "gateway: obtain a secret id" && !probe.ok())
    );
}

#[tokio::test]
async fn a_check_leaves_nothing_behind() {
    let server = Server::start_alone().await;
    let leftovers = async || {
        let secret_ids = "auth/PREFIX-approle/role/provisioning/secret-id";
        let token = server.admin.token.expose_secret();
        let (_, secret_ids) = server.send(token, "LIST", secret_ids, &json!({})).await;
        let (_, secrets) = server
            .send(token, "LIST", "PREFIX/metadata/nodes", &json!({}))
            .await;
        let (_, tokens) = server
            .send(token, "LIST", "auth/token/accessors", &json!({}))
            .await;
        let tokens = tokens["data"]["keys"].as_array().map(Vec::len);
        (
            secret_ids["data"]["keys"].clone(),
            secrets["data"]["keys"].clone(),
            tokens,
        )
    };
    let before = leftovers().await;
    for probe in check(&server.admin, &server.plan).await {
        assert!(probe.ok(), "{probe}");
    }
    assert_eq!(leftovers().await, before);
}

#[tokio::test]
async fn a_service_checks_its_own_login() {
    let server = Server::start().await;
    let probes = check_service(&server.config("leasing"), &server.plan).await;
    let login = probes
        .iter()
        .find(|probe| probe.name == "leasing: log in")
        .unwrap();
    assert!(
        login
            .problem
            .as_ref()
            .unwrap()
            .contains("leasing-secret-id"),
        "{login}"
    );
    server.vault("leasing").await;
    for probe in check_service(&server.config("leasing"), &server.plan).await {
        assert!(probe.ok(), "{probe}");
    }
}
