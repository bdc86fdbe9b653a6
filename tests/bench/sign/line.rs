//! A connection of a machine that stays open, in HTTP/1.1 written by hand: the
//! less the asking costs, the less it takes from what is measured.

use crate::eventually::eventually;
use crate::signer::Caller;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The end of a head.
const END: &[u8] = b"\r\n\r\n";
const LENGTH: &str = "content-length: ";
const UPCHECK: &[u8] = b"GET /upcheck HTTP/1.1\r\nhost: signer\r\n\r\n";

pub(crate) struct Line {
    stream: TlsStream<TcpStream>,
    answer: Vec<u8>,
}

impl Line {
    /// Opens one that the signer answers on. It may not have noticed yet that
    /// those of before are closed, and one machine has so many.
    pub(crate) async fn open(machine: &Caller) -> Self {
        eventually("the signer answers", async || {
            let stream = machine.connect().await?.0;
            stream.get_ref().0.set_nodelay(true).ok()?;
            let mut line = Self {
                stream,
                answer: Vec::new(),
            };
            line.ask(UPCHECK).await.ok()?;
            Some(line)
        })
        .await
    }

    /// Sends a request and waits for the whole answer, which must be a signature.
    pub(crate) async fn sign(&mut self, request: &[u8]) {
        self.ask(request).await.unwrap();
        let answer = self.text();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    async fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.answer.clear();
        while !self.complete() {
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Whether head and body have arrived.
    fn complete(&self) -> bool {
        let mut windows = self.answer.windows(END.len());
        let Some(head) = windows.position(|four| four == END) else {
            return false;
        };
        let text = str::from_utf8(&self.answer[..head]).unwrap();
        let length = text.split(LENGTH).nth(1).expect("a length");
        let length: usize = length.lines().next().unwrap_or_default().parse().unwrap();
        self.answer.len() >= head + END.len() + length
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.answer).into_owned()
    }
}

/// A request for a signature of a key, as it goes over the line.
pub(crate) fn request(public_key: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /api/v1/eth2/sign/{public_key} HTTP/1.1\r\nhost: signer\r\n\
         content-type: application/json\r\n{LENGTH}{length}\r\n\r\n"
    );
    (head + body).into_bytes()
}
