//! A beacon node that the operator named, asked over the standard HTTP API.
//!
//! It may be down, slow, behind or wrong: every answer has a limit of time and
//! size, and blocks are followed from each to the one before, so that one that
//! the node does not find is an error and no missed slot. Deliberately absent:
//! checking hashes and signatures; an operator trusts the endpoints it names.

mod answers;

pub use answers::{Found, Header, Root};

use crate::domain::{Committee, EpochRecord};
use answers::{BlockAnswer, CommitteeAnswer, Genesis, HeaderAnswer, ValidatorAnswer};
use reqwest::{StatusCode, Url, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::time::Duration;

/// Most bytes of a small answer.
const SMALL: usize = 1 << 20;
/// Most bytes of a block: large ones have some megabytes.
const BLOCK: usize = 32 << 20;
/// Most bytes of the committees of an epoch: of a million validators, 20 MB.
const COMMITTEES: usize = 96 << 20;
/// Most committees of a slot, by the chain's own rules.
const MOST_COMMITTEES: u64 = 64;
/// Most validators asked for at once: the address gets long.
const ASKED_AT_ONCE: usize = 30;

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The address is none.
    #[error("the URL of a beacon node must begin with http:// or https://, and have no ? or #")]
    Address,
    /// No answer, or not in time.
    #[error("no answer")]
    Away(#[source] reqwest::Error),
    /// Another status than 200.
    #[error("it answered {0}")]
    Status(StatusCode),
    /// More bytes than any honest answer has.
    #[error("its answer is longer than {0} bytes")]
    TooLong(usize),
    /// No JSON, or of another form.
    #[error("its answer is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The answer cannot be so.
    #[error("its answers contradict each other: {0}")]
    Contradicts(&'static str),
}

/// Which network, and when its slots are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What it is known by.
    pub genesis_validators_root: Root,
    /// Unix time of slot 0.
    pub genesis_time: u64,
}

/// One beacon node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Beacon {
    http: reqwest::Client,
    // It may hold the key of a provider.
    base: SecretString,
}

impl Beacon {
    /// Prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`Problem::Address`] when the URL is none, [`Problem::Away`] without TLS.
    pub fn new(url: &SecretString, timeout: Duration) -> Result<Self, Problem> {
        let parsed = Url::parse(url.expose_secret()).map_err(|_| Problem::Address)?;
        let secure = match parsed.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(Problem::Address),
        };
        // Paths are put behind it.
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(Problem::Address);
        }
        let mut http = reqwest::Client::builder()
            .tls_backend_rustls()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if !secure {
            http = http.tls_certs_only([]);
        }
        Ok(Self {
            http: http.build().map_err(Problem::Away)?,
            base: parsed.as_str().trim_end_matches('/').into(),
        })
    }

    /// The network that the node is on.
    ///
    /// # Errors
    ///
    /// When there is no such answer.
    pub async fn network(&self) -> Result<Network, Problem> {
        let genesis: Genesis = self.ask("/eth/v1/beacon/genesis", SMALL).await?;
        Ok(Network {
            genesis_validators_root: genesis.genesis_validators_root,
            genesis_time: genesis.genesis_time.0,
        })
    }

    /// The newest block.
    ///
    /// # Errors
    ///
    /// When there is no such answer.
    pub async fn head(&self) -> Result<Header, Problem> {
        let header: HeaderAnswer = self.ask("/eth/v1/beacon/headers/head", SMALL).await?;
        Ok(header.into())
    }

    /// Those of the validators that the chain knows, by the state of its head.
    ///
    /// # Errors
    ///
    /// When there is no such answer, or one of others.
    pub async fn validators(&self, public_keys: &[String]) -> Result<Vec<Found>, Problem> {
        let mut all = Vec::new();
        for some in public_keys.chunks(ASKED_AT_ONCE) {
            let ids: Vec<_> = some.iter().map(|key| format!("id={key}")).collect();
            let path = format!("/eth/v1/beacon/states/head/validators?{}", ids.join("&"));
            let answers: Vec<ValidatorAnswer> = self.ask(&path, SMALL).await?;
            for answer in answers {
                let found = answer.found()?;
                if !some.contains(&found.public_key) {
                    return Err(Problem::Contradicts("a validator that was not asked for"));
                }
                all.push(found);
            }
        }
        Ok(all)
    }

    /// What the chain of which `head` is the newest block holds of an epoch,
    /// whose next one must be over too.
    ///
    /// # Errors
    ///
    /// When the node does not know all of it.
    pub async fn epoch(
        &self,
        epoch: u64,
        slots_per_epoch: u64,
        head: Header,
    ) -> Result<EpochRecord, Problem> {
        let first_slot = epoch.saturating_mul(slots_per_epoch);
        let end_slot = first_slot.saturating_add(slots_per_epoch);
        let over = end_slot.saturating_add(slots_per_epoch);
        let mut after = self.after(over, head).await?;
        let mut blocks = Vec::new();
        while after.slot > first_slot {
            let path = format!("/eth/v2/beacon/blocks/{}", after.parent);
            let answer: BlockAnswer = self.ask(&path, BLOCK).await?;
            let (block, parent) = answer.block();
            let slot = block.slot;
            if slot >= after.slot {
                return Err(Problem::Contradicts("a block is not after the one before"));
            }
            if (first_slot..over).contains(&slot) {
                blocks.push(block);
            }
            after = Header { slot, parent };
        }
        // A state that the node keeps is that of a block, and it keeps the newest
        // longest; one of the next epoch knows the committees of this one.
        let known = blocks.iter().map(|block| block.slot).max();
        let known = known.ok_or(Problem::Contradicts("two epochs without blocks"))?;
        let path = format!("/eth/v1/beacon/states/{known}/committees?epoch={epoch}");
        let committees: Vec<CommitteeAnswer> = self.ask(&path, COMMITTEES).await?;
        Ok(EpochRecord {
            first_slot,
            end_slot,
            committees: numbered(committees, first_slot..end_slot),
            blocks,
        })
    }

    /// The first block from a slot on that the node finds: whatever it does not
    /// find is met on the way back from there.
    async fn after(&self, slot: u64, head: Header) -> Result<Header, Problem> {
        for slot in slot..head.slot {
            let path = format!("/eth/v1/beacon/headers/{slot}");
            match self.ask::<HeaderAnswer>(&path, SMALL).await {
                Ok(header) => {
                    let header = Header::from(header);
                    let right = header.slot == slot;
                    return right
                        .then_some(header)
                        .ok_or(Problem::Contradicts("a block of another slot"));
                }
                Err(Problem::Status(StatusCode::NOT_FOUND)) => {}
                Err(problem) => return Err(problem),
            }
        }
        if head.slot >= slot {
            Ok(head)
        } else {
            Err(Problem::Contradicts("the epoch after is not over"))
        }
    }

    /// Asks for something, and reads at most so many bytes.
    async fn ask<T: DeserializeOwned>(&self, path: &str, most: usize) -> Result<T, Problem> {
        let away = |error: reqwest::Error| Problem::Away(error.without_url());
        let url = format!("{}{path}", self.base.expose_secret());
        let mut answer = self.http.get(url).send().await.map_err(away)?;
        if answer.status() != StatusCode::OK {
            return Err(Problem::Status(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > most {
                return Err(Problem::TooLong(most));
            }
            body.extend_from_slice(&chunk);
        }
        answers::read(&body)
    }
}

/// The committees of an epoch with their slots. Old Lodestar, 1.5.1 for one, swaps
/// two numbers: it gives the place of the slot in the epoch as `index`, and the
/// number of the committee as `slot`. One that is told wrong fits no votes.
fn numbered(answers: Vec<CommitteeAnswer>, slots: Range<u64>) -> Vec<Committee> {
    let mut committees: Vec<_> = answers.into_iter().map(Committee::from).collect();
    let length = slots.end - slots.start;
    let swapped = |one: &Committee| one.index < length && one.slot < MOST_COMMITTEES;
    if committees.iter().all(|one| !slots.contains(&one.slot)) && committees.iter().all(swapped) {
        for one in &mut committees {
            (one.slot, one.index) = (slots.start + one.index, one.slot);
        }
    }
    committees
}
