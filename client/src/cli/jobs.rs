//! `twinkeep scrub` and `twinkeep gc`: care for what is stored.

use super::Common;
use super::output::{Output, bytes, table};
use crate::ClientError;
use crate::admin::AdminClient;
use clap::Args;
use std::time::Duration;
use wire::NodeId;
use wire::admin::{AdminRequest, AdminResponse, ScrubReport};

#[derive(Debug, Args)]
pub(super) struct ScrubArguments {
    /// Only this node
    #[arg(long, value_name = "ID")]
    node: Option<u16>,
    /// Show what was found, start nothing
    #[arg(long)]
    report: bool,
    /// Wait until the pass is done
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct GcArguments {
    /// Only this node
    #[arg(long, value_name = "ID")]
    node: Option<u16>,
}

pub(super) fn scrub(common: &Common, arguments: &ScrubArguments, output: &Output) -> Result<(), ClientError> {
    const AGAIN_AFTER: Duration = Duration::from_secs(1);
    let client = AdminClient::new(&common.deployment()?)?;
    let node = arguments.node.map(NodeId);
    let mut request =
        if arguments.report { AdminRequest::ScrubReport { node } } else { AdminRequest::ScrubStart { node } };
    loop {
        let report = match client.ask(&request)? {
            AdminResponse::Scrub(report) => report,
            other => return Err(client.unexpected(&other)),
        };
        if !arguments.wait || !report.nodes.iter().any(|node| node.running) {
            output.either(&report, || scrub_page(&report))?;
            let lost: u64 = report.nodes.iter().map(|node| node.corrupt.saturating_sub(node.repaired)).sum();
            return if lost == 0 {
                Ok(())
            } else {
                Err(ClientError::Degraded { problem: format!("{lost} corrupt records are not repaired") })
            };
        }
        request = AdminRequest::ScrubReport { node };
        std::thread::sleep(AGAIN_AFTER);
    }
}

pub(super) fn gc(common: &Common, arguments: &GcArguments, output: &Output) -> Result<(), ClientError> {
    let client = AdminClient::new(&common.deployment()?)?;
    match client.ask(&AdminRequest::Gc { node: arguments.node.map(NodeId) })? {
        AdminResponse::Gc(report) => output.either(&report, || {
            let rows: Vec<Vec<String>> = report
                .nodes
                .iter()
                .map(|node| {
                    vec![
                        node.node.to_string(),
                        node.segments_freed.to_string(),
                        bytes(node.bytes_freed),
                        bytes(node.bytes_moved),
                    ]
                })
                .collect();
            table(&["node", ">segments freed", ">freed", ">moved"], &rows)
        }),
        other => Err(client.unexpected(&other)),
    }
}

fn scrub_page(report: &ScrubReport) -> String {
    let rows: Vec<Vec<String>> = report
        .nodes
        .iter()
        .map(|node| {
            let state = match (node.running, node.finished) {
                (true, _) => "running",
                (false, Some(_)) => "finished",
                (false, None) => "never ran",
            };
            vec![
                node.node.to_string(),
                state.to_owned(),
                format!("{} of {}", bytes(node.bytes_checked), bytes(node.bytes_total)),
                node.corrupt.to_string(),
                node.repaired.to_string(),
            ]
        })
        .collect();
    table(&["node", "state", ">checked", ">corrupt", ">repaired"], &rows)
}
