//! Those who call services: each with a certificate as it gets it from Vault.

use berth_core::{Fence, NodeId, PlacementId, now};
use berth_runtime::identity::{Bundle, Identity};
use berth_secrets::{Vault, VaultConfig};
use rcgen::{CertificateParams, KeyPair};
use std::fs;
use std::path::Path;

/// Those who have a certificate.
pub(crate) const SERVICES: [&str; 6] = [
    "gateway",
    "inventory",
    "leasing",
    "monitoring",
    "provisioning",
    "signer",
];

/// Who answers a service, and where.
pub(crate) fn listener(config: &toml::Table, service: &str) -> (&'static str, String) {
    let package = service.split('.').nth(1).expect("berth.<package>.v1");
    let role = if package == "signing" {
        "signer"
    } else {
        package
    };
    let role = SERVICES
        .into_iter()
        .find(|known| *known == role)
        .expect("a role");
    let address = if service.ends_with(".PlacementService") {
        config[role]["placement_listen"]
            .as_str()
            .unwrap()
            .replace("0.0.0.0", "127.0.0.1")
    } else {
        config["peers"][role].as_str().unwrap().to_owned()
    };
    (role, address)
}

async fn vault(dir: &Path, role: &str) -> Vault {
    let config = fs::read_to_string(dir.join("berth.toml")).unwrap();
    let config: toml::Table = config.parse().expect("the configuration is TOML");
    let address = config["vault"]["address"].as_str().unwrap();
    let authority = config["vault"]["ca_file"].as_str().unwrap();
    let login = dir.join("secret-id").join(role);
    let config = VaultConfig::new(address, Some(authority.into()), role, login);
    Vault::connect(config).await.unwrap()
}

/// A service, with the certificate that it gets.
pub(crate) async fn service(dir: &Path, role: &str) -> Identity {
    let vault = vault(dir, role).await;
    let certificate = vault.issue_service_certificate(role).await.unwrap();
    let identity = Identity::pending();
    let bundle = Bundle {
        certificate_pem: certificate.certificate_chain,
        private_key_pem: certificate.private_key,
        services_ca_pem: certificate.ca,
        placements_ca_pem: vault.placements_ca().await.unwrap(),
        not_after: certificate.not_after.into(),
    };
    identity.replace(&bundle).unwrap();
    identity
}

/// A leased machine, with a certificate as its agent has.
pub(crate) async fn placement(dir: &Path) -> Identity {
    let vault = vault(dir, "provisioning").await;
    let (key, request) = request();
    let (node, placement) = (NodeId::generate(), PlacementId::generate());
    let signed = vault
        .sign_placement_csr(
            &request,
            &node.to_string(),
            &placement.to_string(),
            Fence::FIRST.get(),
        )
        .await
        .unwrap();
    let identity = Identity::pending();
    let bundle = Bundle {
        certificate_pem: signed,
        private_key_pem: key.serialize_pem().into(),
        services_ca_pem: vault.services_ca().await.unwrap(),
        placements_ca_pem: vault.placements_ca().await.unwrap(),
        not_after: now(),
    };
    identity.replace(&bundle).unwrap();
    identity
}

/// A key, and in PEM the request for a certificate of it.
fn request() -> (KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let pem = request.pem().unwrap();
    (key, pem)
}

/// A request for a certificate, in PEM.
pub(crate) fn csr() -> String {
    request().1
}
