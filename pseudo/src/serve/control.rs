//! The socket that shares are brought to, and the one who brings them.
//!
//! A connection brings one share as text and ends writing; the answer is one JSON object. Nothing that was brought is in an answer or a log.

use crate::serve::state::Shared;
use crate::{PseudoError, keys};
use custody::Share;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream as Stream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Whoever brings a share has it ready.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer, bytes: an object of a few words.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
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

    /// Takes shares until `stop`, one connection after another.
    pub(crate) async fn serve(self, shared: Arc<Shared>, stop: CancellationToken) {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((stream, _)) = stream else { continue };
            tokio::select! {
                () = stop.cancelled() => break,
                _ = timeout(PATIENCE, answer(stream, &shared)) => {}
            }
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

/// Brings a share to a service; what it says.
pub(crate) fn unlock(control: &Path, share: &Path) -> Result<Value, PseudoError> {
    let text = match share.as_os_str() == "-" {
        true => from_standard_input()?,
        false => Zeroizing::new(crate::files::read(share, keys::SHARE_TEXT_BYTES_MAX)?.to_vec()),
    };
    let failed = |operation| PseudoError::file(operation, control);
    let mut stream = Stream::connect(control).map_err(failed("reaching the service at"))?;
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
