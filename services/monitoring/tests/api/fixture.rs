//! A node that monitoring knows, and its samples.

use berth_core::{AccountId, Fence, NodeId, PlacementId};
use berth_monitoring::api::Api;
use berth_monitoring::otlp::Point;
use berth_monitoring::store;
use berth_monitoring::store::exports::{self, Export};
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_server::MonitoringService as _;
use berth_proto::monitoring::v1::target_service_server::TargetService as _;
use berth_runtime::notices::Notices;
use berth_runtime::reconcile;
use chrono::{DateTime, Utc};
use sqlx::PgPool;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

pub(crate) use pb::health::State;

/// A replica of monitoring.
pub(crate) struct Replica {
    pub(crate) api: Api,
    pub(crate) db: PgPool,
    pub(crate) stop: CancellationToken,
    _tasks: JoinSet<()>,
}

impl Replica {
    pub(crate) fn new(db: &PgPool) -> Self {
        let stop = CancellationToken::new();
        let channels = &[store::CHANNEL, reconcile::CHANNEL];
        let (notices, listen) = Notices::listen(db.clone(), channels, stop.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(listen);
        Self {
            api: Api::new(db.clone(), notices, stop.clone()),
            db: db.clone(),
            stop,
            _tasks: tasks,
        }
    }
}

/// A node with its placement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) account: AccountId,
    pub(crate) id: NodeId,
    pub(crate) placement: PlacementId,
    pub(crate) fence: u64,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self {
            account: AccountId::generate(),
            id: NodeId::generate(),
            placement: PlacementId::generate(),
            fence: 3,
        }
    }

    /// A node that monitoring expects something of.
    pub(crate) async fn known(replica: &Replica) -> Self {
        let node = Self::new();
        put(replica, node.target()).await.unwrap();
        node
    }

    pub(crate) fn target(&self) -> pb::PutTargetRequest {
        pb::PutTargetRequest {
            node_id: self.id.to_string(),
            account_id: self.account.to_string(),
            placement_id: self.placement.to_string(),
            fence: self.fence,
            expectation: Some(pb::Expectation {
                min_peers: 1,
                max_distance: 5,
                ..Default::default()
            }),
            running: true,
            duty: None,
            chain: String::new(),
            public_keys: Vec::new(),
        }
    }

    /// A request of the account that owns it.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.account);
        request
    }

    pub(crate) async fn health(&self, replica: &Replica) -> Result<pb::Health, Status> {
        let message = pb::GetHealthRequest {
            node_id: self.id.to_string(),
        };
        let answer = replica.api.get_health(self.request(message)).await?;
        Ok(answer.into_inner().health.unwrap())
    }

    /// Stores points as an export of the current placement does; returns the
    /// names of the series that found no room.
    pub(crate) async fn store(&self, db: &PgPool, points: &[Point]) -> Vec<String> {
        let mut conn = db.acquire().await.unwrap();
        let export = Export {
            node_id: self.id,
            fence: Fence::from(self.fence),
            points,
        };
        let left_out = exports::insert(&mut conn, &[export]).await.unwrap();
        left_out.into_iter().map(|series| series.name).collect()
    }
}

pub(crate) async fn put(replica: &Replica, target: pb::PutTargetRequest) -> Result<(), Status> {
    let answer = replica.api.put_target(Request::new(target)).await;
    answer.map(drop)
}

pub(crate) fn point(name: &str, time: DateTime<Utc>, value: f64) -> Point {
    Point {
        name: name.to_owned(),
        labels: String::new(),
        unit: "1".to_owned(),
        time,
        value,
    }
}

/// The points of a node that follows its chain.
pub(crate) fn well() -> Vec<Point> {
    let now = berth_core::now();
    vec![
        point("berth.node.up", now, 1.0),
        point("berth.node.catching_up", now, 0.0),
        point("berth.node.height", now, 100.0),
        point("berth.node.peers", now, 4.0),
    ]
}

/// The fields that a refusal names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt as _;
    let details = status.get_details_bad_request().unwrap();
    let violations = details.field_violations.into_iter();
    violations.map(|violation| violation.field).collect()
}

/// The stable reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().unwrap().reason
}
