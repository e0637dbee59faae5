//! The witness of a development pair: makes it, keeps it running, and ends it with the pair.
//!
//! A witness that cannot be made or does not start keeps no region from serving: it is said, and that is all. Nodes are told
//! that there is one as soon as its folder is there.

use super::control::Process;
use super::pair::{REGIONS, WitnessReady};
use super::process::wait_until;
use super::{DevFolder, ProcessRecord, ProcessState};
use crate::region::read_descriptor;
use crate::witness::{self, Memory, Mode, NAME_DEFAULT, WitnessFolder};
use crate::{ClientError, files};
use rustix::process::Signal;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// How often the child and its marks are looked at.
const TICK: Duration = Duration::from_millis(20);
/// First and longest wait before a witness that ended by itself is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// One that ran this long is well again.
const WELL_AFTER: Duration = Duration::from_secs(30);
/// What it gets to end by itself: a question to a halted node takes a second and a half.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a first start may take until it counts as none.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// The log is set aside at start when it is longer than this, bytes.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// The witness's folder below that of its pair.
pub fn folder(data: &Path) -> WitnessFolder {
    WitnessFolder::new(&data.join("witness"))
}

/// The witness as a process, below the folder of its pair.
pub fn process(data: &Path) -> Result<Process, ClientError> {
    if !folder(data).exists() {
        let problem = format!("{} has no witness", data.display());
        return Err(ClientError::state(problem, "`twinkeep dev --pair` makes one when it starts"));
    }
    Ok(files_of(data))
}

/// Whether the region in a development folder has a witness beside it.
pub(super) fn is_made_for(region: &DevFolder) -> bool {
    region.root().parent().is_some_and(|data| folder(data).exists())
}

fn files_of(data: &Path) -> Process {
    Process {
        name: "witness".to_owned(),
        record: data.join("run/witness.json"),
        held: data.join("run/witness.held"),
        log: data.join("logs/witness.log"),
        supervisor: data.join("run/supervisor.json"),
        command: format!("twinkeep dev --pair --data {}", data.display()),
    }
}

/// Keeps the witness of one pair.
pub(super) struct Keeper {
    folder: WitnessFolder,
    process: Process,
    program: PathBuf,
    mode: Mode,
}

impl Keeper {
    /// Makes the witness, or brings it up to date with its regions; nothing, and why is said, if that fails.
    pub(super) fn begin(data: &Path, mode: Mode) -> Option<Self> {
        let begun = || {
            let folder = folder(data);
            make(data, &folder)?;
            for name in ["logs", "run"] {
                files::make_folder(&data.join(name))?;
            }
            let process = files_of(data);
            end_leftover(&process)?;
            if let Some(own) = ProcessRecord::of(std::process::id()) {
                own.write(&process.supervisor)?;
            }
            let program =
                std::env::current_exe().map_err(ClientError::file("finding", Path::new("twinkeep")))?;
            Ok(Self { folder, process, program, mode })
        };
        begun().map_err(|error: ClientError| eprintln!("twinkeep: the witness is not run: {error}")).ok()
    }

    /// Runs it until the end.
    pub(super) fn keep(&self, ending: &AtomicBool) {
        let (mut start_at, mut backoff) = (Instant::now(), BACKOFF.0);
        let mut running: Option<(Child, Instant)> = None;
        while !ending.load(Ordering::Relaxed) {
            let is_held = self.process.held.exists();
            if let Some((child, began)) = &mut running
                && !matches!(child.try_wait(), Ok(None))
            {
                backoff =
                    if began.elapsed() >= WELL_AFTER { BACKOFF.0 } else { (backoff * 2).min(BACKOFF.1) };
                start_at = Instant::now() + if is_held { Duration::ZERO } else { backoff };
                running = None;
                if !is_held {
                    let log = self.process.log.display();
                    eprintln!("twinkeep: the witness ended; starting it again ({log} says why)");
                }
            }
            if running.is_none() && !is_held && Instant::now() >= start_at {
                match self.spawn() {
                    Ok(child) => running = Some((child, Instant::now())),
                    Err(error) => {
                        eprintln!("twinkeep: the witness does not start: {error}");
                        start_at = Instant::now() + BACKOFF.1;
                    }
                }
            }
            std::thread::sleep(TICK);
        }
        if let Some((child, _)) = running {
            self.end(child);
        }
        let _ = std::fs::remove_file(&self.process.supervisor);
    }

    /// What the pair says of it when it is ready.
    pub(super) fn ready(&self) -> Option<WitnessReady> {
        let mut record = None;
        wait_until(START_TIMEOUT, || {
            record = ProcessRecord::read(&self.process.record);
            record.is_some_and(|record| record.state() != ProcessState::Ended)
        });
        let record = record.filter(|record| record.state() != ProcessState::Ended)?;
        Some(WitnessReady { pid: record.pid, data: self.folder.root().to_owned(), mode: self.mode })
    }

    fn spawn(&self) -> Result<Child, ClientError> {
        let path = &self.process.log;
        if std::fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            let _ = std::fs::rename(path, path.with_extension("log.old"));
        }
        let log = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let log = log.map_err(ClientError::file("opening", path))?;
        let mut command = Command::new(&self.program);
        command.args(["witness", "run"]).arg(self.folder.root()).arg("--exit-on-stdin-eof");
        if self.mode == Mode::Automatic {
            command.arg("--automatic");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(ClientError::file("running", &self.program))?;
        let recorded = ProcessRecord::of(child.id())
            .ok_or_else(|| {
                ClientError::state("/proc does not show the processes of this machine", "mount /proc")
            })
            .and_then(|record| record.write(&self.process.record));
        if let Err(error) = recorded {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        Ok(child)
    }

    fn end(&self, mut child: Child) {
        if let Some(record) = ProcessRecord::read(&self.process.record) {
            let _ = record.signal(Signal::TERM);
            // one that is halted could not hear it
            let _ = record.signal(Signal::CONT);
        }
        if !wait_until(END_TIMEOUT, || matches!(child.try_wait(), Ok(Some(_)))) {
            let _ = child.kill();
        }
        let _ = child.wait();
        let _ = std::fs::remove_file(&self.process.record);
    }
}

/// Makes the witness unless it knows its regions as they are.
fn make(data: &Path, folder: &WitnessFolder) -> Result<(), ClientError> {
    let regions = REGIONS.map(|name| DevFolder::new(&data.join(name)).region());
    let knows = |position: usize| {
        let own = read_descriptor(&folder.identity(position).join("region.toml")).ok();
        own.is_some() && own == regions[position].read_descriptor().ok()
    };
    if folder.exists() && knows(0) && knows(1) {
        return Ok(());
    }
    let never_ran = |name: &str| !DevFolder::new(&data.join(name)).credentials().exists();
    let is_new = !folder.exists() && REGIONS.into_iter().all(never_ran);
    witness::make(folder, [&regions[0], &regions[1]], NAME_DEFAULT, SystemTime::now())?;
    if is_new && !folder.memory().exists() {
        // no region that was relieved is to be told from another: the first to serve need not wait for the other one
        Memory { is_informed: true, ..Memory::default() }.write(&folder.memory())?;
    }
    Ok(())
}

/// Ends what a supervisor that was killed could not end, and forgets that it was held.
fn end_leftover(process: &Process) -> Result<(), ClientError> {
    if let Some(record) = ProcessRecord::read(&process.record) {
        record.signal(Signal::KILL)?;
        record.wait_for(ProcessState::Ended, END_TIMEOUT);
    }
    let _ = std::fs::remove_file(&process.record);
    let _ = std::fs::remove_file(&process.held);
    Ok(())
}
