//! One HTTP call to a port of a container, through the machine's sshd.
//!
//! The port is published nowhere: sshd connects to the container's address on its
//! bridge. The machine says which address that is and carries every byte, so that
//! whatever comes back is the word of a stranger.

use super::observe::describe;
use crate::error::{Error, Result, said};
use crate::harden;
use crate::spec::PlacementRef;
use crate::ssh::Session;
use bollard::models::ContainerInspectResponse;
use bytes::Bytes;
use futures::future::{Either, select};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::fmt::Display;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

const WHAT: &str = "call a container";
/// Longest call.
const PATIENCE: Duration = Duration::from_secs(15);
/// Most bytes of the head of an answer, and of its body.
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 1 << 20;

/// An HTTP call with JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Port in the container.
    pub port: u16,
    /// Path and query.
    pub path: &'a str,
    /// What is posted; nothing is a `GET`.
    pub body: Option<&'a str>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// At most 1 MiB.
    pub body: Vec<u8>,
}

impl Session {
    /// Calls a container of this placement, and no other.
    ///
    /// # Errors
    ///
    /// [`Error::NotOurs`] for a container of another placement, [`Error::NotReady`]
    /// for one that does not run, [`Error::Unreachable`] when nothing listens there,
    /// [`Error::Answer`] for what is no HTTP or too long.
    pub async fn call(
        &self,
        placement: &PlacementRef,
        name: &str,
        call: Call<'_>,
    ) -> Result<Answered> {
        harden::check_name("the container's name", name)?;
        let limit = self.config().call_timeout.min(PATIENCE);
        let work = Box::pin(self.call_now(placement, name, call));
        self.within(WHAT, limit, work).await
    }

    async fn call_now(
        &self,
        placement: &PlacementRef,
        name: &str,
        call: Call<'_>,
    ) -> Result<Answered> {
        let inspected = self.inspected(name).await?;
        let address = address(&inspected);
        let seen = describe(inspected)?;
        if seen.placement_id != placement.placement_id || seen.fence != placement.fence {
            return Err(Error::NotOurs {
                name: format!("container {name}"),
            });
        }
        let Some(address) = address else {
            return Err(Error::NotReady(format!("{name} does not run")));
        };
        if call.body.is_some() {
            self.effect("call container")?;
        }
        let port = u32::from(call.port);
        let link = self.link();
        let channel = link
            .channel_open_direct_tcpip(address.to_string(), port, "127.0.0.1", 0)
            .await
            .map_err(|error| Error::Unreachable {
                address: format!("port {port} of {name}"),
                why: said(&error.to_string()),
            })?;
        exchange(TokioIo::new(channel.into_stream()), call).await
    }
}

/// The container's address on its bridge, while it runs.
fn address(inspected: &ContainerInspectResponse) -> Option<IpAddr> {
    let networks = inspected.network_settings.as_ref()?.networks.as_ref()?;
    let mut addresses = networks.values().filter_map(|n| n.ip_address.as_deref());
    addresses.find_map(|address| address.parse().ok())
}

async fn exchange<T>(stream: T, call: Call<'_>) -> Result<Answered>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(stream)
        .await
        .map_err(strange)?;
    let request = request(call)?;
    let ask = async {
        let answer = sender.send_request(request).await.map_err(strange)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(strange)?.to_bytes().to_vec();
        Ok(Answered { status, body })
    };
    match select(pin!(ask), pin!(connection)).await {
        Either::Left((answered, _)) => answered,
        // The connection has ended; what it brought is still to be read.
        Either::Right((_, ask)) => ask.await,
    }
}

fn request(call: Call<'_>) -> Result<Request<Full<Bytes>>> {
    let method = match call.body {
        Some(_) => Method::POST,
        None => Method::GET,
    };
    let body = call.body.unwrap_or_default().as_bytes();
    Request::builder()
        .method(method)
        .uri(call.path)
        // Some answer to this name alone.
        .header(HOST, "localhost")
        .header(ACCEPT, "application/json")
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::new(Bytes::copy_from_slice(body)))
        .map_err(|error| Error::invalid("the call", error))
}

fn strange(error: impl Display) -> Error {
    Error::answer(WHAT, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const CALL: Call<'static> = Call {
        port: 1,
        path: "/x?y=z",
        body: Some("{}"),
    };

    /// What comes of these bytes as an answer, and what was asked.
    async fn answered(bytes: &[u8]) -> (Result<Answered>, String) {
        let (here, mut there) = tokio::io::duplex(1 << 16);
        let serve = async {
            let mut asked = vec![0; 1024];
            let length = there.read(&mut asked).await.unwrap();
            asked.truncate(length);
            // The other side may have had enough.
            there.write_all(bytes).await.ok();
            drop(there);
            String::from_utf8(asked).unwrap()
        };
        tokio::join!(exchange(TokioIo::new(here), CALL), serve)
    }

    #[tokio::test]
    async fn a_call_says_what_it_wants_and_reads_status_and_body() {
        let (answer, asked) =
            answered(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok").await;
        assert!(asked.starts_with("POST /x?y=z HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: localhost\r\n"), "{asked}");
        let expected = Answered {
            status: 202,
            body: b"ok".to_vec(),
        };
        assert_eq!(answer.unwrap(), expected);
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_cut_off() {
        for head in ["", "x: "] {
            let mut long = format!("HTTP/1.1 200 OK\r\n{head}").into_bytes();
            if head.is_empty() {
                long.extend(b"\r\n");
            }
            long.resize(long.len() + 2 * MAX_BODY, b'x');
            let (answer, _) = answered(&long).await;
            assert!(matches!(answer, Err(Error::Answer { .. })), "{answer:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_of_a_machine_make_a_call_panic(
            start in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\n"]),
            rest in prop::collection::vec(any::<u8>(), 0..256)
        ) {
            let bytes = [start.as_bytes(), &rest].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let (answer, _) = runtime.unwrap().block_on(answered(&bytes));
            prop_assert!(answer.is_err() || answer.unwrap().body.len() <= 256);
        }
    }
}
