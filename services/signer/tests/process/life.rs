//! How a signer starts and ends, and on what it does not start.

use crate::eventually::eventually;
use crate::postgres::{ADMIN, DATABASE, OWNER, SERVING};
use crate::signer::{Site, said, signer};
use nix::sys::signal::Signal;
use std::process::{Child, Stdio};

/// All is well.
const UP: &str = "HTTP/1.1 200 ";

#[tokio::test]
async fn a_signer_starts_answers_machines_and_ends_when_told() {
    let site = Site::start().await;
    let mut running = site.serve().await;
    let answer = site.placement(1, 0).await.get("/upcheck").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    site.eventually_says(UP).await;
    let monitoring = site.service("monitoring").await;
    let metrics = monitoring.get("/metrics").await.unwrap();
    assert!(
        metrics.contains("signer_keys{state=\"expected\"} 0"),
        "{metrics}"
    );

    let limits = running.limits();
    let cores = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    assert_eq!(
        cores.unwrap().split_whitespace().nth(4),
        Some("0"),
        "{limits}"
    );

    running.signal(Signal::SIGTERM);
    assert!(running.ended().await.success(), "{}", running.log());

    // Nothing was lost, so nothing stands in the way of the next.
    let _running = site.serve().await;
    site.eventually_says(UP).await;
}

#[tokio::test]
async fn a_signer_does_not_start_on_a_database_that_may_forget() {
    let mut site = Site::unprepared().await;
    let log = site.refused(SERVING).await;
    assert!(log.contains("run `berth-signer migrate`"), "{log}");
    site.migrate();
    // Once more changes nothing.
    site.migrate();

    let log = site.refused(ADMIN).await;
    assert!(log.contains("is a superuser"), "{log}");
    let log = site.refused(OWNER).await;
    assert!(log.contains("owns the database"), "{log}");

    for setting in ["fsync=off", "full_page_writes=off"] {
        site.postgres.stop();
        site.postgres.run(&[setting]).await;
        let log = site.refused(SERVING).await;
        assert!(log.contains("a power cut can take back"), "{log}");
    }

    site.postgres.stop();
    // What the role's own settings say does not count.
    site.postgres.run(&["synchronous_commit=off"]).await;
    let weaken = format!("alter role {SERVING} set synchronous_commit = off");
    site.postgres.sql("postgres", &weaken).await;
    drop(site.serve().await);

    let _standby = Standby::attach(&site).await;
    let log = site.refused(SERVING).await;
    assert!(log.contains("synchronous_standby_names"), "{log}");
}

#[tokio::test]
async fn the_owner_prepares_and_a_role_that_owns_nothing_serves() {
    let site = Site::unprepared().await;
    let url = site.postgres.url(OWNER, DATABASE);
    let migrate = |role: &str| {
        let words = ["migrate", "--database-url", &url, "--grant-to", role];
        signer(&words).output().unwrap()
    };
    for (role, why) in [
        (OWNER, "the owner"),
        (ADMIN, "a superuser"),
        ("nobody_here", "create role nobody_here login"),
    ] {
        let refused = migrate(role);
        let why_not = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && why_not.contains(why),
            "{why_not}"
        );
    }
    assert!(said(&migrate(SERVING)).contains("may serve"));
    let forgetting = [
        "delete from validator",
        "truncate signature",
        "update signature set fence = 0",
        "update identity set database_id = gen_random_uuid()",
        "delete from seal",
        "update seal set until = '0'",
        "drop trigger signature_stays on signature",
        "alter table validator disable trigger all",
        "set session_replication_role = replica",
        "drop table signature_rest",
    ];
    for statement in forgetting {
        let refused = site.postgres.psql(SERVING, statement);
        assert!(
            refused.contains("permission denied") || refused.contains("must be owner"),
            "{statement}: {refused}"
        );
    }
}

#[test]
fn help_shows_examples_and_the_defaults_can_be_printed() {
    for words in [
        &["--help"][..],
        &["serve", "--help"],
        &["migrate", "--help"],
    ] {
        let help = said(&signer(words).output().unwrap());
        assert!(help.contains("Examples:"), "{help}");
    }
    let defaults = said(&signer(&["--print-config"]).output().unwrap());
    assert_eq!(defaults, berth_signer::config::DEFAULTS);
}

#[test]
fn a_word_that_no_command_line_may_hold_is_refused_and_its_argument_named() {
    let ended = signer(&["serve", "--config", "a\u{1b}[2J"])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(
        said,
        "error: the value of --config holds control characters\n"
    );
}

#[test]
fn another_database_than_postgres_is_refused_by_its_argument_and_no_password_told() {
    let url = "mysql://owner:hunter2@db/berth_signer";
    let words = ["migrate", "--database-url", url, "--grant-to", SERVING];
    let ended = signer(&words).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("--database-url") && said.contains("postgres://user@host/name"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

/// Something that receives the log of a server, as a standby does.
struct Standby(Child);

impl Standby {
    async fn attach(site: &Site) -> Self {
        let folder = site.postgres.folder();
        let child = site
            .postgres
            .command("pg_receivewal")
            .arg("--host")
            .arg(&folder)
            .args(["--username", ADMIN, "--no-password", "--directory"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the standby is attached", async || {
            let attached = site
                .postgres
                .psql(ADMIN, "select count(*) from pg_stat_replication");
            (attached.trim() == "1").then_some(())
        })
        .await;
        Self(child)
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
