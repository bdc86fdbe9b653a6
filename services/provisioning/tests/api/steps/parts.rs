//! What is asked of a node or of its machine, and when it has come of it.

use super::chains::{OTHER, Subject};
use super::life::{NODE, Since, Stage};
use crate::support::{from, request_id};
use berth_proto::inventory::v1 as inventory;
use berth_proto::inventory::v1::machine_work::Kind;
use berth_proto::leasing::v1::Lease;
use berth_proto::leasing::v1::lease_status::{CloseReason, State as LeaseState};
use berth_proto::monitoring::v1::health::State::{Down, Healthy};
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_proto::provisioning::v1::upgrade::State as Upgrading;
use berth_provisioner::drift::{Difference, Part as Drifted};
use berth_provisioning::reconcile;
use berth_runtime::reconcile::wake;

/// What was healthy has been so for long.
const STEADY: &str = "update node_upgrade set steady_time = steady_time - interval '1 hour'";
/// What was started has no more time to become healthy.
const OVERDUE: &str = "update node_upgrade set deadline = create_time where state = 'checking'";
/// The last comparison of a machine with what should stand there was long ago.
const COMPARED: &str = "
    update placement set deploy_time = now() - interval '2 hours' where state = 'current';
    update drift set look_time = now() - interval '1 hour'";
/// A day is over: nobody remembers what was put right.
const ANOTHER_DAY: &str = "update drift set repairs = '{}'";

/// What is asked of a node or of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Launch,
    Stop,
    Start,
    /// Another setting.
    Change,
    /// The other version, which becomes healthy.
    Upgrade,
    /// The other version, which does not, and the way back.
    RollBack,
    /// Somebody changed limits, firewall and secrets by hand.
    Repair,
    /// The lease is over.
    Wipe,
    /// Once more after it failed.
    Retry,
    Retire,
}

/// A whole life, in which every effect goes wrong once.
pub(super) const LIFE: [Part; 2] = [Part::Launch, Part::Retire];

/// What a node that runs goes through again and again, once for each effect.
/// Whatever has steps of its own belongs here or into [`LIFE`]; its effects are
/// found by running it.
pub(super) const ROUNDS: [&[Part]; 6] = [
    &[Part::Stop, Part::Start],
    &[Part::Change],
    &[Part::Upgrade],
    &[Part::RollBack],
    &[Part::Repair],
    &[Part::Wipe, Part::Retry],
];

impl Part {
    /// Where it comes to rest.
    pub(super) fn rest(self) -> State {
        match self {
            Self::Launch | Self::Start | Self::Retry => State::Running,
            Self::Change | Self::Upgrade | Self::RollBack | Self::Repair => State::Running,
            Self::Stop => State::Stopped,
            Self::Wipe => State::Failed,
            Self::Retire => State::Retired,
        }
    }
}

impl Stage {
    /// Whether that happened which the state does not tell.
    pub(super) fn is_done(&self, part: Part, node: &pb::Node) -> bool {
        let ended = upgraded(node);
        match part {
            Part::Upgrade => ended == Upgrading::Done,
            Part::RollBack => ended == Upgrading::RolledBack,
            Part::Repair => self.all.site.standing().changed.is_empty(),
            Part::Launch | Part::Stop | Part::Start | Part::Change => true,
            Part::Wipe | Part::Retry | Part::Retire => true,
        }
    }

    /// What time does besides, and the version that is not healthy.
    pub(super) async fn meanwhile(&self, part: Part) {
        match part {
            Part::Upgrade => self.sql(STEADY).await,
            Part::RollBack => {
                let back = upgraded(&self.node().await) == Upgrading::RollingBack;
                let health = if back { Healthy } else { Down };
                self.all.world.known().health = health;
                self.sql(if back { STEADY } else { OVERDUE }).await;
            }
            Part::Repair => self.sql(COMPARED).await,
            Part::Launch | Part::Stop | Part::Start | Part::Change => {}
            Part::Wipe | Part::Retry | Part::Retire => {}
        }
    }

    pub(super) async fn ask(&self, subject: &Subject, part: Part, since: &Since) {
        let (api, account) = (&self.all.api, self.all.account);
        let (request_id, node_id) = (request_id(), NODE.to_owned());
        match part {
            Part::Launch => {
                let wish = subject.wish(NODE);
                api.launch_node(from(account, wish)).await.map(drop)
            }
            Part::Stop => {
                let stop = pb::StopNodeRequest {
                    request_id,
                    node_id,
                };
                api.stop_node(from(account, stop)).await.map(drop)
            }
            Part::Start => {
                let start = pb::StartNodeRequest {
                    request_id,
                    node_id,
                };
                api.start_node(from(account, start)).await.map(drop)
            }
            Part::Change => {
                let mut spec = self.node().await.spec.unwrap();
                let level = spec.settings.entry("log_level".to_owned()).or_default();
                *level = if level == "debug" { "info" } else { "debug" }.to_owned();
                let update = pb::UpdateNodeRequest {
                    request_id,
                    node_id,
                    spec: Some(spec),
                    update_mask: Some(prost_types::FieldMask {
                        paths: vec!["settings".to_owned()],
                    }),
                    etag: String::new(),
                };
                api.update_node(from(account, update)).await.map(drop)
            }
            Part::Upgrade | Part::RollBack => {
                let first = since.version != OTHER;
                let version = if first { OTHER } else { &subject.entry.version };
                let upgrade = pb::UpgradeNodeRequest {
                    request_id,
                    node_id,
                    version: version.to_owned(),
                    ..pb::UpgradeNodeRequest::default()
                };
                api.upgrade_node(from(account, upgrade)).await.map(drop)
            }
            Part::Repair => {
                self.sql(ANOTHER_DAY).await;
                self.change_by_hand();
                Ok(())
            }
            Part::Wipe => {
                self.end_lease().await;
                Ok(())
            }
            Part::Retry => {
                let retry = pb::RetryNodeRequest {
                    request_id,
                    node_id,
                };
                api.retry_node(from(account, retry)).await.map(drop)
            }
            Part::Retire => {
                let retire = pb::RetireNodeRequest {
                    request_id,
                    node_id,
                };
                api.retire_node(from(account, retire)).await.map(drop)
            }
        }
        .unwrap();
    }

    /// Limits, firewall and secrets are not what they were.
    fn change_by_hand(&self) {
        let mut standing = self.all.site.standing();
        let limits = Drifted::Limits(standing.containers[0].name.clone());
        let parts = [
            ("limit ", limits),
            ("firewall", Drifted::Firewall),
            ("secrets", Drifted::Secret),
        ];
        let changed = parts.map(|(cure, part)| {
            let difference = Difference {
                part,
                what: "the thing".to_owned(),
                wanted: "right".to_owned(),
                found: "wrong".to_owned(),
            };
            (cure, difference)
        });
        standing.changed = changed.into();
    }

    /// The lease's time is up, and inventory wants the machine wiped.
    async fn end_lease(&self) {
        {
            let mut known = self.all.world.known();
            let active =
                |lease: &Lease| lease.status.as_ref().unwrap().state() == LeaseState::Active;
            known.leases.retain(|_, lease| active(lease));
            known.ledger = vec![(String::new(), -crate::outside::HOLD)];
        }
        self.all.world.end_leases(CloseReason::Expired);
        {
            let mut known = self.all.world.known();
            let mut work = inventory::MachineWork {
                machine: Some(known.machine.clone()),
                attempt: i64::try_from(known.wiped.len()).unwrap() + 1,
                ..inventory::MachineWork::default()
            };
            work.set_kind(Kind::Wipe);
            known.work.push(work);
        }
        let mut conn = self.context.db.acquire().await.unwrap();
        let machine = self.all.machine.uuid();
        wake(&mut conn, reconcile::MACHINE, machine).await.unwrap();
    }
}

/// How far the node's newest upgrade is.
fn upgraded(node: &pb::Node) -> Upgrading {
    let status = node.status.clone().unwrap_or_default();
    status.upgrade.unwrap_or_default().state()
}
