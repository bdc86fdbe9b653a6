//! The commands that go on, while the server that they read from is killed, is away,
//! comes back and ends: every line once, and the loss told.

#![expect(clippy::unwrap_used, reason = "a test that cannot run must fail")]

use berth_proto::monitoring::v1::{Health, WatchHealthResponse};
use berth_proto::provisioning::v1::node_status::State;
use berth_proto::provisioning::v1::{
    GetNodeResponse, Node, NodeEvent, NodeStatus, StreamNodeLogsRequest, StreamNodeLogsResponse,
    WatchNodeRequest, WatchNodeResponse,
};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use prost_types::Timestamp;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;

/// How an answer ends.
#[derive(Clone, Copy)]
enum End {
    /// It does not.
    Open,
    /// With this code of gRPC; 0 is well.
    Code(u8),
}

/// The method that is meant, what it answers, and how that ends.
type Answer = (&'static str, Vec<Vec<u8>>, End);

/// What the server answers from now on, and what it was asked.
#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    asked: Vec<Bytes>,
}

/// A server of gRPC that says what a script says. Its socket outlives it, so that
/// nobody takes the port.
struct Server {
    listener: TcpListener,
    script: Arc<Mutex<Script>>,
    running: Option<Runtime>,
}

impl Server {
    fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut server = Self {
            listener,
            script: Arc::default(),
            running: None,
        };
        server.up(answers);
        server
    }

    fn up(&mut self, answers: Vec<Answer>) {
        self.script.lock().unwrap().answers = answers.into();
        let runtime = Runtime::new().unwrap();
        let (listener, script) = (self.listener.try_clone().unwrap(), self.script.clone());
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let script = script.clone();
                let service = service_fn(move |request| answer(script.clone(), request));
                let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service);
                connections.spawn(async move { drop(serve.await) });
            }
        });
        self.running = Some(runtime);
    }

    /// Ends it and every connection.
    fn kill(&mut self) {
        drop(self.running.take());
    }

    fn asked<M: Message + Default>(&self, at: usize) -> M {
        M::decode(self.script.lock().unwrap().asked[at].clone()).unwrap()
    }
}

async fn answer(
    script: Arc<Mutex<Script>>,
    request: Request<Incoming>,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let next = {
        let mut script = script.lock().unwrap();
        script.asked.push(body.slice(5..));
        script.answers.pop_front()
    };
    // 12 says that there is no such method.
    let (_, messages, end) =
        next.filter(|(meant, _, _)| *meant == method)
            .unwrap_or(("", Vec::new(), End::Code(12)));
    let frame = |message: Vec<u8>| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        Ok(Frame::data(Bytes::from(
            [&[0], &length[..], &message].concat(),
        )))
    };
    let end = match end {
        End::Open => stream::pending().boxed(),
        End::Code(code) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", u16::from(code).into());
            stream::iter([Ok(Frame::trailers(trailers))]).boxed()
        }
    };
    let messages: Vec<_> = messages.into_iter().map(frame).collect();
    let body = StreamBody::new(stream::iter(messages).chain(end));
    let answer = Response::builder().header("content-type", "application/grpc");
    Ok(answer.body(body).unwrap())
}

/// A command that runs; it ends with the test.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(server: &Server, arguments: &[&str]) -> Self {
        let address = server.listener.local_addr().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_berth"))
            .args(arguments)
            .env_clear()
            .env("BERTH_ENDPOINT", format!("http://{address}"))
            .env("BERTH_TOKEN", "token")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// The lines that are left, once it has ended well and told one loss.
    fn rest(mut self) -> Vec<String> {
        let rest = self.lines.by_ref().map(Result::unwrap).collect();
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
        assert_eq!(said, "connection lost, asking again…\n");
        rest
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn node() -> Answer {
    let node = Node {
        id: "node-1".to_owned(),
        ..Node::default()
    };
    let answer = GetNodeResponse { node: Some(node) };
    ("GetNode", vec![answer.encode_to_vec()], End::Code(0))
}

fn at(nanos: i32) -> Timestamp {
    Timestamp { seconds: 7, nanos }
}

fn log(lines: &[(&str, i32)], end: End) -> Answer {
    let line = |(line, nanos): &(&str, i32)| StreamNodeLogsResponse {
        component: "node".to_owned(),
        line: (*line).to_owned(),
        time: Some(at(*nanos)),
    };
    let lines = lines.iter().map(|of| line(of).encode_to_vec());
    ("StreamNodeLogs", lines.collect(), end)
}

#[test]
fn a_followed_log_goes_on_after_its_server_was_killed_with_every_line_once() {
    let first = log(&[("a", 1), ("b", 2), ("c", 2)], End::Open);
    let mut server = Server::start(vec![first]);
    let mut logs = Running::start(&server, &["node", "logs", "n1", "--follow", "--tail", "7"]);
    assert_eq!([logs.line(), logs.line(), logs.line()], ["a", "b", "c"]);
    server.kill();
    server.up(vec![
        log(&[], End::Code(14)),
        log(&[("b", 2), ("c", 2), ("d", 2), ("e", 3)], End::Code(0)),
        log(&[("e", 3)], End::Code(0)),
    ]);
    assert_eq!(logs.rest(), ["d", "e"]);
    let asked = |at| {
        let asked: StreamNodeLogsRequest = server.asked(at);
        (asked.tail, asked.since)
    };
    assert_eq!(asked(0), (7, None));
    assert_eq!(asked(2), (0, Some(at(2))));
    assert_eq!(asked(3), (0, Some(at(3))));
}

fn health(heights: &[u64], end: End) -> Answer {
    let told = |height: &u64| {
        let health = Health {
            height: *height,
            ..Health::default()
        };
        let answer = WatchHealthResponse {
            health: Some(health),
        };
        answer.encode_to_vec()
    };
    ("WatchHealth", heights.iter().map(told).collect(), end)
}

#[test]
fn watched_health_goes_on_after_its_server_was_killed_and_tells_nothing_twice() {
    let mut server = Server::start(vec![node(), health(&[1, 2], End::Open)]);
    let mut watch = Running::start(&server, &["health", "n1", "--watch"]);
    for height in ["height 1,", "height 2,"] {
        let line = watch.line();
        assert!(line.contains(height), "{line}");
    }
    server.kill();
    server.up(vec![
        health(&[2], End::Code(0)),
        health(&[3], End::Code(0)),
        // 5 says that there is no such node any more.
        health(&[], End::Code(5)),
    ]);
    let rest = watch.rest();
    let [line] = rest.as_slice() else {
        panic!("{rest:?}")
    };
    assert!(line.contains("height 3,"), "{line}");
}

fn event(sequence: i64, state: State, end: End) -> Answer {
    let status = NodeStatus {
        state: state.into(),
        event_sequence: sequence,
        ..NodeStatus::default()
    };
    let answer = WatchNodeResponse {
        node: Some(Node {
            status: Some(status),
            ..Node::default()
        }),
        event: Some(NodeEvent {
            sequence,
            step: format!("step-{sequence}"),
            ..NodeEvent::default()
        }),
    };
    ("WatchNode", vec![answer.encode_to_vec()], end)
}

#[test]
fn a_watched_node_goes_on_after_its_server_was_killed_from_the_last_event() {
    let mut server = Server::start(vec![node(), event(1, State::Running, End::Open)]);
    let mut watch = Running::start(&server, &["node", "watch", "n1"]);
    assert!(watch.line().contains("step-1"));
    server.kill();
    server.up(vec![event(2, State::Retired, End::Code(0))]);
    let rest = watch.rest();
    assert!(rest.len() == 1 && rest[0].contains("step-2"), "{rest:?}");
    assert_eq!(server.asked::<WatchNodeRequest>(2).after_sequence, 1);
}
