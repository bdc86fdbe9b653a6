//! From what the kernel prints to facts.

use super::{Disk, Facts, MARK, Nic, gpu};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::HashMap;

const WHAT: &str = "reading the hardware";
/// Longest name of anything.
const MAX_TEXT: usize = 128;
const MAX_FLAGS: usize = 1024;
const MAX_NICS: usize = 64;
const MAX_ADDRESSES: usize = 16;
/// Interfaces that Docker and we make.
const MADE: [&str; 5] = ["lo", "veth", "docker", "br-", "bt-"];

/// All facts but those that other commands give.
pub(crate) fn facts(text: &str) -> Result<Facts> {
    let sections = sections(text);
    let section = |name: &str| sections.get(name).copied().unwrap_or_default();
    let cpu = pairs(section("cpu"), ':');
    let os = pairs(section("os"), '=');
    let flags = cpu.get("flags").or_else(|| cpu.get("Features"));
    Ok(Facts {
        cpu_model: short(cpu.get("model name").copied().unwrap_or_default()),
        cpu_cores: number(section("processors").trim(), "the number of processors")?,
        smt: section("smt").trim() == "1",
        cpu_flags: flags
            .map(|flags| {
                flags
                    .split_whitespace()
                    .take(MAX_FLAGS)
                    .map(short)
                    .collect()
            })
            .unwrap_or_default(),
        memory_bytes: memory(section("memory"))?,
        disks: disks(section("disks"))?,
        nics: nics(section("addresses"), section("speeds"))?,
        kernel: short(section("kernel")),
        os: short(
            os.get("PRETTY_NAME")
                .copied()
                .unwrap_or_default()
                .trim_matches('"'),
        ),
        gpus: gpu::gpus(section("gpus"))?,
        ..Facts::default()
    })
}

fn sections(text: &str) -> HashMap<&str, &str> {
    let mut parts = text.split(MARK);
    parts.next();
    parts
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, body)| (name.trim(), body))
        .collect()
}

/// The first of each `key: value`.
fn pairs(text: &str, separator: char) -> HashMap<&str, &str> {
    let mut pairs = HashMap::new();
    for (key, value) in text.lines().filter_map(|line| line.split_once(separator)) {
        pairs.entry(key.trim()).or_insert(value.trim());
    }
    pairs
}

/// Text of a machine: trimmed, printable, short.
pub(super) fn short(text: &str) -> String {
    let text = text.trim().chars().filter(|c| !c.is_control());
    text.take(MAX_TEXT).collect()
}

fn number<T: std::str::FromStr>(text: &str, what: &str) -> Result<T> {
    text.parse()
        .map_err(|_| Error::answer(WHAT, format!("{what} is not a number")))
}

fn memory(text: &str) -> Result<u64> {
    let total = pairs(text, ':')
        .get("MemTotal")
        .copied()
        .unwrap_or_default();
    let kib: u64 = number(total.trim_end_matches(" kB"), "the memory")?;
    Ok(kib.saturating_mul(1024))
}

/// Lines of `df -PB1`: device, size, used, free, share, mount.
fn disks(text: &str) -> Result<Vec<Disk>> {
    let mut disks: Vec<Disk> = Vec::new();
    for line in text.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, size, _, free, _, mount @ ..] = fields.as_slice() else {
            return Err(Error::answer(WHAT, "a disk has too few fields"));
        };
        let mount = short(&mount.join(" "));
        if disks.iter().all(|disk| disk.mount != mount) && disks.len() < 2 {
            disks.push(Disk {
                mount,
                size_bytes: number(size, "a disk's size")?,
                free_bytes: number(free, "a disk's free space")?,
                ..Disk::default()
            });
        }
    }
    Ok(disks)
}

/// The part of `ip -j addr` that is read.
#[derive(Deserialize)]
struct Interface {
    ifname: String,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(default)]
    local: String,
    #[serde(default)]
    prefixlen: u8,
}

fn nics(addresses: &str, speeds: &str) -> Result<Vec<Nic>> {
    if addresses.trim().is_empty() {
        return Ok(Vec::new());
    }
    let interfaces: Vec<Interface> =
        serde_json::from_str(addresses.trim()).map_err(|e| Error::answer(WHAT, e))?;
    // Lines such as `eth0/speed:1000`.
    let speeds = pairs(speeds, ':');
    let real = interfaces
        .into_iter()
        .filter(|i| !MADE.iter().any(|made| i.ifname.starts_with(made)));
    Ok(real
        .take(MAX_NICS)
        .map(|interface| Nic {
            speed_mbit: speeds
                .get(format!("{}/speed", interface.ifname).as_str())
                .and_then(|speed| speed.parse().ok())
                .unwrap_or_default(),
            name: short(&interface.ifname),
            addresses: interface
                .addr_info
                .iter()
                .take(MAX_ADDRESSES)
                .map(|a| short(&format!("{}/{}", a.local, a.prefixlen)))
                .collect(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PRINTED: &str = include_str!("testdata/machine.txt");

    #[test]
    fn what_a_machine_prints_becomes_facts() {
        let facts = facts(PRINTED).unwrap();
        assert_eq!(facts.cpu_model, "Intel(R) Xeon(R) Processor @ 2.60GHz");
        assert_eq!((facts.cpu_cores, facts.smt), (4, true));
        assert!(facts.cpu_flags.contains(&"sha_ni".to_owned()));
        assert_eq!(facts.memory_bytes, 24_688_648 * 1024);
        assert_eq!(facts.os, "Debian GNU/Linux 12 (bookworm)");
        let mounts: Vec<&str> = facts.disks.iter().map(|d| d.mount.as_str()).collect();
        assert_eq!(mounts, ["/var/lib/docker", "/"]);
        assert_eq!(facts.disks[0].free_bytes, 3_999_000_000_000);
        let [nic] = facts.nics.as_slice() else {
            panic!("{:?}", facts.nics)
        };
        assert_eq!((nic.name.as_str(), nic.speed_mbit), ("eth0", 10_000));
        assert_eq!(nic.addresses, ["192.0.2.7/24", "2001:db8::7/64"]);
    }

    #[test]
    fn a_disk_that_holds_everything_is_one_disk() {
        let line = "/dev/sda1 100 1 99 1% /";
        assert_eq!(disks(&format!("head\n{line}\n{line}\n")).unwrap().len(), 1);
    }

    #[test]
    fn a_machine_that_hides_its_memory_is_not_understood() {
        let text = PRINTED.replace("MemTotal", "MemTotall");
        assert!(matches!(facts(&text), Err(Error::Answer { .. })));
    }

    proptest! {
        #[test]
        fn no_text_of_a_machine_breaks_the_parser(text in "(?s).{0,400}") {
            facts(&text).ok();
        }

        #[test]
        fn no_change_of_real_text_makes_unbounded_facts(
            at in 0..PRINTED.len(), junk in "(?s)[a-z0-9:=<>/\\[\\]{}\"\n -]{0,200}"
        ) {
            let mut text = PRINTED.to_owned();
            text.insert_str(at, &junk.repeat(50));
            if let Ok(facts) = facts(&text) {
                prop_assert!(facts.cpu_model.chars().count() <= MAX_TEXT);
                prop_assert!(facts.cpu_flags.len() <= MAX_FLAGS);
                prop_assert!(facts.nics.len() <= MAX_NICS && facts.disks.len() <= 2);
            }
        }
    }
}
