//! The fake: an SSH server with a Docker behind it, which does what a case says.

#![expect(
    clippy::disallowed_methods,
    reason = "the fake stops with its test, whatever its tasks do"
)]

use crate::harness::Authority;
use berth_provisioner::{HostKey, Machines, PoolConfig, Target};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{Certificate, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, run_stream};
use russh::{Channel, ChannelId};
use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Id and name of the container that an honest answer speaks of.
pub(super) const CONTAINER: &str = "berth-node-1";

/// Longest wait for anything.
const CALL: Duration = Duration::from_secs(2);

/// What it does to a command.
#[derive(Debug, Clone, Copy)]
pub(super) enum Command {
    /// Prints nothing and succeeds.
    Succeeds,
    /// Prints this and succeeds.
    Prints(&'static [u8]),
    /// Prints without end, on standard error or not.
    Floods { stderr: bool },
    /// Neither prints nor ends.
    Stalls,
    /// Tells the status and does not end.
    Lingers,
    /// Ends without a status.
    Vanishes,
    /// Ends with this status.
    Fails(u32),
    /// Does not run.
    Refuses,
    /// Ends the whole connection.
    Hangs,
}

/// How it answers a request to Docker.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// A body of JSON with status 200.
    Json(String),
    /// The same, after a while that is shorter than may be waited for a call.
    Late(String),
    /// These bytes, head and all, and then the end of the connection.
    Raw(String),
    /// The first, then the second without end.
    Flood(&'static str, &'static str),
    /// The first, and then nothing, for ever.
    Stall(&'static str),
}

/// What it does where.
#[derive(Debug, Clone)]
pub(super) struct Lies {
    pub(super) command: Command,
    /// Answers to requests whose line contains the first, before the honest ones.
    pub(super) docker: Vec<(&'static str, Answer)>,
    /// Whether it never answers a sign-in.
    pub(super) mute_at_sign_in: bool,
    /// Whether it lets nobody in.
    pub(super) refuses: bool,
    /// Whether it never answers who wants a channel.
    pub(super) mute_at_channels: bool,
}

impl Lies {
    /// None.
    pub(super) fn none() -> Self {
        Self {
            command: Command::Succeeds,
            docker: Vec::new(),
            mute_at_sign_in: false,
            refuses: false,
            mute_at_channels: false,
        }
    }

    /// One of Docker's.
    pub(super) fn at(place: &'static str, answer: Answer) -> Self {
        Self {
            docker: vec![(place, answer)],
            ..Self::none()
        }
    }

    /// One in a command.
    pub(super) fn command(command: Command) -> Self {
        Self {
            command,
            ..Self::none()
        }
    }
}

/// One connection of the fake.
struct Liar {
    lies: Arc<Lies>,
    channels: HashMap<ChannelId, Channel<Msg>>,
    /// Answers that are never given.
    unanswered: Vec<ChannelOpenHandle>,
}

impl Handler for Liar {
    type Error = russh::Error;

    async fn auth_openssh_certificate(
        &mut self,
        _user: &str,
        _certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        if self.lies.mute_at_sign_in {
            pending::<()>().await;
        }
        Ok(if self.lies.refuses {
            Auth::reject()
        } else {
            Auth::Accept
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.lies.mute_at_channels {
            self.unanswered.push(reply);
        } else {
            reply.accept().await;
            self.channels.insert(channel.id(), channel);
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let command = self.lies.command;
        let channel = self.channels.remove(&id);
        let Some(channel) = channel.filter(|_| !matches!(command, Command::Refuses)) else {
            return session.channel_failure(id);
        };
        if matches!(command, Command::Hangs) {
            return Err(russh::Error::Disconnect);
        }
        session.channel_success(id)?;
        let handle = session.handle();
        tokio::spawn(async move {
            // It may be cut off at any time, which is what is wanted.
            run(command, &channel, &handle).await.ok();
            if matches!(command, Command::Stalls | Command::Lingers) {
                pending::<()>().await;
            }
        });
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        _socket: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.lies.mute_at_channels {
            self.unanswered.push(reply);
        } else {
            reply.accept().await;
            tokio::spawn(docker(channel, Arc::clone(&self.lies)));
        }
        Ok(())
    }
}

async fn run(
    command: Command,
    channel: &Channel<Msg>,
    handle: &russh::server::Handle,
) -> Result<(), russh::Error> {
    let page = "all work and no play\n".repeat(512);
    let status = match command {
        Command::Floods { stderr: false } => loop {
            channel.data(page.as_bytes()).await?;
        },
        Command::Floods { stderr: true } => loop {
            channel.extended_data(1, page.as_bytes()).await?;
        },
        Command::Prints(text) => {
            channel.data(text).await?;
            0
        }
        Command::Succeeds | Command::Lingers => 0,
        Command::Fails(status) => status,
        Command::Vanishes => return channel.close().await,
        Command::Stalls | Command::Refuses | Command::Hangs => return Ok(()),
    };
    handle.exit_status_request(channel.id(), status).await.ok();
    if !matches!(command, Command::Lingers) {
        channel.close().await?;
    }
    Ok(())
}

/// Answers request after request, until a lie ends the connection.
async fn docker(channel: Channel<Msg>, lies: Arc<Lies>) {
    let mut stream = channel.into_stream();
    while let Some(line) = request(&mut stream).await {
        let lie = lies.docker.iter().find(|(place, _)| line.contains(place));
        let answer = match lie {
            Some((_, answer)) => answer.clone(),
            None => honest(&line),
        };
        match tell(&mut stream, answer).await {
            Ok(true) => {}
            // Cut off, as is wanted, or ended by the lie.
            Ok(false) | Err(_) => return,
        }
    }
}

/// The line of the next request; its body is read too.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    head.lines().next().map(str::to_owned)
}

/// What a Docker with one container says.
fn honest(line: &str) -> Answer {
    Answer::Json(if line.contains("/version") {
        r#"{"Version":"1","ApiVersion":"1.41"}"#.to_owned()
    } else if line.contains("/containers/json") {
        format!(r#"[{{"Id":"{CONTAINER}"}}]"#)
    } else if line.contains("/json") && line.contains("/containers/") {
        container("1")
    } else if line.contains("/volumes") || line.contains("/info") {
        "{}".to_owned()
    } else {
        "[]".to_owned()
    })
}

/// A container of the test's placement, with this fence.
pub(super) fn container(fence: &str) -> String {
    format!(
        r#"{{"Id":"{CONTAINER}","Name":"/{CONTAINER}","State":{{"Status":"running"}},"Config":{{"Labels":
        {{"dev.berth.node":"node-1","dev.berth.placement":"placement-1","dev.berth.fence":"{fence}"}}}}}}"#
    )
}

/// Answers, and says whether the connection goes on.
async fn tell<S>(stream: &mut S, answer: Answer) -> std::io::Result<bool>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match answer {
        Answer::Late(body) => {
            // It is not given up meanwhile.
            if timeout(CALL * 3 / 4, stream.read_u8()).await.is_ok() {
                return Ok(false);
            }
            Box::pin(tell(stream, Answer::Json(body))).await
        }
        Answer::Json(body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body.as_bytes()).await?;
            stream.flush().await?;
            Ok(true)
        }
        Answer::Raw(all) => {
            stream.write_all(all.as_bytes()).await?;
            stream.shutdown().await?;
            Ok(false)
        }
        Answer::Flood(start, again) => {
            stream.write_all(start.as_bytes()).await?;
            let page = again.repeat(1 + (16 << 10) / again.len());
            loop {
                stream.write_all(page.as_bytes()).await?;
            }
        }
        Answer::Stall(start) => {
            stream.write_all(start.as_bytes()).await?;
            stream.flush().await?;
            // Until the other side has had enough.
            stream.read_to_end(&mut Vec::new()).await?;
            Ok(false)
        }
    }
}

/// The fake, listening, and what is needed to come to it.
pub(super) struct World {
    pub(super) machines: Machines,
    pub(super) target: Target,
    _dir: TempDir,
}

impl World {
    /// Of a machine at an address, which shows this key.
    pub(super) fn of(address: String, key: &PrivateKey) -> Self {
        let dir = TempDir::new().unwrap();
        let config = PoolConfig {
            connect_timeout: CALL,
            call_timeout: CALL,
            stall_timeout: CALL,
            ..PoolConfig::default()
        };
        let authority = Arc::new(Authority::new(dir.path()));
        let host_key: HostKey = key.public_key().to_openssh().unwrap().parse().unwrap();
        Self {
            machines: Machines::new(config, authority).unwrap(),
            target: Target {
                machine_id: "machine-1".to_owned(),
                address,
                user: "root".to_owned(),
                host_key,
            },
            _dir: dir,
        }
    }

    /// Of a machine that tells these lies.
    pub(super) async fn lying(lies: Lies) -> Self {
        let key = key(9);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = Self::of(listener.local_addr().unwrap().to_string(), &key);
        tokio::spawn(async move {
            let lies = Arc::new(lies);
            while let Ok((stream, _)) = listener.accept().await {
                let config = Config {
                    keys: vec![key.clone()],
                    auth_rejection_time: Duration::ZERO,
                    ..Config::default()
                };
                let liar = Liar {
                    lies: Arc::clone(&lies),
                    channels: HashMap::new(),
                    unanswered: Vec::new(),
                };
                tokio::spawn(async move {
                    // It ends when the session does.
                    if let Ok(session) = run_stream(Arc::new(config), stream, liar).await {
                        session.await.ok();
                    }
                });
            }
        });
        world
    }

    pub(super) async fn session(&self) -> berth_provisioner::Session {
        self.machines.session(&self.target).await.unwrap()
    }
}

/// A host key of the test.
pub(super) fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}
