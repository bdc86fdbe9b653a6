//! What the signer believes of an Ethereum-like network, from `[pinned]`.
//!
//! A request to sign says of which network it is; these values decide.

use super::entry::ChainEntry;

/// The values of `[pinned]` that a signer needs.
pub(super) const NAMES: [&str; 5] = [
    "genesis_validators_root",
    "genesis_time",
    "seconds_per_slot",
    "preset",
    "forks",
];

/// The forks that are known here, oldest first.
const FORKS: [&str; 7] = [
    "phase0",
    "altair",
    "bellatrix",
    "capella",
    "deneb",
    "electra",
    "fulu",
];

/// An Ethereum-like network, as its signatures are bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// What every domain is bound to.
    pub genesis_validators_root: [u8; 32],
    /// Unix time of slot 0.
    pub genesis_time: u64,
    /// Length of a slot.
    pub seconds_per_slot: u32,
    /// `mainnet` or `minimal`.
    pub preset: String,
    /// Oldest first; the first is `phase0` at epoch 0.
    pub forks: Vec<Fork>,
}

/// A fork of the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Name such as `capella`.
    pub name: String,
    /// First epoch.
    pub epoch: u64,
    /// Version that domains are made of.
    pub version: [u8; 4],
}

impl Pinned {
    /// Length of an epoch.
    #[must_use]
    pub fn seconds_per_epoch(&self) -> u64 {
        let slots = if self.preset == "minimal" { 8 } else { 32 };
        u64::from(self.seconds_per_slot) * slots
    }
}

impl ChainEntry {
    /// What the signer is to believe of the network.
    ///
    /// # Errors
    ///
    /// What `[pinned]` lacks, for people.
    pub fn signing(&self) -> Result<Pinned, String> {
        let missing: Vec<&str> = NAMES
            .into_iter()
            .filter(|name| !self.pinned.contains_key(*name))
            .collect();
        if !missing.is_empty() {
            return Err(format!(
                "validators cannot be launched: `[pinned]` lacks {}",
                missing.join(", ")
            ));
        }
        let text = |name: &str| self.pinned.get(name).map_or("", String::as_str);
        Ok(Pinned {
            genesis_validators_root: root(text("genesis_validators_root"))?,
            genesis_time: number(text("genesis_time"))?,
            seconds_per_slot: slot(text("seconds_per_slot"))?,
            preset: preset(text("preset"))?,
            forks: forks(text("forks"))?,
        })
    }
}

/// Says what is wrong with a value of `[pinned]` that the signer would read.
pub(super) fn problem(name: &str, value: &str) -> Option<String> {
    match name {
        "genesis_validators_root" => root(value).err(),
        "genesis_time" => number(value).err(),
        "seconds_per_slot" => slot(value).err(),
        "preset" => preset(value).err(),
        "forks" => forks(value).err(),
        _ => None,
    }
}

fn root(text: &str) -> Result<[u8; 32], String> {
    bytes(text).ok_or_else(|| "expected `0x` and 64 hex digits".to_owned())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "expected a number of seconds since 1970".to_owned())
}

fn slot(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|seconds| (1..=3600).contains(seconds))
        .ok_or_else(|| "expected a number of seconds from 1 to 3600".to_owned())
}

fn preset(text: &str) -> Result<String, String> {
    if matches!(text, "mainnet" | "minimal") {
        Ok(text.to_owned())
    } else {
        Err("expected `mainnet` or `minimal`".to_owned())
    }
}

/// Reads `phase0 0 0x00000000, altair 74240 0x01000000`.
fn forks(text: &str) -> Result<Vec<Fork>, String> {
    let forks: Vec<Fork> = text.split(',').map(fork).collect::<Result<_, _>>()?;
    for (i, fork) in forks.iter().enumerate() {
        if FORKS.get(i) != Some(&fork.name.as_str()) {
            return Err(format!(
                "`{}` stands out of place; the order is {}, without gaps",
                fork.name,
                FORKS.join(", ")
            ));
        }
    }
    let epochs = || forks.iter().map(|fork| fork.epoch);
    if epochs().next() != Some(0) || !epochs().is_sorted() {
        return Err("the first epoch is 0, and none is lower than the one before".to_owned());
    }
    Ok(forks)
}

fn fork(text: &str) -> Result<Fork, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let parsed = match words.as_slice() {
        [name, epoch, version] => epoch.parse().ok().zip(bytes(version)).zip(Some(*name)),
        _ => None,
    };
    let ((epoch, version), name) = parsed.ok_or_else(|| {
        format!(
            "`{}` is no fork; write a name, an epoch and a version such as \
             `altair 74240 0x01000000`, with commas between forks",
            text.trim()
        )
    })?;
    Ok(Fork {
        name: name.to_owned(),
        epoch,
        version,
    })
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text.strip_prefix("0x")?, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Invalid;

    const ENTRY: &str = include_str!("../../../images/ethereum-hoodi/chain.toml");

    fn problem_of(name: &str, value: &str) -> crate::chain::Problem {
        let (before, rest) = ENTRY.split_once(&format!("\n{name} = ")).unwrap();
        let (_, after) = rest.split_once('\n').unwrap();
        let text = format!("{before}\n{name} = \"{value}\"\n{after}");
        let Err(Invalid(problems)) = ChainEntry::parse(&text) else {
            panic!("{name} = {value} was accepted");
        };
        let [problem] = problems.try_into().unwrap();
        assert_eq!(problem.field, format!("pinned.{name}"));
        assert_eq!(problem.line, before.matches('\n').count() + 2, "{problem}");
        problem
    }

    #[test]
    fn a_public_network_is_read_with_its_schedule() {
        let pinned = ChainEntry::parse(ENTRY).unwrap().signing().unwrap();
        assert_eq!(pinned.genesis_validators_root[..2], [0x21, 0x2f]);
        assert_eq!(
            (pinned.genesis_time, pinned.seconds_per_slot),
            (1_742_213_400, 12)
        );
        assert_eq!(pinned.preset, "mainnet");
        let forks: Vec<_> = pinned.forks.iter().map(|f| (&*f.name, f.epoch)).collect();
        assert_eq!(forks[0], ("phase0", 0));
        assert_eq!(forks[5..], [("electra", 2048), ("fulu", 50688)]);
        assert_eq!(pinned.forks[6].version, [0x70, 0, 0x09, 0x10]);
    }

    #[test]
    fn what_the_signer_would_misread_is_named_with_its_line() {
        for (name, value) in [
            ("genesis_validators_root", "0x21"),
            ("genesis_validators_root", "212f"),
            ("genesis_time", "soon"),
            ("genesis_time", "-1"),
            ("seconds_per_slot", "0"),
            ("preset", "gnosis"),
        ] {
            let problem = problem_of(name, value);
            assert!(problem.hint.starts_with("expected "), "{problem}");
        }
        for (forks, why) in [
            ("", "is no fork"),
            ("phase0 0", "is no fork"),
            ("phase0 0 0x1", "is no fork"),
            ("phase0 0 0x00000000,", "is no fork"),
            ("altair 0 0x01000000", "`altair` stands out of place"),
            (
                "phase0 0 0x00000000, capella 1 0x03000000",
                "`capella` stands out of place",
            ),
            ("phase0 1 0x00000000", "the first epoch is 0"),
            (
                "phase0 0 0x00000000, altair 9 0x01000000, bellatrix 8 0x02000000",
                "none is lower",
            ),
        ] {
            let problem = problem_of("forks", forks);
            assert!(problem.hint.contains(why), "{forks}: {problem}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = ENTRY.replace("\ngenesis_time = ", "\nother_time = ");
        let entry = ChainEntry::parse(&text).unwrap();
        let why = entry.signing().unwrap_err();
        assert!(why.ends_with("lacks genesis_time"), "{why}");
        assert!(entry.roles().contains(&crate::chain::Role::Full));
    }
}
