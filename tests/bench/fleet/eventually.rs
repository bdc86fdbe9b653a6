//! Asks sessions again whether they are lost, with a deadline.

use berth_provisioner::Session;
use std::time::{Duration, Instant};

/// Longest wait for the machines' end to be seen.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks; so far apart that they take nothing of what is measured.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until all sessions are seen to have ended.
pub(crate) async fn all_lost(sessions: &[Session]) {
    let begun = Instant::now();
    while !sessions.iter().all(Session::is_lost) {
        assert!(begun.elapsed() < LIMIT, "sessions without a machine go on");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sees that no session is lost for so long.
pub(crate) async fn none_lost(sessions: &[Session], during: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < during {
        assert!(
            !sessions.iter().any(Session::is_lost),
            "a session was not kept alive"
        );
        tokio::time::sleep(PAUSE).await;
    }
}
