//! The record of peers that were turned away, which outlives the process: one line of JSON each, in two files.
//!
//! ```text
//! refused-peers.jsonl      lines as `RefusedPeerRecord` has them, oldest first
//! refused-peers.1.jsonl    those before, until the newer file is full once more
//! ```
//!
//! It promises that the files stay below their length whoever knocks, that no address takes the room of the others (`room`), that a
//! line cut off by a power cut spoils no other, and that nobody's handshake waits for the disk. What is left out is counted, in the
//! next line of its address too, and in the log.

mod room;

use room::{MINUTE, Room};

use replication::peer::{RefusedPeer, RefusedPeers};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;
use wire::UnixMillis;
use wire::admin::{ConnectionOpener, RefusedPeerRecord};

const CURRENT: &str = "refused-peers.jsonl";
const BEFORE: &str = "refused-peers.1.jsonl";

/// One file, bytes. 1 MiB: about 2,000 peers, each with its certificate and name.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Records that wait for the disk. 256: four minutes' worth.
const QUEUE_MAX: usize = 256;

/// Records in one answer: at most a KiB each.
pub(crate) const REPORT_MAX: usize = 2_000;

/// The reason in words, bytes.
const DETAIL_BYTES_MAX: usize = 256;

/// Keeps the record of one process.
pub(crate) struct RefusalRecord {
    folder: PathBuf,
    queue: mpsc::Sender<RefusedPeerRecord>,
    room: Arc<Mutex<Room>>,
    unwritten: Arc<AtomicU64>,
    watched: Mutex<Vec<Arc<RefusedPeers>>>,
}

impl RefusalRecord {
    /// Keeps it in `folder` until `stop`.
    pub(crate) fn start(folder: &Path, tracker: &TaskTracker, stop: CancellationToken) -> Arc<Self> {
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        let record = Arc::new(Self {
            folder: folder.to_owned(),
            queue,
            room: Arc::default(),
            unwritten: Arc::default(),
            watched: Mutex::default(),
        });
        let writer = Writer {
            folder: record.folder.clone(),
            queued,
            room: record.room.clone(),
            unwritten: record.unwritten.clone(),
        };
        tracker.spawn(writer.run(stop));
        record
    }

    /// Writes down whom `refused` turns away from now on.
    pub(crate) fn watch(&self, opened_by: ConnectionOpener, refused: &Arc<RefusedPeers>) {
        let (queue, room, unwritten) = (self.queue.clone(), self.room.clone(), self.unwritten.clone());
        refused.tell(move |peer| {
            let lines = lock(&room).admit(Instant::now(), peer.address.ip(), line_of(peer, opened_by));
            for line in lines {
                if queue.try_send(line).is_err() {
                    unwritten.fetch_add(1, Relaxed);
                }
            }
        });
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(refused.clone());
    }

    /// How many were turned away for a kind of reason since the process began.
    pub(crate) fn of_kind(&self, kind: &str) -> u64 {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.iter().map(|refused| refused.of_kind(kind)).sum()
    }

    /// How many are not in the record.
    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten.load(Relaxed) + lock(&self.room).unwritten()
    }

    /// The most recent, oldest first.
    pub(crate) async fn read(&self) -> io::Result<Vec<RefusedPeerRecord>> {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || read(&folder)).await.map_err(io::Error::other)?
    }
}

fn line_of(peer: &RefusedPeer, opened_by: ConnectionOpener) -> RefusedPeerRecord {
    let since = peer.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut detail = peer.reason.to_string();
    detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
    RefusedPeerRecord {
        at: UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        opened_by,
        address: peer.address.to_string(),
        reason: peer.reason.kind().to_owned(),
        detail,
        certificate_sha256: peer.certificate.as_ref().map(|shown| shown.sha256.to_string()),
        claimed: peer.certificate.as_ref().and_then(|shown| shown.claimed.clone()),
        times: peer.times,
        left_out: 0,
    }
}

fn lock(room: &Mutex<Room>) -> std::sync::MutexGuard<'_, Room> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The only one who writes.
struct Writer {
    folder: PathBuf,
    queued: mpsc::Receiver<RefusedPeerRecord>,
    room: Arc<Mutex<Room>>,
    unwritten: Arc<AtomicU64>,
}

impl Writer {
    async fn run(mut self, stop: CancellationToken) {
        let mut turns = tokio::time::interval(MINUTE);
        loop {
            let mut records = Vec::new();
            tokio::select! {
                biased;
                count = self.queued.recv_many(&mut records, QUEUE_MAX) => if count == 0 { return },
                _turn = turns.tick() => records = lock(&self.room).turn(Instant::now()),
                () = stop.cancelled() => {
                    // the counts of this minute, too
                    let last = lock(&self.room).settle();
                    return self.write(last).await;
                }
            }
            self.write(records).await;
        }
    }

    async fn write(&self, records: Vec<RefusedPeerRecord>) {
        if records.is_empty() {
            return;
        }
        let (to, count) = (self.folder.clone(), records.len() as u64);
        let written = tokio::task::spawn_blocking(move || append(&to, &records)).await;
        if let Err(error) = written.map_err(io::Error::other).and_then(|written| written) {
            warn!(%error, "refused peers could not be written down");
            self.unwritten.fetch_add(count, Relaxed);
        }
    }
}

fn append(folder: &Path, records: &[RefusedPeerRecord]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(CURRENT);
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record)?;
        text.push(b'\n');
    }
    let length = fs::metadata(&path).map_or(0, |file| file.len());
    if length > 0 && length + text.len() as u64 > FILE_BYTES_MAX {
        fs::rename(&path, folder.join(BEFORE))?;
    }
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path)?;
    if !ends_a_line(&mut file)? {
        text.insert(0, b'\n');
    }
    file.write_all(&text)?;
    file.sync_data()?;
    File::open(folder)?.sync_all()
}

/// Whether what is there was written to its end.
fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == [b'\n'])
}

fn read(folder: &Path) -> io::Result<Vec<RefusedPeerRecord>> {
    let mut records = Vec::new();
    for name in [BEFORE, CURRENT] {
        let file = match File::open(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(2 * FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        // a line that was cut off, or damaged, is passed over
        let lines = bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        records.extend(lines);
    }
    let surplus = records.len().saturating_sub(REPORT_MAX);
    Ok(records.split_off(surplus))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> RefusedPeerRecord {
        RefusedPeerRecord {
            at: UnixMillis(number),
            opened_by: ConnectionOpener::Peer,
            address: "192.0.2.1:7600".into(),
            reason: "certificate".into(),
            detail: "the certificate is of another authority".into(),
            certificate_sha256: Some("ab".repeat(32)),
            claimed: Some(format!("twinkeep://{}/test/twin-2/pair/1", "07".repeat(16))),
            times: 1,
            left_out: 0,
        }
    }

    #[test]
    fn the_record_is_bounded_and_keeps_the_most_recent() {
        let folder = tempfile::tempdir().unwrap();
        let total = 9_000;
        for first in (0..total).step_by(100) {
            let records: Vec<_> = (first..first + 100).map(record).collect();
            append(folder.path(), &records).unwrap();
        }
        for name in [CURRENT, BEFORE] {
            let length = fs::metadata(folder.path().join(name)).unwrap().len();
            assert!((1..=FILE_BYTES_MAX).contains(&length), "{name}: {length}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let kept = read(folder.path()).unwrap();
        let numbers: Vec<u64> = kept.iter().map(|record| record.at.0).collect();
        assert_eq!(numbers, (total - REPORT_MAX as u64..total).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_that_was_cut_off_or_damaged_spoils_no_other() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        append(folder.path(), &[record(1), record(2)]).unwrap();
        let path = folder.path().join(CURRENT);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 20);
        fs::write(&path, &bytes).unwrap();
        append(folder.path(), &[record(3)]).unwrap();
        assert_eq!(read(folder.path()).unwrap(), [record(1), record(3)]);
        fs::write(folder.path().join(BEFORE), b"\xFF\x00 no line\n{}\n").unwrap();
        assert_eq!(read(folder.path()).unwrap(), [record(1), record(3)]);
    }
}
