//! A machine with a past: what another Berth left there is gone before anybody
//! can lease it, and what is its owner's stays.

use berth_tests::{Berth, Sight};

/// A node of another Berth, as far as it is Berth's, and a volume that is not.
const PAST: &str = "set -e
ours='--label dev.berth.node=node-of-another --label dev.berth.fence=7'
tar -c -C /etc hostname | docker import - theirs
docker network create $ours berth-old
docker volume create $ours berth-old
docker create $ours --name berth-old-node --network berth-old --volume berth-old:/data theirs /run
docker volume create theirs
mkdir -p /run/berth/placement-of-another /var/lib/berth/node-of-another
echo secret > /run/berth/placement-of-another/key
echo x > /var/lib/berth/node-of-another/app.toml
nft add table inet berth";

/// Enrolls it as its owner does.
pub(crate) fn is_wiped_before_it_is_available(berth: &Berth) {
    let computer = berth.rig().add("used").unwrap();
    computer.run(&["sh", "-c", PAST]).unwrap();
    let before = Sight::of(&computer);
    assert_eq!(before.containers, ["berth-old-node created"]);
    assert!(before.firewall && before.files.len() == 4, "{before:?}");

    let address = computer.address().to_string();
    let setup = berth.print(&[
        "machine",
        "enroll",
        "used",
        "--supplier",
        "demo",
        "--address",
        &address,
        "--host-key",
        computer.host_key(),
    ]);
    computer.run(&["sh", "-c", &setup]).unwrap();
    let verified = berth.run(&["machine", "verify", "used", "--wait"]);
    assert_eq!(verified["machine"]["status"]["state"], "STATE_AVAILABLE");
    let left = Sight {
        volumes: vec!["theirs".to_owned()],
        images: before.images,
        ..Sight::default()
    };
    assert_eq!(Sight::of(&computer), left);
}
