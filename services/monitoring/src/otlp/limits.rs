//! How much one node may send: exports and bytes from one bucket of tokens, and
//! few exports at once. Counted by each replica for itself.

use berth_core::{Error, NodeId, Result};
use berth_runtime::auth::Peer;
use berth_runtime::status;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tonic::{Request, Status};

/// Exports that may come at once after a pause.
const BURST: f64 = 120.0;
/// Exports a second after that.
const RATE: f64 = 4.0;
/// Bytes that count as one more export.
const BYTES: f64 = 65536.0;
/// Exports that may be read and stored at the same time.
const OPEN: usize = 4;
/// Most nodes that are counted.
const MAX_NODES: usize = 20_000;

/// The buckets of all nodes that speak to this replica; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits(Arc<Mutex<BTreeMap<NodeId, Bucket>>>);

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    open: usize,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self {
            tokens: BURST,
            filled: now,
            open: 0,
        }
    }

    fn fill(&mut self, now: Instant) {
        let more = now.duration_since(self.filled).as_secs_f64() * RATE;
        self.tokens = (self.tokens + more).min(BURST);
        self.filled = now;
    }

    /// Whether forgetting it would give its node nothing.
    fn is_idle(&self) -> bool {
        self.open == 0 && self.tokens >= BURST
    }
}

/// An export on its way; its place is free again once this is dropped.
#[derive(Debug)]
pub(super) struct Open {
    limits: Limits,
    node: NodeId,
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(bucket) = self.limits.buckets().get_mut(&self.node) {
            bucket.open = bucket.open.saturating_sub(1);
        }
    }
}

impl Limits {
    /// Lets a request in before its body is read, or refuses it. Services are
    /// not limited.
    pub(super) fn admit(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(Peer::Placement { node_id, .. }) = request.extensions().get() {
            let open = self
                .open(*node_id)
                .map_err(|error| status::from_error(&error))?;
            request.extensions_mut().insert(Arc::new(open));
        }
        Ok(request)
    }

    /// Takes a token and a place.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] when there is none.
    fn open(&self, node: NodeId) -> Result<Open> {
        let now = Instant::now();
        let mut buckets = self.buckets();
        if buckets.len() >= MAX_NODES && !buckets.contains_key(&node) {
            buckets.retain(|_, bucket| {
                bucket.fill(now);
                !bucket.is_idle()
            });
            if buckets.len() >= MAX_NODES {
                buckets.pop_first();
            }
        }
        let bucket = buckets.entry(node).or_insert_with(|| Bucket::new(now));
        bucket.fill(now);
        if bucket.tokens < 1.0 || bucket.open >= OPEN {
            return Err(Error::exhausted(
                "TOO_MANY_EXPORTS",
                "too many exports; send fewer, and one after the other",
            ));
        }
        bucket.tokens -= 1.0;
        bucket.open += 1;
        drop(buckets);
        Ok(Open {
            limits: self.clone(),
            node,
        })
    }

    /// Counts the size of an export that was let in; a large one is paid for by
    /// those that follow.
    pub(super) fn charge(&self, node: NodeId, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Some(bucket) = self.buckets().get_mut(&node) {
            bucket.tokens -= f64::from(bytes) / BYTES;
        }
    }

    fn buckets(&self) -> MutexGuard<'_, BTreeMap<NodeId, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_that_floods_does_not_silence_another() {
        let limits = Limits::default();
        let (loud, quiet) = (NodeId::generate(), NodeId::generate());
        let accepted = (0..1000).filter(|_| limits.open(loud).is_ok()).count();
        assert!((120..500).contains(&accepted), "{accepted}");
        assert!(limits.open(quiet).is_ok());
    }

    #[test]
    fn a_place_is_free_again_when_its_export_is_done() {
        let limits = Limits::default();
        let node = NodeId::generate();
        let open: Vec<_> = (0..OPEN).map(|_| limits.open(node).unwrap()).collect();
        assert!(limits.open(node).is_err());
        drop(open);
        assert!(limits.open(node).is_ok());
    }

    #[test]
    fn large_exports_are_paid_for() {
        let limits = Limits::default();
        let node = NodeId::generate();
        for _ in 0..2 {
            limits.open(node).unwrap();
            limits.charge(node, 4 << 20);
        }
        assert!(limits.open(node).is_err());
    }
}
