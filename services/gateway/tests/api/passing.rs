//! Passing on: streams, and the end of either side.

use crate::fixture::{Site, signed};
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_client::MonitoringServiceClient;
use sqlx::PgPool;
use std::time::Duration;
use tonic::{Code, Status, Streaming};

async fn watch(site: &Site) -> Streaming<pb::WatchHealthResponse> {
    let mut client = MonitoringServiceClient::new(site.channel.clone());
    let request = signed(pb::WatchHealthRequest::default());
    client.watch_health(request).await.unwrap().into_inner()
}

/// The next height; a guard against a test that hangs.
async fn next(stream: &mut Streaming<pb::WatchHealthResponse>) -> Result<Option<u64>, Status> {
    let next = tokio::time::timeout(Duration::from_secs(60), stream.message());
    let answer = next.await.unwrap()?;
    Ok(answer.map(|answer| answer.health.unwrap().height))
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn a_stream_passes_as_it_comes_and_ends_as_it_ends(db: PgPool) {
    let site = Site::new(&db).await;
    let mut stream = watch(&site).await;
    for height in 1..4 {
        // Sent only after the one before arrived: nothing is held back.
        site.heights.send(Ok(height)).unwrap();
        assert_eq!(next(&mut stream).await.unwrap(), Some(height));
    }
    drop(site.heights);
    assert_eq!(next(&mut stream).await.unwrap(), None);
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn the_error_that_ends_a_stream_passes(db: PgPool) {
    let site = Site::new(&db).await;
    let mut stream = watch(&site).await;
    site.heights.send(Ok(1)).unwrap();
    let error = Status::new(Code::NotFound, "the node is gone");
    site.heights.send(Err(error)).unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Some(1));
    let status = next(&mut stream).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "the node is gone");
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn the_service_learns_that_nobody_watches_any_more(db: PgPool) {
    let site = Site::new(&db).await;
    let mut stream = watch(&site).await;
    site.heights.send(Ok(1)).unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Some(1));
    drop(stream);
    let closed = tokio::time::timeout(Duration::from_secs(60), site.heights.closed());
    closed.await.unwrap();
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn everything_ends_when_told_though_somebody_watches(db: PgPool) {
    let site = Site::new(&db).await;
    let mut stream = watch(&site).await;
    site.heights.send(Ok(1)).unwrap();
    assert_eq!(next(&mut stream).await.unwrap(), Some(1));
    site.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), site.ended());
    ended.await.unwrap();
}
