//! Who may call what: one row an rpc, written by hand beside the API, so that a
//! change of either must be meant.

/// The rpcs of one service.
pub(crate) struct Service {
    /// Its full name.
    pub(crate) name: &'static str,
    /// Each method, and the certificates that may call it.
    pub(crate) methods: &'static [(&'static str, &'static [&'static str])],
}

/// Every rpc of Berth.
pub(crate) const ROWS: &[Service] = &[
    Service {
        name: "berth.inventory.v1.FleetService",
        methods: &[
            ("ReserveMachine", &["leasing"]),
            ("ConfirmReservation", &["leasing"]),
            ("ReleaseMachine", &["leasing"]),
            ("ResolveMachine", &["provisioning"]),
            ("ListMachineWork", &["provisioning"]),
            ("RecordVerification", &["provisioning"]),
            ("RecordWipe", &["provisioning"]),
            ("ReportMachineProblem", &["provisioning"]),
        ],
    },
    Service {
        name: "berth.inventory.v1.InventoryService",
        methods: &[
            ("CreateSupplier", &["gateway"]),
            ("GetSupplier", &["gateway"]),
            ("ListSuppliers", &["gateway"]),
            ("EnrollMachine", &["gateway"]),
            ("GetMachine", &["gateway"]),
            ("ListMachines", &["gateway"]),
            ("UpdateMachine", &["gateway"]),
            ("VerifyMachine", &["gateway"]),
            ("CordonMachine", &["gateway"]),
            ("UncordonMachine", &["gateway"]),
            ("RetireMachine", &["gateway"]),
            ("CreateOffer", &["gateway"]),
            ("GetOffer", &["gateway"]),
            ("ListOffers", &["gateway"]),
            ("CloseOffer", &["gateway"]),
        ],
    },
    Service {
        name: "berth.leasing.v1.LeasingService",
        methods: &[
            ("CreateLease", &["gateway", "provisioning"]),
            ("GetLease", &["gateway", "provisioning"]),
            ("ListLeases", &["gateway", "provisioning"]),
            ("ExtendLease", &["gateway"]),
            ("EndLease", &["gateway", "provisioning"]),
            ("CreditAccount", &["gateway"]),
            ("GetBalance", &["gateway"]),
            ("ListLedgerEntries", &["gateway"]),
            ("ListAccountEvents", &["gateway"]),
        ],
    },
    Service {
        name: "berth.leasing.v1.WebhookService",
        methods: &[
            ("CreateWebhook", &["gateway"]),
            ("GetWebhook", &["gateway"]),
            ("ListWebhooks", &["gateway"]),
            ("EnableWebhook", &["gateway"]),
            ("DeleteWebhook", &["gateway"]),
            ("TestWebhook", &["gateway"]),
            ("ListWebhookDeliveries", &["gateway"]),
        ],
    },
    Service {
        name: "berth.monitoring.v1.IncidentService",
        methods: &[
            ("ListIncidents", &["gateway"]),
            ("AcknowledgeIncident", &["gateway"]),
        ],
    },
    Service {
        name: "berth.monitoring.v1.MonitoringService",
        methods: &[
            ("GetHealth", &["gateway", "provisioning"]),
            ("WatchHealth", &["gateway", "provisioning"]),
            ("QuerySamples", &["gateway"]),
        ],
    },
    Service {
        name: "berth.monitoring.v1.TargetService",
        methods: &[
            ("PutTarget", &["provisioning"]),
            ("DeleteTarget", &["provisioning"]),
        ],
    },
    Service {
        name: "berth.provisioning.v1.PlacementService",
        methods: &[("RenewCertificate", &["placement"])],
    },
    Service {
        name: "berth.provisioning.v1.ProvisioningService",
        methods: &[
            ("GetChain", &["gateway"]),
            ("ListChains", &["gateway"]),
            ("RegisterChain", &["gateway"]),
            ("PinChain", &["gateway"]),
            ("LaunchNode", &["gateway"]),
            ("GetNode", &["gateway"]),
            ("ListNodes", &["gateway"]),
            ("UpdateNode", &["gateway"]),
            ("UpgradeNode", &["gateway"]),
            ("StopNode", &["gateway"]),
            ("StartNode", &["gateway"]),
            ("RetryNode", &["gateway"]),
            ("RetireNode", &["gateway"]),
            ("WatchNode", &["gateway"]),
            ("StreamNodeLogs", &["gateway"]),
            ("ScanHostKey", &["gateway"]),
            ("GetMachineSetup", &["gateway"]),
            ("ListMachineNodes", &["gateway"]),
            ("GetValidatorOnChain", &["gateway"]),
            ("PublishVoluntaryExit", &["gateway"]),
        ],
    },
    Service {
        name: "berth.signing.v1.CustodyService",
        methods: &[
            ("ListQuarantined", &["monitoring"]),
            ("ReportObservation", &["monitoring"]),
        ],
    },
    Service {
        name: "berth.signing.v1.GrantService",
        methods: &[
            ("PutChain", &["provisioning"]),
            ("BindValidators", &["provisioning"]),
            ("AdvanceFence", &["provisioning"]),
            ("Grant", &["provisioning"]),
        ],
    },
    Service {
        name: "berth.signing.v1.SigningService",
        methods: &[
            ("GetSealingKey", &["gateway"]),
            ("ImportKeys", &["gateway"]),
            ("GenerateKeys", &["gateway"]),
            ("GetValidator", &["gateway", "provisioning"]),
            ("ListValidators", &["gateway", "provisioning"]),
            ("UpdateValidator", &["gateway"]),
            ("DisableValidator", &["gateway"]),
            ("EnableValidator", &["gateway"]),
            ("RemoveValidator", &["gateway"]),
            ("ExportProtection", &["gateway"]),
            ("ImportProtection", &["gateway"]),
            ("SignVoluntaryExit", &["gateway"]),
        ],
    },
];

/// A path of plain HTTP.
pub(crate) struct Plain {
    pub(crate) path: &'static str,
    /// Which listener of the signer answers it, by its key.
    pub(crate) listener: &'static str,
    /// The certificates that may call it.
    pub(crate) callers: &'static [&'static str],
}

const fn machines(path: &'static str) -> Plain {
    Plain {
        path,
        listener: "duty_listen",
        callers: &["placement"],
    }
}

const fn services(path: &'static str) -> Plain {
    Plain {
        path,
        listener: "listen",
        callers: &[
            "gateway",
            "inventory",
            "leasing",
            "monitoring",
            "provisioning",
            "signer",
        ],
    }
}

const fn key_keepers(path: &'static str) -> Plain {
    Plain {
        path,
        listener: "listen",
        callers: &["gateway", "signer"],
    }
}

/// Every path of plain HTTP, all of the signer.
pub(crate) const PLAIN: &[Plain] = &[
    machines("/upcheck"),
    machines("/api/v1/eth2/publicKeys"),
    machines("/api/v1/eth2/sign/0xab"),
    services("/api/v1/eth2/highWatermark"),
    services("/healthcheck"),
    services("/metrics"),
    services("/reload"),
    key_keepers("/eth/v1/keystores"),
    key_keepers("/eth/v1/validator/0xab/feerecipient"),
    key_keepers("/eth/v1/validator/0xab/gas_limit"),
];
