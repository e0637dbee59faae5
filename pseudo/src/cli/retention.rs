//! `pseudo retention`: exports whose day of deletion has come, said or deleted.

use super::keys::Opened;
use super::output::Output;
use crate::retention::{self, Due};
use crate::s3::{Connection, Place, S3};
use crate::verify::public_key;
use crate::{PseudoError, clock};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct RetentionArguments {
    /// Where drafts lie
    #[arg(value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse)]
    drafts: Place,
    /// Say what would be deleted, and delete nothing
    #[arg(long, conflicts_with = "yes", required_unless_present = "yes", requires = "key")]
    dry_run: bool,
    /// Delete it: what was released, the drafts, all but a signed record
    #[arg(long, requires = "keys")]
    yes: bool,
    /// The service's public key, or a file of it, for --dry-run
    #[arg(long, value_name = "KEY", env = "PSEUDO_PUBLIC_KEY")]
    key: Option<String>,
    /// The folder of keys, for --yes
    #[arg(long, value_name = "DIR", env = "PSEUDO_KEYS")]
    keys: Option<PathBuf>,
    /// A share of the root, for --yes; as often as the root needs
    #[arg(long, value_name = "FILE")]
    share: Vec<PathBuf>,
    /// A file that names the token which opens the root, for --yes, instead of shares
    #[arg(long, value_name = "FILE", conflicts_with = "share")]
    token: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &RetentionArguments, output: &Output) -> Result<(), PseudoError> {
    let s3 = S3::new(arguments.connection.clone(), arguments.connection.who()?)?;
    let drafts = &arguments.drafts;
    let service = match arguments.yes {
        true => {
            let opened = Opened {
                keys: arguments.keys.clone(),
                share: arguments.share.clone(),
                token: arguments.token.clone(),
            };
            let (folder, root) = opened.open()?;
            let service = folder.signing(&root)?;
            let trust = folder.trust(service.public())?;
            Some((service, trust))
        }
        false => None,
    };
    let public = match &service {
        Some((_, trust)) => trust.key,
        None => public_key(arguments.key.as_deref().unwrap_or_default())?,
    };
    let (mut rows, mut text, mut failed) = (Vec::new(), String::new(), 0);
    for Due { name, state } in retention::due(&s3, drafts, public, clock::now())? {
        let done = state.and_then(|what| match &service {
            Some((service, trust)) => {
                retention::delete(&s3, drafts, &name, None, service, trust).map(|_| (what, "deleted"))
            }
            None => Ok((what, "due")),
        });
        let value = match &done {
            Ok((what, action)) => {
                let released = what.released_to.as_ref().map(|to| format!(", released to {to}"));
                text.push_str(&format!(
                    "{name} for {}, to be deleted on {}: {action} ({}{})\n",
                    what.recipient,
                    what.delete_on,
                    what.state,
                    released.unwrap_or_default()
                ));
                json!({
                    "export": name,
                    "result": action,
                    "state": what.state,
                    "recipient": what.recipient,
                    "delete_on": what.delete_on,
                    "released_to": what.released_to,
                })
            }
            Err(error) => {
                failed += 1;
                text.push_str(&format!("{name} stays: {}\n", error.chain()));
                json!({ "export": name, "result": "failed", "problem": error.chain() })
            }
        };
        rows.push(value);
    }
    if rows.is_empty() {
        text.push_str("no export's day has come\n");
    }
    let count = rows.len();
    output.either(json!({ "dry_run": service.is_none(), "exports": Value::Array(rows) }), || text)?;
    match failed {
        0 => Ok(()),
        _ => {
            let problem =
                format!("{failed} of {count} exports stay that should be deleted, or cannot be relied on");
            Err(PseudoError::Signed { place: "retention".to_owned(), problem })
        }
    }
}
