//! Nodes with a connection each, and what their agents have to send.

use crate::authority::Pki;
use crate::export;
use crate::line::Line;
use berth_core::{AccountId, NodeId, PlacementId};
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::target_service_client::TargetServiceClient;
use berth_runtime::clients::request;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// How many nodes there are.
pub(crate) const NODES: usize = 2000;
/// Calls and handshakes at once while all is prepared.
const PREPARING: usize = 32;
/// How often an agent measures.
const INTERVAL: Duration = Duration::from_secs(10);

/// A node, and its exports in order.
struct Node {
    id: NodeId,
    placement: PlacementId,
    exports: Vec<Bytes>,
}

pub(crate) struct Fleet(Vec<Node>);

/// The connection of each node, and which of its exports comes next.
pub(crate) struct Lines<'a> {
    fleet: &'a Fleet,
    open: Vec<(usize, Line)>,
    next: usize,
}

/// Milliseconds of each answer, shortest first, and the seconds of all together.
pub(crate) struct Answers {
    pub(crate) waits: Vec<f64>,
    pub(crate) took: f64,
}

impl Fleet {
    /// Nodes that measured so many rounds, the last of them now.
    pub(crate) fn new(rounds: u32) -> Self {
        let now = SystemTime::now();
        let node = |_| {
            let (id, placement) = (NodeId::generate(), PlacementId::generate());
            let export = |round| {
                let at = now - INTERVAL * (rounds - round);
                export::frame(&id.to_string(), 25e6 + f64::from(round), at)
            };
            Node {
                id,
                placement,
                exports: (0..rounds).map(export).collect(),
            }
        };
        Self((0..NODES).map(node).collect())
    }

    /// Tells monitoring what it shall expect of each.
    pub(crate) async fn put(&self, services: &Channel) {
        stream::iter(&self.0)
            .for_each_concurrent(PREPARING, async |node| {
                let target = pb::PutTargetRequest {
                    node_id: node.id.to_string(),
                    account_id: AccountId::generate().to_string(),
                    placement_id: node.placement.to_string(),
                    fence: 1,
                    expectation: Some(pb::Expectation::default()),
                    running: true,
                    duty: None,
                    chain: String::new(),
                    public_keys: Vec::new(),
                };
                let mut targets = TargetServiceClient::new(services.clone());
                targets.put_target(request(target)).await.unwrap();
            })
            .await;
    }

    /// A connection of each node, with its own certificate where there is TLS.
    pub(crate) async fn connect(&self, address: SocketAddr, pki: Option<&Pki>) -> Lines<'_> {
        let authority = pki.map(|pki| pki.services.pem()).unwrap_or_default();
        let open = stream::iter(self.0.iter().enumerate())
            .map(async |(number, node)| {
                let line = match pki {
                    None => Line::plain(address).await,
                    Some(pki) => {
                        let (id, placement) = (node.id, node.placement);
                        let uri = format!("berth://placement/{id}/{placement}/1");
                        let issued = pki.placements.issue(&uri, &[]);
                        Line::secure(address, &issued, &authority).await
                    }
                };
                (number, line)
            })
            .buffer_unordered(PREPARING);
        Lines {
            fleet: self,
            open: open.collect().await,
            next: 0,
        }
    }
}

impl Lines<'_> {
    /// Has every node send its next exports, so many each; `at_once` of the nodes
    /// at the same time.
    pub(crate) async fn send(&mut self, rounds: usize, at_once: usize) -> Answers {
        let (first, mut groups) = (self.next, JoinSet::new());
        self.next += rounds;
        let mut open = std::mem::take(&mut self.open).into_iter();
        let begun = Instant::now();
        for _ in 0..at_once {
            let group = open.by_ref().take(NODES.div_ceil(at_once));
            let group = group.map(|(number, line)| {
                let exports = &self.fleet.0[number].exports[first..first + rounds];
                (number, line, exports.to_vec())
            });
            groups.spawn(one_after_the_other(group.collect()));
        }
        let mut waits = Vec::new();
        for (lines, waited) in groups.join_all().await {
            self.open.extend(lines);
            waits.extend(waited);
        }
        let took = begun.elapsed().as_secs_f64();
        waits.sort_by(f64::total_cmp);
        Answers { waits, took }
    }
}

/// Sends the first export of each, then the second, and so on. Returns the
/// connections, and the milliseconds of each answer.
async fn one_after_the_other(
    mut group: Vec<(usize, Line, Vec<Bytes>)>,
) -> (Vec<(usize, Line)>, Vec<f64>) {
    let rounds = group.first().map_or(0, |(_, _, exports)| exports.len());
    let mut waits = Vec::new();
    for round in 0..rounds {
        for (_, line, exports) in &mut group {
            let begun = Instant::now();
            line.export(exports[round].clone()).await;
            waits.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let lines = group.into_iter().map(|(number, line, _)| (number, line));
    (lines.collect(), waits)
}
