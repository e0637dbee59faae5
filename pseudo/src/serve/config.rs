//! The service's configuration: one TOML file, read strictly and checked whole before anything is begun. Keys are documented in [`keys`].
//!
//! Nothing in it is secret. Policies are read once, with it: another policy counts from the next start, at which the people with shares
//! are asked again.

pub(crate) mod keys;

use crate::export::Wanted;
use crate::operators::{Acting, Passphrase};
use crate::s3::{Connection, Place};
use crate::serve::schedule::Schedule;
use crate::{PseudoError, clock, files, policies};
use pipeline::SHUFFLE_MEMORY_BYTES;
use policy::{Period, Policy, Spec};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The file, bytes: a hundred jobs are some ten KiB.
const CONFIG_BYTES_MAX: usize = 1 << 20;
/// Jobs of one service; they are run one after another.
const JOBS_MAX: usize = 100;
/// Characters of a job's name: with a time it is an export's.
const NAME_CHARACTERS_MAX: usize = 64;
/// Shares that are read at start: as many as there can be.
const SHARE_FILES_MAX: usize = 255;
/// How often a job may be due, seconds: each time lists the drafts.
const EVERY_SECONDS: std::ops::RangeInclusive<u64> = 10..=366 * 86_400;
const MEMORY_MIB: std::ops::RangeInclusive<u32> = 1..=1 << 20;
const LISTEN_DEFAULT: &str = "127.0.0.1:9110";
const REGION_DEFAULT: &str = "us-east-1";
const PART_ROWS_DEFAULT: u64 = 1 << 20;

/// What the service does, checked.
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    pub(crate) control: PathBuf,
    pub(crate) temporary: PathBuf,
    pub(crate) memory_bytes: usize,
    pub(crate) keys: PathBuf,
    pub(crate) share_files: Vec<PathBuf>,
    /// What names the token that opens the keys at start.
    pub(crate) token: Option<PathBuf>,
    pub(crate) acting: Acting,
    pub(crate) connection: Connection,
    /// When exports are deleted whose day has come, if this service does that.
    pub(crate) retention: Option<Schedule>,
    pub(crate) log: LogConfig,
    pub(crate) jobs: Vec<JobConfig>,
}

/// Exports that are made again and again.
pub(crate) struct JobConfig {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    /// The file it is from; who agreed to it is beside it.
    pub(crate) policy_file: PathBuf,
    pub(crate) drafts: Place,
    pub(crate) sources: Vec<Place>,
    pub(crate) recipient: Option<String>,
    pub(crate) schedule: Schedule,
    pub(crate) incremental: bool,
    /// Whether its exports may be empty.
    pub(crate) allow_empty: bool,
    pub(crate) part_rows: u64,
}

/// What is logged, and how.
#[derive(Clone, Copy)]
pub(crate) struct LogConfig {
    pub(crate) level: LogLevel,
    pub(crate) format: LogFormat,
}

/// The least important that is logged.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

/// How a line is written.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Json,
    Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    service: ServiceTable,
    keys: KeysTable,
    operator: OperatorTable,
    s3: S3Table,
    retention: Option<RetentionTable>,
    #[serde(default)]
    log: LogTable,
    job: Vec<JobTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceTable {
    listen: Option<SocketAddr>,
    control: PathBuf,
    temporary: Option<PathBuf>,
    memory_mib: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysTable {
    folder: PathBuf,
    #[serde(default)]
    share_files: Vec<PathBuf>,
    token: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorTable {
    file: PathBuf,
    passphrase_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct S3Table {
    endpoint: String,
    region: Option<String>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    allow_http: bool,
    credentials_file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionTable {
    every: Option<String>,
    daily_at: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    #[serde(default)]
    level: LogLevel,
    #[serde(default)]
    format: LogFormat,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobTable {
    name: String,
    policy: PathBuf,
    drafts: String,
    #[serde(default)]
    sources: Vec<String>,
    recipient: Option<String>,
    every: Option<String>,
    daily_at: Option<String>,
    #[serde(default)]
    incremental: bool,
    #[serde(default)]
    allow_empty: bool,
    part_rows: Option<u64>,
}

/// Where a configuration is, for what is said about it.
struct Reading<'a> {
    path: &'a Path,
    folder: PathBuf,
}

impl Config {
    /// Reads a configuration, and the policies that it names.
    pub(crate) fn load(path: &Path) -> Result<Self, PseudoError> {
        let text = files::read_text(path, CONFIG_BYTES_MAX)?;
        let file: ConfigFile = toml::from_str(&text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
            let problem = format!("{}:{line}: {}", path.display(), error.message().replace('\n', " "));
            PseudoError::usage(problem, "`pseudo serve --list` shows all keys")
        })?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Reading { path, folder }.checked(file)
    }
}

impl Reading<'_> {
    fn checked(&self, file: ConfigFile) -> Result<Config, PseudoError> {
        let listen = match file.service.listen {
            Some(listen) => listen,
            None => LISTEN_DEFAULT.parse().expect("an address that is written here"),
        };
        if !listen.ip().is_loopback() {
            let advice =
                "name an address of this machine alone: what is told there is for its own monitoring";
            return Err(self.wrong("service.listen", "an address that others can reach", advice));
        }
        let memory_mib = file.service.memory_mib.unwrap_or((SHUFFLE_MEMORY_BYTES >> 20) as u32);
        if !MEMORY_MIB.contains(&memory_mib) {
            return Err(self.wrong("service.memory_mib", "outside 1 to 1048576", "say it in MiB"));
        }
        if file.keys.share_files.len() > SHARE_FILES_MAX {
            return Err(self.wrong(
                "keys.share_files",
                "more files than there can be shares",
                "name each once",
            ));
        }
        if file.keys.token.is_some() && !file.keys.share_files.is_empty() {
            let problem = "keys.share_files open the keys as well";
            return Err(self.wrong("keys.token", problem, "keep one of the two"));
        }
        let connection = Connection {
            endpoint: Some(file.s3.endpoint),
            region: file.s3.region.unwrap_or_else(|| REGION_DEFAULT.to_owned()),
            ca_file: file.s3.ca_file.map(|path| self.at(&path)),
            allow_http: file.s3.allow_http,
            credentials: Some(self.at(&file.s3.credentials_file)),
        };
        connection.check()?;
        let retention = file.retention.map(|table| self.schedule("retention", table.every, table.daily_at));
        if file.job.is_empty() || file.job.len() > JOBS_MAX {
            return Err(self.wrong("job", "no job, or more than 100", "say [[job]] for each"));
        }
        let jobs: Vec<JobConfig> = file.job.into_iter().map(|job| self.job(job)).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = jobs.iter().find(|job| !names.insert(&job.name)) {
            let problem = format!("two jobs are called {}", twice.name);
            return Err(self.wrong(
                "job.name",
                &problem,
                "a name says whose exports they are: give each its own",
            ));
        }
        let acting = Acting {
            operator: self.at(&file.operator.file),
            passphrase: Passphrase { passphrase_file: Some(self.at(&file.operator.passphrase_file)) },
        };
        Ok(Config {
            listen,
            control: self.at(&file.service.control),
            temporary: file.service.temporary.map_or_else(std::env::temp_dir, |path| self.at(&path)),
            memory_bytes: (memory_mib as usize) << 20,
            keys: self.at(&file.keys.folder),
            share_files: file.keys.share_files.iter().map(|path| self.at(path)).collect(),
            token: file.keys.token.map(|path| self.at(&path)),
            acting,
            connection,
            retention: retention.transpose()?,
            log: LogConfig { level: file.log.level, format: file.log.format },
            jobs,
        })
    }

    fn job(&self, table: JobTable) -> Result<JobConfig, PseudoError> {
        let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let starts_well = table.name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if table.name.len() > NAME_CHARACTERS_MAX || !starts_well || !table.name.bytes().all(is_known) {
            let advice = "1 to 64 of a-z, 0-9, '-', '_', and a letter or digit first";
            return Err(self.wrong("job.name", "a job cannot be called so", advice));
        }
        let place = |key: &str, text: &String| {
            Place::parse(text).map_err(|problem| self.wrong(key, &problem, "write s3://bucket/prefix"))
        };
        if table.part_rows == Some(0) {
            return Err(self.wrong("job.part_rows", "a part without rows", "say 1 or more, or leave it out"));
        }
        let job = JobConfig {
            policy: policies::sound(&self.at(&table.policy))?,
            policy_file: self.at(&table.policy),
            drafts: place("job.drafts", &table.drafts)?,
            sources: table.sources.iter().map(|text| place("job.sources", text)).collect::<Result<_, _>>()?,
            recipient: table.recipient,
            schedule: self.schedule("job", table.every, table.daily_at)?,
            incremental: table.incremental,
            allow_empty: table.allow_empty,
            part_rows: table.part_rows.unwrap_or(PART_ROWS_DEFAULT),
            name: table.name,
        };
        if job.policy.columns().any(|rule| matches!(rule.spec, Spec::Vault(_))) {
            let advice = "a vault opens for one program at a time, which would keep people from asking and erasing: use `pseudo export`";
            return Err(self.wrong(
                "job.policy",
                "it has prf+vault, which the service does not make",
                advice,
            ));
        }
        // what a policy does not allow is said now, not at night
        let wanted = job.wanted();
        wanted.sources().and_then(|_| wanted.terms(clock::now()))?;
        Ok(job)
    }

    fn schedule(
        &self,
        table: &str,
        every: Option<String>,
        daily_at: Option<String>,
    ) -> Result<Schedule, PseudoError> {
        match (every, daily_at) {
            (Some(every), None) => {
                let period = Period::parse(&every).filter(|period| period.months == 0);
                let seconds =
                    period.map(|period| period.seconds).filter(|seconds| EVERY_SECONDS.contains(seconds));
                let seconds = seconds.and_then(|seconds| i64::try_from(seconds).ok());
                seconds.map(Schedule::Every).ok_or_else(|| {
                    let advice =
                        "such as PT1H, PT15M or P7D; PT10S at least, P366D at most, no months or years";
                    self.wrong(&format!("{table}.every"), "no period that can be used", advice)
                })
            }
            (None, Some(text)) => Schedule::daily(&text).ok_or_else(|| {
                self.wrong(&format!("{table}.daily_at"), "no time of day", "such as 02:30; it is one of UTC")
            }),
            _ => {
                let advice = "say either `every` or `daily_at`";
                Err(self.wrong(table, "it says not once when it is due", advice))
            }
        }
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    fn wrong(&self, key: &str, problem: &str, advice: &str) -> PseudoError {
        PseudoError::usage(format!("{}: {key}: {problem}", self.path.display()), advice)
    }
}

impl JobConfig {
    /// What it asks for each time.
    pub(crate) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            policy: &self.policy,
            sources: &self.sources,
            drafts: &self.drafts,
            recipient: self.recipient.as_deref(),
            delete_on: None,
        }
    }
}

#[cfg(test)]
mod tests;
