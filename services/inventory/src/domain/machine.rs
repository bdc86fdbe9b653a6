//! The life of one machine.

use super::{Address, Claim, Facts, HostKey};
use berth_core::{AccountId, Error, LeaseId, MachineId, Name, Result, SupplierId};
use chrono::{DateTime, Utc};
use std::fmt;

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// Known, and not yet measured as it is described now.
    Enrolling,
    /// Being wiped, then measured.
    Verifying,
    /// Clean, measured and free.
    Available,
    /// The same, and kept out of placement by a person.
    Cordoned,
    /// Held for a lease that is not active yet.
    Reserved,
    /// In use by a lease.
    Leased,
    /// Being wiped.
    Wiping,
    /// Something is wrong.
    Faulty,
    /// Gone.
    Retired,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enrolling => "ENROLLING",
            Self::Verifying => "VERIFYING",
            Self::Available => "AVAILABLE",
            Self::Cordoned => "CORDONED",
            Self::Reserved => "RESERVED",
            Self::Leased => "LEASED",
            Self::Wiping => "WIPING",
            Self::Faulty => "FAULTY",
            Self::Retired => "RETIRED",
        })
    }
}

/// What can happen to a machine, but for being reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody wants it measured.
    Verify,
    /// It was measured and is what its supplier says.
    Verified,
    /// Nothing of Berth's is left on it.
    Wiped,
    /// It could not be measured or wiped, or is not what its supplier says.
    Failed(String),
    /// Whoever works with it found something wrong.
    Problem(String),
    /// A person keeps it out of placement.
    Cordon,
    /// A person lets it into placement again.
    Uncordon,
    /// The lease that reserved it became active.
    Confirm,
    /// The lease that held it is over.
    Release,
    /// It is described otherwise than when it was measured.
    Edited,
    /// The supplier takes it out for good.
    Retire,
}

impl Event {
    fn verb(&self) -> &'static str {
        match self {
            Self::Verify => "verified",
            Self::Verified => "recorded as verified",
            Self::Wiped => "recorded as wiped",
            Self::Failed(_) => "recorded as failed",
            Self::Problem(_) => "reported",
            Self::Cordon => "cordoned",
            Self::Uncordon => "uncordoned",
            Self::Confirm => "confirmed",
            Self::Release => "released",
            Self::Edited => "changed",
            Self::Retire => "retired",
        }
    }
}

/// One computer that a supplier lends.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Machine {
    /// Identifier.
    pub id: MachineId,
    /// The account of its supplier.
    pub account_id: AccountId,
    /// Who lends it.
    pub supplier_id: SupplierId,
    /// Name for people; unique in the supplier.
    pub name: Name,
    /// Where its sshd listens.
    pub address: Address,
    /// User that Berth signs in as.
    pub login: Name,
    /// The pinned host key.
    pub host_key: HostKey,
    /// What the supplier says it has.
    #[sqlx(json)]
    pub claim: Claim,
    /// Where it stands.
    pub region: String,
    /// Where it is in its life.
    pub state: State,
    /// Why, for people.
    pub status_reason: String,
    /// A person keeps it out of placement.
    pub cordoned: bool,
    /// It was not wiped since somebody used it or asked to verify it.
    pub dirty: bool,
    /// It becomes FAULTY once its lease is over.
    pub suspect: bool,
    /// Number of its latest verification or wipe.
    pub attempt: i64,
    /// When that began, or last failed for a passing reason.
    pub work_time: DateTime<Utc>,
    /// The lease that holds it.
    pub lease_id: Option<LeaseId>,
    /// What was measured.
    #[sqlx(json(nullable))]
    pub facts: Option<Facts>,
    /// When it was measured.
    pub verify_time: Option<DateTime<Utc>>,
    /// Grows with every change.
    pub version: i64,
    /// When it was enrolled.
    pub create_time: DateTime<Utc>,
}

/// A machine about to be enrolled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMachine {
    /// Who lends it.
    pub supplier_id: SupplierId,
    /// Name for people.
    pub name: Name,
    /// Where its sshd listens.
    pub address: Address,
    /// User that Berth signs in as.
    pub login: Name,
    /// The pinned host key.
    pub host_key: HostKey,
    /// What it is said to have.
    pub claim: Claim,
    /// Where it stands.
    pub region: String,
}

impl Machine {
    /// What an event makes of this machine.
    ///
    /// # Errors
    ///
    /// [`Error::Precondition`] when its state forbids the event.
    pub fn apply(&self, event: Event, now: DateTime<Utc>) -> Result<Self> {
        let mut after = self.clone();
        match event {
            Event::Cordon => after.cordoned = true,
            Event::Uncordon => after.cordoned = false,
            Event::Confirm => after.dirty = true,
            Event::Wiped => after.dirty = false,
            Event::Problem(_) => after.suspect = true,
            Event::Edited => after.suspect = false,
            Event::Verify => {
                after.suspect = false;
                // What is under way goes on.
                after.dirty |= self.state != State::Verifying;
            }
            Event::Verified | Event::Failed(_) | Event::Release | Event::Retire => {}
        }
        after.state = after.next(&event)?;
        if after.state == State::Retired && self.state == State::Retired {
            return Ok(self.clone());
        }
        if (after.state, after.work()) != (self.state, self.work()) {
            let begins = after.is_worked_on();
            let called_off = self.is_worked_on()
                && !matches!(event, Event::Verified | Event::Wiped | Event::Failed(_));
            if begins || called_off {
                after.attempt += 1;
                after.work_time = now;
            }
            if !after.is_held() {
                after.lease_id = None;
            }
            if !after.suspect {
                after.status_reason.clear();
            }
        }
        if let Event::Failed(reason) | Event::Problem(reason) = event {
            after.status_reason = reason;
        }
        Ok(after)
    }

    /// The state after an event, with the flags as the event leaves them.
    pub(super) fn next(&self, event: &Event) -> Result<State> {
        use State::{
            Available, Cordoned, Enrolling, Faulty, Leased, Reserved, Retired, Verifying, Wiping,
        };
        match (self.state, event) {
            (Enrolling | Verifying | Available | Cordoned | Faulty, Event::Verify) => Ok(Verifying),
            (Verifying, Event::Wiped) => Ok(Verifying),
            (Verifying, Event::Verified) | (Wiping, Event::Wiped) => Ok(self.at_rest()),
            (Verifying | Wiping, Event::Failed(_)) => Ok(Faulty),

            // In use, it goes on; the rest stops here.
            (Reserved | Leased, Event::Problem(_)) => Ok(self.state),
            (Enrolling | Verifying | Available | Cordoned | Wiping | Faulty, Event::Problem(_)) => {
                Ok(Faulty)
            }

            (Available | Cordoned, Event::Cordon) => Ok(Cordoned),
            (Available | Cordoned, Event::Uncordon) => Ok(Available),
            (
                Enrolling | Verifying | Reserved | Leased | Wiping | Faulty,
                Event::Cordon | Event::Uncordon,
            ) => Ok(self.state),

            (Reserved | Leased, Event::Confirm) => Ok(Leased),
            (Reserved | Leased, Event::Release) => Ok(self.at_rest()),

            (Enrolling | Verifying | Available | Cordoned | Faulty, Event::Edited) => Ok(Enrolling),

            (
                Enrolling | Verifying | Available | Cordoned | Wiping | Faulty | Retired,
                Event::Retire,
            )
            | (Retired, Event::Problem(_)) => Ok(Retired),

            (Reserved | Leased | Wiping | Retired, Event::Verify | Event::Edited)
            | (
                Enrolling | Available | Cordoned | Reserved | Leased | Wiping | Faulty | Retired,
                Event::Verified,
            )
            | (
                Enrolling | Available | Cordoned | Reserved | Leased | Faulty | Retired,
                Event::Wiped,
            )
            | (
                Enrolling | Available | Cordoned | Reserved | Leased | Faulty | Retired,
                Event::Failed(_),
            )
            | (Retired, Event::Cordon | Event::Uncordon)
            | (
                Enrolling | Verifying | Available | Cordoned | Wiping | Faulty | Retired,
                Event::Confirm | Event::Release,
            )
            | (Reserved | Leased, Event::Retire) => Err(self.refuse(event)),
        }
    }

    /// Where a machine goes that nobody measures, wipes or holds any more.
    fn at_rest(&self) -> State {
        match (self.suspect, self.dirty, self.cordoned) {
            (true, _, _) => State::Faulty,
            (false, true, _) => State::Wiping,
            (false, false, true) => State::Cordoned,
            (false, false, false) => State::Available,
        }
    }

    fn refuse(&self, event: &Event) -> Error {
        let hint = match self.state {
            State::Reserved | State::Leased => "; wait until its lease is over",
            State::Wiping => "; wait until it is wiped",
            State::Enrolling
            | State::Verifying
            | State::Available
            | State::Cordoned
            | State::Faulty
            | State::Retired => "",
        };
        Error::precondition(
            "MACHINE_STATE",
            format!(
                "machine `{}` is {} and cannot be {}{hint}",
                self.name,
                self.state,
                event.verb()
            ),
        )
    }

    /// Whether provisioning has something to do with it.
    #[must_use]
    pub fn is_worked_on(&self) -> bool {
        self.work().is_some()
    }

    /// Whether a lease holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        matches!(self.state, State::Reserved | State::Leased)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATES: [State; 9] = [
        State::Enrolling,
        State::Verifying,
        State::Available,
        State::Cordoned,
        State::Reserved,
        State::Leased,
        State::Wiping,
        State::Faulty,
        State::Retired,
    ];

    fn events() -> [Event; 11] {
        [
            Event::Verify,
            Event::Verified,
            Event::Wiped,
            Event::Failed("no".to_owned()),
            Event::Problem("no".to_owned()),
            Event::Cordon,
            Event::Uncordon,
            Event::Confirm,
            Event::Release,
            Event::Edited,
            Event::Retire,
        ]
    }

    fn machine(state: State) -> Machine {
        let held = matches!(state, State::Reserved | State::Leased);
        Machine {
            id: MachineId::generate(),
            account_id: AccountId::generate(),
            supplier_id: SupplierId::generate(),
            name: "m1".parse().unwrap(),
            address: "192.0.2.1".parse().unwrap(),
            login: "berth".parse().unwrap(),
            host_key: "SHA256:ma75pPsnLPi65QKAW+qKiUw+CyyqXr5Enp6PIE1c7/k"
                .parse()
                .unwrap(),
            claim: Claim::default(),
            region: String::new(),
            state,
            status_reason: String::new(),
            cordoned: state == State::Cordoned,
            dirty: matches!(state, State::Enrolling | State::Leased | State::Wiping),
            suspect: false,
            attempt: 7,
            work_time: DateTime::UNIX_EPOCH,
            lease_id: held.then(LeaseId::generate),
            facts: Some(Facts::default()),
            verify_time: None,
            version: 1,
            create_time: DateTime::UNIX_EPOCH,
        }
    }

    fn after(state: State, event: Event) -> Option<State> {
        let after = machine(state).apply(event, DateTime::UNIX_EPOCH).ok()?;
        Some(after.state)
    }

    #[test]
    fn every_state_and_event_is_decided() {
        use State::{
            Available as A, Cordoned as C, Enrolling as E, Faulty as F, Leased as L, Reserved as R,
            Retired as X, Verifying as V, Wiping as W,
        };
        const N: Option<State> = None;
        let s = Some;
        // Verify, Verified, Wiped, Failed, Problem, Cordon, Uncordon, Confirm, Release, Edited, Retire
        let table = [
            [s(V), N, N, N, s(F), s(E), s(E), N, N, s(E), s(X)],
            [s(V), s(A), s(V), s(F), s(F), s(V), s(V), N, N, s(E), s(X)],
            [s(V), N, N, N, s(F), s(C), s(A), N, N, s(E), s(X)],
            [s(V), N, N, N, s(F), s(C), s(A), N, N, s(E), s(X)],
            [N, N, N, N, s(R), s(R), s(R), s(L), s(A), N, N],
            [N, N, N, N, s(L), s(L), s(L), s(L), s(W), N, N],
            [N, N, s(A), s(F), s(F), s(W), s(W), N, N, N, s(X)],
            [s(V), N, N, N, s(F), s(F), s(F), N, N, s(E), s(X)],
            [N, N, N, N, s(X), N, N, N, N, N, s(X)],
        ];
        for (state, row) in STATES.into_iter().zip(table) {
            for (event, expected) in events().into_iter().zip(row) {
                assert_eq!(after(state, event.clone()), expected, "{state} {event:?}");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_machine_its_state_and_the_way_out() {
        let refused = machine(State::Leased).apply(Event::Retire, DateTime::UNIX_EPOCH);
        assert_eq!(
            refused.unwrap_err().to_string(),
            "machine `m1` is LEASED and cannot be retired; wait until its lease is over"
        );
    }

    #[test]
    fn a_verification_wipes_first_and_begins_once() {
        use crate::domain::Work;
        let now = DateTime::UNIX_EPOCH;
        let free = machine(State::Available);
        let wiping = free.apply(Event::Verify, now).unwrap();
        assert_eq!((wiping.work(), wiping.attempt), (Some(Work::Wipe), 8));
        assert_eq!(wiping.apply(Event::Verify, now).unwrap(), wiping);
        let measuring = wiping.apply(Event::Wiped, now).unwrap();
        assert_eq!(measuring.state, State::Verifying);
        assert_eq!(
            (measuring.work(), measuring.attempt),
            (Some(Work::Measure), 9)
        );
        assert_eq!(measuring.apply(Event::Verify, now).unwrap(), measuring);
    }

    proptest! {
        /// Whatever happens in whatever order, nobody gets a used machine.
        #[test]
        fn no_history_frees_an_unwiped_machine(history in prop::collection::vec(0_usize..12, 0..60)) {
            let mut machine = machine(State::Enrolling);
            for step in history {
                let next = match events().get(step) {
                    Some(event) => machine.apply(event.clone(), DateTime::UNIX_EPOCH),
                    // What the statement of the store does.
                    None if machine.state == State::Available => Ok(Machine {
                        state: State::Reserved,
                        lease_id: Some(LeaseId::generate()),
                        ..machine.clone()
                    }),
                    None => continue,
                };
                let Ok(next) = next else { continue };
                let free = matches!(next.state, State::Available | State::Cordoned | State::Reserved);
                prop_assert!(!free || !next.dirty);
                prop_assert!(next.state != State::Leased || next.dirty);
                prop_assert!(next.work().is_none() || !next.is_held());
                prop_assert_eq!(next.is_held(), next.lease_id.is_some());
                prop_assert!(next.attempt >= machine.attempt);
                prop_assert!(next.state != State::Available || !next.cordoned);
                prop_assert!(next.state != State::Cordoned || next.cordoned);
                machine = next;
            }
        }
    }
}
