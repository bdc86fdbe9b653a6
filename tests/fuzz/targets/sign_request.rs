//! The body of a request to sign: read or refused, the same twice, within its
//! bounds, and never the same signature for two networks.

#![cfg_attr(feature = "libfuzzer", no_main)]
#![expect(clippy::expect_used, reason = "what cannot be is what is looked for")]

use berth_signer::domain::eth::{Policy, SignRequest};
use berth_signer::domain::{
    Chain, Fork, ForkName, ForkVersion, Message, Preset, PublicKey, Root, Schedule,
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// Where the recorded requests of the corpus are the present.
const NOW: u64 = GENESIS + 2 * 60;
const GENESIS: u64 = 1_700_000_000;

static CHAINS: LazyLock<[Chain; 2]> = LazyLock::new(|| [chain(7), chain(8)]);

fn chain(root: u8) -> Chain {
    let forks = ForkName::ALL.into_iter().zip((0..).step_by(2)).zip(0..);
    let forks = forks.map(|((name, epoch), number)| Fork {
        name,
        epoch,
        version: ForkVersion([number, 0, 0, 1]),
    });
    Chain {
        name: "fuzzed".to_owned(),
        genesis_validators_root: Root([root; 32]),
        genesis_time: GENESIS,
        seconds_per_slot: 2,
        preset: Preset::Minimal,
        forks: Schedule::try_from(forks.collect::<Vec<_>>()).expect("forks in order"),
    }
}

fuzz_target!(|body: &[u8]| {
    let Ok(request) = SignRequest::parse(body) else {
        return;
    };
    let policy = Policy {
        public_key: PublicKey([9; 48]),
        fee_recipient: None,
        gas_limit: 0,
    };
    let [here, elsewhere] = &*CHAINS;
    let answer = request.check(here, &policy, NOW);
    assert_eq!(answer, request.check(here, &policy, NOW));
    let Ok((message, _)) = answer else { return };
    let present = here.slot_at(NOW);
    match message {
        Message::Block { slot } => {
            assert!(slot <= present + 1 && slot + here.preset.slots_per_epoch() >= present);
        }
        Message::Attestation { source, target } => {
            assert!(source <= target && target <= here.epoch_of(present + 1));
        }
        Message::Other => {}
    }
    assert!(request.check(elsewhere, &policy, NOW).is_err());
});

#[cfg(not(feature = "libfuzzer"))]
fn main() {}
