//! No machine takes the room of another.

use crate::line::connect;
use crate::requests::request;
use crate::site::{SLOT, Site, sign};
use berth_core::Fence;
use futures::future::join_all;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn so_many_requests_for_a_validator_leave_the_others_and_a_successor_theirs(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1, 2]).await;
    let line = site.placement(node, Fence::FIRST).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    let answers = join_all((0..250).map(|_| sign(&line, 1, &body))).await;
    let signed = answers.iter().filter(|answer| answer.code == 200).count();
    assert!((64..250).contains(&signed), "{signed}");
    let refused = answers.iter().find(|answer| answer.code != 200).unwrap();
    refused.refused(429, "RATE_LIMITED");
    sign(&line, 2, &body).await.signature();
    // Another machine of the node has room of its own.
    let other = site.placement(node, Fence::FIRST).await;
    sign(&other, 1, &body).await.signature();
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn hundreds_of_connections_of_one_machine_hinder_no_other(db: PgPool) {
    let site = Site::start(db).await;
    let (hostile, other) = (site.node([1]).await, site.node([2]).await);
    let issued = site.certificate(hostile, Fence::FIRST);
    let mut open = Vec::new();
    let mut answered = 0;
    for _ in 0..300 {
        let mut stream = connect(&site.pki, site.duty, &issued, b"http/1.1").await;
        let asked = stream
            .write_all(b"GET /upcheck HTTP/1.1\r\nhost: signer\r\n\r\n")
            .await;
        let mut answer = [0; 15];
        if asked.is_ok() && stream.read_exact(&mut answer).await.is_ok() {
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            answered += 1;
        }
        open.push(stream);
    }
    assert_eq!(answered, 64);
    let line = site.placement(other, Fence::FIRST).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    sign(&line, 2, &body).await.signature();
    // Nor do they keep its successor out.
    let successor = site.placement(hostile, Fence::FIRST).await;
    sign(&successor, 1, &body).await.signature();
}
