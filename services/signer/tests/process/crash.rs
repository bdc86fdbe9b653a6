//! Signers and their database are killed under load, again and again: what a
//! machine was told is in the record, and nothing is slashable.

use crate::eventually::eventually;
use crate::line::{Answer, Kept};
use crate::messages::{Asked, block, fast, vote};
use crate::node::Node;
use crate::record::{Entry, Record};
use crate::signer::{Caller, Running, Site};
use berth_signer::domain::{Chain, Preset, PublicKey};
use futures::future::join_all;
use nix::sys::signal::Signal;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

const MACHINES: usize = 48;
const AGAIN: Duration = Duration::from_millis(20);
/// Keys of each machine.
const KEYS: usize = 8;
/// How often so many are signed between two kills, at most.
const GAP: u64 = 24;
const STEP: usize = 100;
/// Who is killed, in turn: the database, or one of the signers.
const TURNS: [Option<usize>; 4] = [None, Some(0), None, Some(1)];

#[expect(
    clippy::disallowed_methods,
    reason = "how long to crash, as PROPTEST_CASES is"
)]
fn signatures() -> usize {
    std::env::var("BERTH_CRASH_SIGNATURES").map_or(20_000, |wanted| wanted.parse().unwrap())
}

pub(crate) fn random(below: u64) -> u64 {
    RandomState::new().hash_one(()) % below
}

/// What all machines share.
struct Load {
    chain: Chain,
    /// Messages by slot and variant, a vote under the first slot of its epoch.
    messages: RefCell<HashMap<(bool, u64, u8), Rc<Asked>>>,
    signed: Cell<usize>,
    lost: Cell<usize>,
    stop: Cell<bool>,
}

impl Load {
    fn message(&self, is_vote: bool, slot: u64, variant: u8) -> Rc<Asked> {
        let make = || {
            Rc::new(if is_vote {
                vote(&self.chain, self.chain.epoch_of(slot) - 1, slot, variant)
            } else {
                block(&self.chain, slot, variant)
            })
        };
        let mut known = self.messages.borrow_mut();
        known
            .entry((is_vote, slot, variant))
            .or_insert_with(make)
            .clone()
    }
}

/// What a machine was told of one key.
struct Key {
    key: PublicKey,
    /// The slots from which its next block and vote are.
    next: [u64; 2],
    told: Vec<(Entry, Rc<Asked>, String)>,
}

impl Key {
    /// A vote or a block that is new, if there is one now.
    fn new_message(&self, chain: &Chain) -> Option<(bool, u64)> {
        let now = chain.slot_at(berth_core::now().timestamp().unsigned_abs());
        let epoch = chain.preset.slots_per_epoch();
        let first = now / epoch * epoch;
        if self.next[1] <= first {
            return Some((true, first));
        }
        let slot = self.next[0].max(now - epoch / 2);
        (slot <= now + 1).then_some((false, slot))
    }

    fn told(&mut self, asked: Rc<Asked>, signature: String) {
        let entry = Entry::of(self.key, &asked);
        self.told.push((entry, asked, signature));
    }
}

/// A machine with validators, which asks both signers.
struct Machine<'a> {
    load: &'a Load,
    lines: [Kept; 2],
    keys: Vec<Key>,
    /// How often it asks where there was no answer, or nothing to ask.
    again: Interval,
}

impl Machine<'_> {
    async fn run(mut self) -> Vec<Key> {
        while !self.load.stop.get() {
            let mut idle = true;
            for at in 0..self.keys.len() {
                if self.load.stop.get() {
                    break;
                }
                if let Some((is_vote, slot)) = self.keys[at].new_message(&self.load.chain) {
                    idle = false;
                    self.ask(at, is_vote, slot).await;
                }
            }
            if idle {
                self.again.tick().await;
            }
        }
        self.keys
    }

    /// Asks for one variant, and now and then at the same time for another of
    /// the other signer. While there is no answer the message is asked for
    /// again, in any variant.
    async fn ask(&mut self, at: usize, is_vote: bool, slot: u64) {
        let (load, one) = (self.load, &mut self.keys[at]);
        let variant = u8::try_from(random(2)).unwrap();
        let asked = [variant, 1 - variant].map(|variant| load.message(is_vote, slot, variant));
        let which = usize::try_from(random(2)).unwrap();
        let [here, there] = &mut self.lines;
        let (here, there) = if which == 0 {
            (here, there)
        } else {
            (there, here)
        };
        let answers = if random(10) == 0 {
            let (first, second) = tokio::join!(
                here.sign(&one.key, &asked[0]),
                there.sign(&one.key, &asked[1])
            );
            vec![first, second]
        } else {
            vec![here.sign(&one.key, &asked[0]).await]
        };
        let mut signed = 0;
        for (answer, asked) in answers.into_iter().zip(asked) {
            match answer {
                Answer::Signed(signature) => {
                    signed += 1;
                    one.told(asked, signature);
                }
                Answer::Refused(reason) if decided(&reason) => {
                    one.next[usize::from(is_vote)] = slot + 1
                }
                Answer::Refused(_) | Answer::Lost => {
                    load.lost.set(load.lost.get() + 1);
                    self.again.tick().await;
                }
            }
        }
        assert!(signed < 2, "{} signed both at {slot}", one.key);
        if signed == 1 {
            one.next[usize::from(is_vote)] = slot + 1;
            load.signed.set(load.signed.get() + 1);
        }
    }
}

/// Whether the row of the key refused it for good.
fn decided(reason: &str) -> bool {
    [
        "DOUBLE_PROPOSAL",
        "BLOCK_BELOW_WATERMARK",
        "DOUBLE_VOTE",
        "VOTE_BELOW_WATERMARK",
    ]
    .contains(&reason)
}

/// Kills one after the other, at random times, and starts each again, until
/// enough is signed. Returns how many were killed.
async fn kill_and_start(site: &mut Site, signers: &mut [Running; 2], load: &Load) -> usize {
    let mut killed = 0;
    while load.signed.get() < signatures() || killed < 2 * TURNS.len() {
        for _ in 0..random(GAP) {
            let next = load.signed.get() + STEP;
            let signed = async || (load.signed.get() >= next).then_some(());
            eventually("it goes on", signed).await;
        }
        match TURNS[killed % TURNS.len()] {
            None => {
                site.postgres.crash().await;
                site.postgres.run(&[]).await;
            }
            Some(replica) => {
                signers[replica].signal(Signal::SIGKILL);
                signers[replica].ended().await;
                signers[replica] = site.serve_replica(replica).await;
            }
        }
        killed += 1;
    }
    load.stop.set(true);
    killed
}

#[tokio::test]
async fn nothing_that_was_acknowledged_is_lost_when_signers_and_database_are_killed() {
    let mut site = Site::start().await;
    let mut signers: [Running; 2] =
        tokio::join!(site.serve_replica(0), site.serve_replica(1)).into();
    let node = Node::launch(&site, fast(Preset::Mainnet), MACHINES * KEYS).await;
    tokio::join!(
        site.holds(0, node.keys.len()),
        site.holds(1, node.keys.len())
    );
    let places = [site.placement(1, 0).await, site.placement(1, 1).await];
    let load = Load {
        chain: node.chain.clone(),
        messages: RefCell::default(),
        signed: Cell::new(0),
        lost: Cell::new(0),
        stop: Cell::new(false),
    };
    let machines = node
        .keys
        .chunks(KEYS)
        .map(|keys| machine(&load, &places, keys).run());
    let kills = kill_and_start(&mut site, &mut signers, &load);
    let (keys, killed) = tokio::join!(join_all(machines), kills);

    let record = Record::read(&site.postgres).await;
    let told: Vec<_> = keys.iter().flatten().flat_map(|key| &key.told).collect();
    let entries: Vec<_> = told.iter().map(|one| one.0).collect();
    assert_eq!(record.lacks(&entries), [&entries[0]; 0]);
    assert_eq!(record.offences(), [""; 0]);
    println!(
        "{} signed, {} recorded, {} without an answer, {killed} kills",
        told.len(),
        record.history.len(),
        load.lost.get()
    );

    // What the row knows as the newest is answered again, while it is present.
    let present = node.slot() + 4 - node.chain.preset.slots_per_epoch();
    let mut lines = places.map(Kept::new);
    let mut again = 0;
    for (entry, asked, signature) in told {
        let slot = entry.numbers[0].map_or(0, i64::unsigned_abs);
        if slot < present || !record.newest(entry) || again == 100 {
            continue;
        }
        again += 1;
        let line = &mut lines[again % 2];
        eventually("it is signed again", async || {
            match line.sign(&entry.key, asked).await {
                Answer::Signed(same) => {
                    assert_eq!(same, *signature);
                    Some(())
                }
                Answer::Refused(reason) if reason == "FAR_PAST" => Some(()),
                Answer::Refused(_) | Answer::Lost => None,
            }
        })
        .await;
    }
    assert!(again > 0);
}

fn machine<'a>(load: &'a Load, places: &[Caller; 2], keys: &[PublicKey]) -> Machine<'a> {
    let keys = keys.iter().map(|key| Key {
        key: *key,
        next: [0; 2],
        told: Vec::new(),
    });
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Machine {
        load,
        lines: places.clone().map(Kept::new),
        keys: keys.collect(),
        again,
    }
}
