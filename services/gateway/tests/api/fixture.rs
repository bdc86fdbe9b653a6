//! A gateway with two services behind it, and somebody who calls.

use crate::authority::Pki;
use crate::services::{Leasing, Monitoring, Seen};
use berth_core::AccountId;
use berth_gateway::Admin;
use berth_gateway::proxy::Proxy;
use berth_gateway::token::Tokens;
use berth_proto::leasing::v1 as leasing;
use berth_proto::leasing::v1::leasing_service_client::LeasingServiceClient;
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use berth_proto::monitoring::v1::monitoring_service_server::MonitoringServiceServer;
use berth_runtime::identity::Trust;
use berth_runtime::platform::{Peers, Platform};
use berth_runtime::server;
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

/// The administrator's token.
pub(crate) const TOKEN: &str = "berth_admin_0123456789abcdef";

/// A gateway, what is behind it, and what of it arrived there.
pub(crate) struct Site {
    pub(crate) account: AccountId,
    pub(crate) channel: Channel,
    pub(crate) seen: mpsc::UnboundedReceiver<Seen>,
    /// Heights that a watch shows.
    pub(crate) heights: mpsc::UnboundedSender<Result<u64, Status>>,
    pub(crate) stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Site {
    pub(crate) async fn new(db: &PgPool) -> Self {
        let (pki, account) = (Pki::new(), AccountId::generate());
        let (sender, seen) = mpsc::unbounded_channel();
        let (heights, stream) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let monitoring = Monitoring {
            seen: sender.clone(),
            stream: Mutex::new(Some(stream)),
        };
        let mut start = async |role: &str, trust, routes| {
            let listener = server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            let address = listener.local_addr().unwrap();
            let identity = pki.identity(role);
            tasks.spawn(server::serve(
                listener,
                identity,
                trust,
                routes,
                stop.clone(),
            ));
            address
        };
        let monitoring = Routes::new(MonitoringServiceServer::new(monitoring));
        let monitoring = start("monitoring", Trust::Services, monitoring).await;
        let leasing = start("leasing", Trust::Services, Routes::new(Leasing(sender))).await;
        let platform = Platform {
            identity: pki.identity("gateway"),
            peers: Peers {
                leasing: leasing.to_string(),
                monitoring: monitoring.to_string(),
                // Nobody is there.
                provisioning: "127.0.0.1:1".to_owned(),
                inventory: "127.0.0.1:1".to_owned(),
                signer: "127.0.0.1:1".to_owned(),
            },
        };
        let tokens = Tokens::new(&Admin {
            account_id: account,
            token_sha256: hex::encode(Sha256::digest(TOKEN)),
        });
        let proxy = Proxy::new(&platform, tokens.unwrap(), db.clone());
        let routes = berth_gateway::routes(proxy).unwrap();
        let address = start("gateway", Trust::Public, routes).await;
        Self {
            account,
            channel: channel(&pki, address),
            seen,
            heights,
            stop,
            tasks,
        }
    }

    /// Asks for the health of a node.
    pub(crate) async fn read(&self, request: Request<pb::GetHealthRequest>) -> Result<(), Status> {
        let mut client = MonitoringServiceClient::new(self.channel.clone());
        client.get_health(request).await.map(drop)
    }

    /// Asks for a change; the memo says what becomes of it.
    pub(crate) async fn credit(&self, memo: &str) -> Result<(), Status> {
        let request = leasing::CreditAccountRequest {
            memo: memo.to_owned(),
            ..leasing::CreditAccountRequest::default()
        };
        let mut client = LeasingServiceClient::new(self.channel.clone());
        client.credit_account(signed(request)).await.map(drop)
    }

    /// What arrived next behind the gateway; a guard against a test that hangs.
    pub(crate) async fn seen(&mut self) -> Seen {
        let next = tokio::time::timeout(Duration::from_secs(60), self.seen.recv());
        next.await.unwrap().unwrap()
    }

    /// Ends when every listener has ended.
    pub(crate) async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A channel as people open it: no certificate of their own.
fn channel(pki: &Pki, address: SocketAddr) -> Channel {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pki.services.pem()))
        .domain_name("gateway");
    Endpoint::from_shared(format!("https://{address}"))
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect_lazy()
}

/// A request with the administrator's token.
pub(crate) fn signed<T>(message: T) -> Request<T> {
    with_token(message, &format!("Bearer {TOKEN}"))
}

/// A request with any value in the place of the token.
pub(crate) fn with_token<T>(message: T, value: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = value.parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// The stable reason of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_details_error_info().unwrap().reason
}
