//! No machine takes the room of another.

use crate::authority::Issued;
use crate::eventually::eventually;
use crate::line::connect;
use crate::requests::request;
use crate::site::{SLOT, Site, sign};
use berth_core::Fence;
use futures::future::join_all;
use futures::{StreamExt as _, future, stream};
use http_body_util::Empty;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http2;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use sqlx::PgPool;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn so_many_requests_for_a_validator_leave_the_others_and_a_successor_theirs(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1, 2]).await;
    let line = site.placement(node, Fence::FIRST).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    for answer in join_all((0..64).map(|_| sign(&line, 1, &body))).await {
        answer.signature();
    }
    // On a slow machine the room comes back while it is taken.
    let refused = eventually("one is too many", async || {
        let answers = join_all((0..250).map(|_| sign(&line, 1, &body))).await;
        answers.into_iter().find(|answer| answer.code != 200)
    })
    .await;
    refused.refused(429, "RATE_LIMITED");
    sign(&line, 2, &body).await.signature();
    // Another machine of the node has room of its own.
    let other = site.placement(node, Fence::FIRST).await;
    sign(&other, 1, &body).await.signature();
}

/// How many connections a machine opens: `BERTH_CONNECTIONS`, or 300.
fn connections() -> usize {
    let set = std::env::var_os("BERTH_CONNECTIONS");
    set.map_or(300, |set| set.to_str().unwrap().parse().unwrap())
}

/// A connection that is answered on, and stays open.
async fn answered(site: &Site, issued: &Issued) -> Option<TlsStream<TcpStream>> {
    let mut stream = connect(&site.pki, site.duty, issued, b"http/1.1").await;
    let upcheck = b"GET /upcheck HTTP/1.1\r\nhost: signer\r\n\r\n";
    stream.write_all(upcheck).await.ok()?;
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).await.ok()?;
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    Some(stream)
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn more_connections_than_a_machine_may_have_hinder_no_other(db: PgPool) {
    let site = Site::start(db).await;
    let (hostile, other) = (site.node([1]).await, site.node(2..=20).await);
    let issued = site.certificate(hostile, Fence::FIRST);
    let line = site.placement(other, Fence::FIRST).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    let opened = stream::iter(0..connections())
        .map(|_| answered(&site, &issued))
        .buffer_unordered(32)
        .filter_map(future::ready)
        .collect::<Vec<_>>();
    let meanwhile = async {
        for number in 2..=20 {
            sign(&line, number, &body).await.signature();
        }
    };
    let (opened, ()) = tokio::join!(opened, meanwhile);
    assert_eq!(opened.len(), 64);
    let new = site.placement(other, Fence::FIRST).await;
    sign(&new, 2, &body).await.signature();
    // Nor do they keep its successor out.
    let successor = site.placement(hostile, Fence::FIRST).await;
    sign(&successor, 1, &body).await.signature();
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_machine_that_reads_no_answers_hinders_no_other(db: PgPool) {
    let site = Site::start(db).await;
    let (hostile, other) = (site.node([1]).await, site.node(2..=20).await);
    let issued = site.certificate(hostile, Fence::FIRST);
    let (mut connections, mut unread) = (JoinSet::new(), Vec::new());
    for _ in 0..8 {
        let stream = connect(&site.pki, site.duty, &issued, b"h2").await;
        // Room for a byte of each answer.
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        connections.spawn(connection);
        for _ in 0..100 {
            let upcheck = Request::get("https://signer/upcheck");
            let upcheck = upcheck.body(Empty::<Bytes>::new()).unwrap();
            sender.ready().await.unwrap();
            unread.push(sender.send_request(upcheck).await.unwrap());
        }
    }
    let line = site.placement(other, Fence::FIRST).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    for number in 2..=20 {
        sign(&line, number, &body).await.signature();
    }
    let whole = |answer: &Response<Incoming>| answer.body().is_end_stream();
    assert!(!unread.iter().any(whole));
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_machine_that_floods_is_refused_and_holds_up_no_other(db: PgPool) {
    let site = Site::start(db).await;
    let (hostile, other) = (site.node([1]).await, site.node(2..=20).await);
    let flood = site.placement(hostile, Fence::FIRST).await;
    let huge = Value::String("x".repeat((1 << 20) - 2));
    let stop = CancellationToken::new();
    let mut floods = JoinSet::new();
    let (flood, huge) = (Arc::new(flood), Arc::new(huge));
    for number in [1, 2, 21] {
        let (flood, huge, stop) = (Arc::clone(&flood), Arc::clone(&huge), stop.clone());
        floods.spawn(async move {
            let mut refused = 0;
            while !stop.is_cancelled() || refused == 0 {
                let answer = sign(&flood, number, &huge).await;
                assert!(
                    [400, 404, 429].contains(&answer.code.as_u16()),
                    "{answer:?}"
                );
                refused += 1;
            }
            refused
        });
    }
    let line = site.placement(other, Fence::FIRST).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    for number in 2..=20 {
        sign(&line, number, &body).await.signature();
    }
    stop.cancel();
    let refused = floods.join_all().await;
    assert!(refused.iter().all(|count| *count > 0), "{refused:?}");
    // Among its own, too, what is sound goes on once there is room again.
    eventually("the hostile one is itself signed for", async || {
        let answer = sign(&flood, 1, &body).await;
        (answer.code == 200).then_some(())
    })
    .await;
}
