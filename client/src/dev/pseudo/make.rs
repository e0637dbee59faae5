//! Makes the service once: keys in shares, its own operator and a second person, principals with narrow rights, demo data.
//!
//! Everything is made in a folder beside, which gets its name last: a folder of that name is whole. What a start that was
//! ended left in the region is found again or made anew by the next one. Nothing is well known: keys, passphrases and
//! access keys are drawn for this folder.

use super::{BUCKETS, DOMAIN, DRAFTS, Folder, POLICY, RELEASED, SERVICE_CONFIG, SOURCE, SOURCE_PREFIX, demo};
use crate::admin::AdminClient;
use crate::deployment::Deployment;
use crate::dev::DevReady;
use crate::s3::{Access, Refusal, S3};
use crate::{ClientError, EXIT_UNREACHABLE, files};
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wire::admin::{AdminErrorCode, AdminRequest, AdminResponse, NewAccessKey, Right};

/// How long a region that just became ready may still be busy with its leaders.
const REGION_TIMEOUT: Duration = Duration::from_secs(60);
/// Pause before it is asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Random bytes of a passphrase.
const PASSPHRASE_BYTES: usize = 16;

/// Someone who acts: a principal of the region, and perhaps an operator of the service.
struct Actor {
    name: &'static str,
    is_operator: bool,
    grants: &'static [(&'static str, &'static [Right])],
}

const ACTORS: [Actor; 3] = [
    Actor {
        name: "service",
        is_operator: true,
        grants: &[
            (SOURCE, &[Right::Read, Right::List]),
            (DRAFTS, &[Right::Read, Right::List, Right::Write, Right::Delete]),
        ],
    },
    Actor {
        name: "second-person",
        is_operator: true,
        grants: &[
            (DRAFTS, &[Right::Read, Right::List, Right::Write]),
            (RELEASED, &[Right::Read, Right::List, Right::Write]),
        ],
    },
    Actor { name: "analyst", is_operator: false, grants: &[(RELEASED, &[Right::Read, Right::List])] },
];

/// Makes the service of `folder` unless it is there; false when it was told to end before.
pub(super) fn make(
    folder: &Folder,
    program: &Path,
    region: &DevReady,
    listen: SocketAddr,
    ending: &AtomicBool,
) -> Result<bool, ClientError> {
    if folder.exists() {
        return Ok(true);
    }
    let fresh = Folder(folder.0.with_extension("partial"));
    if fresh.exists() {
        std::fs::remove_dir_all(&fresh.0).map_err(ClientError::file("removing", &fresh.0))?;
    }
    files::make_folder(&fresh.0)?;
    let tool = Tool { program, folder: &fresh.0 };
    if !ceremony(&tool, &fresh, ending)? || !in_region(&fresh, region, ending)? {
        return Ok(false);
    }
    files::write(&fresh.policy(), POLICY.as_bytes())?;
    let config = SERVICE_CONFIG
        .replace("LISTEN", &listen.to_string())
        .replace("ENDPOINT", &region.endpoint)
        .replace("REGION", &region.region);
    files::write(&fresh.config(), config.as_bytes())?;
    std::fs::rename(&fresh.0, &folder.0).map_err(ClientError::file("renaming", &folder.0))?;
    files::sync_folder(folder.0.parent().unwrap_or(Path::new(".")))?;
    Ok(true)
}

/// The ceremony that people hold in production: root and shares, the domain's key, what signs, the operators.
fn ceremony(tool: &Tool<'_>, folder: &Folder, ending: &AtomicBool) -> Result<bool, ClientError> {
    const OPENED: [&str; 6] =
        ["--keys", "keys", "--share", "shares/share-1.txt", "--share", "shares/share-2.txt"];
    let opened = |words: &[&'static str]| [words, &OPENED].concat();
    tool.run(&[
        "keys",
        "create",
        "--keys",
        "keys",
        "--shares",
        "shares",
        "--count",
        "3",
        "--threshold",
        "2",
    ])?;
    tool.run(&opened(&["keys", "domain", DOMAIN]))?;
    let made = tool.run(&opened(&["keys", "signing"]))?;
    let key = made["public_key"].as_str().ok_or_else(|| tool.unexpected("keys signing"))?;
    files::write(&folder.public_key(), format!("{key}\n").as_bytes())?;
    for Actor { name, .. } in ACTORS.iter().filter(|actor| actor.is_operator) {
        if ending.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let passphrase: String =
            files::random::<PASSPHRASE_BYTES>()?.iter().map(|byte| format!("{byte:02x}")).collect();
        files::write(&folder.passphrase(name), format!("{passphrase}\n").as_bytes())?;
        let (file, passphrase) = (format!("{name}.operator"), format!("{name}.passphrase"));
        tool.run(&["keys", "operator", name, "--output", &file, "--passphrase-file", &passphrase])?;
        tool.run(&[&["keys", "enrol", &file][..], &OPENED].concat())?;
    }
    Ok(true)
}

/// Buckets, principals with their rights, and the demo data.
fn in_region(folder: &Folder, region: &DevReady, ending: &AtomicBool) -> Result<bool, ClientError> {
    let admin = AdminClient::new(&Deployment::find(&region.data)?)?;
    let access = Access::new(
        &region.endpoint,
        &[],
        &region.region,
        region.access_key.clone(),
        region.secret_key.clone(),
    )?;
    let mut s3 = S3::new(access);
    for bucket in BUCKETS {
        if patiently(ending, || s3.create_bucket(bucket).map_err(refused))?.is_none() {
            return Ok(false);
        }
    }
    for actor in &ACTORS {
        let Some(key) = patiently(ending, || principal(&admin, actor))? else { return Ok(false) };
        let lines = format!(
            "AWS_ACCESS_KEY_ID={}\nAWS_SECRET_ACCESS_KEY={}\n",
            key.access_key,
            key.secret_key.reveal()
        );
        files::write(&folder.credentials(actor.name), lines.as_bytes())?;
    }
    for (name, body) in demo::objects() {
        let key = format!("{SOURCE_PREFIX}{name}");
        if patiently(ending, || s3.put(SOURCE, &key, body.as_bytes()).map_err(refused))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A principal with its rights and an access key.
fn principal(admin: &AdminClient, actor: &Actor) -> Result<NewAccessKey, ClientError> {
    let name = format!("pseudo-{}", actor.name);
    let add = AdminRequest::UserAdd { name: name.clone(), admin: false, create_buckets: false };
    let key = match admin.ask(&add) {
        Ok(AdminResponse::UserAdded { key, .. }) => key,
        // made by a start that ended before it could keep the key
        Err(ClientError::Refused { error }) if error.code == AdminErrorCode::AlreadyExists => {
            match admin.ask(&AdminRequest::KeyAdd { user: name.clone() })? {
                AdminResponse::KeyAdded { key } => key,
                other => return Err(admin.unexpected(&other)),
            }
        }
        Ok(other) => return Err(admin.unexpected(&other)),
        Err(error) => return Err(error),
    };
    for (bucket, rights) in actor.grants {
        let grant = AdminRequest::GrantAdd {
            principal: name.clone(),
            bucket: (*bucket).to_owned(),
            rights: rights.to_vec(),
        };
        match admin.ask(&grant)? {
            AdminResponse::Done => {}
            other => return Err(admin.unexpected(&other)),
        }
    }
    Ok(key)
}

/// Asks again as long as nobody can answer, for a while; `None` when it was told to end before.
fn patiently<T>(
    ending: &AtomicBool,
    mut ask: impl FnMut() -> Result<T, ClientError>,
) -> Result<Option<T>, ClientError> {
    let deadline = Instant::now() + REGION_TIMEOUT;
    while !ending.load(Ordering::Relaxed) {
        match ask() {
            Err(error) if error.exit_code() == EXIT_UNREACHABLE && Instant::now() < deadline => {
                std::thread::sleep(AGAIN_AFTER);
            }
            done => return done.map(Some),
        }
    }
    Ok(None)
}

fn refused(refusal: Refusal) -> ClientError {
    match refusal.status {
        None | Some(500..) => {
            let problem =
                format!("the region that the demo is to be put into does not answer: {}", refusal.reason);
            ClientError::state(problem, "is it running? `twinkeep check` looks without its help")
        }
        Some(_) => {
            let problem = format!("the demo of pseudonymisation cannot be put there: {}", refusal.reason);
            ClientError::state(problem, "its buckets are called pseudo-demo-…: see whose they are")
        }
    }
}

/// The program `pseudo`, run in a folder.
pub(super) struct Tool<'a> {
    pub(super) program: &'a Path,
    pub(super) folder: &'a Path,
}

impl Tool<'_> {
    /// What a command says.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Value, ClientError> {
        let mut command = Command::new(self.program);
        command.arg("--json").args(arguments).current_dir(self.folder).stdin(Stdio::null());
        // all that it needs is in the folder
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("AWS_") || name.starts_with("PSEUDO_")) {
                command.env_remove(name);
            }
        }
        // Ctrl-C is for the supervisor
        command.envs(super::DIRECT).process_group(0);
        let said = command.output().map_err(ClientError::file("running", self.program))?;
        let value: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
        if said.status.success() {
            return Ok(value);
        }
        let words = arguments.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let text = |key: &str| value["error"][key].as_str().unwrap_or_default().to_owned();
        let message = Some(text("message")).filter(|message| !message.is_empty());
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(&said.stderr).trim().to_owned());
        Err(ClientError::state(format!("`pseudo {words}` failed: {message}"), text("advice")))
    }

    fn unexpected(&self, words: &str) -> ClientError {
        let problem = format!("`{} {words}` did not say what was expected", self.program.display());
        ClientError::state(problem, "use the `pseudo` of the same release")
    }
}

impl Folder {
    pub(super) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    pub(super) fn config(&self) -> PathBuf {
        self.0.join("service.toml")
    }

    pub(super) fn policy(&self) -> PathBuf {
        self.0.join("policy.toml")
    }

    pub(super) fn public_key(&self) -> PathBuf {
        self.0.join("public.key")
    }

    pub(super) fn operator(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.operator"))
    }

    pub(super) fn passphrase(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.passphrase"))
    }

    pub(super) fn credentials(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.credentials"))
    }

    pub(super) fn environment(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.env"))
    }
}
