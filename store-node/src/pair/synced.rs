//! How far the groups that a node led as standbys had their primaries, in its data folder: a forced switch names its recovery point
//! also when every node of the standby began anew after the primary was lost.
//!
//! ```text
//! pair.synced
//!   twinkeep pair synced 1
//!   group 3 epoch 2 synced 1795426800000
//!   crc32c 0a1b2c3d
//! ```
//!
//! What it says stays true for as long as the standby keeps what it has: everything that the primary of that epoch acknowledged by then is
//! there. It may be some seconds older than what was known last. One that is damaged says nothing.

use super::memory;
use replication::pair::{Standby, SyncedThen};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use wire::descriptor::GROUPS_MAX;
use wire::{Epoch, GroupId, UnixMillis};

const FILE: &str = "pair.synced";
const TITLE: &str = "twinkeep pair synced 1";

/// How often it is written, while there is anything new: a recovery point that was read from it is at most this much too early.
const PERIOD: Duration = Duration::from_secs(5);

/// A line's length, bytes: a group of ten digits, an epoch and a time of twenty.
const LINE_BYTES_MAX: u64 = 80;

/// The file, bytes: every group of the region and the system's, the title and the sum.
const BYTES_MAX: u64 = (GROUPS_MAX as u64 + 3) * LINE_BYTES_MAX;

/// What this node knew before it was started.
pub(super) fn recall(data: &Path) -> Vec<SyncedThen> {
    let path = data.join(FILE);
    match memory::read(data, FILE, BYTES_MAX) {
        Ok(None) => Vec::new(),
        Ok(Some(text)) => parse(&text).unwrap_or_else(|| {
            warn!(path = %path.display(), "how far this node had the other region is damaged: it is learned anew");
            Vec::new()
        }),
        Err(error) => {
            warn!(path = %path.display(), %error, "how far this node had the other region cannot be read: it is learned anew");
            Vec::new()
        }
    }
}

/// Writes what the standby knows, now and then and when the node ends.
pub(super) async fn keep(data: PathBuf, standby: Arc<Standby>, stop: CancellationToken) {
    let mut kept = standby.synced();
    let mut fails = false;
    loop {
        let ends = tokio::select! {
            () = sleep(PERIOD) => false,
            () = stop.cancelled() => true,
        };
        let known = standby.synced();
        if known != kept {
            let (data, text) = (data.clone(), text(&known));
            let written = tokio::task::spawn_blocking(move || memory::write(&data, FILE, &text)).await;
            match written.map_err(std::io::Error::other).flatten() {
                Ok(()) => (kept, fails) = (known, false),
                Err(error) if !std::mem::replace(&mut fails, true) => {
                    warn!(%error, "how far this node has the other region cannot be written: when it starts again that is not known");
                }
                Err(_) => {}
            }
        }
        if ends {
            return;
        }
    }
}

fn text(known: &[SyncedThen]) -> String {
    let mut text = format!("{TITLE}\n");
    for SyncedThen { group, epoch, synced } in known {
        let _ = writeln!(text, "group {} epoch {} synced {}", group.0, epoch.0, synced.0);
    }
    let sum = crc32c::crc32c(text.as_bytes());
    let _ = writeln!(text, "crc32c {sum:08x}");
    text
}

fn parse(found: &str) -> Option<Vec<SyncedThen>> {
    let mut lines = found.lines().filter(|line| !line.starts_with("crc32c "));
    (lines.next()? == TITLE).then_some(())?;
    let line = |line: &str| {
        let mut words = line.split(' ');
        let mut number = |name: &str| {
            (words.next()? == name).then_some(())?;
            words.next()?.parse::<u64>().ok()
        };
        let group = GroupId(number("group")?.try_into().ok()?);
        let (epoch, synced) = (Epoch(number("epoch")?), UnixMillis(number("synced")?));
        Some(SyncedThen { group, epoch, synced })
    };
    let known: Vec<SyncedThen> = lines.map(line).collect::<Option<_>>()?;
    // one spelling, and all of it
    (found == text(&known)).then_some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<SyncedThen> {
        let of = |group, epoch, synced| SyncedThen {
            group: GroupId(group),
            epoch: Epoch(epoch),
            synced: UnixMillis(synced),
        };
        vec![of(0, 2, 1_795_426_800_000), of(3, u64::MAX, u64::MAX)]
    }

    #[test]
    fn what_was_known_is_known_after_a_start() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(recall(data.path()), []);
        memory::write(data.path(), FILE, &text(&known())).unwrap();
        assert_eq!(recall(data.path()), known());
        let golden = "twinkeep pair synced 1\ngroup 0 epoch 2 synced 1795426800000\n\
                      group 3 epoch 18446744073709551615 synced 18446744073709551615\ncrc32c ";
        assert!(text(&known()).starts_with(golden), "{}", text(&known()));
        let longest = SyncedThen { group: GroupId(u32::MAX), ..known()[1] };
        let all = text(&vec![longest; GROUPS_MAX as usize + 1]);
        assert!(all.len() as u64 <= BYTES_MAX);
    }

    #[test]
    fn what_is_damaged_says_nothing() {
        let data = tempfile::tempdir().unwrap();
        let good = text(&known());
        let flipped = good.replace("epoch 2", "epoch 3");
        let changed = [String::new(), flipped, good.replace("synced 1\n", "synced 2\n"), format!("{good} ")];
        let cuts = (0..good.len()).map(|cut| good[..cut].to_owned());
        for spoilt in changed.into_iter().chain(cuts).chain(["x".repeat(1 << 20)]) {
            std::fs::write(data.path().join(FILE), &spoilt).unwrap();
            assert_eq!(recall(data.path()), [], "{spoilt:.200}");
        }
    }
}
