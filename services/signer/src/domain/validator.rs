//! The life of a validator: its states, what can happen to it, and what comes
//! of it.

use super::{Address, PublicKey, Watermarks};
use berth_core::{Error, Fence, NodeId, Result};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Where a validator is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// Not yet known to be silent elsewhere: signs nothing.
    Quarantined,
    /// Signs for the placement that holds its grant.
    Active,
    /// Signs nothing until it is enabled again.
    Disabled,
    /// Its key is destroyed.
    Removed,
}

/// What can happen to a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Its owner wants it to sign.
    Enable,
    /// Its owner states, too, that the key is used nowhere else.
    EnableFresh,
    /// Its owner wants it to be silent.
    Disable,
    /// Its key was destroyed.
    Remove,
    /// Nothing of it was seen on its chain for long enough.
    Silence,
}

impl State {
    /// What comes of an event; the same state where it changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when the state forbids it.
    pub fn apply(self, event: Event) -> Result<Self> {
        use Event::{Disable, Enable, EnableFresh, Remove, Silence};
        use State::{Active, Disabled, Quarantined, Removed};
        let forbidden = |what| Err(Error::precondition("VALIDATOR_STATE", what));
        match (self, event) {
            (Quarantined | Active | Disabled, EnableFresh)
            | (Active | Disabled, Enable)
            | (Quarantined, Silence) => Ok(Active),
            (Quarantined, Enable) => {
                forbidden("the validator is QUARANTINED; state that its key is used nowhere else")
            }
            (Active | Disabled, Disable) => Ok(Disabled),
            // Enabling it again would be the way around the quarantine.
            (Quarantined, Disable) => {
                forbidden("the validator is QUARANTINED and signs nothing already")
            }
            (Quarantined | Disabled, Remove) | (Removed, Remove | Disable) => Ok(Removed),
            (Active, Remove) => forbidden("the validator is ACTIVE; disable it first"),
            // Its owner decided otherwise meanwhile.
            (Active | Disabled | Removed, Silence) => {
                forbidden("the validator is not QUARANTINED any more")
            }
            (Removed, Enable | EnableFresh) => {
                forbidden("the validator is REMOVED and its key is destroyed")
            }
        }
    }
}

/// An on-chain identity that signs, as its account sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Its identifier.
    pub public_key: PublicKey,
    /// The network that it signs for.
    pub chain: String,
    /// Where it is in its life.
    pub state: State,
    /// Why, for people.
    pub status_reason: String,
    /// The node that it belongs to.
    pub node_id: Option<NodeId>,
    /// The fence under which it signs.
    pub fence: Fence,
    /// Whether the placement of that fence may sign.
    pub granted: bool,
    /// The one address that a registration may name.
    pub fee_recipient: Option<Address>,
    /// The highest gas limit that a registration may name; 0 for none at all.
    pub gas_limit: u64,
    /// What was signed or imported last.
    pub watermarks: Watermarks,
    /// The request that brought its key; `None` until the key is in Vault.
    pub request_id: Option<Uuid>,
    /// Up to which withdrawal of its key its owner took them back.
    pub released: i64,
    /// Whether what it signed was given away, so that it may sign elsewhere.
    pub exported: bool,
    /// The highest withdrawal that this row had written to Vault. A higher one
    /// there tells that the row is older than what its owner did.
    pub noted: i64,
    /// The newest epoch in which its chain showed it while it was QUARANTINED.
    pub active_epoch: Option<u64>,
    /// When its key came; what its chain shows of it before says nothing.
    pub quarantine_time: DateTime<Utc>,
    /// Grows with each change by its owner.
    pub version: i64,
    /// When it was first heard of.
    pub create_time: DateTime<Utc>,
}

fn exported() -> Error {
    Error::precondition(
        "PROTECTION_EXPORTED",
        "what the key signed was given away since it was disabled, or may have been: state that \
         it is used nowhere else, or import what it signed there",
    )
}

/// What is known of a key's past when it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// Its owner states that it was never used and is used nowhere else.
    Fresh,
    /// What it signed is imported with it.
    Imported,
    /// Nothing.
    Unknown,
}

impl Validator {
    /// What comes of an event.
    ///
    /// # Errors
    ///
    /// As [`State::apply`], and [`Error::Precondition`] where the key is to sign
    /// that never came to Vault.
    pub fn apply(&self, event: Event) -> Result<Self> {
        let state = self.state.apply(event)?;
        if state == State::Active && self.request_id.is_none() {
            let why = "the key of the validator is not in Vault yet; import it again";
            return Err(Error::precondition("VALIDATOR_STATE", why));
        }
        if self.exported && event == Event::Enable {
            return Err(exported());
        }
        let why = match event {
            Event::Enable => "",
            Event::EnableFresh => "its owner states that its key is used nowhere else",
            Event::Disable => "disabled by its owner",
            Event::Remove => "its key is destroyed",
            Event::Silence => "nothing of it was seen on its chain",
        };
        let status_reason = if state == self.state {
            self.status_reason.clone()
        } else {
            why.to_owned()
        };
        Ok(Self {
            state,
            status_reason,
            exported: self.exported && event != Event::EnableFresh,
            noted: match event {
                Event::Disable => self.noted.max(self.released.saturating_add(1)),
                Event::Enable | Event::EnableFresh | Event::Remove | Event::Silence => self.noted,
            },
            ..self.clone()
        })
    }

    /// That it may be enabled without a word about its past, where Vault knows
    /// withdrawals up to `withdrawn`. One of which this row knows nothing may be
    /// an export.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] where only its owner can know.
    pub fn remembers(&self, withdrawn: i64) -> Result<()> {
        if withdrawn > self.noted.max(self.released) {
            return Err(Error::precondition(
                "PROTECTION_EXPORTED",
                "this database is older than what was decided of the key: what it signed may have \
                 been given away since; state that it is used nowhere else",
            ));
        }
        Ok(())
    }

    /// That nothing newer contradicts silence from an epoch on: who saw it may
    /// say so late, after somebody who saw the key at work.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when it was seen in that epoch or after it.
    pub fn silent_since(&self, first: u64) -> Result<()> {
        match self.active_epoch {
            Some(active) if active >= first => Err(Error::precondition(
                "OBSERVATION_CONTRADICTED",
                format!("the chain showed the key in epoch {active}"),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// It waits on in quarantine, for this reason.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when it does not wait.
    pub fn stays(&self, status_reason: String) -> Result<Self> {
        self.state.apply(Event::Silence)?;
        Ok(Self {
            status_reason,
            ..self.clone()
        })
    }

    /// Its key came with a request and is in Vault now.
    ///
    /// # Errors
    ///
    /// As [`State::apply`].
    pub fn held(&self, request_id: Uuid, past: Past, now: DateTime<Utc>) -> Result<Self> {
        let held = Self {
            request_id: Some(request_id),
            quarantine_time: now,
            ..self.clone()
        };
        if held.state != State::Quarantined {
            return Ok(held);
        }
        match past {
            Past::Fresh => held.apply(Event::EnableFresh),
            Past::Imported => Ok(Self {
                status_reason: "what its key signed before was imported".to_owned(),
                ..held.apply(Event::EnableFresh)?
            }),
            Past::Unknown => Ok(Self {
                status_reason: "imported without what its key signed before, and no observer of \
                                its chain has said anything of it; state that the key is used \
                                nowhere else"
                    .to_owned(),
                ..held
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_in_every_state_leads_where_the_table_says() {
        use Event::{Disable, Enable, EnableFresh, Remove, Silence};
        use State::{Active, Disabled, Quarantined, Removed};
        let table = [
            (
                Quarantined,
                [None, Some(Active), None, Some(Removed), Some(Active)],
            ),
            (
                Active,
                [Some(Active), Some(Active), Some(Disabled), None, None],
            ),
            (
                Disabled,
                [
                    Some(Active),
                    Some(Active),
                    Some(Disabled),
                    Some(Removed),
                    None,
                ],
            ),
            (Removed, [None, None, Some(Removed), Some(Removed), None]),
        ];
        for (state, row) in table {
            for (event, after) in [Enable, EnableFresh, Disable, Remove, Silence]
                .into_iter()
                .zip(row)
            {
                assert_eq!(state.apply(event).ok(), after, "{state:?} {event:?}");
            }
        }
    }

    fn came(state: State, request_id: Option<Uuid>) -> Validator {
        Validator {
            public_key: PublicKey([1; 48]),
            chain: "ethereum-test".to_owned(),
            state,
            status_reason: String::new(),
            node_id: None,
            fence: Fence::NONE,
            granted: false,
            fee_recipient: None,
            gas_limit: 0,
            watermarks: Watermarks::default(),
            request_id,
            released: 0,
            exported: false,
            noted: 0,
            active_epoch: None,
            quarantine_time: DateTime::UNIX_EPOCH,
            version: 1,
            create_time: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_key_signs_once_it_is_held_and_its_past_is_known() {
        let (request, now) = (Uuid::from_u128(1), DateTime::from_timestamp(7, 0).unwrap());
        for (past, after) in [
            (Past::Fresh, State::Active),
            (Past::Imported, State::Active),
            (Past::Unknown, State::Quarantined),
        ] {
            let held = came(State::Quarantined, None).held(request, past, now);
            let held = held.unwrap();
            assert_eq!((held.state, held.request_id), (after, Some(request)));
            assert_eq!(held.quarantine_time, now);
        }
        // What its owner decided meanwhile stays.
        let held = came(State::Disabled, None).held(request, Past::Fresh, now);
        assert_eq!(held.unwrap().state, State::Disabled);
    }

    #[test]
    fn a_key_whose_past_was_given_away_needs_its_owners_word() {
        let disabled = Validator {
            exported: true,
            ..came(State::Disabled, Some(Uuid::from_u128(1)))
        };
        assert!(disabled.apply(Event::Enable).is_err());
        assert!(disabled.apply(Event::Disable).unwrap().exported);
        assert!(!disabled.apply(Event::EnableFresh).unwrap().exported);
        let active = came(State::Active, Some(Uuid::from_u128(1)));
        let disabled = active.apply(Event::Disable).unwrap();
        for (row, known, lost) in [(active, 0, 1), (disabled, 1, 2)] {
            assert!(row.remembers(known).is_ok() && row.remembers(lost).is_err());
        }
    }

    #[test]
    fn no_word_of_its_owner_makes_a_validator_without_a_key_sign() {
        for state in [State::Quarantined, State::Disabled] {
            assert!(came(state, None).apply(Event::EnableFresh).is_err());
            let held = came(state, Some(Uuid::from_u128(1)));
            assert!(held.apply(Event::EnableFresh).is_ok());
        }
    }
}
