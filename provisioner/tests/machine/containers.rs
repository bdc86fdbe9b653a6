//! Containers: hardened, adopted, fenced.

use crate::harness::{deployment, placement, with_machine};
use berth_provisioner::docker::{ContainerState, Ensured, LogQuery};
use berth_provisioner::spec::{Deployment, PlacementRef};
use berth_provisioner::{Error, Machines, PoolConfig, Session};
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

async fn ensure(session: &Session, deployment: &Deployment) -> berth_provisioner::Result<Ensured> {
    let spec = &deployment.containers[0];
    session
        .ensure_container(&deployment.placement, spec, &deployment.network)
        .await
}

#[test]
fn a_container_is_hardened_as_docker_itself_sees_it() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, _) = world.layout();
        let deployment = deployment(1, &image);
        world.deliver(&session, &deployment).await;
        assert_eq!(
            ensure(&session, &deployment).await.unwrap(),
            Ensured::Created
        );
        let name = &deployment.containers[0].name;
        session.start(&deployment.placement, name).await.unwrap();
        session.start(&deployment.placement, name).await.unwrap();

        let inspected = world.root(&format!("docker inspect {name}"));
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        let (host, config) = (&inspected[0]["HostConfig"], &inspected[0]["Config"]);
        for (key, wanted) in [
            ("Privileged", json!(false)),
            ("CapDrop", json!(["ALL"])),
            ("ReadonlyRootfs", json!(true)),
            ("SecurityOpt", json!(["no-new-privileges:true"])),
            ("NetworkMode", json!("berth-net-1")),
            ("IpcMode", json!("private")),
            ("PidMode", json!("")),
            ("UTSMode", json!("")),
            ("Memory", json!(256 << 20)),
            ("MemorySwap", json!(256 << 20)),
            ("NanoCpus", json!(500_000_000)),
            ("PidsLimit", json!(64)),
            (
                "LogConfig",
                json!({"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}),
            ),
            (
                "RestartPolicy",
                json!({"Name": "unless-stopped", "MaximumRetryCount": 0}),
            ),
            ("Binds", json!(null)),
            (
                "PortBindings",
                json!({
                    "26656/tcp": [{"HostIp": "", "HostPort": "26656"}],
                    "26657/tcp": [{"HostIp": "127.0.0.1", "HostPort": "26657"}],
                }),
            ),
        ] {
            assert_eq!(host[key], wanted, "{key}");
        }
        assert_eq!(config["User"], "1025:1025");
        assert_eq!(config["Labels"]["dev.berth.fence"], "1");

        let status = session
            .container_exec(name, &["/bin/cat", "/proc/self/status"], &[])
            .await
            .unwrap();
        let status = String::from_utf8(status.stdout).unwrap();
        for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(status.contains(line), "{line} not in {status}");
        }
        for (path, writable) in [("/data/x", true), ("/tmp/x", true), ("/x", false)] {
            let wrote = session
                .container_exec(name, &["/bin/touch", path], &[])
                .await
                .unwrap();
            assert_eq!(wrote.status == 0, writable, "{path}");
        }
    });
}

#[test]
fn what_stands_there_is_adopted_and_what_changed_is_replaced() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, _) = world.layout();
        let mut deployment = deployment(1, &image);
        world.deliver(&session, &deployment).await;
        let name = deployment.containers[0].name.clone();
        ensure(&session, &deployment).await.unwrap();
        session.start(&deployment.placement, &name).await.unwrap();
        assert_eq!(
            ensure(&session, &deployment).await.unwrap(),
            Ensured::Adopted
        );
        let seen = session.observe(&deployment.placement).await.unwrap();
        assert_eq!(seen.containers[0].state, ContainerState::Running);
        assert_eq!(seen.containers[0].image, image.to_string());
        assert_eq!(seen.volumes, deployment.volumes);
        assert_eq!(seen.networks, [deployment.network.clone()]);

        deployment.containers[0]
            .env
            .insert("LOG".to_owned(), "debug".to_owned());
        assert_eq!(
            ensure(&session, &deployment).await.unwrap(),
            Ensured::Replaced
        );
        let seen = session.observe(&deployment.placement).await.unwrap();
        assert_eq!(seen.containers[0].state, ContainerState::Created);

        let second = Deployment {
            placement: placement(2),
            ..deployment.clone()
        };
        assert_eq!(ensure(&session, &second).await.unwrap(), Ensured::Replaced);
        session.ensure_network(&second).await.unwrap();
        session.ensure_volumes(&second).await.unwrap();
    });
}

#[test]
fn a_stale_worker_cannot_touch_a_newer_container() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, _) = world.layout();
        let newer = deployment(7, &image);
        world.deliver(&session, &newer).await;
        ensure(&session, &newer).await.unwrap();
        let name = newer.containers[0].name.clone();
        session.start(&newer.placement, &name).await.unwrap();

        let stale = deployment(6, &image);
        let fenced = |result: berth_provisioner::Result<()>| {
            let error = result.unwrap_err();
            assert!(
                matches!(error, Error::Fenced { have: 7, want: 6 }),
                "{error:?}"
            );
        };
        fenced(ensure(&session, &stale).await.map(drop));
        fenced(session.start(&stale.placement, &name).await);
        fenced(
            session
                .stop(&stale.placement, &name, Duration::from_secs(1))
                .await,
        );
        fenced(session.remove(&stale.placement, &name).await);
        fenced(session.wipe_placement(&stale.placement).await.map(drop));
        let seen = session.observe(&newer.placement).await.unwrap();
        assert_eq!(seen.containers[0].state, ContainerState::Running);

        let other = PlacementRef {
            node_id: "node-2".to_owned(),
            ..placement(9)
        };
        let not_ours = session.remove(&other, &name).await;
        assert!(
            matches!(not_ours, Err(Error::NotOurs { .. })),
            "{not_ours:?}"
        );
    });
}

#[test]
fn many_workers_that_make_the_same_container_make_one() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, _) = world.layout();
        let deployment = deployment(1, &image);
        world.deliver(&session, &deployment).await;
        let all = (0..8).map(|_| ensure(&session, &deployment));
        let all = futures::future::join_all(all).await;
        let created = all
            .iter()
            .filter(|r| matches!(r, Ok(Ensured::Created)))
            .count();
        let adopted = all
            .iter()
            .filter(|r| matches!(r, Ok(Ensured::Adopted)))
            .count();
        assert_eq!((created, adopted), (1, 7), "{all:?}");
    });
}

#[test]
fn a_container_stops_in_time_and_its_log_is_read_and_followed() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, _) = world.layout();
        let mut deployment = deployment(1, &image);
        let spec = &mut deployment.containers[0];
        spec.entrypoint = vec!["/bin/sh".to_owned()];
        spec.command = vec![
            "-c".to_owned(),
            "echo one; echo two >&2; printf '%5000s\\n' long; while :; do sleep 1; done".to_owned(),
        ];
        let name = spec.name.clone();
        world.deliver(&session, &deployment).await;
        ensure(&session, &deployment).await.unwrap();
        session.start(&deployment.placement, &name).await.unwrap();

        let query = LogQuery {
            tail: 100,
            since: None,
            follow: true,
            max_line: 100,
        };
        let log = session.logs(&name, query).await.unwrap();
        let mut lines: Vec<_> = log.take(3).map(Result::unwrap).collect().await;
        lines.sort_by(|a, b| a.text.trim_start().cmp(b.text.trim_start()));
        let texts: Vec<(bool, usize)> = lines.iter().map(|l| (l.stderr, l.text.len())).collect();
        assert_eq!(texts, [(false, 100), (false, 3), (true, 3)]);

        let newest = lines.iter().max_by_key(|line| line.time).unwrap();
        assert!(newest.time.is_some());
        let since = LogQuery {
            follow: false,
            since: newest.time,
            ..query
        };
        let rest = session.logs(&name, since).await.unwrap();
        let rest: Vec<_> = rest.map(Result::unwrap).collect().await;
        assert_eq!(rest.as_slice(), std::slice::from_ref(newest));

        let follow = session.logs(&name, query).await.unwrap().count();
        let stop = session.stop(&deployment.placement, &name, Duration::from_secs(1));
        let (count, stopped) = futures::join!(follow, stop);
        stopped.unwrap();
        assert_eq!(count, 3, "the log ends with the container");
        let seen = session.observe(&deployment.placement).await.unwrap();
        assert_eq!(seen.containers[0].state, ContainerState::Exited);
        assert_eq!(seen.containers[0].exit_code, 137);
        session
            .stop(&deployment.placement, &name, Duration::from_secs(1))
            .await
            .unwrap();
        session.remove(&deployment.placement, &name).await.unwrap();
        session.remove(&deployment.placement, &name).await.unwrap();
        let none = session.logs(&name, query).await.map(drop);
        assert!(
            matches!(
                none,
                Err(Error::Docker {
                    status: Some(404),
                    ..
                })
            ),
            "{none:?}"
        );
    });
}

#[test]
fn a_command_in_a_container_gets_its_input_and_gives_its_status() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, _) = world.layout();
        let deployment = deployment(1, &image);
        world.deliver(&session, &deployment).await;
        ensure(&session, &deployment).await.unwrap();
        let name = &deployment.containers[0].name;
        let early = session.container_exec(name, &["/bin/id"], &[]).await;
        assert!(matches!(early, Err(Error::Docker { .. })), "{early:?}");
        session.start(&deployment.placement, name).await.unwrap();
        let input = vec![b'i'; 200_000];
        let command = ["/bin/sh", "-c", "cat; echo no >&2; exit 4"];
        let done = session
            .container_exec(name, &command, &input)
            .await
            .unwrap();
        assert_eq!((done.status, done.stdout.len()), (4, input.len()));
        assert_eq!(done.stderr, b"no\n");
    });
}

#[test]
fn work_that_is_stopped_before_any_effect_is_finished_by_the_next_try() {
    with_machine(async |world| {
        let (image, _) = world.layout();
        let deployment = deployment(1, &image);
        let met = Mutex::new(Vec::new());
        let config = PoolConfig {
            // Each effect stops the work when it is met first.
            before_effect: Some(Arc::new(move |name| {
                let mut met = met.lock().unwrap();
                if met.contains(&name) {
                    return Ok(());
                }
                met.push(name);
                Err(Error::Stopped(name))
            })),
            ..PoolConfig::default()
        };
        let machines = Machines::new(config, world.authority.clone()).unwrap();
        let session = machines.session(&world.target).await.unwrap();
        let (image, sources) = world.layout();
        let launch = async || {
            session
                .ensure_image(&placement(1), &image, &sources, |_, _| ())
                .await?;
            session.ensure_network(&deployment).await?;
            session.ensure_volumes(&deployment).await?;
            ensure(&session, &deployment).await?;
            let name = &deployment.containers[0].name;
            session.start(&deployment.placement, name).await
        };
        let mut stops = Vec::new();
        loop {
            match launch().await {
                Ok(()) => break,
                Err(Error::Stopped(name)) => stops.push(name),
                Err(other) => panic!("{other:?} after {stops:?}"),
            }
        }
        let all = [
            "note image",
            "offer image",
            "pull image",
            "create network",
            "create volume",
            "create container",
            "start container",
        ];
        assert_eq!(stops, all);
        let seen = session.observe(&deployment.placement).await.unwrap();
        assert_eq!(seen.containers.len(), 1);
        assert_eq!(seen.containers[0].state, ContainerState::Running);
    });
}
