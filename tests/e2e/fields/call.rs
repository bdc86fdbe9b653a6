//! Calls whose messages are bytes, so that anything can be sent.

use crate::callers::{listener, placement, service};
use crate::raw::Raw;
use berth_core::AccountId;
use berth_runtime::clients;
use berth_runtime::identity::Identity;
use berth_runtime::schema::ACCESS;
use berth_tests::Berth;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

/// A way to every rpc, as the first caller that it names.
pub(super) struct Ways {
    by_path: BTreeMap<String, Channel>,
}

impl Ways {
    /// Opens them, from inside the fabric.
    pub(super) async fn open(dir: &Path) -> Self {
        let config = fs::read_to_string(dir.join("berth.toml")).unwrap();
        let config: toml::Table = config.parse().expect("the configuration is TOML");
        let mut identities: BTreeMap<String, Identity> = BTreeMap::new();
        let mut channels: BTreeMap<(String, String), Channel> = BTreeMap::new();
        let mut by_path = BTreeMap::new();
        for (path, access) in ACCESS.iter() {
            let caller = access.callers.first().expect("a caller");
            if !identities.contains_key(caller) {
                let identity = if caller == "placement" {
                    placement(dir).await
                } else {
                    service(dir, caller).await
                };
                identities.insert(caller.clone(), identity);
            }
            let name = path.split('/').nth(1).expect("a service");
            let (role, address) = listener(&config, name);
            let channel = channels
                .entry((caller.clone(), address.clone()))
                .or_insert_with(|| clients::channel(role, &address, &identities[caller]));
            by_path.insert(path.clone(), channel.clone());
        }
        Self { by_path }
    }

    /// Sends a message, and returns the first one of the answer.
    pub(super) async fn call(
        &self,
        path: &str,
        account: AccountId,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, Status> {
        let mut request = Request::new(message);
        let account = account.to_string().parse().expect("an account is ASCII");
        request.metadata_mut().insert("berth-account", account);
        // It belongs to a service and names an account of its own, or none.
        if ACCESS[path].permission.is_empty() {
            request.metadata_mut().remove("berth-account");
        }
        let mut grpc = tonic::client::Grpc::new(self.by_path[path].clone());
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let path = path.parse().expect("a path");
        // One answer is a stream of one.
        let answers = grpc.server_streaming(request, path, Raw).await?;
        let first = answers.into_inner().message().await?;
        first.ok_or_else(|| Status::unknown("the answer is empty"))
    }
}

/// Calls as a client does.
pub(super) async fn through_the_gateway(
    berth: &Berth,
    path: &'static str,
    message: Vec<u8>,
) -> Result<Vec<u8>, Status> {
    let context = fs::read_to_string(berth.context()).unwrap();
    let context: toml::Table = context.parse().expect("the context is TOML");
    let value = |key: &str| context[key].as_str().expect("a text").to_owned();
    let authority = Certificate::from_pem(fs::read(value("ca_file")).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(authority);
    let endpoint = Endpoint::from_shared(value("endpoint")).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
    let mut request = Request::new(message);
    let bearer = format!("Bearer {}", value("token"));
    let metadata = request.metadata_mut();
    metadata.insert("authorization", bearer.parse().expect("a token is ASCII"));
    let mut grpc = tonic::client::Grpc::new(channel);
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let answer = grpc
        .unary(request, path.parse().expect("a path"), Raw)
        .await?;
    Ok(answer.into_inner())
}
