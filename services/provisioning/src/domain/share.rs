//! What a node takes of a machine, and whether several fit on one.

/// What a placement takes of its machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Share {
    /// Sum of the CPU limits, in thousandths of a core.
    pub cpu_millis: i64,
    /// Sum of the memory limits, in bytes.
    pub memory_bytes: i64,
    /// GPUs.
    pub gpus: i32,
    /// Ports on the machine, such as `tcp:26656`.
    pub ports: Vec<String>,
}

/// What a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Logical processors, in thousandths.
    pub cpu_millis: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// GPUs.
    pub gpus: i32,
}

impl Share {
    /// Says what of the machine does not last for this share beside the others.
    ///
    /// Limits are not needs: alone on a machine that passes the chain's gates, a
    /// node may have limits above what there is.
    #[must_use]
    pub fn shortage(&self, capacity: Capacity, others: &[Self]) -> Option<String> {
        if others.is_empty() {
            return None;
        }
        let sum =
            |of: fn(&Self) -> i64| (others.iter().map(of).fold(0, i64::saturating_add), of(self));
        let checks = [
            (
                "thousandths of a core",
                capacity.cpu_millis,
                sum(|s| s.cpu_millis),
            ),
            (
                "bytes of memory",
                capacity.memory_bytes,
                sum(|s| s.memory_bytes),
            ),
            ("GPUs", capacity.gpus.into(), sum(|s| s.gpus.into())),
        ];
        checks.into_iter().find_map(|(what, has, (used, wanted))| {
            (used.saturating_add(wanted) > has).then(|| {
                format!(
                    "the machine has {has} {what}; its other nodes use {used} and this one needs {wanted}"
                )
            })
        })
    }

    /// What lasts for either of two versions of a node, so that it can go back.
    #[must_use]
    pub fn either(&self, other: &Self) -> Self {
        let mut ports = self.ports.clone();
        ports.extend(other.ports.iter().cloned());
        ports.sort();
        ports.dedup();
        Self {
            cpu_millis: self.cpu_millis.max(other.cpu_millis),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            gpus: self.gpus.max(other.gpus),
            ports,
        }
    }

    /// Whether this share lasts for another.
    #[must_use]
    pub fn lasts_for(&self, other: &Self) -> bool {
        self.cpu_millis >= other.cpu_millis
            && self.memory_bytes >= other.memory_bytes
            && self.gpus >= other.gpus
            && other.ports.iter().all(|port| self.ports.contains(port))
    }

    /// Whether a port of this share is taken by another.
    #[must_use]
    pub fn collides(&self, others: &[Self]) -> bool {
        others
            .iter()
            .flat_map(|other| &other.ports)
            .any(|port| self.ports.contains(port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(cpu_millis: i64, memory_bytes: i64, gpus: i32, port: &str) -> Share {
        Share {
            cpu_millis,
            memory_bytes,
            gpus,
            ports: vec![port.to_owned()],
        }
    }

    #[test]
    fn nodes_share_a_machine_only_while_all_of_it_lasts() {
        let capacity = Capacity {
            cpu_millis: 4000,
            memory_bytes: 100,
            gpus: 1,
        };
        let others = [share(1000, 40, 1, "tcp:1"), share(1000, 10, 0, "tcp:2")];
        assert_eq!(
            share(2000, 50, 0, "tcp:3").shortage(capacity, &others),
            None
        );
        for (wanted, of) in [
            (share(2001, 50, 0, "tcp:3"), "core"),
            (share(2000, 51, 0, "tcp:3"), "memory"),
            (share(2000, 50, 1, "tcp:3"), "GPUs"),
            (share(i64::MAX, 50, 0, "tcp:3"), "core"),
        ] {
            let shortage = wanted.shortage(capacity, &others).unwrap();
            assert!(shortage.contains(of), "{shortage}");
            assert_eq!(wanted.shortage(capacity, &[]), None);
        }
    }

    #[test]
    fn two_nodes_cannot_have_the_same_port() {
        let others = [share(1, 1, 0, "tcp:1"), share(1, 1, 0, "udp:2")];
        assert!(share(1, 1, 0, "udp:2").collides(&others));
        assert!(!share(1, 1, 0, "tcp:2").collides(&others));
    }
}
