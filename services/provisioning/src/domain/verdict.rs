//! Whether a deployed node is all right, from what its machine and its own
//! signals say.

use super::{Component, Health};

/// What is known of a deployed node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signals<'a> {
    /// The containers, or why they could not be seen.
    pub components: Result<&'a [Component], &'a str>,
    /// What its own signals say.
    pub health: Health,
    /// The same for people.
    pub health_reason: &'a str,
}

/// What follows for the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It answers. What people may still want to know; mostly empty.
    Good(String),
    /// It does not, and why.
    Bad(String),
}

/// Decides. A machine that cannot be seen is not a node that is down: its own
/// signals say more.
#[must_use]
pub fn verdict(signals: &Signals<'_>) -> Verdict {
    let stopped = signals.components.ok().and_then(|components| {
        components
            .iter()
            .find(|component| component.state != "running")
            .map(|component| format!("container `{}` is {}", component.name, component.state))
    });
    if let Some(stopped) = stopped {
        return Verdict::Bad(stopped);
    }
    let said = |fallback: &str| {
        if signals.health_reason.is_empty() {
            fallback.to_owned()
        } else {
            signals.health_reason.to_owned()
        }
    };
    let unseen = signals.components.err();
    match signals.health {
        Health::Healthy | Health::Syncing => Verdict::Good(unseen.unwrap_or_default().to_owned()),
        Health::Degraded => Verdict::Bad(said("the node says that something is wrong")),
        Health::Down => Verdict::Bad(said("the node does not answer")),
        Health::Unknown => {
            Verdict::Bad(unseen.map_or_else(|| said("no signal from the node yet"), str::to_owned))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(state: &str) -> Component {
        Component {
            name: "node".to_owned(),
            state: state.to_owned(),
            image_digest: String::new(),
            restarts: 0,
        }
    }

    #[test]
    fn a_node_is_good_when_it_answers_and_nothing_of_it_is_seen_to_be_down() {
        let (up, down) = ([component("running")], [component("restarting")]);
        let unseen = Err("the machine cannot be reached");
        let table = [
            (Ok(&up[..]), Health::Healthy, Ok("")),
            (Ok(&up[..]), Health::Syncing, Ok("")),
            (Ok(&up[..]), Health::Degraded, Err("said")),
            (Ok(&up[..]), Health::Down, Err("said")),
            (Ok(&up[..]), Health::Unknown, Err("said")),
            (
                Ok(&down[..]),
                Health::Healthy,
                Err("container `node` is restarting"),
            ),
            (
                Ok(&down[..]),
                Health::Down,
                Err("container `node` is restarting"),
            ),
            (unseen, Health::Healthy, Ok("the machine cannot be reached")),
            (unseen, Health::Syncing, Ok("the machine cannot be reached")),
            (unseen, Health::Down, Err("said")),
            (
                unseen,
                Health::Unknown,
                Err("the machine cannot be reached"),
            ),
        ];
        for (components, health, expected) in table {
            let signals = Signals {
                components,
                health,
                health_reason: "said",
            };
            let expected = match expected {
                Ok(note) => Verdict::Good(note.to_owned()),
                Err(why) => Verdict::Bad(why.to_owned()),
            };
            assert_eq!(verdict(&signals), expected, "{signals:?}");
        }
    }
}
