//! Signing in, running commands, losing the session.

use crate::harness::{Authority, USER, set_up, with_machine};
use berth_provisioner::prepare::Preparation;
use berth_provisioner::setup::{SetupInput, setup_command};
use berth_provisioner::{Error, Exec, Machines, PoolConfig, Target};
use std::sync::Arc;
use std::time::Duration;

/// Another key than the machine's.
const OTHER_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

#[test]
fn a_certificate_for_the_machine_signs_in_and_the_session_is_shared() {
    with_machine(async |world| {
        let session = world.session().await;
        let who = session
            .exec(Exec::new("asking who we are", "id -un"))
            .await
            .unwrap();
        assert_eq!(who.success("id").unwrap(), format!("{USER}\n").into_bytes());
        let root = session
            .root(Exec::new("asking who root is", "id -u"))
            .await
            .unwrap();
        assert_eq!(root, b"0\n");
        let again = world.session().await;
        again.exec(Exec::new("nothing", "true")).await.unwrap();
        let sessions = world.root("ss -Htn state established sport = :22 | wc -l");
        assert_eq!(sessions.trim(), "1");
    });
}

#[test]
fn a_certificate_of_another_authority_or_for_another_machine_is_refused() {
    with_machine(async |world| {
        let other = tempfile::tempdir().unwrap();
        let stranger = Arc::new(Authority::new(other.path()));
        let machines = Machines::new(PoolConfig::default(), stranger).unwrap();
        let refused = machines.session(&world.target).await;
        assert!(
            matches!(refused, Err(Error::AuthRefused { .. })),
            "{refused:?}"
        );

        let elsewhere = Target {
            machine_id: "machine-2".to_owned(),
            ..world.target.clone()
        };
        let refused = world.machines.session(&elsewhere).await;
        assert!(
            matches!(refused, Err(Error::AuthRefused { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn a_changed_host_key_is_refused_before_anything_is_signed() {
    with_machine(async |world| {
        let changed = Target {
            host_key: OTHER_KEY.parse().unwrap(),
            ..world.target.clone()
        };
        // Nobody to sign: it must not come to that.
        let nobody = Arc::new(Authority::new(tempfile::tempdir().unwrap().path()));
        let machines = Machines::new(PoolConfig::default(), nobody).unwrap();
        let refused = machines.session(&changed).await.unwrap_err();
        let Error::HostKeyChanged { expected, seen } = &refused else {
            panic!("{refused:?}");
        };
        assert_eq!(*expected, changed.host_key.fingerprint().to_string());
        assert_eq!(*seen, world.target.host_key.fingerprint().to_string());
        assert!(!refused.is_transient());
    });
}

#[test]
fn a_scan_shows_the_key_and_its_fingerprint_is_enough_to_pin() {
    with_machine(async |world| {
        let shown = world.machines.scan(&world.target.address).await.unwrap();
        assert_eq!(shown.fingerprint(), world.target.host_key.fingerprint());
        let by_fingerprint = Target {
            host_key: shown.fingerprint().to_string().parse().unwrap(),
            ..world.target.clone()
        };
        world.machines.session(&by_fingerprint).await.unwrap();
    });
}

#[test]
fn commands_are_bounded_in_time_and_output_and_get_their_input_whole() {
    with_machine(async |world| {
        let session = world.session().await;
        let long = Exec {
            timeout: Duration::from_secs(1),
            ..Exec::new("sleeping", "sleep 1000")
        };
        let ended = session.exec(long).await.unwrap();
        assert_eq!(ended.status, 124, "the machine ends it itself");

        let long = Exec {
            timeout: Duration::from_secs(1),
            ..Exec::new("sleeping", "sleep 1000")
        };
        let ended = session.root(long).await;
        assert!(matches!(ended, Err(Error::Timeout { .. })), "{ended:?}");

        let loud = Exec::new("shouting", "yes");
        let loud = session.exec(loud).await;
        assert!(matches!(loud, Err(Error::Answer { .. })), "{loud:?}");

        let input = vec![b'x'; 3 << 20];
        let echoed = session
            .exec(Exec {
                stdin: &input,
                max_output: 4 << 20,
                ..Exec::new("echoing", "cat; echo done >&2; exit 3")
            })
            .await
            .unwrap();
        assert_eq!((echoed.status, echoed.stdout.len()), (3, input.len()));
        assert_eq!(echoed.stderr, b"done\n");

        // A command that does not read its input does not block the session.
        let deaf = Exec {
            stdin: &input,
            ..Exec::new("not listening", "true")
        };
        assert_eq!(session.exec(deaf).await.unwrap().status, 0);
    });
}

#[test]
fn more_commands_than_sshd_allows_at_once_wait_for_each_other() {
    with_machine(async |world| {
        let session = world.session().await;
        let commands = (0..30).map(|_| session.exec(Exec::new("waiting", "sleep 0.05")));
        for done in futures::future::join_all(commands).await {
            assert_eq!(done.unwrap().status, 0);
        }
    });
}

#[test]
fn a_lost_session_is_replaced_and_its_call_is_transient() {
    with_machine(async |world| {
        let session = world.session().await;
        let machine = world.machine.clone();
        let cut = tokio::task::spawn_blocking(move || {
            let when = "until pgrep -fx 'sleep 3333'; do sleep 0.02; done; pkill -f '^sshd: berth'";
            machine.run(&["sh", "-c", when]).unwrap();
        });
        let lost = session.exec(Exec::new("waiting", "sleep 3333")).await;
        cut.await.unwrap();
        let lost = lost.unwrap_err();
        assert!(
            matches!(lost, Error::Lost { .. }) && lost.is_transient(),
            "{lost:?}"
        );
        assert!(session.is_lost());
        let session = world.session().await;
        session.exec(Exec::new("nothing", "true")).await.unwrap();

        world.machines.forget("machine-1").await;
        assert_eq!(world.session().await.machine_id(), "machine-1");
    });
}

#[test]
fn a_machine_without_power_is_unreachable() {
    with_machine(async |world| {
        world.machine.kill().unwrap();
        let machines = Machines::new(
            PoolConfig {
                connect_timeout: Duration::from_secs(2),
                ..PoolConfig::default()
            },
            world.authority.clone(),
        );
        let gone = machines.unwrap().session(&world.target).await.unwrap_err();
        assert!(gone.is_transient(), "{gone:?}");
    });
}

#[test]
fn a_machine_that_forwards_no_sockets_is_reached_by_a_command() {
    with_machine(async |world| {
        set_up(
            &world.machine,
            "sed -i s/^.*AllowStreamLocalForwarding.*/AllowStreamLocalForwarding\\ no/ \
               /etc/ssh/sshd_config.d/50-berth-berth.conf && kill -HUP $(cat /run/sshd.pid)",
        );
        let session = world.session().await;
        let wanted = Preparation {
            max_clock_offset_ms: 5_000,
        };
        let report = session.prepare(&wanted).await.unwrap();
        assert!(!report.docker_version.is_empty());
        assert!(
            world
                .root("ps -eo args")
                .contains("docker system dial-stdio")
        );
    });
}

#[test]
fn the_setup_command_can_be_run_again_and_leaves_roots_sign_in_alone() {
    with_machine(async |world| {
        let command = setup_command(&SetupInput {
            machine_id: "machine-1",
            user: USER,
            ca_public_key: world.authority.public(),
        });
        let settings = "cat /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*
            sshd -T -C user=root,host=x,addr=192.0.2.1";
        let before = world.root(settings);
        set_up(&world.machine, &command.unwrap());
        let after = world.root(settings);
        assert_eq!(before, after);
        assert!(
            !after.lines().any(|l| l.starts_with("trustedusercakeys /")),
            "{after}"
        );
        world.session().await;
    });
}
