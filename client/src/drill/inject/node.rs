//! Drills of one storage node: it is killed and comes back, with its disk or with an empty one.

use super::super::only_here;
use super::super::run::Run;
use crate::ClientError;
use crate::admin::AdminClient;
use crate::dev::{DevFolder, Member, control};
use crate::membership::Membership;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use wire::NodeId;
use wire::admin::{AdminRequest, AdminResponse, NodeState, ScrubReport};

/// For how long writes are watched after a node was killed, once the region has noticed: a second leader may still move.
const WATCH: Duration = Duration::from_secs(2);

/// Kills a node and starts it again.
pub(super) fn restart(run: &mut Run<'_>, region: &str) -> Result<(), ClientError> {
    let node = chosen(run, region)?;
    kill(run, region, node)?;
    run.step(&format!("start node {node} again"), |run| {
        control::start(dev(run, region)?, Member::Node(node.0))
    })?;
    run.step("wait for its copies", |run| run.wait(|| is_whole(run, region)))?;
    run.read_back(region)
}

/// Kills a node, throws its disk away, and has the region make its copies anew.
pub(super) fn restore(run: &mut Run<'_>, region: &str) -> Result<(), ClientError> {
    let node = chosen(run, region)?;
    let began = Instant::now();
    kill(run, region, node)?;
    let membership = Membership::of(run.target.region(region)?.deployment.clone())?;
    run.step(&format!("throw the disk of node {node} away, and give it an empty one"), |_| {
        membership.replace(node, None).map(|admitted| admitted.progress)
    })?;
    run.step("wait until its copies are made anew", |run| {
        run.wait(|| Ok(membership.progress(node)?.done && is_whole(run, region)?))
    })?;
    run.restored_ms = Some(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    run.step(&format!("read everything on every disk of {region}"), |run| scrub(run, region))?;
    run.read_back(region)
}

/// Starts every node of a region, and waits for their copies.
pub(super) fn start_all(run: &mut Run<'_>, region: &str) -> bool {
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

/// The node that was asked for, or the one whose loss is felt most.
fn chosen(run: &Run<'_>, region: &str) -> Result<NodeId, ClientError> {
    let status = run.status(region)?;
    if let Some(asked) = run.plan.node.map(NodeId) {
        if status.nodes.iter().any(|node| node.id == asked) {
            return Ok(asked);
        }
        let problem = format!("{region} has no node {asked}");
        return Err(ClientError::state(problem, "`twinkeep status` shows them"));
    }
    let mut leads = BTreeMap::new();
    for leader in status.groups.iter().filter_map(|group| group.leader) {
        *leads.entry(leader).or_insert(0) += 1;
    }
    let most = leads.into_iter().max_by_key(|(_, groups): &(NodeId, u32)| *groups);
    Ok(most.map_or(NodeId(1), |(node, _)| node))
}

/// Kills a node, and waits until the region goes on without it.
fn kill(run: &mut Run<'_>, region: &str, node: NodeId) -> Result<(), ClientError> {
    run.injected = Some((run.clock.now(), region.to_owned()));
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
