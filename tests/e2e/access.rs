//! Every rpc, called by everybody, over real TLS.
//!
//! The body of each call is not a message: whoever is admitted is told that, so
//! that nothing is ever done.

use crate::callers::{SERVICES, listener, placement, service};
use crate::raw::Raw;
use crate::rows::{PLAIN, ROWS, Service};
use berth_core::AccountId;
use berth_runtime::clients;
use berth_runtime::identity::Identity;
use berth_runtime::schema::ACCESS;
use berth_tests::Berth;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::codegen::{Service as _, http};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

const PLACEMENT: &str = "placement";

/// Tries everybody against everything.
pub(crate) fn every_rpc(berth: &Berth) {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .unwrap();
    every_rpc_has_a_row();
    Runtime::new()
        .unwrap()
        .block_on(through_the_gateway(berth.context()));
    let inside = || {
        Runtime::new()
            .unwrap()
            .block_on(between_services(berth.dir()))
    };
    berth.rig().in_fabric(inside).unwrap();
}

/// All paths with their callers, as the rows say.
fn rows() -> impl Iterator<Item = (&'static Service, String, &'static [&'static str])> {
    ROWS.iter().flat_map(|service| {
        let path = move |method: &str| format!("/{}/{method}", service.name);
        service
            .methods
            .iter()
            .map(move |(method, callers)| (service, path(method), *callers))
    })
}

fn every_rpc_has_a_row() {
    let rows: BTreeMap<String, Vec<&str>> = rows()
        .map(|(_, path, callers)| (path, callers.to_vec()))
        .collect();
    let api: BTreeMap<String, Vec<&str>> = ACCESS
        .iter()
        .map(|(path, access)| {
            (
                path.clone(),
                access.callers.iter().map(String::as_str).collect(),
            )
        })
        .collect();
    assert_eq!(
        rows, api,
        "add or change the row of the rpc in tests/e2e/rows.rs"
    );
}

/// The public endpoint: nothing without a token, nothing internal with one.
async fn through_the_gateway(context: &Path) {
    let context = fs::read_to_string(context).unwrap();
    let context: toml::Table = context.parse().expect("the context is TOML");
    let value = |key: &str| context[key].as_str().expect("a text");
    let authority = fs::read_to_string(value("ca_file")).unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let endpoint = Endpoint::from_shared(value("endpoint").to_owned()).unwrap();
    let channel = endpoint.tls_config(tls).unwrap().connect_lazy();
    let token = value("token");
    let cut = &token[..token.len() - 1];
    for (_, path, callers) in rows() {
        let public = callers.contains(&"gateway");
        for wrong in [None, Some(cut), Some("")] {
            let said = call(&channel, &path, wrong).await;
            assert_eq!(
                said.code(),
                Code::Unauthenticated,
                "{path} with a wrong token: {said}"
            );
        }
        let said = call(&channel, &path, Some(token)).await;
        assert_eq!(was_admitted(&said), public, "{path} with the token: {said}");
        if !public {
            assert_eq!(said.code(), Code::PermissionDenied, "{path}: {said}");
        }
    }
}

/// Every certificate against every listener, and nobody's.
async fn between_services(dir: &Path) {
    let config = fs::read_to_string(dir.join("berth.toml")).unwrap();
    let config: toml::Table = config.parse().expect("the configuration is TOML");
    let mut callers = BTreeMap::new();
    for role in SERVICES {
        callers.insert(role, service(dir, role).await);
    }
    callers.insert(PLACEMENT, placement(dir).await);
    for (service, path, permitted) in rows() {
        let (role, address) = listener(&config, service.name);
        for (caller, identity) in &callers {
            let channel = clients::channel(role, &address, identity);
            let said = call(&channel, &path, None).await;
            let admitted = permitted.contains(caller);
            assert_eq!(was_admitted(&said), admitted, "{path} by {caller}: {said}");
            // A certificate of the other authority does not get as far as that.
            if !admitted && (*caller == PLACEMENT) == permitted.contains(&PLACEMENT) {
                assert_eq!(
                    said.code(),
                    Code::PermissionDenied,
                    "{path} by {caller}: {said}"
                );
            }
        }
        let said = call(&nobody(dir, role, &address), &path, None).await;
        assert!(!was_admitted(&said), "{path} by nobody: {said}");
    }
    plain(dir, &callers).await;
}

/// The same for what is not gRPC, at either listener of the signer.
async fn plain(dir: &Path, callers: &BTreeMap<&str, Identity>) {
    let config = fs::read_to_string(dir.join("signer.toml")).unwrap();
    let config: toml::Table = config.parse().expect("the configuration is TOML");
    for listener in ["listen", "duty_listen"] {
        let address = config["signer"][listener].as_str().unwrap();
        let address = address.replace("0.0.0.0", "127.0.0.1");
        for row in PLAIN {
            for (caller, identity) in callers {
                let channel = clients::channel("signer", &address, identity);
                let answered = get(channel, row.path).await;
                let admitted = row.listener == listener && row.callers.contains(caller);
                let path = row.path;
                assert_eq!(
                    answered.is_some_and(|code| code != 401 && code != 403),
                    admitted,
                    "{path} at {listener} by {caller}: {answered:?}"
                );
            }
            let answered = get(nobody(dir, "signer", &address), row.path).await;
            assert_eq!(answered, None, "{} at {listener} by nobody", row.path);
        }
    }
}

/// Asks for a path, for some account; the code of the answer, if there is one.
async fn get(mut channel: Channel, path: &str) -> Option<u16> {
    let request = http::Request::get(format!("http://signer{path}"))
        .header("berth-account", AccountId::generate().to_string())
        .body(Body::empty())
        .unwrap();
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .ok()?;
    let answer = channel.call(request).await.ok()?;
    Some(answer.status().as_u16())
}

/// Somebody who trusts our services and shows no certificate.
fn nobody(dir: &Path, role: &str, address: &str) -> Channel {
    let authority = fs::read_to_string(dir.join("ca.pem")).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name(role);
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
    endpoint.tls_config(tls).unwrap().connect_lazy()
}

/// Calls a method with a body that is no message.
async fn call(channel: &Channel, path: &str, token: Option<&str>) -> Status {
    // No message begins with this.
    let mut request = Request::new(vec![0xff]);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    if let Err(error) = grpc.ready().await {
        return Status::from_error(error.into());
    }
    let path = path.parse().expect("a path");
    let answer = grpc.unary(request, path, Raw).await;
    answer.expect_err("no message is no request")
}

/// Whether the call got as far as the message, which it does not have.
fn was_admitted(said: &Status) -> bool {
    said.code() == Code::Internal && said.message().contains("decode")
}
