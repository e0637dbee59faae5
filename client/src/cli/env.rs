//! `twinkeep env`: what S3 clients need to reach a development region.

use super::Common;
use super::output::Output;
use crate::ClientError;
use crate::deployment::Deployment;
use crate::dev::{Credentials, DevFolder};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct EnvArguments {
    /// Print a profile for ~/.aws/config of this name
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "twinkeep-dev")]
    profile: Option<String>,
    /// Use the endpoint over TLS
    #[arg(long)]
    tls: bool,
}

#[derive(Serialize)]
struct Environment {
    endpoint: String,
    ca_file: Option<PathBuf>,
    region: String,
    access_key: String,
    secret_key: String,
}

pub(super) fn run(common: &Common, arguments: &EnvArguments, output: &Output) -> Result<(), ClientError> {
    let deployment = common.deployment()?;
    let found = read(&deployment, arguments.tls)?;
    output.either(&found, || match &arguments.profile {
        Some(name) => profile(&found, name),
        None => exports(&found),
    })
}

fn read(deployment: &Deployment, tls: bool) -> Result<Environment, ClientError> {
    let missing = |what: &str| {
        let advice = "`twinkeep env` works on a development region that was ready once; elsewhere `twinkeep user add` shows keys";
        ClientError::state(format!("no {what} here"), advice)
    };
    let dev: &DevFolder = deployment.dev.as_ref().ok_or_else(|| missing("development region"))?;
    let settings = deployment.dev_settings()?.ok_or_else(|| missing("development region"))?;
    let credentials = Credentials::read(dev)?.ok_or_else(|| missing("access key"))?;
    let ports = settings.ports()?;
    Ok(Environment {
        endpoint: if tls {
            format!("https://{}", ports.s3_tls())
        } else {
            format!("http://{}", ports.s3_plain())
        },
        ca_file: tls.then(|| dev.region().authority_certificate()),
        region: deployment.descriptor.region.clone(),
        access_key: credentials.access_key.clone(),
        secret_key: credentials.secret_key.reveal().to_owned(),
    })
}

fn exports(found: &Environment) -> String {
    let mut text = format!(
        "export AWS_ACCESS_KEY_ID={}\nexport AWS_SECRET_ACCESS_KEY={}\nexport AWS_REGION={}\nexport AWS_DEFAULT_REGION={}\nexport AWS_ENDPOINT_URL={}\n",
        quoted(&found.access_key),
        quoted(&found.secret_key),
        quoted(&found.region),
        quoted(&found.region),
        quoted(&found.endpoint)
    );
    if let Some(path) = &found.ca_file {
        text.push_str(&format!("export AWS_CA_BUNDLE={}\n", quoted(&path.display().to_string())));
    }
    text
}

fn profile(found: &Environment, name: &str) -> String {
    let mut text =
        crate::dev::aws_profile(name, &found.endpoint, &found.region, &found.access_key, &found.secret_key);
    if let Some(path) = &found.ca_file {
        text.push_str(&format!("ca_bundle = {}\n", path.display()));
    }
    text
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
