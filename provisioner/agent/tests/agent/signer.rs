//! The way to the signer: real plain HTTP in, real mutual TLS out, with replicas
//! that hang or go away, and clients that are slow, large or many.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use berth_agent::signer::Limits;
use bytes::Bytes;
use futures::future::join_all;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bridge::{Bridge, Client, PATIENT, refusal, wanted};
use crate::control_plane::{ControlPlane, soon};
use crate::duty::{Asked, Duty, signed};
use crate::held::Held;

/// A time that a test lets pass.
const SHORT: Duration = Duration::from_millis(200);
/// One in which also a busy computer gets a head from a client to the agent.
const LONG: Duration = Duration::from_secs(2);

/// Says no in the media type that was asked for, with headers that go no further.
fn refuses(asked: &Asked) -> Response<Full<Bytes>> {
    let accept = &asked.headers["accept"];
    Response::builder()
        .status(StatusCode::PRECONDITION_FAILED)
        .header("content-type", accept)
        .header("set-cookie", "a=b")
        .header("x-replica", "one")
        .body(Full::new(asked.body.clone()))
        .unwrap()
}

#[tokio::test]
async fn a_request_arrives_as_it_is_and_so_does_the_answer() {
    let plane = ControlPlane::new();
    let mut duty = Duty::start(&plane, "127.0.0.1:0", refuses).await;
    let bridge = Bridge::new(&plane, vec![plane.peer(duty.address)], PATIENT).await;
    let mut client = bridge.client().await;

    for media in ["application/json", "text/plain"] {
        let request = Request::post("/api/v1/eth2/sign/0xAb?a=1")
            .header("host", "elsewhere")
            .header("accept", media)
            .header("content-type", "application/json")
            .header("authorization", "Bearer stolen")
            .header("cookie", "a=b")
            .header("connection", "keep-alive, x-mine")
            .header("x-mine", "1")
            .header("x-forwarded-for", "192.0.2.1")
            .header("user-agent", "lodestar")
            .header("te", "trailers")
            .body(Full::from("{\"type\":\"BLOCK_V2\"}"))
            .unwrap();
        let answer = client.ask(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::PRECONDITION_FAILED);
        assert_eq!(answer.body(), "{\"type\":\"BLOCK_V2\"}");
        let mut names: Vec<_> = answer.headers().keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "content-type", "date"]);
        assert_eq!(answer.headers()["content-type"], media);

        let asked = soon(duty.asked.recv()).await.unwrap();
        assert_eq!(asked.serial, 1);
        assert_eq!(asked.line, "POST /api/v1/eth2/sign/0xAb?a=1");
        let mut names: Vec<_> = asked.headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "content-length", "content-type"]);
        assert_eq!(asked.headers["accept"], media);
    }
}

/// Says more than any node has validators.
fn rambles(_: &Asked) -> Response<Full<Bytes>> {
    Response::new(Full::from(vec![b' '; 512 * 1024 + 1]))
}

#[tokio::test]
async fn what_the_signing_api_does_not_have_is_not_carried() {
    let plane = ControlPlane::new();
    let mut duty = Duty::start(&plane, "127.0.0.1:0", signed).await;
    let bridge = Bridge::new(&plane, vec![plane.peer(duty.address)], PATIENT).await;
    let mut client = bridge.client().await;

    for (line, status, named) in [
        ("GET /", 404, "UNKNOWN_PATH"),
        ("GET /metrics", 404, "UNKNOWN_PATH"),
        ("POST /reload", 404, "UNKNOWN_PATH"),
        ("POST /eth/v1/keystores", 404, "UNKNOWN_PATH"),
        ("GET /api/v1/eth2", 404, "UNKNOWN_PATH"),
        ("GET /upcheck/more", 404, "UNKNOWN_PATH"),
        ("DELETE /api/v1/eth2/publicKeys", 405, "UNKNOWN_METHOD"),
        ("PUT /upcheck", 405, "UNKNOWN_METHOD"),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(path);
        let answer = client.ask(request.body(Full::default()).unwrap()).await;
        let (found, reason, _) = refusal(&answer.unwrap());
        assert_eq!((found.as_u16(), reason.as_str()), (status, named), "{line}");
    }
    let request = Request::get("/upcheck").body(Full::default()).unwrap();
    assert_eq!(client.ask(request).await.unwrap().status(), StatusCode::OK);
    assert_eq!(duty.asked.recv().await.unwrap().line, "GET /upcheck");
    assert!(duty.asked.try_recv().is_err());
}

#[tokio::test]
async fn a_replica_that_hangs_is_passed_over_and_asked_last_from_then_on() {
    let plane = ControlPlane::new();
    let mut hanging = Duty::gated(&plane, "127.0.0.1:0", signed, 0).await;
    let mut other = Duty::start(&plane, "127.0.0.1:0", signed).await;
    let limits = Limits {
        answer_within: Duration::from_secs(3),
        ..PATIENT
    };
    let peers = vec![plane.peer(hanging.address), plane.peer(other.address)];
    let bridge = Bridge::new(&plane, peers, limits).await;

    // A computer that is busy enough lets the other one be too late as well.
    soon(async { while bridge.ask(wanted("first")).await.status() != StatusCode::OK {} }).await;
    assert_eq!(soon(hanging.asked.recv()).await.unwrap().body, "first");
    assert_eq!(soon(other.asked.recv()).await.unwrap().body, "first");
    let at_once = async {
        loop {
            while hanging.asked.try_recv().is_ok() {}
            let answer = bridge.ask(wanted("second")).await;
            if answer.status() == StatusCode::OK && hanging.asked.is_empty() {
                return;
            }
        }
    };
    soon(at_once).await;
    while soon(other.asked.recv()).await.unwrap().body != "second" {}
}

#[tokio::test]
async fn agents_spread_over_the_replicas_and_each_stays_with_its_own() {
    let plane = ControlPlane::new();
    let mut duties = [
        Duty::start(&plane, "127.0.0.1:0", signed).await,
        Duty::start(&plane, "127.0.0.1:0", signed).await,
    ];
    let peers = || {
        duties
            .each_ref()
            .map(|duty| plane.peer(duty.address))
            .into()
    };
    let mut bridges = Vec::new();
    for number in 0..16 {
        let placement = format!("placement-0198c0de-0000-7000-8000-{number:012x}");
        let bridge = Bridge::placed(&plane, &placement, peers(), PATIENT).await;
        bridge.certify(&plane, 1);
        bridges.push(bridge);
    }
    let mut chosen = [0, 0];
    for (number, bridge) in bridges.iter().enumerate() {
        let body = number.to_string();
        for _ in 0..3 {
            assert_eq!(bridge.ask(wanted(&body)).await.status(), StatusCode::OK);
        }
        for (duty, chosen) in duties.iter_mut().zip(&mut chosen) {
            let asked = std::iter::from_fn(|| duty.asked.try_recv().ok());
            match asked.filter(|asked| asked.body == body).count() {
                0 => {}
                3 => *chosen += 1,
                some => panic!("{some} of 3 requests of one agent"),
            }
        }
    }
    assert!(chosen.iter().all(|count| *count >= 4), "{chosen:?}");
}

#[tokio::test]
async fn a_signer_that_cannot_be_reached_is_told_with_its_reason() {
    let plane = ControlPlane::new();
    let hanging = Duty::gated(&plane, "127.0.0.1:0", signed, 0).await;
    let foreign = ControlPlane::new();
    let mut foreign = Duty::start(&foreign, "127.0.0.1:0", signed).await;
    let nobody = Held::new();
    let brief = Limits {
        answer_within: SHORT,
        ..PATIENT
    };

    for (address, limits, reason) in [
        (nobody.address(), PATIENT, "refused"),
        (hanging.address, brief, "no answer within 200ms"),
    ] {
        let bridge = Bridge::new(&plane, vec![plane.peer(address)], limits).await;
        let (status, name, message) = refusal(&bridge.ask(wanted("{}")).await);
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(name, "SIGNER_UNREACHABLE");
        assert!(message.contains(reason), "{message}");
        assert!(message.contains(&address.to_string()), "{message}");
    }
    let long = Duty::start(&plane, "127.0.0.1:0", rambles).await;
    for (address, reason) in [
        (foreign.address, "certificate"),
        (long.address, "longer than 512 KiB"),
    ] {
        let bridge = Bridge::new(&plane, vec![plane.peer(address)], PATIENT).await;
        let (_, _, message) = refusal(&bridge.ask(wanted("{}")).await);
        assert!(message.contains(reason), "{message}");
    }
    assert!(foreign.asked.try_recv().is_err());
}

#[tokio::test]
async fn requests_are_carried_once_there_is_a_certificate_and_again_once_the_signer_is_back() {
    let plane = ControlPlane::new();
    let held = Held::new();
    let address = held.address();
    let bridge = Bridge::bare(&plane, vec![plane.peer(address)], PATIENT).await;
    let mut client = bridge.client().await;
    let answer = client.ask(wanted("{}")).await.unwrap();
    let (status, _, message) = refusal(&answer);
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(message.contains("no certificate yet"), "{message}");

    bridge.certify(&plane, 1);
    for _ in 0..3 {
        let away = client.ask(wanted("{}")).await.unwrap();
        assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE);
        let duty = Duty::start(&plane, &address.to_string(), signed).await;
        for _ in 0..2 {
            let there = client.ask(wanted("{}")).await.unwrap();
            assert_eq!(there.status(), StatusCode::OK);
        }
        duty.cut().await;
    }
}

#[tokio::test]
async fn a_connection_that_the_signer_ended_is_made_again_within_the_request() {
    let plane = ControlPlane::new();
    let held = Held::new();
    let address = held.address().to_string();
    let duty = Duty::start(&plane, &address, signed).await;
    let bridge = Bridge::new(&plane, vec![plane.peer(duty.address)], PATIENT).await;
    for _ in 0..5 {
        assert_eq!(bridge.ask(wanted("{}")).await.status(), StatusCode::OK);
    }
    // The next one stands before the agent can have noticed that the first is gone.
    duty.cut().await;
    let _duty = Duty::start(&plane, &address, signed).await;
    assert_eq!(bridge.ask(wanted("{}")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_at_once_and_drops_no_request() {
    let plane = ControlPlane::new();
    let mut duty = Duty::gated(&plane, "127.0.0.1:0", signed, 0).await;
    let bridge = Bridge::new(&plane, vec![plane.peer(duty.address)], PATIENT).await;
    let mut answers = JoinSet::new();
    for serial in 1..=3 {
        bridge.certify(&plane, serial);
        let mut client = bridge.client().await;
        answers.spawn(async move { client.ask(wanted("{}")).await.unwrap().status() });
        assert_eq!(soon(duty.asked.recv()).await.unwrap().serial, serial);
    }
    assert!(answers.try_join_next().is_none());
    duty.gate.add_permits(1);
    assert_eq!(soon(answers.join_all()).await, [StatusCode::OK; 3]);
    assert!(duty.asked.try_recv().is_err(), "none was asked twice");
}

#[tokio::test]
async fn what_is_on_its_way_is_answered_before_the_end() {
    let plane = ControlPlane::new();
    let mut duty = Duty::gated(&plane, "127.0.0.1:0", signed, 0).await;
    let bridge = Bridge::new(&plane, vec![plane.peer(duty.address)], PATIENT).await;
    let (address, mut client) = (bridge.address, bridge.client().await);
    let _idle = bridge.client().await;
    let asking = async {
        let answer = client.ask(wanted("{}")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    };
    let ending = async {
        soon(duty.asked.recv()).await.unwrap();
        let mut task = bridge.stop();
        duty.gate.add_permits(1);
        soon(task.join_next()).await.unwrap().unwrap();
    };
    tokio::join!(asking, ending);
    assert!(Client::connect(address).await.is_err());
}

/// Sends text by hand, and returns all that comes back until the end.
async fn by_hand(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

const POST: &str = "POST /api/v1/eth2/sign/0x01 HTTP/1.1\r\nhost: a\r\n";

#[tokio::test]
async fn a_body_that_is_too_slow_or_too_large_is_refused_by_name() {
    let plane = ControlPlane::new();
    let mut duty = Duty::start(&plane, "127.0.0.1:0", signed).await;
    let peers = || vec![plane.peer(duty.address)];
    let slow = Limits {
        head_within: LONG,
        body_within: SHORT,
        ..PATIENT
    };
    let bridge = Bridge::new(&plane, peers(), slow).await;
    let answer = by_hand(
        bridge.address,
        &format!("{POST}content-length: 9\r\n\r\n{{"),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"BODY_TOO_SLOW\""), "{answer}");
    assert_eq!(by_hand(bridge.address, POST).await, "");

    let small = Limits {
        body: 1000,
        ..PATIENT
    };
    let bridge = Bridge::new(&plane, peers(), small).await;
    let chunk = format!(
        "{POST}transfer-encoding: chunked\r\n\r\n3e9\r\n{}",
        "x".repeat(1001)
    );
    for text in [&format!("{POST}content-length: 1001\r\n\r\n"), &chunk] {
        let answer = by_hand(bridge.address, text).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("\"BODY_TOO_LARGE\""), "{answer}");
    }
    assert!(duty.asked.try_recv().is_err());
    let full = "x".repeat(1000);
    assert_eq!(bridge.ask(wanted(&full)).await.status(), StatusCode::OK);
    assert_eq!(duty.asked.recv().await.unwrap().body, full);
}

#[tokio::test]
async fn of_300_requests_at_once_32_are_on_their_way_and_all_are_answered() {
    let plane = ControlPlane::new();
    let mut duty = Duty::gated(&plane, "127.0.0.1:0", signed, 0).await;
    let bridge = Arc::new(Bridge::new(&plane, vec![plane.peer(duty.address)], PATIENT).await);
    let asking = join_all((0..300).map(|_| bridge.ask(wanted("{}"))));
    let opening = async {
        for _ in 0..32 {
            soon(duty.asked.recv()).await.unwrap();
        }
        duty.gate.add_permits(300);
    };
    let (answers, ()) = tokio::join!(asking, opening);
    assert!(
        answers
            .iter()
            .all(|answer| answer.status() == StatusCode::OK)
    );
    assert_eq!(duty.most(), 32);
}

#[tokio::test]
async fn silent_connections_keep_nobody_out_for_ever() {
    let plane = ControlPlane::new();
    let duty = Duty::start(&plane, "127.0.0.1:0", signed).await;
    let limits = Limits {
        head_within: LONG,
        ..PATIENT
    };
    let bridge = Bridge::new(&plane, vec![plane.peer(duty.address)], limits).await;
    let silent = join_all((0..300).map(|_| TcpStream::connect(bridge.address))).await;
    assert_eq!(bridge.ask(wanted("{}")).await.status(), StatusCode::OK);
    drop(silent);
}
