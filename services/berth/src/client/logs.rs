//! `berth node logs`: a container's log, every line once, whatever becomes of the
//! connection.

use super::again::Again;
use super::node::Client;
use berth_proto::provisioning::v1 as pb;
use clap::Args;
use prost_types::Timestamp;

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  berth node logs n1 --component node --tail 20 --follow")]
pub(crate) struct Logs {
    /// Name or id
    node: String,
    /// Which container; the chain's first when absent
    #[arg(long, default_value = "")]
    component: String,
    /// Only this many last lines
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i32).range(0..))]
    tail: i32,
    /// Go on as lines come
    #[arg(long, short)]
    follow: bool,
}

pub(super) async fn run(client: &mut Client, arguments: Logs) -> anyhow::Result<()> {
    let mut request = pb::StreamNodeLogsRequest {
        node_id: arguments.node,
        component: arguments.component,
        tail: arguments.tail,
        follow: arguments.follow,
        since: None,
    };
    if !arguments.follow {
        let mut stream = client.stream_node_logs(request).await?.into_inner();
        while let Some(answer) = stream.message().await? {
            println!("{}", printable(&answer.line));
        }
        return Ok(());
    }
    let mut again = Again::new();
    let mut seen = Seen::default();
    loop {
        let ask = || {
            let (mut client, request) = (client.clone(), request.clone());
            async move { client.stream_node_logs(request).await }
        };
        let is_new = |answer: &pb::StreamNodeLogsResponse, anew| seen.is_new(anew, answer.time);
        let Some(answer) = again.next(ask, is_new).await? else {
            return Ok(());
        };
        println!("{}", printable(&answer.line));
        if let Some(last) = seen.last {
            (request.since, request.tail) = (Some(last), 0);
        }
    }
}

/// The newest time of the lines that came, and how many have it: a log that is asked
/// for since then begins with them.
#[derive(Debug, Default)]
struct Seen {
    last: Option<Timestamp>,
    with_it: usize,
    /// How many of them come once more.
    again: usize,
}

impl Seen {
    /// Whether a line has not come before; `anew` in the first of a stream.
    fn is_new(&mut self, anew: bool, time: Option<Timestamp>) -> bool {
        if anew {
            self.again = self.with_it;
        }
        let Some(time) = time else { return true };
        let order = |time: &Timestamp| (time.seconds, time.nanos);
        let newest = self.last.as_ref().map(order);
        if newest.is_none_or(|newest| order(&time) > newest) {
            *self = Self {
                last: Some(time),
                with_it: 1,
                again: 0,
            };
        } else if newest == Some(order(&time)) {
            if self.again > 0 {
                self.again -= 1;
                return false;
            }
            self.with_it += 1;
        }
        true
    }
}

/// The line comes from a machine that is not ours: no control sequence of it
/// reaches the terminal.
fn printable(line: &str) -> String {
    line.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times of lines, a stream after the other, with what is shown of them.
    fn shown(streams: &[&[i32]]) -> Vec<Vec<bool>> {
        let mut seen = Seen::default();
        let stream = |times: &&[i32]| {
            let times = times.iter().enumerate();
            let time = |nanos| Timestamp { seconds: 7, nanos };
            times
                .map(|(at, &nanos)| seen.is_new(at == 0, Some(time(nanos))))
                .collect()
        };
        streams.iter().map(stream).collect()
    }

    #[test]
    fn a_log_that_is_taken_up_again_shows_each_line_once() {
        let all = shown(&[&[1, 2, 2], &[2, 2, 2, 3], &[3], &[3, 4]]);
        assert_eq!(all[0], [true; 3]);
        assert_eq!(all[1], [false, false, true, true], "one more came in time");
        assert_eq!(all[2], [false]);
        assert_eq!(all[3], [false, true]);
    }

    #[test]
    fn lines_of_two_streams_that_overtook_each_other_are_shown() {
        assert_eq!(shown(&[&[5, 4, 5], &[5, 5, 6]])[0], [true; 3]);
        assert_eq!(shown(&[&[5, 4, 5], &[5, 5, 6]])[1], [false, false, true]);
    }

    #[test]
    fn a_line_without_a_time_is_shown() {
        let mut seen = Seen::default();
        assert!(seen.is_new(true, None) && seen.is_new(true, None));
    }
}
