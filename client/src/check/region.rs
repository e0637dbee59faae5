//! What only the region knows: nodes, groups, disks, keys, clocks, releases.

use super::{Findings, certificates};
use crate::ClientError;
use crate::admin::AdminClient;
use crate::deployment::Deployment;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use wire::admin::{
    AdminErrorCode, AdminRequest, AdminResponse, CheckFacts, DiskHealth, NodeState, RegionStatus,
};

const OURS: &str = "region";
/// S3 clients are refused beyond 15 minutes; half a second between nodes shows that nobody keeps the clocks.
const CLOCK_OFFSET_WARNING_MS: i64 = 500;
const CLOCK_OFFSET_FAILURE: Duration = Duration::from_secs(5 * 60);
/// A node holds a connection and a segment open per peer and group; below this it runs out under load.
const OPEN_FILES_MIN: u64 = 4096;

pub(super) fn run(deployment: &Deployment, now: SystemTime, findings: &mut Findings) {
    let client = match AdminClient::new(deployment) {
        Ok(client) => client,
        Err(error) => {
            let advice = "repair what is said above about files and certificates first";
            findings.failure(OURS, "TK-C012", format!("the region cannot be asked: {error}"), advice);
            return;
        }
    };
    match client.ask(&AdminRequest::Status) {
        Ok(AdminResponse::Status(status)) => judge_status(&status, findings),
        Ok(other) => {
            let message = format!("the region cannot be understood: {}", client.unexpected(&other));
            findings.failure(OURS, "TK-C012", message, "use the `twinkeep` of the region's own release");
            return;
        }
        Err(error) => {
            findings.failure(OURS, "TK-C012", error.to_string(), "start it, or look at its logs");
            return;
        }
    }
    match client.ask(&AdminRequest::CheckFacts) {
        Ok(AdminResponse::CheckFacts(facts)) => judge_facts(&facts, now, findings),
        Err(ClientError::Refused { error }) if error.code == AdminErrorCode::NotAvailable => {
            findings.ok(OURS, "the answering process offers no further facts");
        }
        Ok(_) | Err(_) => {
            findings.warning(
                OURS,
                "TK-C012",
                "the region did not tell of its health",
                "try again in a moment",
            );
        }
    }
}

pub(super) fn judge_status(status: &RegionStatus, findings: &mut Findings) {
    findings.ok(OURS, format!("{} answers for region {}", status.answered_by, status.region));
    for node in &status.nodes {
        let id = node.id;
        match node.state {
            NodeState::Down => {
                let advice = "start it; if its disk is lost, `twinkeep node replace`";
                findings.failure(
                    OURS,
                    "TK-C013",
                    format!("node {id} ({}) does not answer", node.peer_address),
                    advice,
                );
            }
            NodeState::Joining | NodeState::Draining => {
                let advice = "`twinkeep node progress` shows how far it is";
                findings.warning(OURS, "TK-C013", format!("node {id} is being moved"), advice);
            }
            NodeState::Up | NodeState::Drained | NodeState::Unknown => {}
        }
        match node.disk {
            DiskHealth::Failed => {
                let advice = "put in a new disk and run `twinkeep node replace`";
                findings.failure(OURS, "TK-C014", format!("the disk of node {id} is out of service"), advice);
            }
            DiskHealth::ReadOnly => {
                let advice = "delete objects, enlarge the disk or add nodes; deletes still work";
                findings.failure(
                    OURS,
                    "TK-C014",
                    format!("the disk of node {id} is full: it is read-only"),
                    advice,
                );
            }
            DiskHealth::Healthy | DiskHealth::Unknown => {}
        }
        if node.refused_handshakes > 0 {
            let message = format!("node {id} refused {} connections", node.refused_handshakes);
            findings.warning(
                OURS,
                "TK-C019",
                message,
                "`twinkeep pair refused` lists who came and why they were refused",
            );
        }
    }
    judge_groups(status, findings);
    if let Some(trouble) = &status.pair_trouble {
        let message = format!("the pair is not in order: {trouble}");
        let advice = "`twinkeep lag` shows both; the page of this code says what to do in each case";
        findings.failure(OURS, "TK-C023", message, advice);
    }
    let versions: BTreeSet<&str> =
        status.nodes.iter().map(|node| node.version.as_str()).filter(|version| !version.is_empty()).collect();
    if versions.len() > 1 {
        let message =
            format!("nodes run different releases: {}", versions.into_iter().collect::<Vec<_>>().join(", "));
        findings.warning(OURS, "TK-C017", message, "finish the upgrade, node by node");
    }
}

fn judge_groups(status: &RegionStatus, findings: &mut Findings) {
    if status.leaderless_groups > 0 {
        let message = format!(
            "{} groups have no leader: their objects cannot be read or written",
            status.leaderless_groups
        );
        findings.failure(
            OURS,
            "TK-C015",
            message,
            "start the nodes that are down; two of three copies are needed",
        );
    }
    if status.under_replicated_groups > 0 {
        let message = format!("{} groups have fewer than three good copies", status.under_replicated_groups);
        findings.warning(
            OURS,
            "TK-C016",
            message,
            "start or replace the node that is down, then wait for the copies",
        );
    }
    if status.leaderless_groups == 0 && status.under_replicated_groups == 0 {
        findings.ok(OURS, format!("all {} groups have a leader and three good copies", status.groups.len()));
    }
}

pub(super) fn judge_facts(facts: &CheckFacts, now: SystemTime, findings: &mut Findings) {
    let now_ms = now
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    if now_ms.abs_diff(facts.now.0) > CLOCK_OFFSET_FAILURE.as_millis() as u64 {
        let message = format!(
            "this machine and {} differ by {} s",
            facts.answered_by,
            now_ms.abs_diff(facts.now.0) / 1000
        );
        findings.failure(
            OURS,
            "TK-C006",
            message,
            "set both clocks; signed requests are refused beyond 15 minutes",
        );
    }
    for certificate in &facts.certificates {
        let whose = format!("{} ({})", facts.answered_by, certificate.purpose);
        let not_after = i64::try_from(certificate.not_after.0 / 1000).unwrap_or(i64::MAX);
        certificates::judge(&whose, 0, not_after, i64::try_from(now_ms / 1000).unwrap_or(i64::MAX), findings);
    }
    match facts.root_key_open {
        Some(true) => findings.ok(OURS, "the root key is open"),
        Some(false) => {
            let advice = "look at root_key in its configuration and at its log";
            findings.failure(
                OURS,
                "TK-C018",
                format!("{} could not open the root key", facts.answered_by),
                advice,
            );
        }
        None => {}
    }
    for peer in &facts.peers {
        if !peer.reachable {
            let message = format!("{} does not reach node {}", facts.answered_by, peer.node);
            findings.warning(OURS, "TK-C013", message, "look at the network and firewall between them");
        }
        if let Some(offset) = peer.clock_offset_ms.filter(|offset| offset.abs() > CLOCK_OFFSET_WARNING_MS) {
            let message = format!("the clock of node {} is off by {offset} ms", peer.node);
            findings.warning(OURS, "TK-C006", message, "keep the clocks with chrony or systemd-timesyncd");
        }
    }
    if facts.open_files_max > 0 && facts.open_files_max < OPEN_FILES_MIN {
        let message = format!("{} may hold only {} files open", facts.answered_by, facts.open_files_max);
        findings.warning(OURS, "TK-C021", message, "set LimitNOFILE=65536 in its unit");
    }
    if facts.unrepaired_records > 0 {
        let message = format!("{} corrupt records could not be repaired", facts.unrepaired_records);
        findings.failure(
            OURS,
            "TK-C020",
            message,
            "`twinkeep scrub --report` shows where; bring back the node with the good copy",
        );
    }
}
