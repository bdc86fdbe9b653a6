//! HTTP calls to a container that publishes no port.

use crate::harness::{deployment, placement, with_machine};
use berth_provisioner::docker::{Answered, Call};
use berth_provisioner::{Error, Machines, PoolConfig};
use std::time::Duration;

/// Answers with what it was asked; never, or without end, where the path says so.
const SERVER: &str = r#"use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalPort => 26660, Listen => 5, ReuseAddr => 1) or die;
print qq(up\n); $SIG{TERM} = sub { exit 0 }; $SIG{PIPE} = 'IGNORE';
while (my $c = $s->accept) {
    my ($head, $length) = (scalar <$c>, 0);
    while (my $line = <$c>) { $length = $1 if $line =~ /^content-length: (\d+)/i; last if $line eq "\r\n" }
    read $c, my $body, $length;
    $head =~ s/ HTTP.*//s;
    if ($head =~ /silent/) { push @kept, $c; next }
    my $answer = $head =~ /endless/ ? 'x' x (2 << 20) : "$head $body";
    print $c "HTTP/1.1 201 Made\r\ncontent-length: " . length($answer) . "\r\n\r\n$answer";
    close $c;
}"#;

#[test]
fn a_container_of_the_placement_is_called_on_a_port_that_nobody_else_reaches() {
    with_machine(async |world| {
        let config = PoolConfig {
            call_timeout: Duration::from_secs(15),
            ..PoolConfig::default()
        };
        let machines = Machines::new(config, world.authority.clone()).unwrap();
        let (image, _) = world.layout();
        let mut deployment = deployment(1, &image);
        deployment.containers[0].command = ["-e", &format!("$| = 1; {SERVER}")]
            .map(str::to_owned)
            .to_vec();
        let session = world.session().await;
        world.deliver(&session, &deployment).await;
        let (whose, spec) = (&deployment.placement, &deployment.containers[0]);
        session
            .ensure_container(whose, spec, &deployment.network)
            .await
            .unwrap();
        let session = machines.session(&world.target).await.unwrap();
        let call = |path, body| Call {
            port: 26660,
            path,
            body,
        };
        let down = session.call(whose, &spec.name, call("/a", None)).await;
        assert!(matches!(down, Err(Error::NotReady(_))), "{down:?}");

        session.start(whose, &spec.name).await.unwrap();
        world.root(&format!(
            "until docker logs {} | grep -q up; do sleep 0.05; done",
            spec.name
        ));
        for (path, body, said) in [
            ("/a?b=c", None, "GET /a?b=c "),
            ("/d", Some("{}"), "POST /d {}"),
        ] {
            let answered = session.call(whose, &spec.name, call(path, body)).await;
            let expected = Answered {
                status: 201,
                body: said.as_bytes().to_vec(),
            };
            assert_eq!(answered.unwrap(), expected);
        }
        let other = session
            .call(&placement(2), &spec.name, call("/a", None))
            .await;
        assert!(matches!(other, Err(Error::NotOurs { .. })), "{other:?}");
        let endless = session
            .call(whose, &spec.name, call("/endless", None))
            .await;
        assert!(matches!(endless, Err(Error::Answer { .. })), "{endless:?}");
        let silent = session.call(whose, &spec.name, call("/silent", None)).await;
        assert!(matches!(silent, Err(Error::Timeout { .. })), "{silent:?}");
        let closed = Call {
            port: 26661,
            ..call("/a", None)
        };
        let closed = session.call(whose, &spec.name, closed).await;
        assert!(
            matches!(closed, Err(Error::Unreachable { .. })),
            "{closed:?}"
        );
    });
}
