//! Connections in their handshake: so many at once, and none waits for those of
//! others. Where one more comes, the source that has the most loses its oldest,
//! so that whoever is silent or opens too many stands in nobody else's way.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use tokio::task::{AbortHandle, JoinSet};

/// Most handshakes under way at once.
const MOST: usize = 512;
/// What one holder of addresses of version 6 has at least: a network of 2^64.
const NETWORK: u128 = !0 << 64;

/// The handshakes under way.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    tasks: JoinSet<()>,
    /// Each with its source, oldest first.
    order: Vec<(IpAddr, AbortHandle)>,
}

impl Handshakes {
    /// Begins one more. Where there are too many already, another ends.
    pub(crate) fn begin(
        &mut self,
        peer: IpAddr,
        handshake: impl Future<Output = ()> + Send + 'static,
    ) {
        self.order.retain(|(_, task)| !task.is_finished());
        if self.order.len() >= MOST {
            self.end_one();
        }
        let task = self.tasks.spawn(handshake);
        self.order.push((source(peer), task));
    }

    /// Waits until one has ended; for ever while there is none.
    pub(crate) async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Ends the oldest of the source that has the most; of several such sources,
    /// the oldest of all.
    fn end_one(&mut self) {
        let mut counts = HashMap::<_, usize>::new();
        for (source, _) in &self.order {
            *counts.entry(*source).or_default() += 1;
        }
        let most = counts.values().max();
        let oldest = |(source, _): &_| counts.get(source) == most;
        if let Some(index) = self.order.iter().position(oldest) {
            let (source, task) = self.order.remove(index);
            tracing::debug!(%source, "too many handshakes; its oldest is given up");
            task.abort();
        }
    }
}

/// Whose a connection counts as: its address, or the network around it where one
/// holder has so many addresses.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::sync::oneshot;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// How many of each source are under way.
    fn under_way(handshakes: &Handshakes, last: u8) -> usize {
        let of = handshakes.order.iter();
        of.filter(|(source, _)| *source == address(last)).count()
    }

    #[tokio::test]
    async fn a_source_that_fills_the_room_makes_way_for_every_other() {
        let mut handshakes = Handshakes::default();
        for _ in 0..2 * MOST {
            handshakes.begin(address(1), pending());
        }
        for last in 2..=5 {
            let (done, ended) = oneshot::channel();
            handshakes.begin(address(last), async { done.send(()).unwrap() });
            ended.await.unwrap();
            handshakes.begin(address(last), pending());
        }
        assert_eq!(handshakes.order.len(), MOST);
        assert_eq!(under_way(&handshakes, 1), MOST - 4);
        // It has the most, and so it is again one of its own that ends.
        for _ in 0..MOST {
            handshakes.begin(address(1), pending());
        }
        assert!((2..=5).all(|last| under_way(&handshakes, last) == 1));
        assert_eq!(handshakes.order.len(), MOST);
        // Those that were given up end, and no others.
        while handshakes.tasks.len() > MOST {
            handshakes.ended().await;
        }
        assert!(handshakes.tasks.try_join_next().is_none());
    }

    #[tokio::test]
    async fn of_one_source_the_oldest_goes_first() {
        let mut handshakes = Handshakes::default();
        let mut open = Vec::new();
        for _ in 0..=MOST {
            let (kept, other) = oneshot::channel::<()>();
            open.push(kept);
            handshakes.begin(address(1), async {
                other.await.ok();
            });
        }
        handshakes.ended().await;
        let closed = open.iter().position(oneshot::Sender::is_closed);
        assert_eq!(closed, Some(0));
        let closed = open.iter().filter(|kept| kept.is_closed());
        assert_eq!(closed.count(), 1);
    }

    #[test]
    fn a_network_of_version_6_is_one_source() {
        let same =
            |one: &str, other: &str| source(one.parse().unwrap()) == source(other.parse().unwrap());
        assert!(same("2001:db8:0:1::1", "2001:db8:0:1:ffff::2"));
        assert!(!same("2001:db8:0:1::1", "2001:db8:0:2::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
