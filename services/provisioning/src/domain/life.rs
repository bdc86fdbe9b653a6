//! The life of a node: its states, what can happen to it, and what comes of it.

use std::fmt;

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum State {
    /// Accepted.
    Pending,
    /// Getting a machine.
    Placing,
    /// Being deployed.
    Launching,
    /// Its containers run and it answers.
    Running,
    /// Something is wrong, and Berth works on it.
    Degraded,
    /// Being stopped.
    Stopping,
    /// Stopped by its owner; data stays on the machine.
    Stopped,
    /// Being removed.
    Retiring,
    /// Gone.
    Retired,
    /// Needs a person.
    Failed,
}

impl State {
    /// Whether Berth works towards the spec.
    #[must_use]
    pub fn is_reconciling(self) -> bool {
        match self {
            Self::Pending
            | Self::Placing
            | Self::Launching
            | Self::Degraded
            | Self::Stopping
            | Self::Retiring => true,
            Self::Running | Self::Stopped | Self::Retired | Self::Failed => false,
        }
    }
}

impl State {
    /// Whether an upgrade that is under way goes on.
    #[must_use]
    pub fn keeps_upgrade(self) -> bool {
        match self {
            Self::Launching | Self::Running | Self::Degraded => true,
            Self::Pending
            | Self::Placing
            | Self::Stopping
            | Self::Stopped
            | Self::Retiring
            | Self::Retired
            | Self::Failed => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "PENDING",
            Self::Placing => "PLACING",
            Self::Launching => "LAUNCHING",
            Self::Running => "RUNNING",
            Self::Degraded => "DEGRADED",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Retiring => "RETIRING",
            Self::Retired => "RETIRED",
            Self::Failed => "FAILED",
        })
    }
}

/// What can happen to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A worker took it up.
    Place,
    /// It has a machine.
    Launch,
    /// It answers.
    Answer,
    /// It does not answer, or something of it is not as it should be.
    Trouble,
    /// Its owner wants it to stop.
    Stop,
    /// All of it has stopped.
    Halt,
    /// Its owner wants it to start.
    Start,
    /// Its owner changed its settings.
    Reconfigure,
    /// Its owner wants another version.
    Upgrade,
    /// Another version takes the place of the one that runs.
    Switch,
    /// What was started in the place of another version did not come to answer.
    Overdue,
    /// Its owner wants Berth to try again.
    Retry,
    /// Its owner wants it gone.
    Retire,
    /// Nothing is left of it.
    Vanish,
    /// It cannot go on without a person.
    Fail,
}

/// The outcome of an event that was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Move to this state, even from the same one.
    To(State),
    /// It already happened, or changes nothing now.
    Stay,
}

impl State {
    /// What comes of an event; nothing when the state forbids it.
    #[must_use]
    pub fn after(self, event: Event) -> Option<Transition> {
        use Event::{
            Answer, Fail, Halt, Launch, Overdue, Place, Reconfigure, Retire, Retry, Start, Stop,
            Switch, Trouble, Upgrade, Vanish,
        };
        use State::{
            Degraded, Failed, Launching, Pending, Placing, Retired, Retiring, Running, Stopped,
            Stopping,
        };
        use Transition::{Stay, To};
        let next = match (event, self) {
            (Place, Pending) => To(Placing),
            (Place, Placing) => Stay,
            (Place, Launching | Running | Degraded | Stopping | Stopped | Failed) => return None,

            (Launch, Placing) => To(Launching),
            (Launch, Launching) => Stay,
            (Launch, Pending | Running | Degraded | Stopping | Stopped | Failed) => return None,

            (Answer, Launching | Degraded) => To(Running),
            (Answer, Running) => Stay,
            (Answer, Pending | Placing | Stopping | Stopped | Failed) => return None,

            (Trouble, Running) => To(Degraded),
            (Trouble, Launching | Degraded) => Stay,
            (Trouble, Pending | Placing | Stopping | Stopped | Failed) => return None,

            (Stop, Launching | Running | Degraded) => To(Stopping),
            (Stop, Stopping | Stopped) => Stay,
            (Stop, Pending | Placing | Failed) => return None,

            (Halt, Stopping) => To(Stopped),
            (Halt, Stopped) => Stay,
            (Halt, Pending | Placing | Launching | Running | Degraded | Failed) => return None,

            (Start, Stopped) => To(Launching),
            (Start, Launching | Running | Degraded) => Stay,
            (Start, Pending | Placing | Stopping | Failed) => return None,

            (Reconfigure, Launching | Running | Degraded) => To(Launching),
            // The settings take effect when it is launched next.
            (Reconfigure, Pending | Placing | Stopping | Stopped | Failed) => Stay,

            (Upgrade, Running | Degraded | Stopped) => Stay,
            (Upgrade, Pending | Placing | Launching | Stopping | Failed) => return None,

            (Switch, Launching | Running | Degraded) => To(Launching),
            (Switch, Pending | Placing | Stopping | Stopped | Failed) => return None,

            (Overdue, Launching | Running | Degraded) => To(Degraded),
            (Overdue, Pending | Placing | Stopping | Stopped | Failed) => return None,

            (Retry, Failed) => To(Placing),
            (
                Retry,
                Pending | Placing | Launching | Running | Degraded | Stopping | Stopped,
            ) => return None,

            (
                Fail,
                Pending | Placing | Launching | Running | Degraded | Stopping | Stopped,
            ) => To(Failed),
            (Fail, Failed) => Stay,

            (Retire, Retiring | Retired) => Stay,
            (
                Retire,
                Pending | Placing | Launching | Running | Degraded | Stopping | Stopped | Failed,
            ) => To(Retiring),

            (Vanish, Retiring) => To(Retired),
            (Vanish, Retired) => Stay,
            (
                Vanish,
                Pending | Placing | Launching | Running | Degraded | Stopping | Stopped | Failed,
            )
            // What goes away does nothing else.
            | (
                Place | Launch | Answer | Trouble | Stop | Halt | Start | Reconfigure | Upgrade
                | Switch | Overdue | Retry | Fail,
                Retiring | Retired,
            ) => return None,
        };
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State as S;

    const STATES: [State; 10] = [
        S::Pending,
        S::Placing,
        S::Launching,
        S::Running,
        S::Degraded,
        S::Stopping,
        S::Stopped,
        S::Retiring,
        S::Retired,
        S::Failed,
    ];
    const LETTERS: [char; 10] = ['P', 'L', 'U', 'R', 'D', 'G', 'O', 'X', 'E', 'F'];

    /// A row an event, a letter a state in the order of [`STATES`]: the state
    /// that comes of the event, `=` for no change, `.` for a refusal.
    #[test]
    fn every_state_and_event_is_decided() {
        let letter = |state: State| LETTERS[STATES.iter().position(|s| *s == state).unwrap()];
        let table = [
            (Event::Place, "L=........"),
            (Event::Launch, ".U=......."),
            (Event::Answer, "..R=R....."),
            (Event::Trouble, "..=D=....."),
            (Event::Stop, "..GGG==..."),
            (Event::Halt, ".....O=..."),
            (Event::Start, "..===.U..."),
            (Event::Reconfigure, "==UUU==..="),
            (Event::Upgrade, "...==.=..."),
            (Event::Switch, "..UUU....."),
            (Event::Overdue, "..DDD....."),
            (Event::Retry, ".........L"),
            (Event::Retire, "XXXXXXX==X"),
            (Event::Vanish, ".......E=."),
            (Event::Fail, "FFFFFFF..="),
        ];
        for (event, row) in table {
            let seen: String = STATES
                .iter()
                .map(|state| match state.after(event) {
                    Some(Transition::To(state)) => letter(state),
                    Some(Transition::Stay) => '=',
                    None => '.',
                })
                .collect();
            assert_eq!(seen, row, "{event:?}");
        }
    }
}
