//! Blocks and votes on a chain of short slots, each in several variants of which
//! no two may both be signed.

use crate::chain::{STRICT, begin, chain};
use crate::requests::request;
use berth_signer::domain::eth::SignRequest;
use berth_signer::domain::{Chain, Message, Preset, Root};
use serde_json::{Value, json};

/// A message as a machine sends it, and as the signer sees it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) body: String,
    pub(crate) message: Message,
    pub(crate) root: Root,
}

/// A chain whose slots last a second, so that there is always something new to
/// sign.
pub(crate) fn fast(preset: Preset) -> Chain {
    Chain {
        seconds_per_slot: 1,
        ..chain(preset)
    }
}

pub(crate) fn block(chain: &Chain, slot: u64, variant: u8) -> Asked {
    let mut body = request(chain, "BLOCK_V2", slot);
    body["beacon_block"]["block_header"]["state_root"] = root(variant);
    asked(chain, &body, slot)
}

/// A vote at a slot, for the slot's epoch.
pub(crate) fn vote(chain: &Chain, source: u64, slot: u64, variant: u8) -> Asked {
    let mut body = request(chain, "ATTESTATION", slot);
    body["attestation"]["source"]["epoch"] = json!(source.to_string());
    body["attestation"]["beacon_block_root"] = root(variant);
    asked(chain, &body, slot)
}

fn root(variant: u8) -> Value {
    json!(Root([variant; 32]))
}

fn asked(chain: &Chain, body: &Value, slot: u64) -> Asked {
    let body = body.to_string();
    let request = SignRequest::parse(body.as_bytes()).unwrap();
    let (message, root) = request.check(chain, &STRICT, begin(chain, slot)).unwrap();
    Asked {
        body,
        message,
        root,
    }
}
