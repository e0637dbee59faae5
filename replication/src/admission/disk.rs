//! The identity of a node's disk, and how far it has begun to take part: small files beside the log, each written whole.
//!
//! `disk.id` is there from the first start on, with `disk.waiting` beside it until the disk has begun. One that begins as
//! a founder writes `disk.founders` (the disks it counted) and `disk.founding` (until its groups have begun) before.

use super::{AdmissionError, Hello};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};
use wire::{DecodeError, Decoder, Encoder, NodeId};

/// Random, given to a disk at its first start.
pub(crate) type DiskId = [u8; 16];

/// The disks of the other founders.
pub(crate) type Founders = BTreeMap<NodeId, DiskId>;

/// The file that holds the disk's identity.
const DISK_FILE: &str = "disk.id";

/// The file that says this disk has not begun: it has voted for nobody.
const WAITING_FILE: &str = "disk.waiting";

/// The file that says with which disks this one began a region.
const FOUNDERS_FILE: &str = "disk.founders";

/// The file that says this disk is founding groups and has not finished.
const FOUNDING_FILE: &str = "disk.founding";

/// The file that says the region has registered the disk.
const REGISTERED_FILE: &str = "disk.registered";

/// Founders in the file: more than a region has nodes.
const FOUNDERS_MAX: usize = 4_096;

/// Bytes read of one of these files: what the founders take.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A node's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    id: DiskId,
    /// Set once it has begun: the founders that it counted, none if it joined.
    begun: OnceLock<Founders>,
    registered: AtomicBool,
}

impl Disk {
    /// The disk in `folder`; an empty one becomes `fresh`.
    pub(crate) fn open(folder: &Path, fresh: DiskId) -> Result<Self, AdmissionError> {
        let known = read(folder, DISK_FILE)?;
        let id = match &known {
            Some(known) => known.as_ref().try_into().map_err(|_| damaged(folder, DISK_FILE))?,
            None => {
                write_durably(folder, WAITING_FILE, b"")?;
                write_durably(folder, DISK_FILE, &fresh)?;
                fresh
            }
        };
        let begun = OnceLock::new();
        if !folder.join(WAITING_FILE).exists() {
            let founders = match read(folder, FOUNDERS_FILE)? {
                Some(bytes) => decode_founders(bytes).map_err(|_| damaged(folder, FOUNDERS_FILE))?,
                None => Founders::new(),
            };
            begun.get_or_init(|| founders);
        }
        let registered = folder.join(REGISTERED_FILE).exists().into();
        Ok(Self { folder: folder.to_owned(), id, begun, registered })
    }

    pub(crate) fn id(&self) -> DiskId {
        self.id
    }

    /// What `node` is told when it asks.
    pub(crate) fn hello(&self, node: NodeId) -> Hello {
        let founders = self.begun.get();
        let yours = founders.and_then(|founders| founders.get(&node).copied());
        Hello { disk: self.id, begun: founders.is_some(), yours }
    }

    /// Whether this disk takes part.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// Begins a region together with the disks of `founders`.
    pub(super) fn begin_founding(&self, founders: Founders) -> Result<(), AdmissionError> {
        write_durably(&self.folder, FOUNDERS_FILE, &encode_founders(&founders))?;
        write_durably(&self.folder, FOUNDING_FILE, b"")?;
        remove_durably(&self.folder, WAITING_FILE)?;
        self.begun.get_or_init(|| founders);
        Ok(())
    }

    /// Begins in a region that others have founded.
    pub(super) fn begin_joining(&self) -> Result<(), AdmissionError> {
        remove_durably(&self.folder, WAITING_FILE)?;
        self.begun.get_or_init(Founders::new);
        Ok(())
    }

    /// Whether this disk is to begin groups: only until they have begun, never again after.
    pub(crate) fn is_founding(&self) -> bool {
        self.has_begun() && self.folder.join(FOUNDING_FILE).exists()
    }

    /// All groups have begun.
    pub(crate) fn set_founded(&self) -> Result<(), AdmissionError> {
        remove_durably(&self.folder, FOUNDING_FILE)
    }

    /// Whether the region has registered this disk.
    pub(super) fn is_registered(&self) -> bool {
        self.registered.load(Ordering::Relaxed)
    }

    pub(super) fn set_registered(&self) -> Result<(), AdmissionError> {
        write_durably(&self.folder, REGISTERED_FILE, b"")?;
        self.registered.store(true, Ordering::Relaxed);
        Ok(())
    }
}

fn encode_founders(founders: &Founders) -> Bytes {
    let mut e = Encoder::new();
    e.count(founders.len());
    for (node, disk) in founders {
        e.u16(node.0);
        e.fixed(disk);
    }
    e.finish()
}

fn decode_founders(bytes: Bytes) -> Result<Founders, DecodeError> {
    let mut d = Decoder::new("founders", bytes);
    let founders = d.list(FOUNDERS_MAX, |d| Ok((NodeId(d.u16()?), d.array()?)))?;
    d.finish()?;
    Ok(founders.into_iter().collect())
}

fn read(folder: &Path, name: &str) -> Result<Option<Bytes>, AdmissionError> {
    let path = folder.join(name);
    let mut content = Vec::new();
    let file = std::fs::File::open(&path);
    match file.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut content)) {
        Ok(_) => Ok(Some(content.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AdmissionError::File { path, source }),
    }
}

fn damaged(folder: &Path, name: &str) -> AdmissionError {
    AdmissionError::File { path: folder.join(name), source: io::ErrorKind::InvalidData.into() }
}

fn write_durably(folder: &Path, name: &str, content: &[u8]) -> Result<(), AdmissionError> {
    let path = folder.join(name);
    let write = || -> io::Result<()> {
        let fresh = folder.join(format!("{name}.new"));
        let mut file = std::fs::File::create(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|source| AdmissionError::File { path: path.clone(), source })
}

fn remove_durably(folder: &Path, name: &str) -> Result<(), AdmissionError> {
    let path = folder.join(name);
    match std::fs::remove_file(&path).and_then(|()| std::fs::File::open(folder)?.sync_all()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(AdmissionError::File { path, source: error })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_keeps_its_identity_and_how_far_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let open = |fresh: u8| Disk::open(folder.path(), [fresh; 16]).unwrap();
        assert_eq!(open(5).hello(NodeId(2)), Hello { disk: [5; 16], begun: false, yours: None });
        let disk = open(6);
        assert!((disk.id(), disk.has_begun(), disk.is_founding()) == ([5; 16], false, false));
        disk.begin_founding([(NodeId(2), [2; 16])].into()).unwrap();
        assert!(disk.is_founding());
        let disk = open(6);
        assert!(disk.has_begun() && disk.is_founding());
        assert_eq!(disk.hello(NodeId(2)), Hello { disk: [5; 16], begun: true, yours: Some([2; 16]) });
        disk.set_founded().unwrap();
        disk.set_registered().unwrap();
        let disk = open(6);
        assert!(disk.has_begun() && !disk.is_founding() && disk.is_registered());
    }

    #[test]
    fn a_disk_that_joined_knows_no_founders() {
        let folder = tempfile::tempdir().unwrap();
        Disk::open(folder.path(), [5; 16]).unwrap().begin_joining().unwrap();
        let disk = Disk::open(folder.path(), [6; 16]).unwrap();
        assert_eq!(disk.hello(NodeId(2)), Hello { disk: [5; 16], begun: true, yours: None });
        assert!(!disk.is_founding());
    }

    #[test]
    fn a_damaged_identity_is_an_error() {
        for name in [DISK_FILE, FOUNDERS_FILE] {
            let folder = tempfile::tempdir().unwrap();
            Disk::open(folder.path(), [5; 16]).unwrap().begin_founding(Founders::new()).unwrap();
            std::fs::write(folder.path().join(name), b"short").unwrap();
            assert!(matches!(Disk::open(folder.path(), [6; 16]), Err(AdmissionError::File { .. })), "{name}");
        }
    }
}
