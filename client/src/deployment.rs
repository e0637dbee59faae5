//! Finding a region: by the folder of `twinkeep dev`, by the operator's folder of `twinkeep init`, or by address.

use crate::dev::{DevFolder, DevSettings};
use crate::region::{RegionFolder, read_descriptor};
use crate::{ClientError, dev};
use std::path::{Path, PathBuf};
use wire::descriptor::{RegionDescriptor, check_address};

/// A region, as far as the operator's files tell.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The region's descriptor.
    pub descriptor: RegionDescriptor,
    /// The identity to ask under.
    pub identity: IdentityFolder,
    /// Whom to ask, in order: `host:port`.
    pub addresses: Vec<String>,
    /// The operator's folder, when there is one.
    pub region: Option<RegionFolder>,
    /// The development folder, when it is one.
    pub dev: Option<DevFolder>,
}

/// A folder with `region.toml`, `ca.pem`, `member.pem` and `member.key`.
#[derive(Clone, Debug)]
pub struct IdentityFolder(PathBuf);

impl IdentityFolder {
    /// The folder at `path`; nothing is read.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The region's descriptor.
    pub fn descriptor(&self) -> PathBuf {
        self.0.join("region.toml")
    }

    /// Certificate of the region's authority.
    pub fn authority_certificate(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// The own certificate.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("member.pem")
    }

    /// The own private key.
    pub fn private_key(&self) -> PathBuf {
        self.0.join("member.key")
    }
}

impl Deployment {
    /// The region in a folder that `dev` or `init` made.
    pub fn find(data: &Path) -> Result<Self, ClientError> {
        let data = &std::path::absolute(data).map_err(ClientError::file("finding", data))?;
        if dev::pair::is_pair(data) {
            return Self::find(&data.join(dev::pair::REGIONS[0]));
        }
        let dev = DevFolder::new(data);
        let is_dev = dev.settings().exists();
        let region = if is_dev { dev.region() } else { RegionFolder::new(data) };
        if !region.descriptor().exists() {
            let problem = format!("{} holds no region", data.display());
            let advice = "name the folder that `twinkeep dev` or `twinkeep init` made with --data DIR";
            return Err(ClientError::state(problem, advice));
        }
        let descriptor = region.read_descriptor()?;
        let addresses = addresses(&descriptor);
        let identity = IdentityFolder::new(&region.operator());
        Ok(Self { descriptor, identity, addresses, region: Some(region), dev: is_dev.then_some(dev) })
    }

    /// The region that answers at `address`, asked under the identity in a folder.
    pub fn at(address: &str, identity: &Path) -> Result<Self, ClientError> {
        check_address(address)
            .map_err(|error| ClientError::usage(error.to_string(), "as in --admin 10.0.0.11:7600"))?;
        let identity = IdentityFolder::new(identity);
        let descriptor = read_descriptor(&identity.descriptor())?;
        Ok(Self { descriptor, identity, addresses: vec![address.to_owned()], region: None, dev: None })
    }

    /// What the command line's options name: an address with an identity, a folder, or the default development folder.
    pub fn resolve(
        data: Option<&Path>,
        address: Option<&str>,
        identity: Option<&Path>,
    ) -> Result<Self, ClientError> {
        match (data, address, identity) {
            (None, Some(address), Some(identity)) => Self::at(address, identity),
            (Some(data), Some(address), None) => {
                let mut found = Self::find(data)?;
                found.addresses = vec![address.to_owned()];
                Ok(found)
            }
            (Some(data), None, None) => Self::find(data),
            (None, None, None) => Self::find(&dev::default_folder()?),
            _ => Err(ClientError::usage(
                "--admin and --identity do not fit together as given",
                "give --data DIR, or --admin HOST:PORT with --identity DIR",
            )),
        }
    }

    /// The other region of the pair, asked under the identity that it gave this one's operator.
    pub fn pair(&self) -> Result<Self, ClientError> {
        let folder = self.region.as_ref().map(RegionFolder::pair_operator).filter(|folder| folder.exists());
        let Some(folder) = folder else {
            let problem = format!("region {} has no pair", self.descriptor.region);
            return Err(ClientError::state(
                problem,
                "make one with `twinkeep init --standby-of`, or try `twinkeep dev --pair`",
            ));
        };
        let identity = IdentityFolder::new(&folder);
        let descriptor = read_descriptor(&identity.descriptor())?;
        Ok(Self { addresses: addresses(&descriptor), descriptor, identity, region: None, dev: None })
    }

    /// The settings of the development region, when it is one.
    pub fn dev_settings(&self) -> Result<Option<DevSettings>, ClientError> {
        self.dev.as_ref().map_or(Ok(None), DevSettings::read)
    }
}

/// Gateways first: they can answer everything, storage nodes not what needs keys.
fn addresses(descriptor: &RegionDescriptor) -> Vec<String> {
    let gateways = descriptor.gateways.iter().map(|gateway| &gateway.peer_address);
    gateways.chain(descriptor.nodes.iter().map(|node| &node.peer_address)).cloned().collect()
}
