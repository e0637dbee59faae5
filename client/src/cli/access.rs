//! `twinkeep user|key|grant`: who may do what.

use super::Common;
use super::output::{Output, table};
use crate::ClientError;
use crate::admin::AdminClient;
use clap::{Subcommand, ValueEnum};
use std::time::Duration;
use wire::admin::{
    AdminError, AdminErrorCode, AdminRequest, AdminResponse, NewAccessKey, RewrapReport, Right,
};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Register a principal and make its first access key; the secret is shown once
    Add {
        /// Its name: a-z, 0-9 and hyphens
        name: String,
        /// It may use and create every bucket
        #[arg(long)]
        full_access: bool,
        /// It may create buckets, which are its own then
        #[arg(long)]
        create_buckets: bool,
    },
    /// Show all principals
    List,
    /// Remove a principal with its keys and grants
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make one more access key for a principal; the secret is shown once
    Add {
        /// The principal
        user: String,
    },
    /// Show access keys, without their secrets
    List {
        /// Only this principal's
        user: Option<String>,
    },
    /// Remove an access key
    Remove {
        /// Its id
        access_key: String,
    },
    /// Make the next version of the tenant key current; new objects are wrapped under it
    RotateTenant,
    /// Re-wrap all objects under the current tenant key, or show how far that is
    Rewrap {
        /// Show how far it is, start nothing
        #[arg(long)]
        progress: bool,
        /// Wait until it is done
        #[arg(long)]
        wait: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum GrantCommand {
    /// Give a principal rights on a bucket
    Add {
        /// To whom
        principal: String,
        /// On which bucket
        bucket: String,
        /// Which rights
        #[arg(value_delimiter = ',', default_value = "read,list")]
        rights: Vec<RightName>,
    },
    /// Show grants
    List {
        /// Only this principal's
        #[arg(long)]
        principal: Option<String>,
        /// Only on this bucket
        #[arg(long)]
        bucket: Option<String>,
    },
    /// Take all rights on a bucket away
    Remove {
        /// From whom
        principal: String,
        /// On which bucket
        bucket: String,
    },
}

/// What can be done when a principal cannot be removed.
const KEPT_ADVICE: &str = "a bucket keeps its owner: empty and delete its buckets through S3 (aws s3 rb s3://BUCKET --force), or leave the principal and take its keys away with `twinkeep key remove`";

/// A right as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RightName {
    Read,
    Write,
    Delete,
    List,
    Manage,
    All,
}

impl RightName {
    fn rights(self) -> Vec<Right> {
        match self {
            Self::Read => vec![Right::Read],
            Self::Write => vec![Right::Write],
            Self::Delete => vec![Right::Delete],
            Self::List => vec![Right::List],
            Self::Manage => vec![Right::Manage],
            Self::All => Right::ALL.to_vec(),
        }
    }
}

pub(super) fn user(common: &Common, command: &UserCommand, output: &Output) -> Result<(), ClientError> {
    let client = AdminClient::new(&common.deployment()?)?;
    match command {
        UserCommand::Add { name, full_access, create_buckets } => {
            wire::descriptor::check_name("user", name)
                .map_err(|error| ClientError::usage(error.to_string(), ""))?;
            let request = AdminRequest::UserAdd {
                name: name.clone(),
                admin: *full_access,
                create_buckets: *create_buckets,
            };
            match client.ask(&request)? {
                AdminResponse::UserAdded { key, .. } => show_key(&key, output),
                other => Err(client.unexpected(&other)),
            }
        }
        UserCommand::List => match client.ask(&AdminRequest::UserList)? {
            AdminResponse::Users { users } => output.either(&serde_json::json!({ "users": users }), || {
                let rows: Vec<Vec<String>> = users
                    .iter()
                    .map(|user| {
                        let kind = if user.admin { "admin" } else { "" };
                        vec![user.name.clone(), kind.to_owned(), user.keys.to_string()]
                    })
                    .collect();
                table(&["user", "kind", ">keys"], &rows)
            }),
            other => Err(client.unexpected(&other)),
        },
        UserCommand::Remove { name } => {
            let request = AdminRequest::UserRemove { name: name.clone() };
            done(&client, &request, output, &format!("{name} is removed")).map_err(|error| match error {
                ClientError::Refused { error } if error.code == AdminErrorCode::Invalid => {
                    ClientError::Refused { error: AdminError { advice: KEPT_ADVICE.to_owned(), ..error } }
                }
                other => other,
            })
        }
    }
}

pub(super) fn key(common: &Common, command: &KeyCommand, output: &Output) -> Result<(), ClientError> {
    let client = AdminClient::new(&common.deployment()?)?;
    match command {
        KeyCommand::Add { user } => match client.ask(&AdminRequest::KeyAdd { user: user.clone() })? {
            AdminResponse::KeyAdded { key } => show_key(&key, output),
            other => Err(client.unexpected(&other)),
        },
        KeyCommand::List { user } => match client.ask(&AdminRequest::KeyList { user: user.clone() })? {
            AdminResponse::Keys { keys } => output.either(&serde_json::json!({ "keys": keys }), || {
                let rows: Vec<Vec<String>> =
                    keys.iter().map(|key| vec![key.access_key.clone(), key.user.clone()]).collect();
                table(&["access key", "user"], &rows)
            }),
            other => Err(client.unexpected(&other)),
        },
        KeyCommand::Remove { access_key } => {
            let request = AdminRequest::KeyRemove { access_key: access_key.clone() };
            done(&client, &request, output, &format!("{access_key} is removed"))
        }
        KeyCommand::RotateTenant => match client.ask(&AdminRequest::TenantKeyRotate)? {
            AdminResponse::TenantKey { version } => output.either(&serde_json::json!({ "version": version }), || {
                format!("new objects are wrapped under version {version}; `twinkeep key rewrap` moves the old ones\n")
            }),
            other => Err(client.unexpected(&other)),
        },
        KeyCommand::Rewrap { progress, wait } => rewrap(&client, *progress, *wait, output),
    }
}

pub(super) fn grant(common: &Common, command: &GrantCommand, output: &Output) -> Result<(), ClientError> {
    let client = AdminClient::new(&common.deployment()?)?;
    match command {
        GrantCommand::Add { principal, bucket, rights } => {
            let mut rights: Vec<Right> = rights.iter().flat_map(|right| right.rights()).collect();
            rights.sort_unstable();
            rights.dedup();
            let said = format!("{principal} may {} on {bucket}", names(&rights));
            let request =
                AdminRequest::GrantAdd { principal: principal.clone(), bucket: bucket.clone(), rights };
            done(&client, &request, output, &said)
        }
        GrantCommand::List { principal, bucket } => {
            let request = AdminRequest::GrantList { principal: principal.clone(), bucket: bucket.clone() };
            match client.ask(&request)? {
                AdminResponse::Grants { grants } => {
                    output.either(&serde_json::json!({ "grants": grants }), || {
                        let rows: Vec<Vec<String>> = grants
                            .iter()
                            .map(|grant| {
                                vec![grant.principal.clone(), grant.bucket.clone(), names(&grant.rights)]
                            })
                            .collect();
                        table(&["principal", "bucket", "rights"], &rows)
                    })
                }
                other => Err(client.unexpected(&other)),
            }
        }
        GrantCommand::Remove { principal, bucket } => {
            let request = AdminRequest::GrantRemove { principal: principal.clone(), bucket: bucket.clone() };
            done(&client, &request, output, &format!("{principal} may do nothing on {bucket}"))
        }
    }
}

fn rewrap(client: &AdminClient, progress_only: bool, wait: bool, output: &Output) -> Result<(), ClientError> {
    const AGAIN_AFTER: Duration = Duration::from_secs(1);
    let mut request = if progress_only { AdminRequest::RewrapProgress } else { AdminRequest::RewrapStart };
    loop {
        let report = match client.ask(&request)? {
            AdminResponse::Rewrap(report) => report,
            other => return Err(client.unexpected(&other)),
        };
        if report.done || !wait {
            output.either(&report, || rewrap_page(&report))?;
            return if report.objects_failed == 0 {
                Ok(())
            } else {
                Err(ClientError::Degraded {
                    problem: format!("{} objects could not be re-wrapped", report.objects_failed),
                })
            };
        }
        request = AdminRequest::RewrapProgress;
        std::thread::sleep(AGAIN_AFTER);
    }
}

fn rewrap_page(report: &RewrapReport) -> String {
    format!(
        "{}: key version {}, {} of {} groups, {} objects seen, {} re-wrapped, {} failed\n",
        if report.done { "done" } else { "under way" },
        report.version,
        report.groups_done,
        report.groups_total,
        report.objects_seen,
        report.objects_rewrapped,
        report.objects_failed
    )
}

fn show_key(key: &NewAccessKey, output: &Output) -> Result<(), ClientError> {
    output.either(key, || {
        format!(
            "user        {}\naccess key  {}\nsecret key  {}\n\nThe secret is shown this once; it is stored sealed.\n",
            key.user,
            key.access_key,
            key.secret_key.reveal()
        )
    })
}

fn done(
    client: &AdminClient,
    request: &AdminRequest,
    output: &Output,
    said: &str,
) -> Result<(), ClientError> {
    match client.ask(request)? {
        AdminResponse::Done => output.either(&serde_json::json!({ "done": true }), || format!("{said}\n")),
        other => Err(client.unexpected(&other)),
    }
}

fn names(rights: &[Right]) -> String {
    rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ")
}
