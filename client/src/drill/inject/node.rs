//! Drills of one storage node: it is killed and comes back, with its disk or with an empty one.

use super::super::readiness::status_of;
use super::super::run::Run;
use super::super::{DrillPlan, only_here};
use crate::ClientError;
use crate::admin::AdminClient;
use crate::dev::{DevFolder, Member, control};
use crate::membership::Membership;
use crate::target::Target;
use std::time::{Duration, Instant};
use wire::NodeId;
use wire::admin::{AdminRequest, AdminResponse, NodeState, ScrubReport};

/// For how long writes are watched after a node was killed, once the region has noticed: a second leader may still move.
const WATCH: Duration = Duration::from_secs(2);

/// The node that a drill takes away.
pub(in super::super) struct Chosen {
    pub(in super::super) region: String,
    pub(in super::super) node: NodeId,
    /// How many groups it leads.
    pub(in super::super) leads: usize,
}

/// Kills a node and starts it again; writes go on in `primary`.
pub(super) fn restart(run: &mut Run<'_>, primary: &str) -> Result<(), ClientError> {
    let Chosen { region, node, .. } = chosen(run.target, run.plan, primary)?;
    let region = region.as_str();
    kill(run, primary, region, node)?;
    run.step(&format!("start node {node} again"), |run| {
        control::start(dev(run, region)?, Member::Node(node.0))
    })?;
    run.step("wait for its copies", |run| run.wait(|| is_whole(run, region)))?;
    run.read_back(primary)
}

/// Kills a node, throws its disk away, and has the region make its copies anew.
pub(super) fn restore(run: &mut Run<'_>, primary: &str) -> Result<(), ClientError> {
    let Chosen { region, node, .. } = chosen(run.target, run.plan, primary)?;
    let region = region.as_str();
    let began = Instant::now();
    kill(run, primary, region, node)?;
    let membership = Membership::of(run.target.region(region)?.deployment.clone())?;
    run.step(&format!("throw the disk of node {node} away, and give it an empty one"), |_| {
        membership.replace(node, None).map(|admitted| admitted.progress)
    })?;
    run.step("wait until its copies are made anew", |run| {
        run.wait(|| Ok(membership.progress(node)?.done && is_whole(run, region)?))
    })?;
    run.restored_ms = Some(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    run.step(&format!("read everything on every disk of {region}"), |run| scrub(run, region))?;
    run.read_back(primary)
}

/// Starts every node of the region in which one was taken away, and waits for their copies.
pub(super) fn start_all(run: &mut Run<'_>, primary: &str) -> bool {
    let region = run.plan.region.as_deref().unwrap_or(primary);
    let started = run.step("undo: start every node again", |run| {
        let folder = dev(run, region)?;
        let status = run.status(region)?;
        for node in &status.nodes {
            control::start(folder, Member::Node(node.id.0))?;
        }
        run.wait(|| is_whole(run, region))
    });
    if started.is_ok() {
        run.undone.push("every node runs again, with all its copies".to_owned());
    }
    started.is_ok()
}

/// The node that was asked for, or the one whose loss is felt most; in the region that takes writes, unless another is named.
pub(in super::super) fn chosen(
    target: &Target,
    plan: &DrillPlan,
    primary: &str,
) -> Result<Chosen, ClientError> {
    let region = target.region(plan.region.as_deref().unwrap_or(primary))?;
    let status = status_of(&AdminClient::new(&region.deployment)?)?;
    let leads = |node: NodeId| status.groups.iter().filter(|group| group.leader == Some(node)).count();
    let node = match plan.node.map(NodeId) {
        Some(asked) => status.nodes.iter().find(|node| node.id == asked),
        None => status.nodes.iter().max_by_key(|node| leads(node.id)),
    };
    let node = node.ok_or_else(|| {
        let asked = plan.node.unwrap_or_default();
        let ids: Vec<String> = status.nodes.iter().map(|node| node.id.to_string()).collect();
        let (problem, advice) = (format!("{} has no node {asked}", region.name), ids.join(", "));
        ClientError::state(problem, format!("it has {advice}"))
    })?;
    if node.state == NodeState::Down {
        let problem = format!("node {} of {} is down already", node.id, region.name);
        return Err(ClientError::state(problem, "name another with --node, or start it"));
    }
    Ok(Chosen { region: region.name.clone(), node: node.id, leads: leads(node.id) })
}

/// Kills a node, and waits until its region goes on without it.
fn kill(run: &mut Run<'_>, primary: &str, region: &str, node: NodeId) -> Result<(), ClientError> {
    run.injected = Some((run.clock.now(), primary.to_owned()));
    run.step(&format!("kill node {node} of {region}"), |run| {
        control::kill(dev(run, region)?, Member::Node(node.0))
    })?;
    run.step("wait until the region goes on without it", |run| {
        run.wait(|| {
            let status = run.status(region)?;
            let mut all = status.nodes.iter();
            let is_down = all.any(|other| other.id == node && other.state == NodeState::Down);
            Ok(is_down && status.leaderless_groups == 0)
        })?;
        let began = Instant::now();
        run.wait(|| Ok(began.elapsed() > WATCH))
    })
}

fn is_whole(run: &Run<'_>, region: &str) -> Result<bool, ClientError> {
    let status = run.status(region)?;
    let up = status.nodes.iter().all(|node| node.state != NodeState::Down);
    Ok(up && status.leaderless_groups == 0 && status.under_replicated_groups == 0)
}

/// Reads every disk of a region from end to end; refuses when something is damaged and stays so.
fn scrub(run: &Run<'_>, region: &str) -> Result<ScrubReport, ClientError> {
    let client = AdminClient::new(&run.target.region(region)?.deployment)?;
    let ask = |request: AdminRequest| match client.ask(&request)? {
        AdminResponse::Scrub(report) => Ok(report),
        other => Err(client.unexpected(&other)),
    };
    let mut report = ask(AdminRequest::ScrubStart { node: None })?;
    run.wait(|| {
        if report.nodes.iter().any(|node| node.running) {
            report = ask(AdminRequest::ScrubReport { node: None })?;
        }
        Ok(!report.nodes.iter().any(|node| node.running))
    })?;
    let lost: u64 = report.nodes.iter().map(|node| node.corrupt.saturating_sub(node.repaired)).sum();
    if lost > 0 {
        let problem = format!("{lost} records are damaged and could not be repaired");
        return Err(ClientError::state(problem, "`twinkeep scrub --report` shows where"));
    }
    Ok(report)
}

fn dev<'a>(run: &Run<'a>, region: &str) -> Result<&'a DevFolder, ClientError> {
    run.target.region(region)?.dev.as_ref().ok_or_else(|| only_here(run.plan.kind))
}
