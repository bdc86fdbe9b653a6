//! Storing exports: those of many nodes in one statement.

use super::targets::{self, Locked, announce};
use crate::domain::Speaker;
use crate::otlp::Point;
use berth_core::{Fence, NodeId, Result};
use berth_runtime::pg;
use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use std::cmp::Reverse;

/// Most series of a node; what comes beyond them is not kept.
pub const MAX_SERIES: i64 = 200;

/// What a placement sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Who sent it.
    pub speaker: Speaker,
    /// What it measured.
    pub points: Vec<Point>,
}

/// What one export of a node's current placement adds.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The node.
    pub node_id: NodeId,
    /// The fence of its placement.
    pub fence: Fence,
    /// What it measured.
    pub points: &'a [Point],
}

/// A series that finds no room.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LeftOut {
    /// The node.
    pub node_id: NodeId,
    /// The name of the series.
    pub name: String,
    /// Its labels.
    pub labels: String,
}

/// The points of the exports, a column of the statement each.
#[derive(Default)]
struct Columns<'a> {
    nodes: Vec<NodeId>,
    fences: Vec<Fence>,
    names: Vec<&'a str>,
    labels: Vec<&'a str>,
    units: Vec<&'a str>,
    times: Vec<DateTime<Utc>>,
    values: Vec<f64>,
    /// Whether it is the newest point of its series.
    newest: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn new(exports: &[Export<'a>]) -> Self {
        let mut columns = Self::default();
        for export in exports {
            columns.add(export);
        }
        columns
    }

    /// The points of an export, each time of a series once.
    fn add(&mut self, export: &Export<'a>) {
        let series = |point: &'a Point| (point.name.as_str(), point.labels.as_str());
        let mut points: Vec<&Point> = export.points.iter().collect();
        points.sort_by_key(|point| (series(point), Reverse(point.time)));
        points.dedup_by_key(|point| (series(point), point.time));
        let mut before = None;
        for point in points {
            self.nodes.push(export.node_id);
            self.fences.push(export.fence);
            self.names.push(&point.name);
            self.labels.push(&point.labels);
            self.units.push(&point.unit);
            self.times.push(point.time);
            self.values.push(point.value);
            let newest = before.replace(series(point)) != Some(series(point));
            self.newest.push(newest);
        }
    }
}

/// The series of an export that find no room, or why it is not heard; nothing when
/// its target was passed over.
pub type Verdict = Option<Result<Vec<LeftOut>>>;

/// Stores what the current placements of nodes sent, at most one export of each
/// node, in one transaction. Returns what each is answered, in order.
///
/// # Errors
///
/// Those of the database; then nothing is stored.
pub async fn store(db: &PgPool, sent: &[&Sent], locked: Locked) -> Result<Vec<Verdict>> {
    let nodes: Vec<_> = sent.iter().map(|one| one.speaker.node_id).collect();
    let mut txn = db.begin().await.map_err(pg::error)?;
    let current = targets::lock(&mut txn, &nodes, locked).await?;
    let admit = |one: &&Sent| {
        let node = &one.speaker.node_id;
        match current.binary_search_by_key(node, |known| known.node_id) {
            Ok(at) => Some(one.speaker.admit(Some(current[at]))),
            Err(_) if locked == Locked::PassOver => None,
            Err(_) => Some(one.speaker.admit(None)),
        }
    };
    let admitted: Vec<_> = sent.iter().map(admit).collect();
    let heard = sent.iter().zip(&admitted);
    let heard =
        heard.filter(|(one, admitted)| matches!(admitted, Some(Ok(()))) && !one.points.is_empty());
    let exports: Vec<_> = heard
        .map(|(one, _)| Export {
            node_id: one.speaker.node_id,
            fence: one.speaker.fence,
            points: &one.points,
        })
        .collect();
    let mut left_out = Vec::new();
    if !exports.is_empty() {
        left_out = insert(&mut txn, &exports).await?;
    }
    txn.commit().await.map_err(pg::error)?;
    let answers = sent.iter().zip(admitted).map(|(one, admitted)| {
        let own = left_out.extract_if(.., |series| series.node_id == one.speaker.node_id);
        let own = own.collect();
        admitted.map(|admitted| admitted.map(|()| own))
    });
    Ok(answers.collect())
}

/// Stores exports, at most one of each node, in one statement. Points of series
/// beyond [`MAX_SERIES`] are left out, Berth's own names last; returns those
/// series. The targets must be locked, or two exports at once count wrong.
///
/// # Errors
///
/// Those of the database.
pub async fn insert(conn: &mut PgConnection, exports: &[Export<'_>]) -> Result<Vec<LeftOut>> {
    let columns = Columns::new(exports);
    let left_out = sqlx::query_as(include_str!("exports.sql"))
        .bind(columns.nodes)
        .bind(columns.fences)
        .bind(columns.names)
        .bind(columns.labels)
        .bind(columns.units)
        .bind(columns.times)
        .bind(columns.values)
        .bind(columns.newest)
        .bind(MAX_SERIES)
        .fetch_all(&mut *conn)
        .await
        .map_err(pg::error)?;
    let nodes: Vec<_> = exports.iter().map(|export| export.node_id).collect();
    announce(conn, &nodes).await?;
    Ok(left_out)
}
