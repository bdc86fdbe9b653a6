//! How many random 4 KiB reads and flushed writes a disk does in a second.
//!
//! No tool is brought to the machine: perl is part of every Debian and Ubuntu
//! (`perl-base` is essential) and can do aligned direct I/O from many
//! processes, which a loop around `dd` cannot. The test takes under two
//! seconds and moves at most 64 MiB each way in a file of 64 MiB; a drive's own
//! cache can flatter it, and sixteen processes are its queue depth.

use crate::error::{Error, Result};
use crate::ssh::{Exec, Session, quote};
use std::time::Duration;

/// Arguments: folder.
const TEST: &str = r#"
use strict; use warnings; use Fcntl; use Time::HiRes qw(time);
my $dir = shift or die "no folder\n";
my ($block, $blocks, $workers, $seconds, $most) = (4096, 16384, 16, 0.6, 1024);
my $path = "$dir/.berth-disk-test-$$";
my $owner = $$;
END { unlink $path if defined $owner && $$ == $owner }
$SIG{$_} = sub { exit 1 } for qw(TERM INT HUP ALRM);
alarm 20;

# Direct I/O wants memory aligned to a page: look where perl put it.
open my $random, '<', '/dev/urandom' or die "$!\n";
my $memory = "\0" x ($block * 257);
sysread $random, $memory, $block * 257;
my $aligned = -unpack('J', pack('p', $memory)) % $block;

my $direct = 1;
sub file {
    my ($flags) = @_;
    my $file;
    return $file if $direct && sysopen $file, $path, $flags | O_DIRECT, 0600;
    $direct = 0;
    sysopen $file, $path, $flags, 0600 or die "open: $!\n";
    return $file;
}

my $file = file(O_WRONLY | O_CREAT);
for (1 .. $blocks / 256) {
    defined syswrite($file, $memory, $block * 256, $aligned) or die "write: $!\n";
}
close $file;

sub rate {
    my ($flags, $act) = @_;
    my @results;
    for (1 .. $workers) {
        pipe(my $in, my $out) or die "pipe: $!\n";
        defined(my $child = fork) or die "fork: $!\n";
        if (!$child) {
            srand($$);
            my $file = file($flags);
            my ($count, $begin) = (0, time);
            while ($count < $most && time - $begin < $seconds) {
                sysseek $file, int(rand $blocks) * $block, 0;
                $act->($file) == $block or exit 1;
                $count++;
            }
            syswrite $out, $count / (time - $begin + 1e-6);
            exit 0;
        }
        close $out;
        push @results, $in;
    }
    my $sum = 0;
    for my $in (@results) { my $rate = <$in>; die "a worker failed\n" unless $rate; $sum += $rate }
    1 while wait != -1;
    return int $sum;
}

my $read = $direct ? rate(O_RDONLY, sub { sysread $_[0], $memory, $block, $aligned }) : 0;
my $write = rate(O_WRONLY | O_DSYNC, sub { syswrite $_[0], $memory, $block, $aligned });
print "$read $write\n";
"#;

impl Session {
    /// Reads and writes a second; zeros where it cannot be measured.
    pub(super) async fn disk_speed(&self, folder: &str) -> Result<(u32, u32)> {
        self.effect("test disk")?;
        let script = format!("perl - {}", quote(folder));
        let tested = self
            .root(Exec {
                stdin: TEST.as_bytes(),
                timeout: Duration::from_secs(30),
                ..Exec::new("testing the disk", &script)
            })
            .await;
        match tested {
            Ok(printed) => parse(&String::from_utf8_lossy(&printed)),
            Err(Error::Command { message, .. }) => {
                tracing::info!(machine_id = self.machine_id(), message, "disk not measured");
                Ok((0, 0))
            }
            Err(error) => Err(error),
        }
    }
}

fn parse(text: &str) -> Result<(u32, u32)> {
    let numbers = text.trim().split_once(' ');
    match numbers.map(|(read, write)| (read.parse(), write.parse())) {
        Some((Ok(read), Ok(write))) => Ok((read, write)),
        _ => Err(Error::answer("testing the disk", "expected two numbers")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_numbers_are_a_result() {
        assert_eq!(parse("51000 9000\n").unwrap(), (51_000, 9_000));
        for bad in ["", "1", "-1 2", "1 2 3", "99999999999 1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
