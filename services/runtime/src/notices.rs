//! What Postgres notifies: a hint that something changed, never the truth.
//! Whoever listens also looks by timer.

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// How many notices a slow listener may fall behind before it must look itself.
const BACKLOG: usize = 1024;

/// Notices of some channels of one database.
#[derive(Debug, Clone)]
pub struct Notices {
    sender: broadcast::Sender<String>,
}

impl Notices {
    /// Listens on `channels` until `stop`; the future is a task of the service.
    pub fn listen(
        db: PgPool,
        channels: &'static [&'static str],
        stop: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, _) = broadcast::channel(BACKLOG);
        let notices = Self {
            sender: sender.clone(),
        };
        let task = async move {
            let run = async {
                loop {
                    if let Err(error) = relay(&db, channels, &sender).await {
                        tracing::debug!(%error, "lost the connection for notices");
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = run => {}
            }
        };
        (notices, task)
    }

    /// Payloads from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<String> {
        self.sender.subscribe()
    }
}

/// Waits for a notice that `wanted` accepts, for one that may have been
/// missed, or for `at_most`.
pub async fn next(
    receiver: &mut broadcast::Receiver<String>,
    at_most: Duration,
    wanted: impl Fn(&str) -> bool,
) {
    let wait = async {
        loop {
            match receiver.recv().await {
                Ok(payload) if wanted(&payload) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    tokio::time::timeout(at_most, wait).await.ok();
}

async fn relay(
    db: &PgPool,
    channels: &[&str],
    sender: &broadcast::Sender<String>,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(db).await?;
    listener.listen_all(channels.iter().copied()).await?;
    loop {
        let notice = listener.recv().await?;
        // Nobody listening is fine.
        sender.send(notice.payload().to_owned()).ok();
    }
}
