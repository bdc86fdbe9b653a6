//! Lies of the Docker of a machine.

use super::fake::{Answer, CONTAINER, Command, Lies, World, container};
use super::{Memory, expect, kind};
use crate::harness::{deployment, placement};
use berth_provisioner::docker::{Call, LogQuery};
use berth_provisioner::images::ImageSource;
use berth_provisioner::spec::ImageRef;
use berth_provisioner::{Error, Session};
use futures::StreamExt;
use futures::future::join_all;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const OPEN: &str = "HTTP/1.1 200 OK\r\n\r\n";

fn image() -> ImageRef {
    ImageRef {
        repository: "berth/test".to_owned(),
        tag: String::new(),
        digest: format!("sha256:{}", "0".repeat(64)),
    }
}

fn json(text: &str) -> Answer {
    Answer::Json(text.to_owned())
}

async fn observed(lies: Lies) -> Result<(), Error> {
    let session = World::lying(lies).await;
    let session = (session.session().await, session);
    session.0.observe(&placement(1)).await.map(drop)
}

#[tokio::test]
async fn a_docker_that_lies_is_not_understood_and_says_why() {
    let nested = |open: &str| json(&open.repeat(100_000));
    let (list, one) = ("/containers/json", "/containers/berth-node-1/json");
    let strange = "was not understood";
    for (place, answer, kind, word) in [
        (list, json("no JSON"), "Answer", strange),
        (list, json(""), "Answer", strange),
        (list, json(r#"{"message": 7}"#), "Answer", strange),
        (list, json(r#"[{"Id": -1}]"#), "Answer", strange),
        (
            list,
            json(r#"[{"Id": "a", "ImageID": 1e400}]"#),
            "Answer",
            strange,
        ),
        (
            list,
            json("[{\"Id\": \"a\\u0000\"}]"),
            "Answer",
            "is no name",
        ),
        (
            list,
            json(r#"[{"Id": "../images/x"}]"#),
            "Answer",
            "is no name",
        ),
        (
            list,
            json(&format!("[{}]", ["{\"Id\":\"c\"}"; 5000].join(","))),
            "Answer",
            "more than 4096",
        ),
        (list, nested("["), "Answer", strange),
        (list, nested("{\"a\":"), "Answer", strange),
        (list, nested("[{\"Id\":\"a\",\"x\":["), "Answer", strange),
        (one, nested("{\"Config\":"), "Answer", strange),
        (one, json(&container("-1")), "Answer", "its fence"),
        (
            one,
            json(&container("18446744073709551616")),
            "Answer",
            "its fence",
        ),
        (one, json("[]"), "Answer", strange),
        (one, json(r#"{"RestartCount": "many"}"#), "Answer", strange),
        (
            "/volumes",
            json(r#"{"Volumes": [{"Name": "a/../b"}]}"#),
            "Answer",
            "is no name",
        ),
        ("/volumes", json(r#"{"Volumes": 7}"#), "Answer", strange),
        ("/networks", json(r#"[{"Name": null}]"#), "Answer", strange),
        ("/version", json("[]"), "Answer", "Docker's version"),
        (
            "/version",
            json(r#"{"Version":"1","ApiVersion":"9"}"#),
            "Answer",
            "not 1.x",
        ),
    ] {
        lied(place, answer, kind, word).await;
    }
}

/// Sees what comes of one lie.
async fn lied(place: &'static str, answer: Answer, kind: &str, word: &str) {
    let case = format!("{place} {answer:?}")
        .chars()
        .take(99)
        .collect::<String>();
    let error = observed(Lies::at(place, answer)).await.unwrap_err();
    expect(&case, &error, kind, word);
}

#[tokio::test]
async fn an_answer_of_docker_that_is_no_http_or_not_whole_is_told_apart() {
    let list = "/containers/json";
    let head = |line: &str| Answer::Raw(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"));
    let refused = format!(
        "HTTP/1.1 500 No\r\ncontent-length: 20\r\n\r\n{}",
        "{\"message\":\"\\u001b\"}"
    );
    for (place, answer, kind, word) in [
        (list, Answer::Raw(String::new()), "Docker", "broke off"),
        (
            list,
            Answer::Raw("\0\0\0".to_owned()),
            "Docker",
            "broke off",
        ),
        (list, head("content-length: 100"), "Docker", "broke off"),
        (list, head("content-length: -1"), "Docker", "broke off"),
        (
            list,
            head("transfer-encoding: chunked"),
            "Docker",
            "broke off",
        ),
        (
            list,
            Answer::Raw(refused),
            "Docker",
            "Docker could not list containers",
        ),
    ] {
        lied(place, answer, kind, word).await;
    }
}

#[tokio::test]
async fn a_docker_that_floods_is_cut_off_in_little_memory() {
    let memory = Memory::now();
    let (list, one) = ("/containers/json", "/containers/berth-node-1/json");
    let broken = "z\r\n";
    for (place, start, again, kind, word) in [
        (list, OPEN, " ", "Answer", "more than 16777216 bytes"),
        (
            list,
            OPEN,
            "[{\"Id\":\"",
            "Answer",
            "more than 16777216 bytes",
        ),
        (
            one,
            OPEN,
            "{\"Mounts\":[{},",
            "Answer",
            "more than 524288 bytes",
        ),
        (one, CHUNKED, broken, "Docker", "broke off"),
        ("/volumes", OPEN, "{\"Volumes\":[", "Answer", "more than"),
        (
            list,
            "HTTP/1.1 500 No\r\n\r\n",
            "no ",
            "Answer",
            "more than 65536 bytes",
        ),
        (list, "HTTP/1.1 200 OK\r\nx: ", "y", "Docker", "broke off"),
        (
            list,
            "HTTP/1.1 200 OK\r\n",
            "x: y\r\n",
            "Docker",
            "broke off",
        ),
        (list, "", "HTTP/1.1 100 Continue\r\n\r\n", "Timeout", ""),
        ("/version", OPEN, "{", "Answer", "Docker's version"),
        (
            "/version",
            "HTTP/1.1 200 OK\r\nx: ",
            "y",
            "Docker",
            "Docker could not answer",
        ),
    ] {
        let case = format!("{place} {start} {again}");
        let error = observed(Lies::at(place, Answer::Flood(start, again))).await;
        expect(&case, &error.expect_err(&case), kind, word);
        memory.expect_little(&case);
    }
}

#[tokio::test]
async fn an_answer_of_many_small_chunks_is_no_larger_in_memory() {
    let memory = Memory::now();
    let lie = Answer::Flood(CHUNKED, "1\r\n \r\n");
    let error = observed(Lies::at("/containers/json", lie))
        .await
        .unwrap_err();
    // Whichever limit comes first.
    let kind = kind(&error);
    assert!(["Answer", "Timeout"].contains(&kind.as_str()), "{error}");
    memory.expect_little("chunks");
}

#[tokio::test]
async fn what_is_legal_and_large_is_read_in_little_memory() {
    let memory = Memory::now();
    // As long as may be, with parts that are larger in memory than on the wire.
    let mounts = format!("{{\"Mounts\":[{}{{}}]}}", "{},".repeat(170_000));
    let error = observed(Lies::at(
        "/containers/berth-node-1/json",
        Answer::Json(mounts),
    ))
    .await;
    expect("mounts", &error.unwrap_err(), "Answer", "its fence");
    let things = format!("[{}{{}}]", "{},".repeat(5_000_000));
    let error = observed(Lies::at("/containers/json", Answer::Json(things))).await;
    expect("things", &error.unwrap_err(), "Answer", "missing field");
    memory.expect_little("large");
}

#[tokio::test]
async fn a_docker_that_falls_silent_is_given_up_at_every_place() {
    let list = "/containers/json";
    let places = [
        ("/version", ""),
        ("/version", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"),
        (list, ""),
        (list, "HTTP/1.1 200 OK\r\n"),
        (list, "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n["),
        (list, CHUNKED),
    ];
    // All at once: each takes as long as may be waited.
    join_all(places.map(async |(place, start)| {
        let case = format!("{place} {start}");
        let error = observed(Lies::at(place, Answer::Stall(start))).await;
        expect(
            &case,
            &error.expect_err(&case),
            "Timeout",
            "took longer than 2 s",
        );
    }))
    .await;
    let mute = Lies {
        mute_at_channels: true,
        ..Lies::none()
    };
    let error = observed(mute).await.unwrap_err();
    expect("no channel", &error, "Timeout", "finding Docker");
}

#[tokio::test]
async fn a_docker_that_is_late_with_each_answer_is_given_up_before_the_last() {
    let ids = vec![format!("{{\"Id\":\"{CONTAINER}\"}}"); 8].join(",");
    let lies = |place, answer| Lies {
        docker: vec![
            (place, Answer::Late(answer)),
            ("/containers/json", json(&format!("[{ids}]"))),
        ],
        ..Lies::none()
    };
    let (one, removed) = ("/containers/berth-node-1/json", "delete /v1.41/containers");
    let whose = placement(1);
    let look = World::lying(lies(one, container("1"))).await;
    let node = World::lying(lies(removed, String::new())).await;
    let machine = World::lying(lies(removed, String::new())).await;
    let (look, node, machine) = tokio::join!(
        async { look.session().await.observe(&whose).await.map(drop) },
        async { node.session().await.wipe_placement(&whose).await.map(drop) },
        async { machine.session().await.wipe_machine().await.map(drop) },
    );
    for (what, done, seconds) in [
        ("look at what stands there", look, 4),
        ("wipe a node", node, 10),
        ("wipe the machine", machine, 10),
    ] {
        let said = format!("{what} took longer than {seconds} s");
        expect(what, &done.unwrap_err(), "Timeout", &said);
    }
}

#[tokio::test]
async fn an_image_that_is_another_is_never_taken_for_the_one_that_was_asked() {
    let other = r#"[{"Id":"sha256:1","RepoDigests":["berth/test@sha256:11"]}]"#;
    let lies = Lies {
        docker: vec![
            ("/images/json", json(other)),
            (
                "/images/create",
                json("{\"status\":\"Pull complete\",\"id\":\"a\"}\n"),
            ),
        ],
        ..Lies::none()
    };
    let error = pulled(lies).await;
    expect(
        "another image",
        &error,
        "NoImage",
        "Docker pulled something else",
    );
}

#[tokio::test]
async fn a_pull_without_end_is_cut_off_and_a_silent_one_given_up() {
    let memory = Memory::now();
    let place = "/images/create";
    let negative =
        r#"{"id":"a","status":"Downloading","progressDetail":{"current":-9,"total":-1}}"#;
    for answer in [json(negative), Answer::Flood(OPEN, "x")] {
        let error = pulled(Lies::at(place, answer)).await;
        expect(place, &error, "NoImage", "cannot be delivered");
    }
    let error = pulled(Lies::at(place, Answer::Stall(OPEN))).await;
    expect("silent", &error, "Timeout", "pull an image");
    memory.expect_little("pulls");
}

async fn pulled(lies: Lies) -> Error {
    let world = World::lying(lies).await;
    let session = world.session().await;
    let sources = [ImageSource::Registry];
    let whose = placement(1);
    let done = session
        .ensure_image(&whose, &image(), &sources, |_, _| ())
        .await;
    done.unwrap_err()
}

#[tokio::test]
async fn a_log_without_end_is_read_line_by_line_and_a_silent_one_given_up() {
    let memory = Memory::now();
    let endless = "\u{1}\0\0\0\0\0\0\u{2}a\n";
    let (lines, ended) = logged(Answer::Flood(OPEN, endless), 1000).await;
    assert_eq!((lines, ended), (1000, None));
    // A frame that says that it has 2 GiB, and no line in it.
    let giant = format!(
        "{OPEN}\u{1}\0\0\0\u{7f}\u{7f}\u{7f}\u{7f}{}",
        "x".repeat(32 << 20)
    );
    assert_eq!(logged(Answer::Raw(giant), 1000).await, (1, None));
    let (lines, ended) = logged(Answer::Stall(OPEN), 1).await;
    assert_eq!((lines, ended.as_deref()), (0, Some("Timeout")));
    memory.expect_little("logs");
}

/// How many lines came, up to so many, and with which error it ended.
async fn logged(answer: Answer, most: usize) -> (usize, Option<String>) {
    let world = World::lying(Lies::at("/logs?", answer)).await;
    let query = LogQuery {
        tail: 10,
        since: None,
        follow: false,
        max_line: 64,
    };
    let session = world.session().await;
    let mut lines = session.logs(CONTAINER, query).await.unwrap().take(most);
    let mut count = 0;
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => assert!(line.text.len() <= 64),
            Err(error) => return (count, Some(kind(&error))),
        }
        count += 1;
    }
    (count, None)
}

#[tokio::test]
async fn the_container_of_another_is_neither_stopped_nor_called() {
    let another = container("1").replace("node-1\"", "node-2\"");
    let newer = container("2");
    let nameless = container("1").replace("\"Id\":\"berth-node-1\"", "\"Id\":\"../x\"");
    for (body, kind) in [
        (another, "NotOurs"),
        (newer, "Fenced"),
        (nameless, "Answer"),
    ] {
        let lies = Lies::at("/containers/berth-node-1/json", Answer::Json(body));
        let world = World::lying(lies).await;
        let session = world.session().await;
        let error = session.start(&placement(1), CONTAINER).await.unwrap_err();
        expect("start", &error, kind, "");
    }
}

/// Everything that is asked of a Docker.
async fn everything(session: &Session) -> Vec<(&'static str, Result<(), Error>)> {
    let deployment = deployment(1, &image());
    let whose = &deployment.placement;
    let spec = &deployment.containers[0];
    let call = Call {
        port: 1,
        path: "/",
        body: None,
    };
    vec![
        ("observe", session.observe(whose).await.map(drop)),
        ("network", session.ensure_network(&deployment).await),
        ("volumes", session.ensure_volumes(&deployment).await),
        (
            "container",
            session.ensure_container(whose, spec, "n").await.map(drop),
        ),
        ("start", session.start(whose, &spec.name).await),
        (
            "command",
            session
                .container_exec(&spec.name, &["true"], b"")
                .await
                .map(drop),
        ),
        (
            "call",
            session.call(whose, &spec.name, call).await.map(drop),
        ),
        ("facts", session.hardware().await.map(drop)),
    ]
}

#[tokio::test]
async fn nothing_that_is_asked_outlives_a_machine_that_answers_all_with_one_lie() {
    let memory = Memory::now();
    let null = || json("null");
    for answer in [
        null(),
        json("{}"),
        json("[[[[[[[[]]]]]]]]"),
        json(r#"{"Id":"","Name":"\u0000","Labels":[],"Size":-1,"message":{}}"#),
        Answer::Raw("HTTP/1.1 999 \r\n\r\n".to_owned()),
        Answer::Flood(OPEN, "{\"Id\":["),
        Answer::Flood(OPEN, "\u{1}\0\0\0\0\0\0\u{2}a\n"),
    ] {
        let case = format!("{answer:?}");
        let lies = Lies {
            // All but `/version`, which lets them begin.
            docker: vec![("/v1.41/", answer)],
            command: Command::Succeeds,
            ..Lies::none()
        };
        let world = World::lying(lies).await;
        for (what, done) in everything(&world.session().await).await {
            let Err(error) = done else { continue };
            let kind = kind(&error);
            let known = ["Answer", "Docker", "NotOurs", "NoImage", "Timeout", "Lost"];
            assert!(
                known.contains(&kind.as_str()) || what == "call",
                "{case} {what}: {error}"
            );
            assert!(error.to_string().len() < 1024, "{case} {what}");
        }
        memory.expect_little(&case);
    }
}
