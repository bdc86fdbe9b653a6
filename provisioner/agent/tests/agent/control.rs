//! The agent against the control plane: a cut way, refused and foreign servers,
//! renewal. Everything is real TLS and gRPC on loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::control_plane::{Arrived, ControlPlane, QUICK, soon};
use crate::held::Held;
use berth_agent::buffer::Buffer;
use berth_agent::clock::Clock;
use berth_agent::export::Exporter;
use berth_agent::identity::Identity;
use berth_agent::otlp;
use berth_agent::peer::Peer;
use berth_agent::renew::{Renewer, Watcher};
use berth_agent::sample::Sample;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::{Code, Status};

const VALID: (i32, i32) = (2000, 4000);
const HOUR: Duration = Duration::from_secs(3600);

fn push(buffer: &Buffer, value: f64) {
    let samples = vec![Sample::gauge("berth.node.height", value)];
    let request = otlp::request(&BTreeMap::new(), SystemTime::now(), samples);
    buffer.push(Instant::now(), 1, request.encode_to_vec().into());
}

fn height(arrived: Arrived) -> f64 {
    arrived.values("berth.node.height")[0]
}

fn accept(_: &Arrived) -> Result<(), Status> {
    Ok(())
}

/// An exporter with its buffer; ends when dropped.
struct Sending {
    buffer: Arc<Buffer>,
    clock: Arc<Clock>,
    identities: watch::Sender<Option<Arc<Identity>>>,
    _task: JoinSet<Result<(), tonic::transport::Error>>,
}

fn send_to(peer: Peer, identity: Option<Arc<Identity>>) -> Sending {
    let (sender, identities) = watch::channel(identity);
    let buffer = Arc::new(Buffer::new(1 << 20, HOUR));
    let clock = Arc::new(Clock::default());
    let exporter = Exporter {
        peer,
        identities,
        buffer: buffer.clone(),
        clock: clock.clone(),
        backoff: QUICK,
    };
    let mut task = JoinSet::new();
    task.spawn(exporter.run());
    Sending {
        buffer,
        clock,
        identities: sender,
        _task: task,
    }
}

#[tokio::test]
async fn samples_of_a_cut_way_arrive_in_order_once_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let plane = ControlPlane::new();
    let identity = plane.identity(&plane.store(folder.path()), 1, VALID);
    let held = Held::new();
    let address = held.address().to_string();
    let (listener, mut arrived) = plane.receiver(&address, accept).await;
    let sending = send_to(plane.peer(listener.address), Some(identity));

    push(&sending.buffer, 1.0);
    let first = soon(arrived.recv()).await.unwrap();
    assert!(first.compressed);
    assert_eq!(height(first), 1.0);
    soon(listener.cut()).await;
    for value in 2..=20 {
        push(&sending.buffer, f64::from(value));
    }
    let (_listener, mut arrived) = plane.receiver(&address, accept).await;
    for value in 2..=20 {
        assert_eq!(
            height(soon(arrived.recv()).await.unwrap()),
            f64::from(value)
        );
    }
    assert_eq!(sending.buffer.dropped(), 0);
}

#[tokio::test]
async fn samples_wait_for_the_first_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let plane = ControlPlane::new();
    let identity = plane.identity(&plane.store(folder.path()), 1, VALID);
    let (listener, mut arrived) = plane.receiver("127.0.0.1:0", accept).await;
    let sending = send_to(plane.peer(listener.address), None);

    push(&sending.buffer, 1.0);
    push(&sending.buffer, 2.0);
    sending.identities.send_replace(Some(identity));
    assert_eq!(height(soon(arrived.recv()).await.unwrap()), 1.0);
    assert_eq!(height(soon(arrived.recv()).await.unwrap()), 2.0);
}

#[tokio::test]
async fn a_batch_called_bad_is_given_up_and_a_busy_receiver_is_asked_again() {
    static BUSY: std::sync::Once = std::sync::Once::new();
    fn answer(arrived: &Arrived) -> Result<(), Status> {
        match arrived.values("berth.node.height")[0] {
            1.0 => Err(Status::new(Code::InvalidArgument, "malformed")),
            _ if BUSY.is_completed() => Ok(()),
            _ => {
                BUSY.call_once(|| {});
                Err(Status::new(Code::ResourceExhausted, "slow down"))
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let plane = ControlPlane::new();
    let identity = plane.identity(&plane.store(folder.path()), 1, VALID);
    let (listener, mut arrived) = plane.receiver("127.0.0.1:0", answer).await;
    let sending = send_to(plane.peer(listener.address), Some(identity));

    for value in 1..=3 {
        push(&sending.buffer, f64::from(value));
    }
    assert_eq!(height(soon(arrived.recv()).await.unwrap()), 2.0);
    assert_eq!(height(soon(arrived.recv()).await.unwrap()), 3.0);
    assert_eq!(sending.buffer.dropped(), 1);
}

#[tokio::test]
async fn the_clock_is_compared_with_the_answers_of_the_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let plane = ControlPlane::new();
    let identity = plane.identity(&plane.store(folder.path()), 1, VALID);
    let (listener, mut arrived) = plane.receiver("127.0.0.1:0", accept).await;
    let sending = send_to(plane.peer(listener.address), Some(identity));

    push(&sending.buffer, 1.0);
    push(&sending.buffer, 2.0);
    // The second is sent after the answer to the first was read.
    soon(arrived.recv()).await.unwrap();
    soon(arrived.recv()).await.unwrap();
    assert_eq!(sending.clock.offset(), Some(0.0));
}

#[tokio::test]
async fn a_server_of_another_authority_or_another_name_gets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, foreign) = (ControlPlane::new(), ControlPlane::new());
    let identity = plane.identity(&plane.store(folder.path()), 1, VALID);
    let (listener, mut arrived) = plane.receiver("127.0.0.1:0", accept).await;
    let right = plane.peer(listener.address);
    let other_authority = Peer {
        authority: foreign.services.pem(),
        ..right.clone()
    };
    let other_name = Peer {
        server_name: "gateway.berth.internal".into(),
        ..right.clone()
    };

    for peer in [other_authority, other_name] {
        let mut client = MetricsServiceClient::new(peer.channel(&identity).unwrap());
        let refused = soon(client.export(empty())).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    }
    let mut client = MetricsServiceClient::new(right.channel(&identity).unwrap());
    soon(client.export(empty())).await.unwrap();
    assert!(arrived.recv().await.is_some() && arrived.try_recv().is_err());
}

fn empty() -> ExportMetricsServiceRequest {
    otlp::request(&BTreeMap::new(), SystemTime::now(), Vec::new())
}

#[tokio::test]
async fn renewal_outlasts_refusals_and_switches_the_identity_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Arc::new(ControlPlane::new());
    let store = plane.store(folder.path());
    // A third of its life is long over.
    plane.identity(&store, 7, (1999, 2050));
    let (receiver, mut arrived) = plane.receiver("127.0.0.1:0", accept).await;
    let (renewals, mut callers) = plane.placements(2).await;
    let sending = send_to(plane.peer(receiver.address), None);
    let mut identities = sending.identities.subscribe();

    let mut tasks = JoinSet::new();
    let every = Duration::from_millis(5);
    let watcher = Watcher {
        store: store.clone(),
        identities: sending.identities.clone(),
        every,
    };
    tasks.spawn(watcher.run());
    push(&sending.buffer, 1.0);
    assert_eq!(soon(arrived.recv()).await.unwrap().serial, 7);

    let renewer = Renewer {
        peer: plane.peer(renewals.address),
        store,
        identities: identities.clone(),
        renew_after: Duration::from_secs(u32::MAX.into()),
        clock: sending.clock.clone(),
        backoff: QUICK,
    };
    identities.mark_unchanged();
    tasks.spawn(renewer.run());
    for _ in 0..3 {
        assert_eq!(soon(callers.recv()).await, Some(7));
    }
    soon(identities.changed()).await.unwrap();
    push(&sending.buffer, 2.0);
    assert_eq!(soon(arrived.recv()).await.unwrap().serial, 8);
    assert!(
        callers.try_recv().is_err(),
        "a young certificate is not renewed"
    );
}
