//! Making a region: its authority, certificates, root key and join tokens, as one folder that the operator keeps.
//!
//! ```text
//! region.toml        who belongs to the region
//! ca/                the authority's certificate and key: keep offline, needed to add or replace a node
//! operator/          the identity under which the command line asks the region
//! tls/               the S3 endpoint's certificate and key
//! root.key           the root key, sealed under the passphrase
//! root-passphrase    only when the passphrase was generated: store it apart from root.key
//! pair/              identities in the other region of the pair, and the pair descriptor, when there is one
//! tokens/            one join token per node and gateway, each as secret as what it admits
//! ```

mod authority;
mod pair;
mod pair_plan;
mod plan;

pub use authority::{Authority, IssuedCertificate};
pub use pair::{
    PairCheck, Renewal, end_pair, introduce, introduce_anew, read_pair, standby_plan, verify_pair,
    write_witness,
};
pub use pair_plan::PairPlan;
pub use plan::{GatewayPlan, NodePlan, RegionPlan, RootPlan};

use crate::{ClientError, files};
use bytes::Bytes;
use envelope::{PassphraseCost, RootKey, SALT_BYTES};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use wire::descriptor::{
    DESCRIPTOR_FORMAT, GatewayDescriptor, GatewayFiles, JoinToken, NodeDescriptor, PAIR_DESCRIPTOR_FILE,
    PeerIdentity, PeerRole, REPLICATION_FACTOR, RegionDescriptor, TokenRole, default_groups,
};
use wire::{DeploymentId, Incarnation, NodeId, RequestId};
use zeroize::Zeroizing;

/// The name of the operator that `init` makes.
pub const FIRST_OPERATOR: &str = "admin";

/// The paths inside an operator's folder.
#[derive(Clone, Debug)]
pub struct RegionFolder {
    root: PathBuf,
}

impl RegionFolder {
    /// The folder at `root`; nothing is read.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The region's descriptor.
    pub fn descriptor(&self) -> PathBuf {
        self.root.join("region.toml")
    }

    /// The authority's certificate.
    pub fn authority_certificate(&self) -> PathBuf {
        self.root.join("ca/ca.pem")
    }

    /// The authority's private key.
    pub fn authority_key(&self) -> PathBuf {
        self.root.join("ca/ca.key")
    }

    /// The operator's identity: `region.toml`, `ca.pem`, `member.pem`, `member.key`.
    pub fn operator(&self) -> PathBuf {
        self.root.join("operator")
    }

    /// The S3 endpoint's certificate.
    pub fn s3_certificate(&self) -> PathBuf {
        self.root.join("tls/s3.pem")
    }

    /// The S3 endpoint's private key.
    pub fn s3_private_key(&self) -> PathBuf {
        self.root.join("tls/s3.key")
    }

    /// The sealed root key.
    pub fn root_key(&self) -> PathBuf {
        self.root.join("root.key")
    }

    /// The passphrase of the root key, when it was generated.
    pub fn root_passphrase(&self) -> PathBuf {
        self.root.join("root-passphrase")
    }

    /// What makes up the pair: `node-N` for each storage node here, and `operator`, each an identity in the other region.
    pub fn pair(&self) -> PathBuf {
        self.root.join("pair")
    }

    /// The identity under which a storage node here reaches the other region.
    pub fn pair_node(&self, node: NodeId) -> PathBuf {
        self.pair().join(format!("node-{node}"))
    }

    /// The identity under which the command line asks the other region.
    pub fn pair_operator(&self) -> PathBuf {
        self.pair().join("operator")
    }

    /// What both regions of the pair signed; a copy lies in the folder of each storage node below `pair/`.
    pub fn pair_descriptor(&self) -> PathBuf {
        self.pair().join(PAIR_DESCRIPTOR_FILE)
    }

    /// The join token of a node or gateway.
    pub fn token(&self, role: TokenRole) -> PathBuf {
        self.root.join("tokens").join(format!("{role}.token"))
    }

    /// Reads and checks the descriptor.
    pub fn read_descriptor(&self) -> Result<RegionDescriptor, ClientError> {
        read_descriptor(&self.descriptor())
    }

    /// Replaces the descriptor.
    pub fn write_descriptor(&self, descriptor: &RegionDescriptor) -> Result<(), ClientError> {
        files::write(&self.descriptor(), descriptor_text(descriptor)?.as_bytes())
    }
}

/// Reads and checks a `region.toml`.
pub fn read_descriptor(path: &Path) -> Result<RegionDescriptor, ClientError> {
    let content = |problem: String| {
        let problem = format!("{} is damaged: {}", path.display(), problem.trim_end());
        ClientError::state(problem, "bring it back from a backup of the operator's folder")
    };
    let text = files::read(path)?;
    let descriptor: RegionDescriptor = toml::from_str(&text).map_err(|error| content(error.to_string()))?;
    descriptor.validate().map_err(|error| content(error.to_string()))?;
    Ok(descriptor)
}

/// Makes a region in `folder`, which must not exist or be empty; it appears whole or not at all.
pub fn init(folder: &Path, plan: &RegionPlan, now: SystemTime) -> Result<RegionDescriptor, ClientError> {
    let taken = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if taken || folder.is_file() {
        let problem = format!("{} is not empty", folder.display());
        return Err(ClientError::state(problem, "name a new folder; a region is made once"));
    }
    let descriptor = describe(plan)?;
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let fresh = folder.with_file_name(name);
    if fresh.exists() {
        // left by an init that was cut short before its rename
        fs::remove_dir_all(&fresh).map_err(ClientError::file("removing", &fresh))?;
    }
    write_region(&RegionFolder::new(&fresh), &descriptor, plan, now)?;
    fs::rename(&fresh, folder).map_err(ClientError::file("renaming", folder))?;
    files::sync_folder(folder.parent().unwrap_or(Path::new(".")))?;
    Ok(descriptor)
}

/// Issues a fresh join token for a node of an existing region and stores it in the operator's folder.
/// `with_gateway_files` also gives it what a gateway needs.
pub fn issue_node_token(
    folder: &RegionFolder,
    descriptor: &RegionDescriptor,
    node: &NodeDescriptor,
    with_gateway_files: bool,
    now: SystemTime,
) -> Result<(RequestId, PathBuf), ClientError> {
    let authority = Authority::load(folder, descriptor)?;
    let gateway = with_gateway_files.then(|| GatewayMaterial::load(folder)).transpose()?;
    let role = TokenRole::Node { id: node.id, incarnation: node.incarnation };
    let id = write_token(folder, descriptor, &authority, role, gateway.as_ref(), now)?;
    Ok((id, folder.token(role)))
}

fn describe(plan: &RegionPlan) -> Result<RegionDescriptor, ClientError> {
    let nodes: Vec<NodeDescriptor> = plan
        .nodes
        .iter()
        .map(|node| NodeDescriptor {
            id: node.id,
            zone: node.zone.clone(),
            peer_address: node.peer_address.clone(),
            incarnation: Incarnation(1),
        })
        .collect();
    let gateways = plan.gateways.iter();
    let descriptor = RegionDescriptor {
        format: DESCRIPTOR_FORMAT,
        deployment: match &plan.standby_of {
            Some(primary) => primary.deployment,
            None => DeploymentId(files::random()?),
        },
        environment: plan.environment.clone(),
        jurisdiction: plan.jurisdiction.clone(),
        region: plan.region.clone(),
        groups: plan.groups.unwrap_or_else(|| default_groups(nodes.len())),
        standby_of: plan.standby_of.as_ref().map(|primary| primary.key_region().to_owned()),
        replication: REPLICATION_FACTOR,
        initial_members: nodes.iter().map(|node| node.id).collect(),
        timings: plan.timings,
        nodes,
        gateways: gateways
            .map(|gateway| GatewayDescriptor { id: gateway.id, peer_address: gateway.peer_address.clone() })
            .collect(),
    };
    descriptor
        .validate()
        .map_err(|error| ClientError::usage(error.to_string(), "see `twinkeep init --help`"))?;
    Ok(descriptor)
}

fn write_region(
    folder: &RegionFolder,
    descriptor: &RegionDescriptor,
    plan: &RegionPlan,
    now: SystemTime,
) -> Result<(), ClientError> {
    for name in ["", "ca", "operator", "tls", "tokens"] {
        files::make_folder(&folder.root.join(name))?;
    }
    folder.write_descriptor(descriptor)?;
    let authority = Authority::create(descriptor, now)?;
    files::write(&folder.authority_certificate(), authority.certificate().as_bytes())?;
    files::write(&folder.authority_key(), authority.private_key().as_bytes())?;
    write_operator(folder, descriptor, &authority, now)?;
    let s3 = authority.issue_s3(&s3_names(plan), now)?;
    files::write(&folder.s3_certificate(), s3.certificate.as_bytes())?;
    files::write(&folder.s3_private_key(), s3.private_key.as_bytes())?;
    write_root_key(folder, &plan.root)?;
    let material = GatewayMaterial::load(folder)?;
    // with gateways apart, storage nodes stay keyless
    let for_nodes = plan.gateways.is_empty().then_some(&material);
    for node in &descriptor.nodes {
        let role = TokenRole::Node { id: node.id, incarnation: node.incarnation };
        write_token(folder, descriptor, &authority, role, for_nodes, now)?;
    }
    for gateway in &descriptor.gateways {
        let role = TokenRole::Gateway { id: gateway.id };
        write_token(folder, descriptor, &authority, role, Some(&material), now)?;
    }
    Ok(())
}

fn write_operator(
    folder: &RegionFolder,
    descriptor: &RegionDescriptor,
    authority: &Authority,
    now: SystemTime,
) -> Result<(), ClientError> {
    let role = PeerRole::Operator(FIRST_OPERATOR.to_owned());
    pair::write_identity(&folder.operator(), descriptor, authority, role, now)
}

fn write_root_key(folder: &RegionFolder, plan: &RootPlan) -> Result<(), ClientError> {
    let crypto =
        |what| move |error: envelope::EnvelopeError| ClientError::Crypto { what, problem: error.to_string() };
    let (passphrase, cost) = match plan {
        RootPlan::Hardware => return Ok(()),
        RootPlan::Copied { sealed, passphrase } => {
            if let Some(passphrase) = passphrase {
                files::write(&folder.root_passphrase(), passphrase.as_bytes())?;
            }
            return files::write(&folder.root_key(), sealed);
        }
        RootPlan::Passphrase(passphrase) => (passphrase.clone(), PassphraseCost::STANDARD),
        RootPlan::GeneratedPassphrase => {
            let passphrase = generate_passphrase()?;
            let line = Zeroizing::new(format!("{}\n", passphrase.as_str()));
            files::write(&folder.root_passphrase(), line.as_bytes())?;
            // 160 random bits cannot be guessed at any cost; 8 MiB keeps the start of a gateway quick
            let cost = PassphraseCost::new(8 << 10, 1, 1).map_err(crypto("sealing the root key"))?;
            (passphrase, cost)
        }
    };
    let root = RootKey::generate(files::fill_random)?;
    let salt: [u8; SALT_BYTES] = files::random()?;
    let sealed = envelope::seal_root(passphrase.as_bytes(), cost, salt, &root);
    files::write(&folder.root_key(), &sealed.map_err(crypto("sealing the root key"))?)
}

/// 32 letters and digits that are not mistaken for one another, 5 bits each.
fn generate_passphrase() -> Result<Zeroizing<String>, ClientError> {
    const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let random = Zeroizing::new(files::random::<32>()?);
    Ok(Zeroizing::new(random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect()))
}

/// What a gateway's token carries on top.
struct GatewayMaterial {
    s3_certificate: Zeroizing<String>,
    s3_private_key: Zeroizing<String>,
    sealed_root_key: Bytes,
}

impl GatewayMaterial {
    fn load(folder: &RegionFolder) -> Result<Self, ClientError> {
        let root_key = folder.root_key();
        let sealed = if root_key.exists() { files::read_bytes(&root_key)? } else { Vec::new() };
        Ok(Self {
            s3_certificate: files::read(&folder.s3_certificate())?,
            s3_private_key: files::read(&folder.s3_private_key())?,
            sealed_root_key: Bytes::from(sealed),
        })
    }
}

fn write_token(
    folder: &RegionFolder,
    descriptor: &RegionDescriptor,
    authority: &Authority,
    role: TokenRole,
    gateway: Option<&GatewayMaterial>,
    now: SystemTime,
) -> Result<RequestId, ClientError> {
    let peer_role = match role {
        TokenRole::Node { id, .. } => PeerRole::Node(id),
        TokenRole::Gateway { id } => PeerRole::Gateway(id),
    };
    let issued = authority.issue_member(&identity(descriptor, peer_role), now)?;
    let token = JoinToken {
        id: RequestId(files::random()?),
        role,
        descriptor: descriptor_text(descriptor)?,
        authority_certificate: authority.certificate().to_owned(),
        certificate: issued.certificate,
        private_key: issued.private_key,
        gateway: gateway.map(|material| GatewayFiles {
            s3_certificate: material.s3_certificate.to_string(),
            s3_private_key: material.s3_private_key.clone(),
            sealed_root_key: material.sealed_root_key.clone(),
        }),
    };
    let line = Zeroizing::new(format!("{}\n", token.to_text().as_str()));
    files::write(&folder.token(role), line.as_bytes())?;
    Ok(token.id)
}

fn identity(descriptor: &RegionDescriptor, role: PeerRole) -> PeerIdentity {
    PeerIdentity {
        deployment: descriptor.deployment,
        environment: descriptor.environment.clone(),
        region: descriptor.region.clone(),
        role,
    }
}

fn descriptor_text(descriptor: &RegionDescriptor) -> Result<String, ClientError> {
    toml::to_string(descriptor)
        .map_err(|error| ClientError::Crypto { what: "writing the descriptor", problem: error.to_string() })
}

/// The names of the S3 certificate: this machine, every host that serves S3, and those asked for.
fn s3_names(plan: &RegionPlan) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let nodes = plan.nodes.iter().map(|node| &node.peer_address).filter(|_| plan.gateways.is_empty());
    for address in nodes.chain(plan.gateways.iter().map(|gateway| &gateway.peer_address)) {
        if let Some((host, _)) = address.rsplit_once(':') {
            names.push(host.trim_matches(['[', ']']).to_owned());
        }
    }
    names.extend(plan.s3_names.iter().cloned());
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
#[path = "region/tests.rs"]
mod tests;
