//! Random histories against two oracles: the watermarks as people read them say
//! what each verdict must be, and the definitions of slashing, which know no
//! watermark, find nothing among all that was signed.

use crate::support::{BLOCK, Node, VOTE};
use berth_core::Fence;
use berth_signer::domain::{Message, PublicKey, Root, Watermarks};
use berth_signer::store::{decide::decide, fences, history};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use sqlx::PgPool;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::Handle;

/// Validators of a history.
const KEYS: usize = 3;

/// What happens to the validators of a node.
#[derive(Debug, Clone)]
enum Event {
    /// Messages come together; the first for each validator counts.
    Sign(Vec<(usize, Message, u8)>),
    /// An interchange raises the watermarks of one.
    Import(usize, Option<u64>, Option<(u64, u64)>),
    /// The node is placed anew.
    Move,
    /// The placement before the present one asks once more.
    Late(usize, Message, u8),
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (0..6_u64).prop_map(BLOCK),
        (0..6_u64, 0..6_u64).prop_map(|(source, target)| VOTE(source, target)),
        Just(Message::Other),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let vote = (0..6_u64, 0..6_u64).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        12 => vec((0..KEYS, message(), 1..3_u8), 1..5).prop_map(Event::Sign),
        1 => (0..KEYS, proptest::option::of(0..6_u64), proptest::option::of(vote))
            .prop_map(|(key, block, vote)| Event::Import(key, block, vote)),
        1 => Just(Event::Move),
        1 => (0..KEYS, message(), 1..3_u8).prop_map(|(key, message, root)| Event::Late(key, message, root)),
    ]
}

/// Whether a network would punish a validator that signed both.
fn slashable(a: &(Message, Root), b: &(Message, Root)) -> bool {
    match (a.0, b.0) {
        (Message::Block { slot }, Message::Block { slot: other }) => slot == other && a.1 != b.1,
        (
            Message::Attestation { source, target },
            Message::Attestation {
                source: other_source,
                target: other_target,
            },
        ) => {
            let surrounds = source < other_source && other_target < target;
            let surrounded = other_source < source && target < other_target;
            target == other_target && a.1 != b.1 || surrounds || surrounded
        }
        _ => false,
    }
}

/// A node, what it signed and what may be signed yet.
struct History<'a> {
    db: &'a PgPool,
    node: Node,
    fence: Fence,
    keys: Vec<PublicKey>,
    expected: Vec<Watermarks>,
    signed: Vec<Vec<(Message, Root)>>,
}

impl<'a> History<'a> {
    async fn begin(db: &'a PgPool) -> Self {
        static KEY: AtomicU64 = AtomicU64::new(1);
        let node = Node::granted(db).await;
        let mut keys = Vec::new();
        for _ in 0..KEYS {
            keys.push(node.key(db, KEY.fetch_add(1, Ordering::Relaxed)).await);
        }
        Self {
            db,
            node,
            fence: Fence::FIRST,
            keys,
            expected: vec![Watermarks::default(); KEYS],
            signed: vec![Vec::new(); KEYS],
        }
    }

    async fn live(&mut self, event: &Event) -> TestCaseResult {
        match event {
            Event::Sign(messages) => self.sign(messages).await,
            Event::Import(key, block, vote) => self.import(*key, *block, *vote).await,
            Event::Move => self.place_anew().await,
            Event::Late(key, message, root) => self.late(*key, *message, *root).await,
        }
    }

    async fn sign(&mut self, messages: &[(usize, Message, u8)]) -> TestCaseResult {
        let mut seen = HashSet::new();
        let together: Vec<_> = messages
            .iter()
            .filter(|(key, ..)| seen.insert(*key))
            .collect();
        let claims: Vec<_> = together
            .iter()
            .map(|(key, message, root)| {
                let mut claim = self.node.claim(self.keys[*key], *message, *root);
                claim.fence = self.fence;
                claim
            })
            .collect();
        let verdicts = decide(self.db, &claims).await.unwrap();
        for ((key, message, root), verdict) in together.into_iter().zip(verdicts) {
            let root = Root([*root; 32]);
            let expected = self.expected[*key].sign(*message, root);
            prop_assert_eq!(verdict.clone().err(), expected.clone().err());
            if let Ok(next) = expected {
                self.expected[*key] = next;
                self.signed[*key].push((*message, root));
            }
        }
        Ok(())
    }

    async fn import(
        &mut self,
        key: usize,
        block: Option<u64>,
        vote: Option<(u64, u64)>,
    ) -> TestCaseResult {
        let imported = Watermarks {
            block,
            vote,
            ..Watermarks::default()
        };
        let imported = BTreeMap::from([(self.keys[key], imported)]);
        let mut conn = self.db.acquire().await.unwrap();
        let account = self.node.account;
        let found = history::raise(&mut conn, account, "devnet", &imported).await;
        prop_assert_eq!(found.unwrap(), 1);
        self.expected[key] = self.expected[key].raise(block, vote);
        Ok(())
    }

    async fn place_anew(&mut self) -> TestCaseResult {
        self.fence = self.fence.next();
        let mut txn = self.db.begin().await.unwrap();
        let (account, node) = (self.node.account, self.node.id);
        fences::advance(&mut txn, account, node, self.fence)
            .await
            .unwrap();
        fences::grant(&mut txn, node, self.fence).await.unwrap();
        txn.commit().await.unwrap();
        Ok(())
    }

    /// Under a fence that is gone nothing is signed, not even what was before.
    async fn late(&self, key: usize, message: Message, root: u8) -> TestCaseResult {
        if self.fence > Fence::FIRST {
            let claim = self.node.claim(self.keys[key], message, root);
            let verdict = decide(self.db, &[claim]).await.unwrap().remove(0);
            prop_assert!(verdict.is_err(), "{claim:?} was signed");
        }
        Ok(())
    }

    fn judge(&self) -> TestCaseResult {
        for signed in &self.signed {
            for (i, a) in signed.iter().enumerate() {
                for b in &signed[i + 1..] {
                    prop_assert!(!slashable(a, b), "{a:?} and {b:?} were both signed");
                }
            }
        }
        Ok(())
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn random_histories_are_decided_as_the_oracle_says_and_hold_nothing_slashable(db: PgPool) {
    let here = Handle::current();
    let outcome = tokio::task::spawn_blocking(move || {
        // What it found stands in what it says; it writes no file.
        let config = Config {
            failure_persistence: None,
            ..Config::default()
        };
        TestRunner::new(config).run(&vec(event(), 1..24), |events| {
            here.block_on(async {
                let mut history = History::begin(&db).await;
                for event in &events {
                    history.live(event).await?;
                }
                history.judge()
            })
        })
    });
    outcome.await.unwrap().unwrap();
}
