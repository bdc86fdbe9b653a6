//! Lies before anybody is signed in: at the banner, the key exchange, the host key
//! and the sign-in.

#![expect(
    clippy::disallowed_methods,
    reason = "the fake stops with its test, whatever its tasks do"
)]

use super::fake::{Lies, World, key};
use super::{Memory, expect};
use berth_provisioner::Error;
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A machine that speaks no SSH: what it sends first, and what again and again.
async fn greeted(first: &'static [u8], again: &'static [u8], stays: bool) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = World::of(listener.local_addr().unwrap().to_string(), &key(9));
    let greet = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let sent: std::io::Result<()> = async {
            stream.write_all(first).await?;
            while !again.is_empty() {
                stream.write_all(again).await?;
            }
            Ok(())
        }
        .await;
        if sent.is_ok() && stays {
            listen(&mut stream).await;
        }
    };
    let greet = tokio::spawn(greet);
    let error = world.machines.session(&world.target).await.unwrap_err();
    greet.await.unwrap();
    error
}

/// Until the other side has had enough.
async fn listen(stream: &mut TcpStream) {
    stream.read_to_end(&mut Vec::new()).await.ok();
}

#[tokio::test]
async fn a_machine_that_greets_wrongly_cannot_be_reached_and_stalls_nobody() {
    let memory = Memory::now();
    let hello = b"SSH-2.0-fake\r\n";
    let kexinit = b"SSH-2.0-fake\r\n\0\0\x01\x2c\x0a\x14";
    let giant = b"SSH-2.0-fake\r\n\xff\xff\xff\xff\x0a\x14";
    let silent = "signing in to the machine took longer";
    let cases = [
        ("no banner", &b""[..], &b""[..], true, "Timeout", silent),
        (
            "closed at once",
            b"",
            b"",
            false,
            "Unreachable",
            "cannot be reached",
        ),
        ("banner and silence", hello, b"", true, "Timeout", silent),
        (
            "banner and end",
            hello,
            b"",
            false,
            "Unreachable",
            "cannot be reached",
        ),
        ("half a key exchange", kexinit, b"", true, "Timeout", silent),
        (
            "a packet of 4 GiB",
            giant,
            &[b'x'; 4096],
            true,
            "Unreachable",
            "cannot be reached",
        ),
        (
            "no SSH",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"",
            false,
            "Unreachable",
            "cannot be reached",
        ),
        (
            "noise",
            b"",
            &[0xff; 4096],
            true,
            "Unreachable",
            "cannot be reached",
        ),
        (
            "NUL",
            b"SSH-2.0-\0\0\r\n",
            &[0; 4096],
            true,
            "Unreachable",
            "cannot be reached",
        ),
        (
            "lines without end",
            b"",
            b"please wait\r\n",
            true,
            "Unreachable",
            "invalid SSH version",
        ),
    ];
    // All at once: some take as long as may be waited.
    join_all(cases.map(async |(case, first, again, stays, kind, word)| {
        let error = greeted(first, again, stays).await;
        expect(case, &error, kind, word);
    }))
    .await;
    memory.expect_little("greetings");
}

#[tokio::test]
async fn a_machine_with_another_host_key_is_told_apart() {
    let mut world = World::lying(Lies::none()).await;
    let other = key(8).public_key().to_openssh().unwrap();
    world.target.host_key = other.parse().unwrap();
    let error = world.machines.session(&world.target).await.unwrap_err();
    expect(
        "another key",
        &error,
        "HostKeyChanged",
        "enroll the machine again",
    );
}

#[tokio::test]
async fn a_machine_that_does_not_let_in_says_so_or_is_given_up() {
    let mute = Lies {
        mute_at_sign_in: true,
        ..Lies::none()
    };
    let refuses = Lies {
        refuses: true,
        ..Lies::none()
    };
    for (case, lies, kind, word) in [
        (
            "mute",
            mute,
            "Timeout",
            "signing in to the machine took longer",
        ),
        (
            "refuses",
            refuses,
            "AuthRefused",
            "run its setup command again",
        ),
    ] {
        let world = World::lying(lies).await;
        let error = world.machines.session(&world.target).await.unwrap_err();
        expect(case, &error, kind, word);
    }
}
