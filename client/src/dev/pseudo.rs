//! The pseudonymisation service beside a development region: made once with demo data, a policy and people, then kept running.
//!
//! ```text
//! pseudo/service.toml policy.toml      what it does; kept as somebody changes them
//! pseudo/keys/ shares/                 its keys, and the shares that open them
//! pseudo/NAME.operator .passphrase     who signs: service, second-person
//! pseudo/NAME.credentials              access keys with narrow rights: service, second-person, analyst
//! pseudo/NAME.env                      the same as variables of a shell, for the commands that are shown
//! pseudo/public.key                    what manifests are checked with
//! ```
//!
//! It is a program of its own, and nothing here knows its code: it is asked by its command line. Who reads the folder has all
//! of it, keys with their shares included: that is for development only.

mod demo;
mod make;

use super::control::Process;
use super::keeper::{self, Keeper, Start};
use super::{DevReady, Ports, health};
use crate::{ClientError, files, programs};
use make::Tool;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What it is called among processes.
pub const NAME: &str = "pseudo";

const SOURCE: &str = "pseudo-demo-source";
const DRAFTS: &str = "pseudo-demo-drafts";
const RELEASED: &str = "pseudo-demo-released";
const BUCKETS: [&str; 3] = [SOURCE, DRAFTS, RELEASED];
/// Where in the bucket of sources the demo's jobs lie, as the policy has it.
const SOURCE_PREFIX: &str = "jobs/";
/// Where in their buckets exports lie.
const PREFIX: &str = "usage";
const DOMAIN: &str = "print-demo";
const JOB: &str = "print-usage";
const POLICY: &str = include_str!("pseudo/policy.toml");
const SERVICE_CONFIG: &str = include_str!("pseudo/service.toml");
/// The service and its commands speak to this machine alone, past any proxy of its user.
const DIRECT: [(&str, &str); 2] = [("NO_PROXY", "127.0.0.1,localhost"), ("no_proxy", "127.0.0.1,localhost")];
/// Opening its keys takes a fraction of a second; a crowded machine may need many times that.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the first export is waited for, once the service runs.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Ends by itself before it ever answered, after which it is said not to start.
const FIRST_STARTS_MAX: u32 = 3;

/// The service's folder.
struct Folder(PathBuf);

/// A pseudonymisation service that runs, and its demo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PseudoReady {
    /// Its pid.
    pub pid: u32,
    /// Its folder.
    pub data: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// `host:port` of health and metrics.
    pub health_address: String,
    /// The job that makes exports.
    pub job: String,
    /// Its policy.
    pub policy: PathBuf,
    /// What it reads, as `s3://BUCKET/PREFIX/`.
    pub source: String,
    /// Where drafts appear.
    pub drafts: String,
    /// Where exports are released to.
    pub released: String,
    /// What manifests are checked with.
    pub public_key: String,
    /// The newest draft, as far as there is one.
    pub export: Option<String>,
    /// Variables for whoever releases as the second person.
    pub second_person: PathBuf,
    /// Variables for whoever reads what was released.
    pub analyst: PathBuf,
}

/// The service of the development folder `data` as a process.
pub fn process(data: &Path) -> Result<Process, ClientError> {
    if !folder(data).exists() {
        let problem = format!("{} has no pseudonymisation service", data.display());
        return Err(ClientError::state(problem, "`twinkeep dev --pseudo` makes one when it starts"));
    }
    Ok(files_of(data))
}

fn folder(data: &Path) -> Folder {
    Folder(data.join(NAME))
}

fn files_of(data: &Path) -> Process {
    let pair = if super::pair::is_pair(data) { " --pair" } else { "" };
    Process {
        name: NAME.to_owned(),
        record: data.join("run/pseudo.json"),
        held: data.join("run/pseudo.held"),
        log: data.join("logs/pseudo.log"),
        supervisor: data.join("run/pseudo-supervisor.json"),
        command: format!("twinkeep dev{pair} --pseudo --data {}", data.display()),
    }
}

/// The service of one development folder, before anything of it is made or run.
pub(super) struct Service {
    data: PathBuf,
    program: PathBuf,
    listen: SocketAddr,
}

impl Service {
    /// Finds its program, ends what an earlier run could not end, and sees that its port is free.
    pub(super) fn find(data: &Path, ports: Ports) -> Result<Self, ClientError> {
        let (program, process) = (programs::find_pseudo()?, files_of(data));
        if process.is_supervised() {
            let problem = format!("another `twinkeep dev` runs on {}", data.display());
            return Err(ClientError::state(
                problem,
                "end it, or use another folder with --data DIR --port-base N",
            ));
        }
        keeper::end_leftover(&process)?;
        ports.check_pseudo_free()?;
        Ok(Self { data: data.to_owned(), program, listen: ports.pseudo() })
    }

    /// Makes what is missing and runs the service until the end. `told` hears once what it is, or why there is none; nothing
    /// if it was told to end before.
    pub(super) fn run(
        &self,
        region: &DevReady,
        ending: &AtomicBool,
        told: impl FnOnce(Result<PseudoReady, ClientError>),
    ) {
        let folder = folder(&self.data);
        let is_new = !folder.exists();
        let keeper = match self.begin(&folder, region, ending) {
            Ok(Some(keeper)) => keeper,
            Ok(None) => return,
            Err(_) if ending.load(Ordering::Relaxed) => return,
            Err(error) => return told(Err(error)),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| keeper.keep(ending));
            if let Some(ready) = self.ready(&folder, &keeper, region, is_new, ending).transpose() {
                told(ready);
            }
        });
    }

    fn begin(
        &self,
        folder: &Folder,
        region: &DevReady,
        ending: &AtomicBool,
    ) -> Result<Option<Keeper>, ClientError> {
        if !make::make(folder, &self.program, region, self.listen, ending)? {
            return Ok(None);
        }
        for name in ["second-person", "analyst"] {
            files::write(&folder.environment(name), environment(folder, region, name)?.as_bytes())?;
        }
        let start = Start {
            title: "the pseudonymisation service",
            program: self.program.clone(),
            arguments: ["serve", "--config", "service.toml", "--exit-on-stdin-eof"]
                .map(OsString::from)
                .to_vec(),
            // its socket has a short name then
            folder: folder.0.clone(),
            environment: &DIRECT,
        };
        Keeper::begin(start, files_of(&self.data)).map(Some)
    }

    /// What is said of it once it answers and, where it was just made, has a draft; `None` when it was told to end before.
    fn ready(
        &self,
        folder: &Folder,
        keeper: &Keeper,
        region: &DevReady,
        is_new: bool,
        ending: &AtomicBool,
    ) -> Result<Option<PseudoReady>, ClientError> {
        let process = files_of(&self.data);
        let does_not_start = || {
            let advice = format!("its log says why: {}", process.log.display());
            ClientError::state("the pseudonymisation service does not start", advice)
        };
        let deadline = Instant::now() + READY_TIMEOUT;
        while health::get(self.listen, "/health/live").is_none() {
            if ending.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if keeper.ended() >= FIRST_STARTS_MAX || Instant::now() > deadline {
                return Err(does_not_start());
            }
            std::thread::sleep(AGAIN_AFTER);
        }
        let pid = keeper.started().ok_or_else(does_not_start)?;
        let tool = Tool { program: &self.program, folder: &folder.0 };
        let deadline = Instant::now() + if is_new { EXPORT_TIMEOUT } else { Duration::ZERO };
        let mut export = newest(&tool, region);
        while export.is_none() && Instant::now() < deadline && !ending.load(Ordering::Relaxed) {
            std::thread::sleep(AGAIN_AFTER);
            export = newest(&tool, region);
        }
        Ok(Some(PseudoReady {
            pid,
            data: folder.0.clone(),
            log: process.log.clone(),
            health_address: self.listen.to_string(),
            job: JOB.to_owned(),
            policy: folder.policy(),
            source: format!("s3://{SOURCE}/{SOURCE_PREFIX}"),
            drafts: format!("s3://{DRAFTS}/{PREFIX}"),
            released: format!("s3://{RELEASED}/{PREFIX}"),
            public_key: files::read(&folder.public_key())?.trim().to_owned(),
            export,
            second_person: folder.environment("second-person"),
            analyst: folder.environment("analyst"),
        }))
    }
}

/// The newest export in the register, one that nobody decided on before others. A region that cannot say it now has none to show.
fn newest(tool: &Tool<'_>, region: &DevReady) -> Option<String> {
    let drafts = format!("s3://{DRAFTS}/{PREFIX}");
    let register = tool.run(&[
        "register",
        &drafts,
        "--key",
        "public.key",
        "--endpoint",
        &region.endpoint,
        "--region",
        &region.region,
        "--credentials",
        "second-person.credentials",
    ]);
    let register = register.ok()?;
    let exports = register["exports"].as_array()?;
    let is_draft = |export: &&serde_json::Value| export["state"] == "draft";
    let found = exports.iter().rev().find(is_draft).or(exports.last())?;
    found["export"].as_str().map(str::to_owned)
}

/// What somebody's shell needs to act as them.
fn environment(folder: &Folder, region: &DevReady, name: &str) -> Result<String, ClientError> {
    let mut text = String::from("# Written by `twinkeep dev --pseudo` at every start.\n");
    let credentials = files::read(&folder.credentials(name))?;
    credentials.lines().for_each(|line| text.push_str(&format!("export {line}\n")));
    let _ = writeln!(text, "export AWS_ENDPOINT_URL={}", region.endpoint);
    let _ = writeln!(text, "export AWS_REGION={0} AWS_DEFAULT_REGION={0}", region.region);
    let _ = writeln!(text, "export PSEUDO_PUBLIC_KEY={}", quoted(&folder.public_key()));
    if folder.operator(name).exists() {
        let passphrase = files::read(&folder.passphrase(name))?;
        let _ = writeln!(text, "export PSEUDO_OPERATOR={}", quoted(&folder.operator(name)));
        let _ = writeln!(text, "export PSEUDO_PASSPHRASE={}", passphrase.trim());
    }
    Ok(text)
}

/// A path as a shell reads it, whatever is in it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

impl PseudoReady {
    /// The section of the page for people.
    pub(super) fn section(&self) -> String {
        let (second, analyst) = (quoted(&self.second_person), quoted(&self.analyst));
        let (drafts, released) = (&self.drafts, &self.released);
        let export = self.export.as_deref().unwrap_or("EXPORT");
        let mut text = format!(
            "Pseudonymisation: what lies in {} becomes drafts in {drafts}, by {}.\n",
            self.source,
            self.policy.display()
        );
        if self.export.is_none() {
            text.push_str("There is no draft yet; the register will name it.\n");
        }
        let _ = write!(
            text,
            "See what there is, release it as the second person, read it as an analyst:\n\n  \
             (. {second}; twinkeep pseudo register {drafts})\n  \
             (. {second}; twinkeep pseudo release approve {drafts}/{export})\n  \
             (. {analyst}; aws s3 cp {released}/{export}/data/part-00000.csv - | head -5)\n\n\
             Its keys open without anybody here, which is for development only: {}.\n\n",
            self.data.join("service.toml").display()
        );
        text
    }
}

#[cfg(test)]
#[path = "pseudo/tests.rs"]
mod tests;
