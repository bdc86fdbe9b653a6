//! A node on its chain, with keys that the signer made.

use crate::signer::{NODE, Site};
use berth_core::AccountId;
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::grant_service_client::GrantServiceClient;
use berth_proto::signing::v1::signing_service_client::SigningServiceClient;
use berth_runtime::clients::{request, request_for};
use berth_signer::domain::{Chain, Fork, PublicKey};
use tonic::transport::Channel;
use uuid::Uuid;

/// Most keys that one call makes.
const AT_ONCE: usize = 100;

pub(crate) struct Node {
    account: AccountId,
    pub(crate) chain: Chain,
    grants: GrantServiceClient<Channel>,
    pub(crate) keys: Vec<PublicKey>,
}

impl Node {
    /// One with so many new keys, whose first placement may sign.
    pub(crate) async fn launch(site: &Site, chain: Chain, count: usize) -> Self {
        let provisioning = site.channel("provisioning").await;
        let mut node = Self {
            account: AccountId::generate(),
            chain,
            grants: GrantServiceClient::new(provisioning),
            keys: Vec::new(),
        };
        let put = pb::PutChainRequest {
            chain: Some(message(&node.chain)),
        };
        node.grants.put_chain(request(put)).await.unwrap();
        let mut keys = SigningServiceClient::new(site.channel("gateway").await);
        while node.keys.len() < count {
            let wanted = (count - node.keys.len()).min(AT_ONCE);
            node.generate(&mut keys, wanted).await;
        }
        node.bind().await;
        node.place(1).await;
        node
    }

    async fn generate(&mut self, keys: &mut SigningServiceClient<Channel>, count: usize) {
        let wanted = pb::GenerateKeysRequest {
            request_id: Uuid::now_v7().to_string(),
            chain: self.chain.name.clone(),
            count: count.try_into().unwrap(),
            withdrawal_address: format!("0x{}", "0b".repeat(20)),
            fee_recipient: format!("0x{}", "ee".repeat(20)),
            gas_limit: 30_000_000,
        };
        let made = keys.generate_keys(request_for(self.account, wanted)).await;
        let made = made.unwrap().into_inner().validators.into_iter();
        let public_keys: Vec<_> = made.map(|one| one.public_key).collect();
        let new = public_keys
            .iter()
            .map(|key| key.parse::<PublicKey>().unwrap());
        self.keys.extend(new);
    }

    /// Gives all keys to the node.
    async fn bind(&mut self) {
        let bind = pb::BindValidatorsRequest {
            node_id: NODE.to_owned(),
            account_id: self.account.to_string(),
            chain: self.chain.name.clone(),
            public_keys: self.keys.iter().map(ToString::to_string).collect(),
            fence: 1,
        };
        self.grants.bind_validators(request(bind)).await.unwrap();
    }

    /// Lets the placement of a fence sign, and no other.
    pub(crate) async fn place(&mut self, fence: u64) {
        let (node_id, account_id) = (NODE.to_owned(), self.account.to_string());
        let advance = pb::AdvanceFenceRequest {
            node_id: node_id.clone(),
            account_id,
            fence,
        };
        self.grants.advance_fence(request(advance)).await.unwrap();
        let grant = pb::GrantRequest { node_id, fence };
        self.grants.grant(request(grant)).await.unwrap();
    }

    /// The slot now.
    pub(crate) fn slot(&self) -> u64 {
        let now = berth_core::now().timestamp().unsigned_abs();
        self.chain.slot_at(now)
    }
}

fn message(chain: &Chain) -> pb::SigningChain {
    let forks = chain.forks.iter().map(|fork: &Fork| pb::SigningFork {
        name: fork.name.name().to_owned(),
        epoch: fork.epoch,
        version: fork.version.0.to_vec(),
    });
    pb::SigningChain {
        name: chain.name.clone(),
        genesis_validators_root: chain.genesis_validators_root.0.to_vec(),
        genesis_time: chain.genesis_time,
        seconds_per_slot: chain.seconds_per_slot,
        preset: chain.preset.name().to_owned(),
        forks: forks.collect(),
    }
}
