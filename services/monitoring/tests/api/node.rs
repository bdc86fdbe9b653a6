//! A beacon node that answers what a test says: over real HTTP, and damaged
//! where the test wants it so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What is answered.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// This.
    Json(String),
    /// A status alone.
    Status(u16),
    /// Bytes that never end.
    Endless,
    /// A part of what was announced.
    Cut,
    /// Nothing, for ever.
    Nothing,
}

/// A beacon node.
pub(crate) struct BeaconNode {
    pub(crate) url: String,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl BeaconNode {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = listener.await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Arc<Mutex<BTreeMap<String, Answer>>> = Arc::default();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let mut serving = JoinSet::new();
        let (known, heard) = (Arc::clone(&answers), Arc::clone(&asked));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (known, heard) = (Arc::clone(&known), Arc::clone(&heard));
                connections.spawn(async move { serve(stream, &known, &heard).await });
            }
        });
        Self {
            url,
            answers,
            asked,
            _serving: serving,
        }
    }

    /// Answers a path with this from now on.
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// The same with what stands in `data`.
    pub(crate) fn data(&self, path: &str, data: &serde_json::Value) {
        let body = serde_json::json!({ "data": data, "execution_optimistic": false });
        self.answer(path, Answer::Json(body.to_string()));
    }

    /// Paths that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    known: &Mutex<BTreeMap<String, Answer>>,
    heard: &Mutex<Vec<String>>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_owned();
    heard.lock().unwrap().push(path.clone());
    let answer = known.lock().unwrap().get(&path).cloned();
    let head = |status: u16, length: usize| {
        format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n")
    };
    let text = match answer.unwrap_or(Answer::Status(404)) {
        Answer::Json(body) => head(200, body.len()) + &body,
        Answer::Status(status) => head(status, 0),
        Answer::Cut => head(200, 100) + "{\"data\":",
        Answer::Nothing => return std::future::pending().await,
        Answer::Endless => {
            let head = head(200, usize::MAX >> 1);
            stream.write_all(head.as_bytes()).await.ok();
            while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
            return;
        }
    };
    // It may have gone.
    stream.write_all(text.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}
