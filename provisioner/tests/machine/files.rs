//! Delivered files and secrets.

use crate::harness::{deployment, placement, with_machine};
use berth_provisioner::Error;
use berth_provisioner::spec::{DirSpec, FileSpec, Mount, MountSource};
use futures::StreamExt;

const SENTINEL: &str = "berth-sentinel-5f2c9d";
const PATH: &str = "/run/berth/placement-1/node/key";

fn secret(contents: &str) -> FileSpec {
    FileSpec {
        path: PATH.to_owned(),
        mode: 0o400,
        uid: 1025,
        gid: 1025,
        contents: contents.as_bytes().to_vec(),
    }
}

#[test]
fn a_file_is_replaced_whole_and_left_alone_when_it_is_the_same() {
    with_machine(async |world| {
        let session = world.session().await;
        let inode = || world.root(&format!("stat -c %i:%a:%u:%g {PATH}"));
        session
            .put_files(&placement(1), &[secret("one")])
            .await
            .unwrap();
        let first = inode();
        assert!(first.ends_with(":400:1025:1025\n"), "{first}");
        session
            .put_files(&placement(1), &[secret("one")])
            .await
            .unwrap();
        assert_eq!(inode(), first);
        session
            .put_files(&placement(1), &[secret("two")])
            .await
            .unwrap();
        assert_ne!(inode(), first);
        assert_eq!(world.root(&format!("cat {PATH}")), "two");
        assert_eq!(world.root("find /run/berth -name '.berth.*' -type f"), "");

        let out = FileSpec {
            path: "/etc/cron.d/x".to_owned(),
            ..secret("x")
        };
        let refused = session.put_files(&placement(1), &[out]).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })));
    });
}

#[test]
fn a_folder_gets_its_owner_and_a_large_file_arrives() {
    with_machine(async |world| {
        let session = world.session().await;
        let dir = DirSpec {
            path: "/run/berth/placement-1/agent".to_owned(),
            mode: 0o700,
            uid: 1026,
            gid: 1026,
        };
        session.make_dirs(&placement(1), &[dir]).await.unwrap();
        let made =
            world.root("stat -c %a:%u:%g /run/berth/placement-1/agent /run/berth/placement-1");
        assert_eq!(made, "700:1026:1026\n700:0:0\n");

        let genesis = FileSpec {
            path: "/var/lib/berth/node-1/config/genesis.json".to_owned(),
            mode: 0o444,
            contents: vec![b'g'; 20 << 20],
            ..secret("")
        };
        session.put_files(&placement(1), &[genesis]).await.unwrap();
        let size = world.root("stat -c %s /var/lib/berth/node-1/config/genesis.json");
        assert_eq!(size.trim(), (20 << 20).to_string());
    });
}

#[test]
fn a_secret_is_in_the_container_and_nowhere_else() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, _) = world.layout();
        let mut deployment = deployment(1, &image);
        let spec = &mut deployment.containers[0];
        spec.mounts.push(Mount {
            source: MountSource::Path(PATH.to_owned()),
            target: "/secrets/key".to_owned(),
            read_only: true,
        });
        let spec = spec.clone();
        world.root("docker events --format '{{json .}}' >/var/log/events 2>&1 &");
        world.deliver(&session, &deployment).await;
        session
            .put_files(&deployment.placement, &[secret(SENTINEL)])
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

        let read = session
            .container_exec(&spec.name, &["/bin/cat", "/secrets/key"], &[])
            .await
            .unwrap();
        assert_eq!(read.stdout, SENTINEL.as_bytes());
        let spoilt = session
            .container_exec(&spec.name, &["/bin/sh", "-c", "echo x > /secrets/key"], &[])
            .await
            .unwrap();
        assert_ne!(spoilt.status, 0);

        let log = session.logs(
            &spec.name,
            berth_provisioner::docker::LogQuery {
                tail: 100,
                since: None,
                follow: false,
                max_line: 1000,
            },
        );
        let lines: Vec<_> = log.await.unwrap().collect().await;
        assert!(!format!("{lines:?}").contains(SENTINEL));
        // The pattern is read from the file, so that no command line holds it.
        let everywhere = world.root(&format!(
            "image=$(docker inspect -f '{{{{.Image}}}}' {name})
             {{ docker inspect {name}; docker image inspect $image; cat /var/log/events;
               docker export {name}; docker logs {name}; cat /var/log/*.log
               for p in /proc/[0-9]*; do cat $p/environ $p/cmdline; done
               find /var/lib/docker /var/lib/berth /etc /var/log /home /root -type f -exec cat {{}} +
             }} 2>/dev/null | grep -acFf {PATH} || true",
            name = spec.name,
        ));
        assert_eq!(everywhere, "0\n");
        // The search finds what is there.
        world.root(&format!("cp {PATH} /var/log/leak"));
        let found = world.root(&format!("cat /var/log/* 2>/dev/null | grep -acFf {PATH}"));
        assert_eq!(found, "1\n");
    });
}
