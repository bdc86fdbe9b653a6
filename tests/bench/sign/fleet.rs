//! Validators whose keys the signer made, on nodes whose machines keep their
//! connections open.

use crate::chain::chain;
use crate::eventually::eventually;
use crate::line::{Line, request as written};
use crate::requests::request;
use crate::signer::{Caller, Site};
use berth_core::AccountId;
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::grant_service_client::GrantServiceClient;
use berth_proto::signing::v1::signing_service_client::SigningServiceClient;
use berth_runtime::clients::{request as call, request_for};
use berth_signer::domain::{Chain, Preset};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;
use tonic::transport::Channel;
use uuid::Uuid;

/// Those of 100,000 validators who vote in one slot.
pub(crate) const VALIDATORS: usize = 3125;
/// Nodes that share them.
const NODES: usize = 8;
/// Connections of each machine. The signer gives 64 to one, and one is left for
/// who asks whether all is ready.
const LINES: usize = 63;
/// Most keys that one call makes.
const AT_ONCE: usize = 100;
/// Slots before the present at which a block is still signed, less some for the
/// time that a request takes.
const BEHIND: u64 = 6;

struct Validator {
    public_key: String,
    node: usize,
    /// The slot of its last block.
    last: AtomicU64,
}

/// The machine of a node: its connections that nobody uses now.
struct Machine {
    free: Semaphore,
    lines: Mutex<Vec<Line>>,
}

pub(crate) struct Fleet {
    chain: Chain,
    validators: Vec<Validator>,
    machines: Vec<Machine>,
    turn: AtomicUsize,
}

impl Fleet {
    pub(crate) async fn launch(site: &Site) -> Self {
        let chain = Chain {
            seconds_per_slot: 1,
            ..chain(Preset::Minimal)
        };
        let account = AccountId::generate();
        let mut grants = GrantServiceClient::new(site.channel("provisioning").await);
        let put = pb::PutChainRequest {
            chain: Some(message(&chain)),
        };
        grants.put_chain(call(put)).await.unwrap();
        let mut signing = SigningServiceClient::new(site.channel("gateway").await);
        let mut keys = Vec::new();
        while keys.len() < VALIDATORS {
            let wanted = generate(&chain.name, AT_ONCE.min(VALIDATORS - keys.len()));
            let made = signing.generate_keys(request_for(account, wanted)).await;
            let made = made.unwrap().into_inner().validators.into_iter();
            keys.extend(made.map(|one| one.public_key));
        }
        let mut machines = Vec::new();
        for (number, keys) in keys.chunks(VALIDATORS.div_ceil(NODES)).enumerate() {
            let node = name(number);
            place(&mut grants, account, &chain.name, (&node, keys)).await;
            machines.push(Machine {
                free: Semaphore::new(0),
                lines: Mutex::default(),
            });
        }
        let validators = keys.into_iter().enumerate();
        let validators = validators.map(|(number, public_key)| Validator {
            public_key,
            node: number / VALIDATORS.div_ceil(NODES),
            last: AtomicU64::new(0),
        });
        Self {
            chain,
            validators: validators.collect(),
            machines,
            turn: AtomicUsize::new(0),
        }
    }

    /// Opens all connections anew: the signer closes those that nobody uses for
    /// half a minute.
    pub(crate) async fn connect(&self, site: &Site) {
        for (node, machine) in self.machines.iter().enumerate() {
            let caller = site.placement_of(&name(node), 1, 0).await;
            machine.connect(&caller).await;
        }
    }

    fn slot(&self) -> u64 {
        let now = berth_core::now().timestamp().unsigned_abs();
        self.chain.slot_at(now)
    }

    /// Has the next validator propose a block, and returns the milliseconds from
    /// request to reply.
    pub(crate) async fn propose(&self) -> f64 {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let validator = &self.validators[turn % VALIDATORS];
        let earliest = self.slot() - BEHIND;
        let next = |last: u64| Some(earliest.max(last + 1));
        let relaxed = Ordering::Relaxed;
        let last = validator.last.fetch_update(relaxed, relaxed, next).unwrap();
        let slot = next(last).unwrap_or_default();
        let body = request(&self.chain, "BLOCK_V2", slot).to_string();
        let written = written(&validator.public_key, &body);
        let begun = Instant::now();
        self.machines[validator.node].sign(&written).await;
        begun.elapsed().as_secs_f64() * 1e3
    }

    /// One vote of every validator, all in one slot of an epoch in which none has
    /// voted: for one block, or each for another.
    pub(crate) async fn votes(&self, distinct: bool) -> Vec<Vote> {
        let epoch = self.chain.epoch_of(self.slot());
        let slot = eventually("an epoch begins", async || {
            Some(self.slot()).filter(|slot| self.chain.epoch_of(*slot) > epoch)
        })
        .await;
        let body = request(&self.chain, "ATTESTATION", slot);
        let vote = |(number, validator): (usize, &Validator)| {
            let mut body = body.clone();
            if distinct {
                body["attestation"]["beacon_block_root"] = root(number);
            }
            Vote {
                node: validator.node,
                written: written(&validator.public_key, &body.to_string()),
            }
        };
        self.validators.iter().enumerate().map(vote).collect()
    }

    pub(crate) async fn vote(&self, vote: Vote) {
        self.machines[vote.node].sign(&vote.written).await;
    }

    /// Waits until the signer signs for every validator.
    pub(crate) async fn ready(&self, site: &Site) {
        let monitoring = site.service("monitoring").await;
        let wanted = format!("signer_keys{{state=\"loaded\"}} {VALIDATORS}\n");
        eventually("the signer holds every key", async || {
            let metrics = monitoring.get("/metrics").await?;
            metrics.contains(&wanted).then_some(())
        })
        .await;
        for node in 0..NODES {
            let machine = site.placement_of(&name(node), 1, 0).await;
            let theirs = self.validators.iter().filter(|one| one.node == node);
            let wanted = theirs.count();
            eventually("the signer knows every validator", async || {
                let keys = machine.get("/api/v1/eth2/publicKeys").await?;
                (keys.matches("\"0x").count() == wanted).then_some(())
            })
            .await;
        }
    }
}

/// A vote, as it goes over a line.
pub(crate) struct Vote {
    node: usize,
    written: Vec<u8>,
}

impl Machine {
    /// Opens all its connections anew.
    async fn connect(&self, machine: &Caller) {
        let free = self.free.forget_permits(LINES);
        let before = std::mem::take(&mut *self.lines.lock().unwrap());
        assert_eq!(free, before.len(), "all are free");
        drop(before);
        for _ in 0..LINES {
            let line = Line::open(machine).await;
            self.lines.lock().unwrap().push(line);
        }
        self.free.add_permits(LINES);
    }

    async fn sign(&self, request: &[u8]) {
        let _free = self.free.acquire().await.unwrap();
        let line = self.lines.lock().unwrap().pop();
        let mut line = line.expect("as many as there are permits");
        line.sign(request).await;
        self.lines.lock().unwrap().push(line);
    }
}

fn name(node: usize) -> String {
    format!("node-00000000-0000-7000-8000-{node:012}")
}

/// A root of its own for each number.
fn root(number: usize) -> Value {
    json!(format!("0x{number:064x}"))
}

fn generate(chain: &str, count: usize) -> pb::GenerateKeysRequest {
    pb::GenerateKeysRequest {
        request_id: Uuid::now_v7().to_string(),
        chain: chain.to_owned(),
        count: count.try_into().unwrap(),
        withdrawal_address: format!("0x{}", "0b".repeat(20)),
        fee_recipient: format!("0x{}", "ee".repeat(20)),
        gas_limit: 30_000_000,
    }
}

/// Gives keys to a node, and lets its first placement sign.
async fn place(
    grants: &mut GrantServiceClient<Channel>,
    account: AccountId,
    chain: &str,
    (node, keys): (&str, &[String]),
) {
    let bind = pb::BindValidatorsRequest {
        node_id: node.to_owned(),
        account_id: account.to_string(),
        chain: chain.to_owned(),
        public_keys: keys.to_vec(),
        fence: 1,
    };
    grants.bind_validators(call(bind)).await.unwrap();
    let advance = pb::AdvanceFenceRequest {
        node_id: node.to_owned(),
        account_id: account.to_string(),
        fence: 1,
    };
    grants.advance_fence(call(advance)).await.unwrap();
    let grant = pb::GrantRequest {
        node_id: node.to_owned(),
        fence: 1,
    };
    grants.grant(call(grant)).await.unwrap();
}

fn message(chain: &Chain) -> pb::SigningChain {
    let forks = chain.forks.iter().map(|fork| pb::SigningFork {
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
