//! What somebody with root changes by hand is seen by its name, and is gone
//! after it was put right.

use crate::harness::{World, deployment, with_machine};
use berth_provisioner::Session;
use berth_provisioner::drift::Part;
use berth_provisioner::firewall::open_ports;
use berth_provisioner::spec::{Deployment, FileSpec};

const NAME: &str = "berth-1-node";

/// What is told, a line each.
async fn told(session: &Session, deployment: &Deployment) -> Vec<String> {
    let drift = session.drift(deployment).await.unwrap();
    assert_eq!(drift.boot.len(), 36, "{}", drift.boot);
    drift.differences.iter().map(ToString::to_string).collect()
}

async fn is_right(session: &Session, deployment: &Deployment) {
    assert!(told(session, deployment).await.is_empty());
}

async fn container(session: &Session, deployment: &Deployment) {
    let (whose, spec) = (&deployment.placement, &deployment.containers[0]);
    session.remove(whose, NAME).await.unwrap();
    let made = session.ensure_container(whose, spec, &deployment.network);
    made.await.unwrap();
    session.start(whose, NAME).await.unwrap();
}

async fn firewall(session: &Session, deployment: &Deployment) {
    let open = open_ports(deployment);
    let applied = session.apply_firewall(&deployment.placement, &open);
    applied.await.unwrap();
}

async fn launch(world: &World, session: &Session) -> Deployment {
    let (image, _) = world.layout();
    let mut deployment = deployment(1, &image);
    deployment.files.push(FileSpec {
        path: "/var/lib/berth/node-1/app.toml".to_owned(),
        mode: 0o444,
        uid: 1025,
        gid: 1025,
        contents: b"min-gas = 1\n".to_vec(),
    });
    world.deliver(session, &deployment).await;
    container(session, &deployment).await;
    firewall(session, &deployment).await;
    deployment
}

#[test]
fn what_is_changed_by_hand_is_seen_by_its_name() {
    with_machine(async |world| {
        let session = world.session().await;
        let deployment = launch(&world, &session).await;
        let whose = &deployment.placement;
        is_right(&session, &deployment).await;

        world.root(&format!(
            "docker update --memory 128m --memory-swap 128m --cpus 0.25 --restart no {NAME}"
        ));
        let drift = session.drift(&deployment).await.unwrap();
        let limits = Part::Limits(NAME.to_owned());
        assert!(drift.differences.iter().all(|d| d.part == limits));
        let all = told(&session, &deployment).await.join("\n");
        for words in [
            "memory limit of container `node` is `128 MiB`, not `256 MiB`",
            "processor limit of container `node` is `250 millicores`, not `500 millicores`",
            "restart policy of container `node` is `no`, not `unless-stopped`",
        ] {
            assert!(all.contains(words), "{words} in {all}");
        }
        let spec = &deployment.containers[0];
        session.limit(whose, spec).await.unwrap();
        is_right(&session, &deployment).await;

        by_hand(&world);
        let seen = session.observe(whose).await.unwrap();
        assert_eq!(seen.containers[0].fence, 1, "the labels say it is ours");
        let drift = session.drift(&deployment).await.unwrap();
        let anew = Part::Container(NAME.to_owned());
        assert!(drift.differences.iter().any(|d| d.part == anew));
        let all = told(&session, &deployment).await.join("\n");
        for words in [
            "command of container `node` is `-e sleep 1000`",
            "read-only root of container `node` is `false`, not `true`",
            "user of container `node` is missing: `1025:1025`",
            "networks of container `node` is `bridge`, not `berth-net-1`",
        ] {
            assert!(all.contains(words), "{words} in {all}");
        }
        container(&session, &deployment).await;
        is_right(&session, &deployment).await;

        let file = &deployment.files[0];
        world.root(&format!("echo 'min-gas = 0' > {}", file.path));
        let drift = session.drift(&deployment).await.unwrap();
        assert_eq!(drift.differences.len(), 1);
        assert_eq!(drift.differences[0].part, Part::File);
        assert!(drift.differences[0].what.contains("app.toml"));
        let written = session.put_files(whose, &deployment.files);
        written.await.unwrap();
        is_right(&session, &deployment).await;
    });
}

/// A container of the same name and labels that does something else.
fn by_hand(world: &World) {
    world.root(&format!(
        "labels=$(docker inspect -f '{{{{range $k, $v := .Config.Labels}}}}--label {{{{$k}}}}={{{{$v}}}} {{{{end}}}}' {NAME})
         image=$(docker inspect -f '{{{{.Image}}}}' {NAME})
         docker rm -f {NAME}
         docker run -d --name {NAME} $labels --entrypoint /bin/perl $image -e 'sleep 1000'"
    ));
}

#[test]
fn a_firewall_that_is_changed_by_hand_is_seen_rule_by_rule() {
    with_machine(async |world| {
        let session = world.session().await;
        let deployment = launch(&world, &session).await;
        let table = [
            (
                "nft insert rule inet berth input tcp dport 9999 accept",
                "rule of the firewall is `input: tcp dport 9999 accept` and should not be",
            ),
            (
                "nft flush chain inet berth forward",
                "rule of the firewall is missing: `forward: ct status dnat drop`",
            ),
            (
                "nft delete table inet berth",
                "firewall is missing: `table inet berth`",
            ),
            (
                "echo 'tcp 9999' >> /var/lib/berth/node-1/.ports",
                "declared ports of the node is `tcp 26656, tcp 9999`, not `tcp 26656`",
            ),
        ];
        for (command, expected) in table {
            is_right(&session, &deployment).await;
            world.root(command);
            let all = told(&session, &deployment).await;
            assert!(all.contains(&expected.to_owned()), "{command}: {all:#?}");
            firewall(&session, &deployment).await;
        }
        is_right(&session, &deployment).await;

        world.root("kill $(cat /var/run/docker.pid); while pgrep -x dockerd; do sleep 0.1; done");
        let all = told(&session, &deployment).await;
        assert_eq!(all, ["Docker is `silent`, not `answering`"]);
    });
}
