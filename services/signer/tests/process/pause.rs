//! A signer that is paused while its fence moves on signs nothing under the old
//! one when it goes on.

use crate::eventually::eventually;
use crate::line::{Answer, Kept};
use crate::messages::{block, fast};
use crate::node::Node;
use crate::record::{Entry, Record};
use crate::signer::{Caller, Site};
use berth_signer::domain::{Chain, Preset, PublicKey};
use futures::future::join_all;
use nix::sys::signal::Signal;
use std::cell::Cell;

const MACHINES: usize = 16;
/// Keys of each.
const KEYS: usize = 8;
const MOVES: u64 = 5;

/// Asks for the newest block of one key after the other until the fence has
/// moved on. Returns what was signed.
async fn ask(
    machine: Caller,
    chain: &Chain,
    keys: &[PublicKey],
    signed: &Cell<usize>,
) -> Vec<Entry> {
    let mut line = Kept::new(machine);
    let mut told = Vec::new();
    for key in keys.iter().cycle() {
        let now = chain.slot_at(berth_core::now().timestamp().unsigned_abs());
        let block = block(chain, now + 1, 1);
        match line.sign(key, &block).await {
            Answer::Signed(_) => {
                told.push(Entry::of(*key, &block));
                signed.set(signed.get() + 1);
            }
            Answer::Refused(reason) if reason == "FENCED" => break,
            Answer::Refused(_) | Answer::Lost => {}
        }
    }
    told
}

#[tokio::test]
async fn a_signer_that_slept_through_a_new_fence_signs_nothing_under_the_old_one() {
    let site = Site::start().await;
    let _awake = site.serve_replica(0).await;
    // Its way to the signers knows the first alone.
    let mut node = Node::launch(&site, fast(Preset::Minimal), MACHINES * KEYS).await;
    let sleeper = site.serve_replica(1).await;
    site.holds(1, node.keys.len()).await;
    let (chain, keys) = (node.chain.clone(), node.keys.clone());
    let mut told = Vec::new();
    for fence in 1..=MOVES {
        let machine = site.placement(fence, 1).await;
        let mut successor = Kept::new(site.placement(fence + 1, 0).await);
        let signed = Cell::new(0);
        let machines = keys.chunks(KEYS);
        let asking = machines.map(|keys| ask(machine.clone(), &chain, keys, &signed));
        let moving = async {
            let working = async || (signed.get() > MACHINES).then_some(());
            eventually("it signs", working).await;
            sleeper.signal(Signal::SIGSTOP);
            node.place(fence + 1).await;
            let before = Record::read(&site.postgres).await.under(fence);
            // The successor needs nothing of the sleeper.
            eventually("the successor is signed for", async || {
                let block = block(&chain, node.slot() + 1, 1);
                let answer = successor.sign(&keys[0], &block).await;
                matches!(answer, Answer::Signed(_)).then_some(())
            })
            .await;
            sleeper.signal(Signal::SIGCONT);
            before
        };
        let (all, before) = tokio::join!(join_all(asking), moving);
        told.extend(all.into_iter().flatten());

        let record = Record::read(&site.postgres).await;
        assert_eq!(
            record.under(fence),
            before,
            "recorded after the fence moved"
        );
        assert_eq!(record.lacks(&told), [&told[0]; 0]);
        assert_eq!(record.offences(), [""; 0]);
    }
}
