//! Where everything listens under `berth dev`. The addresses are inside the
//! machines' private network, so they cannot clash with anything of the user's.

use super::services::Service;
use crate::serve::Role;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// OpenBao.
pub(super) const VAULT: SocketAddr = SocketAddr::new(LOOPBACK, 8200);

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const BASE: u16 = 7200;
/// Between the ports of one replica and the next.
const STRIDE: u16 = 20;
/// Most replicas of each service.
pub(super) const MAX_REPLICAS: i64 = 4;

/// A listener of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    /// For the other services; for the gateway, the public one.
    Main(Service),
    /// Renewal of placement certificates.
    Placements,
    /// OTLP of agents.
    Otlp,
    /// Duties of validator clients.
    Duty,
}

/// The port of one replica's listener.
pub(super) fn port(listener: Listener, replica: u8) -> u16 {
    let offset = match listener {
        Listener::Main(Service::Role(Role::Inventory)) => 1,
        Listener::Main(Service::Role(Role::Leasing)) => 2,
        Listener::Main(Service::Role(Role::Provisioning)) => 3,
        Listener::Main(Service::Role(Role::Monitoring)) => 4,
        Listener::Main(Service::Signer) => 5,
        Listener::Placements => 6,
        Listener::Otlp => 7,
        Listener::Duty => 8,
        Listener::Main(Service::Role(Role::Gateway)) => 9,
    };
    BASE + u16::from(replica) * STRIDE + offset
}

/// A listener of every replica, each to be tried in turn.
pub(super) fn every(host: IpAddr, listener: Listener, replicas: u8) -> String {
    (0..replicas)
        .map(|replica| SocketAddr::new(host, port(listener, replica)).to_string())
        .collect::<Vec<_>>()
        .join(",")
}

/// Where the services reach one another.
pub(super) fn peers(service: Service, replicas: u8) -> String {
    every(LOOPBACK, Listener::Main(service), replicas)
}

/// What replica `replica` sets other than the configuration file, which is
/// written for the first.
pub(super) fn overrides(service: Service, replica: u8) -> Vec<(String, String)> {
    if replica == 0 {
        return Vec::new();
    }
    let set = |key: &str, address: IpAddr, listener: Listener| {
        let key = format!("BERTH__{}__{key}", service.name().to_uppercase());
        (
            key,
            SocketAddr::new(address, port(listener, replica)).to_string(),
        )
    };
    let outside = match service {
        Service::Role(Role::Provisioning) => Some(("PLACEMENT_LISTEN", Listener::Placements)),
        Service::Role(Role::Monitoring) => Some(("OTLP_LISTEN", Listener::Otlp)),
        Service::Signer => Some(("DUTY_LISTEN", Listener::Duty)),
        Service::Role(Role::Inventory | Role::Leasing | Role::Gateway) => None,
    };
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    [set("LISTEN", LOOPBACK, Listener::Main(service))]
        .into_iter()
        .chain(outside.map(|(key, listener)| set(key, all, listener)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_listeners_share_a_port() {
        let mut seen = BTreeSet::new();
        for replica in 0..u8::try_from(MAX_REPLICAS).unwrap() {
            let listeners = Service::all().map(Listener::Main).chain([
                Listener::Placements,
                Listener::Otlp,
                Listener::Duty,
            ]);
            for listener in listeners {
                assert!(
                    seen.insert(port(listener, replica)),
                    "{listener:?} {replica}"
                );
            }
        }
    }
}
