//! The life of a validator: its states, what can happen to it, and what comes
//! of it.

use berth_core::{Error, Result};

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
}

impl State {
    /// What comes of an event; the same state where it changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when the state forbids it.
    pub fn apply(self, event: Event) -> Result<Self> {
        use Event::{Disable, Enable, EnableFresh, Remove};
        use State::{Active, Disabled, Quarantined, Removed};
        let forbidden = |what| Err(Error::precondition("VALIDATOR_STATE", what));
        match (self, event) {
            (Quarantined | Active | Disabled, EnableFresh) | (Active | Disabled, Enable) => {
                Ok(Active)
            }
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
            (Removed, Enable | EnableFresh) => {
                forbidden("the validator is REMOVED and its key is destroyed")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, State};

    #[test]
    fn every_event_in_every_state_leads_where_the_table_says() {
        use Event::{Disable, Enable, EnableFresh, Remove};
        use State::{Active, Disabled, Quarantined, Removed};
        let table = [
            (Quarantined, [None, Some(Active), None, Some(Removed)]),
            (Active, [Some(Active), Some(Active), Some(Disabled), None]),
            (
                Disabled,
                [Some(Active), Some(Active), Some(Disabled), Some(Removed)],
            ),
            (Removed, [None, None, Some(Removed), Some(Removed)]),
        ];
        for (state, row) in table {
            for (event, after) in [Enable, EnableFresh, Disable, Remove].into_iter().zip(row) {
                assert_eq!(state.apply(event).ok(), after, "{state:?} {event:?}");
            }
        }
    }
}
