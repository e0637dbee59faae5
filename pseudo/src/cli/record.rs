//! `pseudo processing-record`: what Art. 30 GDPR asks a controller to keep about a processing activity.

use super::output::Output;
use super::verify::trust;
use crate::record::Record;
use crate::s3::{Connection, Place, S3};
use crate::{PseudoError, clock, policies, register};
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct RecordArguments {
    /// The policy
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// Where drafts lie, to list what was exported under the policy
    #[arg(long, value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse, requires = "key")]
    drafts: Option<Place>,
    /// The service's public key, or a file of it
    #[arg(long, value_name = "KEY", env = "PSEUDO_PUBLIC_KEY")]
    key: Option<String>,
    /// The list of revoked operators, as the service gave it with its key
    #[arg(long, value_name = "FILE", env = "PSEUDO_REVOKED")]
    revoked: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &RecordArguments, output: &Output) -> Result<(), PseudoError> {
    let policy = policies::read(&arguments.policy)?;
    let register = match (&arguments.drafts, &arguments.key) {
        (Some(drafts), Some(key)) => {
            let s3 = S3::new(arguments.connection.clone(), arguments.connection.who()?)?;
            Some(register::read(&s3, drafts, &trust(key, arguments.revoked.as_deref())?)?)
        }
        _ => None,
    };
    let record = Record::new(&policy, register.as_ref(), clock::text(clock::now()));
    output.either(record.as_json(), || record.as_markdown())?;
    register.map_or(Ok(()), |register| register.check())
}
