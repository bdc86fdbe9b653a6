//! From what is meant to stand on a machine and what stands there to the steps
//! that are left, in order.
//!
//! Decides with values of its own and names nothing of the machine side. What
//! cannot be seen from here (whether an image was delivered, whether the
//! firewall is right) is ordered whenever a container has to be made, and costs
//! little where it is so already. The rules of the firewall live in memory like
//! the secrets and the certificate: a reboot takes all of them.

use std::collections::BTreeSet;

/// What is meant to stand on a machine for a placement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intended {
    /// Fence of the placement.
    pub fence: u64,
    /// Containers, in the order in which they start.
    pub containers: Vec<Wanted>,
    /// Volumes by name.
    pub volumes: BTreeSet<String>,
    /// The bridge network.
    pub network: String,
    /// Paths of secret files.
    pub secrets: BTreeSet<String>,
    /// Path of the agent's certificate.
    pub certificate: String,
}

/// A container that is meant to stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Name.
    pub name: String,
    /// Hash of its specification.
    pub spec: String,
    /// Its image, by digest.
    pub image: String,
}

/// What stands on a machine for a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Containers of any placement of the node.
    pub containers: Vec<Standing>,
    /// Volumes by name.
    pub volumes: BTreeSet<String>,
    /// Networks by name.
    pub networks: BTreeSet<String>,
    /// Paths of delivered files, secret or not.
    pub files: BTreeSet<String>,
}

/// A container that stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Name.
    pub name: String,
    /// Fence that it was made under.
    pub fence: u64,
    /// Hash of the specification that it was made from.
    pub spec: String,
    /// What it does.
    pub activity: Activity,
}

/// What a container does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activity {
    /// Runs, or is started again and again by Docker, whose affair that is.
    #[default]
    Up,
    /// Stands still.
    Down,
}

/// One thing to do on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Stop a container that has to go.
    Stop(String),
    /// Remove it.
    Remove(String),
    /// Bring an image.
    Image(String),
    /// Write the folders and files that are secret.
    Secrets,
    /// Write the other files.
    Files,
    /// Make network and volumes.
    Network,
    /// Open the ports and close all others.
    Firewall,
    /// Make a container.
    Create(String),
    /// Start it.
    Start(String),
    /// Give the agent its certificate.
    Certificate,
}

/// The machine holds a newer placement of the node: this work is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newer {
    /// The fence that stands on the machine.
    pub fence: u64,
}

/// The steps that bring a machine from what stands there to what is meant to.
///
/// # Errors
///
/// [`Newer`] when a container of a higher fence stands there.
pub fn plan(intended: &Intended, found: &Found) -> Result<Vec<Step>, Newer> {
    if let Some(newer) = found.containers.iter().find(|c| c.fence > intended.fence) {
        return Err(Newer { fence: newer.fence });
    }
    let is_wanted = |standing: &Standing| {
        standing.fence == intended.fence
            && intended
                .containers
                .iter()
                .any(|c| c.name == standing.name && c.spec == standing.spec)
    };
    let mut steps = Vec::new();
    for old in found.containers.iter().rev().filter(|c| !is_wanted(c)) {
        if old.activity == Activity::Up {
            steps.push(Step::Stop(old.name.clone()));
        }
        steps.push(Step::Remove(old.name.clone()));
    }

    let stands = |wanted: &Wanted| {
        found
            .containers
            .iter()
            .find(|c| c.name == wanted.name && is_wanted(c))
    };
    let missing: Vec<&Wanted> = intended
        .containers
        .iter()
        .filter(|c| stands(c).is_none())
        .collect();
    let images: BTreeSet<&String> = missing.iter().map(|c| &c.image).collect();
    steps.extend(images.into_iter().cloned().map(Step::Image));
    let secret = intended.secrets.is_subset(&found.files);
    let certified = found.files.contains(&intended.certificate);
    if !missing.is_empty() || !secret {
        steps.push(Step::Secrets);
    }
    if !missing.is_empty() {
        steps.push(Step::Files);
    }
    let whole =
        found.networks.contains(&intended.network) && intended.volumes.is_subset(&found.volumes);
    if !missing.is_empty() || !whole {
        steps.push(Step::Network);
    }
    if !missing.is_empty() || !secret || !certified {
        steps.push(Step::Firewall);
    }
    for wanted in &intended.containers {
        match stands(wanted).map(|c| c.activity) {
            None => {
                steps.push(Step::Create(wanted.name.clone()));
                steps.push(Step::Start(wanted.name.clone()));
            }
            Some(Activity::Down) => steps.push(Step::Start(wanted.name.clone())),
            Some(Activity::Up) => {}
        }
    }
    if !certified {
        steps.push(Step::Certificate);
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str = "b-node";
    const AGENT: &str = "b-agent";

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn intended() -> Intended {
        let wanted = |name: &str| Wanted {
            name: name.to_owned(),
            spec: "s1".to_owned(),
            image: format!("{name}-image"),
        };
        Intended {
            fence: 2,
            containers: vec![wanted(NODE), wanted(AGENT)],
            volumes: set(&["data"]),
            network: "net".to_owned(),
            secrets: set(&["/run/key"]),
            certificate: "/run/cert".to_owned(),
        }
    }

    fn standing(name: &str) -> Standing {
        Standing {
            name: name.to_owned(),
            fence: 2,
            spec: "s1".to_owned(),
            activity: Activity::Up,
        }
    }

    fn complete() -> Found {
        Found {
            containers: vec![standing(NODE), standing(AGENT)],
            volumes: set(&["data"]),
            networks: set(&["net"]),
            files: set(&["/run/key", "/run/cert", "/var/genesis"]),
        }
    }

    /// The steps, each as one word.
    fn words(found: &Found) -> String {
        let word = |step: &Step| match step {
            Step::Stop(name) => format!("stop:{name}"),
            Step::Remove(name) => format!("remove:{name}"),
            Step::Image(image) => format!("image:{image}"),
            Step::Secrets => "secrets".to_owned(),
            Step::Files => "files".to_owned(),
            Step::Network => "network".to_owned(),
            Step::Firewall => "firewall".to_owned(),
            Step::Create(name) => format!("create:{name}"),
            Step::Start(name) => format!("start:{name}"),
            Step::Certificate => "certificate".to_owned(),
        };
        let steps = plan(&intended(), found).unwrap();
        steps.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    /// What spoils a machine on which all stands, and the steps that follow.
    #[test]
    fn each_difference_leads_to_its_steps_and_no_others() {
        type Spoil = fn(&mut Found);
        let table: [(&str, Spoil, &str); 11] = [
            ("nothing", |_| {}, ""),
            (
                "an empty machine",
                |f| *f = Found::default(),
                "image:b-agent-image image:b-node-image secrets files network firewall \
                 create:b-node start:b-node create:b-agent start:b-agent certificate",
            ),
            (
                "a reboot took the secrets and the containers did not start",
                |f| {
                    f.files = set(&["/var/genesis"]);
                    f.containers
                        .iter_mut()
                        .for_each(|c| c.activity = Activity::Down);
                },
                "secrets firewall start:b-node start:b-agent certificate",
            ),
            (
                "one secret is missing",
                |f| f.files = set(&["/run/cert"]),
                "secrets firewall",
            ),
            (
                "no certificate",
                |f| f.files = set(&["/run/key"]),
                "firewall certificate",
            ),
            (
                "a stopped container",
                |f| f.containers[0].activity = Activity::Down,
                "start:b-node",
            ),
            (
                "a missing container",
                |f| f.containers.truncate(1),
                "image:b-agent-image secrets files network firewall create:b-agent start:b-agent",
            ),
            (
                "another specification",
                |f| f.containers[0].spec = "s0".to_owned(),
                "stop:b-node remove:b-node image:b-node-image secrets files network firewall \
                 create:b-node start:b-node",
            ),
            (
                "an older fence, stopped",
                |f| {
                    f.containers[1].fence = 1;
                    f.containers[1].activity = Activity::Down;
                },
                "remove:b-agent image:b-agent-image secrets files network firewall \
                 create:b-agent start:b-agent",
            ),
            (
                "a container that nobody wants",
                |f| f.containers.push(standing("b-old")),
                "stop:b-old remove:b-old",
            ),
            ("a missing volume", |f| f.volumes.clear(), "network"),
        ];
        for (what, spoil, expected) in table {
            let mut found = complete();
            spoil(&mut found);
            assert_eq!(words(&found), expected, "{what}");
        }
    }

    #[test]
    fn containers_of_older_placements_go_in_the_reverse_order_of_their_names() {
        let mut found = complete();
        found.containers.iter_mut().for_each(|c| c.fence = 1);
        assert!(
            words(&found).starts_with("stop:b-agent remove:b-agent stop:b-node remove:b-node"),
            "{}",
            words(&found)
        );
    }

    #[test]
    fn a_machine_with_a_newer_placement_is_left_alone() {
        let mut found = complete();
        found.containers[1].fence = 3;
        assert_eq!(plan(&intended(), &found), Err(Newer { fence: 3 }));
    }

    #[test]
    fn what_the_steps_bring_about_leaves_no_steps() {
        assert_eq!(plan(&intended(), &complete()), Ok(vec![]));
    }
}
