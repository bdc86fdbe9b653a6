//! The life of a node from one state of rest to the next, on a stage where every
//! effect is watched.

use super::chains::Subject;
use super::end::End;
use super::parts::Part;
use super::vault::front;
use super::watched::Watched;
use crate::effects::{Effects, Fault, Halted};
use crate::support::{Whole, get, state};
use berth_proto::inventory::v1 as inventory;
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::node_status::State;
use berth_provisioning::reconcile::{self, Context};
use berth_secrets::{Vault, VaultConfig, deliver_secret_id};
use futures::future::BoxFuture;
use sqlx::PgPool;
use std::pin::pin;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// The node of all lives; each is another one.
pub(super) const NODE: &str = "n1";
/// Processors and bytes of memory of the machine.
const LARGE: (u32, u64) = (16, 32 << 30);
/// Most turns to a state of rest.
const TURNS: usize = 100;

/// What a node had before a part of its life.
pub(super) struct Since {
    /// Newest fence.
    pub(super) fence: i64,
    /// Version of its chain.
    pub(super) version: String,
}

/// The service, watched, with one node.
pub(super) struct Stage {
    pub(super) all: Whole,
    pub(super) context: Context,
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
        all.site.standing().hardware = Some(LARGE);
        {
            let mut known = all.world.known();
            let status = known.machine.status.as_mut().unwrap();
            let facts = status.facts.as_mut().unwrap();
            (facts.cpu_cores, facts.memory_bytes) = LARGE;
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

    pub(super) async fn node(&self) -> pb::Node {
        get(&self.all.api, self.all.account, NODE).await.unwrap()
    }

    /// Lives through one part, with one effect going wrong: its effects, and
    /// where it ends, which is a state of rest in which nothing is left over.
    pub(super) async fn live(
        &self,
        subject: &Subject,
        part: Part,
        fault: Option<(usize, Fault)>,
    ) -> (Vec<String>, End) {
        let since = self.since(subject, part).await;
        self.effects().watch(fault);
        self.ask(subject, part, &since).await;
        self.rest(part).await;
        let seen = self.effects().finish();
        // Fences are compared at the end.
        let named = |effect: String| effect.split(" under ").next().map(str::to_owned);
        let seen = seen.into_iter().filter_map(named).collect();
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
        let end = self.end(subject, &since).await;
        end.holds(subject, part);
        (seen, end)
    }

    async fn since(&self, subject: &Subject, part: Part) -> Since {
        if part == Part::Launch {
            // Another node on another lease: what was known of the last one is forgotten.
            let mut known = self.all.world.known();
            known.leases.clear();
            known.ledger.clear();
            return Since {
                fence: 0,
                version: subject.entry.version.clone(),
            };
        }
        let node = self.node().await;
        let newest = "select coalesce(max(fence), 0) from placement where node_id = $1::uuid";
        let fence = sqlx::query_scalar(newest)
            .bind(node.id.trim_start_matches("node-"))
            .fetch_one(&self.context.db);
        Since {
            fence: fence.await.unwrap(),
            version: node.status.unwrap().version,
        }
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
        let node = self.node().await;
        if state(&node) != part.rest() || !self.is_done(part, &node) {
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
            self.meanwhile(part).await;
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
        self.sql(due).await;
    }

    pub(super) async fn sql(&self, statement: &'static str) {
        let done = sqlx::raw_sql(statement).execute(&self.context.db).await;
        done.unwrap();
    }
}
