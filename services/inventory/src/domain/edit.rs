//! Changing what a supplier states about a machine.

use super::{Address, Claim, Event, HostKey, Machine};
use berth_core::{Name, Result};
use chrono::{DateTime, Utc};

/// What a supplier states anew; nothing where it stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    /// Where its sshd listens.
    pub address: Option<Address>,
    /// User that Berth signs in as.
    pub login: Option<Name>,
    /// The pinned host key.
    pub host_key: Option<HostKey>,
    /// What it is said to have.
    pub claim: Option<Claim>,
    /// Where it stands.
    pub region: Option<String>,
}

impl Machine {
    /// Changes what the supplier states. What was measured under another
    /// description has to be measured again.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] while the machine is in use, wiped or gone.
    pub fn edit(&self, edit: Edit, now: DateTime<Utc>) -> Result<Self> {
        let mut changed = self.clone();
        if let Some(region) = edit.region {
            changed.region = region;
        }
        // The same key is measured already; it may only become better known.
        let host_key = match edit.host_key {
            Some(key) if key.is_same_key(&self.host_key) => {
                if key.is_whole() {
                    changed.host_key = key;
                }
                None
            }
            other => other,
        };
        let before = changed.clone();
        let mut fields = Vec::new();
        set(&mut changed.address, edit.address, "address", &mut fields);
        set(&mut changed.login, edit.login, "user", &mut fields);
        set(&mut changed.host_key, host_key, "host key", &mut fields);
        set(&mut changed.claim, edit.claim, "claim", &mut fields);
        if changed == before {
            // Refuses as well while the machine is in use.
            self.next(&Event::Edited)?;
            return Ok(changed);
        }
        let mut after = changed.apply(Event::Edited, now)?;
        after.status_reason = format!("its {} changed; verify it again", fields.join(" and "));
        Ok(after)
    }
}

fn set<T: PartialEq>(
    field: &mut T,
    value: Option<T>,
    name: &'static str,
    changed: &mut Vec<&'static str>,
) {
    if let Some(value) = value.filter(|value| value != field) {
        *field = value;
        changed.push(name);
    }
}
