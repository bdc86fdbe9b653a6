//! Signatures that are recorded as the signer records them, as the role that
//! serves.

use crate::eventually::eventually;
use crate::postgres::{ADMIN, DATABASE, SERVING};
use crate::signer::{NODE, Site};
use berth_core::{AccountId, Fence, NodeId};
use berth_runtime::pg::DatabaseConfig;
use berth_secrets::Vault;
use berth_signer::anchor::Anchor;
use berth_signer::domain::{Claim, Message, PublicKey, Refusal, Root};
use berth_signer::store::checks;
use berth_signer::store::decide::decide;
use berth_signer::store::fences;
use sqlx::PgPool;

const ACCOUNT: &str = "account-00000000-0000-7000-8000-000000000001";

/// The database, and a node whose placement may sign.
pub(crate) struct Ledger<'a> {
    site: &'a Site,
    pub(crate) db: PgPool,
}

impl<'a> Ledger<'a> {
    pub(crate) async fn open(site: &'a Site) -> Self {
        Self::of(site, DATABASE).await
    }

    /// Of a database of another name.
    pub(crate) async fn of(site: &'a Site, database: &str) -> Self {
        let config = DatabaseConfig {
            url: site.postgres.url(SERVING, database).into(),
            max_connections: 4,
        };
        let db = checks::pool(&config, config.max_connections).unwrap();
        sqlx::query(
            r#"insert into chain (name, genesis_validators_root, genesis_time, seconds_per_slot,
                                  preset, forks)
               values ('devnet', decode(repeat('00', 32), 'hex'), 0, 12, 'minimal',
                       '[{"name": "phase0", "epoch": 0, "version": "0x00000001"}]')
               on conflict do nothing"#,
        )
        .execute(&db)
        .await
        .unwrap();
        let (account, node): (AccountId, NodeId) = (ACCOUNT.parse().unwrap(), node());
        let mut txn = db.begin().await.unwrap();
        fences::advance(&mut txn, account, node, Fence::FIRST)
            .await
            .unwrap();
        fences::grant(&mut txn, node, Fence::FIRST).await.unwrap();
        txn.commit().await.unwrap();
        Self { site, db }
    }

    /// Ends all connections, so that the database can be copied.
    pub(crate) async fn close(self) {
        self.db.close().await;
    }

    /// A validator of the node.
    pub(crate) async fn validator(&self, number: u8) -> Validator {
        let key = PublicKey([number; 48]);
        sqlx::query(
            "insert into validator (public_key, account_id, chain, state, node_id, fence, granted)
             select $1, account_id, 'devnet', 'active', id, fence, granted from node",
        )
        .bind(&key.0[..])
        .execute(&self.db)
        .await
        .unwrap();
        Validator(key)
    }

    pub(crate) async fn sign(&self, claim: Claim) -> Result<(), Refusal> {
        decide(&self.db, &[claim]).await.unwrap().remove(0)
    }

    /// A signer's look at the database, as it is at its start.
    pub(crate) async fn anchor(&self, vault: &Vault) -> Anchor {
        let anchor = Anchor::new(vault.clone());
        eventually("Vault answers", async || anchor.look(&self.db).await.ok()).await;
        anchor
    }

    /// Looks until everything that was signed is sealed and anchored.
    pub(crate) async fn sealed(&self, anchor: &Anchor) {
        let unsealed = "select count(*) from signature where transaction >= \
                        (select until from seal order by sequence desc limit 1)";
        eventually("everything is sealed", async || {
            anchor.look(&self.db).await.ok()?;
            (self.site.postgres.psql(ADMIN, unsealed).trim() == "0").then_some(())
        })
        .await;
        let newest = self
            .site
            .postgres
            .psql(ADMIN, "select max(sequence) from seal");
        self.site.anchored_at(newest.trim().parse().unwrap()).await;
    }
}

fn node() -> NodeId {
    NODE.parse().unwrap()
}

/// A validator of the node.
#[derive(Clone, Copy)]
pub(crate) struct Validator(PublicKey);

impl Validator {
    pub(crate) fn block(self, slot: u64, root: u8) -> Claim {
        Claim {
            public_key: self.0,
            node_id: node(),
            fence: Fence::FIRST,
            message: Message::Block { slot },
            root: Root([root; 32]),
        }
    }

    /// Which row is its.
    pub(crate) fn row(self) -> String {
        format!("public_key = '\\x{}'", hex::encode(self.0.0))
    }

    /// Asks for its highest slot.
    pub(crate) fn watermark(self) -> String {
        format!("select block_slot from validator where {}", self.row())
    }
}
