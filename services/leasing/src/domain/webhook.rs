//! Webhooks: who is told, and what becomes of a delivery after each try.

use super::{AccountEvent, Topic};
use berth_core::{AccountId, Error, Result, WebhookId};
use chrono::{DateTime, TimeDelta, Utc};
use std::fmt;

/// Most webhooks of an account.
pub const MAX_WEBHOOKS: i64 = 10;
/// How long a delivery is tried.
const PATIENCE: TimeDelta = TimeDelta::hours(24);
/// How long deliveries that are over are kept.
pub const KEPT: TimeDelta = TimeDelta::days(30);
/// Longest wait between two tries.
const MAX_WAIT: TimeDelta = TimeDelta::hours(1);
/// HTTP status by which a receiver says that it is no receiver any more.
const GONE: u16 = 410;

/// Whether a webhook is told anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum WebhookState {
    /// It is told.
    Enabled,
    /// It is told nothing until it is enabled again.
    Disabled,
    /// It is forgotten as soon as Vault has forgotten its key.
    Deleting,
}

/// What can happen to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookChange {
    /// Its account wants it told again.
    Enable,
    /// It did not take anything for long.
    Disable,
    /// Its account does not want it any more.
    Delete,
}

impl WebhookState {
    /// What a change makes of it; what is so already stays so.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when it is being deleted.
    pub fn apply(self, change: WebhookChange) -> Result<Self> {
        use WebhookChange::{Delete, Disable, Enable};
        use WebhookState::{Deleting, Disabled, Enabled};
        match (self, change) {
            (Enabled | Disabled, Enable) => Ok(Enabled),
            (Enabled | Disabled, Disable) => Ok(Disabled),
            (Enabled | Disabled | Deleting, Delete) => Ok(Deleting),
            (Deleting, Enable | Disable) => Err(Error::precondition(
                "WEBHOOK_STATE",
                "the webhook is being deleted; create another",
            )),
        }
    }
}

/// A webhook about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// Whose.
    pub account_id: AccountId,
    /// Where to send.
    pub url: String,
    /// What to send; none means all.
    pub topics: Vec<Topic>,
}

/// A URL that is told what its account should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Identifier.
    pub id: WebhookId,
    /// Whose.
    pub account_id: AccountId,
    /// Where to send.
    pub url: String,
    /// What to send; none means all.
    pub topics: Vec<Topic>,
    /// Whether it is told anything.
    pub state: WebhookState,
    /// Why, for people.
    pub status_reason: String,
    /// When a delivery last succeeded.
    pub success_time: Option<DateTime<Utc>>,
    /// Grows with every change.
    pub version: i64,
    /// When it was made.
    pub create_time: DateTime<Utc>,
}

/// Where an event is on its way to a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum DeliveryState {
    /// It is tried until it succeeds or is given up.
    Pending,
    /// The receiver took it.
    Delivered,
    /// It was given up.
    Failed,
}

/// One event on its way to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What is delivered.
    pub event: AccountEvent,
    /// Where it is on its way.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: i32,
    /// What came of the last try.
    pub answer: Option<Answer>,
    /// When it was tried last.
    pub attempt_time: Option<DateTime<Utc>>,
    /// When it is tried next.
    pub next_time: DateTime<Utc>,
    /// Since when it is on its way.
    pub create_time: DateTime<Utc>,
}

/// What came of one call to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status, if there was an answer.
    pub http_status: Option<u16>,
    /// How long it took.
    pub latency: TimeDelta,
    /// What is wrong and what to do; empty when the receiver took it.
    pub problem: String,
}

impl Answer {
    /// Whether the receiver took it.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.problem.is_empty()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_success() {
            f.write_str("it was taken")
        } else {
            f.write_str(&self.problem)
        }
    }
}

/// What becomes of a delivery after a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It is done.
    Delivered,
    /// It is tried again.
    Retry {
        /// When.
        at: DateTime<Utc>,
    },
    /// It is given up.
    GiveUp {
        /// Why its webhook is told nothing any more, if so.
        disable: Option<String>,
    },
}

impl Delivery {
    /// What becomes of it after a try that ends now. `jitter` is from 0 to 1,
    /// `success` when its webhook last took anything.
    #[must_use]
    pub fn after(
        &self,
        answer: &Answer,
        success: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        jitter: f64,
    ) -> Next {
        if answer.is_success() {
            return Next::Delivered;
        }
        if answer.http_status == Some(GONE) {
            return Next::GiveUp {
                disable: Some(format!("it says that it is gone: {answer}")),
            };
        }
        let at = now + wait(self.attempts, jitter);
        if at <= self.create_time + PATIENCE {
            return Next::Retry { at };
        }
        let silent = success.is_none_or(|success| success < self.create_time);
        Next::GiveUp {
            disable: silent.then(|| {
                format!(
                    "it took nothing for {} hours: {answer}",
                    PATIENCE.num_hours()
                )
            }),
        }
    }
}

/// The wait after so many tries before this one: five seconds, three times as
/// long each time up to an hour, less up to a quarter so that a crowd spreads.
fn wait(attempts: i32, jitter: f64) -> TimeDelta {
    let exponent = u32::try_from(attempts.clamp(0, 10)).unwrap_or(10);
    let full = TimeDelta::seconds(5 * 3_i64.pow(exponent)).min(MAX_WAIT);
    let percent = 75.0 + 25.0 * jitter.clamp(0.0, 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "from 75 to 100")]
    let percent = percent as i32;
    full * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_core::EventId;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn delivery(attempts: i32) -> Delivery {
        Delivery {
            event: AccountEvent {
                id: EventId::generate(),
                account_id: AccountId::generate(),
                topic: None,
                object: None,
                stop_time: None,
                message: String::new(),
                create_time: at(0),
            },
            state: DeliveryState::Pending,
            attempts,
            answer: None,
            attempt_time: None,
            next_time: at(0),
            create_time: at(0),
        }
    }

    fn answer(http_status: u16, problem: &str) -> Answer {
        Answer {
            http_status: Some(http_status),
            latency: TimeDelta::milliseconds(3),
            problem: problem.to_owned(),
        }
    }

    #[test]
    fn every_state_and_change_of_a_webhook_is_decided() {
        use WebhookChange::{Delete, Disable, Enable};
        use WebhookState::{Deleting, Disabled, Enabled};
        let table = [
            (Enabled, [Some(Enabled), Some(Disabled), Some(Deleting)]),
            (Disabled, [Some(Enabled), Some(Disabled), Some(Deleting)]),
            (Deleting, [None, None, Some(Deleting)]),
        ];
        for (state, row) in table {
            for (change, expected) in [Enable, Disable, Delete].into_iter().zip(row) {
                assert_eq!(state.apply(change).ok(), expected, "{state:?} {change:?}");
            }
        }
    }

    #[test]
    fn a_failed_delivery_is_tried_for_a_day_ever_more_seldom() {
        let mut now = at(0);
        let mut waits = Vec::new();
        for attempts in 0.. {
            match delivery(attempts).after(&answer(500, "it answered 500"), None, now, 1.0) {
                Next::Retry { at } => {
                    waits.push((at - now).num_seconds());
                    now = at;
                }
                Next::GiveUp { disable } => {
                    let reason = disable.unwrap();
                    assert_eq!(reason, "it took nothing for 24 hours: it answered 500");
                    break;
                }
                Next::Delivered => panic!("it failed"),
            }
        }
        assert_eq!(waits[..7], [5, 15, 45, 135, 405, 1215, 3600]);
        assert!(waits[7..].iter().all(|wait| *wait == 3600));
        assert!(now > at(23 * 3600) && now <= at(24 * 3600), "{now}");
        // Jitter makes it less, never more.
        let Next::Retry { at: early } =
            delivery(6).after(&answer(500, "it answered 500"), None, at(0), 0.0)
        else {
            panic!("it is tried again");
        };
        assert_eq!(early, at(2700));
    }

    #[test]
    fn a_webhook_that_takes_others_is_not_disabled_for_one_that_it_never_took() {
        let after = |success: i64| {
            let failed = answer(500, "it answered 500");
            delivery(30).after(&failed, Some(at(success)), at(24 * 3600), 0.5)
        };
        assert_eq!(after(10), Next::GiveUp { disable: None });
        assert!(matches!(after(-1), Next::GiveUp { disable: Some(_) }));
    }

    #[test]
    fn success_ends_a_delivery_and_gone_disables_its_webhook() {
        let taken = delivery(3).after(&answer(204, ""), None, at(0), 0.5);
        assert_eq!(taken, Next::Delivered);
        let gone = delivery(0).after(&answer(410, "it answered 410"), Some(at(5)), at(0), 0.5);
        assert!(matches!(gone, Next::GiveUp { disable: Some(_) }));
    }
}
