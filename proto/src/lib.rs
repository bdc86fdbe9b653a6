//! Messages, clients and servers generated from `proto/`. Holds no logic.

/// Every file of `proto/` as an encoded `FileDescriptorSet`, options included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/berth.bin"));

/// What all services share: options, money, requirements.
pub mod api {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("berth.api.v1");
    }
}

/// Suppliers, machines and offers.
pub mod inventory {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("berth.inventory.v1");
    }
}

/// Leases and the ledger.
pub mod leasing {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("berth.leasing.v1");
    }
}

/// Health and short history.
pub mod monitoring {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("berth.monitoring.v1");
    }
}

/// Chains, nodes and placements.
pub mod provisioning {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("berth.provisioning.v1");
    }
}

/// Keys, validators and grants.
pub mod signing {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("berth.signing.v1");
    }
}
