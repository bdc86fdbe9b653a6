//! Who is asked for what, in memory: which validator belongs to which node, and
//! what its owner allows.
//!
//! It routes a request and holds it against chain and policy, and gives no
//! permission: that does the validator's row alone (`store::decide`), which is
//! asked for every signature. So a roster that is behind sends a request to a
//! row that refuses it, or does not know a validator for another moment.

use crate::domain::eth::Policy;
use crate::domain::validator::State;
use crate::domain::{Chain, PublicKey};
use crate::keyring::{Expected, Keyring, Report};
use crate::store::roster;
use berth_core::{AccountId, Error, NodeId, Result, report};
use berth_runtime::notices::{self, Notices};
use berth_runtime::pg;
use sqlx::PgPool;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// How long a change may stay unnoticed where its notice was lost, and a key
/// not loaded after Vault is back.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is known of a validator.
#[derive(Debug)]
pub struct Known {
    /// Whose it is.
    pub account_id: AccountId,
    /// The chain that it signs for.
    pub chain: Arc<Chain>,
    /// The node that signs with it.
    pub node_id: Option<NodeId>,
    /// Where it is in its life.
    pub state: State,
    /// Its key, and what its owner allows.
    pub policy: Policy,
}

/// All validators and chains, as they were a moment ago.
#[derive(Debug, Default)]
pub struct Roster {
    now: RwLock<Arc<Content>>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct Content {
    chains: HashMap<String, Arc<Chain>>,
    validators: HashMap<PublicKey, Arc<Known>>,
    of_node: HashMap<NodeId, Vec<PublicKey>>,
}

impl Roster {
    /// The chain of that name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<Arc<Chain>> {
        self.content().chains.get(name).map(Arc::clone)
    }

    /// What is known of a validator.
    #[must_use]
    pub fn validator(&self, public_key: &PublicKey) -> Option<Arc<Known>> {
        self.content().validators.get(public_key).map(Arc::clone)
    }

    /// The validators of a node, in the order of their keys.
    #[must_use]
    pub fn of_node(&self, node_id: NodeId) -> Vec<PublicKey> {
        let content = self.content();
        content.of_node.get(&node_id).cloned().unwrap_or_default()
    }

    /// Has [`Self::follow`] look again at once.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// Follows the database without end, loads the keys of what it finds there,
    /// and tells `on_report` each time how many are loaded.
    pub async fn follow(
        &self,
        db: &PgPool,
        keyring: &Keyring,
        notices: &Notices,
        on_report: impl Fn(&Report),
    ) {
        let (found, mut expected) = watch::channel(None);
        // Vault may be slow or away; what is known of validators does not wait.
        let load = async {
            while expected.changed().await.is_ok() {
                let keys: Option<Expected> = expected.borrow_and_update().clone();
                if let Some(keys) = keys {
                    on_report(&*keyring.load(&keys).await);
                }
            }
        };
        tokio::join!(load, self.look(db, notices, &found));
    }

    async fn look(&self, db: &PgPool, notices: &Notices, found: &watch::Sender<Option<Expected>>) {
        let mut fails = false;
        loop {
            // Anew each time: whatever was noticed before is read now, at once.
            let mut heard = notices.subscribe();
            match self.refresh(db).await {
                Ok(keys) => {
                    fails = false;
                    found.send_replace(Some(keys));
                }
                Err(error) if !fails => {
                    fails = true;
                    tracing::error!(error = report(&error), "cannot read the validators");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = notices::next(&mut heard, INTERVAL, |_| true) => {}
                () = self.asked.notified() => {}
            }
        }
    }

    /// Reads everything, and returns the keys that should be loaded.
    async fn refresh(&self, db: &PgPool) -> Result<Expected> {
        let mut conn = db.acquire().await.map_err(pg::error)?;
        // Validators first: their chains are there already.
        let rows = roster::validators(&mut conn).await?;
        let chains = roster::chains(&mut conn).await?;
        let mut keys = Expected::default();
        for row in &rows {
            let known = (row.policy.public_key, row.released);
            match row.state {
                State::Quarantined | State::Active => keys.held.extend([known]),
                State::Disabled => keys.withdrawn.extend([known]),
                State::Removed => {}
            }
        }
        let content = Content::new(rows, chains)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(content);
        Ok(keys)
    }

    fn content(&self) -> Arc<Content> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Content {
    fn new(rows: Vec<roster::Row>, chains: Vec<Chain>) -> Result<Self> {
        let named = |chain: Chain| (chain.name.clone(), Arc::new(chain));
        let mut content = Self {
            chains: chains.into_iter().map(named).collect(),
            ..Self::default()
        };
        for row in rows {
            let public_key = row.policy.public_key;
            let chain = content.chains.get(&row.chain);
            let chain = chain.ok_or_else(|| Error::internal("a validator without its chain"))?;
            let known = Known {
                account_id: row.account_id,
                chain: Arc::clone(chain),
                node_id: row.node_id,
                state: row.state,
                policy: row.policy,
            };
            if let Some(node_id) = row.node_id {
                content.of_node.entry(node_id).or_default().push(public_key);
            }
            content.validators.insert(public_key, Arc::new(known));
        }
        Ok(content)
    }
}
