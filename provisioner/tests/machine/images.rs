//! Images, and the tiny one that the tests run.

use crate::harness::{World, placement, with_machine};
use berth_provisioner::Error;
use berth_provisioner::images::ImageSource;
use berth_provisioner::images::layout::Layout;
use berth_provisioner::spec::ImageRef;
use berth_rig::Registry;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

/// Programs of the tests' image, from this system.
const PROGRAMS: [&str; 6] = ["sh", "cat", "id", "perl", "sleep", "touch"];

/// Makes an OCI layout with one image of a few programs of this system.
pub(crate) fn make_layout(dir: &Path) -> ImageRef {
    let root = dir.with_extension("root");
    let script = format!(
        "set -e; mkdir -p {root}/bin {root}/usr/lib; cd {root}
         for p in {programs}; do f=$(command -v $p); cp -L $f bin/; echo $f; done |
           xargs ldd | grep -o '/[^ )]*' | grep -v ':$' | sort -u |
           while read -r lib; do mkdir -p .$(dirname $lib); cp -L $lib .$lib; done
         cp -aL --parents /usr/lib/*/perl-base .
         tar --owner 0 --group 0 --mode a+rX --mtime @0 --sort name -cf {root}.tar .",
        root = root.display(),
        programs = PROGRAMS.join(" "),
    );
    let made = Command::new("sh").arg("-c").arg(script).status();
    assert!(made.unwrap().success());
    let layer = fs::read(root.with_extension("root.tar")).unwrap();
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let diff = digest(&layer);
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": arch, "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [diff] },
    });
    let config = add(dir, "config", config.to_string().as_bytes());
    let layer = add(dir, "layer", &layer);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": with_type(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [with_type(layer, "application/vnd.oci.image.layer.v1.tar")],
    });
    let manifest = add(dir, "manifest", manifest.to_string().as_bytes());
    let digest = manifest["digest"].as_str().unwrap().to_owned();
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    ImageRef {
        repository: "registry.invalid/berth/tiny".to_owned(),
        tag: "test".to_owned(),
        digest,
    }
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{hex}")
}

fn add(dir: &Path, _kind: &str, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    let path = dir.join("blobs").join(digest.replace(':', "/"));
    fs::write(path, bytes).unwrap();
    json!({ "digest": digest, "size": bytes.len() })
}

fn with_type(mut descriptor: Value, kind: &str) -> Value {
    descriptor["mediaType"] = kind.into();
    descriptor
}

/// A registry that holds the tests' image, and that the machine trusts; with
/// the image as it is there, and its layout.
fn with_registry(world: &World) -> (Registry, ImageRef, ImageSource) {
    let registry = Registry::start(&world.dir.path().join("registry"), world.here).unwrap();
    let (image, [layout]) = world.layout();
    registry
        .push(&world.dir.path().join("layout"), "berth/tiny", &image.tag)
        .unwrap();
    let trust = format!(
        "mkdir -p /etc/docker/certs.d/{host} && cat > /etc/docker/certs.d/{host}/ca.crt <<'END'\n{ca}\nEND",
        host = registry.host(),
        ca = fs::read_to_string(registry.ca()).unwrap(),
    );
    world.root(&trust);
    let image = ImageRef {
        repository: format!("{}/berth/tiny", registry.host()),
        ..image
    };
    (registry, image, layout)
}

#[test]
fn an_image_comes_by_digest_straight_from_a_registry_that_the_machine_trusts() {
    with_machine(async |world| {
        let session = world.session().await;
        let (_registry, image, _) = with_registry(&world);
        let told = Mutex::new(Vec::new());
        session
            .ensure_image(
                &placement(1),
                &image,
                &[ImageSource::Registry],
                |percent, _| {
                    told.lock().unwrap().push(percent);
                },
            )
            .await
            .unwrap();
        let told = told.into_inner().unwrap();
        assert!(told.is_sorted() && told.ends_with(&[99, 100]), "{told:?}");
        let images = world.root("docker images --digests --no-trunc");
        let [repository, digest] = [&image.repository, &image.digest];
        assert!(
            images.contains(repository) && images.contains(digest),
            "{images}"
        );
    });
}

#[test]
fn what_a_registry_does_not_have_or_falsifies_or_cannot_send_comes_from_us() {
    with_machine(async |world| {
        let session = world.session().await;
        let (registry, image, layout) = with_registry(&world);
        let unknown = ImageRef {
            digest: digest(b"something else"),
            ..image.clone()
        };
        registry.falsify(&image.digest).unwrap();
        let whose = placement(1);
        for wrong in [&unknown, &image] {
            let refused = session.ensure_image(&whose, wrong, &[ImageSource::Registry], |_, _| ());
            let refused = refused.await;
            assert!(matches!(refused, Err(Error::NoImage { .. })), "{refused:?}");
            assert_eq!(world.root("docker images --all --quiet"), "");
        }

        let sources = [ImageSource::Registry, layout];
        session
            .ensure_image(&placement(1), &image, &sources, |_, _| ())
            .await
            .unwrap();
        world.root("docker rmi --force $(docker images --all --quiet)");
        drop(registry);
        session
            .ensure_image(&placement(1), &image, &sources, |_, _| ())
            .await
            .unwrap();
    });
}

#[test]
fn an_image_comes_through_the_session_and_is_found_the_second_time() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, sources) = world.layout();
        let told = Mutex::new(Vec::new());
        let progress = |percent: u8, _: &str| told.lock().unwrap().push(percent);
        session
            .ensure_image(&placement(1), &image, &sources, progress)
            .await
            .unwrap();
        let first = std::mem::take(&mut *told.lock().unwrap());
        assert!(first.is_sorted() && first.ends_with(&[100]), "{first:?}");

        session
            .ensure_image(&placement(1), &image, &sources, progress)
            .await
            .unwrap();
        assert_eq!(*told.lock().unwrap(), [100]);

        let images = world.root("docker images --digests --no-trunc");
        assert!(images.contains(&image.digest), "{images}");
        // Nothing is offered any more.
        let listening = world.root("ss -Hltn src 127.0.0.1");
        assert!(!listening.contains("127.0.0.1:"), "{listening}");
    });
}

#[test]
fn the_next_source_is_tried_when_the_registry_cannot_be_reached() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, [layout]) = world.layout();
        let whose = placement(1);
        let none = session.ensure_image(&whose, &image, &[ImageSource::Registry], |_, _| ());
        assert!(matches!(none.await, Err(Error::NoImage { .. })));
        let sources = [ImageSource::Registry, layout];
        session
            .ensure_image(&placement(1), &image, &sources, |_, _| ())
            .await
            .unwrap();
    });
}

#[test]
fn an_image_that_finds_no_room_comes_once_there_is_some() {
    with_machine(async |world| {
        // Docker's folder becomes a disk of a size that can be changed.
        world.root(
            "pid=$(pgrep -x dockerd); cp /proc/$pid/cmdline /run/dockerd.words
             kill $pid; while kill -0 $pid 2>/dev/null; do sleep 0.05; done
             mount -t tmpfs -o size=4m tmpfs /var/lib/docker
             xargs -0 setsid --fork < /run/dockerd.words >> /var/log/dockerd.log 2>&1
             until docker version >/dev/null 2>&1; do sleep 0.05; done",
        );
        let session = world.session().await;
        let (image, sources) = world.layout();
        let full = session
            .ensure_image(&placement(1), &image, &sources, |_, _| ())
            .await;
        assert!(matches!(full, Err(Error::NoSpace { .. })), "{full:?}");
        assert_eq!(world.root("docker images --all --quiet"), "");

        world.root("mount -o remount,size=200m /var/lib/docker");
        session
            .ensure_image(&placement(1), &image, &sources, |_, _| ())
            .await
            .unwrap();
    });
}

#[test]
fn only_the_parts_of_the_image_can_be_fetched_while_it_is_offered() {
    with_machine(async |world| {
        let session = world.session().await;
        let (image, sources) = world.layout();
        let layout = world.dir.path().join("layout");
        let other = add(&layout, "other", b"not part of the image");
        let other = other["digest"].as_str().unwrap();
        // A thief on the machine asks for something else while Docker pulls. On a
        // busy computer the pull may end before the thief has asked for all.
        let thief = format!(
            "for i in $(seq 200); do
               for port in $(ss -Hltn src 127.0.0.1 | sed 's/.*127.0.0.1:\\([0-9]*\\) .*/\\1/'); do
                 for path in v2/ v2/x/blobs/{other} v2/_catalog v2/x/manifests/test v2/x/blobs/{}; do
                   echo $path $(curl -sm2 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:$port/$path)
                 done; exit
               done; sleep 0.01
             done",
            image.digest,
        );
        for _ in 0..20 {
            world.root("docker images --quiet | xargs --no-run-if-empty docker rmi --force");
            let thief = world.machine.command("sh").map(|mut command| {
                command.args(["-c", &thief]);
                std::thread::spawn(move || command.output().unwrap())
            });
            session
                .ensure_image(&placement(1), &image, &sources, |_, _| ())
                .await
                .unwrap();
            let got = thief.unwrap().join().unwrap();
            let got = String::from_utf8(got.stdout).unwrap();
            let codes: Vec<&str> = got.lines().filter_map(|l| l.split(' ').nth(1)).collect();
            if codes.len() == 5 && !codes.contains(&"000") {
                assert_eq!(codes, ["200", "404", "404", "404", "404"], "{got}");
                return;
            }
        }
        panic!("the thief was never in time");
    });
}

#[test]
fn a_layout_that_was_tampered_with_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let image = make_layout(&layout);
    let names: Vec<String> = Layout::open(&layout)
        .unwrap()
        .images()
        .unwrap()
        .into_iter()
        .map(|i| i.digest)
        .collect();
    assert_eq!(names, [image.digest.as_str()]);
    with_machine(async |world| {
        let session = world.session().await;
        let blob = layout.join("blobs").join(image.digest.replace(':', "/"));
        let good = fs::read(&blob).unwrap();
        fs::write(&blob, [&good[..], b" "].concat()).unwrap();
        let sources = [ImageSource::Layout(layout.clone())];
        let refused = session
            .ensure_image(&placement(1), &image, &sources, |_, _| ())
            .await;
        assert!(
            matches!(refused, Err(Error::DigestMismatch { .. })),
            "{refused:?}"
        );

        // A layer of the right size and other contents is found out by Docker.
        fs::write(&blob, &good).unwrap();
        let manifest: Value = serde_json::from_slice(&good).unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap();
        let layer = layout.join("blobs").join(layer.replace(':', "/"));
        let mut bytes = fs::read(&layer).unwrap();
        let last = bytes.len() / 2;
        bytes[last] ^= 1;
        fs::write(&layer, bytes).unwrap();
        let refused = session
            .ensure_image(&placement(1), &image, &sources, |_, _| ())
            .await;
        assert!(matches!(refused, Err(Error::NoImage { .. })), "{refused:?}");
        assert!(
            !world
                .root("docker images --digests")
                .contains(&image.digest)
        );
    });
}
