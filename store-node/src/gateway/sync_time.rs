//! The last sync time of a standby, as the answers to its readers carry it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};
use s3s::dto::{Timestamp, TimestampFormat};
use wire::UnixMillis;

/// Everything that the primary acknowledged by this time, by its clock, is in what is read here.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-twinkeep-last-sync-time");

/// What is known of it; nothing in a region that is no standby.
#[derive(Default)]
pub(crate) struct SyncTime(AtomicU64);

impl SyncTime {
    /// Takes what is known now.
    pub(crate) fn set(&self, synced: Option<UnixMillis>) {
        self.0.store(synced.map_or(0, |synced| synced.0), Ordering::Relaxed);
    }

    /// The header's value, RFC 3339 with milliseconds.
    pub(crate) fn value(&self) -> Option<HeaderValue> {
        let synced = Some(self.0.load(Ordering::Relaxed)).filter(|synced| *synced > 0)?;
        let time = UNIX_EPOCH.checked_add(Duration::from_millis(synced))?;
        let mut text = Vec::new();
        Timestamp::from(time).format(TimestampFormat::DateTime, &mut text).ok()?;
        HeaderValue::from_bytes(&text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_shown_as_rfc_3339_and_not_at_all_when_it_is_not_known() {
        let time = SyncTime::default();
        assert_eq!(time.value(), None);
        time.set(Some(UnixMillis(1_700_000_000_123)));
        assert_eq!(time.value().unwrap(), "2023-11-14T22:13:20.123Z");
        time.set(None);
        assert_eq!(time.value(), None);
    }
}
