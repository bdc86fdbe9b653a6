//! What is done about a machine on which something is other than it should be.
//!
//! What was put right again and again is somebody's doing: it is put right
//! less and less often then, and the node says so.

use berth_core::{NodeId, PlacementId};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far back repairs count.
const MEMORY: TimeDelta = TimeDelta::days(1);
/// Repairs of the same thing that are made at once.
const AT_ONCE: usize = 3;
/// The first pause after those; each one after it is twice as long.
const PAUSE: TimeDelta = TimeDelta::minutes(30);
/// Doublings of the pause.
const DOUBLINGS: usize = 4;
/// Longest text of all that differs, in characters.
const MAX_TEXT: usize = 800;

/// What puts a difference right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// The node is placed again where it is, under the next fence: its
    /// containers and files are made anew.
    Anew,
    /// The limits of this container are set while it runs.
    Limits(String),
    /// Secrets are delivered again.
    Secrets,
    /// The firewall is rendered again.
    Firewall,
    /// Nothing that Berth can do.
    Person,
}

impl Remedy {
    /// What is counted.
    fn key(&self) -> Option<String> {
        match self {
            Self::Anew => Some("containers and files".to_owned()),
            Self::Limits(name) => Some(format!("the limits of {name}")),
            Self::Secrets => Some("secrets".to_owned()),
            Self::Firewall => Some("the firewall".to_owned()),
            Self::Person => None,
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    /// For people.
    pub text: String,
    /// What puts it right.
    pub remedy: Remedy,
}

/// When what was put right.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repairs(BTreeMap<String, Vec<DateTime<Utc>>>);

impl Repairs {
    /// Notes that these are put right now, and forgets what is long past.
    pub fn note(&mut self, remedies: &[Remedy], now: DateTime<Utc>) {
        for key in remedies.iter().filter_map(Remedy::key) {
            self.0.entry(key).or_default().push(now);
        }
        for times in self.0.values_mut() {
            times.retain(|time| now - *time < MEMORY);
        }
        self.0.retain(|_, times| !times.is_empty());
    }

    /// Whether nothing was put right in the past day.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Why something is not put right now, though it could be.
    fn held(&self, remedy: &Remedy, now: DateTime<Utc>) -> Option<String> {
        let key = remedy.key()?;
        let times: Vec<_> = self
            .0
            .get(&key)?
            .iter()
            .filter(|t| now - **t < MEMORY)
            .collect();
        let over = times.len().checked_sub(AT_ONCE)?;
        let (first, last) = (times.first()?, times.last()?);
        let next = **last + PAUSE * (1 << over.min(DOUBLINGS));
        (now < next).then(|| {
            format!(
                "{key} put right {} times since {}: somebody changes it; next time at {}",
                times.len(),
                first.format("%H:%M"),
                next.format("%H:%M UTC"),
            )
        })
    }
}

/// What is known of the machine of a node.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Watch {
    /// The node.
    pub node_id: NodeId,
    /// The placement that was looked at.
    pub placement_id: PlacementId,
    /// When.
    pub look_time: Option<DateTime<Utc>>,
    /// When the hardware was measured again.
    pub facts_time: Option<DateTime<Utc>>,
    /// In which run of the machine.
    pub boot: String,
    /// What it has lost since it was verified, for people.
    pub hardware: Vec<String>,
    /// What differs and is not put right; empty when all is right.
    pub report: String,
    /// When what was put right.
    #[sqlx(json)]
    pub repairs: Repairs,
}

impl Watch {
    /// Of a placement that nobody looked at yet. What was put right before
    /// still counts.
    #[must_use]
    pub fn begin(node_id: NodeId, placement_id: PlacementId, before: Option<Self>) -> Self {
        match before {
            Some(watch) if watch.placement_id == placement_id => watch,
            before => Self {
                node_id,
                placement_id,
                look_time: None,
                facts_time: None,
                boot: String::new(),
                hardware: Vec::new(),
                report: String::new(),
                repairs: before.map(|watch| watch.repairs).unwrap_or_default(),
            },
        }
    }

    /// Whether to look: this long after the last look, or after all stood there.
    #[must_use]
    pub fn is_due(&self, every: TimeDelta, deployed: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        now - self.look_time.unwrap_or(deployed) >= every
    }

    /// Whether to measure: this long after the last time, or after a reboot.
    #[must_use]
    pub fn is_measured_again(&self, every: TimeDelta, boot: &str, now: DateTime<Utc>) -> bool {
        self.boot != boot || self.facts_time.is_none_or(|time| now - time >= every)
    }
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// All is as it should be.
    Right,
    /// These put right what can be, and why.
    Repair(Vec<Remedy>, String),
    /// Nothing is to be done now, and why; the node is DEGRADED.
    Report(String),
}

/// Decides. A node that is placed anew has all else put right with it.
#[must_use]
pub fn decide(differing: &[Differing], repairs: &Repairs, now: DateTime<Utc>) -> Decision {
    if differing.is_empty() {
        return Decision::Right;
    }
    let mut remedies: Vec<Remedy> = differing.iter().map(|d| d.remedy.clone()).collect();
    remedies.sort();
    remedies.dedup();
    let (held, mut free): (Vec<_>, Vec<_>) = remedies
        .into_iter()
        .filter(|remedy| *remedy != Remedy::Person)
        .partition(|remedy| repairs.held(remedy, now).is_some());
    let texts: Vec<&str> = differing.iter().map(|d| d.text.as_str()).collect();
    let text: String = texts.join("; ").chars().take(MAX_TEXT).collect();
    if free.contains(&Remedy::Anew) {
        free = vec![Remedy::Anew];
    }
    if !free.is_empty() {
        return Decision::Repair(free, text);
    }
    let mut report = vec![text];
    report.extend(held.iter().filter_map(|remedy| repairs.held(remedy, now)));
    Decision::Report(report.join("; "))
}

/// The part of a machine's hardware that is measured again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hardware {
    /// CPU model.
    pub cpu_model: String,
    /// Logical processors.
    pub cpu_cores: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Size of the disk that holds Docker's data.
    pub disk_bytes: u64,
    /// Model and identifier of each GPU.
    pub gpus: Vec<String>,
}

impl Hardware {
    /// What it has lost, for people. A kernel of another version keeps a little
    /// more memory for itself, which is no loss.
    #[must_use]
    pub fn lost(&self, now: &Self) -> Vec<String> {
        let mut lost = Vec::new();
        if now.cpu_model != self.cpu_model {
            lost.push(format!(
                "the machine has the processor `{}`, and was verified with `{}`",
                now.cpu_model, self.cpu_model
            ));
        }
        let mut fewer = |what: &str, now: u64, then: u64, spare: u64| {
            if now < then - spare {
                lost.push(format!(
                    "the machine has {now} {what}, and was verified with {then}"
                ));
            }
        };
        fewer("processors", now.cpu_cores.into(), self.cpu_cores.into(), 0);
        let (memory, disk) = (self.memory_bytes, self.disk_bytes);
        fewer("bytes of memory", now.memory_bytes, memory, memory / 50);
        fewer("bytes of disk", now.disk_bytes, disk, disk / 50);
        let gone = self.gpus.iter().filter(|gpu| !now.gpus.contains(gpu));
        lost.extend(gone.map(|gpu| format!("the machine has lost the GPU {gpu}")));
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn differing(text: &str, remedy: Remedy) -> Differing {
        Differing {
            text: text.to_owned(),
            remedy,
        }
    }

    #[test]
    fn what_can_be_put_right_is_and_a_new_placement_covers_the_rest() {
        let none = Repairs::default();
        let limits = differing("memory", Remedy::Limits("a".to_owned()));
        let firewall = differing("rule", Remedy::Firewall);
        let anew = differing("command", Remedy::Anew);
        let person = differing("Docker", Remedy::Person);
        let of = |all: &[&Differing]| {
            let all: Vec<_> = all.iter().map(|&d| d.clone()).collect();
            decide(&all, &none, at(0))
        };
        assert_eq!(of(&[]), Decision::Right);
        assert_eq!(
            of(&[&person, &firewall, &limits, &firewall]),
            Decision::Repair(
                vec![limits.remedy.clone(), Remedy::Firewall],
                "Docker; rule; memory; rule".to_owned()
            )
        );
        assert_eq!(
            of(&[&limits, &anew]),
            Decision::Repair(vec![Remedy::Anew], "memory; command".to_owned())
        );
        assert_eq!(of(&[&person]), Decision::Report("Docker".to_owned()));
    }

    #[test]
    fn what_somebody_changes_again_and_again_is_put_right_less_often() {
        let all = [differing("rule", Remedy::Firewall)];
        let mut repairs = Repairs::default();
        let mut times = Vec::new();
        for minute in 0..24 * 60 {
            if let Decision::Repair(remedies, _) = decide(&all, &repairs, at(minute)) {
                repairs.note(&remedies, at(minute));
                times.push(minute);
            }
        }
        assert_eq!(times, [0, 1, 2, 32, 92, 212, 452, 932, 1412]);
        let told = decide(&all, &repairs, at(1413));
        assert_eq!(
            told,
            Decision::Report(
                "rule; the firewall put right 9 times since 00:00: somebody changes it; \
                 next time at 07:32 UTC"
                    .to_owned()
            )
        );
        let calm = decide(&all, &repairs, at(4 * 24 * 60));
        assert!(matches!(calm, Decision::Repair(..)), "{calm:?}");
        // Something else is not held up by it.
        let other = [all[0].clone(), differing("memory", Remedy::Anew)];
        let both = decide(&other, &repairs, at(1413));
        assert!(matches!(both, Decision::Repair(..)), "{both:?}");
    }

    #[test]
    fn notes_of_repairs_do_not_grow() {
        let mut repairs = Repairs::default();
        for minute in 0..10_000 {
            repairs.note(&[Remedy::Firewall, Remedy::Person], at(minute * 60));
        }
        assert_eq!(repairs.0.len(), 1);
        assert_eq!(repairs.0["the firewall"].len(), 24);
    }

    #[test]
    fn less_hardware_than_at_verification_is_named_and_more_is_not() {
        let then = Hardware {
            cpu_model: "Xeon".to_owned(),
            cpu_cores: 8,
            memory_bytes: 100 << 30,
            disk_bytes: 1 << 40,
            gpus: vec!["H200 (GPU-1)".to_owned(), "H200 (GPU-2)".to_owned()],
        };
        type Spoil = fn(&mut Hardware);
        let table: [(Spoil, &str); 8] = [
            (|_| {}, ""),
            (|h| h.cpu_cores = 16, ""),
            (|h| h.memory_bytes = 99 << 30, ""),
            (
                |h| h.memory_bytes = 50 << 30,
                "the machine has 53687091200 bytes of memory, and was verified with 107374182400",
            ),
            (
                |h| h.cpu_cores = 4,
                "the machine has 4 processors, and was verified with 8",
            ),
            (
                |h| h.cpu_model = "Atom".to_owned(),
                "the machine has the processor `Atom`, and was verified with `Xeon`",
            ),
            (
                |h| h.disk_bytes = 1 << 39,
                "the machine has 549755813888 bytes of disk, and was verified with 1099511627776",
            ),
            (
                |h| h.gpus.truncate(1),
                "the machine has lost the GPU H200 (GPU-2)",
            ),
        ];
        for (spoil, expected) in table {
            let mut now = then.clone();
            spoil(&mut now);
            assert_eq!(then.lost(&now).join("; "), expected);
        }
    }

    #[test]
    fn a_look_is_due_after_its_time_and_a_measurement_after_a_reboot_too() {
        let mut watch = Watch::begin(NodeId::generate(), PlacementId::generate(), None);
        let every = TimeDelta::minutes(5);
        assert!(!watch.is_due(every, at(0), at(4)));
        assert!(watch.is_due(every, at(0), at(5)));
        watch.look_time = Some(at(5));
        assert!(!watch.is_due(every, at(0), at(9)));
        assert!(watch.is_measured_again(every, "b1", at(5)));
        watch.facts_time = Some(at(5));
        watch.boot = "b1".to_owned();
        assert!(!watch.is_measured_again(every, "b1", at(9)));
        assert!(watch.is_measured_again(every, "b2", at(9)));
        assert!(watch.is_measured_again(every, "b1", at(10)));
    }

    #[test]
    fn another_placement_begins_anew_but_repairs_still_count() {
        let (node, first) = (NodeId::generate(), PlacementId::generate());
        let mut watch = Watch::begin(node, first, None);
        watch.report = "rule".to_owned();
        watch.repairs.note(&[Remedy::Anew], at(0));
        assert_eq!(Watch::begin(node, first, Some(watch.clone())), watch);
        let next = Watch::begin(node, PlacementId::generate(), Some(watch.clone()));
        assert_eq!((next.report.as_str(), next.repairs), ("", watch.repairs));
    }
}
