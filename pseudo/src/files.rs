//! Small files, read whole up to a limit; and files that are whole or not there at all, for their owner alone.

mod ended;
mod folder;
mod fresh;
pub(crate) mod own;
pub(crate) mod secret;

pub(crate) use folder::Folder;
pub(crate) use fresh::Fresh;

use crate::PseudoError;
use rustix::fs::OFlags;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What a file is called that is about to be destroyed.
const GONE: &str = ".gone";
/// What the name of a file ends with that is being made.
const PARTIAL: &str = ".partial";
/// Zeros that are written at once over what is destroyed, bytes: one piece for all but outputs.
const WIPE_BYTES: usize = 1 << 20;
/// How files are opened that only this program writes: never through a link, which leads elsewhere, and without waiting for a pipe's other end.
const OPENED: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK);

/// Makes a folder that only its owner may enter; one that exists is left as it is.
pub(crate) fn make_folder(path: &Path) -> Result<(), PseudoError> {
    let made = step().and_then(|()| DirBuilder::new().recursive(true).mode(0o700).create(path));
    made.map_err(PseudoError::file("making the folder", path))
}

/// Reads a file of so many bytes at most; wiped when dropped. What is secret is read by [`secret`].
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, PseudoError> {
    read_from(File::open(path).map_err(PseudoError::file("reading", path))?, path, bytes_max)
}

/// Reads something signed, which is no secret and may be long.
pub(crate) fn read_signed(path: &Path, bytes_max: usize) -> Result<Vec<u8>, PseudoError> {
    read_signed_from(File::open(path).map_err(PseudoError::file("reading", path))?, path, bytes_max)
}

/// Reads a text file of so many bytes at most.
pub(crate) fn read_text(path: &Path, bytes_max: usize) -> Result<Zeroizing<String>, PseudoError> {
    text(&read(path, bytes_max)?, path)
}

fn read_from(file: File, path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, PseudoError> {
    // room for all of it at once: growing would leave parts behind
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    fill(file, path, bytes_max, &mut bytes)?;
    Ok(bytes)
}

fn read_signed_from(file: File, path: &Path, bytes_max: usize) -> Result<Vec<u8>, PseudoError> {
    let mut bytes = Vec::new();
    fill(file, path, bytes_max, &mut bytes)?;
    Ok(bytes)
}

fn fill(file: File, path: &Path, bytes_max: usize, bytes: &mut Vec<u8>) -> Result<(), PseudoError> {
    file.take(bytes_max as u64 + 1).read_to_end(bytes).map_err(PseudoError::file("reading", path))?;
    if bytes.len() > bytes_max {
        return Err(PseudoError::table(path, format!("longer than {bytes_max} bytes")));
    }
    Ok(())
}

fn text(bytes: &[u8], path: &Path) -> Result<Zeroizing<String>, PseudoError> {
    let text = std::str::from_utf8(bytes).map_err(|_| PseudoError::table(path, "not UTF-8"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Writes a whole file that was not there.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), PseudoError> {
    Fresh::create(path)?.keep_with(content)
}

/// Writes a whole file, in the place of one that may be there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), PseudoError> {
    replace_as(path, content, 0o600)
}

/// The same with what everybody may read.
pub(crate) fn publish(path: &Path, content: &[u8]) -> Result<(), PseudoError> {
    replace_as(path, content, 0o644)
}

fn replace_as(path: &Path, content: &[u8], mode: u32) -> Result<(), PseudoError> {
    let next = beside(path, ".next");
    let failed = || PseudoError::file("making", &next);
    if own::is_there(&next) {
        // what a kill left, or a link that somebody put there: it is not written into
        remove(&next)?;
    }
    step().map_err(failed())?;
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&next);
    let file = file.map_err(failed())?;
    // whatever the umask takes away
    let set = file.set_permissions(fs::Permissions::from_mode(mode));
    let written = set.and_then(|()| write_all(&file, content)).and_then(|()| file.sync_all());
    written.map_err(PseudoError::file("writing", &next))?;
    rename(&next, path)
}

/// Gives a file another name in its folder, for good.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), PseudoError> {
    step().and_then(|()| fs::rename(from, to)).map_err(PseudoError::file("naming", to))?;
    sync_folder(folder_of(to))
}

/// Removes a file's name.
pub(crate) fn remove(path: &Path) -> Result<(), PseudoError> {
    step().and_then(|()| fs::remove_file(path)).map_err(PseudoError::file("removing", path))
}

/// Cuts a file to a length and appends to it; it is made if it is to begin here. On the disk when this returns.
pub(crate) fn append(path: &Path, length: u64, content: &[u8]) -> Result<(), PseudoError> {
    let failed = || PseudoError::file("writing", path);
    let is_new = !own::is_there(path);
    step().map_err(failed())?;
    // what has a beginning and is not there was taken away: its end alone would be no log
    let file = own::open(path, OpenOptions::new().write(true).create(length == 0).truncate(false));
    let mut file = file.map_err(failed())?;
    file.set_len(length).and_then(|()| file.seek(SeekFrom::End(0))).map_err(failed())?;
    write_all(&file, content).and_then(|()| file.sync_all()).map_err(failed())?;
    if is_new { sync_folder(folder_of(path)) } else { Ok(()) }
}

/// Overwrites a small file and removes it. It loses its name first, so that nobody meets it half overwritten; what is left under the other
/// name by a kill is for [`is_left_over`]. A link is refused: what it leads to would stay. What the disk itself keeps of it is not in a
/// program's hands.
pub(crate) fn destroy(path: &Path) -> Result<(), PseudoError> {
    let failed = || PseudoError::file("destroying", path);
    if !fs::symlink_metadata(path).map_err(failed())?.is_file() {
        return Err(PseudoError::table(path, "a link or no file: what it leads to would not be destroyed"));
    }
    let gone = beside(path, GONE);
    rename(path, &gone)?;
    wipe(&gone)
}

/// Overwrites and removes a file that has no name of its own any more. Of a link the name alone is removed: what it leads to is somebody else's.
pub(crate) fn wipe(path: &Path) -> Result<(), PseudoError> {
    let failed = || PseudoError::file("destroying", path);
    step().map_err(failed())?;
    let here = fs::symlink_metadata(path).map_err(failed())?;
    if !here.is_symlink() {
        let file = own::open(path, OpenOptions::new().write(true)).map_err(failed())?;
        let opened = file.metadata().map_err(failed())?;
        if (opened.dev(), opened.ino()) != (here.dev(), here.ino()) {
            return Err(PseudoError::table(path, "another file since it was looked at"));
        }
        zero(&file, path)?;
    }
    remove(path)?;
    sync_folder(folder_of(path))
}

/// Overwrites all of a file from its beginning, on the disk.
fn zero(file: &File, path: &Path) -> Result<(), PseudoError> {
    let failed = || PseudoError::file("destroying", path);
    let zeros = vec![0; WIPE_BYTES];
    let mut at = 0;
    // by place, and until there is no more: somebody may still be writing to it
    loop {
        let left = file.metadata().map_err(failed())?.len().saturating_sub(at);
        if left == 0 {
            return file.sync_all().map_err(failed());
        }
        let part = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        step().and_then(|()| file.write_all_at(&zeros[..part], at)).map_err(failed())?;
        at += part as u64;
    }
}

/// Destroys what a kill left of a file. One that had its name already is the same bytes under two names: overwriting what is left of its making
/// would destroy the file itself, so that loses its other name alone.
pub(crate) fn sweep(path: &Path) -> Result<(), PseudoError> {
    if is_named(path).map_err(PseudoError::file("looking at", path))? {
        remove(path)?;
        return sync_folder(folder_of(path));
    }
    wipe(path)
}

/// Whether a file that was being made has its name.
fn is_named(partial: &Path) -> io::Result<bool> {
    let name = partial.file_name().unwrap_or_default().to_string_lossy();
    let Some((name, _)) = name.strip_suffix(PARTIAL).and_then(|name| name.rsplit_once('.')) else {
        return Ok(false);
    };
    let here = fs::symlink_metadata(partial)?;
    match fs::symlink_metadata(partial.with_file_name(name)) {
        Ok(named) => Ok((here.dev(), here.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file is what a kill left of one that was being made, replaced or destroyed.
pub(crate) fn is_left_over(name: &str) -> bool {
    [PARTIAL, ".next", GONE].iter().any(|suffix| name.ends_with(suffix))
}

/// Names in a folder, sorted; more than so many are an error, since none may be missed.
pub(crate) fn names(folder: &Path, most: usize) -> Result<Vec<String>, PseudoError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(PseudoError::file("listing", folder))? {
        let name = entry.map_err(PseudoError::file("listing", folder))?.file_name();
        if names.len() == most {
            return Err(PseudoError::table(folder, format!("more than {most} files are in this folder")));
        }
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// Writes all of it. Files that are written here are small, or written in pieces.
pub(crate) fn write_all(mut file: &File, content: &[u8]) -> io::Result<()> {
    let (first, second) = content.split_at(content.len() / 2);
    step()?;
    file.write_all(first)?;
    step()?;
    file.write_all(second)
}

/// Called before everything that changes a disk, for tests that stop a program there.
pub(crate) fn step() -> io::Result<()> {
    #[cfg(test)]
    fuse::burn()?;
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

/// The folder that a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Flushes a folder, so that names made or removed in it survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> Result<(), PseudoError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(PseudoError::file("flushing", path))
}

/// Fills a buffer with random bytes from the operating system.
pub(crate) fn random(buffer: &mut [u8]) -> Result<(), PseudoError> {
    let failed = |error: getrandom::Error| io::Error::other(error.to_string());
    getrandom::fill(buffer)
        .map_err(failed)
        .map_err(PseudoError::file("drawing random bytes", Path::new("the system")))
}

/// Stops a test's program before one of its steps: from there on nothing changes on the disk, as after a kill.
#[cfg(test)]
pub(crate) mod fuse {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Lets so many steps pass; `None` lets all of them.
    pub(crate) fn set(steps: Option<u64>) {
        LEFT.set(steps);
    }

    /// Whether the program was stopped.
    pub(crate) fn is_burnt() -> bool {
        LEFT.get() == Some(0)
    }

    pub(super) fn burn() -> io::Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => Err(io::Error::other("stopped here")),
            Some(left) => {
                LEFT.set(Some(left - 1));
                if left == 1 { Err(io::Error::other("stopped here")) } else { Ok(()) }
            }
        }
    }
}

#[cfg(test)]
mod tests;
