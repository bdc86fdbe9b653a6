//! Two services behind the gateway that say what reached them. They check
//! certificates and callers as all services do; what they answer is theirs.

use berth_proto::leasing::v1 as leasing;
use berth_proto::monitoring::v1 as pb;
use berth_proto::monitoring::v1::monitoring_service_server::MonitoringService;
use berth_runtime::auth;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::convert::Infallible;
use std::task::{Context, Poll};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

/// What reached a service.
#[derive(Debug)]
pub(crate) struct Seen {
    /// For which account.
    pub(crate) account: String,
    /// All that came with it.
    pub(crate) metadata: MetadataMap,
}

impl Seen {
    fn of<T>(request: &Request<T>) -> Self {
        Self {
            account: auth::account(request).unwrap().to_string(),
            metadata: request.metadata().clone(),
        }
    }
}

/// What a watch shows, or the error that ends it.
type Heights = mpsc::UnboundedReceiver<Result<u64, Status>>;

/// Monitoring: a read, and a stream that the test feeds.
pub(crate) struct Monitoring {
    pub(crate) seen: mpsc::UnboundedSender<Seen>,
    pub(crate) stream: Mutex<Option<Heights>>,
}

#[tonic::async_trait]
impl MonitoringService for Monitoring {
    type WatchHealthStream = BoxStream<'static, Result<pb::WatchHealthResponse, Status>>;

    async fn get_health(
        &self,
        request: Request<pb::GetHealthRequest>,
    ) -> Result<Response<pb::GetHealthResponse>, Status> {
        self.seen.send(Seen::of(&request)).unwrap();
        let health = pb::Health {
            node_id: request.into_inner().node_id,
            ..pb::Health::default()
        };
        Ok(Response::new(pb::GetHealthResponse {
            health: Some(health),
        }))
    }

    async fn watch_health(
        &self,
        _: Request<pb::WatchHealthRequest>,
    ) -> Result<Response<Self::WatchHealthStream>, Status> {
        let heights = self.stream.lock().await.take().unwrap();
        let answers = UnboundedReceiverStream::new(heights).map(|height| {
            height.map(|height| pb::WatchHealthResponse {
                health: Some(pb::Health {
                    height,
                    ..pb::Health::default()
                }),
            })
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn query_samples(
        &self,
        _: Request<pb::QuerySamplesRequest>,
    ) -> Result<Response<pb::QuerySamplesResponse>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}

/// Leasing, of which only `CreditAccount` is there: the memo says what becomes
/// of the call.
#[derive(Clone)]
pub(crate) struct Leasing(pub(crate) mpsc::UnboundedSender<Seen>);

impl NamedService for Leasing {
    const NAME: &'static str = "berth.leasing.v1.LeasingService";
}

impl Leasing {
    async fn credit(
        self,
        request: Request<leasing::CreditAccountRequest>,
    ) -> Result<Response<leasing::CreditAccountResponse>, Status> {
        self.0.send(Seen::of(&request)).unwrap();
        match request.into_inner().memo.as_str() {
            "refuse" => Err(Status::new(tonic::Code::Aborted, "somebody was faster")),
            "wait" => std::future::pending().await,
            _ => Ok(Response::new(leasing::CreditAccountResponse::default())),
        }
    }
}

impl Service<http::Request<Body>> for Leasing {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert!(request.uri().path().ends_with("/CreditAccount"));
        let this = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::default();
            let credit = tower::service_fn(move |request| this.clone().credit(request));
            Ok(Grpc::new(codec).unary(credit, request).await)
        })
    }
}
