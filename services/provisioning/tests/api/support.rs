//! The service without its listeners, and what every test asks of it.

use crate::held::Held;
use crate::outside::World;
use crate::site::ScriptedSite;
use berth_core::{AccountId, MachineId, NodeId};
use berth_proto::provisioning::v1 as pb;
use berth_proto::provisioning::v1::provisioning_service_server::ProvisioningService as _;
use berth_provisioner::render::agent::{Control, Signer};
use berth_provisioner::spec::ImageRef;
use berth_provisioning::api::Api;
use berth_provisioning::others::Others;
use berth_provisioning::reconcile::{self, Context, Options};
use berth_runtime::notices::Notices;
use berth_runtime::reconcile::{Reconciler, wake};
use berth_secrets::bootstrap::{BootstrapPlan, bootstrap};
use berth_secrets::dev::{DevStorage, DevVault, DevVaultConfig};
use berth_secrets::{Vault, VaultConfig, deliver_secret_id};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use uuid::Uuid;

/// The chain of these tests.
pub(crate) const CHAIN: &str = include_str!("chain.toml");
/// Most steps that any test needs.
const STEPS: usize = 200;

/// A request of an account.
pub(crate) fn from<T>(account: AccountId, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(account);
    request
}

/// A new request id.
pub(crate) fn request_id() -> String {
    Uuid::now_v7().to_string()
}

/// The API over a database, with nothing outside that answers.
pub(crate) struct Alone {
    pub(crate) api: Api,
    pub(crate) account: AccountId,
    /// Tasks end with it.
    _tasks: JoinSet<()>,
}

impl Alone {
    pub(crate) async fn new(db: PgPool) -> Self {
        let silent = || Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
        let vault = VaultConfig::new("https://127.0.0.1:1", None, "provisioning", "/nowhere");
        let others = Others::new(silent(), silent(), silent(), None);
        let site = Arc::new(ScriptedSite::default());
        let mut tasks = JoinSet::new();
        let api = serve(db, &mut tasks, site, others, Vault::new(vault).unwrap());
        let account = AccountId::generate();
        register(&api, account).await.unwrap();
        Self {
            api,
            account,
            _tasks: tasks,
        }
    }
}

fn serve(
    db: PgPool,
    tasks: &mut JoinSet<()>,
    site: Arc<ScriptedSite>,
    others: Others,
    vault: Vault,
) -> Api {
    let stop = CancellationToken::new();
    let channels = &[berth_provisioning::store::events::CHANNEL];
    let (notices, listen) = Notices::listen(db.clone(), channels, stop.clone());
    tasks.spawn(listen);
    Api {
        db,
        notices,
        site,
        others,
        vault,
        stop,
    }
}

/// Registers the chain of these tests.
pub(crate) async fn register(api: &Api, account: AccountId) -> Result<pb::Chain, Status> {
    register_text(api, account, CHAIN).await
}

/// Registers a chain.
pub(crate) async fn register_text(
    api: &Api,
    account: AccountId,
    text: &str,
) -> Result<pb::Chain, Status> {
    let message = pb::RegisterChainRequest {
        request_id: request_id(),
        chain_toml: text.to_owned(),
        ..pb::RegisterChainRequest::default()
    };
    let answer = api.register_chain(from(account, message)).await?;
    Ok(answer.into_inner().chain.unwrap())
}

/// A wish for a node at a price.
pub(crate) fn wish(name: &str) -> pb::LaunchNodeRequest {
    pb::LaunchNodeRequest {
        request_id: request_id(),
        name: name.to_owned(),
        spec: Some(pb::NodeSpec {
            chain: "testchain".to_owned(),
            role: pb::Role::Full.into(),
            source: Some(pb::Source {
                max_price_per_hour: Some(berth_proto::api::v1::Money {
                    currency: "EUR".to_owned(),
                    micros: 1_000_000,
                }),
                ..pb::Source::default()
            }),
            settings: [].into(),
            validators: Vec::new(),
        }),
        validate_only: false,
    }
}

/// Launches a node.
pub(crate) async fn launch(api: &Api, account: AccountId, name: &str) -> pb::Node {
    let answer = api.launch_node(from(account, wish(name))).await.unwrap();
    answer.into_inner().node.unwrap()
}

/// The node as it is.
pub(crate) async fn get(api: &Api, account: AccountId, node: &str) -> Result<pb::Node, Status> {
    let message = pb::GetNodeRequest {
        node_id: node.to_owned(),
    };
    let answer = api.get_node(from(account, message)).await?;
    Ok(answer.into_inner().node.unwrap())
}

/// The state of a node.
pub(crate) fn state(node: &pb::Node) -> pb::node_status::State {
    node.status.as_ref().unwrap().state()
}

/// Why a node is as it is.
pub(crate) fn reason(node: &pb::Node) -> &str {
    &node.status.as_ref().unwrap().status_reason
}

/// The fence of a node.
pub(crate) fn fence(node: &pb::Node) -> u64 {
    let status = node.status.as_ref().unwrap();
    status
        .placement
        .as_ref()
        .map_or(0, |placement| placement.fence)
}

/// Expects a refusal of one field.
pub(crate) fn names_field(status: &Status, field: &str) {
    use tonic_types::StatusExt as _;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let fields = status.get_details_bad_request().unwrap().field_violations;
    assert!(
        fields.iter().any(|f| f.field == field),
        "{field}: {fields:?}"
    );
}

/// The service with a scripted world around it and a real OpenBao.
pub(crate) struct Whole {
    pub(crate) api: Api,
    pub(crate) account: AccountId,
    pub(crate) machine: MachineId,
    pub(crate) world: World,
    pub(crate) site: Arc<ScriptedSite>,
    pub(crate) worker: Reconciler,
    pub(crate) context: Context,
    pub(crate) bao: Option<DevVault>,
    bao_config: DevVaultConfig,
    _bao_address: Held,
    _folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Whole {
    pub(crate) async fn new(db: PgPool) -> Self {
        let mut tasks = JoinSet::new();
        let machine = MachineId::generate();
        let world = World::new(machine);
        let channel = world.serve(&mut tasks).await;
        let others = Others::new(
            channel.clone(),
            channel.clone(),
            channel.clone(),
            Some(channel),
        );
        let site = Arc::new(ScriptedSite::default());
        world.known().site = Some(Arc::clone(&site));
        let folder = tempfile::tempdir().unwrap();
        let bao_address = Held::new();
        let bao_config = bao_config(&folder, &bao_address);
        let (bao, vault) = open_bao(&bao_config, &folder).await;
        let api = serve(
            db.clone(),
            &mut tasks,
            Arc::clone(&site),
            others.clone(),
            vault.clone(),
        );
        let context = Context {
            db,
            site: Arc::clone(&site) as _,
            others,
            vault,
            options: Arc::new(options(&folder)),
        };
        let account = AccountId::generate();
        register(&api, account).await.unwrap();
        Self {
            worker: reconcile::reconciler(&context, 4),
            api,
            account,
            machine,
            world,
            site,
            context,
            bao: Some(bao),
            bao_config,
            _bao_address: bao_address,
            _folder: folder,
            _tasks: tasks,
        }
    }

    /// The node as it is.
    pub(crate) async fn node(&self, name: &str) -> pb::Node {
        get(&self.api, self.account, name).await.unwrap()
    }

    /// Works, without waiting where the service would, until the node is so.
    pub(crate) async fn until(&self, name: &str, so: impl Fn(&pb::Node) -> bool) -> pb::Node {
        for _ in 0..STEPS {
            let node = self.node(name).await;
            if so(&node) {
                return node;
            }
            self.step(&node).await;
        }
        panic!("it never came to that: {:?}", self.node(name).await);
    }

    /// Takes Vault away.
    pub(crate) async fn stop_bao(&mut self) {
        self.bao.take().unwrap().stop().await;
    }

    /// Brings it back with what it held.
    pub(crate) async fn start_bao(&mut self) {
        self.bao = Some(DevVault::start(self.bao_config.clone()).await.unwrap());
    }

    /// One step of a node's work, now.
    pub(crate) async fn step(&self, node: &pb::Node) {
        let id: NodeId = node.id.parse().unwrap();
        let mut conn = self.api.db.acquire().await.unwrap();
        wake(&mut conn, reconcile::NODE, id.uuid()).await.unwrap();
        drop(conn);
        self.worker.turn().await.unwrap();
    }

    /// The same until it is in a state.
    pub(crate) async fn until_state(&self, name: &str, wanted: pb::node_status::State) -> pb::Node {
        self.until(name, |node| state(node) == wanted).await
    }
}

/// Another Vault, while the value lives.
pub(crate) struct Elsewhere {
    pub(crate) vault: Vault,
    _bao: DevVault,
    _address: Held,
    _folder: TempDir,
}

impl Elsewhere {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = Held::new();
        let (bao, vault) = open_bao(&bao_config(&folder, &address), &folder).await;
        Self {
            vault,
            _bao: bao,
            _address: address,
            _folder: folder,
        }
    }
}

fn options(folder: &TempDir) -> Options {
    Options {
        images: folder.path().to_owned(),
        agent_image: Some(ImageRef {
            repository: "berth/agent".to_owned(),
            tag: "1".to_owned(),
            digest: format!("sha256:{}", "2".repeat(64)),
        }),
        control: Control {
            otlp_endpoint: "https://192.0.2.1:4317".to_owned(),
            otlp_server_name: "monitoring".to_owned(),
            renew_endpoint: "https://192.0.2.1:4443".to_owned(),
            renew_server_name: "provisioning".to_owned(),
        },
        signer: Signer::at("192.0.2.1:7208"),
        watch: Duration::from_secs(5),
        drift: Duration::from_mins(5),
        facts: Duration::from_hours(1),
        abandon: Duration::ZERO,
    }
}

fn bao_config(folder: &TempDir, address: &Held) -> DevVaultConfig {
    DevVaultConfig {
        binary: std::env::var_os("BERTH_BAO").map(Into::into),
        data_dir: folder.path().join("bao"),
        listen: address.address(),
        storage: DevStorage::Files,
    }
}

async fn open_bao(config: &DevVaultConfig, folder: &TempDir) -> (DevVault, Vault) {
    let bao = DevVault::start(config.clone())
        .await
        .expect("OpenBao must be installed: see `make bootstrap`");
    bootstrap(bao.admin(), &BootstrapPlan::default())
        .await
        .unwrap();
    let config = VaultConfig::new(
        bao.address(),
        Some(bao.ca_file()),
        "provisioning",
        folder.path().join("secret-id"),
    );
    deliver_secret_id(bao.admin(), &config).await.unwrap();
    (bao, Vault::connect(config).await.unwrap())
}
