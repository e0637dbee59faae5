//! The other region's S3 endpoints: taken in turn, those passed over that do not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::ForwardWaits;
use super::place::{Connection, Place};
use crate::config::Endpoint;

/// How long an endpoint may take until it can be asked: name, connection and handshake.
const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// How long all of them together may. Two that say nothing are passed over; a client that comes again finds both left out.
const CONNECT_ALL_WAIT: Duration = Duration::from_secs(7);

/// All endpoints.
pub(super) struct Endpoints {
    all: Vec<Arc<Place>>,
    next: AtomicUsize,
}

impl Endpoints {
    pub(super) fn new(
        endpoints: Vec<Endpoint>,
        tls: Option<&Arc<ClientConfig>>,
        waits: ForwardWaits,
        tracker: &TaskTracker,
    ) -> Self {
        let place = |endpoint| Place::new(endpoint, tls.cloned(), waits, tracker.clone());
        let all = endpoints.into_iter().map(|endpoint| Arc::new(place(endpoint))).collect();
        Self { all, next: AtomicUsize::new(0) }
    }

    /// Whether any of them takes requests; those that do not are probed meanwhile.
    pub(super) fn admit(&self) -> bool {
        self.all.iter().fold(false, |any, place| place.admits() | any)
    }

    /// A connection to the first endpoint that has one; `None` when none has.
    pub(super) async fn connect(&self) -> Option<Connection> {
        let until = Instant::now() + CONNECT_ALL_WAIT;
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        let (before, after) = self.all.split_at(first);
        for place in after.iter().chain(before) {
            let now = Instant::now();
            if now >= until {
                break;
            }
            if !place.admits() {
                continue;
            }
            if let Some(connection) = place.connect(until.min(now + CONNECT_WAIT)).await {
                return Some(connection);
            }
        }
        None
    }
}
