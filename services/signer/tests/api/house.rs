//! A signer on a database and a Vault, and an account that it serves.

use crate::made::{self, INFO};
use crate::vault::Server;
use berth_core::{AccountId, Fence, NodeId};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::grant_service_server::GrantService as _;
use berth_proto::signing::v1::signing_service_server::SigningService as _;
use berth_signer::api::Api;
use berth_signer::domain::refusal::Reason;
use berth_signer::domain::{Claim, Message, PublicKey, Root};
use berth_signer::keyring::Keyring;
use berth_signer::store::decide::decide;
use sqlx::PgPool;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::{Request, Status};
use uuid::Uuid;

/// The chain of the tests: a slot takes a second, an epoch 8 of them.
pub(crate) const CHAIN: &str = "ethereum-devnet";
pub(crate) const GENESIS_ROOT: Root = Root([7; 32]);
/// When the fork of a number begins, capella and later.
pub(crate) const EPOCHS_OF_A_FORK: u64 = 10;

/// One signer.
pub(crate) struct House {
    pub(crate) api: Api,
    pub(crate) db: PgPool,
    pub(crate) account: AccountId,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) server: Server,
    now: Arc<AtomicU64>,
}

pub(crate) fn id() -> String {
    Uuid::now_v7().to_string()
}

/// The stable reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().unwrap().reason
}

/// The fields that a refusal names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt as _;
    let details = status.get_details_bad_request().unwrap();
    let violations = details.field_violations.into_iter();
    violations.map(|violation| violation.field).collect()
}

impl House {
    /// A signer at Unix time 0 that knows one chain.
    pub(crate) async fn new(db: PgPool) -> Self {
        let server = Server::start().await;
        let database_id = sqlx::query_scalar("select database_id from identity");
        let database_id: Uuid = database_id.fetch_one(&db).await.unwrap();
        let keyring = Arc::new(Keyring::new(server.login("signer").await, database_id));
        let now = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&now);
        let present = Arc::new(move || Ok(clock.load(Ordering::SeqCst)));
        let vault = server.login("signer").await;
        let house = Self {
            api: Api::new(db.clone(), vault, Arc::clone(&keyring), present),
            db,
            account: AccountId::generate(),
            keyring,
            server,
            now,
        };
        house.put(chain(5)).await.unwrap();
        house
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.now.store(epoch * 8, Ordering::SeqCst);
    }

    /// A request of the account.
    pub(crate) fn call<T>(&self, message: T) -> Request<T> {
        by(self.account, message)
    }

    pub(crate) async fn put(&self, chain: pb::SigningChain) -> Result<(), Status> {
        let chain = Some(chain);
        let request = Request::new(pb::PutChainRequest { chain });
        self.api.put_chain(request).await.map(|_| ())
    }

    /// So many new validators of the account.
    pub(crate) async fn validators(&self, count: u32) -> Vec<PublicKey> {
        let request = self.call(generate(count));
        let made = self.api.generate_keys(request).await.unwrap().into_inner();
        let keys = made.validators.iter().map(|one| one.public_key.parse());
        keys.collect::<Result<_, _>>().unwrap()
    }

    pub(crate) async fn get(&self, key: &PublicKey) -> pb::Validator {
        let public_key = key.to_string();
        let request = self.call(pb::GetValidatorRequest { public_key });
        let answer = self.api.get_validator(request).await.unwrap();
        answer.into_inner().validator.unwrap()
    }

    pub(crate) async fn status(&self, key: &PublicKey) -> pb::ValidatorStatus {
        self.get(key).await.status.unwrap()
    }

    pub(crate) async fn bind(
        &self,
        node: NodeId,
        fence: u64,
        keys: &[PublicKey],
    ) -> Result<(), Status> {
        let request = Request::new(pb::BindValidatorsRequest {
            node_id: node.to_string(),
            account_id: self.account.to_string(),
            chain: CHAIN.to_owned(),
            public_keys: keys.iter().map(ToString::to_string).collect(),
            fence,
        });
        self.api.bind_validators(request).await.map(|_| ())
    }

    pub(crate) async fn advance(&self, node: NodeId, fence: u64) -> Result<u64, Status> {
        let request = Request::new(pb::AdvanceFenceRequest {
            node_id: node.to_string(),
            account_id: self.account.to_string(),
            fence,
        });
        let answer = self.api.advance_fence(request).await?;
        Ok(answer.into_inner().fence)
    }

    pub(crate) async fn grant(&self, node: NodeId, fence: u64) -> Result<(), Status> {
        let node_id = node.to_string();
        let request = Request::new(pb::GrantRequest { node_id, fence });
        self.api.grant(request).await.map(|_| ())
    }

    /// A node with these validators, whose first placement may sign.
    pub(crate) async fn node(&self, keys: &[PublicKey]) -> NodeId {
        let node = NodeId::generate();
        self.bind(node, 1, keys).await.unwrap();
        self.advance(node, 1).await.unwrap();
        self.grant(node, 1).await.unwrap();
        node
    }

    /// Why a placement may not sign, if it may not.
    pub(crate) async fn sign(
        &self,
        node: NodeId,
        fence: u64,
        key: PublicKey,
        message: Message,
    ) -> Option<Reason> {
        let claim = Claim {
            public_key: key,
            node_id: node,
            fence: Fence::from(fence),
            message,
            root: Root([1; 32]),
        };
        let verdict = decide(&self.db, &[claim]).await.unwrap().remove(0);
        verdict.err().map(|refusal| refusal.reason)
    }

    pub(crate) async fn disable(&self, key: &PublicKey) -> Result<pb::Validator, Status> {
        let request = self.call(pb::DisableValidatorRequest {
            request_id: id(),
            public_key: key.to_string(),
        });
        let answer = self.api.disable_validator(request).await?;
        Ok(answer.into_inner().validator.unwrap())
    }

    /// Keystores of these numbers, sealed for the account.
    pub(crate) async fn sealed(&self, numbers: &[u8]) -> Vec<pb::SealedKeystore> {
        let mut keystores = Vec::new();
        for number in numbers {
            let content = made::content(&made::keystore(*number));
            keystores.push(self.seal(self.account, &content).await);
        }
        keystores
    }

    pub(crate) async fn seal(&self, account: AccountId, content: &str) -> pb::SealedKeystore {
        let request = self.call(pb::GetSealingKeyRequest {});
        let to = self.api.get_sealing_key(request).await.unwrap();
        let to = to.into_inner().public_key;
        let (encapsulated_key, ciphertext) = made::seal(&to, INFO, account, content);
        pb::SealedKeystore {
            encapsulated_key,
            ciphertext,
        }
    }

    pub(crate) async fn import(
        &self,
        request: &pb::ImportKeysRequest,
    ) -> Result<Vec<pb::ImportedKey>, Status> {
        let request = self.call(request.clone());
        let answer = self.api.import_keys(request).await?;
        Ok(answer.into_inner().keys)
    }
}

/// A request of an account.
pub(crate) fn by<T>(account: AccountId, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(account);
    request
}

/// The chain, with so many forks.
pub(crate) fn chain(forks: usize) -> pb::SigningChain {
    let names = [
        "phase0",
        "altair",
        "bellatrix",
        "capella",
        "deneb",
        "electra",
    ];
    let forks = names.iter().take(forks).zip(0..);
    let fork = |(name, number): (&&str, u8)| pb::SigningFork {
        name: (*name).to_owned(),
        epoch: u64::from(number.saturating_sub(3)) * EPOCHS_OF_A_FORK,
        version: vec![0, 0, 0, number],
    };
    pb::SigningChain {
        name: CHAIN.to_owned(),
        genesis_validators_root: GENESIS_ROOT.0.to_vec(),
        genesis_time: 0,
        seconds_per_slot: 1,
        preset: "minimal".to_owned(),
        forks: forks.map(fork).collect(),
    }
}

/// A request for new keys.
pub(crate) fn generate(count: u32) -> pb::GenerateKeysRequest {
    pb::GenerateKeysRequest {
        request_id: id(),
        chain: CHAIN.to_owned(),
        count,
        withdrawal_address: format!("0x{}", "0b".repeat(20)),
        fee_recipient: format!("0x{}", "0a".repeat(20)),
        gas_limit: 36_000_000,
    }
}

/// An interchange of one key: a block and a vote.
pub(crate) fn interchange(root: Root, key: &PublicKey, slot: u64, vote: (u64, u64)) -> String {
    serde_json::json!({
        "metadata": {
            "interchange_format_version": "5",
            "genesis_validators_root": root.to_string(),
        },
        "data": [{
            "pubkey": key.to_string(),
            "signed_blocks": [{ "slot": slot.to_string() }],
            "signed_attestations": [{
                "source_epoch": vote.0.to_string(), "target_epoch": vote.1.to_string(),
            }],
        }],
    })
    .to_string()
}
