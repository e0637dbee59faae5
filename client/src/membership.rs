//! Membership of a live region: adding, draining, replacing and removing nodes.
//!
//! The region decides and moves the data; here tokens are made, the operator's descriptor is kept in step, and in a
//! development region the processes as well.

use crate::admin::AdminClient;
use crate::deployment::Deployment;
use crate::dev::{DEV_NODES_MAX, DevFolder, Member, control};
use crate::region::{self, RegionFolder};
use crate::{ClientError, files};
use std::path::PathBuf;
use std::time::SystemTime;
use wire::admin::{AdminRequest, AdminResponse, NodeProgress};
use wire::descriptor::{NodeDescriptor, RegionDescriptor};
use wire::{Incarnation, NodeId};

/// A region whose members are changed.
pub struct Membership {
    deployment: Deployment,
    client: AdminClient,
}

/// A node that was let in, and what it shows on arrival.
pub struct Admitted {
    /// How far the region is with it.
    pub progress: NodeProgress,
    /// The join token. In a development region the node has it already.
    pub token: PathBuf,
}

impl Membership {
    /// Of this region.
    pub fn of(deployment: Deployment) -> Result<Self, ClientError> {
        let client = AdminClient::new(&deployment)?;
        Ok(Self { deployment, client })
    }

    /// Whether `twinkeep dev` runs its processes.
    pub fn is_dev(&self) -> bool {
        self.deployment.dev.is_some()
    }

    /// Whether the region has a pair, as far as the operator's files tell.
    pub fn has_pair(&self) -> bool {
        self.deployment.region.as_ref().is_some_and(|region| region.pair_operator().exists())
    }

    /// How far the change of a node is.
    pub fn progress(&self, node: NodeId) -> Result<NodeProgress, ClientError> {
        self.ask(&AdminRequest::NodeProgress { node })
    }

    /// Moves all replicas and leaders off a node.
    pub fn drain(&self, node: NodeId) -> Result<NodeProgress, ClientError> {
        self.ask(&AdminRequest::NodeDrain { node })
    }

    /// Admits a new node. In a development region its address is chosen when there is none.
    pub fn add(
        &self,
        id: NodeId,
        address: Option<&str>,
        zone: Option<&str>,
    ) -> Result<Admitted, ClientError> {
        let folder = self.region()?;
        check_number(&self.deployment.descriptor, id)?;
        let peer_address = match (address, self.deployment.dev_settings()?) {
            (Some(address), _) => address.to_owned(),
            (None, Some(_)) if id.0 > DEV_NODES_MAX => {
                return Err(ClientError::usage(
                    format!("a development region has no node {id}"),
                    format!("its nodes have the numbers 1 to {DEV_NODES_MAX}"),
                ));
            }
            (None, Some(settings)) => settings.ports()?.peer(Member::Node(id.0)).to_string(),
            (None, None) => {
                return Err(ClientError::usage(
                    "--address is missing",
                    "name HOST:PORT where peers reach it",
                ));
            }
        };
        let zone = zone.map_or_else(|| format!("zone-{id}"), str::to_owned);
        let node = NodeDescriptor { id, zone, peer_address, incarnation: Incarnation(1) };
        let mut descriptor = self.deployment.descriptor.clone();
        descriptor.nodes.push(node.clone());
        check(&descriptor)?;
        let admitted = self
            .admit(folder, &descriptor, &node, |token| AdminRequest::NodeAdd { node: node.clone(), token })?;
        folder.write_descriptor(&descriptor)?;
        Ok(admitted)
    }

    /// Gives a node an empty disk under its next incarnation.
    pub fn replace(&self, id: NodeId, address: Option<&str>) -> Result<Admitted, ClientError> {
        let folder = self.region()?;
        let mut descriptor = self.deployment.descriptor.clone();
        let Some(node) = descriptor.nodes.iter_mut().find(|node| node.id == id) else {
            return Err(unknown(id));
        };
        let Some(next) = node.incarnation.0.checked_add(1) else {
            return Err(ClientError::state(
                format!("node {id} has no incarnation left"),
                "add a node under a new number",
            ));
        };
        node.incarnation = Incarnation(next);
        if let Some(address) = address {
            node.peer_address = address.to_owned();
        }
        let node = node.clone();
        check(&descriptor)?;
        let admitted = self.admit(folder, &descriptor, &node, |token| AdminRequest::NodeReplace {
            node: id,
            incarnation: node.incarnation,
            peer_address: address.map(str::to_owned),
            token,
        })?;
        folder.write_descriptor(&descriptor)?;
        if let Some(dev) = &self.deployment.dev {
            renew_dev_node(dev, Member::Node(id.0))?;
        }
        Ok(admitted)
    }

    /// Forgets a drained node; `lost`: also one that still holds replicas.
    pub fn remove(&self, id: NodeId, lost: bool) -> Result<NodeProgress, ClientError> {
        let progress = self.ask(&AdminRequest::NodeRemove { node: id, lost })?;
        if let Some(folder) = &self.deployment.region {
            let mut descriptor = self.deployment.descriptor.clone();
            descriptor.nodes.retain(|node| node.id != id);
            check(&descriptor)?;
            folder.write_descriptor(&descriptor)?;
        }
        Ok(progress)
    }

    /// Makes a token and asks the region to admit it; when the region refuses, the token goes.
    fn admit(
        &self,
        folder: &RegionFolder,
        descriptor: &RegionDescriptor,
        node: &NodeDescriptor,
        request: impl FnOnce(wire::RequestId) -> AdminRequest,
    ) -> Result<Admitted, ClientError> {
        let with_gateway_files = descriptor.gateways.is_empty();
        let (id, path) =
            region::issue_node_token(folder, descriptor, node, with_gateway_files, SystemTime::now())?;
        match self.ask(&request(id)) {
            Ok(progress) => Ok(Admitted { progress, token: path }),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn ask(&self, request: &AdminRequest) -> Result<NodeProgress, ClientError> {
        match self.client.ask(request)? {
            AdminResponse::NodeProgress(progress) => Ok(progress),
            other => Err(self.client.unexpected(&other)),
        }
    }

    fn region(&self) -> Result<&RegionFolder, ClientError> {
        self.deployment.region.as_ref().ok_or_else(|| {
            ClientError::usage(
                "a join token needs the region's authority",
                "name the operator's folder with --data DIR",
            )
        })
    }
}

/// An emptied disk for a node of a development region: the old data goes, the process joins anew.
fn renew_dev_node(dev: &DevFolder, member: Member) -> Result<(), ClientError> {
    control::kill(dev, member)?;
    let data = dev.data(member);
    if data.exists() {
        std::fs::remove_dir_all(&data).map_err(ClientError::file("removing", &data))?;
        files::sync_folder(&dev.member(member))?;
    }
    if control::supervisor_runs(dev) {
        control::start(dev, member)?;
    }
    Ok(())
}

/// Refuses a number that no new node can have.
fn check_number(descriptor: &RegionDescriptor, id: NodeId) -> Result<(), ClientError> {
    let problem = if id.0 == 0 {
        "nodes are numbered from 1".to_owned()
    } else if descriptor.node(id).is_some() || descriptor.initial_members.contains(&id) {
        format!("node {id} exists already, or did")
    } else {
        return Ok(());
    };
    let known = descriptor.nodes.iter().map(|node| node.id).chain(descriptor.initial_members.iter().copied());
    let last = known.map(|id| id.0).max().unwrap_or(0);
    let advice = match last.checked_add(1) {
        Some(next) => format!("the next free number is {next}; `twinkeep status` shows all nodes"),
        None => "`twinkeep status` shows all nodes".to_owned(),
    };
    Err(ClientError::usage(problem, advice))
}

fn check(descriptor: &RegionDescriptor) -> Result<(), ClientError> {
    descriptor.validate().map_err(|error| ClientError::usage(error.to_string(), "see `twinkeep node --help`"))
}

fn unknown(id: NodeId) -> ClientError {
    ClientError::usage(format!("there is no node {id}"), "`twinkeep status` shows all nodes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_taken_is_refused_with_the_next_free_one() {
        let base = tempfile::tempdir().unwrap();
        let (folder, _) = crate::dev::prepare(&crate::testing::dev_options(base.path())).unwrap();
        let descriptor = folder.region().read_descriptor().unwrap();
        check_number(&descriptor, NodeId(4)).unwrap();
        let error = check_number(&descriptor, NodeId(3)).unwrap_err();
        assert!(error.to_string().contains("node 3 exists already"), "{error}");
        assert!(error.advice().contains("number is 4"), "{}", error.advice());
        assert_eq!(check_number(&descriptor, NodeId(0)).unwrap_err().exit_code(), 2);
    }
}
