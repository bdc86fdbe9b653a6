//! What waits to be sent: bounded in bytes and in age, newest kept, sent in order.
//!
//! Batches are kept encoded, so that the bound on bytes is the bound on memory.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

/// What one round measured, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Grows by one with every batch.
    pub sequence: u64,
    /// An encoded `ExportMetricsServiceRequest`.
    pub bytes: Bytes,
    samples: u64,
    made: Instant,
}

/// The batches that wait.
#[derive(Debug)]
pub struct Buffer {
    max_bytes: usize,
    max_age: Duration,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    next_sequence: u64,
    dropped: u64,
    closed: bool,
}

impl Buffer {
    /// An empty buffer.
    #[must_use]
    pub fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            max_bytes,
            max_age,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Adds a batch; the oldest go when there is no room. One that is larger than
    /// the whole buffer is dropped itself.
    pub fn push(&self, made: Instant, samples: u64, bytes: Bytes) {
        let mut state = self.state();
        if bytes.len() > self.max_bytes {
            state.dropped += samples;
            return;
        }
        while let Some(oldest) = state.batches.front()
            && (state.bytes + bytes.len() > self.max_bytes
                || made.duration_since(oldest.made) > self.max_age)
        {
            state.drop_oldest();
        }
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        state.bytes += bytes.len();
        state.batches.push_back(Batch {
            sequence,
            bytes,
            samples,
            made,
        });
        drop(state);
        self.changed.notify_one();
    }

    /// The oldest batch, once there is one; `None` when closed and empty. It stays
    /// until [`Buffer::sent`] or [`Buffer::discard`].
    pub async fn next(&self) -> Option<Batch> {
        loop {
            {
                let state = self.state();
                if let Some(batch) = state.batches.front() {
                    return Some(batch.clone());
                }
                if state.closed {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Removes a batch that arrived. Nothing when it made room meanwhile.
    pub fn sent(&self, sequence: u64) {
        self.state().remove(sequence);
    }

    /// Removes a batch that will never be accepted, and counts it as lost.
    pub fn discard(&self, sequence: u64) {
        let mut state = self.state();
        let lost = state.remove(sequence);
        state.dropped += lost;
    }

    /// Samples lost since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state().dropped
    }

    /// Lets [`Buffer::next`] end once all is sent.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere stops the process; the state is whole at every unlock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn drop_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= batch.bytes.len();
            self.dropped += batch.samples;
        }
    }

    /// Samples of the batch that was removed; 0 when it is not the oldest any more.
    fn remove(&mut self, sequence: u64) -> u64 {
        if self
            .batches
            .front()
            .is_none_or(|batch| batch.sequence != sequence)
        {
            return 0;
        }
        let Some(batch) = self.batches.pop_front() else {
            return 0;
        };
        self.bytes -= batch.bytes.len();
        batch.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn bytes(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    #[tokio::test]
    async fn the_oldest_make_room_and_are_counted() {
        let buffer = Buffer::new(100, HOUR);
        for _ in 0..4 {
            buffer.push(Instant::now(), 5, bytes(40));
        }
        assert_eq!(buffer.dropped(), 10);
        assert_eq!(buffer.next().await.unwrap().sequence, 2);
    }

    #[tokio::test]
    async fn what_is_too_old_goes_when_something_newer_comes() {
        let buffer = Buffer::new(1000, Duration::from_secs(60));
        let begin = Instant::now();
        buffer.push(begin, 1, bytes(10));
        buffer.push(begin + Duration::from_secs(60), 1, bytes(10));
        assert_eq!(buffer.next().await.unwrap().sequence, 0);
        buffer.push(begin + Duration::from_secs(61), 1, bytes(10));
        assert_eq!(buffer.next().await.unwrap().sequence, 1);
        assert_eq!(buffer.dropped(), 1);
    }

    #[tokio::test]
    async fn a_batch_that_made_room_while_it_was_sent_removes_no_other() {
        let buffer = Buffer::new(100, HOUR);
        buffer.push(Instant::now(), 1, bytes(60));
        let sending = buffer.next().await.unwrap();
        buffer.push(Instant::now(), 1, bytes(60));
        buffer.sent(sending.sequence);
        assert_eq!(buffer.next().await.unwrap().sequence, 1);
    }

    #[tokio::test]
    async fn a_closed_buffer_ends_after_its_last_batch() {
        let buffer = Buffer::new(100, HOUR);
        buffer.push(Instant::now(), 1, bytes(1));
        buffer.close();
        let last = buffer.next().await.unwrap();
        buffer.sent(last.sequence);
        assert_eq!(buffer.next().await, None);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_its_bound_and_loses_only_the_oldest(
            sizes in prop::collection::vec(0_usize..80, 1..60)
        ) {
            let buffer = Buffer::new(64, HOUR);
            for size in &sizes {
                buffer.push(Instant::now(), 1, bytes(*size));
            }
            let state = buffer.state();
            prop_assert!(state.bytes <= 64);
            let held: usize = state.batches.iter().map(|batch| batch.bytes.len()).sum();
            prop_assert_eq!(held, state.bytes);
            prop_assert_eq!(state.dropped + state.batches.len() as u64, sizes.len() as u64);
            let sequences: Vec<_> = state.batches.iter().map(|batch| batch.sequence).collect();
            let newest = state.next_sequence - sequences.len() as u64..state.next_sequence;
            prop_assert_eq!(sequences, newest.collect::<Vec<_>>());
        }
    }
}
