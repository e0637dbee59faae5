//! What a kill or a power cut leaves at the end of the log, and what can only be somebody's doing.

use super::*;
use std::fs;

const VAULT: VaultId = VaultId([7; 16]);
const COPIES: [&str; 2] = ["log", "copy"];

struct Room {
    folder: tempfile::TempDir,
    service: SigningKey,
}

impl Room {
    /// A log of three entries, and its bytes.
    fn new() -> (Self, Vec<u8>) {
        let service = SigningKey::generate(files::random).unwrap();
        let room = Self { folder: tempfile::tempdir().unwrap(), service };
        let mut journal = room.open().unwrap();
        (0..3).for_each(|_| room.append(&mut journal));
        let whole = fs::read(room.path("log")).unwrap();
        (room, whole)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Result<Journal, PseudoError> {
        Journal::open(self.folder.path(), VAULT, vec![self.path("copy")], self.service.public())
    }

    fn append(&self, journal: &mut Journal) {
        journal.append(&self.service, SERVICE, Event::Grown, Said::default()).unwrap();
    }

    fn write(&self, names: &[&str], content: &[u8]) {
        names.iter().for_each(|name| fs::write(self.path(name), content).unwrap());
    }
}

/// Where each line begins.
fn starts(whole: &[u8]) -> Vec<usize> {
    let ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    [0].into_iter().chain(ends).collect()
}

#[test]
fn a_last_line_that_is_torn_was_never_an_entry_and_the_next_one_takes_its_place() {
    let (room, whole) = Room::new();
    let last = starts(&whole)[2];
    let torn = (last..whole.len()).step_by(61).map(|end| whole[..end].to_vec());
    let filled = [&b"\xff\xfe{"[..], &[0; 900], &[&[0; 40][..], b"\n"].concat()]
        .map(|tail| [&whole[..last + 9], tail].concat());
    for content in torn.chain(filled) {
        room.write(&COPIES, &content);
        let mut journal = room.open().unwrap();
        assert_eq!((journal.entries.len(), journal.catch_up().unwrap()), (2, 0));
        room.append(&mut journal);
        assert_eq!(room.open().unwrap().entries.len(), 3);
        assert_eq!(fs::read(room.path("log")).unwrap(), fs::read(room.path("copy")).unwrap());
    }
    // torn in one copy, it is made whole from the other
    let (room, whole) = Room::new();
    room.write(&["log"], &whole[..whole.len() - 5]);
    assert_eq!(room.open().unwrap().catch_up().unwrap(), 1);
    assert_eq!(fs::read(room.path("log")).unwrap(), whole);
}

#[test]
fn what_is_wrong_before_the_end_is_refused_and_left_as_it_is() {
    let (room, whole) = Room::new();
    let starts = starts(&whole);
    let mut changed = vec![
        [&whole[..starts[1]], b"garbage\n", &whole[starts[1]..]].concat(),
        [&whole[..starts[1]], &[0; 50], b"\n", &whole[starts[1]..]].concat(),
        [&whole[..starts[1]], &whole[starts[2]..]].concat(),
        [&whole[..starts[1] + 40], &whole[starts[2]..]].concat(),
        [&whole[..], b"garbage\n"].concat(),
    ];
    for start in &starts[..3] {
        let mut flipped = whole.clone();
        flipped[start + 30] ^= 1;
        changed.push(flipped);
    }
    for content in changed {
        for names in [&COPIES[..], &COPIES[..1], &COPIES[1..]] {
            room.write(&COPIES, &whole);
            room.write(names, &content);
            assert!(room.open().is_err(), "{names:?}");
            assert_eq!(fs::read(room.path(names[0])).unwrap(), content);
        }
    }
}

#[test]
fn a_full_log_takes_what_has_happened_and_nothing_else() {
    let (room, _) = Room::new();
    let mut journal = room.open().unwrap();
    journal.bytes = (LOG_BYTES_MAX - RESERVE_BYTES) as u64;
    for event in [Event::Grown, Event::Requested, Event::Erasing, Event::Used] {
        assert!(journal.append(&room.service, SERVICE, event, Said::default()).is_err(), "{event:?}");
    }
    for event in [Event::Settled, Event::Dropped, Event::Erased, Event::Detached, Event::Restored] {
        journal.append(&room.service, SERVICE, event, Said::default()).unwrap();
    }
    journal.bytes = LOG_BYTES_MAX as u64;
    assert!(journal.append(&room.service, SERVICE, Event::Settled, Said::default()).is_err());
}
