//! How everything stands when a node is at rest: on its machine, in Vault, in
//! the other services, in the database. Names that each life has of its own are
//! replaced, so that the end of one life compares with that of another.

use super::chains::{Subject, digest};
use super::life::{NODE, Since, Stage};
use super::parts::Part;
use crate::support::state;
use berth_proto::leasing::v1::lease_status::State as LeaseState;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_secrets::SecretPath;
use secrecy::ExposeSecret as _;
use std::collections::{BTreeMap, BTreeSet};

/// The end of a part of a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    state: State,
    /// Whether its version is another one than before.
    upgraded: bool,
    /// Here and below: more than the newest one before.
    fence: i64,
    /// Of the node and still on a machine, by state: their count.
    placements: BTreeMap<String, i64>,
    /// Component, fence, whether it is of the current placement, what it does.
    containers: BTreeSet<(String, i64, bool, String)>,
    /// Volumes, networks, files, folders, images and open ports.
    left: BTreeSet<String>,
    /// Leases, by state.
    leases: Vec<LeaseState>,
    /// What leasing still holds back, and how often it held and gave back.
    held: (i64, usize),
    /// Secrets in Vault, and whether the machine has that value.
    secrets: BTreeSet<(String, bool)>,
    /// Fence that the signer knows, and under which it signs.
    signer: Option<(i64, bool)>,
    /// Validators that are bound to the node.
    bound: usize,
    /// Fence that monitoring expects, whether it is to run, and whether it is of
    /// the current placement.
    target: Option<(i64, bool, bool)>,
    /// Machines that wait for something.
    work: usize,
}

impl Since {
    /// How much more a fence is; 0 where there is none.
    fn more(&self, fence: u64) -> i64 {
        match i64::try_from(fence).unwrap() {
            0 => 0,
            fence => fence - self.fence,
        }
    }
}

impl Stage {
    /// How everything stands.
    pub(super) async fn end(&self, subject: &Subject, since: &Since) -> End {
        let node = self.node().await;
        End {
            placements: self.placements(&node).await,
            secrets: self.secrets(subject, &node).await,
            ..self.told(&node, since)
        }
    }

    /// On the machine and in the other services.
    fn told(&self, node: &pb::Node, since: &Since) -> End {
        let status = node.status.clone().unwrap();
        let placement = status.placement.unwrap_or_default();
        let known = self.all.world.known();
        let leases = known.leases.values();
        let leases = leases.map(|lease| lease.status.as_ref().unwrap().state());
        let mut leases: Vec<_> = leases.collect();
        leases.sort();
        let signer = known.signer.nodes.get(&node.id);
        let bound = known.signer.validators.values().filter(|validator| {
            let status = validator.status.as_ref().unwrap();
            status.node_id == node.id
        });
        let target = known.target.as_ref().map(|target| {
            assert_eq!(target.node_id, node.id);
            let current = target.placement_id == placement.id;
            (since.more(target.fence), target.running, current)
        });
        End {
            state: state(node),
            upgraded: status.version != since.version,
            fence: since.more(placement.fence),
            placements: BTreeMap::new(),
            containers: self.containers(&placement, since),
            left: self.left(node, &placement),
            leases,
            held: (
                known.ledger.iter().map(|(_, micros)| micros).sum(),
                known.ledger.len(),
            ),
            secrets: BTreeSet::new(),
            signer: signer.map(|held| (since.more(held.fence), held.granted)),
            bound: bound.count(),
            target,
            work: known.work.len(),
        }
    }

    fn containers(
        &self,
        current: &pb::Placement,
        since: &Since,
    ) -> BTreeSet<(String, i64, bool, String)> {
        let standing = self.all.site.standing();
        let all = standing.containers.iter().map(|c| {
            let ours = c.placement_id == current.id;
            (
                c.component.clone(),
                since.more(c.fence),
                ours,
                format!("{:?}", c.state),
            )
        });
        let set: BTreeSet<_> = all.collect();
        assert_eq!(set.len(), standing.containers.len(), "each is there once");
        set
    }

    fn left(&self, node: &pb::Node, current: &pb::Placement) -> BTreeSet<String> {
        let short = node.id.rsplit('-').next().unwrap();
        let standing = self.all.site.standing();
        let named = [
            ("volume", Vec::from_iter(&standing.volumes)),
            ("network", Vec::from_iter(&standing.networks)),
            ("folder", Vec::from_iter(&standing.dirs)),
            ("image", standing.images.keys().collect()),
            (
                "file",
                standing.files.iter().map(|(path, _, _)| path).collect(),
            ),
        ];
        let mut left: BTreeSet<_> = named
            .into_iter()
            .flat_map(|(kind, names)| names.into_iter().map(move |name| format!("{kind} {name}")))
            .collect();
        for (node, ports) in &standing.firewall {
            left.insert(format!("ports {ports:?} of {node}"));
        }
        let image = digest(&node.status.as_ref().unwrap().version);
        let plain = |line: &String| {
            let line = line.replace(&image, "IMAGE");
            let line = line.replace(&node.id, "NODE").replace(short, "SHORT");
            if current.id.is_empty() {
                line
            } else {
                line.replace(&current.id, "PLACEMENT")
            }
        };
        left.iter().map(plain).collect()
    }

    async fn placements(&self, node: &pb::Node) -> BTreeMap<String, i64> {
        let count = "select state, count(*) from placement 
            where node_id = $1::uuid and state <> 'wiped' group by 1";
        let counted: Vec<(String, i64)> = sqlx::query_as(count)
            .bind(node.id.trim_start_matches("node-"))
            .fetch_all(&self.all.api.db)
            .await
            .unwrap();
        counted.into_iter().collect()
    }

    async fn secrets(&self, subject: &Subject, node: &pb::Node) -> BTreeSet<(String, bool)> {
        let mut secrets = BTreeSet::new();
        for secret in subject.entry.secrets_of(subject.role()) {
            let path = SecretPath::node(&node.id, &secret.name).unwrap();
            if let Some(kept) = self.all.context.vault.read_secret(&path).await.unwrap() {
                let value = kept["value"].expose_secret().as_bytes();
                let standing = self.all.site.standing();
                let there = standing.files.iter().any(|(_, _, held)| held == value);
                secrets.insert((secret.name.clone(), there));
            }
        }
        secrets
    }
}

impl End {
    /// What must hold at this rest, whatever happened on the way there.
    pub(super) fn holds(&self, subject: &Subject, part: Part) {
        assert_eq!(self.state, part.rest(), "{NODE}");
        assert_eq!(self.upgraded, part == Part::Upgrade, "{self:#?}");
        let current =
            |(_, fence, ours, _): &(String, i64, bool, String)| *ours && *fence == self.fence;
        assert!(self.containers.iter().all(current), "{self:#?}");
        assert_eq!(self.placements.get("fenced"), None, "{self:#?}");
        assert_eq!(self.work, 0, "{self:#?}");
        let held = i64::try_from(self.open()).unwrap() * -crate::outside::HOLD;
        assert_eq!(self.held.0, held, "{self:#?}");
        if matches!(self.state, State::Running | State::Stopped) {
            self.stands(subject, self.state == State::Running);
        } else {
            self.is_gone();
        }
    }

    /// Leases that last.
    fn open(&self) -> usize {
        let active = |state: &&LeaseState| **state == LeaseState::Active;
        self.leases.iter().filter(active).count()
    }

    /// One lease, one placement, one set of containers.
    fn stands(&self, subject: &Subject, runs: bool) {
        let components = subject.entry.components_of(subject.role());
        let agent = 1;
        let containers = components.into_iter().count() + agent;
        assert_eq!(self.containers.len(), containers, "{self:#?}");
        let does = if runs { "Running" } else { "Exited" };
        let all = self.containers.iter().all(|(_, _, _, state)| state == does);
        assert!(all, "{self:#?}");
        assert_eq!(self.open(), 1, "{self:#?}");
        assert_eq!(self.placements.get("current"), Some(&1), "{self:#?}");
        assert_eq!(self.target, Some((self.fence, runs, true)), "{self:#?}");
        assert!(!self.secrets.is_empty(), "{self:#?}");
        assert!(self.secrets.iter().all(|(_, there)| *there), "{self:#?}");
        let fence = if runs { self.fence } else { self.fence + 1 };
        let validators = subject.validators.len();
        let signs = (validators > 0).then_some((fence, runs));
        assert_eq!((self.signer, self.bound), (signs, validators), "{self:#?}");
    }

    /// Nothing on the machine, no lease, no placement, nobody who signs.
    fn is_gone(&self) {
        assert!(self.containers.is_empty(), "{self:#?}");
        assert!(self.left.is_empty(), "{self:#?}");
        assert_eq!(self.open(), 0, "{self:#?}");
        assert_eq!(self.placements.get("current"), None, "{self:#?}");
        assert!(self.signer.is_none_or(|(_, signs)| !signs), "{self:#?}");
        if self.state == State::Retired {
            assert_eq!((&self.target, self.bound), (&None, 0), "{self:#?}");
            assert!(self.secrets.is_empty(), "{self:#?}");
        }
    }
}
