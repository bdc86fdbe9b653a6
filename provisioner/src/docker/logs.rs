//! Log lines of a container, bounded however the machine frames them.

use super::engine::Engine;
use crate::error::{Error, Result, said};
use crate::harden;
use crate::ssh::Session;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::timeout;

const WHAT: &str = "read a log";
/// Most bytes that are read of a refusal.
const MAX_REFUSAL: usize = 64 << 10;
/// Longest time that the engine puts before a line, with the space after it.
const MAX_STAMP: usize = "2026-11-25T13:06:00.123456789+00:00 ".len();

/// Which log lines to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogQuery {
    /// This many last lines.
    pub tail: u32,
    /// Only lines of this time and later.
    pub since: Option<DateTime<Utc>>,
    /// Whether to go on as lines come.
    pub follow: bool,
    /// Longest line in bytes; the rest of a longer one is dropped.
    pub max_line: usize,
}

/// One line of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Whether it came on standard error.
    pub stderr: bool,
    /// When the engine took it, if it says so.
    pub time: Option<DateTime<Utc>>,
    /// Text without its end.
    pub text: String,
}

impl Session {
    /// Reads a container's log. The stream ends with the log, or with an error.
    ///
    /// # Errors
    ///
    /// [`Error::Docker`] when there is no such container.
    pub async fn logs(
        &self,
        name: &str,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine>>> {
        harden::check_name("the container's name", name)?;
        let engine = self.engine().await?;
        let limit = self.config().call_timeout;
        let body = self.within(WHAT, limit, open(engine, name, query)).await?;
        let reader = Reader {
            body,
            // A log that is followed may be silent; one that is there may not.
            silence: (!query.follow).then_some(self.config().stall_timeout),
            frames: Frames::new(query.max_line),
            ended: false,
        };
        Ok(stream::try_unfold(reader, Reader::next).boxed())
    }
}

async fn open(engine: &Engine, name: &str, query: LogQuery) -> Result<Incoming> {
    let LogQuery { tail, follow, .. } = query;
    let mut path = format!("/containers/{name}/logs?stdout=1&stderr=1&timestamps=1");
    path.push_str(&format!("&tail={tail}&follow={follow}"));
    if let Some(since) = query.since {
        let (seconds, nanos) = (since.timestamp(), since.timestamp_subsec_nanos());
        path.push_str(&format!("&since={seconds}.{nanos:09}"));
    }
    let answer = engine.stream(&path).await?;
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    let status = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), MAX_REFUSAL)
        .collect()
        .await;
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    Err(Error::Docker {
        what: WHAT,
        status: Some(status),
        message: said(&String::from_utf8_lossy(&text)),
    })
}

struct Reader {
    body: Incoming,
    silence: Option<Duration>,
    frames: Frames,
    ended: bool,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(LogLine, Self)>> {
        loop {
            if let Some(line) = self.frames.lines.pop_front() {
                return Ok(Some((line, self)));
            }
            if self.ended {
                return Ok(None);
            }
            match self.frame().await? {
                None => {
                    self.ended = true;
                    self.frames.end();
                }
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.frames.feed(&data);
                    }
                }
                Some(Err(_)) => return Err(Error::Lost { what: WHAT }),
            }
        }
    }
}

impl Reader {
    async fn frame(&mut self) -> Result<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = self.body.frame();
        let Some(limit) = self.silence else {
            return Ok(frame.await);
        };
        timeout(limit, frame).await.map_err(|_| Error::Timeout {
            what: WHAT,
            seconds: limit.as_secs(),
        })
    }
}

/// Takes Docker's frames apart: a header of 8 bytes (stream, three zeros,
/// length), then text.
struct Frames {
    header: Vec<u8>,
    left: u32,
    stderr: bool,
    out: Line,
    err: Line,
    max_line: usize,
    lines: VecDeque<LogLine>,
}

/// What came of a line that has not ended.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    open: bool,
}

impl Frames {
    fn new(max_line: usize) -> Self {
        Self {
            header: Vec::with_capacity(8),
            left: 0,
            stderr: false,
            out: Line::default(),
            err: Line::default(),
            max_line,
            lines: VecDeque::new(),
        }
    }

    fn feed(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left == 0 {
                let take = data.len().min(8 - self.header.len());
                self.header.extend_from_slice(&data[..take]);
                data = &data[take..];
                if let &[stream, _, _, _, a, b, c, d] = self.header.as_slice() {
                    self.stderr = stream == 2;
                    self.left = u32::from_be_bytes([a, b, c, d]);
                    self.header.clear();
                }
            } else {
                let take = data.len().min(self.left as usize);
                self.text(&data[..take]);
                data = &data[take..];
                // `take` is at most `left`.
                self.left -= u32::try_from(take).unwrap_or(self.left);
            }
        }
    }

    fn text(&mut self, text: &[u8]) {
        for piece in text.split_inclusive(|&b| b == b'\n') {
            let line = self.line();
            line.open = true;
            let (piece, ends) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            let room = self.max_line.saturating_add(MAX_STAMP);
            let room = room.saturating_sub(self.line().text.len());
            let piece = &piece[..piece.len().min(room)];
            self.line().text.extend_from_slice(piece);
            if ends {
                self.finish();
            }
        }
    }

    fn line(&mut self) -> &mut Line {
        if self.stderr {
            &mut self.err
        } else {
            &mut self.out
        }
    }

    fn finish(&mut self) {
        let stderr = self.stderr;
        let line = std::mem::take(self.line());
        let text = String::from_utf8_lossy(&line.text);
        let (time, text) = stamped(text.trim_end_matches('\r'));
        let end = text.floor_char_boundary(self.max_line);
        let text = text[..end].to_owned();
        self.lines.push_back(LogLine { stderr, time, text });
    }

    /// The log ended: what is left is a line too.
    fn end(&mut self) {
        for stderr in [false, true] {
            self.stderr = stderr;
            if self.line().open {
                self.finish();
            }
        }
    }
}

/// The lines of frames that come in these parts.
pub(crate) fn log_lines(parts: &[&[u8]], max_line: usize) -> Vec<LogLine> {
    let mut frames = Frames::new(max_line);
    for part in parts {
        frames.feed(part);
    }
    frames.end();
    frames.lines.into()
}

/// The time before a line and the line; all of it is the line where no time stands.
fn stamped(line: &str) -> (Option<DateTime<Utc>>, &str) {
    let (stamp, text) = line.split_once(' ').unwrap_or((line, ""));
    match DateTime::parse_from_rfc3339(stamp) {
        Ok(time) => (Some(time.to_utc()), text),
        Err(_) => (None, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(stream: u8, text: &[u8]) -> Bytes {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [&[stream, 0, 0, 0], &length[..], text].concat().into()
    }

    fn texts(frames: &Frames) -> Vec<&str> {
        frames.lines.iter().map(|l| l.text.as_str()).collect()
    }

    #[test]
    fn lines_of_both_streams_are_kept_apart() {
        let mut frames = Frames::new(100);
        for part in [frame(1, b"he"), frame(2, b"oops\n"), frame(1, b"llo\r\nla")] {
            frames.feed(&part);
        }
        frames.end();
        assert_eq!(texts(&frames), ["oops", "hello", "la"]);
        assert!(frames.lines[0].stderr && !frames.lines[1].stderr);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let mut frames = Frames::new(4);
        frames.feed(&frame(1, b"123456789"));
        frames.feed(&frame(1, b"123456789\nab\n"));
        assert_eq!(texts(&frames), ["1234", "ab"]);
    }

    #[test]
    fn the_engines_time_is_taken_from_a_line_and_nothing_else_is() {
        let mut frames = Frames::new(100);
        frames.feed(&frame(1, b"2026-11-25T13:06:00.123456789Z height=7 ok\n"));
        frames.feed(&frame(1, b"2026-11-25T13:06:01Z \nno time\n"));
        assert_eq!(texts(&frames), ["height=7 ok", "", "no time"]);
        let times = frames.lines.iter().map(|line| line.time);
        let nanos: Vec<_> = times
            .map(|t| t.and_then(|t| t.timestamp_nanos_opt()))
            .collect();
        let first = 1_795_611_960_123_456_789;
        assert_eq!(nanos, [Some(first), Some(first + 876_543_211), None]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_of_a_machine_make_a_line_longer_than_asked(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..32)
        ) {
            let mut frames = Frames::new(16);
            for part in &parts {
                frames.feed(part);
            }
            frames.end();
            // A byte that is not UTF-8 becomes a character of three.
            prop_assert!(frames.lines.iter().all(|l| l.text.len() <= 3 * 16));
            prop_assert!(frames.out.text.len() <= 16 + MAX_STAMP && frames.header.len() <= 8);
        }
    }
}
