//! The program `pseudo` on one core: what a run of it takes.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

use crate::error::BenchError;
use crate::process::{is_running, peak_memory_bytes, total_cpu};
use crate::pseudo::policy::DOMAIN;
use crate::region::build;
use crate::scratch::{Scratch, program_folder};

/// How often a running program is looked at: for the peak of its memory, and whether it has ended.
const LOOK: Duration = Duration::from_millis(2);

/// The program, and the core that it runs on.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    core: Core,
}

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    /// From its start to its end.
    pub wall_s: f64,
    /// CPU time of all its threads, user and system.
    pub cpu_s: f64,
    /// Peak of its resident memory.
    pub peak_mib: f64,
    /// What it printed.
    pub output: String,
}

/// The keys that files are pseudonymised under, for one run of the benchmark.
#[derive(Debug)]
pub struct Keys {
    folder: PathBuf,
    shares: Vec<PathBuf>,
}

/// One core of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Core(usize);

impl Core {
    /// The last one that this process may use: the first ones are where a machine's own work lands.
    fn last() -> Result<Self, BenchError> {
        let allowed = sched_getaffinity(None).map_err(not_bound)?;
        let last = (0..CpuSet::MAX_CPU).rev().find(|core| allowed.is_set(*core));
        last.map(Self).ok_or_else(|| not_bound(rustix::io::Errno::NODEV))
    }

    /// Does work on this core alone; what it starts stays there too.
    pub fn hold<T>(self, work: impl FnOnce() -> T) -> Result<T, BenchError> {
        let before = sched_getaffinity(None).map_err(not_bound)?;
        let mut alone = CpuSet::new();
        alone.set(self.0);
        sched_setaffinity(None, &alone).map_err(not_bound)?;
        let done = work();
        sched_setaffinity(None, &before).map_err(not_bound)?;
        Ok(done)
    }
}

impl Program {
    /// The one in `folder`, or beside this program, where cargo first brings it up to date.
    pub fn find(folder: Option<&Path>) -> Result<Self, BenchError> {
        let folder = match folder {
            Some(folder) => folder.canonicalize().map_err(BenchError::file("find", folder))?,
            None => {
                build(&["pseudo"])?;
                program_folder()?
            }
        };
        let path = folder.join("pseudo");
        if path.exists() {
            return Ok(Self { path, core: Core::last()? });
        }
        let detail =
            format!("not found in {}; build it with `cargo build --release -p pseudo`", folder.display());
        Err(BenchError::Process { program: "pseudo".to_owned(), detail })
    }

    /// The core that everything is measured on.
    pub fn core(&self) -> Core {
        self.core
    }

    /// Makes keys for one domain.
    pub async fn make_keys(&self, scratch: &Scratch) -> Result<Keys, BenchError> {
        let (folder, shares) = (scratch.path().join("keys"), scratch.path().join("shares"));
        let (keys, shares_text) = (text(&folder), text(&shares));
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let create =
            ["keys", "create", "--keys", &keys, "--shares", &shares_text, "--count", "2", "--threshold", "2"];
        self.run(&words(&create)).await?;
        let keys_made =
            Keys { folder, shares: [1, 2].map(|share| shares.join(format!("share-{share}.txt"))).into() };
        let mut domain = words(&["keys", "domain", DOMAIN]);
        domain.extend(keys_made.opened());
        self.run(&domain).await?;
        Ok(keys_made)
    }

    /// Runs it to its end on its core.
    pub async fn run(&self, arguments: &[String]) -> Result<Spent, BenchError> {
        let failed = |detail: String| BenchError::Process {
            program: format!("pseudo {}", arguments.first().map_or("", String::as_str)),
            detail,
        };
        let begin = Instant::now();
        let spawn = || {
            tokio::process::Command::new(&self.path)
                .args(arguments)
                .arg("--json")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
        };
        let child = self.core.hold(spawn)?.map_err(|error| failed(error.to_string()))?;
        let pid = child.id().ok_or_else(|| failed("it has no process id".to_owned()))?;
        let mut peak_bytes = 0;
        while is_running(pid) {
            // it may end between the two looks
            peak_bytes = peak_memory_bytes(pid).unwrap_or(0).max(peak_bytes);
            tokio::time::sleep(LOOK).await;
        }
        let wall_s = begin.elapsed().as_secs_f64();
        // it has ended, but nobody has asked how: until then its times can be read, and do not change
        let cpu_s = total_cpu(pid)?.as_secs_f64();
        let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(format!(
                "{}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Spent { wall_s, cpu_s, peak_mib: peak_bytes as f64 / f64::from(1 << 20), output })
    }
}

impl Keys {
    /// The arguments that pseudonymise a file.
    pub fn arguments(&self, policy: &Path, source: &Path, output: &Path) -> Vec<String> {
        let mut all = vec!["run".to_owned(), text(policy), text(source), "-o".to_owned(), text(output)];
        all.extend(self.opened());
        all
    }

    fn opened(&self) -> Vec<String> {
        let shares = self.shares.iter().flat_map(|share| ["--share".to_owned(), text(share)]);
        ["--keys".to_owned(), text(&self.folder)].into_iter().chain(shares).collect()
    }
}

/// Fails unless the program says that it treated as many as it was given: a figure for less work would be none.
pub fn expect_count(output: &str, name: &str, expected: u64) -> Result<(), BenchError> {
    let said: Option<Value> = serde_json::from_str(output).ok();
    let found = said.and_then(|said| said[name].as_u64());
    if found == Some(expected) {
        return Ok(());
    }
    let detail = format!("`pseudo` says {name} is {found:?}, it was given {expected}");
    Err(BenchError::Verdict { detail })
}

pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn not_bound(error: rustix::io::Errno) -> BenchError {
    BenchError::Argument {
        what: "core",
        detail: format!("this process cannot be bound to one core: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_held_on_one_core_and_no_longer() {
        let before = sched_getaffinity(None).unwrap();
        let core = Core::last().unwrap();
        let (held, seen) =
            core.hold(|| (sched_getaffinity(None).unwrap(), rustix::thread::sched_getcpu())).unwrap();
        assert_eq!((held.count(), seen), (1, core.0));
        assert_eq!(sched_getaffinity(None).unwrap().count(), before.count());
    }

    #[test]
    fn a_run_that_treated_less_is_no_figure() {
        assert!(expect_count(r#"{"records_out":5}"#, "records_out", 5).is_ok());
        for output in [r#"{"records_out":4}"#, "{}", ""] {
            assert!(expect_count(output, "records_out", 5).is_err(), "{output}");
        }
    }
}
