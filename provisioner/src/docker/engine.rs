//! The way to a machine's Docker: HTTP over channels of the SSH session.
//!
//! A channel goes straight to Docker's socket where sshd allows it, else to
//! `docker system dial-stdio`. Answers are bounded here, below bollard, which
//! would collect whatever a hostile machine sends.

use crate::error::{BoxError, Error, Result, said};
use crate::ssh::{Link, Session, open_command};
use bollard::{BollardRequest, ClientVersion, Docker};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Incoming};
use hyper::{Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use russh::ChannelStream;
use russh::client::Msg;
use serde::Deserialize;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

/// Where dockerd listens.
const SOCKET: &str = "/var/run/docker.sock";
/// What reaches dockerd where sshd forwards no sockets or the user may not use it.
const DIAL: &str = "docker system dial-stdio";
/// Idle connections kept: at least as many as are busy at once.
const IDLE: usize = 16;
/// Idle connections kept when each is a command of the session.
const IDLE_COMMANDS: usize = 2;
/// Most bytes of an answer to what changes something.
const MAX_ANSWER: u64 = 4 << 20;
/// Most bytes of what is told during a pull.
const MAX_PULL: u64 = 64 << 20;
/// Most bytes of the answer that names the version.
const MAX_VERSION: usize = 64 << 10;

/// A machine's Docker.
#[derive(Clone)]
pub(crate) struct Engine {
    /// Client of all calls that change something.
    pub(crate) docker: Docker,
    /// Client of pulls, which tell much.
    pub(crate) pulls: Docker,
    /// Client of all that is only read; see `read`.
    reads: Client<Connector, Empty<Bytes>>,
    /// Version of the engine, for people.
    pub(crate) version: String,
    /// `/v1.41`: what paths begin with.
    api: String,
    stream: Client<Connector, Empty<Bytes>>,
}

/// The part of `/version` that is read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
    api_version: String,
}

impl Engine {
    /// Finds a way and asks for the version.
    pub(crate) async fn connect(session: &Session) -> Result<Self> {
        let what = "finding Docker";
        let limit = session.config().connect_timeout;
        session.within(what, limit, Self::find(session)).await
    }

    async fn find(session: &Session) -> Result<Self> {
        let connector = Connector::find(session).await;
        let stream = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector.clone().with_limit(u64::MAX));
        let answer = get(&stream, "/version").await?;
        let body = Limited::new(answer.into_body(), MAX_VERSION)
            .collect()
            .await
            .map_err(|e| Error::answer("Docker's version", e))?
            .to_bytes();
        let version: Version =
            serde_json::from_slice(&body).map_err(|e| Error::answer("Docker's version", e))?;
        let api = api_version(&version.api_version)?;
        let prefix = format!("/v{}.{}", api.major_version, api.minor_version);
        let limit = session.config().call_timeout;
        let pulls = connector.clone().with_limit(MAX_PULL);
        let idle = match connector.way {
            Way::Socket => IDLE,
            Way::Command(..) => IDLE_COMMANDS,
        };
        Ok(Self {
            reads: pooled(connector.clone().with_limit(u64::MAX), idle),
            // Whose connections are not kept.
            pulls: client((pulls, 0), &prefix, &api, limit)?,
            docker: client((connector, idle), &prefix, &api, limit)?,
            version: said(&version.version),
            api: prefix,
            stream,
        })
    }

    /// An answer whose reader bounds it, over a connection that is kept.
    pub(super) async fn get(
        &self,
        path_and_query: &str,
    ) -> std::result::Result<Response<Incoming>, BoxError> {
        let request = Request::get(format!("http://docker{}{path_and_query}", self.api));
        Ok(self.reads.request(request.body(Empty::new())?).await?)
    }

    /// An answer that may go on for ever; its reader bounds what it keeps.
    pub(crate) async fn stream(&self, path_and_query: &str) -> Result<Response<Incoming>> {
        get(&self.stream, &format!("{}{path_and_query}", self.api)).await
    }
}

async fn get(
    client: &Client<Connector, Empty<Bytes>>,
    path_and_query: &str,
) -> Result<Response<Incoming>> {
    let failed = |e: &dyn std::fmt::Display| Error::Docker {
        what: "answer",
        status: None,
        message: said(&e.to_string()),
    };
    let request = Request::get(format!("http://docker{path_and_query}"))
        .body(Empty::new())
        .map_err(|e| failed(&e))?;
    client.request(request).await.map_err(|e| failed(&e))
}

/// The engine's version, or the newest that bollard speaks when that is older:
/// a version newer than the engine's is answered with 400.
fn api_version(text: &str) -> Result<ClientVersion> {
    let newest = bollard::API_DEFAULT_VERSION;
    let minor: Option<usize> = text.strip_prefix("1.").and_then(|m| m.parse().ok());
    match minor {
        Some(minor) => Ok(ClientVersion {
            major_version: 1,
            minor_version: minor.min(newest.minor_version),
        }),
        None => Err(Error::answer("Docker's version", "not 1.x")),
    }
}

/// Connections of which so many are kept for the next call.
fn pooled<B>(connector: Connector, idle: usize) -> Client<Connector, B>
where
    B: Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(idle)
        .pool_idle_timeout(Duration::from_secs(60))
        // Without it nothing looks at what is idle.
        .pool_timer(TokioTimer::new())
        .build(connector)
}

/// bollard sends no version, so that the path gets it here.
fn client(
    (connector, idle): (Connector, usize),
    prefix: &str,
    api: &ClientVersion,
    timeout: Duration,
) -> Result<Docker> {
    let http = pooled(connector, idle);
    let prefix: Arc<str> = prefix.into();
    let transport = move |mut request: BollardRequest| {
        let http = http.clone();
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
        let uri = format!("http://docker{prefix}{path}").parse::<Uri>();
        async move {
            *request.uri_mut() = uri?;
            Ok(http.request(request).await?)
        }
    };
    Docker::connect_with_custom_transport(transport, Some("http://docker"), timeout.as_secs(), api)
        .map_err(|e| Error::Docker {
            what: "be reached",
            status: None,
            message: said(&e.to_string()),
        })
}

/// Opens a channel to dockerd for each connection.
#[derive(Clone)]
struct Connector {
    link: Arc<Link>,
    way: Way,
    max_answer: u64,
}

#[derive(Clone)]
enum Way {
    /// sshd connects to Docker's socket.
    Socket,
    /// A command does; each holds one of the session's commands.
    Command(&'static str, Arc<Semaphore>),
}

impl Connector {
    async fn find(session: &Session) -> Self {
        let link = Arc::clone(session.link());
        let way = match link.channel_open_direct_streamlocal(SOCKET).await {
            Ok(channel) => {
                channel.close().await.ok();
                Way::Socket
            }
            Err(_) if session.is_root() => Way::Command("", Arc::clone(session.commands())),
            Err(_) => Way::Command("sudo -n ", Arc::clone(session.commands())),
        };
        Self {
            link,
            way,
            max_answer: MAX_ANSWER,
        }
    }

    fn with_limit(self, max_answer: u64) -> Self {
        Self { max_answer, ..self }
    }

    async fn open(self) -> io::Result<TokioIo<Tunnel>> {
        let (channel, slot) = match self.way {
            Way::Socket => {
                let channel = self.link.channel_open_direct_streamlocal(SOCKET).await;
                (channel.map_err(io::Error::other)?, None)
            }
            Way::Command(prefix, slots) => {
                let slot = slots.acquire_owned().await.map_err(io::Error::other)?;
                let channel = open_command(&self.link).await.map_err(io::Error::other)?;
                let command = format!("{prefix}{DIAL}");
                channel
                    .exec(false, command)
                    .await
                    .map_err(io::Error::other)?;
                (channel, Some(slot))
            }
        };
        Ok(TokioIo::new(Tunnel {
            channel: channel.into_stream(),
            max_answer: self.max_answer,
            left: self.max_answer,
            _slot: slot,
        }))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Tunnel>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        Box::pin(self.clone().open())
    }
}

/// A connection to dockerd. It ends when more bytes come than are allowed
/// between two writes, which is: in one answer.
struct Tunnel {
    channel: ChannelStream<Msg>,
    max_answer: u64,
    left: u64,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Connection for Tunnel {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.channel).poll_read(cx, buf);
        let got = buf.filled().len() - before;
        match self.left.checked_sub(got as u64) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("Docker's answer is too long"))),
        }
        read
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.left = self.max_answer;
        Pin::new(&mut self.channel).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_shutdown(cx)
    }
}

impl Session {
    /// Makes one call to Docker.
    pub(crate) async fn ask<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T> {
        let limit = self.config().call_timeout;
        self.ask_within(what, limit, call).await
    }

    /// Makes one call to Docker that may take this long.
    pub(crate) async fn ask_within<T>(
        &self,
        what: &'static str,
        limit: Duration,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T> {
        let call = async { call.await.map_err(|error| self.docker_error(what, &error)) };
        self.within(what, limit, call).await
    }

    pub(crate) fn docker_error(&self, what: &'static str, error: &bollard::errors::Error) -> Error {
        let (status, message) = if let bollard::errors::Error::DockerResponseServerError {
            status_code,
            message,
        } = error
        {
            (Some(*status_code), message.clone())
        } else if self.is_lost() {
            return Error::Lost { what };
        } else {
            (None, error.to_string())
        };
        if message.contains("no space left on device") {
            return Error::NoSpace { what };
        }
        Error::Docker {
            what,
            status,
            message: said(&message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_own_version_is_spoken_unless_it_is_newer_than_ours() {
        assert_eq!(api_version("1.41").unwrap().minor_version, 41);
        let newest = bollard::API_DEFAULT_VERSION.minor_version;
        assert_eq!(api_version("1.999").unwrap().minor_version, newest);
        assert!(api_version("2.0").is_err());
        assert!(api_version("1.x; DROP").is_err());
    }
}
