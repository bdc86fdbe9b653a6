//! The one place that every effect outside of our database passes in tests:
//! actions on machines, and calls to Vault, leasing, inventory, monitoring and
//! the signer. Here a test breaks one of them.
//!
//! Production code knows nothing of it: machines are a trait, and the rest is
//! reached over a network.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, mpsc};

/// How an effect goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request never arrived.
    ErrorBefore,
    /// The answer never arrived.
    ErrorAfter,
    /// The worker dies before it.
    CrashBefore,
    /// The worker dies after it.
    CrashAfter,
    /// It happens twice.
    Twice,
    /// Another worker does the whole work meanwhile; then it happens, late.
    ClaimLost,
}

/// What a worker has come to that does not go on by itself.
pub(crate) enum Halted {
    /// It is dead: nothing of it may go on.
    Crashed,
    /// It goes on when it is told to.
    Paused(Arc<Notify>),
}

/// The effects of the work that is watched, in order.
pub(crate) struct Effects {
    state: Mutex<State>,
    halt: mpsc::UnboundedSender<Halted>,
    halted: tokio::sync::Mutex<mpsc::UnboundedReceiver<Halted>>,
}

#[derive(Default)]
struct State {
    watched: bool,
    seen: Vec<String>,
    armed: Option<(usize, Fault)>,
}

impl Default for Effects {
    fn default() -> Self {
        let (halt, halted) = mpsc::unbounded_channel();
        Self {
            state: Mutex::default(),
            halt,
            halted: tokio::sync::Mutex::new(halted),
        }
    }
}

impl Effects {
    /// Watches from now on, and lets the effect of that number go wrong once.
    pub(crate) fn watch(&self, fault: Option<(usize, Fault)>) {
        *self.state() = State {
            watched: true,
            seen: Vec::new(),
            armed: fault,
        };
    }

    /// Watches no more: what was seen. Every fault must have come to pass.
    pub(crate) fn finish(&self) -> Vec<String> {
        let state = std::mem::take(&mut *self.state());
        assert_eq!(state.armed, None, "it never came to it: {:#?}", state.seen);
        state.seen
    }

    /// Waits until a worker dies or is paused.
    pub(crate) async fn halted(&self) -> Halted {
        self.halted.lock().await.recv().await.unwrap()
    }

    /// Does an effect, or what is to go wrong instead.
    pub(crate) async fn pass<T, E: fmt::Debug, F: Future<Output = Result<T, E>>>(
        &self,
        what: String,
        broken: impl FnOnce() -> E,
        mut effect: impl FnMut() -> F,
    ) -> Result<T, E> {
        match self.due(what) {
            None => effect().await,
            Some(Fault::ErrorBefore) => Err(broken()),
            Some(Fault::ErrorAfter) => {
                effect().await.map(drop).unwrap();
                Err(broken())
            }
            Some(Fault::CrashBefore) => self.die().await,
            Some(Fault::CrashAfter) => {
                effect().await.map(drop).unwrap();
                self.die().await
            }
            Some(Fault::Twice) => {
                effect().await.map(drop).unwrap();
                effect().await
            }
            Some(Fault::ClaimLost) => {
                let go_on = Arc::new(Notify::new());
                self.halt.send(Halted::Paused(Arc::clone(&go_on))).unwrap();
                go_on.notified().await;
                effect().await
            }
        }
    }

    /// Remembers an effect; what is to go wrong with it.
    fn due(&self, what: String) -> Option<Fault> {
        let mut state = self.state();
        if !state.watched {
            return None;
        }
        let number = state.seen.len();
        state.seen.push(what);
        let (_, fault) = state.armed.take_if(|(due, _)| *due == number)?;
        Some(fault)
    }

    async fn die<T>(&self) -> T {
        self.halt.send(Halted::Crashed).unwrap();
        pending().await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}
