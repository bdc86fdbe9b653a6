//! What may be called at all.

use crate::fixture::{Site, reason, signed};
use berth_runtime::schema::ACCESS;
use http::uri::PathAndQuery;
use sqlx::PgPool;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;

/// Calls any path with an empty message.
async fn call(site: &Site, path: &str, request: Request<()>) -> Result<(), Status> {
    let mut client = Grpc::new(site.channel.clone());
    client.ready().await.unwrap();
    let path = PathAndQuery::try_from(path).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    client.unary(request, path, codec).await.map(drop)
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn without_a_token_no_method_is_served(db: PgPool) {
    let site = Site::new(&db).await;
    let unknown = "/berth.leasing.v1.LeasingService/Nothing".to_owned();
    for path in ACCESS.keys().chain([&unknown]) {
        let status = call(&site, path, Request::new(())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{path}");
    }
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn methods_between_services_look_like_methods_that_do_not_exist(db: PgPool) {
    let site = Site::new(&db).await;
    let internal = ACCESS
        .iter()
        .filter(|(_, access)| !access.callers.iter().any(|caller| caller == "gateway"))
        .map(|(path, _)| path.as_str());
    let unknown = [
        "/berth.leasing.v1.LeasingService/Nothing",
        "/berth.signing.v1.SigningService/Sign",
        "/berth.leasing",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        "/",
    ];
    let paths: Vec<_> = internal.chain(unknown).collect();
    for service in [
        "TargetService",
        "FleetService",
        "PlacementService",
        "GrantService",
    ] {
        assert!(paths.iter().any(|path| path.contains(service)), "{service}");
    }
    for path in paths {
        let status = call(&site, path, signed(())).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{path}");
        assert_eq!(reason(&status), "METHOD_UNKNOWN");
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from audit")
        .fetch_one(&db)
        .await
        .unwrap();
    assert_eq!(rows, 0);
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn methods_about_keys_go_to_the_signer(db: PgPool) {
    let site = Site::new(&db).await;
    let package = "/berth.signing.v1.SigningService/";
    let paths: Vec<_> = ACCESS
        .keys()
        .filter(|path| path.starts_with(package))
        .collect();
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        let status = call(&site, path, signed(())).await.unwrap_err();
        // Nobody is there.
        assert_eq!(status.code(), Code::Unavailable, "{path}: {status}");
    }
}

#[sqlx::test(migrator = "berth_gateway::store::MIGRATIONS")]
async fn anybody_may_ask_whether_the_gateway_is_well(db: PgPool) {
    let site = Site::new(&db).await;
    HealthClient::new(site.channel.clone())
        .check(HealthCheckRequest::default())
        .await
        .unwrap();
}
