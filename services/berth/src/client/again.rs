//! Streams that are asked for again when the connection breaks or the service restarts.
//!
//! Each caller says in its request where to go on; nothing is kept here of what came.

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;
use tonic::{Code, Response, Status, Streaming};
use tonic_types::StatusExt as _;

/// Shortest and longest wait before a stream is asked for again, jitter aside.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// What a stream did.
#[derive(Debug)]
pub(super) enum Step<T> {
    /// It gave this.
    Came(T),
    /// It ended as it should, which a service that stops does too.
    Ended,
    /// It broke, or could not be asked for.
    Broke,
}

/// Where a loss is told.
type Say = Box<dyn Fn(&str) + Send + Sync>;

/// One stream after the other, of the same call.
pub(super) struct Again<T> {
    stream: Option<Streaming<T>>,
    /// Whether what came last was the first of its stream.
    first: bool,
    waits: ExponentialBackoff,
    /// Before the stream is asked for.
    wait: Option<Duration>,
    /// Whether the loss was told.
    told: bool,
    say: Say,
}

impl<T> Again<T> {
    /// Nothing is asked before the first step.
    pub(super) fn new() -> Self {
        Self {
            stream: None,
            first: false,
            waits: waits(),
            wait: None,
            told: false,
            say: Box::new(|line| eprintln!("{line}")),
        }
    }

    /// Tells a loss here, and not on standard error as it is.
    pub(super) fn say(&mut self, say: impl Fn(&str) + Send + Sync + 'static) {
        self.say = Box::new(say);
    }

    /// The next of the stream. `ask` runs only where there is none, after a wait that
    /// grows until something comes.
    ///
    /// # Errors
    ///
    /// A refusal; what may succeed later is a step.
    pub(super) async fn step<F>(&mut self, ask: F) -> Result<Step<T>, Status>
    where
        F: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        if let Some(wait) = self.wait.take() {
            tokio::time::sleep(wait).await;
        }
        let step = match self.message(ask).await {
            Ok(Some(answer)) => {
                (self.waits, self.told) = (waits(), false);
                return Ok(Step::Came(answer));
            }
            Ok(None) => Step::Ended,
            Err(status) if is_passing(&status) => {
                if !std::mem::replace(&mut self.told, true) {
                    (self.say)("connection lost, asking again…");
                }
                Step::Broke
            }
            Err(status) => return Err(status),
        };
        self.stream = None;
        self.wait = Some(self.waits.next().unwrap_or(WAITS.1));
        Ok(step)
    }

    /// The next that is new; `is_new` is told whether it was the first of its stream.
    /// Nothing when a stream ends and the one after it has nothing new, or is refused: a
    /// service that only stopped would have more to tell.
    ///
    /// # Errors
    ///
    /// A refusal of a stream that had not ended.
    pub(super) async fn next<F>(
        &mut self,
        ask: impl Fn() -> F,
        mut is_new: impl FnMut(&T, bool) -> bool,
    ) -> Result<Option<T>, Status>
    where
        F: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        let mut ended = false;
        loop {
            match self.step(ask()).await {
                Ok(Step::Came(answer)) if is_new(&answer, self.first) => return Ok(Some(answer)),
                Ok(Step::Came(_) | Step::Broke) => {}
                Ok(Step::Ended) if !ended => ended = true,
                Ok(Step::Ended) => return Ok(None),
                Err(_) if ended => return Ok(None),
                Err(status) => return Err(status),
            }
        }
    }

    async fn message<F>(&mut self, ask: F) -> Result<Option<T>, Status>
    where
        F: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        self.first = self.stream.is_none();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(ask.await?.into_inner()),
        };
        stream.message().await
    }
}

/// The waits of one loss, without end.
fn waits() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(WAITS.0)
        .with_max_delay(WAITS.1)
        .without_max_times()
        .with_jitter()
        .build()
}

/// Whether the same may succeed later.
fn is_passing(status: &Status) -> bool {
    // So looks a connection that breaks; an answer of Berth's has a reason.
    let broke = [Code::Cancelled, Code::Unknown, Code::Internal].contains(&status.code())
        && status.get_details_error_info().is_none();
    broke || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_connection_that_breaks_is_no_refusal() {
        for code in [Code::Unavailable, Code::Unknown, Code::Internal] {
            assert!(is_passing(&Status::new(code, "")), "{code:?}");
        }
        assert!(!is_passing(&Status::new(Code::NotFound, "")));
        let details = ErrorDetails::with_error_info("INTERNAL", "berth.dev", []);
        let ours = Status::with_error_details(Code::Internal, "", details);
        assert!(!is_passing(&ours));
    }
}
