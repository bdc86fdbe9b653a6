//! Bodies that are no requests: huge, slow, cut off, damaged.

use crate::line::connect;
use crate::made::public_key;
use crate::requests::request;
use crate::site::{Node, SLOT, Site, path, sign};
use berth_core::Fence;
use serde_json::json;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connection of HTTP/1.1 on which a request has begun.
async fn begun(site: &Site, node: Node, headers: &str) -> TlsStream<TcpStream> {
    let issued = site.certificate(node, Fence::FIRST);
    let mut stream = connect(&site.pki, site.duty, &issued, b"http/1.1").await;
    let path = path(&public_key(1));
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: signer\r\nconnection: close\r\n{headers}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

async fn answer(mut stream: TlsStream<TcpStream>) -> String {
    let mut answer = Vec::new();
    // The other side may close without a farewell.
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8(answer).unwrap()
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_body_that_is_too_long_is_refused_before_it_came(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let declared = begun(&site, node, "content-length: 1048577").await;
    let text = answer(declared).await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
    assert!(text.contains("BODY_TOO_LARGE"), "{text}");

    // Without a length it is cut off where it becomes too long.
    let mut endless = begun(&site, node, "transfer-encoding: chunked").await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let whole = chunk.repeat(16) + "1\r\nx\r\n";
    endless.write_all(whole.as_bytes()).await.unwrap();
    let text = answer(endless).await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn a_body_that_does_not_come_is_given_up_and_holds_up_nobody(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let mut slow = begun(&site, node, "content-length: 600").await;
    slow.write_all(b"{").await.unwrap();
    let line = site.placement(node, Fence::FIRST).await;
    let body = request(&site.chain, "ATTESTATION", SLOT);
    sign(&line, 1, &body).await.signature();
    let text = answer(slow).await;
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(text.contains("BODY_TOO_SLOW"), "{text}");
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn what_a_client_says_beyond_the_request_changes_nothing(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let line = site.placement(node, Fence::FIRST).await;
    for kind in ["BLOCK_V2", "ATTESTATION"] {
        let sound = request(&site.chain, kind, SLOT);
        let mut more = sound.clone();
        let places = more.as_object().unwrap().keys().cloned();
        for place in places.collect::<Vec<_>>() {
            if let Some(table) = more[&place].as_object_mut() {
                table.insert("wish".to_owned(), json!([{ "deep": null }]));
            }
        }
        more["wish"] = json!({ "slot": "0", "signingRoot": 1 });
        let signature = sign(&line, 1, &more).await.signature();
        assert_eq!(sign(&line, 1, &sound).await.signature(), signature);
    }
}

#[sqlx::test(migrator = "berth_signer::store::MIGRATIONS")]
async fn damaged_bodies_are_malformed(db: PgPool) {
    let site = Site::start(db).await;
    let node = site.node([1]).await;
    let line = site.placement(node, Fence::FIRST).await;
    let sound = request(&site.chain, "ATTESTATION", SLOT).to_string();
    let path = path(&public_key(1));
    for body in [
        String::new(),
        "\0".to_owned(),
        sound[..sound.len() - 1].to_owned(),
        format!("{sound}x"),
        "[".repeat(1 << 20),
        format!("{{\"type\": \"{}\"}}", "T".repeat((1 << 20) - 12)),
    ] {
        let named = line.ask("POST", &path, None, body).await;
        let reason = &named.json()["error"]["reason"];
        assert!(
            reason == "MALFORMED" || reason == "UNKNOWN_TYPE",
            "{named:?}"
        );
        assert_eq!(named.code, 400);
        assert!(named.text.len() < 1024, "{}", named.text.len());
    }
    let sound = line.ask("POST", &path, None, sound).await;
    sound.signature();
}
