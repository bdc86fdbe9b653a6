//! What the signer has in quarantine, and what it is told of that.

use crate::beacon::{Network, Root};
use crate::domain::{Calendar, Observed};
use berth_core::{Error, Result};
use berth_proto::signing::v1 as pb;
use berth_proto::signing::v1::custody_service_client::CustodyServiceClient;
use berth_runtime::{clients, status, wire};
use chrono::{DateTime, Utc};
use pb::report_observation_request::Seen;
use std::collections::BTreeMap;
use tonic::Code;
use tonic::transport::Channel;

/// Keys asked for at once.
const PAGE: i32 = 200;
/// Most keys that are looked at.
const MOST: usize = 20_000;

/// A chain as the signer pins it, and its keys that sign nothing yet.
#[derive(Debug, Clone)]
pub(super) struct Pinned {
    pub(super) network: Network,
    pub(super) calendar: Calendar,
    /// Since when, by key.
    pub(super) quarantined: BTreeMap<String, DateTime<Utc>>,
}

/// The signer, for what concerns keys without a past.
#[derive(Debug, Clone)]
pub struct Custody(CustodyServiceClient<Channel>);

impl Custody {
    /// Asks the signer behind a channel.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self(CustodyServiceClient::new(channel))
    }

    /// What it pins and holds back; `None` when it does not know the chain.
    pub(super) async fn list(&self, chain: &str) -> Result<Option<Pinned>> {
        let mut client = self.0.clone();
        let (mut pinned, mut token): (Option<Pinned>, _) = (None, String::new());
        loop {
            let request = clients::request(pb::ListQuarantinedRequest {
                chain: chain.to_owned(),
                page_size: PAGE,
                page_token: token,
            });
            let page = match client.list_quarantined(request).await {
                Ok(page) => page.into_inner(),
                Err(status) if status.code() == Code::NotFound => return Ok(None),
                Err(status) => return Err(status::to_error(&status)),
            };
            let mut so_far = match pinned.take() {
                Some(pinned) => pinned,
                None => parse(page.chain.unwrap_or_default())?,
            };
            for key in page.keys {
                let time = key.quarantine_time.unwrap_or_default();
                let time = wire::time("quarantine_time", time).map_err(Error::internal)?;
                so_far.quarantined.insert(key.public_key, time);
            }
            token = page.next_page_token;
            if token.is_empty() || so_far.quarantined.len() >= MOST {
                return Ok(Some(so_far));
            }
            pinned = Some(so_far);
        }
    }

    /// Says what was seen of the quarantined keys. What the signer refuses, it
    /// will be told again after the next epoch.
    pub(super) async fn tell(&self, chain: &str, pinned: &Pinned, seen: &[Observed]) {
        for one in seen {
            let Some(since) = pinned.quarantined.get(&one.public_key) else {
                continue;
            };
            let Some(seen) = judged(one, pinned.calendar, *since) else {
                continue;
            };
            let request = clients::request(pb::ReportObservationRequest {
                public_key: one.public_key.clone(),
                chain: chain.to_owned(),
                genesis_validators_root: pinned.network.genesis_validators_root.0.to_vec(),
                seen: Some(seen),
            });
            if let Err(status) = self.0.clone().report_observation(request).await {
                let (validator, why) = (&one.public_key, status.message());
                tracing::info!(validator, why, "the signer refused an observation");
            }
        }
    }
}

/// What is to be said of a key that came at a time; nothing while it is open.
fn judged(one: &Observed, calendar: Calendar, since: DateTime<Utc>) -> Option<Seen> {
    if !one.status.has_duties() {
        let status = one.status.name().to_owned();
        return Some(Seen::Idle(pb::SeenIdle { status }));
    }
    match one.track.silent {
        Some((first, last_epoch)) => {
            let first_epoch =
                (first..=last_epoch).find(|epoch| calendar.starts(*epoch) >= since)?;
            (last_epoch > first_epoch).then_some(Seen::Silent(pb::SeenSilent {
                first_epoch,
                last_epoch,
            }))
        }
        None => {
            let epoch = one.track.seen_epoch?;
            Some(Seen::Active(pb::SeenActive { epoch }))
        }
    }
}

fn parse(chain: pb::SigningChain) -> Result<Pinned> {
    let root = chain.genesis_validators_root.try_into();
    let root = root.map_err(|_| Error::internal("the signer told no genesis validators root"))?;
    let slots_per_epoch = match chain.preset.as_str() {
        "mainnet" => 32,
        "minimal" => 8,
        _ => return Err(Error::internal("the signer told an unknown preset")),
    };
    Ok(Pinned {
        network: Network {
            genesis_validators_root: Root(root),
            genesis_time: chain.genesis_time,
        },
        calendar: Calendar {
            genesis_time: chain.genesis_time,
            slot_s: chain.seconds_per_slot.into(),
            slots_per_epoch,
        },
        quarantined: BTreeMap::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BeaconStatus, Track};

    const CALENDAR: Calendar = Calendar {
        genesis_time: 0,
        slot_s: 1,
        slots_per_epoch: 8,
    };

    fn judge(status: BeaconStatus, seen_epoch: Option<u64>, silent: Option<(u64, u64)>) -> String {
        let one = Observed {
            public_key: String::new(),
            index: Some(1),
            status,
            slashed: false,
            balance: 0,
            epoch: 12,
            track: Track { seen_epoch, silent },
        };
        // Within epoch 5.
        let since = DateTime::from_timestamp(41, 0).unwrap();
        match judged(&one, CALENDAR, since) {
            None => "open".to_owned(),
            Some(Seen::Silent(span)) => format!("silent {}-{}", span.first_epoch, span.last_epoch),
            Some(Seen::Active(seen)) => format!("active {}", seen.epoch),
            Some(Seen::Idle(idle)) => idle.status,
        }
    }

    #[test]
    fn only_two_whole_epochs_since_the_key_came_are_silence() {
        use BeaconStatus::{ActiveOngoing, PendingQueued, Unknown};
        for (status, seen, silent, said) in [
            (ActiveOngoing, None, None, "open"),
            (ActiveOngoing, None, Some((1, 5)), "open"),
            (ActiveOngoing, None, Some((1, 6)), "open"),
            (ActiveOngoing, None, Some((1, 7)), "silent 6-7"),
            (ActiveOngoing, Some(7), Some((8, 9)), "silent 8-9"),
            (ActiveOngoing, Some(7), Some((8, 8)), "open"),
            (ActiveOngoing, Some(9), None, "active 9"),
            (PendingQueued, None, None, "pending_queued"),
            (Unknown, None, Some((6, 9)), "unknown"),
        ] {
            assert_eq!(judge(status, seen, silent), said, "{seen:?} {silent:?}");
        }
    }
}
