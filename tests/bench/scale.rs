//! What more replicas bring: calls a second through the gateway of a whole
//! control plane on this computer, with 1, 2 and 4 replicas of every service.
//! The floor of a row is one replica, measured in the same run.
//!
//! Deliberately absent: limits, and more than one computer. The replicas share
//! these processors, so a ratio near 1 says that they were busy before.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot run must fail"
)]

#[path = "../e2e/raw.rs"]
mod raw;
mod row;

use crate::raw::Raw;
use crate::row::{Row, Step, load_average};
use berth_tests::{Berth, Shape};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use uuid::Uuid;

/// Replicas of every service.
const REPLICAS: [u8; 3] = [1, 2, 4];
/// Clients, each with a connection of its own and one call at a time.
const CLIENTS: usize = 32;
/// How long each row is measured.
const LONG: Duration = Duration::from_secs(8);
/// What is called.
struct Rpc {
    name: &'static str,
    path: &'static str,
    message: fn() -> Vec<u8>,
}

const CALLS: [Rpc; 4] = [
    Rpc {
        name: "list leases",
        path: "/berth.leasing.v1.LeasingService/ListLeases",
        message: Vec::new,
    },
    Rpc {
        name: "get balance",
        path: "/berth.leasing.v1.LeasingService/GetBalance",
        message: Vec::new,
    },
    Rpc {
        name: "list nodes",
        path: "/berth.provisioning.v1.ProvisioningService/ListNodes",
        message: Vec::new,
    },
    Rpc {
        name: "create supplier",
        path: "/berth.inventory.v1.InventoryService/CreateSupplier",
        message: supplier,
    },
];

fn main() {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .unwrap();
    let mut floors = [0.0; CALLS.len()];
    for replicas in REPLICAS {
        let shape = Shape {
            machines: 1,
            replicas,
        };
        let mut berth = Berth::start(shape);
        for (rpc, floor) in CALLS.into_iter().zip(&mut floors) {
            let load_average = load_average();
            let runtime = Runtime::new().unwrap();
            let value = runtime.block_on(measure(berth.context(), &rpc));
            if replicas == REPLICAS[0] {
                *floor = value;
            }
            let row = Row {
                name: rpc.name,
                value,
                unit: "1/s",
                floor: *floor,
                floor_name: "one replica of every service",
                ratio: value / *floor,
                aim: None,
                load_average,
                steps: vec![Step {
                    name: "replicas of every service".to_owned(),
                    value: replicas.into(),
                    unit: "1",
                }],
            };
            row.show();
        }
        berth.stop();
    }
}

/// Calls a second of all clients together.
async fn measure(context: &Path, rpc: &Rpc) -> f64 {
    let Rpc { path, message, .. } = *rpc;
    let context: toml::Table = fs::read_to_string(context).unwrap().parse().unwrap();
    let value = |key: &str| context[key].as_str().unwrap().to_owned();
    let authority = Certificate::from_pem(fs::read(value("ca_file")).unwrap());
    let tls = ClientTlsConfig::new().ca_certificate(authority);
    let endpoint = Endpoint::from_shared(value("endpoint")).unwrap();
    let endpoint = endpoint.tls_config(tls).unwrap();
    let bearer = format!("Bearer {}", value("token"));
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..CLIENTS {
        let (channel, bearer) = (endpoint.connect_lazy(), bearer.clone());
        clients.spawn(async move {
            let mut done = 0_u32;
            while begun.elapsed() < LONG {
                call(&channel, path, message(), &bearer).await.unwrap();
                done += 1;
            }
            done
        });
    }
    let done: u32 = clients.join_all().await.into_iter().sum();
    f64::from(done) / begun.elapsed().as_secs_f64()
}

/// A supplier that nobody asked for before: a `request_id`, then a `name`, both of 36
/// bytes.
fn supplier() -> Vec<u8> {
    let mut message = Vec::new();
    for field in 1..=2 {
        message.extend([field << 3 | 2, 36]);
        message.extend(Uuid::new_v4().to_string().bytes());
    }
    message
}

/// One call.
async fn call(
    channel: &Channel,
    path: &'static str,
    message: Vec<u8>,
    bearer: &str,
) -> Result<(), Status> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", bearer.parse().unwrap());
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::from_error(error.into()))?;
    let path = tonic::codegen::http::uri::PathAndQuery::from_static(path);
    grpc.unary(request, path, Raw).await?;
    Ok(())
}
