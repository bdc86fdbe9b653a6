//! Keys on their way in, while the signer is killed.

use crate::eventually::eventually;
use crate::made::{self, INFO, public_key};
use crate::postgres::{ADMIN, DATABASE};
use crate::signer::Site;
use berth_core::AccountId;
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::grant_service_client::GrantServiceClient;
use berth_proto::signing::v1::imported_key::Outcome;
use berth_proto::signing::v1::signing_service_client::SigningServiceClient;
use berth_proto::signing::v1::validator_status::State;
use berth_runtime::clients::{request as call, request_for};
use nix::sys::signal::Signal;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tonic::transport::Channel;
use uuid::Uuid;

pub(crate) const CHAIN: &str = "ethereum-test";
/// Keys that come, by number.
const IMPORTED: std::ops::RangeInclusive<u8> = 1..=10;
/// Keys that are made.
const MADE: u32 = 4;

/// An account, and its way to the signer.
#[derive(Clone)]
pub(crate) struct Owner<'a> {
    pub(crate) account: AccountId,
    site: &'a Site,
}

impl<'a> Owner<'a> {
    pub(crate) async fn of(site: &'a Site) -> Self {
        let put = pb::PutChainRequest {
            chain: Some(pb::SigningChain {
                name: CHAIN.to_owned(),
                genesis_validators_root: vec![7; 32],
                genesis_time: 1_700_000_000,
                seconds_per_slot: 12,
                preset: "mainnet".to_owned(),
                forks: vec![pb::SigningFork {
                    name: "phase0".to_owned(),
                    epoch: 0,
                    version: vec![0; 4],
                }],
            }),
        };
        let mut grants = GrantServiceClient::new(site.channel("provisioning").await);
        grants.put_chain(call(put)).await.unwrap();
        Self {
            account: AccountId::generate(),
            site,
        }
    }

    /// The way to the signer that serves now: each takes a port of its own.
    pub(crate) async fn client(&self) -> SigningServiceClient<Channel> {
        SigningServiceClient::new(self.site.channel("gateway").await)
    }

    async fn keystores(&self) -> Vec<pb::SealedKeystore> {
        let request = request_for(self.account, pb::GetSealingKeyRequest {});
        let to = self.client().await.get_sealing_key(request).await.unwrap();
        let to = to.into_inner().public_key;
        let seal = |number| {
            let content = made::content(&made::keystore(number));
            let (encapsulated_key, ciphertext) = made::seal(&to, INFO, self.account, &content);
            pb::SealedKeystore {
                encapsulated_key,
                ciphertext,
            }
        };
        IMPORTED.map(seal).collect()
    }

    /// Asks until there is an answer, always for the same.
    async fn import(self, wanted: pb::ImportKeysRequest) -> Vec<pb::ImportedKey> {
        let answer = eventually("the keys are imported", async || {
            let request = request_for(self.account, wanted.clone());
            self.client().await.import_keys(request).await.ok()
        });
        answer.await.into_inner().keys
    }

    pub(crate) async fn generate(
        self,
        wanted: pb::GenerateKeysRequest,
    ) -> pb::GenerateKeysResponse {
        let answer = eventually("the keys are made", async || {
            let request = request_for(self.account, wanted.clone());
            self.client().await.generate_keys(request).await.ok()
        });
        answer.await.into_inner()
    }

    pub(crate) async fn list(&self) -> Vec<pb::Validator> {
        let request = request_for(self.account, pb::ListValidatorsRequest::default());
        let all = self.client().await.list_validators(request).await;
        all.unwrap().into_inner().validators
    }
}

#[tokio::test]
async fn keys_come_whole_and_once_though_the_signer_is_killed_meanwhile() {
    let site = Site::start().await;
    let mut running = site.serve().await;
    let owner = Owner::of(&site).await;
    let import = pb::ImportKeysRequest {
        request_id: Uuid::now_v7().to_string(),
        chain: CHAIN.to_owned(),
        keystores: owner.keystores().await,
        fresh: true,
        ..Default::default()
    };
    let generate = pb::GenerateKeysRequest {
        request_id: Uuid::now_v7().to_string(),
        chain: CHAIN.to_owned(),
        count: MADE,
        withdrawal_address: format!("0x{}", "0b".repeat(20)),
        ..Default::default()
    };
    let importing = owner.clone().import(import.clone());
    let generating = owner.clone().generate(generate);
    let killing = async {
        // Where a key has its row, and where it is in Vault as well.
        for (rows, held) in [(1, 0), (3, 2), (6, 5), (9, 8)] {
            reached(&site, rows, held).await;
            running.signal(Signal::SIGKILL);
            running.ended().await;
            running = site.serve().await;
        }
    };
    let (keys, made, ()) = tokio::join!(importing, generating, killing);

    let imported = |number| pb::ImportedKey {
        index: u32::from(number) - 1,
        outcome: Outcome::Imported.into(),
        public_key: public_key(number).to_string(),
        problem: String::new(),
    };
    assert_eq!(keys, IMPORTED.map(imported).collect::<Vec<_>>());
    let deposits: Vec<Value> = serde_json::from_str(&made.deposit_data).unwrap();
    assert_eq!((deposits.len(), made.validators.len()), (4, 4));
    let all = owner.list().await;
    assert_eq!(all.len(), keys.len() + made.validators.len());
    for validator in &all {
        let status = validator.status.clone().unwrap();
        assert_eq!(status.state(), State::Active, "{validator:?}");
    }
    let monitoring = site.service("monitoring").await;
    let loaded = format!("signer_keys{{state=\"loaded\"}} {}", all.len());
    eventually(&loaded, async || {
        let metrics = monitoring.get("/metrics").await?;
        metrics.contains(&loaded).then_some(())
    })
    .await;
    assert_eq!(owner.import(import).await, keys);
}

/// Waits until so many keys have rows, and so many of them are in Vault.
async fn reached(site: &Site, rows: i64, held: i64) {
    let url = site.postgres.url(ADMIN, DATABASE);
    let mut conn = PgConnection::connect(&url).await.unwrap();
    eventually("keys come", async || {
        let counted: (i64, i64) =
            sqlx::query_as("select count(*), count(request_id) from validator")
                .fetch_one(&mut conn)
                .await
                .unwrap();
        (counted.0 >= rows && counted.1 >= held).then_some(())
    })
    .await;
}
