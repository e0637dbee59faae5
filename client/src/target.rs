//! A deployment as drills and reconciliations meet it: its regions, how to ask each, where each speaks S3, and where the
//! evidence goes.

use crate::ClientError;
use crate::deployment::Deployment;
use crate::dev::{Credentials, DevFolder, DevSettings, pair};
use crate::failover::Side;
use crate::s3::Access;
use std::path::{Path, PathBuf};
use wire::admin::SecretText;

/// What the command line says beyond the deployment.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// Endpoints, `REGION=URL`; those of a development deployment are known.
    pub endpoints: Vec<String>,
    /// A further authority for endpoints over TLS.
    pub ca_file: Option<PathBuf>,
    /// Access key id and secret for the endpoints that were named.
    pub credentials: Option<(String, SecretText)>,
    /// Where the evidence goes, when not beside the deployment.
    pub output: Option<PathBuf>,
}

/// A deployment and what is around it.
pub struct Target {
    pub(crate) regions: Vec<Region>,
    /// Both sides of a pair, in the order of `regions`.
    pub(crate) sides: Option<[Side; 2]>,
    /// The folder of the evidence of all runs.
    pub(crate) folder: PathBuf,
}

/// One region.
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) deployment: Deployment,
    /// How probes are written there, or why they cannot be.
    pub(crate) access: Result<Access, String>,
    /// Its folder, when it is a development region on this machine.
    pub(crate) dev: Option<DevFolder>,
}

impl Target {
    /// Finds everything around a deployment; asks nobody.
    pub fn find(deployment: Deployment, options: &TargetOptions) -> Result<Self, ClientError> {
        let folder = evidence_folder(Some(&deployment), options.output.as_deref())?;
        let other = match deployment.region.as_ref().is_some_and(|region| region.pair_operator().exists()) {
            true => Some(deployment.pair()?),
            false => None,
        };
        let sides = match &other {
            Some(other) => Some([Side::new(&deployment)?, Side::new(other)?]),
            None => None,
        };
        let own_dev = deployment.dev.clone();
        let beside = |name: &str| {
            let folder = own_dev.as_ref()?.root().parent()?.join(name);
            Some(DevFolder::new(&folder)).filter(DevFolder::exists)
        };
        let found = std::iter::once(deployment).chain(other);
        let regions = found.map(|deployment| {
            let name = deployment.descriptor.region.clone();
            let dev = deployment.dev.clone().or_else(|| beside(&name));
            let access = access(&deployment, dev.as_ref(), options)?;
            Ok(Region { name, deployment, access, dev })
        });
        let regions = regions.collect::<Result<Vec<_>, ClientError>>()?;
        for endpoint in &options.endpoints {
            let name = endpoint.split('=').next().unwrap_or_default();
            if !regions.iter().any(|region| region.name == name) {
                let names: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
                let problem = format!("--endpoint {endpoint}: there is no region {name:?}");
                return Err(ClientError::usage(
                    problem,
                    format!("write REGION=URL; there is {}", names.join(" and ")),
                ));
            }
        }
        Ok(Self { regions, sides, folder })
    }

    /// The certificates of the regions' authorities.
    pub(crate) fn authorities(&self) -> Vec<PathBuf> {
        self.regions.iter().map(|region| region.deployment.identity.authority_certificate()).collect()
    }

    /// How to speak S3 to the region of this name.
    pub(crate) fn access(&self, name: &str) -> Result<Access, ClientError> {
        let access = self.region(name)?.access.clone();
        access.map_err(|problem| {
            ClientError::state(format!("{name}: {problem}"), "name it with --endpoint REGION=URL")
        })
    }

    /// The region of this name.
    pub(crate) fn region(&self, name: &str) -> Result<&Region, ClientError> {
        let found = self.regions.iter().find(|region| region.name == name);
        found.ok_or_else(|| ClientError::state(format!("{name} is no region of this pair"), ""))
    }

    pub(crate) fn pair(&self) -> Result<&[Side; 2], ClientError> {
        self.sides
            .as_ref()
            .ok_or_else(|| ClientError::state("this region has no pair", "try `twinkeep dev --pair`"))
    }

    /// The side of this name, and the other one.
    pub(crate) fn sides(&self, name: &str) -> Result<(&Side, &Side), ClientError> {
        let [one, other] = self.pair()?;
        if one.region == name { Ok((one, other)) } else { Ok((other, one)) }
    }
}

/// Where the evidence of all runs lies: `output`, or the folder `drills` beside the deployment.
pub fn evidence_folder(
    deployment: Option<&Deployment>,
    output: Option<&Path>,
) -> Result<PathBuf, ClientError> {
    if let Some(output) = output {
        return Ok(output.join("drills"));
    }
    let found = deployment.and_then(|deployment| match (&deployment.dev, &deployment.region) {
        (Some(dev), _) => {
            let above = dev.root().parent().filter(|above| pair::is_pair(above));
            Some(above.unwrap_or(dev.root()).to_owned())
        }
        (None, Some(region)) => Some(region.root().to_owned()),
        (None, None) => None,
    });
    found.map(|folder| folder.join("drills")).ok_or_else(|| {
        ClientError::usage("there is no folder for the evidence", "name one with --output DIR")
    })
}

/// How probes reach a region: by the endpoint that was named, else by that of its development folder.
fn access(
    deployment: &Deployment,
    dev: Option<&DevFolder>,
    options: &TargetOptions,
) -> Result<Result<Access, String>, ClientError> {
    let name = &deployment.descriptor.region;
    let named =
        options.endpoints.iter().find_map(|text| text.split_once('=').filter(|(region, _)| region == name));
    if let Some((_, url)) = named {
        let Some((access_key, secret_key)) = options.credentials.clone() else {
            return Err(ClientError::usage(
                "there is no access key for the endpoints",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ));
        };
        let mut authorities = vec![deployment.identity.authority_certificate()];
        authorities.extend(options.ca_file.clone());
        return Access::new(url, &authorities, name, access_key, secret_key).map(Ok);
    }
    let Some(dev) = dev else { return Ok(Err("its S3 endpoint is not known".to_owned())) };
    let (Some(settings), Some(credentials)) = (DevSettings::read(dev)?, Credentials::read(dev)?) else {
        return Ok(Err("its first access key is not there yet".to_owned()));
    };
    let url = format!("http://{}", settings.ports()?.s3_plain());
    Access::new(&url, &[], name, credentials.access_key, credentials.secret_key).map(Ok)
}

#[cfg(test)]
#[path = "target/tests.rs"]
mod tests;
