//! A request of the HTTP API that validator clients speak: read, held against
//! the pinned chain and reduced to its signing root.

use super::duty::Policy;
use super::messages::{self, Row};
use crate::domain::refusal::Reason;
use crate::domain::{Chain, ForkVersion, Message, Refusal, Root};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fmt;

/// Longest text of a request that an answer repeats.
const ECHO: usize = 200;

/// A request of a known type that a machine may make, not yet believed.
#[derive(Debug, Clone)]
pub struct SignRequest {
    row: &'static Row,
    payload: Value,
    signing_root: Option<Root>,
    fork_info: Option<ForkInfo>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "signingRoot")]
    signing_root: Option<Root>,
    fork_info: Option<ForkInfo>,
    #[serde(flatten)]
    payloads: Map<String, Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct ForkInfo {
    fork: Versions,
    genesis_validators_root: Root,
}

/// The fork's epoch is left out: clients put the epoch that they sign for there.
#[derive(Debug, Clone, Deserialize)]
struct Versions {
    previous_version: ForkVersion,
    current_version: ForkVersion,
}

impl SignRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// [`Reason::Malformed`], [`Reason::UnknownType`], or
    /// [`Reason::TypeNotPermitted`] for what is signed for owners only.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let mut body: Body = serde_json::from_slice(body).map_err(malformed)?;
        let row = messages::row(&body.kind)?;
        let payload = body.payloads.remove(row.payload);
        Ok(Self {
            row,
            payload: payload.ok_or_else(|| missing(row.payload))?,
            signing_root: body.signing_root,
            fork_info: body.fork_info,
        })
    }

    /// All types that a machine may ask for.
    pub fn kinds() -> impl Iterator<Item = &'static str> {
        messages::kinds()
    }

    /// Its type, as clients write it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.row.kind
    }

    /// What is to be decided and signed, where the request fits the chain, the
    /// present and what the owner allows. The root is computed from the message
    /// and the pinned chain alone.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] that names the first thing that does not fit.
    pub fn check(
        &self,
        chain: &Chain,
        policy: &Policy,
        now_unix: u64,
    ) -> Result<(Message, Root), Refusal> {
        if let Some(fork_info) = &self.fork_info {
            fork_info.check_network(chain)?;
        }
        let (object, duty) = (self.row.reader(chain.preset))(chain, &self.payload)?;
        let root = match duty.epoch(chain) {
            Some(epoch) => {
                let fork_info = self
                    .fork_info
                    .as_ref()
                    .ok_or_else(|| missing("fork_info"))?;
                let version = fork_info.check_version(chain, epoch)?;
                chain.signing_root(object, self.row.purpose, version)
            }
            None => chain.chainless_root(object, self.row.purpose),
        };
        if let Some(given) = self.signing_root.filter(|given| *given != root) {
            return Err(Refusal::new(
                Reason::WrongSigningRoot,
                format!("signingRoot is {given}; that of the message is {root}"),
            ));
        }
        duty.check(chain, policy, now_unix)?;
        Ok((duty.message(), root))
    }
}

impl ForkInfo {
    fn check_network(&self, chain: &Chain) -> Result<(), Refusal> {
        let (given, pinned) = (self.genesis_validators_root, chain.genesis_validators_root);
        if given == pinned {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::WrongNetwork,
            format!(
                "genesis_validators_root is {given}; that of {} is {pinned}",
                chain.name
            ),
        ))
    }

    /// The pinned version of an epoch, where it is one of those named. At a
    /// boundary a client may be a fork ahead of the message, and clients differ
    /// in what came before forks that begin together.
    fn check_version(&self, chain: &Chain, epoch: u64) -> Result<ForkVersion, Refusal> {
        let Versions {
            previous_version,
            current_version,
        } = self.fork;
        let named = [previous_version, current_version];
        let pinned = chain.forks.at(epoch).version;
        let known = |version| chain.forks.iter().any(|fork| fork.version == version);
        if named.contains(&pinned) && named.into_iter().all(known) {
            return Ok(pinned);
        }
        Err(Refusal::new(
            Reason::WrongFork,
            format!(
                "fork versions are {previous_version} and {current_version}; that of epoch \
                 {epoch} is {pinned}"
            ),
        ))
    }
}

pub(super) fn malformed(problem: impl fmt::Display) -> Refusal {
    Refusal::new(Reason::Malformed, echo(&problem.to_string()))
}

pub(super) fn missing(field: &str) -> Refusal {
    malformed(format_args!("missing field `{field}`"))
}

/// As much of a foreign text as an answer repeats.
pub(super) fn echo(text: &str) -> String {
    text.chars().take(ECHO).collect()
}
