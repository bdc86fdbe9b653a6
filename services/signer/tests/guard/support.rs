//! Rows and claims of the tests.

use berth_core::{AccountId, Fence, NodeId};
use berth_signer::domain::{Claim, Message, PublicKey, Root};
use berth_signer::store::fences;
use sqlx::PgPool;

pub(crate) const BLOCK: fn(u64) -> Message = |slot| Message::Block { slot };
pub(crate) const VOTE: fn(u64, u64) -> Message =
    |source, target| Message::Attestation { source, target };

/// A node whose placement may sign.
pub(crate) struct Node {
    pub(crate) account: AccountId,
    pub(crate) id: NodeId,
}

impl Node {
    pub(crate) async fn granted(db: &PgPool) -> Self {
        let node = Self {
            account: AccountId::generate(),
            id: NodeId::generate(),
        };
        sqlx::query(
            "insert into chain (name, genesis_validators_root, genesis_time, seconds_per_slot, preset, forks)
             values ('devnet', decode(repeat('00', 32), 'hex'), 0, 12, 'minimal', '[]') on conflict do nothing",
        )
        .execute(db)
        .await
        .unwrap();
        let mut txn = db.begin().await.unwrap();
        fences::advance(&mut txn, node.account, node.id, Fence::FIRST)
            .await
            .unwrap();
        fences::grant(&mut txn, node.id, Fence::FIRST)
            .await
            .unwrap();
        txn.commit().await.unwrap();
        node
    }

    /// A new key for [`Self::add`].
    pub(crate) async fn key(&self, db: &PgPool, number: u64) -> PublicKey {
        let mut key = [0; 48];
        key[40..].copy_from_slice(&number.to_be_bytes());
        self.add(db, PublicKey(key)).await;
        PublicKey(key)
    }

    /// Makes an active validator of the node, with nothing signed.
    pub(crate) async fn add(&self, db: &PgPool, key: PublicKey) {
        sqlx::query(
            "insert into validator (public_key, account_id, chain, state, node_id, fence, granted)
             select $1, $2, 'devnet', 'active', id, fence, granted from node where id = $3
             on conflict do nothing",
        )
        .bind(&key.0[..])
        .bind(self.account)
        .bind(self.id)
        .execute(db)
        .await
        .unwrap();
    }

    pub(crate) fn claim(&self, public_key: PublicKey, message: Message, root: u8) -> Claim {
        Claim {
            public_key,
            node_id: self.id,
            fence: Fence::FIRST,
            message,
            root: Root([root; 32]),
        }
    }
}
