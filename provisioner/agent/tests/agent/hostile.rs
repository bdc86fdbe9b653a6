//! One round of probes against a node that lies, stalls and floods.
//!
//! The node's stand-in writes bytes to a socket by hand, since no HTTP server lets
//! itself be made to send these; it stands in for hostile answers only.

use berth_agent::config::Config;
use berth_agent::probe::{Round, round};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::control_plane::soon;

/// Real answers, recorded.
const STATUS: &str = include_str!("data/cometbft-status.json");
const METRICS: &str = include_str!("data/cometbft.txt");

const HTTP: &str = "kind = \"http-json\"\nliveness = true\n\
    values = [{ metric = \"berth.node.height\", pointer = \"/result/sync_info/latest_block_height\" }]";
const RPC: &str = "kind = \"json-rpc\"\nmethod = \"eth_blockNumber\"\n\
    values = [{ metric = \"berth.node.height\", pointer = \"/result\" }]";
const SCRAPE: &str = "kind = \"prometheus\"\nmap = { cometbft_p2p_peers = \"berth.node.peers\" }\n\
    allow = [\"cometbft_consensus_height\"]";

/// What the node does with a connection, once the request is read.
#[derive(Debug, Clone)]
enum Node {
    /// Answers this, and closes.
    Answers(String),
    /// Answers this, then the second text without end.
    Floods(&'static str, &'static str),
    /// Answers this, then holds the connection open.
    Stalls(&'static str),
}

impl Node {
    fn body(body: &str) -> Self {
        Self::Answers(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    }

    async fn serve(self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut request = vec![0; 4096];
        let read = connection.read(&mut request).await?;
        assert!(read > 0, "the agent asks before it waits");
        match self {
            Self::Answers(text) => connection.write_all(text.as_bytes()).await,
            Self::Floods(head, rest) => {
                connection.write_all(head.as_bytes()).await?;
                let chunk = rest.repeat(64 * 1024 / rest.len());
                loop {
                    connection.write_all(chunk.as_bytes()).await?;
                }
            }
            Self::Stalls(text) => {
                connection.write_all(text.as_bytes()).await?;
                std::future::pending().await
            }
        }
    }
}

/// Runs one probe, whose text lacks name, address and time-out, against a node.
async fn ask(node: Node, probe: &str) -> Round {
    ask_within(node, probe, 30).await
}

async fn ask_within(node: Node, probe: &str, timeout_s: u32) -> Round {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // A connection that the agent closes early ends in an error, as it should.
        while let Ok((connection, _)) = listener.accept().await {
            drop(node.clone().serve(connection).await);
        }
    });
    let more = format!("name = \"p\"\nurl = \"http://{address}/x\"\ntimeout_s = {timeout_s}");
    soon(round(&config(&format!("[[probes]]\n{probe}\n{more}")))).await
}

fn config(probes: &str) -> Config {
    let golden = include_str!("../../../../images/agent/golden/agent.toml");
    let (before, _) = golden.split_once("[[probes]]").unwrap();
    Config::parse(&format!("{before}{probes}")).unwrap()
}

fn value(round: &Round, metric: &str) -> Option<f64> {
    round
        .samples
        .iter()
        .find(|sample| sample.metric == metric)
        .map(|sample| sample.value)
}

fn failure(round: &Round) -> String {
    round.outcomes["p"]
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[tokio::test]
async fn a_real_status_makes_the_node_up_with_its_height() {
    let round = ask(Node::body(STATUS), HTTP).await;
    assert_eq!(value(&round, "berth.node.height"), Some(21.0));
    assert_eq!(value(&round, "berth.node.up"), Some(1.0));
    assert_eq!(value(&round, "berth.probe.up"), Some(1.0));
}

#[tokio::test]
async fn a_real_page_is_scraped_also_without_a_length() {
    let text = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n{METRICS}");
    let round = ask(Node::Answers(text), SCRAPE).await;
    assert_eq!(value(&round, "berth.node.peers"), Some(1.0));
    assert_eq!(value(&round, "cometbft_consensus_height"), Some(22.0));
    assert_eq!(
        value(&round, "berth.node.up"),
        None,
        "no probe of liveness, no statement"
    );
}

#[tokio::test]
async fn what_is_no_answer_makes_the_node_down() {
    let deep = "[".repeat(500_000);
    let cases = [
        (Node::body("{\"result\":"), "no JSON"),
        (Node::body(&deep), "no JSON"),
        (Node::body("\u{0}\u{1}"), "no JSON"),
        (
            Node::Answers("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".into()),
            "status 503",
        ),
        (Node::Answers("SSH-2.0-OpenSSH_9.2\r\n".into()), "HTTP"),
        (Node::Answers(String::new()), "connection closed"),
        (
            Node::Answers("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}".into()),
            "breaks off",
        ),
    ];
    for (node, reason) in cases {
        let round = ask(node.clone(), HTTP).await;
        let failure = failure(&round);
        assert!(failure.contains(reason), "{node:?}: {failure}");
        assert_eq!(value(&round, "berth.node.up"), Some(0.0));
        assert_eq!(value(&round, "berth.probe.up"), Some(0.0));
        assert_eq!(value(&round, "berth.node.height"), None);
    }
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
    for (node, probe) in [
        (Node::Floods(endless, "4\r\n1111\r\n"), HTTP),
        (Node::Floods(long, "[[["), RPC),
        (Node::Floods(long, "m 1\n"), SCRAPE),
    ] {
        let round = ask(node.clone(), probe).await;
        assert!(
            failure(&round).contains("is longer than"),
            "{node:?}: {}",
            failure(&round)
        );
    }
    let head = Node::Floods("HTTP/1.1 200 OK\r\n", "x-a: aaaaaaaaaaaaaaaaaaaaaaaa\r\n");
    let round = ask(head, HTTP).await;
    assert!(failure(&round).contains("too large"), "{}", failure(&round));
}

#[tokio::test]
async fn a_stall_ends_with_the_time_out() {
    for text in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
    ] {
        let round = ask_within(Node::Stalls(text), HTTP, 1).await;
        assert_eq!(failure(&round), "no answer in time");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest\r\ncontent-length: 0\r\n\r\n";
    let round = ask(Node::Answers(elsewhere.into()), HTTP).await;
    assert_eq!(failure(&round), "status 302");
}

#[tokio::test]
async fn an_error_of_a_call_is_a_failure_and_its_result_a_number() {
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"<secret>"}}"#;
    let round = ask(Node::body(error), RPC).await;
    assert_eq!(failure(&round), "the call answers error -32601");
    let result = r#"{"jsonrpc":"2.0","id":1,"result":"0x10"}"#;
    let round = ask(Node::body(result), RPC).await;
    assert_eq!(value(&round, "berth.node.height"), Some(16.0));
}

#[tokio::test]
async fn one_dead_probe_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let probes = "[[probes]]\nkind = \"http-json\"\nname = \"dead\"\nliveness = true\n\
        url = \"http://127.0.0.1:1/\"\n[[probes]]\nkind = \"disk\"\nname = \"disk\"\nvolume = \"data\"";
    let mut config = config(probes);
    config.volumes = folder.path().to_owned();
    let round = round(&config).await;
    assert!(round.outcomes["dead"].is_some() && round.outcomes["disk"].is_none());
    assert!(value(&round, "berth.disk.free").is_some());
    assert_eq!(value(&round, "berth.node.up"), Some(0.0));
}
