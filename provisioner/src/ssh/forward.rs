//! What a machine may dial through its session: an image registry, on a port
//! of its own loopback, while an image is being delivered.

use crate::images::registry::{self, Offer};
use russh::Channel;
use russh::client::{ChannelOpenHandle, Msg};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// Channels that one machine may hold open at once; dockerd pulls three layers.
const MAX_CHANNELS: usize = 16;

/// Offers by port of the machine, and the channels that are being served.
#[derive(Debug, Default)]
pub(crate) struct Forwards {
    offers: Mutex<HashMap<u32, Arc<Offer>>>,
    serving: Mutex<JoinSet<()>>,
}

impl Forwards {
    /// Serves an offer to whoever dials this port of the machine, until the
    /// result is dropped; channels that are open then go on to their end.
    pub(crate) fn offer(&self, port: u32, offer: Offer) -> Offered<'_> {
        lock(&self.offers).insert(port, Arc::new(offer));
        Offered { to: self, port }
    }

    /// The machine opened a channel for a port. Rejected unless offered.
    pub(super) async fn dialled(&self, port: u32, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        let Some(offer) = lock(&self.offers).get(&port).cloned() else {
            tracing::warn!(port, "the machine dialled a port that was not offered");
            return;
        };
        {
            let mut serving = lock(&self.serving);
            while serving.try_join_next().is_some() {}
            if serving.len() >= MAX_CHANNELS {
                return;
            }
            serving.spawn(async move { registry::serve(channel.into_stream(), offer).await });
        }
        reply.accept().await;
    }
}

/// An offer that stands.
pub(crate) struct Offered<'a> {
    to: &'a Forwards,
    port: u32,
}

impl Drop for Offered<'_> {
    fn drop(&mut self) {
        lock(&self.to.offers).remove(&self.port);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
