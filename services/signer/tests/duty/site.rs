//! A signer: both listeners, its keys in a Vault and its rows in a database.

use crate::authority::{Issued, Pki};
use crate::chain::{begin, chain};
use crate::eventually::eventually;
use crate::line::{Answer, Line};
use crate::made::{key, public_key};
use crate::vault::Server;
use berth_core::{AccountId, Fence, NodeId, PlacementId};
use berth_runtime::identity::Trust;
use berth_runtime::notices::Notices;
use berth_runtime::server;
use berth_signer::batch::Batcher;
use berth_signer::domain::{Chain, Preset, PublicKey, Refusal};
use berth_signer::keyring::Keyring;
use berth_signer::keys::Keys;
use berth_signer::roster::Roster;
use berth_signer::store::{fences, roster};
use berth_signer::web3signer::{Duty, admin_routes, duty_routes, keymanager_routes};
use serde_json::Value;
use sqlx::PgPool;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use uuid::Uuid;

/// The slot that it is, long after the last fork of the chain.
pub(crate) const SLOT: u64 = 1000;

/// A running signer.
pub(crate) struct Site {
    pub(crate) db: PgPool,
    pub(crate) pki: Pki,
    pub(crate) chain: Chain,
    pub(crate) duty: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) vault: Server,
    pub(crate) roster: Arc<Roster>,
    pub(crate) keyring: Arc<Keyring>,
    /// What the signer takes for the present.
    pub(crate) present: Arc<Mutex<Result<u64, Refusal>>>,
    _tasks: JoinSet<()>,
}

/// A node, and the fence that it is at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) account: AccountId,
    pub(crate) id: NodeId,
}

impl Site {
    pub(crate) async fn start(db: PgPool) -> Self {
        Self::on(db, chain(Preset::Minimal)).await
    }

    pub(crate) async fn on(db: PgPool, chain: Chain) -> Self {
        let pki = Pki::new();
        let vault = Server::start().await;
        insert(&db, &chain).await;
        let present = Arc::new(Mutex::new(Ok(begin(&chain, SLOT))));
        let keyring = Arc::new(Keyring::new(
            vault.login("signer").await,
            Uuid::from_u128(1),
        ));
        let roster = Arc::new(Roster::default());
        let mut tasks = JoinSet::new();
        let (batcher, decisions) = Batcher::new(db.clone());
        tasks.spawn(decisions);
        let asked = Arc::clone(&present);
        let duty = Arc::new(Duty::new(
            db.clone(),
            batcher,
            Arc::clone(&roster),
            Arc::clone(&keyring),
            Arc::new(move || asked.lock().unwrap().clone()),
        ));
        let stop = CancellationToken::new();
        let (notices, listen) = Notices::listen(db.clone(), &[roster::CHANNEL], stop.clone());
        tasks.spawn(listen);
        let (known, keys, pool) = (Arc::clone(&roster), Arc::clone(&keyring), db.clone());
        tasks.spawn(async move { known.follow(&pool, &keys, &notices, |_| ()).await });
        let identity = pki.identity("signer");
        let keys = Keys::new(db.clone(), Arc::clone(&keyring));
        let looked_after =
            admin_routes(Arc::clone(&duty), Vec::new()).merge(keymanager_routes(db.clone(), keys));
        let mut addresses = Vec::new();
        for (trust, routes) in [
            (Trust::Placements, duty_routes(duty)),
            (Trust::Services, looked_after),
        ] {
            let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let routes = Routes::from(routes);
            let identity = identity.clone();
            tasks.spawn(server::serve_http(
                listener,
                identity,
                trust,
                routes,
                stop.clone(),
            ));
        }
        Self {
            db,
            pki,
            chain,
            duty: addresses[0],
            admin: addresses[1],
            vault,
            roster,
            keyring,
            present,
            _tasks: tasks,
        }
    }

    /// A node whose first placement may sign with keys of these numbers.
    pub(crate) async fn node(&self, keys: impl IntoIterator<Item = u8>) -> Node {
        let node = Node {
            account: AccountId::generate(),
            id: NodeId::generate(),
        };
        self.advance(node, Fence::FIRST).await;
        self.grant(node, Fence::FIRST).await;
        for number in keys {
            self.keyring.store(&key(number)).await.unwrap();
            self.row(node, number).await;
            self.loaded(number).await;
        }
        node
    }

    /// The row of an active validator, without its key.
    pub(crate) async fn row(&self, node: Node, number: u8) {
        sqlx::query(
            "insert into validator
                 (public_key, account_id, chain, state, node_id, fence, granted, fee_recipient, gas_limit,
                  request_id)
             select $1, $2, $3, 'active', id, fence, granted, decode(repeat('ee', 20), 'hex'), 30000000,
                    gen_random_uuid()
             from node where id = $4",
        )
        .bind(&public_key(number).0[..])
        .bind(node.account)
        .bind(&self.chain.name)
        .bind(node.id)
        .execute(&self.db)
        .await
        .unwrap();
        eventually("the roster knows the validator", async || {
            self.roster.validator(&public_key(number)).map(|_| ())
        })
        .await;
    }

    /// Waits for a key that every later look at the database keeps.
    async fn loaded(&self, number: u8) {
        let rows: i64 = sqlx::query_scalar("select count(*) from validator")
            .fetch_one(&self.db)
            .await
            .unwrap();
        eventually("the key is loaded", async || {
            let expected = i64::try_from(self.keyring.report().expected).unwrap();
            let known = expected >= rows && self.keyring.get(&public_key(number)).is_some();
            known.then_some(())
        })
        .await;
    }

    pub(crate) async fn advance(&self, node: Node, fence: Fence) {
        let mut txn = self.db.begin().await.unwrap();
        fences::advance(&mut txn, node.account, node.id, fence)
            .await
            .unwrap();
        txn.commit().await.unwrap();
    }

    pub(crate) async fn grant(&self, node: Node, fence: Fence) {
        let mut txn = self.db.begin().await.unwrap();
        fences::grant(&mut txn, node.id, fence).await.unwrap();
        txn.commit().await.unwrap();
    }

    /// A certificate of a placement of its own.
    pub(crate) fn certificate(&self, node: Node, fence: Fence) -> Issued {
        let (id, placement) = (node.id, PlacementId::generate());
        let uri = format!("berth://placement/{id}/{placement}/{fence}");
        self.pki.placements.issue(&uri, &[])
    }

    /// The connection of a placement's agent.
    pub(crate) async fn placement(&self, node: Node, fence: Fence) -> Line {
        Line::open(&self.pki, self.duty, &self.certificate(node, fence)).await
    }

    /// The connection of a service to the admin listener.
    pub(crate) async fn service(&self, role: &str) -> Line {
        let uri = format!("berth://service/{role}");
        let issued = self.pki.services.issue(&uri, &[]);
        Line::open(&self.pki, self.admin, &issued).await
    }

    /// From now on it is this time.
    pub(crate) fn set(&self, present: Result<u64, Refusal>) {
        *self.present.lock().unwrap() = present;
    }
}

/// Asks for a signature of the key of that number.
pub(crate) async fn sign(line: &Line, number: u8, body: &Value) -> Answer {
    line.post(&path(&public_key(number)), body).await
}

pub(crate) fn path(key: &PublicKey) -> String {
    format!("/api/v1/eth2/sign/{key}")
}

async fn insert(db: &PgPool, chain: &Chain) {
    sqlx::query(
        "insert into chain (name, genesis_validators_root, genesis_time, seconds_per_slot, preset, forks)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(&chain.name)
    .bind(&chain.genesis_validators_root.0[..])
    .bind(i64::try_from(chain.genesis_time).unwrap())
    .bind(i32::try_from(chain.seconds_per_slot).unwrap())
    .bind(chain.preset.name())
    .bind(sqlx::types::Json(&chain.forks))
    .execute(db)
    .await
    .unwrap();
}
