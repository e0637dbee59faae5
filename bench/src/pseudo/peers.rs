//! Programs of others beside ours, on the same file: installed from the Python package index, each in an environment of its own.
//!
//! Their time is counted from opening the file, ours from the start of the process. What they do is as near to ours as they offer.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::BenchError;
use crate::peer::{run, run_in_sight};
use crate::pseudo::findings::{Cell, PeerFinding, Round};
use crate::pseudo::policy::{Format, token_columns};
use crate::pseudo::records::{QUASI, write_hierarchies, write_jobs, write_people};
use crate::pseudo::{Run, program};

/// Where peers are, whether missing ones are installed, and the records of their files.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The folder of environments.
    pub folder: PathBuf,
    /// Whether to install what is missing.
    pub installs: bool,
    /// Records of a file: few, since some peers take milliseconds for one.
    pub records: u64,
}

/// One of them.
struct Peer {
    /// Its function in `peers.py`, and the folder of its environment.
    name: &'static str,
    /// The package and its version, which published figures are about.
    package: &'static str,
    /// What it does, as our program does it too.
    work: Work,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Tokens,
    /// Ours makes tokens, the peer has none to offer.
    Blanks,
    K,
    Search,
}

const PEERS: [Peer; 4] = [
    Peer { name: "presidio", package: "presidio-anonymizer==2.2.366", work: Work::Tokens },
    Peer { name: "dapla", package: "dapla-toolbelt-pseudo==6.2.0", work: Work::Blanks },
    Peer { name: "pycanon", package: "pycanon==1.3.6", work: Work::K },
    Peer { name: "anjana", package: "anjana==1.2.3", work: Work::Search },
];

/// What is done with other packages here.
const SCRIPT: &str = include_str!("peers.py");

/// Measures all of them, and ours on the same files.
pub(crate) async fn measure(ours: &Run<'_>, plan: &Plan) -> Result<Vec<PeerFinding>, BenchError> {
    let jobs = ours.file("peers.ndjson", |path| write_jobs(path, Format::Ndjson, plan.records))?;
    let people = ours.file("peers.csv", |path| write_people(path, plan.records))?;
    let hierarchies = ours.scratch.folder("hierarchies")?;
    write_hierarchies(&hierarchies)?;
    let script = ours.scratch.file("peers.py", SCRIPT)?;
    let mut findings = Vec::new();
    for peer in &PEERS {
        let (file, columns) = match peer.work {
            Work::Tokens | Work::Blanks => (&jobs, token_columns().join(",")),
            Work::K | Work::Search => (&people, QUASI.join(",")),
        };
        let mut finding = PeerFinding {
            peer: peer.package.replace("==", " "),
            work: peer.work.words().to_owned(),
            records: plan.records,
            ..PeerFinding::default()
        };
        let arguments =
            [peer.name, &program::text(file), &columns, &program::text(&hierarchies)].map(str::to_owned);
        match peer.rate(plan, &script, &arguments, ours.program.core()) {
            Ok(per_cpu_s) => {
                finding.per_cpu_s = Some(per_cpu_s);
                let cell = match peer.work {
                    Work::Tokens | Work::Blanks => {
                        ours.pseudonymise("", Format::Ndjson, file, plan.records, false).await?
                    }
                    Work::K => ours.risk("", file, plan.records, "64MiB").await?,
                    Work::Search => search(ours, file, &hierarchies, plan.records).await?,
                };
                finding.ours_per_cpu_s = Some(cell.best_per_cpu_s);
            }
            // one that cannot be had on this machine leaves the others to be measured
            Err(error) => finding.missing = Some(error.chain().lines().last().unwrap_or_default().to_owned()),
        }
        findings.push(finding);
    }
    Ok(findings)
}

/// The search that stands beside the one of `peers.py`.
async fn search(ours: &Run<'_>, file: &Path, hierarchies: &Path, records: u64) -> Result<Cell, BenchError> {
    let (quasi, file, folder) = (QUASI.join(","), program::text(file), program::text(hierarchies));
    let limits = "k=5,suppress=5%";
    let arguments = ["risk", &file, "--quasi", &quasi, "--hierarchies", &folder, "--search", limits];
    let mut rounds = Vec::new();
    for _ in 0..ours.rounds {
        rounds.push(Round::of(&ours.program.run(&arguments.map(str::to_owned)).await?));
    }
    Ok(Cell::of_program("", records, 0, rounds))
}

impl Peer {
    /// Its records per second of processor time.
    fn rate(
        &self,
        plan: &Plan,
        script: &Path,
        arguments: &[String],
        core: program::Core,
    ) -> Result<f64, BenchError> {
        let environment = plan.folder.join(self.name);
        let python = environment.join("bin/python");
        if plan.installs && !python.exists() {
            self.install(&environment)?;
        }
        if !python.exists() {
            let detail = "not installed; `bench pseudo --with-peers --install` does it".to_owned();
            return Err(BenchError::Process { program: self.name.to_owned(), detail });
        }
        let mut words = vec![program::text(script)];
        words.extend_from_slice(arguments);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = core.hold(|| run(&python, &words))??;
        rate_said(&said).ok_or_else(|| BenchError::Process {
            program: self.name.to_owned(),
            detail: format!("it said {said:?}"),
        })
    }

    fn install(&self, environment: &Path) -> Result<(), BenchError> {
        let folder = program::text(environment);
        run_in_sight(Path::new("python3"), &["-m", "venv", &folder])?;
        let done = run_in_sight(
            &environment.join("bin/pip"),
            &["install", "--quiet", "--disable-pip-version-check", self.package],
        );
        if done.is_err() {
            // what is half there would be taken for installed
            std::fs::remove_dir_all(environment).map_err(BenchError::file("remove", environment))?;
        }
        done
    }
}

impl Work {
    fn words(self) -> &'static str {
        match self {
            Self::Tokens => "five fields of NDJSON to tokens",
            Self::Blanks => "the same, blanked by the peer",
            Self::K => "k of a table",
            Self::Search => "a table made 5-anonymous",
        }
    }
}

/// The records per second of what `peers.py` prints last; other packages may print before it.
fn rate_said(said: &str) -> Option<f64> {
    let said: Value = serde_json::from_str(said.lines().last()?).ok()?;
    let (records, seconds) = (said["records"].as_f64()?, said["cpu_s"].as_f64()?);
    (seconds > 0.0).then(|| records / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_said_last_is_its_rate() {
        assert_eq!(rate_said("warning\n{\"records\": 10, \"cpu_s\": 0.5}\n"), Some(20.0));
        for nothing in ["", "warning", "{\"records\": 10}", "{\"records\": 10, \"cpu_s\": 0}"] {
            assert_eq!(rate_said(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn every_peer_has_a_function_and_one_version() {
        for peer in &PEERS {
            assert!(SCRIPT.contains(&format!("def {}(path, columns, ", peer.name)), "{}", peer.name);
            assert_eq!(peer.package.matches("==").count(), 1);
        }
    }
}
