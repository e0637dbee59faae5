//! `pseudo processing-record`: what Art. 30 GDPR asks a controller to keep about a processing activity.

use super::output::Output;
use super::verify::Known;
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
    #[command(flatten)]
    known: Option<Known>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &RecordArguments, output: &Output) -> Result<(), PseudoError> {
    let policy = policies::read(&arguments.policy)?;
    let register = match (&arguments.drafts, &arguments.known) {
        (Some(drafts), Some(known)) => {
            let s3 = S3::new(arguments.connection.clone(), arguments.connection.who()?)?;
            Some(register::read(&s3, drafts, &known.trust()?)?)
        }
        _ => None,
    };
    let record = Record::new(&policy, register.as_ref(), clock::text(clock::now()));
    output.either(record.as_json(), || record.as_markdown())?;
    register.map_or(Ok(()), |register| register.check())
}
