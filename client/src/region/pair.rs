//! Two regions as a pair: each gives the other's storage nodes and operator an identity of its own.

use super::{Authority, FIRST_OPERATOR, RegionFolder, RegionPlan, RootPlan, descriptor_text, identity};
use crate::{ClientError, files};
use std::path::Path;
use std::time::SystemTime;
use wire::descriptor::{PeerRole, RegionDescriptor};

/// Turns a plan into one for a standby of the region in `primary`: its deployment, its groups, its root key.
pub fn standby_plan(primary: &RegionFolder, plan: RegionPlan) -> Result<RegionPlan, ClientError> {
    let descriptor = primary.read_descriptor()?;
    if plan.groups.is_some_and(|groups| groups != descriptor.groups) {
        let problem = format!("the primary has {} data groups", descriptor.groups);
        return Err(ClientError::usage(problem, "leave --groups out: both regions of a pair have the same"));
    }
    let root = if primary.root_key().exists() {
        let passphrase = primary.root_passphrase();
        RootPlan::Copied {
            sealed: files::read_bytes(&primary.root_key())?,
            passphrase: if passphrase.exists() { Some(files::read(&passphrase)?) } else { None },
        }
    } else {
        RootPlan::Hardware
    };
    let environment = descriptor.environment.clone();
    Ok(RegionPlan {
        environment,
        groups: Some(descriptor.groups),
        root,
        standby_of: Some(descriptor),
        ..plan
    })
}

/// Lets the members of two regions know each other; what was there before is replaced.
pub fn introduce(one: &RegionFolder, other: &RegionFolder, now: SystemTime) -> Result<(), ClientError> {
    let (first, second) = (one.read_descriptor()?, other.read_descriptor()?);
    give(one, &first, other, &second, now)?;
    give(other, &second, one, &first, now)
}

/// The authority of `host` makes identities for the members of `guest`.
fn give(
    guest: &RegionFolder,
    members: &RegionDescriptor,
    host: &RegionFolder,
    descriptor: &RegionDescriptor,
    now: SystemTime,
) -> Result<(), ClientError> {
    let authority = Authority::load(host, descriptor)?;
    for node in &members.nodes {
        let role = PeerRole::Pair(node.id.0);
        write_identity(&guest.pair_node(node.id), descriptor, &authority, role, now)?;
    }
    let role = PeerRole::Operator(FIRST_OPERATOR.to_owned());
    write_identity(&guest.pair_operator(), descriptor, &authority, role, now)
}

/// The authority of `host` makes an identity for a witness, in `folder`.
pub fn write_witness(
    folder: &Path,
    host: &RegionFolder,
    descriptor: &RegionDescriptor,
    name: &str,
    now: SystemTime,
) -> Result<(), ClientError> {
    let authority = Authority::load(host, descriptor)?;
    write_identity(folder, descriptor, &authority, PeerRole::Witness(name.to_owned()), now)
}

/// Writes what a member needs to speak for itself.
pub(super) fn write_identity(
    folder: &Path,
    descriptor: &RegionDescriptor,
    authority: &Authority,
    role: PeerRole,
    now: SystemTime,
) -> Result<(), ClientError> {
    files::make_folder(folder)?;
    let issued = authority.issue_member(&identity(descriptor, role), now)?;
    files::write(&folder.join("region.toml"), descriptor_text(descriptor)?.as_bytes())?;
    files::write(&folder.join("ca.pem"), authority.certificate().as_bytes())?;
    files::write(&folder.join("member.pem"), issued.certificate.as_bytes())?;
    files::write(&folder.join("member.key"), issued.private_key.as_bytes())
}
