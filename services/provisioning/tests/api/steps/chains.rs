//! The chains of the catalogue on which every step is broken.

use crate::signer::key;
use crate::support::{from, request_id, wish};
use berth_core::AccountId;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_provisioner::chain::{self, BootstrapChange, ChainEntry, Role};
use berth_provisioning::api::Api;
use sha2::{Digest as _, Sha256};

const GENESIS: &[u8] = b"{\"of\": \"a test\"}\n";

/// The version that nodes are upgraded to.
pub(super) const OTHER: &str = "other";

/// The images of a version have this digest.
pub(super) fn digest(version: &str) -> String {
    let digit = if version == OTHER { "6" } else { "5" };
    format!("sha256:{}", digit.repeat(64))
}

/// A chain with a role.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) entry: ChainEntry,
    /// The entry, and that of [`OTHER`], which nodes are not launched with.
    text: String,
    other: String,
    pub(super) validators: Vec<String>,
}

impl Subject {
    /// A full node of the Cosmos chain.
    pub(super) fn full_node() -> Self {
        let text = include_str!("../../../../../images/cosmos-devnet/chain.toml");
        Self::new(text, Vec::new())
    }

    /// Two validators of the Ethereum chain.
    pub(super) fn validators() -> Self {
        let text = include_str!("../../../../../images/ethereum-devnet/chain.toml");
        let root = "01".repeat(32);
        let pinned = format!(
            "[pinned]\ngenesis_time = \"1700000000\"\ngenesis_validators_root = \"0x{root}\""
        );
        let text = text.replace("[pinned]", &pinned);
        Self::new(&text, vec![key("aa"), key("bb")])
    }

    /// A chain that is registered in two versions, each of which reads the other's data.
    fn new(text: &str, validators: Vec<String>) -> Self {
        let version = ChainEntry::parse(text).unwrap().version;
        let reads = |text: &str, other: &str| {
            let upgrade = format!("[upgrade]\nrollback_to = [\"{other}\"]");
            text.replacen("[upgrade]", &upgrade, 1)
        };
        let other = text.replace(&format!("\"{version}\""), &format!("\"{OTHER}\""));
        let text = registered(&reads(text, OTHER), &digest(&version));
        Self {
            entry: ChainEntry::parse(&text).unwrap(),
            text,
            other: registered(&reads(&other, &version), &digest(OTHER)),
            validators,
        }
    }

    /// What its nodes do.
    pub(super) fn role(&self) -> Role {
        if self.validators.is_empty() {
            Role::Full
        } else {
            Role::Validator
        }
    }

    pub(super) async fn register(&self, api: &Api, account: AccountId) {
        let genesis = self.entry.bootstrap.genesis.as_ref().unwrap();
        for text in [&self.other, &self.text] {
            let message = pb::RegisterChainRequest {
                request_id: request_id(),
                chain_toml: text.clone(),
                files: [(genesis.file.clone(), GENESIS.to_vec())].into(),
                ..pb::RegisterChainRequest::default()
            };
            api.register_chain(from(account, message)).await.unwrap();
        }
    }

    /// A wish for a node of it.
    pub(super) fn wish(&self, name: &str) -> pb::LaunchNodeRequest {
        let mut wish = wish(name);
        let spec = wish.spec.as_mut().unwrap();
        spec.chain.clone_from(&self.entry.name);
        spec.validators.clone_from(&self.validators);
        if !self.validators.is_empty() {
            spec.set_role(pb::Role::Validator);
            let fees = format!("0x{}", "fe".repeat(20));
            spec.settings.extend([("fee_recipient".to_owned(), fees)]);
        }
        wish
    }
}

/// An entry as it stands after `pin` and `register`.
fn registered(text: &str, digest: &str) -> String {
    let mut text = text.to_owned();
    for component in ChainEntry::parse(&text).unwrap().components {
        text = chain::pin(&text, &component.name, digest).unwrap();
    }
    let change = BootstrapChange {
        genesis_sha256: Some(hex(&Sha256::digest(GENESIS))),
        ..BootstrapChange::default()
    };
    chain::with_bootstrap(&text, &change).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
