//! What stands on a machine, compared with what a deployment says.
//!
//! The machine's owner has root: limits are changed, containers made anew by
//! hand, rules flushed and files edited, by mistake or not. One command reads
//! files and firewall, a few calls read containers. Contents of secrets are
//! never read back: only that they are there, whose they are and who may read
//! them.
//!
//! Whoever lies in the machine's own answers is not found out here. What must
//! hold on a hostile machine, holds elsewhere: at the fence and at the signer.

use crate::error::{Error, Result, said};
use crate::files::{check_path, node_dir};
use crate::firewall::{self, PORTS, PRINT, TABLE, declared, open_ports};
use crate::spec::Deployment;
use crate::ssh::{Exec, Session};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::time::Duration;

const WHAT: &str = "looking for differences";
/// What a line between two parts of the answer begins with.
const MARK: &str = "==berth ";
/// Most differences that are told; what is over is counted.
const MOST: usize = 24;
/// Longest value that is told, in characters.
const LONGEST: usize = 120;

/// Where something is other than it should be, and so what puts it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A limit of this container, which can change while it runs.
    Limits(String),
    /// This container, which has to be made anew.
    Container(String),
    /// A file that is not secret. Whoever read it has to start again.
    File,
    /// Who may read a secret, not what it is.
    Secret,
    /// Berth's table of the firewall.
    Firewall,
    /// The machine itself; nobody but its owner puts that right.
    Machine,
}

/// One thing that is other than it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub part: Part,
    /// What, such as "memory limit of container `node`".
    pub what: String,
    /// How it should be; empty when it should not be at all.
    pub wanted: String,
    /// How it is; empty when it is not there.
    pub found: String,
}

impl Difference {
    pub(crate) fn new(part: Part, what: &str, wanted: &str, found: &str) -> Self {
        let short = |text: &str| -> String {
            let text = said(text);
            let mut out: String = text.chars().take(LONGEST).collect();
            if out.len() < text.len() {
                out.push('…');
            }
            out
        };
        Self {
            part,
            what: said(what),
            wanted: short(wanted),
            found: short(found),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            wanted,
            found,
            ..
        } = self;
        match (wanted.is_empty(), found.is_empty()) {
            (true, _) => write!(f, "{what} is `{found}` and should not be"),
            (_, true) => write!(f, "{what} is missing: `{wanted}`"),
            (false, false) => write!(f, "{what} is `{found}`, not `{wanted}`"),
        }
    }
}

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drift {
    /// Number of the machine's present run; another one after a reboot.
    pub boot: String,
    /// All that differs, at most two dozen.
    pub differences: Vec<Difference>,
}

impl Session {
    /// Compares what stands on the machine with a deployment that runs there.
    /// A container that is not there is not reported: [`Session::observe`]
    /// sees that.
    ///
    /// # Errors
    ///
    /// Those of the session, and [`Error::Answer`] for nonsense. A Docker that
    /// does not answer is a difference and no error.
    pub async fn drift(&self, deployment: &Deployment) -> Result<Drift> {
        let mut drift = self.around(deployment).await?;
        match Box::pin(self.container_drift(deployment)).await {
            Ok(found) => drift.differences.extend(found),
            Err(Error::Docker { status: None, .. }) => {
                let gone = Difference::new(Part::Machine, "Docker", "answering", "silent");
                drift.differences.push(gone);
            }
            Err(error) => return Err(error),
        }
        let over = drift.differences.len().saturating_sub(MOST);
        if over > 0 {
            drift.differences.truncate(MOST);
            let more = format!("{over} more");
            let more = Difference::new(Part::Machine, "the list", "complete", &more);
            drift.differences.push(more);
        }
        Ok(drift)
    }

    /// Files and firewall.
    async fn around(&self, deployment: &Deployment) -> Result<Drift> {
        let ssh = self.ssh_port().await?;
        let (script, paths) = script(deployment, ssh)?;
        let printed = self
            .root(Exec {
                stdin: paths.as_bytes(),
                timeout: Duration::from_secs(60),
                ..Exec::new(WHAT, &script)
            })
            .await?;
        read(deployment, &String::from_utf8_lossy(&printed))
    }
}

/// What reads files and firewall, and the list of paths that it is given. The
/// rules as they should be are loaded into a network of their own and listed
/// there, so that nftables itself writes both in the same words.
fn script(deployment: &Deployment, ssh: u16) -> Result<(String, String)> {
    let variables = firewall::variables(ssh);
    let folder = node_dir(&deployment.placement)?;
    let script = format!(
        "PATH=$PATH:/usr/sbin:/sbin; {variables}
{PRINT}
echo '{MARK}boot'; cat /proc/sys/kernel/random/boot_id
echo '{MARK}files'
while read -r kind path; do
  stat=$(stat -c '%f:%u:%g' \"$path\" 2>/dev/null) || stat=-
  hash=-
  [ $kind = secret ] || [ $stat = - ] || hash=$(sha256sum < \"$path\" | cut -d' ' -f1)
  echo \"$stat $hash\"
done
echo '{MARK}ports'; cat {folder}/{PORTS} 2>/dev/null
echo '{MARK}firewall'; nft list table {TABLE} 2>/dev/null
echo '{MARK}wanted'; rules | unshare -n sh -c 'nft -f - && nft list table {TABLE}' 2>/dev/null
exit 0"
    );
    let files = deployment.files.iter().map(|file| ("file", &file.path));
    let secrets = deployment.secrets.iter().map(|file| ("secret", &file.path));
    let mut paths = String::new();
    for (kind, path) in files.chain(secrets) {
        check_path(&deployment.placement, path)?;
        paths += &format!("{kind} {path}\n");
    }
    Ok((script, paths))
}

/// What the script printed, compared.
fn read(deployment: &Deployment, printed: &str) -> Result<Drift> {
    let mut parts: HashMap<&str, &str> = HashMap::new();
    for part in printed.split(MARK).skip(1) {
        let (name, body) = part.split_once('\n').unwrap_or((part, ""));
        parts.entry(name.trim()).or_insert(body);
    }
    let part = |name: &str| parts.get(name).copied().unwrap_or_default();
    let mut differences = files(deployment, part("files"))?;
    let wanted = sorted(&declared(&open_ports(deployment)));
    let found = sorted(part("ports"));
    if wanted != found {
        let what = "declared ports of the node";
        differences.push(Difference::new(Part::Firewall, what, &wanted, &found));
    }
    differences.extend(rules(part("wanted"), part("firewall")));
    Ok(Drift {
        boot: said(part("boot")),
        differences,
    })
}

fn sorted(text: &str) -> String {
    let lines: BTreeSet<&str> = text.lines().collect();
    lines.into_iter().collect::<Vec<_>>().join(", ")
}

/// A line a file, in the order in which they were asked for.
fn files(deployment: &Deployment, printed: &str) -> Result<Vec<Difference>> {
    let count = deployment.files.len() + deployment.secrets.len();
    let lines: Vec<(&str, &str)> = printed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    if lines.len() != count {
        return Err(Error::answer(WHAT, "not a line a file"));
    }
    let (plain, secret) = lines.split_at(deployment.files.len());
    let mut all = Vec::new();
    for (file, (stat, hash)) in deployment.files.iter().zip(plain) {
        let path = &file.path;
        let mut put = |what: String, wanted: &str, found: &str| {
            if wanted != found {
                let found = if found == "-" { "" } else { found };
                all.push(Difference::new(Part::File, &what, wanted, found));
            }
        };
        let wanted = hex::encode(Sha256::digest(&file.contents));
        put(format!("digest of file {path}"), &wanted, hash);
        if *stat != "-" {
            let wanted = owner(file.mode, file.uid, file.gid);
            put(
                format!("mode and owner of file {path}"),
                &wanted,
                &octal(stat),
            );
        }
    }
    for (file, (stat, _)) in deployment.secrets.iter().zip(secret) {
        let (wanted, found) = (owner(file.mode, file.uid, file.gid), octal(stat));
        // One that is not there is delivered again without us.
        if *stat != "-" && wanted != found {
            let what = format!("mode and owner of secret {}", file.name);
            all.push(Difference::new(Part::Secret, &what, &wanted, &found));
        }
    }
    Ok(all)
}

/// Kind and mode, user and group, as [`octal`] writes them.
fn owner(mode: u32, uid: u32, gid: u32) -> String {
    format!("{:o}:{uid}:{gid}", 0o100_000 | mode)
}

/// What `stat` prints, with the mode in octal.
fn octal(stat: &str) -> String {
    let read = stat.split_once(':').and_then(|(mode, owner)| {
        let mode = u32::from_str_radix(mode, 16).ok()?;
        Some(format!("{mode:o}:{owner}"))
    });
    read.unwrap_or_else(|| stat.to_owned())
}

/// The rules of two listings, compared by chain.
fn rules(wanted: &str, found: &str) -> Vec<Difference> {
    let put = |what: &str, wanted: &str, found: &str| {
        Difference::new(Part::Firewall, what, wanted, found)
    };
    let (wanted, found) = (by_chain(wanted), by_chain(found));
    if wanted.is_empty() {
        let part = Part::Machine;
        let what = "check of the firewall";
        return vec![Difference::new(part, what, "possible", "not possible")];
    }
    if found.is_empty() {
        return vec![put("firewall", &format!("table {TABLE}"), "")];
    }
    let without = |list: &[String], others: &[String]| {
        let mut others = others.to_vec();
        let mut left = Vec::new();
        for line in list {
            match others.iter().position(|other| other == line) {
                Some(at) => drop(others.swap_remove(at)),
                None => left.push(line.clone()),
            }
        }
        left
    };
    let missing = without(&wanted, &found);
    let extra = without(&found, &wanted);
    let mut all: Vec<Difference> = missing
        .iter()
        .map(|line| put("rule of the firewall", line, ""))
        .chain(
            extra
                .iter()
                .map(|line| put("rule of the firewall", "", line)),
        )
        .collect();
    if all.is_empty() && wanted != found {
        all.push(put("order of the firewall's rules", "as rendered", "other"));
    }
    all
}

/// `chain: rule`, in order.
fn by_chain(listing: &str) -> Vec<String> {
    let mut chain = "";
    let mut rules = Vec::new();
    for line in listing.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix("chain ")
            .and_then(|l| l.strip_suffix(" {"))
        {
            chain = name;
        }
        if !line.is_empty() && line != "}" {
            rules.push(format!("{chain}: {line}"));
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{FileSpec, PlacementRef, SecretSpec};
    use proptest::prelude::*;

    fn deployment() -> Deployment {
        let path = |name: &str| format!("/var/lib/berth/node-1/{name}");
        Deployment {
            placement: PlacementRef {
                node_id: "node-1".to_owned(),
                placement_id: "placement-1".to_owned(),
                fence: 1,
            },
            network: "net".to_owned(),
            volumes: vec![],
            files: vec![FileSpec {
                path: path("genesis.json"),
                mode: 0o444,
                uid: 1000,
                gid: 1000,
                contents: b"{}".to_vec(),
            }],
            dirs: vec![],
            secrets: vec![SecretSpec {
                name: "node-key".to_owned(),
                path: "/run/berth/placement-1/node/key".to_owned(),
                mode: 0o400,
                uid: 1000,
                gid: 1000,
            }],
            containers: vec![],
        }
    }

    const LISTED: &str = "table inet berth {
\tchain input {
\t\ttype filter hook input priority filter - 10; policy drop;
\t\ttcp dport 22 accept
\t}

\tchain forward {
\t\tct status dnat drop
\t}
}
";

    fn printed() -> String {
        let hash = hex::encode(Sha256::digest(b"{}"));
        format!(
            "==berth boot\nb1\n==berth files\n8124:1000:1000 {hash}\n8100:1000:1000 -\n\
             ==berth ports\n==berth firewall\n{LISTED}==berth wanted\n{LISTED}"
        )
    }

    fn told(printed: &str) -> Vec<String> {
        let drift = read(&deployment(), printed).unwrap();
        drift.differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_stands_as_it_should_is_no_difference() {
        let drift = read(&deployment(), &printed()).unwrap();
        assert_eq!((drift.boot.as_str(), drift.differences), ("b1", vec![]));
    }

    #[test]
    fn each_change_of_files_and_firewall_is_named() {
        let hash = hex::encode(Sha256::digest(b"{}"));
        let after = |from: &str, to: &str| told(&printed().replacen(from, to, 1));
        let file = "file /var/lib/berth/node-1/genesis.json";
        let table = [
            (
                after(&hash, "ab"),
                format!("digest of {file} is `ab`, not `{hash}`"),
            ),
            (
                after(&format!("8124:1000:1000 {hash}"), "- -"),
                format!("digest of {file} is missing: `{hash}`"),
            ),
            (
                after("8124", "81b6"),
                format!("mode and owner of {file} is `100666:1000:1000`, not `100444:1000:1000`"),
            ),
            (
                after("8100:1000", "8124:0"),
                "mode and owner of secret node-key is `100444:0:1000`, not `100400:1000:1000`"
                    .to_owned(),
            ),
            (
                after("ports\n", "ports\ntcp 99\n"),
                "declared ports of the node is `tcp 99` and should not be".to_owned(),
            ),
            (
                after(LISTED, ""),
                "firewall is missing: `table inet berth`".to_owned(),
            ),
            (
                after("22 accept\n", "22 accept\n\t\ttcp dport 99 accept\n"),
                "rule of the firewall is `input: tcp dport 99 accept` and should not be".to_owned(),
            ),
            (
                after("\t\tct status dnat drop\n", ""),
                "rule of the firewall is missing: `forward: ct status dnat drop`".to_owned(),
            ),
        ];
        for (found, expected) in table {
            assert_eq!(found, [expected]);
        }
        // A secret that is not there comes again without us.
        assert!(after("8100:1000:1000", "-").is_empty());
    }

    #[test]
    fn rules_in_another_order_are_a_difference() {
        let swapped = "table inet berth {\nchain c {\nb\na\n}\n}\n";
        let wanted = "table inet berth {\nchain c {\na\nb\n}\n}\n";
        let all = rules(wanted, swapped);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].what, "order of the firewall's rules");
    }

    #[test]
    fn a_firewall_that_cannot_be_checked_is_not_passed_over() {
        let all = rules("", LISTED);
        assert_eq!(all[0].part, Part::Machine, "{all:?}");
    }

    proptest! {
        #[test]
        fn no_text_of_a_machine_breaks_the_comparison_or_makes_it_long(
            at in 0_usize..400, junk in "(?s)[a-f0-9:= \n{}-]{0,200}"
        ) {
            let mut text = printed();
            text.insert_str(at.min(text.len()), &junk.repeat(20));
            if let Ok(drift) = read(&deployment(), &text) {
                for difference in drift.differences {
                    prop_assert!(difference.to_string().len() < 1500);
                }
            }
        }
    }
}
