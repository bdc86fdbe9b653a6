//! Making one SSH connection: algorithms, the pinned key, the certificate.

use super::forward::Forwards;
use super::{Credentials, HostKey, PoolConfig, Target};
use crate::error::{Error, Result, said};
use russh::client::{self, AuthResult, ChannelOpenHandle, Handle, Msg};
use russh::keys::{Certificate, PrivateKey, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, Preferred, cipher, kex};
use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// A signed-in connection.
pub(crate) type Link = Handle<Handler>;

/// A machine that falls silent is noticed after this interval times [`KEEPALIVES`].
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: usize = 3;

/// Connects, checks the host key, and signs in with a certificate made for it.
pub(super) async fn connect(
    target: &Target,
    config: &PoolConfig,
    key: &Arc<PrivateKey>,
    credentials: &dyn Credentials,
    forwards: Arc<Forwards>,
) -> Result<Link> {
    let within = config.connect_timeout;
    let handler = Handler::Pinned {
        key: target.host_key.clone(),
        forwards,
    };
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    let work = async {
        let mut link = handshake(&target.address, Some(&target.host_key), handler, ended).await?;
        let certificate = certificate(key, credentials, &target.machine_id).await?;
        let answer = link
            .authenticate_openssh_cert(&target.user, Arc::clone(key), certificate)
            .await
            .map_err(|e| unreachable(&target.address, e))?;
        match answer {
            AuthResult::Success => Ok(link),
            AuthResult::Failure { .. } if link.is_closed() => {
                Err(unreachable(&target.address, "it closed the connection"))
            }
            AuthResult::Failure { .. } => Err(Error::AuthRefused {
                user: said(&target.user),
            }),
        }
    };
    let link = timeout(within, work).await.map_err(|_| Error::Timeout {
        what: "signing in to the machine",
        seconds: within.as_secs(),
    })??;
    guard.disarm();
    Ok(link)
}

/// The host key that an address shows.
pub(super) async fn scan(address: &str, within: Duration) -> Result<HostKey> {
    let ended = CancellationToken::new();
    let _guard = ended.clone().drop_guard();
    let work = handshake(address, None, Handler::Scan, ended);
    match timeout(within, work).await {
        Ok(Err(Error::HostKeyChanged { seen, .. })) => seen.parse(),
        Ok(Err(error)) => Err(error),
        Ok(Ok(_)) => Err(unreachable(address, "it showed no host key")),
        Err(_) => Err(Error::Timeout {
            what: "asking for the host key",
            seconds: within.as_secs(),
        }),
    }
}

/// Connects, and goes on until the keys are exchanged. The connection ends with the
/// token: its task is not ours, and a machine that falls silent before the keys are
/// exchanged would hold it for ever.
async fn handshake(
    address: &str,
    pinned: Option<&HostKey>,
    handler: Handler,
    ended: CancellationToken,
) -> Result<Link> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|e| unreachable(address, e))?;
    stream
        .set_nodelay(true)
        .map_err(|e| unreachable(address, e))?;
    let socket = Socket {
        stream,
        ended: Box::pin(ended.cancelled_owned()),
    };
    client::connect_stream(Arc::new(algorithms(pinned)), socket, handler)
        .await
        .map_err(|refusal| match refusal {
            Refusal::HostKey { expected, seen } => Error::HostKeyChanged { expected, seen },
            Refusal::Ssh(error) => unreachable(address, error),
        })
}

fn unreachable(address: &str, why: impl std::fmt::Display) -> Error {
    Error::Unreachable {
        address: said(address),
        why: said(&why.to_string()),
    }
}

async fn certificate(
    key: &PrivateKey,
    credentials: &dyn Credentials,
    principal: &str,
) -> Result<Certificate> {
    let public = key
        .public_key()
        .to_openssh()
        .map_err(|e| Error::Credentials(e.into()))?;
    let line = credentials
        .sign(&public, principal)
        .await
        .map_err(Error::Credentials)?;
    Certificate::from_openssh(line.trim()).map_err(|e| Error::Credentials(e.into()))
}

/// Few and modern algorithms; the pinned key's own first, so that a machine
/// with several host keys shows the one that can be compared.
fn algorithms(pinned: Option<&HostKey>) -> client::Config {
    let mut preferred = Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
        ]),
        cipher: Cow::Borrowed(&[
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
        ]),
        ..Preferred::DEFAULT
    };
    if let Some(HostKey::Key(key)) = pinned {
        preferred
            .key
            .to_mut()
            .sort_by_key(|algorithm| *algorithm != key.algorithm());
    }
    client::Config {
        preferred,
        nodelay: true,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES,
        ..client::Config::default()
    }
}

/// What a machine may do to us: show its key, and dial a registry that we offered.
pub(crate) enum Handler {
    /// Ends the connection at the host key, to look at it.
    Scan,
    /// Goes on only with this key.
    Pinned {
        /// The key.
        key: HostKey,
        /// What is offered through this connection.
        forwards: Arc<Forwards>,
    },
}

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Another host key than the pinned one; both printed.
    HostKey { expected: String, seen: String },
    /// Anything else.
    Ssh(russh::Error),
}

impl From<russh::Error> for Refusal {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl Handler {
    fn judge(&self, shown: &PublicKey) -> Result<bool, Refusal> {
        let shown = HostKey::Key(shown.clone());
        match self {
            Self::Scan => Err(Refusal::HostKey {
                expected: String::new(),
                seen: shown.to_string(),
            }),
            Self::Pinned { key, .. } if key.fingerprint() == shown.fingerprint() => Ok(true),
            Self::Pinned { key, .. } => Err(Refusal::HostKey {
                expected: key.fingerprint().to_string(),
                seen: shown.fingerprint().to_string(),
            }),
        }
    }
}

impl client::Handler for Handler {
    type Error = Refusal;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Refusal> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.judge(key),
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _address: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Refusal> {
        match self {
            Self::Pinned { forwards, .. } => forwards.dialled(port, channel, reply).await,
            Self::Scan => drop(reply),
        }
        Ok(())
    }

    // A handle that is dropped rejects the channel: nothing else may be opened.

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Refusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Refusal> {
        drop(reply);
        Ok(())
    }

    async fn should_accept_unknown_server_channel(&mut self, _id: ChannelId, _kind: &str) -> bool {
        false
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Refusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Refusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Refusal> {
        drop(reply);
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut client::Session,
    ) -> Result<(), Refusal> {
        drop(reply);
        Ok(())
    }
}

/// A socket that acknowledges at once: sshd leaves Nagle's algorithm on, and a
/// delayed acknowledgement costs 40 ms for each pair of small writes.
struct Socket {
    stream: TcpStream,
    /// Ready when the connection is given up.
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            // The kernel forgets it at each read. Only speed depends on it.
            socket2::SockRef::from(&self.stream)
                .set_tcp_quickack(true)
                .ok();
        } else if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
