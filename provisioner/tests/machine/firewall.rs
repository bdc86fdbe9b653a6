//! The firewall, tried from outside.

use crate::harness::{World, deployment, with_machine};
use berth_provisioner::Session;
use berth_provisioner::firewall::{PortRule, open_ports};
use berth_provisioner::spec::{PlacementRef, Protocol};
use futures::future::join_all;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Whether the greeting of the container comes, on a busy computer.
async fn answers(world: &World, port: u16) -> bool {
    for _ in 0..15 {
        if dial(world, port).await {
            return true;
        }
    }
    false
}

/// What a dialler gets: the greeting of the container, or nothing.
async fn dial(world: &World, port: u16) -> bool {
    let address = SocketAddr::new(world.machine.address().ip(), port);
    greeting(address).await
}

async fn greeting(address: SocketAddr) -> bool {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(text == "hello\n")
    };
    matches!(timeout(Duration::from_secs(2), talk).await, Ok(Ok(true)))
}

/// Starts the tests' container and waits until it answers on the machine itself.
async fn start(world: &World, session: &Session) {
    let (image, _) = world.layout();
    let deployment = deployment(1, &image);
    world.deliver(session, &deployment).await;
    let spec = &deployment.containers[0];
    session
        .ensure_container(&deployment.placement, spec, &deployment.network)
        .await
        .unwrap();
    session
        .start(&deployment.placement, &spec.name)
        .await
        .unwrap();
    world.root(
        "for port in 26656 26657; do
           timeout 60 bash -c \"until grep -q hello </dev/tcp/127.0.0.1/$port; do sleep 0.05; done\"
         done",
    );
}

#[test]
fn from_outside_only_open_ports_answer() {
    with_machine(async |world| {
        let session = world.session().await;
        start(&world, &session).await;
        // Something that the supplier publishes by hand, past the usual input rules.
        let id = world.root("docker inspect -f '{{.Image}}' berth-1-node");
        world.root(&format!(
            "docker run -d -p 8080:8080 --entrypoint /bin/perl {} -MIO::Socket::INET -e '
               my $s = IO::Socket::INET->new(LocalPort => 8080, Listen => 5);
               while (my $c = $s->accept) {{ print $c \"hello\\n\"; close $c }}'
             timeout 60 bash -c 'until grep -q hello </dev/tcp/127.0.0.1/8080; do sleep 0.05; done'",
            id.trim()
        ));
        assert!(answers(&world, 8080).await, "open before");

        let (image, _) = world.layout();
        let deployment = deployment(1, &image);
        let mut open = open_ports(&deployment);
        assert_eq!(open.len(), 1);
        open.push(PortRule {
            port: 26_661,
            protocol: Protocol::Tcp,
        });
        for _ in 0..2 {
            session
                .apply_firewall(&deployment.placement, &open)
                .await
                .unwrap();
            assert!(answers(&world, 26656).await, "a peer port is open");
            let closed = [26657, 26660, 8080].map(|port| dial(&world, port));
            assert_eq!(join_all(closed).await, [false; 3]);
        }
        // A neighbour on the same wire may send straight to the container.
        let inside = world.root(
            "docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' berth-1-node",
        );
        let inside: IpAddr = inside.trim().parse().unwrap();
        let via = world.machine.address().ip();
        let route = std::process::Command::new("ip")
            .args([
                "route",
                "add",
                &format!("{inside}/32"),
                "via",
                &via.to_string(),
            ])
            .status();
        assert!(route.unwrap().success());
        let direct = [26656, 26657, 26660].map(|port| greeting(SocketAddr::new(inside, port)));
        assert_eq!(join_all(direct).await, [false; 3]);
        // The container gets out, but not to the machine's own sshd; we still get in.
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let out = listener.local_addr().unwrap().port();
        let us = world.root("ip -4 route show default | cut -d' ' -f3");
        for (host, port, wanted) in [(us.trim(), out, 0), (&via.to_string(), 22, 1)] {
            let connect = format!(
                "use IO::Socket::INET; exit !IO::Socket::INET->new(
                   PeerAddr => '{host}', PeerPort => {port}, Timeout => 2)"
            );
            let command = ["/bin/perl", "-e", &connect];
            let done = session.container_exec("berth-1-node", &command, &[]).await;
            assert_eq!(done.unwrap().status, wanted, "{host}:{port}");
        }
        world.machines.forget("machine-1").await;
        world.session().await;
    });
}

#[test]
fn two_nodes_of_a_machine_keep_their_ports() {
    with_machine(async |world| {
        let session = world.session().await;
        let node = |number: u16| PlacementRef {
            node_id: format!("node-{number}"),
            placement_id: format!("placement-{number}"),
            fence: 1,
        };
        let rule = |port| PortRule {
            port,
            protocol: Protocol::Udp,
        };
        let nodes = (1..=4).map(|n| {
            let session = session.clone();
            async move { session.apply_firewall(&node(n), &[rule(n)]).await }
        });
        for applied in join_all(nodes).await {
            applied.unwrap();
        }
        let open = "nft list chain inet berth input | sed -n 's/.*udp ct original proto-dst //p'";
        assert_eq!(world.root(open), "1 accept\n2 accept\n3 accept\n4 accept\n");
        session.wipe_placement(&node(2)).await.unwrap();
        assert_eq!(world.root(open), "1 accept\n3 accept\n4 accept\n");
        let other = world.root("nft list tables");
        assert!(
            other.contains("table ip nat"),
            "Docker's own rules stand: {other}"
        );
    });
}
