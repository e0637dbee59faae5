//! `twinkeep node add|drain|remove|replace|progress`: membership of a live region.
//!
//! The region decides and moves the data; here tokens are made, the operator's descriptor is kept in step, and in a
//! development region the processes as well.

use super::Common;
use super::output::Output;
use super::status::state_name;
use crate::admin::AdminClient;
use crate::deployment::Deployment;
use crate::dev::{DEV_NODES_MAX, DevFolder, Member, control};
use crate::region::{self, RegionFolder};
use crate::{ClientError, EXIT_UNREACHABLE, files};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use wire::admin::{AdminRequest, AdminResponse, NodeProgress};
use wire::descriptor::{NodeDescriptor, RegionDescriptor};
use wire::{Incarnation, NodeId};

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Admit a new node: makes its join token; in a development region starts it as well
    Add {
        /// Its number, never used before
        id: u16,
        /// Where peers reach it; in a development region chosen when left out
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        /// Its failure zone [default: zone-ID]
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Move all replicas and leaders off a node
    Drain {
        /// Its number
        id: u16,
        #[command(flatten)]
        wait: Wait,
    },
    /// Forget a drained node
    Remove {
        /// Its number
        id: u16,
        /// Also when it still holds replicas: its disk is lost for good
        #[arg(long)]
        lost: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Give a node an empty disk under its next incarnation: makes its join token
    Replace {
        /// Its number
        id: u16,
        /// Its new address, if that changed
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Show how far a change is
    Progress {
        /// Its number
        id: u16,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, Args)]
pub(super) struct Wait {
    /// Wait until it is done, with a progress bar
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this long; the change itself goes on
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
}

#[derive(Serialize)]
struct Change {
    #[serde(flatten)]
    progress: NodeProgress,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_token_file: Option<PathBuf>,
}

struct Session<'a> {
    deployment: Deployment,
    client: AdminClient,
    output: &'a Output,
}

pub(super) fn run(common: &Common, command: &NodeCommand, output: &Output) -> Result<(), ClientError> {
    let deployment = common.deployment()?;
    let client = AdminClient::new(&deployment)?;
    let session = Session { deployment, client, output };
    match command {
        NodeCommand::Add { id, address, zone, wait } => {
            session.add(NodeId(*id), address.as_deref(), zone.as_deref(), wait)
        }
        NodeCommand::Drain { id, wait } => {
            let progress = session.ask(&AdminRequest::NodeDrain { node: NodeId(*id) })?;
            session.finish(progress, None, wait)
        }
        NodeCommand::Remove { id, lost, wait } => session.remove(NodeId(*id), *lost, wait),
        NodeCommand::Replace { id, address, wait } => session.replace(NodeId(*id), address.as_deref(), wait),
        NodeCommand::Progress { id, wait } => {
            let progress = session.ask(&AdminRequest::NodeProgress { node: NodeId(*id) })?;
            session.finish(progress, None, wait)
        }
    }
}

impl Session<'_> {
    fn add(
        &self,
        id: NodeId,
        address: Option<&str>,
        zone: Option<&str>,
        wait: &Wait,
    ) -> Result<(), ClientError> {
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
        let (progress, token) = self
            .admit(folder, &descriptor, &node, |token| AdminRequest::NodeAdd { node: node.clone(), token })?;
        folder.write_descriptor(&descriptor)?;
        self.finish(progress, Some(token), wait)
    }

    fn replace(&self, id: NodeId, address: Option<&str>, wait: &Wait) -> Result<(), ClientError> {
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
        let (progress, token) =
            self.admit(folder, &descriptor, &node, |token| AdminRequest::NodeReplace {
                node: id,
                incarnation: node.incarnation,
                peer_address: address.map(str::to_owned),
                token,
            })?;
        folder.write_descriptor(&descriptor)?;
        if let Some(dev) = &self.deployment.dev {
            renew_dev_node(dev, Member::Node(id.0))?;
        }
        self.finish(progress, Some(token), wait)
    }

    fn remove(&self, id: NodeId, lost: bool, wait: &Wait) -> Result<(), ClientError> {
        let progress = self.ask(&AdminRequest::NodeRemove { node: id, lost })?;
        if let Some(folder) = &self.deployment.region {
            let mut descriptor = self.deployment.descriptor.clone();
            descriptor.nodes.retain(|node| node.id != id);
            check(&descriptor)?;
            folder.write_descriptor(&descriptor)?;
        }
        self.finish(progress, None, wait)
    }

    /// Makes a token and asks the region to admit it; when the region refuses, the token goes.
    fn admit(
        &self,
        folder: &RegionFolder,
        descriptor: &RegionDescriptor,
        node: &NodeDescriptor,
        request: impl FnOnce(wire::RequestId) -> AdminRequest,
    ) -> Result<(NodeProgress, PathBuf), ClientError> {
        let with_gateway_files = descriptor.gateways.is_empty();
        let (id, path) =
            region::issue_node_token(folder, descriptor, node, with_gateway_files, SystemTime::now())?;
        match self.ask(&request(id)) {
            Ok(progress) => Ok((progress, path)),
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

    fn finish(&self, progress: NodeProgress, token: Option<PathBuf>, wait: &Wait) -> Result<(), ClientError> {
        if let Some(path) = token.as_ref().filter(|_| self.deployment.dev.is_none()) {
            eprintln!("twinkeep: give {} to the node as its join_token_file and start it", path.display());
        }
        let progress = if wait.wait { self.wait_done(progress, wait.timeout)? } else { progress };
        let change = Change { progress, join_token_file: token };
        self.output.either(&change, || format!("{}\n", line(&change.progress)))
    }

    fn wait_done(
        &self,
        mut progress: NodeProgress,
        timeout_seconds: Option<u64>,
    ) -> Result<NodeProgress, ClientError> {
        const AGAIN_AFTER: Duration = Duration::from_millis(500);
        let deadline = timeout_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let request = AdminRequest::NodeProgress { node: progress.node };
        let mut bar = Bar::new();
        let mut most = Most::default();
        most.count(&mut progress);
        while !progress.done {
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                bar.end();
                return Err(ClientError::Degraded {
                    problem: format!("not done in time: {}", line(&progress)),
                });
            }
            bar.show(&progress);
            std::thread::sleep(AGAIN_AFTER);
            match self.ask(&request) {
                Ok(next) => {
                    progress = next;
                    most.count(&mut progress);
                }
                // the change goes on without us; the region may just be electing
                Err(error) if error.exit_code() == EXIT_UNREACHABLE => bar.note(&error),
                Err(error) => return Err(error),
            }
        }
        bar.end();
        Ok(progress)
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

fn line(progress: &NodeProgress) -> String {
    let waiting = if progress.waiting_for.is_empty() {
        String::new()
    } else {
        format!(", waiting for {}", progress.waiting_for)
    };
    format!(
        "node {} {}: {} of {} replicas{waiting}",
        progress.node,
        if progress.done { "is done" } else { state_name(progress.state) },
        progress.replicas_moved,
        progress.replicas_total,
    )
}

/// The most there was to do: the region says what is left, and what was done counts from the first look on.
#[derive(Default)]
struct Most {
    replicas: u32,
}

impl Most {
    fn count(&mut self, progress: &mut NodeProgress) {
        let left = progress.replicas_total.saturating_sub(progress.replicas_moved);
        self.replicas = self.replicas.max(progress.replicas_total);
        (progress.replicas_total, progress.replicas_moved) = (self.replicas, self.replicas - left);
    }
}

/// A bar on a terminal; elsewhere a line now and then.
struct Bar {
    terminal: bool,
    last: Option<Instant>,
}

impl Bar {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: None }
    }

    fn show(&mut self, progress: &NodeProgress) {
        const WIDTH: u64 = 24;
        const LINE_EVERY: Duration = Duration::from_secs(10);
        let (moved, total) = (u64::from(progress.replicas_moved), u64::from(progress.replicas_total));
        let filled = (WIDTH * moved.min(total)).checked_div(total).unwrap_or(0) as usize;
        let text = line(progress);
        let mut stderr = std::io::stderr().lock();
        if self.terminal {
            let _ = write!(
                stderr,
                "\r\u{1b}[K[{}{}] {text}",
                "#".repeat(filled),
                ".".repeat(WIDTH as usize - filled)
            );
            let _ = stderr.flush();
        } else if self.last.is_none_or(|last| last.elapsed() > LINE_EVERY) {
            let _ = writeln!(stderr, "twinkeep: {text}");
            self.last = Some(Instant::now());
        }
    }

    fn note(&mut self, error: &ClientError) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K{error}");
        }
    }

    fn end(&self) {
        if self.terminal && self.last.is_none() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::admin::NodeState;

    #[test]
    fn what_was_done_counts_though_the_region_says_only_what_is_left() {
        let mut most = Most::default();
        let shown = [(0, 9), (0, 5), (1, 4), (0, 0)].map(|(replicas_moved, replicas_total)| {
            let state = NodeState::Draining;
            let (node, waiting_for) = (NodeId(1), String::new());
            let mut progress =
                NodeProgress { node, state, done: false, replicas_total, replicas_moved, waiting_for };
            most.count(&mut progress);
            (progress.replicas_moved, progress.replicas_total)
        });
        assert_eq!(shown, [(0, 9), (4, 9), (6, 9), (9, 9)]);
    }

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
