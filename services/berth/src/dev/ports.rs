//! Where everything listens under `berth dev`. The addresses are inside the
//! machines' private network, so they cannot clash with anything of the user's.

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
    Main(Role),
    /// Renewal of placement certificates.
    Placements,
    /// OTLP of agents.
    Otlp,
}

/// The port of one replica's listener.
pub(super) fn port(listener: Listener, replica: u8) -> u16 {
    let offset = match listener {
        Listener::Main(Role::Inventory) => 1,
        Listener::Main(Role::Leasing) => 2,
        Listener::Main(Role::Provisioning) => 3,
        Listener::Main(Role::Monitoring) => 4,
        Listener::Main(Role::Gateway) => 5,
        Listener::Placements => 6,
        Listener::Otlp => 7,
    };
    BASE + u16::from(replica) * STRIDE + offset
}

/// Where the services reach one another: every replica, in turn.
pub(super) fn peers(role: Role, replicas: u8) -> String {
    (0..replicas)
        .map(|replica| format!("{LOOPBACK}:{}", port(Listener::Main(role), replica)))
        .collect::<Vec<_>>()
        .join(",")
}

/// What replica `replica` sets other than the configuration file, which is
/// written for the first.
pub(super) fn overrides(role: Role, replica: u8) -> Vec<(String, String)> {
    if replica == 0 {
        return Vec::new();
    }
    let set = |key: &str, address: IpAddr, listener: Listener| {
        let key = format!("BERTH__{}__{key}", role.name().to_uppercase());
        (
            key,
            SocketAddr::new(address, port(listener, replica)).to_string(),
        )
    };
    let all = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let mut overrides = vec![set("LISTEN", LOOPBACK, Listener::Main(role))];
    match role {
        Role::Provisioning => overrides.push(set("PLACEMENT_LISTEN", all, Listener::Placements)),
        Role::Monitoring => overrides.push(set("OTLP_LISTEN", all, Listener::Otlp)),
        Role::Inventory | Role::Leasing | Role::Gateway => {}
    }
    overrides
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_listeners_share_a_port() {
        let mut seen = BTreeSet::new();
        for replica in 0..u8::try_from(MAX_REPLICAS).unwrap() {
            let listeners = Role::ALL
                .map(Listener::Main)
                .into_iter()
                .chain([Listener::Placements, Listener::Otlp]);
            for listener in listeners {
                assert!(
                    seen.insert(port(listener, replica)),
                    "{listener:?} {replica}"
                );
            }
        }
    }
}
