//! A damaged body is refused or read; it never ends the process, and what is
//! read from it is still held against the chain.

use crate::chain::{STRICT, begin, chain};
use crate::requests::{KINDS, request};
use berth_signer::domain::Preset;
use berth_signer::domain::eth::SignRequest;
use proptest::prelude::*;
use proptest::sample::{Index, select};

#[derive(Debug, Clone)]
enum Damage {
    Set(Index, u8),
    Cut(Index, usize),
    Repeat(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let telling = select(b"0123456789abcdefx\"{}[]:,-. ".to_vec());
    let length = 1..40_usize;
    prop_oneof![
        (any::<Index>(), prop_oneof![telling, any::<u8>()])
            .prop_map(|(at, to)| Damage::Set(at, to)),
        (any::<Index>(), length.clone()).prop_map(|(at, count)| Damage::Cut(at, count)),
        (any::<Index>(), length).prop_map(|(at, count)| Damage::Repeat(at, count)),
    ]
}

fn apply(body: &mut Vec<u8>, damage: &Damage) {
    if body.is_empty() {
        return;
    }
    let length = body.len();
    let part = |at: &Index, count: usize| at.index(length)..(at.index(length) + count).min(length);
    match damage {
        Damage::Set(at, to) => {
            let at = at.index(body.len());
            body[at] = *to;
        }
        Damage::Cut(at, count) => drop(body.drain(part(at, *count))),
        Damage::Repeat(at, count) => {
            let part = part(at, *count);
            let again = body[part.clone()].to_vec();
            body.splice(part.start..part.start, again);
        }
    }
}

proptest! {
    #[test]
    fn no_body_ends_the_process(
        preset in select(vec![Preset::Mainnet, Preset::Minimal]),
        kind in select(KINDS.to_vec()),
        epoch in 0_u64..70,
        damages in prop::collection::vec(damage(), 1..4),
    ) {
        let chain = chain(preset);
        let slot = epoch * preset.slots_per_epoch();
        let mut body = request(&chain, kind, slot).to_string().into_bytes();
        for damage in &damages {
            apply(&mut body, damage);
        }
        if let Ok(request) = SignRequest::parse(&body) {
            // Either answer is right; that there is one is the point.
            drop(request.check(&chain, &STRICT, begin(&chain, slot)));
        }
    }

    #[test]
    fn no_bytes_end_the_process(body in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(SignRequest::parse(&body).is_err());
    }
}
