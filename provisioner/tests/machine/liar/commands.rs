//! Lies in the commands of a machine.

use super::fake::{Command, Lies, World};
use super::{Memory, expect};
use berth_provisioner::{Error, Exec};
use futures::future::join_all;
use std::time::Duration;

async fn run(lies: Lies) -> Error {
    let world = World::lying(lies).await;
    let command = Exec {
        timeout: Duration::ZERO,
        ..Exec::new("reading the hardware", "true")
    };
    world.session().await.root(command).await.unwrap_err()
}

#[tokio::test]
async fn a_command_that_ends_wrongly_ends_at_a_limit_with_its_name() {
    let memory = Memory::now();
    let long = "reading the hardware took longer";
    let cases = [
        (
            Command::Floods { stderr: false },
            "Answer",
            "too much output",
        ),
        (
            Command::Floods { stderr: true },
            "Answer",
            "too much output",
        ),
        (Command::Stalls, "Timeout", long),
        (Command::Lingers, "Timeout", long),
        (Command::Vanishes, "Lost", "reading the hardware"),
        (Command::Hangs, "Lost", "reading the hardware"),
        (Command::Refuses, "Answer", "refuses to run commands"),
        (Command::Fails(u32::MAX), "Command", "status 4294967295"),
    ];
    // All at once: some take as long as may be waited.
    join_all(cases.map(async |(command, kind, word)| {
        let error = run(Lies::command(command)).await;
        expect(&format!("{command:?}"), &error, kind, word);
    }))
    .await;
    let mute = Lies {
        mute_at_channels: true,
        ..Lies::none()
    };
    expect("no channel", &run(mute).await, "Timeout", long);
    memory.expect_little("commands");
}

#[tokio::test]
async fn facts_that_are_none_are_not_understood() {
    for text in [
        &b""[..],
        b"\0\0\0\0",
        b"\n@@berth:processors\n-1\n@@berth:memory\nMemTotal: -5 kB\n",
        b"\xff\xfe\x1b[2J",
    ] {
        let world = World::lying(Lies::command(Command::Prints(text))).await;
        let facts = world.session().await.hardware().await;
        let error = facts.expect_err("they are none");
        expect(&format!("{text:?}"), &error, "Answer", "the hardware");
    }
}
