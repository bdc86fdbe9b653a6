//! What each role is allowed and refused.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::harness::Server;

const ROLES: [&str; 6] = [
    "gateway",
    "inventory",
    "leasing",
    "monitoring",
    "provisioning",
    "signer",
];

/// One request a line: who is allowed to make it (all others are refused), the
/// request, its body where it has one. In order: later lines meet what earlier
/// ones stored.
const TABLE: &str = r#"
all          | GET auth/token/lookup-self
all          | POST auth/token/renew-self
all          | GET PREFIX-pki-services/issuers?list=true
all          | GET PREFIX-pki-placements/issuers?list=true
gateway      | POST PREFIX-pki-services/sign/gateway
inventory    | POST PREFIX-pki-services/sign/inventory
leasing      | POST PREFIX-pki-services/sign/leasing
monitoring   | POST PREFIX-pki-services/sign/monitoring
provisioning | POST PREFIX-pki-services/sign/provisioning
signer       | POST PREFIX-pki-services/sign/signer
provisioning | POST PREFIX-pki-placements/sign/placement
provisioning | POST PREFIX-ssh/sign/machine
provisioning | GET PREFIX-ssh/config/ca
provisioning | POST PREFIX/data/nodes/n1/p2p | {"data": {"k": "v"}, "options": {"cas": 0}}
provisioning | GET PREFIX/data/nodes/n1/p2p
provisioning | GET PREFIX/metadata/nodes/n1?list=true
nobody       | POST PREFIX/data/nodes/n1/p2p | {"data": {"k": "w"}, "options": {"cas": 1}}
nobody       | PATCH PREFIX/data/nodes/n1/p2p | {"data": {"k": "w"}}
provisioning | DELETE PREFIX/metadata/nodes/n1/p2p
leasing      | POST PREFIX/data/webhooks/w1 | {"data": {"k": "v"}, "options": {"cas": 0}}
leasing      | GET PREFIX/data/webhooks/w1
nobody       | POST PREFIX/data/webhooks/w1 | {"data": {"k": "w"}, "options": {"cas": 1}}
nobody       | GET PREFIX/metadata/webhooks?list=true
leasing      | DELETE PREFIX/metadata/webhooks/w1
nobody       | POST PREFIX/data/elsewhere | {"data": {"k": "v"}, "options": {"cas": 0}}
nobody       | GET PREFIX/data/elsewhere
nobody       | GET PREFIX/metadata/?list=true
nobody       | POST PREFIX/config | {"cas_required": false}
signer       | POST PREFIX-keys/data/validators/ab | {"data": {"k": "v"}, "options": {"cas": 0}}
signer       | GET PREFIX-keys/data/validators/ab
nobody       | POST PREFIX-keys/data/validators/ab | {"data": {"k": "w"}, "options": {"cas": 1}}
nobody       | PATCH PREFIX-keys/data/validators/ab | {"data": {"k": "w"}}
nobody       | DELETE PREFIX-keys/data/validators/ab
nobody       | GET PREFIX-keys/metadata/validators?list=true
signer       | DELETE PREFIX-keys/metadata/validators/ab
signer       | POST PREFIX-keys/data/withdrawn/db/ab.1 | {"data": {}, "options": {"cas": 0}}
signer       | GET PREFIX-keys/data/withdrawn/db/ab.1
signer       | GET PREFIX-keys/metadata/withdrawn/db?list=true
nobody       | POST PREFIX-keys/data/withdrawn/db/ab.1 | {"data": {}, "options": {"cas": 1}}
nobody       | DELETE PREFIX-keys/data/withdrawn/db/ab.1
nobody       | DELETE PREFIX-keys/metadata/withdrawn/db/ab.1
signer       | POST PREFIX-keys/data/signer/sealing-key | {"data": {"k": "v"}, "options": {"cas": 0}}
signer       | GET PREFIX-keys/data/signer/sealing-key
nobody       | POST PREFIX-keys/data/signer/sealing-key | {"data": {"k": "w"}, "options": {"cas": 1}}
nobody       | DELETE PREFIX-keys/metadata/signer/sealing-key
signer       | POST PREFIX-keys/data/signer/anchor | {"data": {"k": "v"}, "options": {"cas": 0}}
signer       | POST PREFIX-keys/data/signer/anchor | {"data": {"k": "w"}, "options": {"cas": 1}}
signer       | GET PREFIX-keys/data/signer/anchor
nobody       | DELETE PREFIX-keys/data/signer/anchor
nobody       | DELETE PREFIX-keys/metadata/signer/anchor
nobody       | POST PREFIX-keys/data/elsewhere | {"data": {"k": "v"}, "options": {"cas": 0}}
nobody       | GET PREFIX-keys/metadata/?list=true
nobody       | POST PREFIX-keys/config | {"cas_required": false}
signer       | POST PREFIX-transit/encrypt/signer | {"plaintext": "a2V5"}
signer       | POST PREFIX-transit/decrypt/signer | {"ciphertext": "vault:v1:AAAA"}
nobody       | POST PREFIX-transit/encrypt/other | {"plaintext": "a2V5"}
nobody       | POST PREFIX-transit/rewrap/signer | {"ciphertext": "vault:v1:AAAA"}
nobody       | POST PREFIX-transit/datakey/plaintext/signer
nobody       | GET PREFIX-transit/keys/signer
nobody       | POST PREFIX-transit/keys/signer/config | {"exportable": true}
nobody       | POST PREFIX-transit/keys/signer/rotate
nobody       | DELETE PREFIX-transit/keys/signer
nobody       | GET PREFIX-transit/export/encryption-key/signer
nobody       | GET PREFIX-transit/backup/signer
nobody       | POST PREFIX-pki-services/issue/provisioning
nobody       | POST PREFIX-pki-placements/issue/placement
nobody       | POST PREFIX-pki-services/sign-verbatim
nobody       | POST PREFIX-pki-services/roles/provisioning | {"allow_any_name": true}
nobody       | POST PREFIX-pki-services/root/rotate/internal
nobody       | POST PREFIX-pki-services/root/sign-intermediate
nobody       | POST PREFIX-ssh/roles/machine
nobody       | DELETE PREFIX-ssh/config/ca
nobody       | POST auth/PREFIX-approle/role/provisioning/secret-id
nobody       | POST auth/PREFIX-approle/role/gateway | {"token_policies": ["root"]}
nobody       | POST auth/token/create
nobody       | POST sys/policies/acl/PREFIX-gateway | {"policy": ""}
nobody       | GET sys/mounts
nobody       | POST sys/mounts/mine | {"type": "kv"}
nobody       | GET sys/audit
nobody       | POST sys/seal
nobody       | GET cubbyhole/x
"#;

/// Allowed role, method, path, body.
fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str, Value)> {
    TABLE.trim().lines().map(|line| {
        let mut columns = line.split(" | ").map(str::trim);
        let allowed = columns.next().unwrap();
        let (method, path) = columns.next().unwrap().split_once(' ').unwrap();
        let body = columns
            .next()
            .map_or(json!({}), |body| serde_json::from_str(body).unwrap());
        (allowed, method, path, body)
    })
}

#[tokio::test]
async fn each_role_is_allowed_its_own_work_and_refused_everything_else() {
    let server = Server::start().await;
    let mut wrong = String::new();
    for role in ROLES {
        let token = server.token(role).await;
        for (allowed, method, path, body) in rows() {
            let (status, answer) = server.send(&token, method, path, &body).await;
            if (status != 403) != (allowed == "all" || allowed == role) {
                writeln!(wrong, "{role}: {method} {path}: {status} {answer}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test]
async fn a_role_cannot_take_another_name() {
    let server = Server::start().await;
    let vault = server.vault("leasing").await;
    let refused = vault
        .issue_service_certificate("gateway")
        .await
        .unwrap_err();
    assert!(
        matches!(refused, berth_secrets::Error::Denied { .. }),
        "{refused}"
    );
    let request = crate::identities::request(|_| {});
    let token = server.token("leasing").await;
    for subject in [
        json!({ "csr": request, "uri_sans": "berth://service/gateway" }),
        json!({ "csr": request, "uri_sans": "berth://service/leasing,berth://service/gateway" }),
        json!({ "csr": request, "uri_sans": "berth://placement/n/p/1" }),
        json!({ "csr": request, "alt_names": "gateway" }),
        json!({ "csr": request, "common_name": "gateway" }),
    ] {
        let (status, answer) = server
            .send(&token, "POST", "PREFIX-pki-services/sign/leasing", &subject)
            .await;
        assert_eq!(status, 400, "{subject}: {answer}");
    }
}
