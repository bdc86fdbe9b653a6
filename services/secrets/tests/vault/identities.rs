//! Certificates of services and of placements.

use berth_secrets::{Error, Identity};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType};
use secrecy::ExposeSecret as _;
use serde_json::json;
use x509_parser::prelude::*;
use x509_parser::time::ASN1Time;

use crate::harness::{PATIENCE, Server};

/// A certificate request as an agent would make it, but for `change`.
pub(crate) fn request(change: impl FnOnce(&mut CertificateParams)) -> String {
    let mut params = CertificateParams::default();
    change(&mut params);
    params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap()
        .pem()
        .unwrap()
}

/// What a verifier reads from the first certificate of a chain.
#[derive(Debug, PartialEq)]
struct Subject {
    names: Vec<String>,
    common_name: String,
    server: bool,
    client: bool,
    authority: bool,
    /// From its begin to now, and from now to its end.
    hours: (i64, i64),
}

fn subject(chain: &str) -> Subject {
    let (_, pem) = parse_x509_pem(chain.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    let validity = certificate.validity();
    let now = ASN1Time::now().timestamp();
    let hours = |seconds: i64| (seconds + 60) / 3600;
    Subject {
        names: names
            .value
            .general_names
            .iter()
            .map(ToString::to_string)
            .collect(),
        common_name: certificate.subject().to_string(),
        server: usage.server_auth,
        client: usage.client_auth,
        authority: certificate.is_ca(),
        hours: (
            hours(now - validity.not_before.timestamp()),
            hours(validity.not_after.timestamp() - now),
        ),
    }
}

/// Panics unless `chain` leads to one of `ca`.
fn verify(chain: &str, ca: &str) {
    let (_, pem) = parse_x509_pem(chain.as_bytes()).unwrap();
    let certificate = pem.parse_x509().unwrap();
    let verified = Pem::iter_from_buffer(ca.as_bytes()).any(|authority| {
        let authority = authority.unwrap();
        let authority = authority.parse_x509().unwrap();
        certificate
            .verify_signature(Some(authority.public_key()))
            .is_ok()
    });
    assert!(verified, "{chain} does not lead to {ca}");
}

#[tokio::test]
async fn a_service_gets_its_own_name_and_no_other() {
    let server = Server::start().await;
    let mut config = server.config("monitoring");
    config.names = vec!["10.1.2.3".to_owned(), "127.0.0.1".to_owned()];
    berth_secrets::deliver_secret_id(&server.admin, &config)
        .await
        .unwrap();
    let vault = berth_secrets::Vault::connect(config).await.unwrap();
    let identity = vault.issue_service_certificate("monitoring").await.unwrap();
    let mut subject = subject(&identity.certificate_chain);
    subject.names.sort();
    assert_eq!(
        subject.names,
        [
            "DNSName(localhost)",
            "DNSName(monitoring)",
            "IPAddress(0a:01:02:03)",
            "IPAddress(7f:00:00:01)",
            "URI(berth://service/monitoring)",
        ]
    );
    assert_eq!(
        (
            subject.server,
            subject.client,
            subject.authority,
            subject.hours
        ),
        (true, true, false, (24, 72))
    );
    verify(&identity.certificate_chain, &identity.ca);
    assert_eq!(identity.ca, vault.services_ca().await.unwrap());
    rustls_accepts(&identity);
}

/// Builds what a TLS server and client build from an identity.
fn rustls_accepts(identity: &Identity) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let chain =
        CertificateDer::pem_slice_iter(identity.certificate_chain.as_bytes()).map(Result::unwrap);
    let key =
        PrivateKeyDer::from_pem_slice(identity.private_key.expose_secret().as_bytes()).unwrap();
    rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.collect(), key)
        .unwrap();
}

#[tokio::test]
async fn a_dns_name_needs_the_plan_to_name_it() {
    let mut server = Server::start().await;
    let mut config = server.config("gateway");
    config.names = vec!["berth.example.com".to_owned()];
    berth_secrets::deliver_secret_id(&server.admin, &config)
        .await
        .unwrap();
    let vault = berth_secrets::Vault::connect(config).await.unwrap();
    let refused = vault
        .issue_service_certificate("gateway")
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("berth.example.com"), "{refused}");
    for role in &mut server.plan.roles {
        role.names.push("berth.example.com".to_owned());
    }
    berth_secrets::bootstrap::bootstrap(&server.admin, &server.plan)
        .await
        .unwrap();
    let identity = vault.issue_service_certificate("gateway").await.unwrap();
    assert!(
        subject(&identity.certificate_chain)
            .names
            .contains(&"DNSName(berth.example.com)".to_owned())
    );
}

#[tokio::test]
async fn a_placement_gets_its_node_its_id_and_its_fence() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    let chain = vault
        .sign_placement_csr(&request(|_| {}), "n1", "p1", 7)
        .await
        .unwrap();
    let expected = Subject {
        names: vec!["URI(berth://placement/n1/p1/7)".to_owned()],
        common_name: String::new(),
        server: false,
        client: true,
        authority: false,
        hours: (24, 24),
    };
    assert_eq!(subject(&chain), expected);
    verify(&chain, &vault.placements_ca().await.unwrap());
}

#[tokio::test]
async fn what_a_hostile_request_asks_for_is_ignored() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    let hostile = request(|params| {
        params
            .distinguished_name
            .push(DnType::CommonName, "provisioning");
        params.subject_alt_names = vec![
            SanType::URI("berth://service/provisioning".try_into().unwrap()),
            SanType::URI("berth://placement/n1/p1/99".try_into().unwrap()),
            SanType::DnsName("provisioning".try_into().unwrap()),
        ];
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let chain = vault
        .sign_placement_csr(&hostile, "n1", "p1", 7)
        .await
        .unwrap();
    let subject = subject(&chain);
    assert_eq!(subject.names, ["URI(berth://placement/n1/p1/7)"]);
    assert_eq!(
        (subject.common_name.as_str(), subject.authority),
        ("", false)
    );
}

#[tokio::test]
async fn a_request_that_is_none_is_refused() {
    let server = Server::start().await;
    let vault = server.vault("provisioning").await;
    let rsa_like =
        "-----BEGIN CERTIFICATE REQUEST-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE REQUEST-----\n";
    let good = request(|_| {});
    let huge = good.repeat(100);
    for (csr, node, placement) in [
        ("", "n", "p"),
        ("nonsense", "n", "p"),
        (rsa_like, "n", "p"),
        (huge.as_str(), "n", "p"),
        (good.as_str(), "../x", "p"),
        (good.as_str(), "n/p", "1"),
        (good.as_str(), "n", "p/7,berth://placement/n/p"),
    ] {
        let refused = vault
            .sign_placement_csr(csr, node, placement, 1)
            .await
            .unwrap_err();
        assert!(
            matches!(refused, Error::Invalid { .. }) && !refused.is_transient(),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_while_the_service_runs() {
    let server = Server::start().await;
    let short = json!({ "ttl": "3s", "max_ttl": "3s" });
    let role = server
        .admin("GET", "PREFIX-pki-services/roles/leasing", json!({}))
        .await;
    let mut role = role["data"].clone();
    role.as_object_mut()
        .unwrap()
        .extend(short.as_object().unwrap().clone());
    server
        .admin("POST", "PREFIX-pki-services/roles/leasing", role)
        .await;
    let vault = server.vault("leasing").await;
    let (mut newest, renew) = vault.keep_service_certificate("leasing").await.unwrap();
    let first = newest.borrow().certificate_chain.clone();
    let renewed = async {
        newest.changed().await.unwrap();
        assert_ne!(newest.borrow().certificate_chain, first);
        drop(newest);
    };
    // The future ends when nobody is interested any more.
    let both = async { tokio::join!(renew, renewed) };
    tokio::time::timeout(PATIENCE, both)
        .await
        .expect("never renewed");
}

#[tokio::test]
async fn during_a_rotation_both_authorities_are_trusted() {
    let server = Server::start().await;
    let vault = server.vault("leasing").await;
    let old = vault.issue_service_certificate("leasing").await.unwrap();
    let root = json!({ "common_name": "next", "key_type": "ec", "key_bits": 256, "ttl": "87600h" });
    let made = server
        .admin("POST", "PREFIX-pki-services/root/rotate/internal", root)
        .await;
    let next = json!({ "default": made["data"]["issuer_id"] });
    server
        .admin("POST", "PREFIX-pki-services/config/issuers", next)
        .await;
    let new = vault.issue_service_certificate("leasing").await.unwrap();
    assert_eq!(new.ca.matches("BEGIN CERTIFICATE").count(), 2);
    verify(&old.certificate_chain, &new.ca);
    verify(&new.certificate_chain, &new.ca);
}
