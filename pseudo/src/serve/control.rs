//! The socket that shares are brought to, and the one who brings them.
//!
//! A connection brings one share as text and ends writing; the answer is one JSON object. Nothing that was brought is in an answer or a log.

use crate::serve::state::Shared;
use crate::{PseudoError, keys};
use custody::Share;
use rustix::fs::{FlockOperation, flock};
use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Whoever brings a share has it ready.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer, bytes: an object of a few words.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Connections at once: the people with shares, and some to spare.
const CONNECTIONS_MAX: usize = 256;
/// What everybody may who is neither owner nor of the group.
const OTHERS_WRITE: u32 = 0o002;
/// The owner and the group may bring shares.
const MODE: u32 = 0o660;

/// The socket of a service that runs. Nobody else has it as long as this lives.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
    _lock: File,
}

impl Control {
    /// Listens. One that a killed service left is replaced, one of a service that runs is not.
    pub(crate) fn bind(path: &Path) -> Result<Self, PseudoError> {
        let failed = |operation| PseudoError::file(operation, path);
        let around = folder_of(path);
        let mode = fs::metadata(around).map_err(PseudoError::file("looking at", around))?.mode();
        if mode & OTHERS_WRITE != 0 {
            let problem =
                format!("{}: everybody may put a socket there and be brought shares", around.display());
            return Err(PseudoError::usage(
                problem,
                "chmod o-w it, or name another folder with service.control",
            ));
        }
        let beside = path.with_extension("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&beside);
        let lock = lock.map_err(PseudoError::file("making", &beside))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let problem = format!("{}: a service runs with this socket", path.display());
            return Err(PseudoError::usage(problem, "end it first, or name another with service.control"));
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("removing")(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed("listening at"))?;
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed("restricting"))?;
        Ok(Self { listener, path: path.to_owned(), _lock: lock })
    }

    /// Takes shares until `stop`. Who connects and brings nothing keeps nobody else from bringing theirs.
    pub(crate) async fn serve(self, shared: Arc<Shared>, stop: CancellationToken) {
        // dropped with this, and every connection with it
        let mut connections = JoinSet::new();
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                _ = connections.join_next(), if connections.len() >= CONNECTIONS_MAX => continue,
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
            };
            while connections.try_join_next().is_some() {}
            let Ok((stream, _)) = stream else { continue };
            let shared = Arc::clone(&shared);
            connections.spawn(async move { timeout(PATIENCE, answer(stream, &shared)).await });
        }
        // a socket that is left is replaced by the next start
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, shared: &Shared) -> io::Result<()> {
    // room for all of it at once: growing would leave parts behind
    let mut text = Zeroizing::new(vec![0; keys::SHARE_TEXT_BYTES_MAX + 1]);
    let mut length = 0;
    while length < text.len() {
        match stream.read(&mut text[length..]).await? {
            0 => break,
            count => length += count,
        }
    }
    let said = match bring(&text[..length], shared) {
        Ok(value) => value,
        Err(error) => json!({ "error": error.chain(), "advice": error.advice() }),
    };
    stream.write_all(format!("{said}\n").as_bytes()).await?;
    stream.shutdown().await
}

fn bring(text: &[u8], shared: &Shared) -> Result<Value, PseudoError> {
    let wrong = || PseudoError::usage("this is no share", "bring the file that `pseudo keys create` made");
    let text = std::str::from_utf8(text).map_err(|_| wrong())?;
    let share = Share::from_text(text).map_err(PseudoError::custody("this share"))?;
    shared.bring(share)?;
    let (is_open, given, needed) = shared.opening();
    Ok(json!({ "open": is_open, "given": given, "needed": needed }))
}

/// The folder that a socket is in.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a socket that somebody else than its folder's owner, root or this user listens at.
fn check_listener(stream: &Stream, control: &Path) -> Result<(), PseudoError> {
    let failed = |operation| PseudoError::file(operation, control);
    let listener = socket_peercred(stream).map_err(|error| failed("asking who listens at")(error.into()))?;
    let around = folder_of(control);
    let owner = fs::metadata(around).map_err(PseudoError::file("looking at", around))?.uid();
    let listener = listener.uid.as_raw();
    if [0, owner, geteuid().as_raw()].contains(&listener) {
        return Ok(());
    }
    let problem = format!("user {listener} listens at {}, who does not own its folder", control.display());
    Err(PseudoError::usage(problem, "nothing was brought; find out who replaced the service's socket"))
}

/// Brings a share to a service; what it says.
pub(crate) fn unlock(control: &Path, share: &Path) -> Result<Value, PseudoError> {
    let text = match share.as_os_str() == "-" {
        true => from_standard_input()?,
        false => Zeroizing::new(crate::files::secret::read(share, keys::SHARE_TEXT_BYTES_MAX)?.to_vec()),
    };
    let failed = |operation| PseudoError::file(operation, control);
    let mut stream = Stream::connect(control).map_err(failed("reaching the service (does it run?)"))?;
    check_listener(&stream, control)?;
    stream.set_read_timeout(Some(2 * PATIENCE)).map_err(failed("asking at"))?;
    stream.write_all(&text).and_then(|()| stream.shutdown(Shutdown::Write)).map_err(failed("asking at"))?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).map_err(failed("asking at"))?;
    let answer: Value = serde_json::from_str(&answer)
        .map_err(|_| PseudoError::table(control, "it answered nothing that can be understood"))?;
    match answer["error"].as_str() {
        None => Ok(answer),
        Some(error) => {
            let advice = answer["advice"].as_str().unwrap_or_default();
            Err(PseudoError::usage(error, advice))
        }
    }
}

fn from_standard_input() -> Result<Zeroizing<Vec<u8>>, PseudoError> {
    let mut text = Zeroizing::new(Vec::with_capacity(keys::SHARE_TEXT_BYTES_MAX + 1));
    let reading = io::stdin().lock().take(keys::SHARE_TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut text);
    reading.map_err(PseudoError::file("reading", Path::new("standard input")))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_everybody_may_write_to_holds_no_control_socket() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let refused = Control::bind(&folder.path().join("control")).err().unwrap();
        assert!(refused.to_string().contains("everybody may put a socket there"), "{refused}");
    }
}
