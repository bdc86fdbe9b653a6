//! Conflicting messages for one key at once, over two signers on one database:
//! exactly one is signed. The same signers over a database that lets them check,
//! and then write, must be found out.

use crate::eventually::eventually;
use crate::line::{Answer, Kept};
use crate::messages::{Asked, block, fast, vote};
use crate::node::Node;
use crate::postgres::DATABASE;
use crate::record::Record;
use crate::signer::{Running, Site};
use berth_signer::domain::{Chain, Preset, PublicKey};
use futures::future::join_all;
use std::collections::VecDeque;

const TASKS: usize = 16;
const KEYS: usize = 320;
/// Epochs until a key has room for any vote again.
const REST: u64 = 2;

#[expect(
    clippy::disallowed_methods,
    reason = "how long to race, as PROPTEST_CASES is"
)]
fn rounds() -> usize {
    std::env::var("BERTH_RACE_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap())
}

/// Which two messages are asked for at once.
#[derive(Debug, Clone, Copy)]
enum Pairing {
    DoubleProposal,
    DoubleVote,
    Surround,
    Surrounded,
    EqualBlock,
    EqualVote,
}

use Pairing::{DoubleProposal, DoubleVote, EqualBlock, EqualVote, Surround, Surrounded};

impl Pairing {
    /// What one of them is refused for.
    const fn reasons(self) -> &'static [&'static str] {
        match self {
            DoubleProposal => &["DOUBLE_PROPOSAL"],
            DoubleVote => &["DOUBLE_VOTE"],
            Surround | Surrounded => &["SURROUND", "SURROUNDED"],
            EqualBlock | EqualVote => &[],
        }
    }

    const fn is_of_blocks(self) -> bool {
        matches!(self, DoubleProposal | EqualBlock)
    }

    /// The two messages, at a slot late enough to sign for the epoch before it.
    fn messages(self, chain: &Chain, slot: u64) -> [Asked; 2] {
        let epoch = chain.epoch_of(slot);
        let before = epoch * chain.preset.slots_per_epoch() - 1;
        let inner = || vote(chain, epoch - 2, before, 1);
        let outer = || vote(chain, epoch - 3, slot, 2);
        match self {
            DoubleProposal => [1, 2].map(|variant| block(chain, slot, variant)),
            EqualBlock => [1, 1].map(|variant| block(chain, slot, variant)),
            DoubleVote => [1, 2].map(|variant| vote(chain, epoch - 1, slot, variant)),
            EqualVote => [1, 1].map(|variant| vote(chain, epoch - 1, slot, variant)),
            Surround => [inner(), outer()],
            Surrounded => [outer(), inner()],
        }
    }
}

/// Keys, each free again from a slot on.
struct Keys(VecDeque<(u64, PublicKey)>);

impl Keys {
    /// The one that rested longest, once it is free and the slot is not so late
    /// in its epoch that the one before is soon past.
    async fn next(&mut self, node: &Node, rest: u64) -> (PublicKey, u64) {
        let (free, key) = self.0.pop_front().unwrap();
        let epoch = node.chain.preset.slots_per_epoch();
        let slot = eventually("the key is free", async || {
            let slot = node.slot();
            (slot >= free && slot % epoch < epoch - 1).then_some(slot)
        })
        .await;
        self.0.push_back((slot + rest, key));
        (key, slot)
    }
}

/// What came of the two messages, each asked for by half of the tasks through both
/// signers.
struct Outcome {
    signed: [bool; 2],
    /// What else somebody was told, as on a machine so slow that they are past.
    other: Option<Answer>,
}

async fn race(lines: &mut [Kept], key: PublicKey, asked: &[Asked; 2], pairing: Pairing) -> Outcome {
    let asking = lines.iter_mut().enumerate().map(async |(task, line)| {
        let which = task / 2 % 2;
        (which, line.sign(&key, &asked[which]).await)
    });
    let answers = join_all(asking).await;
    let mut signatures = [None, None];
    let mut other = None;
    for (which, answer) in answers {
        match &answer {
            Answer::Signed(signature) => {
                let first = signatures[which].get_or_insert_with(|| signature.clone());
                assert_eq!(first, signature, "{pairing:?}");
            }
            Answer::Refused(reason) if pairing.reasons().contains(&&**reason) => {}
            Answer::Refused(_) | Answer::Lost => other = Some(answer),
        }
    }
    if asked[0].root == asked[1].root {
        assert_eq!(signatures[0], signatures[1]);
    }
    Outcome {
        signed: signatures.map(|signature| signature.is_some()),
        other,
    }
}

/// Two signers on one database, the keys of a node, and its machine's connections
/// to both.
struct Arena {
    site: Site,
    _signers: [Running; 2],
    node: Node,
    lines: Vec<Kept>,
    for_blocks: Keys,
    for_votes: Keys,
}

impl Arena {
    async fn start() -> Self {
        let site = Site::start().await;
        let signers = tokio::join!(site.serve_replica(0), site.serve_replica(1));
        let node = Node::launch(&site, fast(Preset::Minimal), KEYS).await;
        tokio::join!(
            site.holds(0, node.keys.len()),
            site.holds(1, node.keys.len())
        );
        let machines = [site.placement(1, 0).await, site.placement(1, 1).await];
        let keys = || Keys(node.keys.iter().map(|key| (0, *key)).collect());
        Self {
            _signers: signers.into(),
            lines: (0..TASKS)
                .map(|task| Kept::new(machines[task % 2].clone()))
                .collect(),
            for_blocks: keys(),
            for_votes: keys(),
            site,
            node,
        }
    }

    /// Races two messages for the next free key.
    async fn race(&mut self, pairing: Pairing) -> Outcome {
        let (keys, rest) = if pairing.is_of_blocks() {
            (&mut self.for_blocks, 1)
        } else {
            let epoch = self.node.chain.preset.slots_per_epoch();
            (&mut self.for_votes, REST * epoch)
        };
        let (key, slot) = keys.next(&self.node, rest).await;
        let asked = pairing.messages(&self.node.chain, slot);
        race(&mut self.lines, key, &asked, pairing).await
    }
}

#[tokio::test]
async fn of_two_conflicting_messages_two_signers_sign_exactly_one() {
    let mut arena = Arena::start().await;
    let mut odd = Vec::new();
    for round in 0..rounds() {
        let equal = if round % 2 == 0 {
            EqualBlock
        } else {
            EqualVote
        };
        for pairing in [DoubleProposal, DoubleVote, Surround, Surrounded, equal] {
            loop {
                let Outcome { signed, other } = arena.race(pairing).await;
                let equal = pairing.reasons().is_empty();
                assert!(equal || signed != [true; 2], "{pairing:?}, round {round}");
                let Some(answer) = other else {
                    let wanted = equal == (signed[0] == signed[1]);
                    assert!(wanted, "{pairing:?}, round {round}: {signed:?}");
                    break;
                };
                odd.push((pairing, answer));
                assert!(odd.len() <= 50 + rounds(), "{odd:?}");
            }
        }
    }
    let record = Record::read(&arena.site.postgres).await;
    assert_eq!(record.offences(), [""; 0]);
    assert!(record.history.len() >= rounds() * 5);
}

/// Puts a view in the place of the rows: what is read of it is not locked, and what
/// is written to it goes to the row whatever stands there by then.
const CHECK_THEN_WRITE: &str = "
    alter table validator disable trigger validator_watermark_only_grows;
    alter table validator rename to validator_row;
    create function validator_rows() returns setof validator_row language sql stable
        as 'select * from validator_row';
    create view validator as select * from validator_rows();
    create function validator_written() returns trigger language plpgsql as $$
    begin
        update validator_row set
            block_slot = new.block_slot, block_root = new.block_root,
            source_epoch = new.source_epoch, target_epoch = new.target_epoch,
            attestation_root = new.attestation_root
        where public_key = new.public_key;
        return new;
    end $$;
    create trigger validator_written instead of update on validator
        for each row execute function validator_written();
    grant select, update on validator to signer_serving;
";

#[tokio::test]
async fn two_signers_over_a_guard_that_checks_and_then_writes_are_found_out() {
    let mut arena = Arena::start().await;
    arena.site.postgres.sql(DATABASE, CHECK_THEN_WRITE).await;
    for pairing in [DoubleProposal, DoubleVote, Surround, Surrounded] {
        let mut violated = false;
        for _ in 0..rounds() {
            violated = arena.race(pairing).await.signed == [true; 2];
            if violated {
                break;
            }
        }
        assert!(violated, "{pairing:?}: the harness saw nothing");
    }
    let record = Record::read(&arena.site.postgres).await;
    assert!(record.offences().len() >= 4, "{:?}", record.offences());
}
