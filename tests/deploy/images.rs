//! The images of the roles, made of the executables that are tested here.

use berth_rig::TemporaryRig;
use berth_rig::images::{self, ImageDirs};
use berth_tests::{program, repository};
use std::path::{Path, PathBuf};

/// How an image is run on a cluster: it may do and write nothing.
const CONFINED: [&str; 6] = [
    "docker",
    "run",
    "--rm",
    "--read-only",
    "--network=none",
    "--cap-drop=ALL",
];

#[test]
fn the_images_of_the_roles_start_as_nobody_on_a_root_that_they_cannot_write_to() {
    let dirs = ImageDirs {
        sources: repository().join("deploy/images"),
        out: Path::new(env!("CARGO_TARGET_TMPDIR")).join("role-images"),
        cache: PathBuf::from(std::env::var_os("BERTH_CACHE").unwrap()),
        bin: program("berth").parent().unwrap().to_owned(),
    };
    let built = images::build(&dirs, &[], &|_| ()).unwrap();
    let rig = TemporaryRig::open().unwrap();
    let machine = rig.add("m1").unwrap();
    for role in ["berth", "berth-signer"] {
        let image = built.iter().find(|image| image.name == role).unwrap();
        images::load(&machine, &image.layout).unwrap();
        let name = format!("berth/{role}");
        let run = |words: &[&str]| machine.run(&[&CONFINED, words].concat()).unwrap();
        let version = run(&[&name, "--version"]);
        assert!(version.starts_with(&format!("{role} ")), "{version}");
        let user = run(&["--entrypoint=id", &name, "-u"]);
        assert_eq!(user.trim(), "65532", "{role}");
    }
}
