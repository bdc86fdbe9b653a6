//! What two accounts have, so that requests can name it.

use super::call::Ways;
use super::good;
use crate::callers::csr;
use berth_core::{AccountId, IncidentId, LeaseId, NodeId, PlacementId};
use berth_tests::Berth;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use uuid::Uuid;

/// Names that good requests use, and what each means to us and to others.
pub(super) struct World {
    /// Whose requests are sent.
    pub(super) account: AccountId,
    /// By name, such as `machine`.
    pub(super) ours: BTreeMap<&'static str, String>,
    /// The same of another account.
    pub(super) theirs: BTreeMap<&'static str, String>,
}

impl World {
    /// Makes all of it through the API, and an incident of each in the database:
    /// incidents are made by what goes wrong.
    pub(super) async fn make(berth: &Berth, ways: &Ways) -> Self {
        let config = fs::read_to_string(berth.dir().join("berth.toml")).unwrap();
        let config: toml::Table = config.parse().expect("the configuration is TOML");
        let account = config["gateway"]["admin"]["account_id"].as_str().unwrap();
        let account: AccountId = account.parse().expect("an account");
        let mut world = Self {
            account,
            ours: BTreeMap::new(),
            theirs: BTreeMap::new(),
        };
        let chain = include_str!("chain.toml");
        let caller = Caller { ways, account };
        let files = json!({ "genesis.json": "e30=" });
        let register = json!({ "chainToml": chain, "files": files.clone() });
        caller
            .call("ProvisioningService/RegisterChain", register)
            .await;
        let root = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
        let genesis = json!([{ "name": "phase0", "epoch": "0", "version": "AAAAAA==" }]);
        let pinned = json!({ "chain": {
            "name": "field-eth", "genesisValidatorsRoot": root, "genesisTime": "1700000000",
            "secondsPerSlot": 12, "preset": "mainnet", "forks": genesis,
        } });
        caller.call("GrantService/PutChain", pinned).await;

        let suppliers = caller
            .call("InventoryService/ListSuppliers", json!({}))
            .await;
        let machines = caller
            .call("InventoryService/ListMachines", json!({}))
            .await;
        let (machine, other) = (&machines["machines"][0], &machines["machines"][1]);
        let offers = json!({ "machineId": machine["id"] });
        let offers = caller.call("InventoryService/ListOffers", offers).await;
        let ours = &mut world.ours;
        ours.insert("supplier", id(&suppliers["suppliers"][0]));
        ours.insert("machine", id(machine));
        ours.insert("other_machine", id(other));
        ours.insert("machine_address", text(&machine["spec"]["address"]));
        ours.insert("offer", id(&offers["offers"][0]));
        world
            .ours
            .extend(caller.has(&world.ours["offer"].clone()).await);

        let stopped = caller.stopped(berth).await;
        world.ours.insert("stopped", stopped);
        // Another version, for the node to be upgraded to.
        let chain = chain.replace("\nversion = \"1\"", "\nversion = \"2\"");
        let register = json!({ "chainToml": chain, "files": files });
        caller
            .call("ProvisioningService/RegisterChain", register)
            .await;

        let stranger = Caller {
            ways,
            account: AccountId::generate(),
        };
        world.theirs = stranger.brings(&json!({ "machineId": other["id"] })).await;
        for (whose, things) in [
            (account, &mut world.ours),
            (stranger.account, &mut world.theirs),
        ] {
            things.insert("account", whose.to_string());
            things.insert("incident", incident(berth, whose, &things["node"]));
        }
        world.ours.extend([
            ("root", root.to_owned()),
            ("chain_toml", chain),
            ("new_lease", LeaseId::generate().to_string()),
            ("placement", PlacementId::generate().to_string()),
            ("digest", format!("sha256:{}", "1".repeat(64))),
            ("host_key", good::host_key()),
            ("address", format!("0x{}", "0b".repeat(20))),
            ("interchange", interchange()),
            ("signed_exit", signed_exit()),
            ("csr", csr()),
        ]);
        world
    }
}

/// An account that calls.
struct Caller<'a> {
    ways: &'a Ways,
    account: AccountId,
}

impl Caller<'_> {
    async fn call(&self, rpc: &str, json: Value) -> Value {
        let method = super::method(rpc);
        let mut message = super::parse(&method, json);
        super::with_request_id(&mut message);
        let bytes = prost_reflect::prost::Message::encode_to_vec(&message);
        let answer = self
            .ways
            .call(&super::path(&method), self.account, bytes)
            .await;
        let answer = answer.unwrap_or_else(|status| panic!("{rpc}: {status}"));
        to_json(&method, &answer)
    }

    /// A lease, a node, and a validator.
    async fn has(&self, offer: &str) -> BTreeMap<&'static str, String> {
        let lease = json!({ "spec": { "offerId": offer, "term": "36000s" } });
        let lease = self.call("LeasingService/CreateLease", lease).await;
        let source = json!({ "maxPricePerHour": { "currency": "EUR", "micros": "1" } });
        let node = json!({ "name": "n", "spec": {
            "chain": "field-chain", "role": "ROLE_FULL", "source": source,
        } });
        let node = self.call("ProvisioningService/LaunchNode", node).await;
        let webhook = json!({ "spec": { "url": "https://8.8.8.8/" } });
        let webhook = self.call("WebhookService/CreateWebhook", webhook).await;
        let target = json!({
            "nodeId": node["node"]["id"], "accountId": self.account.to_string(), "fence": "1",
            "placementId": PlacementId::generate().to_string(),
        });
        self.call("TargetService/PutTarget", target).await;
        let keys = json!({
            "chain": "field-eth", "count": 1, "withdrawalAddress": format!("0x{}", "0b".repeat(20)),
        });
        let keys = self.call("SigningService/GenerateKeys", keys).await;
        BTreeMap::from([
            ("lease", id(&lease["lease"])),
            ("node", id(&node["node"])),
            ("webhook", id(&webhook["webhook"])),
            ("key", text(&keys["validators"][0]["publicKey"])),
        ])
    }

    /// A node that can be upgraded: one that stands still, which the database is told,
    /// since a machine would have to be leased first.
    async fn stopped(&self, berth: &Berth) -> String {
        let source = json!({ "maxPricePerHour": { "currency": "EUR", "micros": "1" } });
        let node = json!({ "name": "stopped", "spec": {
            "chain": "field-chain", "role": "ROLE_FULL", "source": source,
            "settings": { "moniker": "mine" },
        } });
        let node = self.call("ProvisioningService/LaunchNode", node).await;
        let node = id(&node["node"]);
        let uuid = node.parse::<NodeId>().expect("a node").uuid();
        let stop = format!(
            "update node set state = 'stopped', version = version + 1 where id = '{uuid}' \
             returning id"
        );
        let stopped = berth.sql("berth_provisioning", &stop);
        assert_eq!(stopped.trim(), uuid.to_string());
        node
    }

    /// Everything that another account has.
    async fn brings(&self, leased: &Value) -> BTreeMap<&'static str, String> {
        let credit = json!({ "amount": { "currency": "EUR", "micros": "100000000" } });
        self.call("LeasingService/CreditAccount", credit).await;
        let supplier = json!({ "name": "theirs" });
        let supplier = self.call("InventoryService/CreateSupplier", supplier).await;
        let supplier = id(&supplier["supplier"]);
        let spec = json!({
            "supplierId": supplier, "address": "127.0.0.1:1", "hostKey": good::host_key(),
        });
        let machine = json!({ "name": "theirs", "spec": spec });
        let machine = self.call("InventoryService/EnrollMachine", machine).await;
        let machine = id(&machine["machine"]);
        let price = json!({ "currency": "EUR", "micros": "1000000" });
        let offer = json!({ "spec": { "machineId": machine, "pricePerHour": price } });
        let offer = self.call("InventoryService/CreateOffer", offer).await;
        let free = self
            .call("InventoryService/ListOffers", leased.clone())
            .await;
        let mut things = self.has(&id(&free["offers"][0])).await;
        things.extend([
            ("supplier", supplier),
            ("machine", machine),
            ("offer", id(&offer["offer"])),
        ]);
        things
    }
}

fn to_json(method: &MethodDescriptor, answer: &[u8]) -> Value {
    let answer = DynamicMessage::decode(method.output(), answer).unwrap();
    serde_json::to_value(&answer).unwrap()
}

fn id(thing: &Value) -> String {
    text(&thing["id"])
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

fn incident(berth: &Berth, account: AccountId, node: &str) -> String {
    let id = IncidentId::generate();
    let node: NodeId = node.parse().expect("a node");
    let insert = format!(
        "insert into incident (id, account_id, node_id, reason, severity, count, fence, \
         public_key, detail, create_time, last_time) values ('{}', '{}', '{}', 'TEST', \
         'warning', 1, 1, '', '', now(), now()) returning id",
        id.uuid(),
        account.uuid(),
        node.uuid(),
    );
    let inserted = berth.sql("berth_monitoring", &insert);
    assert_eq!(inserted.trim(), id.uuid().to_string());
    id.to_string()
}

fn interchange() -> String {
    let root = format!("0x{}", "07".repeat(32));
    json!({
        "metadata": { "interchange_format_version": "5", "genesis_validators_root": root },
        "data": [],
    })
    .to_string()
}

fn signed_exit() -> String {
    json!({
        "message": { "epoch": "1", "validator_index": "1" },
        "signature": format!("0x{}", "ab".repeat(96)),
    })
    .to_string()
}

/// A new identifier for a request.
pub(super) fn new_request() -> String {
    Uuid::now_v7().to_string()
}
