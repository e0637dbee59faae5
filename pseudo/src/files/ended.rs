//! Outputs that are being made when somebody ends the program: destroyed, as when it fails.

use super::zero;
use crate::PseudoError;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the exit codes of ended programs begin with.
const EXIT_SIGNAL: i32 = 128;

/// How long a signal may wait.
const LOOK: Duration = Duration::from_millis(20);

/// What is being made, by its name.
struct Made {
    files: BTreeMap<PathBuf, File>,
    is_watched: bool,
}

static MADE: Mutex<Made> = Mutex::new(Made { files: BTreeMap::new(), is_watched: false });

/// From now on the file is destroyed when SIGINT, SIGTERM or SIGHUP ends the program, until [`end`].
pub(super) fn begin(file: &File, partial: &Path) -> Result<(), PseudoError> {
    let failed = || PseudoError::file("making", partial);
    let file = file.try_clone().map_err(failed())?;
    let mut made = lock();
    if !made.is_watched {
        let signal = Arc::new(AtomicUsize::new(0));
        let ignored = ignored();
        for number in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|number| ignored >> (number - 1) & 1 == 0)
        {
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number.cast_unsigned() as usize)
                .map_err(failed())?;
        }
        std::thread::Builder::new().name("signals".into()).spawn(move || watch(&signal)).map_err(failed())?;
        made.is_watched = true;
    }
    made.files.insert(partial.to_owned(), file);
    Ok(())
}

/// What whoever started the program had it ignore, as `nohup` does: a bit for each signal, from the lowest.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// It is whole, or its maker destroys it.
pub(super) fn end(partial: &Path) {
    lock().files.remove(partial);
}

fn lock() -> MutexGuard<'static, Made> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(signal: &AtomicUsize) {
    let number = loop {
        match signal.load(Ordering::Relaxed) {
            0 => std::thread::sleep(LOOK),
            number => break number,
        }
    };
    // held to the end: nothing gets its name any more
    let made = lock();
    for (partial, file) in &made.files {
        // there is nobody to tell about another failure
        let _ = zero(file, partial);
        let _ = fs::remove_file(partial);
        eprintln!("pseudo: ended before it was whole: {} is destroyed", partial.display());
    }
    std::process::exit(EXIT_SIGNAL + i32::try_from(number).unwrap_or_default());
}
