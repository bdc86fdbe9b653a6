//! Wiping.

use crate::harness::{deployment, placement, with_machine};
use berth_provisioner::firewall::open_ports;
use berth_provisioner::spec::{FileSpec, PlacementRef};

/// What a machine has that a wipe must take away.
const INVENTORY: &str = "docker ps -aq; docker volume ls -q; docker network ls -q \
    --filter type=custom; docker images -aq; find /run/berth /var/lib/berth -mindepth 1; \
    nft list table inet berth 2>/dev/null; true";

#[test]
fn a_wiped_machine_is_as_it_was() {
    with_machine(async |world| {
        let session = world.session().await;
        assert_eq!(world.root(INVENTORY), "");
        let (image, _) = world.layout();
        let mut deployment = deployment(1, &image);
        deployment.files = vec![FileSpec {
            path: "/var/lib/berth/node-1/config/app.toml".to_owned(),
            mode: 0o444,
            uid: 0,
            gid: 0,
            contents: b"x = 1".to_vec(),
        }];
        let secret = FileSpec {
            path: "/run/berth/placement-1/key".to_owned(),
            ..deployment.files[0].clone()
        };
        let spec = deployment.containers[0].clone();
        let build = async || {
            world.deliver(&session, &deployment).await;
            session
                .put_files(&deployment.placement, std::slice::from_ref(&secret))
                .await
                .unwrap();
            session
                .ensure_container(&deployment.placement, &spec, &deployment.network)
                .await
                .unwrap();
            session
                .start(&deployment.placement, &spec.name)
                .await
                .unwrap();
            let open = open_ports(&deployment);
            session
                .apply_firewall(&deployment.placement, &open)
                .await
                .unwrap();
        };

        build().await;
        let report = session.wipe_machine().await.unwrap();
        assert_eq!(report.containers, [spec.name.as_str()]);
        assert_eq!(report.volumes, deployment.volumes);
        assert_eq!(report.networks, [deployment.network.clone()]);
        assert_eq!(report.images, [image.digest.as_str()]);
        assert!(report.files >= 2);
        assert_eq!(world.root(INVENTORY), "");
        assert_eq!(session.wipe_machine().await.unwrap(), Default::default());

        // One placement of two.
        build().await;
        let neighbour = PlacementRef {
            node_id: "node-2".to_owned(),
            placement_id: "placement-9".to_owned(),
            fence: 1,
        };
        let theirs = FileSpec {
            path: "/run/berth/placement-9/key".to_owned(),
            ..secret.clone()
        };
        session.put_files(&neighbour, &[theirs]).await.unwrap();
        let older = FileSpec {
            path: "/run/berth/placement-0/key".to_owned(),
            ..secret.clone()
        };
        session.put_files(&placement(0), &[older]).await.unwrap();
        let report = session.wipe_placement(&deployment.placement).await.unwrap();
        assert_eq!(world.root("ls /run/berth"), "placement-9\n");
        assert_eq!(report.containers, [spec.name.as_str()]);
        assert_eq!(report.images, [image.digest.as_str()]);
        let left = session.observe(&deployment.placement).await.unwrap();
        assert_eq!(left, Default::default());
        assert_eq!(world.root("cat /run/berth/placement-9/key"), "x = 1");
        session.wipe_placement(&deployment.placement).await.unwrap();
    });
}

#[test]
fn what_is_not_ours_survives_a_wipe() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, sources) = world.layout();
        session
            .ensure_image(&placement(1), &image, &sources, |_, _| ())
            .await
            .unwrap();
        world.root(
            "docker volume create theirs; docker network create theirs;
             docker create --name theirs $(docker images -q) /bin/true",
        );
        let report = session.wipe_machine().await.unwrap();
        assert_eq!(report, Default::default());
        let theirs = world.root("docker ps -a --format '{{.Names}}'; docker volume ls -q");
        assert_eq!(theirs, "theirs\ntheirs\n");
    });
}

/// Images, and what is noted of them.
const IMAGES: &str = "docker images -aq; ls -A /var/lib/berth/.brought";

#[test]
fn an_image_goes_with_the_last_node_that_it_was_brought_for() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, sources) = world.layout();
        let neighbour = PlacementRef {
            node_id: "node-2".to_owned(),
            placement_id: "placement-9".to_owned(),
            fence: 1,
        };
        let bring = async |whose: &PlacementRef| {
            let brought = session.ensure_image(whose, &image, &sources, |_, _| ());
            brought.await.unwrap();
        };
        // Neither comes to a container.
        bring(&placement(1)).await;
        bring(&neighbour).await;
        let report = session.wipe_placement(&placement(1)).await.unwrap();
        assert_eq!(report.images, [""; 0]);
        let report = session.wipe_placement(&neighbour).await.unwrap();
        assert_eq!(report.images, [image.digest.as_str()]);
        assert_eq!(world.root(IMAGES), "");

        // What another version needs is kept, and what it does not need goes.
        bring(&placement(1)).await;
        let mut deployment = deployment(1, &image);
        let pruned = session.prune_images(&deployment).await.unwrap();
        assert_eq!(pruned, [""; 0]);
        deployment.containers[0].image.digest = format!("sha256:{}", "0".repeat(64));
        bring(&neighbour).await;
        let pruned = session.prune_images(&deployment).await.unwrap();
        assert_eq!(pruned, [""; 0], "the neighbour has it");
        session.wipe_placement(&neighbour).await.unwrap();
        assert_eq!(world.root(IMAGES), "");
    });
}

#[test]
fn an_image_of_nodes_that_go_at_once_or_that_is_in_use_goes_in_the_end() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, sources) = world.layout();
        let neighbour = PlacementRef {
            node_id: "node-2".to_owned(),
            placement_id: "placement-9".to_owned(),
            fence: 1,
        };
        let bring = async |whose: &PlacementRef| {
            let brought = session.ensure_image(whose, &image, &sources, |_, _| ());
            brought.await.unwrap();
        };
        for _ in 0..3 {
            bring(&placement(1)).await;
            bring(&neighbour).await;
            let whose = placement(1);
            let (one, other) = tokio::try_join!(
                Box::pin(session.wipe_placement(&whose)),
                Box::pin(session.wipe_placement(&neighbour))
            )
            .unwrap();
            assert_eq!(one.images.len() + other.images.len(), 1);
            assert_eq!(world.root(IMAGES), "");
        }

        bring(&neighbour).await;
        world.root("docker create --name theirs $(docker images -q) true");
        let report = session.wipe_placement(&neighbour).await.unwrap();
        assert_eq!(report.images, [""; 0], "its owner uses it");
        world.root("docker rm theirs");
        let report = session.wipe_placement(&placement(1)).await.unwrap();
        assert_eq!(report.images, [image.digest.as_str()]);
        assert_eq!(world.root(IMAGES), "");
    });
}

#[test]
fn an_image_that_the_owner_had_before_stays() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, sources) = world.layout();
        let whose = placement(1);
        let bring = async || {
            let brought = session.ensure_image(&whose, &image, &sources, |_, _| ());
            brought.await.unwrap();
        };
        bring().await;
        world.root("rm -r /var/lib/berth/.brought");
        bring().await;
        session.wipe_placement(&placement(1)).await.unwrap();
        session.wipe_machine().await.unwrap();
        assert_ne!(world.root("docker images -aq"), "");
    });
}
