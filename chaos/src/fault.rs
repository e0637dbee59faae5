//! Faults of disks: flipped bits in segment files, a small file system that fills up, a data folder that is lost.
//!
//! Each fault says exactly what it did, so that a failed run can be repeated by hand.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::random::Random;
use crate::tools;
use crate::trouble::{Outcome, Trouble};

/// Where in a file a bit is flipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Somewhere in the middle half of what was written.
    Middle,
    /// In the last bytes that were written.
    Tail,
}

/// A bit that was flipped.
#[derive(Debug, Clone)]
pub struct Flip {
    /// The file.
    pub path: PathBuf,
    /// The byte's offset.
    pub offset: u64,
    /// The bit within the byte.
    pub bit: u8,
}

/// All files below a folder whose names end in `.segment`, largest written part first.
pub fn segments(data: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for path in files_below(data)? {
        if path.extension().is_some_and(|extension| extension == "segment") {
            found.push((written_bytes(&path)?, path));
        }
    }
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Flips one bit of what was written to a segment. The node must not be running.
pub fn flip_bit(path: &Path, place: Place, random: &mut Random) -> Outcome<Flip> {
    let written = written_bytes(path)?;
    let offset = match place {
        Place::Middle => written / 4 + random.below(written / 2),
        Place::Tail => written.saturating_sub(1 + random.below(64)),
    };
    let bit = random.below(8) as u8;
    let file = File::options().read(true).write(true).open(path);
    let file = file.map_err(|error| Trouble::file("open", path, &error))?;
    let mut byte = [0_u8];
    file.read_exact_at(&mut byte, offset).map_err(|error| Trouble::file("read", path, &error))?;
    byte[0] ^= 1 << bit;
    file.write_all_at(&byte, offset).map_err(|error| Trouble::file("write", path, &error))?;
    file.sync_all().map_err(|error| Trouble::file("sync", path, &error))?;
    Ok(Flip { path: path.to_owned(), offset, bit })
}

/// How much of a file was written: segments are preallocated with zeros, so up to the last byte that is not zero.
pub fn written_bytes(path: &Path) -> Outcome<u64> {
    /// Read backwards in steps of this size: large enough to be quick, small enough to stop early.
    const STEP_BYTES: u64 = 1 << 20;
    let file = File::open(path).map_err(|error| Trouble::file("open", path, &error))?;
    let mut end = file.metadata().map_err(|error| Trouble::file("inspect", path, &error))?.len();
    let mut buffer = vec![0_u8; STEP_BYTES as usize];
    while end > 0 {
        let start = end.saturating_sub(STEP_BYTES);
        let part = &mut buffer[..(end - start) as usize];
        file.read_exact_at(part, start).map_err(|error| Trouble::file("read", path, &error))?;
        if let Some(last) = part.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Every file below a folder; files that vanish while it is read are left out.
pub fn files_below(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            if next == folder {
                return Err(Trouble::new(format!("no folder {}", folder.display())));
            }
            continue;
        };
        for entry in entries.flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    Ok(files)
}

/// A small ext4 file system on a loop device, mounted until it is dropped: what a disk that fills up looks like.
#[derive(Debug)]
pub struct SmallDisk {
    mount: PathBuf,
}

impl SmallDisk {
    /// Makes a file system of this size in an image beside the mount point, and mounts it there.
    pub fn mount(mount: &Path, mebibytes: u64) -> Outcome<Self> {
        tools::require_root("mounting a small disk")?;
        tools::debian(&[("mkfs.ext4", "e2fsprogs"), ("mount", "mount")])?;
        let image = mount.with_extension("image");
        let file = File::create(&image).map_err(|error| Trouble::file("create", &image, &error))?;
        file.set_len(mebibytes << 20).map_err(|error| Trouble::file("size", &image, &error))?;
        std::fs::create_dir_all(mount).map_err(|error| Trouble::file("make the folder", mount, &error))?;
        tools::expect_success(
            Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image),
            "make a file system",
        )?;
        let mut command = Command::new("mount");
        tools::expect_success(command.args(["-o", "loop"]).arg(&image).arg(mount), "mount a file system")?;
        Ok(SmallDisk { mount: mount.to_owned() })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Fills what is left of it with one file, which is returned; removing the file frees the space.
    pub fn fill(&self) -> Outcome<PathBuf> {
        let path = self.mount.join("filler");
        let file = File::create(&path).map_err(|error| Trouble::file("create", &path, &error))?;
        let block = vec![0x5A_u8; 1 << 16];
        let mut offset = 0_u64;
        for size in [block.len(), 4096, 512] {
            while file.write_all_at(&block[..size], offset).is_ok() {
                offset += size as u64;
            }
        }
        let _ = file.sync_all();
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that a failing test left behind must not keep the mount for ever.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flip_changes_one_bit_of_the_written_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.segment");
        let mut bytes = vec![7_u8; 1000];
        bytes.resize(3_000_000, 0);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(written_bytes(&path).unwrap(), 1000);
        let flip = flip_bit(&path, Place::Middle, &mut Random::from_seed(1)).unwrap();
        let after = std::fs::read(&path).unwrap();
        let differing: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place] != after[*place]).collect();
        assert_eq!(differing, [flip.offset as usize]);
        assert!((250..750).contains(&flip.offset));
    }
}
