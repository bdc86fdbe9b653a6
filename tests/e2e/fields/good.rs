//! A request of every rpc that is right: one row an rpc, or several where its
//! fields exclude each other.
//!
//! `$name` stands for what [`super::world::World`] has under that name. Field
//! `request_id` is filled in for each call.

/// An rpc and a request of it in canonical JSON.
pub(super) struct Good {
    /// `Service/Method`, without the package.
    pub(super) rpc: &'static str,
    pub(super) json: &'static str,
}

const fn good(rpc: &'static str, json: &'static str) -> Good {
    Good { rpc, json }
}

/// All of them. They are sent last, in this order, to see that they are right.
pub(super) const ROWS: &[Good] = &[
    // Inventory.
    good(
        "InventoryService/GetSupplier",
        r#"{"supplierId": "$supplier"}"#,
    ),
    good("InventoryService/ListSuppliers", r#"{"pageSize": 10}"#),
    good(
        "InventoryService/GetMachine",
        r#"{"machineId": "$machine"}"#,
    ),
    good(
        "InventoryService/ListMachines",
        r#"{"pageSize": 10, "state": "STATE_LEASED"}"#,
    ),
    good("InventoryService/GetOffer", r#"{"offerId": "$offer"}"#),
    good(
        "InventoryService/ListOffers",
        r#"{"pageSize": 10, "machineId": "$machine"}"#,
    ),
    good("InventoryService/CreateSupplier", r#"{"name": "another"}"#),
    good("InventoryService/EnrollMachine", ENROLL),
    good("InventoryService/UpdateMachine", UPDATE_MACHINE),
    good(
        "InventoryService/CordonMachine",
        r#"{"machineId": "$machine"}"#,
    ),
    good(
        "InventoryService/UncordonMachine",
        r#"{"machineId": "$machine"}"#,
    ),
    good(
        "InventoryService/VerifyMachine",
        r#"{"machineId": "$machine"}"#,
    ),
    good(
        "InventoryService/RetireMachine",
        r#"{"machineId": "$machine"}"#,
    ),
    good("InventoryService/CreateOffer", CREATE_OFFER),
    good("InventoryService/CloseOffer", r#"{"offerId": "$offer"}"#),
    good("FleetService/ReserveMachine", RESERVE),
    good(
        "FleetService/ReserveMachine",
        r#"{"leaseId": "$new_lease", "offerId": "$offer", "term": "3600s"}"#,
    ),
    good(
        "FleetService/ConfirmReservation",
        r#"{"leaseId": "$lease"}"#,
    ),
    good(
        "FleetService/ResolveMachine",
        r#"{"machineId": "$machine", "accountId": "$account"}"#,
    ),
    good("FleetService/ListMachineWork", r#"{"pageSize": 10}"#),
    good("FleetService/RecordVerification", MEASURED),
    good(
        "FleetService/RecordVerification",
        r#"{"machineId": "$machine", "attempt": "1", "problem": "it does not answer"}"#,
    ),
    good(
        "FleetService/RecordWipe",
        r#"{"machineId": "$machine", "attempt": "1", "report": "all is gone"}"#,
    ),
    good(
        "FleetService/ReportMachineProblem",
        r#"{"machineId": "$machine", "problem": "it is odd"}"#,
    ),
    good(
        "FleetService/ReleaseMachine",
        r#"{"leaseId": "$new_lease"}"#,
    ),
    // Leasing.
    good("LeasingService/GetLease", r#"{"leaseId": "$lease"}"#),
    good(
        "LeasingService/ListLeases",
        r#"{"pageSize": 10, "state": "STATE_ACTIVE"}"#,
    ),
    good("LeasingService/GetBalance", "{}"),
    good("LeasingService/ListLedgerEntries", r#"{"pageSize": 10}"#),
    good("LeasingService/CreateLease", CREATE_LEASE),
    good(
        "LeasingService/CreateLease",
        r#"{"spec": {"offerId": "$offer", "term": "3600s", "displayName": "mine"}}"#,
    ),
    good(
        "LeasingService/ExtendLease",
        r#"{"leaseId": "$lease", "by": "3600s"}"#,
    ),
    good(
        "LeasingService/CreditAccount",
        r#"{"accountId": "$account", "amount": {"currency": "EUR", "micros": "1"}, "memo": "a gift"}"#,
    ),
    good(
        "LeasingService/EndLease",
        r#"{"leaseId": "$lease", "reason": "CLOSE_REASON_OWNER"}"#,
    ),
    good(
        "LeasingService/ListAccountEvents",
        r#"{"pageSize": 10, "leaseId": "$lease"}"#,
    ),
    good(
        "WebhookService/CreateWebhook",
        r#"{"spec": {"url": "https://8.8.8.8:8443/", "topics": ["lease.ended"]}}"#,
    ),
    good("WebhookService/GetWebhook", r#"{"webhookId": "$webhook"}"#),
    good("WebhookService/ListWebhooks", r#"{"pageSize": 10}"#),
    good(
        "WebhookService/EnableWebhook",
        r#"{"webhookId": "$webhook"}"#,
    ),
    good("WebhookService/TestWebhook", r#"{"webhookId": "$webhook"}"#),
    good(
        "WebhookService/ListWebhookDeliveries",
        r#"{"webhookId": "$webhook", "pageSize": 10}"#,
    ),
    good(
        "WebhookService/DeleteWebhook",
        r#"{"webhookId": "$webhook"}"#,
    ),
    // Monitoring.
    good(
        "IncidentService/ListIncidents",
        r#"{"pageSize": 10, "nodeId": "$node"}"#,
    ),
    good(
        "IncidentService/AcknowledgeIncident",
        r#"{"incidentId": "$incident"}"#,
    ),
    good("MonitoringService/GetHealth", r#"{"nodeId": "$node"}"#),
    good("MonitoringService/WatchHealth", r#"{"nodeId": "$node"}"#),
    good("MonitoringService/QuerySamples", QUERY),
    good("TargetService/PutTarget", TARGET),
    good("TargetService/DeleteTarget", r#"{"nodeId": "$node"}"#),
    // Provisioning.
    good(
        "ProvisioningService/GetChain",
        r#"{"chain": "field-chain"}"#,
    ),
    good("ProvisioningService/ListChains", r#"{"pageSize": 10}"#),
    good("ProvisioningService/RegisterChain", REGISTER),
    good(
        "ProvisioningService/PinChain",
        r#"{"chain": "field-chain", "digests": {"node": "$digest"}}"#,
    ),
    good("ProvisioningService/LaunchNode", LAUNCH),
    good(
        "ProvisioningService/LaunchNode",
        r#"{"name": "leased", "validateOnly": true, "spec": {"chain": "field-chain",
            "role": "ROLE_FULL", "source": {"leaseId": "$lease"}}}"#,
    ),
    good(
        "ProvisioningService/LaunchNode",
        r#"{"name": "offered", "validateOnly": true, "spec": {"chain": "field-chain",
            "role": "ROLE_FULL", "source": {"offerId": "$offer", "term": "3600s"}}}"#,
    ),
    good("ProvisioningService/GetNode", r#"{"nodeId": "$node"}"#),
    good("ProvisioningService/ListNodes", r#"{"pageSize": 10}"#),
    good(
        "ProvisioningService/WatchNode",
        r#"{"nodeId": "$node", "afterSequence": "0"}"#,
    ),
    good(
        "ProvisioningService/StreamNodeLogs",
        r#"{"nodeId": "$node", "component": "node", "tail": 10, "since": "2026-01-01T00:00:00Z"}"#,
    ),
    good(
        "ProvisioningService/ScanHostKey",
        r#"{"address": "$machine_address"}"#,
    ),
    good(
        "ProvisioningService/GetMachineSetup",
        r#"{"machineId": "$machine", "user": "berth"}"#,
    ),
    good(
        "ProvisioningService/ListMachineNodes",
        r#"{"machineId": "$machine", "pageSize": 10}"#,
    ),
    good(
        "ProvisioningService/GetValidatorOnChain",
        r#"{"publicKey": "$key"}"#,
    ),
    good(
        "ProvisioningService/PublishVoluntaryExit",
        r#"{"publicKey": "$key", "signedExit": "$signed_exit"}"#,
    ),
    good(
        "ProvisioningService/UpdateNode",
        r#"{"nodeId": "$node", "spec": {"settings": {"moniker": "other"}}, "updateMask": "settings"}"#,
    ),
    good(
        "ProvisioningService/UpgradeNode",
        r#"{"nodeId": "$stopped", "version": "2", "settings": {"moniker": "other"},
            "removedSettings": ["moniker"]}"#,
    ),
    good("ProvisioningService/StopNode", r#"{"nodeId": "$node"}"#),
    good("ProvisioningService/StartNode", r#"{"nodeId": "$node"}"#),
    good("ProvisioningService/RetryNode", r#"{"nodeId": "$node"}"#),
    good("ProvisioningService/RetireNode", r#"{"nodeId": "$node"}"#),
    good("PlacementService/RenewCertificate", r#"{"csrPem": "$csr"}"#),
    // The signer.
    good("GrantService/PutChain", PUT_CHAIN),
    good(
        "GrantService/BindValidators",
        r#"{"nodeId": "$node", "accountId": "$account", "chain": "field-eth",
            "publicKeys": ["$key"], "fence": "1"}"#,
    ),
    good(
        "GrantService/AdvanceFence",
        r#"{"nodeId": "$node", "accountId": "$account", "fence": "1"}"#,
    ),
    good("GrantService/Grant", r#"{"nodeId": "$node", "fence": "1"}"#),
    good(
        "CustodyService/ListQuarantined",
        r#"{"chain": "field-eth", "pageSize": 10}"#,
    ),
    good(
        "CustodyService/ReportObservation",
        r#"{"publicKey": "$key", "chain": "field-eth", "genesisValidatorsRoot": "$root",
            "silent": {"firstEpoch": "1", "lastEpoch": "2"}}"#,
    ),
    good(
        "CustodyService/ReportObservation",
        r#"{"publicKey": "$key", "chain": "field-eth", "genesisValidatorsRoot": "$root",
            "active": {"epoch": "1"}}"#,
    ),
    good(
        "CustodyService/ReportObservation",
        r#"{"publicKey": "$key", "chain": "field-eth", "genesisValidatorsRoot": "$root",
            "idle": {"status": "pending_queued"}}"#,
    ),
    good("SigningService/GetSealingKey", "{}"),
    good("SigningService/ImportKeys", IMPORT),
    good("SigningService/GenerateKeys", GENERATE),
    good("SigningService/GetValidator", r#"{"publicKey": "$key"}"#),
    good(
        "SigningService/ListValidators",
        r#"{"pageSize": 10, "nodeId": "$node"}"#,
    ),
    good("SigningService/UpdateValidator", UPDATE_VALIDATOR),
    good(
        "SigningService/ExportProtection",
        r#"{"publicKeys": ["$key"], "chain": "field-eth"}"#,
    ),
    good(
        "SigningService/ImportProtection",
        r#"{"chain": "field-eth", "interchange": "$interchange"}"#,
    ),
    good(
        "SigningService/SignVoluntaryExit",
        r#"{"publicKey": "$key", "confirmation": "$key", "validatorIndex": "1", "epoch": "1"}"#,
    ),
    good(
        "SigningService/DisableValidator",
        r#"{"publicKey": "$key"}"#,
    ),
    good("SigningService/EnableValidator", r#"{"publicKey": "$key"}"#),
    good(
        "SigningService/RemoveValidator",
        r#"{"publicKey": "$key", "confirmation": "$key"}"#,
    ),
];

const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDy1CS6YST1nzzIrugSy+k4EuO3HCFajimiQ+zegrpr8";

/// What `$host_key` stands for.
pub(super) fn host_key() -> String {
    HOST_KEY.to_owned()
}

const ENROLL: &str = r#"{
    "name": "new",
    "spec": {
        "supplierId": "$supplier",
        "address": "127.0.0.1:1",
        "user": "berth",
        "hostKey": "$host_key",
        "region": "somewhere",
        "claim": {"cpuCores": 1, "memoryBytes": "1", "diskBytes": "1", "gpuModel": "x", "gpuCount": 1}
    }
}"#;

const UPDATE_MACHINE: &str = r#"{
    "machineId": "$machine",
    "spec": {
        "address": "127.0.0.1:1",
        "user": "berth",
        "hostKey": "$host_key",
        "region": "somewhere",
        "claim": {"cpuCores": 1, "memoryBytes": "1", "diskBytes": "1", "gpuModel": "x", "gpuCount": 1}
    },
    "updateMask": "address,user,hostKey,claim,region"
}"#;

const CREATE_OFFER: &str = r#"{
    "spec": {
        "machineId": "$other_machine",
        "pricePerHour": {"currency": "EUR", "micros": "1000000"},
        "minTerm": "3600s",
        "maxTerm": "7200s"
    }
}"#;

const RESERVE: &str = r#"{
    "leaseId": "$new_lease",
    "requirements": {"cpuCores": 1, "memoryBytes": "1", "diskBytes": "1", "diskReadIops": 1,
        "diskWriteIops": 1, "cpuFlags": ["sse2"], "gpuCount": 1, "gpuMemoryBytes": "1",
        "gpuDriver": "555"},
    "maxPricePerHour": {"currency": "EUR", "micros": "1"},
    "term": "3600s"
}"#;

const MEASURED: &str = r#"{
    "machineId": "$machine",
    "attempt": "1",
    "hostKey": "$host_key",
    "facts": {
        "cpuModel": "x", "cpuCores": 1, "smt": true, "cpuFlags": ["sse2"], "memoryBytes": "1",
        "disks": [{"mount": "/", "sizeBytes": "1", "freeBytes": "1", "readIops": 1, "writeIops": 1}],
        "nics": [{"name": "eth0", "speedMbit": 1, "addresses": ["127.0.0.1"]}],
        "kernel": "6", "os": "x", "dockerVersion": "1",
        "gpus": [{"model": "x", "uuid": "x", "memoryBytes": "1", "driver": "1", "cuda": "1"}],
        "clockOffsetMs": "1"
    }
}"#;

const CREATE_LEASE: &str = r#"{
    "spec": {
        "requirements": {"cpuCores": 1, "memoryBytes": "1", "diskBytes": "1", "diskReadIops": 1,
            "diskWriteIops": 1, "cpuFlags": ["sse2"], "gpuCount": 1, "gpuMemoryBytes": "1",
            "gpuDriver": "555"},
        "maxPricePerHour": {"currency": "EUR", "micros": "1"},
        "term": "3600s",
        "displayName": "mine"
    }
}"#;

const QUERY: &str = r#"{
    "nodeId": "$node",
    "names": ["berth.node.height"],
    "startTime": "2026-01-01T00:00:00Z",
    "endTime": "2026-01-01T01:00:00Z",
    "step": "60s"
}"#;

const TARGET: &str = r#"{
    "nodeId": "$node",
    "accountId": "$account",
    "placementId": "$placement",
    "fence": "1",
    "expectation": {"minPeers": 1, "maxDistance": "1", "maxBlockAge": "60s",
        "minDiskFreePercent": 5, "silence": "60s", "gpuCount": 1},
    "running": true,
    "duty": {"done": "a", "missed": "b", "inSet": "c", "refused": "d", "unready": "e",
        "window": "600s"},
    "chain": "field-chain",
    "publicKeys": ["$key"]
}"#;

const REGISTER: &str = r#"{"chainToml": "$chain_toml", "files": {"genesis.json": "e30="}}"#;

const LAUNCH: &str = r#"{
    "name": "wished",
    "validateOnly": true,
    "spec": {
        "chain": "field-chain",
        "role": "ROLE_FULL",
        "source": {"maxPricePerHour": {"currency": "EUR", "micros": "1"}, "term": "3600s"},
        "settings": {"moniker": "mine"}
    }
}"#;

const PUT_CHAIN: &str = r#"{
    "chain": {
        "name": "field-eth",
        "genesisValidatorsRoot": "$root",
        "genesisTime": "1700000000",
        "secondsPerSlot": 12,
        "preset": "mainnet",
        "forks": [{"name": "phase0", "epoch": "0", "version": "AAAAAA=="}]
    }
}"#;

const IMPORT: &str = r#"{
    "chain": "field-eth",
    "keystores": [{"encapsulatedKey": "AAAA", "ciphertext": "AAAA"}],
    "interchange": "$interchange",
    "feeRecipient": "$address",
    "gasLimit": "30000000"
}"#;

const GENERATE: &str = r#"{
    "chain": "field-eth",
    "count": 1,
    "withdrawalAddress": "$address",
    "feeRecipient": "$address",
    "gasLimit": "30000000"
}"#;

const UPDATE_VALIDATOR: &str = r#"{
    "validator": {
        "publicKey": "$key",
        "spec": {"feeRecipient": "$address", "gasLimit": "30000000"}
    },
    "updateMask": "spec.feeRecipient,spec.gasLimit"
}"#;
