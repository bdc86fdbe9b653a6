//! Who is calling: the peer by its certificate, the account by what the
//! gateway says. Checked for every method, before any handler runs.

use crate::schema::ACCESS;
use crate::status;
use berth_core::{AccountId, Error, Fence, NodeId, PlacementId, Result};
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Extensions, Request};
use tower::{Layer, Service};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Metadata key that carries the account; only services may set it.
pub const ACCOUNT_HEADER: &str = "berth-account";

/// Whose certificate a connection shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// A service: URI `berth://service/<role>`.
    Service(String),
    /// A placement: URI `berth://placement/<node>/<placement>/<fence>`.
    Placement {
        /// Its node.
        node_id: NodeId,
        /// The placement.
        placement_id: PlacementId,
        /// The fence that the certificate was made for.
        fence: Fence,
    },
}

impl Peer {
    /// Reads the peer from a certificate that was verified already.
    #[must_use]
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let mut uris = names.value.general_names.iter().filter_map(|name| {
            if let GeneralName::URI(uri) = name {
                Some(*uri)
            } else {
                None
            }
        });
        let peer = Self::from_uri(uris.next()?);
        // More than one name is not a certificate that we made.
        if uris.next().is_some() { None } else { peer }
    }

    fn from_uri(uri: &str) -> Option<Self> {
        let path = uri.strip_prefix("berth://")?;
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            ["service", role] if !role.is_empty() => Some(Self::Service((*role).to_owned())),
            ["placement", node, placement, fence] => Some(Self::Placement {
                node_id: node.parse().ok()?,
                placement_id: placement.parse().ok()?,
                fence: fence.parse::<u64>().ok()?.into(),
            }),
            _ => None,
        }
    }

    fn may_call(&self, callers: &[impl AsRef<str>]) -> bool {
        callers.iter().any(|caller| match self {
            Self::Service(role) => caller.as_ref() == role && role != PLACEMENT,
            Self::Placement { .. } => caller.as_ref() == PLACEMENT,
        })
    }
}

/// What placements are called among callers; no service has this name.
const PLACEMENT: &str = "placement";
/// Who asks for signatures.
const MACHINES: &[&str] = &[PLACEMENT];
/// Who looks at the signer.
const SERVICES: &[&str] = &[
    "gateway",
    "inventory",
    "leasing",
    "monitoring",
    "provisioning",
    "signer",
];
/// Who changes keys, for the account that it names.
const KEY_KEEPERS: &[&str] = &["gateway", "signer"];

/// The paths of plain HTTP, all of the signer, and their callers. One that ends
/// with `/` stands for everything below it.
const PLAIN: &[(&str, &[&str])] = &[
    ("/upcheck", MACHINES),
    ("/api/v1/eth2/publicKeys", MACHINES),
    ("/api/v1/eth2/sign/", MACHINES),
    ("/api/v1/eth2/highWatermark", SERVICES),
    ("/healthcheck", SERVICES),
    ("/metrics", SERVICES),
    ("/reload", SERVICES),
    ("/eth/v1/keystores", KEY_KEEPERS),
    ("/eth/v1/validator/", KEY_KEEPERS),
];

/// The row of [`PLAIN`] for a path.
fn plain(path: &str) -> Option<(&'static str, &'static [&'static str])> {
    PLAIN
        .iter()
        .copied()
        .find(|(known, _)| path == *known || known.ends_with('/') && path.starts_with(known))
}

/// What a path is called where names must be few: never what a caller made up,
/// and never with an identifier in it.
pub(crate) fn name_of(path: &str) -> &'static str {
    let method = ACCESS.get_key_value(path).map(|(known, _)| known.as_str());
    method
        .or_else(|| plain(path).map(|(known, _)| known))
        .unwrap_or("/unknown")
}

/// The peer of a request, once the layer has let it through.
///
/// # Errors
///
/// [`Error::Unauthenticated`] when there is none.
pub fn peer(extensions: &Extensions) -> Result<&Peer> {
    extensions.get::<Peer>().ok_or_else(not_signed_in)
}

/// The account that a request is made for.
///
/// # Errors
///
/// [`Error::Unauthenticated`] when the caller named none.
pub fn account<T>(request: &Request<T>) -> Result<AccountId> {
    request
        .extensions()
        .get::<AccountId>()
        .copied()
        .ok_or_else(not_signed_in)
}

fn not_signed_in() -> Error {
    Error::Unauthenticated {
        reason: "NOT_SIGNED_IN",
        message: "sign in first: send `authorization: Bearer <token>`".to_owned(),
    }
}

/// Decides whether a peer may call a path, and for which account.
///
/// # Errors
///
/// [`Error::Unauthenticated`] without a certificate of ours,
/// [`Error::Forbidden`] when the method does not name the peer as a caller.
pub fn admit(path: &str, peer: Option<&Peer>, account: Option<&str>) -> Result<Option<AccountId>> {
    let peer = peer.ok_or_else(|| Error::Unauthenticated {
        reason: "NO_CERTIFICATE",
        message: "this listener needs a certificate of Berth's own authority".to_owned(),
    })?;
    let open = [
        "/grpc.health.v1.Health/",
        "/grpc.reflection.v1.ServerReflection/",
    ];
    let otlp = "/opentelemetry.proto.collector.";
    if open.iter().any(|prefix| path.starts_with(prefix)) || path.starts_with(otlp) {
        return Ok(None);
    }
    let permitted = match plain(path) {
        Some((_, callers)) => peer.may_call(callers),
        None => ACCESS
            .get(path)
            .is_some_and(|access| peer.may_call(&access.callers)),
    };
    if !permitted {
        return Err(Error::Forbidden {
            reason: "CALLER_NOT_PERMITTED",
            message: format!("this caller may not call {path}"),
        });
    }
    match (peer, account) {
        (Peer::Service(_), Some(account)) => account
            .parse()
            .map(Some)
            .map_err(|problem| Error::invalid(ACCOUNT_HEADER, problem)),
        (Peer::Service(_) | Peer::Placement { .. }, _) => Ok(None),
    }
}

/// Puts [`Peer`] and the account into the extensions of each request, or
/// answers for the service when the caller may not.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuthLayer;

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner }
    }
}

/// See [`AuthLayer`].
#[derive(Debug, Clone)]
pub struct Auth<S> {
    inner: S,
}

impl<S, B> Service<http::Request<B>> for Auth<S>
where
    S: Service<http::Request<B>, Response = http::Response<tonic::body::Body>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future =
        futures::future::Either<S::Future, futures::future::Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        // Whatever a peer sends, these are ours to set.
        request.extensions_mut().remove::<Peer>();
        request.extensions_mut().remove::<AccountId>();
        let peer = request
            .extensions()
            .get::<TlsConnectInfo<TcpConnectInfo>>()
            .and_then(TlsConnectInfo::peer_certs)
            .and_then(|chain: Arc<Vec<_>>| {
                chain.first().and_then(|leaf| Peer::from_certificate(leaf))
            });
        let account = request
            .headers()
            .get(ACCOUNT_HEADER)
            .map(|value| value.to_str().unwrap_or("?").to_owned());
        match admit(request.uri().path(), peer.as_ref(), account.as_deref()) {
            Ok(account) => {
                if let Some(peer) = peer {
                    request.extensions_mut().insert(peer);
                }
                if let Some(account) = account {
                    request.extensions_mut().insert(account);
                }
                futures::future::Either::Left(self.inner.call(request))
            }
            Err(error) => {
                let response = if is_grpc(request.headers()) {
                    status::from_error(&error).into_http()
                } else {
                    status::plain(&error).map(tonic::body::Body::new)
                };
                futures::future::Either::Right(futures::future::ready(Ok(response)))
            }
        }
    }
}

fn is_grpc(headers: &http::HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_admits_its_callers_and_nobody_else() {
        let account = AccountId::generate().to_string();
        let roles = [
            "gateway",
            "inventory",
            "leasing",
            "monitoring",
            "provisioning",
            "signer",
        ];
        for (path, access) in ACCESS.iter() {
            for role in roles {
                let peer = Peer::Service(role.to_owned());
                let admitted = admit(path, Some(&peer), Some(&account)).is_ok();
                assert_eq!(
                    admitted,
                    access.callers.iter().any(|c| c == role),
                    "{role} {path}"
                );
            }
            let machine = Peer::Placement {
                node_id: NodeId::generate(),
                placement_id: PlacementId::generate(),
                fence: Fence::FIRST,
            };
            let admitted = admit(path, Some(&machine), None).is_ok();
            assert_eq!(
                admitted,
                access.callers == ["placement"],
                "placement {path}"
            );
            assert!(admit(path, None, Some(&account)).is_err(), "nobody {path}");
        }
    }

    #[test]
    fn plain_paths_are_for_machines_or_for_services_and_for_nobody_else() {
        let machine = Peer::Placement {
            node_id: NodeId::generate(),
            placement_id: PlacementId::generate(),
            fence: Fence::FIRST,
        };
        let service = |role: &str| Peer::Service(role.to_owned());
        for (path, by_machine, by_gateway, by_leasing) in [
            ("/upcheck", true, false, false),
            ("/api/v1/eth2/publicKeys", true, false, false),
            ("/api/v1/eth2/sign/0xab", true, false, false),
            ("/api/v1/eth2/highWatermark", false, true, true),
            ("/healthcheck", false, true, true),
            ("/metrics", false, true, true),
            ("/reload", false, true, true),
            ("/eth/v1/keystores", false, true, false),
            ("/eth/v1/validator/0xab/feerecipient", false, true, false),
            ("/api/v1/eth2/sign", false, false, false),
            ("/upcheck/", false, false, false),
            ("/eth/v1/keystores/", false, false, false),
            ("//upcheck", false, false, false),
            ("/", false, false, false),
        ] {
            let admitted = |peer: &Peer| admit(path, Some(peer), None).is_ok();
            assert_eq!(admitted(&machine), by_machine, "machine {path}");
            assert_eq!(admitted(&service("gateway")), by_gateway, "gateway {path}");
            assert_eq!(admitted(&service("leasing")), by_leasing, "leasing {path}");
            assert!(!admitted(&service("placement")), "placement {path}");
            assert!(admit(path, None, None).is_err(), "nobody {path}");
        }
    }

    #[test]
    fn a_path_is_named_without_what_its_caller_wrote() {
        assert_eq!(name_of("/api/v1/eth2/sign/0xab"), "/api/v1/eth2/sign/");
        assert_eq!(name_of("/berth.x.v1.Y/Z"), "/unknown");
        let method = "/berth.monitoring.v1.MonitoringService/GetHealth";
        assert_eq!(name_of(method), method);
    }

    #[test]
    fn a_machine_cannot_name_an_account() {
        let machine = Peer::Placement {
            node_id: NodeId::generate(),
            placement_id: PlacementId::generate(),
            fence: Fence::FIRST,
        };
        let path = "/berth.provisioning.v1.PlacementService/RenewCertificate";
        let account = AccountId::generate().to_string();
        assert_eq!(admit(path, Some(&machine), Some(&account)).unwrap(), None);
    }

    #[test]
    fn names_that_are_not_ours_are_nobody() {
        for uri in [
            "https://x",
            "berth://service/",
            "berth://service/a/b",
            "berth://placement/a/b/c",
        ] {
            assert_eq!(Peer::from_uri(uri), None, "{uri}");
        }
    }
}
