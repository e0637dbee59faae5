//! `twinkeep status`: the region at one glance.

use super::Common;
use super::output::{Output, Tint, bytes, duration, table};
use crate::ClientError;
use crate::admin::AdminClient;
use clap::Args;
use std::fmt::Write;
use std::time::Duration;
use wire::admin::{
    AdminRequest, AdminResponse, DiskHealth, GroupStatus, NodeState, NodeStatus, RegionStatus,
};

/// Copies that a group should have.
const COPIES: usize = wire::descriptor::REPLICATION_FACTOR as usize;

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    /// Show again every two seconds until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Show every group, not only those that need attention
    #[arg(long)]
    groups: bool,
}

pub(super) fn run(common: &Common, arguments: &StatusArguments, output: &Output) -> Result<(), ClientError> {
    const AGAIN_AFTER: Duration = Duration::from_secs(2);
    let client = AdminClient::new(&common.deployment()?)?;
    loop {
        let status = match client.ask(&AdminRequest::Status) {
            Ok(AdminResponse::Status(status)) => status,
            Ok(other) => return Err(client.unexpected(&other)),
            Err(error) if arguments.watch && matches!(error, ClientError::Unreachable { .. }) => {
                eprintln!("twinkeep: {error}");
                std::thread::sleep(AGAIN_AFTER);
                continue;
            }
            Err(error) => return Err(error),
        };
        if arguments.watch && output.is_screen() {
            output.text("\u{1b}[H\u{1b}[2J")?;
        }
        output.either(&status, || page(&status, arguments.groups, output))?;
        if !arguments.watch {
            return match degraded(&status) {
                None => Ok(()),
                Some(problem) => Err(ClientError::Degraded { problem }),
            };
        }
        std::thread::sleep(AGAIN_AFTER);
    }
}

/// What is not as it should be with the region as a whole.
fn degraded(status: &RegionStatus) -> Option<String> {
    let mut problems = Vec::new();
    match &status.pair_trouble {
        Some(trouble) => problems.push(trouble.clone()),
        None if !status.writable && !status.follows => problems.push("the region is not writable".to_owned()),
        None => {}
    }
    for (count, what) in [
        (status.leaderless_groups, "without a leader"),
        (status.under_replicated_groups, "with fewer than three good copies"),
    ] {
        if count > 0 {
            problems.push(format!("{count} groups {what}"));
        }
    }
    (!problems.is_empty()).then(|| problems.join(", "))
}

fn page(status: &RegionStatus, all_groups: bool, output: &Output) -> String {
    let writable = match (&status.pair_trouble, status.follows) {
        (Some(trouble), true) => output.tint(Tint::Bad, &format!("a standby: {trouble}")),
        (Some(trouble), false) => output.tint(Tint::Bad, &format!("not writable: {trouble}")),
        (None, true) => output.tint(Tint::Good, "a standby: the other region takes the writes"),
        (None, false) if status.writable => output.tint(Tint::Good, "writable"),
        (None, false) => output.tint(Tint::Bad, "not writable"),
    };
    let mut text = format!(
        "Region {} ({}), {writable}; asked {}\n\n",
        status.region, status.environment, status.answered_by
    );
    let rows: Vec<Vec<String>> = status.nodes.iter().map(node_row).collect();
    let head = [
        "node",
        "zone",
        "state",
        "address",
        ">replicas",
        ">leads",
        ">used",
        ">free",
        "disk",
        "version",
        ">up",
        ">refused",
    ];
    text.push_str(&table(&head, &rows));
    let used: u64 = status.nodes.iter().map(|node| node.used_bytes).sum();
    let capacity: u64 = status.nodes.iter().map(|node| node.capacity_bytes).sum();
    let _ = write!(
        text,
        "\n{} groups: {} under-replicated, {} without a leader\n{} used of {} raw\n",
        status.groups.len(),
        count(status.under_replicated_groups, output),
        count(status.leaderless_groups, output),
        bytes(used),
        bytes(capacity),
    );
    let shown: Vec<&GroupStatus> = status
        .groups
        .iter()
        .filter(|group| all_groups || group.leader.is_none() || good(group) < COPIES)
        .collect();
    if !shown.is_empty() {
        let rows: Vec<Vec<String>> = shown.into_iter().map(group_row).collect();
        let _ = write!(text, "\n{}", table(&[">group", "leader", "copies", ">good", ">term"], &rows));
    }
    text
}

fn count(number: u32, output: &Output) -> String {
    output.tint(if number == 0 { Tint::Good } else { Tint::Bad }, &number.to_string())
}

fn good(group: &GroupStatus) -> usize {
    group.replicas.iter().filter(|replica| replica.good && replica.voter).count()
}

fn node_row(node: &NodeStatus) -> Vec<String> {
    let known = node.state != NodeState::Down;
    let or_dash = |text: String| if known { text } else { "-".to_owned() };
    vec![
        node.id.to_string(),
        node.zone.clone(),
        state_name(node.state).to_owned(),
        node.peer_address.clone(),
        node.replicas.to_string(),
        node.leaders.to_string(),
        or_dash(bytes(node.used_bytes)),
        or_dash(bytes(node.free_bytes)),
        disk_name(node.disk).to_owned(),
        or_dash(node.version.clone()),
        or_dash(duration(node.uptime_ms)),
        node.refused_handshakes.to_string(),
    ]
}

fn group_row(group: &GroupStatus) -> Vec<String> {
    let mark = |good: bool, voter: bool| match (good, voter) {
        (true, true) => "",
        (_, false) => "+",
        (false, true) => "!",
    };
    let copies: Vec<String> = group
        .replicas
        .iter()
        .map(|replica| format!("{}{}", replica.node, mark(replica.good, replica.voter)))
        .collect();
    vec![
        group.id.to_string(),
        group.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string()),
        copies.join(" "),
        good(group).to_string(),
        group.term.to_string(),
    ]
}

/// A node's state in a word.
pub(super) fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Joining => "joining",
        NodeState::Up => "up",
        NodeState::Down => "down",
        NodeState::Draining => "draining",
        NodeState::Drained => "drained",
        NodeState::Unknown => "unknown",
    }
}

fn disk_name(disk: DiskHealth) -> &'static str {
    match disk {
        DiskHealth::Healthy => "healthy",
        DiskHealth::ReadOnly => "read-only",
        DiskHealth::Failed => "failed",
        DiskHealth::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_that_is_not_well_as_a_whole_is_degraded() {
        let well = RegionStatus {
            deployment: wire::DeploymentId([7; 16]),
            environment: "test".into(),
            region: "twin-1".into(),
            answered_by: "gateway/1".into(),
            now: wire::UnixMillis(0),
            nodes: Vec::new(),
            groups: Vec::new(),
            under_replicated_groups: 0,
            leaderless_groups: 0,
            writable: true,
            follows: false,
            pair_trouble: None,
        };
        assert_eq!(degraded(&well), None);
        let unwell = RegionStatus { writable: false, leaderless_groups: 8, ..well.clone() };
        let problem = degraded(&unwell).unwrap();
        assert_eq!(problem, "the region is not writable, 8 groups without a leader");
        assert_eq!(ClientError::Degraded { problem }.exit_code(), 3);
        assert!(degraded(&RegionStatus { under_replicated_groups: 1, ..well.clone() }).is_some());
        let standby = RegionStatus { writable: false, follows: true, ..well };
        assert_eq!(degraded(&standby), None);
        let left_alone =
            RegionStatus { pair_trouble: Some("its primary was not heard of for 12 s".into()), ..standby };
        assert_eq!(degraded(&left_alone).unwrap(), "its primary was not heard of for 12 s");
    }
}
