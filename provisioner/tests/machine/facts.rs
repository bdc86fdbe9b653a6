//! Facts and preparation.

use crate::harness::with_machine;
use berth_provisioner::prepare::Preparation;

#[test]
fn a_machine_is_measured() {
    with_machine(async |world| {
        let session = world.session().await;
        let facts = session.measure().await.unwrap();
        let cores = world.root("grep -c ^processor /proc/cpuinfo");
        assert_eq!(facts.cpu_cores.to_string(), cores.trim());
        assert!(!facts.cpu_model.is_empty() && !facts.cpu_flags.is_empty());
        assert!(facts.memory_bytes > 1 << 30);
        assert!(facts.os.starts_with("Debian") || !facts.os.is_empty());
        assert_eq!(facts.kernel, world.root("uname -r").trim());
        assert!(!facts.docker_version.is_empty());
        assert_eq!(facts.gpus, []);
        // One kernel, one clock: what is measured is the time a command takes.
        assert!(
            facts.clock_offset_ms.abs() < 2_000,
            "{}",
            facts.clock_offset_ms
        );

        let disk = &facts.disks[0];
        assert!(disk.size_bytes >= disk.free_bytes && disk.free_bytes > 0);
        assert!(disk.read_iops > 0 && disk.write_iops > 0, "{disk:?}");
        let left = world.root("find /var/lib/docker -maxdepth 1 -name '.berth*'");
        assert_eq!(left, "", "the test file is gone");

        let address = world.machine.address().ip().to_string();
        let nic = facts.nics.iter().find(|nic| nic.name == "eth0").unwrap();
        assert!(
            nic.addresses.iter().any(|a| a.starts_with(&address)),
            "{nic:?}"
        );
        assert!(facts.nics.iter().all(|nic| nic.name != "lo"));
    });
}

#[test]
fn a_prepared_machine_has_its_secrets_folder_in_memory() {
    with_machine(async |world| {
        let session = world.session().await;
        let wanted = Preparation {
            max_clock_offset_ms: 5_000,
        };
        let report = session.prepare(&wanted).await.unwrap();
        assert_eq!(report.installed, Vec::<String>::new());
        assert_eq!(
            session.prepare(&wanted).await.unwrap().installed,
            report.installed
        );
        let folder = world.root("stat -c %a:%u /run/berth; stat -f -c %T /run/berth");
        assert_eq!(folder, "700:0\ntmpfs\n");
    });
}
