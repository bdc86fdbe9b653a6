//! The life of a node from one state of rest to the next, on a stage where every
//! effect is watched.

use super::chains::Subject;
use super::vault::front;
use super::watched::Watched;
use crate::effects::{Effects, Fault, Halted};
use crate::support::{Whole, from, get, request_id, state};
use berth_proto::inventory::v1 as inventory;
use berth_proto::inventory::v1::machine_work::Kind;
use berth_proto::leasing::v1::lease_status::CloseReason;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_provisioning::reconcile::{self, Context};
use berth_runtime::reconcile::wake;
use berth_secrets::{Vault, VaultConfig, deliver_secret_id};
use futures::future::BoxFuture;
use sqlx::PgPool;
use std::pin::pin;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// The node of all lives; each is another one.
pub(super) const NODE: &str = "n1";
/// Most turns to a state of rest.
const TURNS: usize = 100;

/// What is asked of a node or of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Launch,
    Stop,
    Start,
    Change,
    Wipe,
    Retire,
}

/// A life, part after part.
pub(super) struct Life {
    /// How it begins, undisturbed.
    pub(super) begins: &'static [Part],
    /// Where every effect goes wrong once.
    pub(super) broken: &'static [Part],
}

/// All lives. Whatever has steps of its own belongs here; its effects are found
/// by running it.
pub(super) const LIVES: [Life; 2] = [
    Life {
        begins: &[],
        broken: &[
            Part::Launch,
            Part::Stop,
            Part::Start,
            Part::Change,
            Part::Retire,
        ],
    },
    Life {
        begins: &[Part::Launch],
        broken: &[Part::Wipe, Part::Retire],
    },
];

impl Part {
    /// Where it comes to rest.
    pub(super) fn rest(self) -> State {
        match self {
            Self::Launch | Self::Start | Self::Change => State::Running,
            Self::Stop => State::Stopped,
            Self::Wipe => State::Failed,
            Self::Retire => State::Retired,
        }
    }
}

/// The service, watched, with one node.
pub(super) struct Stage {
    pub(super) all: Whole,
    context: Context,
    _folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Stage {
    pub(super) async fn new(db: PgPool, subject: &Subject) -> Self {
        let all = Whole::new(db).await;
        let mut tasks = JoinSet::new();
        let bao = all.bao.as_ref().unwrap();
        let effects = Arc::clone(&all.world.effects);
        let address = front(&mut tasks, effects, bao.address(), &bao.ca_file()).await;
        let folder = tempfile::tempdir().unwrap();
        let secret_id = folder.path().join("secret-id");
        let config = VaultConfig::new(address, None, "provisioning", secret_id);
        deliver_secret_id(bao.admin(), &config).await.unwrap();
        let context = Context {
            site: Arc::new(Watched {
                site: Arc::clone(&all.site) as _,
                world: all.world.clone(),
            }),
            vault: Vault::connect(config).await.unwrap(),
            ..all.context.clone()
        };
        subject.register(&all.api, all.account).await;
        {
            let mut known = all.world.known();
            let status = known.machine.status.as_mut().unwrap();
            let facts = status.facts.as_mut().unwrap();
            (facts.cpu_cores, facts.memory_bytes) = (16, 32 << 30);
            facts.disks.push(inventory::Disk {
                free_bytes: 1 << 40,
                ..inventory::Disk::default()
            });
            for key in &subject.validators {
                known.signer.import(key);
                let validator = known.signer.validators.get_mut(key).unwrap();
                let spec = validator.spec.as_mut().unwrap();
                spec.chain.clone_from(&subject.entry.name);
            }
        }
        Self {
            all,
            context,
            _folder: folder,
            _tasks: tasks,
        }
    }

    pub(super) fn effects(&self) -> &Effects {
        &self.all.world.effects
    }

    /// Another node on another lease: what was known of the last one is forgotten.
    pub(super) fn begin(&self) {
        let mut known = self.all.world.known();
        known.leases.clear();
        known.ledger.clear();
    }

    pub(super) async fn node(&self) -> pb::Node {
        get(&self.all.api, self.all.account, NODE).await.unwrap()
    }

    /// Lives through one part, with one effect going wrong; its effects.
    pub(super) async fn live(
        &self,
        subject: &Subject,
        part: Part,
        fault: Option<(usize, Fault)>,
    ) -> Vec<String> {
        self.effects().watch(fault);
        self.ask(subject, part).await;
        self.rest(part).await;
        let seen = self.effects().finish();
        // What came late is put right by the next look.
        let late = matches!(fault, Some((_, Fault::ClaimLost)));
        for _ in 0..if late { 2 } else { 0 } {
            self.due().await;
            reconcile::reconciler(&self.context, 1)
                .turn()
                .await
                .unwrap();
        }
        self.rest(part).await;
        seen
    }

    /// Works until the node is at rest.
    async fn rest(&self, part: Part) {
        for _ in 0..TURNS {
            if self.rests(part).await {
                return;
            }
            self.turn(part).await;
        }
        panic!("{part:?} never came to rest: {:#?}", self.node().await);
    }

    async fn rests(&self, part: Part) -> bool {
        if state(&self.node().await) != part.rest() {
            return false;
        }
        let left: i64 = sqlx::query_scalar("select count(*) from work")
            .fetch_one(&self.context.db)
            .await
            .unwrap();
        // Who runs or stands still is looked at for ever.
        let kept = matches!(part.rest(), State::Running | State::Stopped);
        left == i64::from(kept)
    }

    /// One turn of a worker, which may die or be paused in it.
    fn turn(&self, part: Part) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.due().await;
            let worker = reconcile::reconciler(&self.context, 1);
            let mut turn = pin!(worker.turn());
            let halted = tokio::select! {
                done = &mut turn => {
                    done.unwrap();
                    return;
                }
                halted = self.effects().halted() => halted,
            };
            match halted {
                Halted::Crashed => {}
                Halted::Paused(go_on) => {
                    self.rest(part).await;
                    go_on.notify_one();
                    turn.await.unwrap();
                }
            }
        })
    }

    /// Time passes: what waits is due, machines first, and claims have ended.
    async fn due(&self) {
        let due = "update work set claimed_until = null, not_before = now() -
            make_interval(secs => case kind when 'machine' then 2 else 1 end)";
        sqlx::query(due).execute(&self.context.db).await.unwrap();
    }

    async fn ask(&self, subject: &Subject, part: Part) {
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
                let mut spec = subject.wish(NODE).spec.unwrap();
                let louder = ("log_level".to_owned(), "debug".to_owned());
                spec.settings.extend([louder]);
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
            Part::Wipe => {
                self.end_lease().await;
                Ok(())
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

    /// The lease's time is up, and inventory wants the machine wiped.
    async fn end_lease(&self) {
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
