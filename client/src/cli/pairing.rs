//! `twinkeep pair`: what two regions signed to be a pair, making it anew, verifying it, and who was turned away.

use super::Common;
use super::output::{Output, table};
use super::pair::printable;
use crate::ClientError;
use crate::admin::{Patience, Session};
use crate::clock::{parse_utc, system_now, utc};
use crate::deployment::Deployment;
use crate::failover::Side;
use crate::region::{self, PairCheck, RegionFolder, Renewal};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use trust::VerifiedPair;
use wire::admin::{AdminRequest, AdminResponse, RefusedPeerRecord, RefusedPeersReport};
use wire::descriptor::PairDescriptor;
use wire::{PairRole, UnixMillis};

/// Refused peers on the page; `--json` has all.
const SHOWN_MAX: usize = 50;

/// The exit code of what can be told by nobody here; comparisons have the same.
const EXIT_NOT_VERIFIED: u8 = 6;

/// How long a process may take.
const PATIENCE: Patience = Patience { connect: Duration::from_secs(1), answer: Duration::from_secs(5) };

#[derive(Debug, Subcommand)]
pub(super) enum PairCommand {
    /// Make the pair descriptor and the identities in each other's region anew: needs the folders of both, with their
    /// authorities
    Make(MakeArguments),
    /// End the pair: this region goes on alone, and can be given another standby
    End(EndArguments),
    /// Show a pair descriptor and say whether both regions signed it; asks nobody
    Verify(VerifyArguments),
    /// List the peers that were turned away, from the records of both regions' processes
    Refused,
}

#[derive(Debug, Args)]
pub(super) struct MakeArguments {
    /// The other region's folder, beside the one of --data
    #[arg(long, value_name = "DIR")]
    other: PathBuf,
    /// Certificates that nodes of this region show in the other one count only if they were issued since then, in UTC as in
    /// 2026-11-22T10:49:46Z [default: now]; repeat for the other region
    #[arg(long, value_name = "REGION[=TIME]", value_parser = since)]
    members_since: Vec<(String, Option<UnixMillis>)>,
    /// Give the descriptor a higher serial than this one, which a node says that it has held
    #[arg(long, value_name = "SERIAL", default_value_t = 0)]
    serial_above: u64,
}

#[derive(Debug, Args)]
pub(super) struct EndArguments {
    /// The other region is lost for good: without this it has to answer, and to take no writes
    #[arg(long)]
    other_lost: bool,
    /// Do not ask either region: neither serves clients any more, or yet
    #[arg(long)]
    offline: bool,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The descriptor [default: that of the region's folder]
    file: Option<PathBuf>,
    /// The authority of one of its regions; give both [default: those of the region's folder, else none]
    #[arg(long, value_name = "FILE")]
    ca_file: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Shown {
    file: PathBuf,
    deployment: String,
    environment: String,
    jurisdiction: String,
    serial: u64,
    issued_at: UnixMillis,
    sha256: String,
    regions: Vec<ShownRegion>,
    /// Whether the authorities are those that were given, or only those that the descriptor names itself.
    authorities_known: bool,
}

#[derive(Serialize)]
struct ShownRegion {
    name: String,
    authority_sha256: String,
    /// From when on the certificates of its nodes in the other region count.
    #[serde(skip_serializing_if = "Option::is_none")]
    members_since: Option<UnixMillis>,
}

fn since(text: &str) -> Result<(String, Option<UnixMillis>), String> {
    match text.split_once('=') {
        None => Ok((text.to_owned(), None)),
        Some((region, time)) => {
            let time = parse_utc(time).ok_or("write the time as in 2026-11-22T10:49:46Z")?;
            Ok((region.to_owned(), Some(time)))
        }
    }
}

#[derive(Serialize)]
struct Ended {
    region: String,
    other: String,
    serial: u64,
    /// Where what made the pair is kept.
    kept: PathBuf,
}

#[derive(Serialize)]
struct Refused {
    processes: Vec<RefusedPeersReport>,
    unreachable: Vec<String>,
}

pub(super) fn run(common: &Common, command: &PairCommand, output: &Output) -> Result<(), ClientError> {
    match command {
        PairCommand::Make(arguments) => make(common, arguments, output),
        PairCommand::End(arguments) => end(common, arguments, output),
        PairCommand::Verify(arguments) => verify(common, arguments, output),
        PairCommand::Refused => refused(common, output),
    }
}

fn make(common: &Common, arguments: &MakeArguments, output: &Output) -> Result<(), ClientError> {
    let Some(data) = &common.data else {
        return Err(ClientError::usage(
            "which two regions?",
            "name the operator's folder of one with --data DIR and of the other with --other DIR",
        ));
    };
    let (one, other) = (folder(data)?, folder(&arguments.other)?);
    let now = system_now();
    let since = arguments.members_since.iter().map(|(region, since)| (region.clone(), since.unwrap_or(now)));
    let renewal = Renewal { members_since: since.collect(), serial_above: arguments.serial_above };
    region::introduce_anew(&one, &other, &renewal, SystemTime::now())?;
    let path = one.pair_descriptor();
    let pair = region::verify_pair(&path, &PairCheck::Region(&one))?;
    let shown = shown(path, &pair, true);
    output.either(&shown, || {
        let mut text = page(&shown);
        text.push_str("\nBring every storage node of both regions its folder pair/node-N again, and restart them, one at a time.\nUntil all have it, the standby falls behind; nothing is lost.\n");
        if shown.regions.iter().any(|region| region.members_since.is_some()) {
            text.push_str("A certificate from before the time above is refused by every node that has it.\n");
        }
        text
    })
}

/// Ends the pair in the operator's folder, where the region is one that goes on by itself.
fn end(common: &Common, arguments: &EndArguments, output: &Output) -> Result<(), ClientError> {
    let deployment = common.deployment()?;
    let Some(folder) = &deployment.region else {
        return Err(ClientError::usage("which region?", "name the operator's folder with --data DIR"));
    };
    if deployment.dev.is_some() {
        let advice = "end it with Ctrl-C, and begin another folder without --pair";
        return Err(ClientError::state(
            "`twinkeep dev --pair` is two regions for as long as it lasts",
            advice,
        ));
    }
    if !folder.pair_descriptor().exists() {
        let problem = format!("{} is one of no pair", deployment.descriptor.region);
        return Err(ClientError::state(problem, "there is nothing to end"));
    }
    if !arguments.offline {
        let (own, other) = (Side::new(&deployment)?, Side::new(&deployment.pair()?)?);
        takes_writes(&own, &other)?;
        match other.report() {
            Ok(report) if report.groups.iter().any(|group| group.role == PairRole::Primary) => {
                let problem = format!("{} takes writes as well", other.region);
                let advice = "wait until it has heard that it was relieved: `twinkeep lag` says so";
                return Err(ClientError::state(problem, advice));
            }
            Ok(_) => {}
            Err(_) if arguments.other_lost => {}
            Err(_) => {
                let problem = format!("{} does not answer", other.region);
                let advice = "if it is lost for good, `--other-lost`: should it still serve clients, nothing tells it any more that this one does";
                return Err(ClientError::state(problem, advice));
            }
        }
    }
    let (pair, kept) = region::end_pair(folder)?;
    let region = deployment.descriptor.region.clone();
    let other = pair.sides(&region).map_or_else(String::new, |(_, other)| other.name.clone());
    let ended = Ended { region, other, serial: pair.serial, kept };
    output.either(&ended, || ended_page(&ended))
}

/// Refuses to leave a region alone that would take no writes then, or that somebody may have relieved of them.
fn takes_writes(side: &Side, other: &Side) -> Result<(), ClientError> {
    let report = side.report()?;
    let takes = report.groups.iter().filter(|group| group.role == PairRole::Primary);
    if let Some(group) =
        takes.clone().find(|group| group.other_epoch.is_some_and(|epoch| epoch > group.epoch))
    {
        let problem = format!("group {} of {} was relieved by {}", group.group, side.region, other.region);
        return Err(ClientError::state(problem, "end the pair in the region that takes the writes"));
    }
    if let Some(reason) = takes.clone().find_map(|group| group.blocked.as_ref()) {
        let problem = format!("{} acknowledges no writes: {reason}", side.region);
        let advice = format!("{} may take them: `twinkeep lag` from a place that reaches both", other.region);
        return Err(ClientError::state(problem, advice));
    }
    let takes = takes.count();
    if takes == report.groups_total as usize {
        return Ok(());
    }
    let problem =
        format!("{} takes the writes of {takes} of its {} groups", side.region, report.groups_total);
    let advice = format!(
        "end the pair in the region that takes them; if that one is lost, `twinkeep failover --force --to {}` first",
        side.region
    );
    Err(ClientError::state(problem, advice))
}

fn ended_page(ended: &Ended) -> String {
    let Ended { region, other, kept, .. } = ended;
    format!(
        "{region} is one of no pair from here on. What made it one is kept in {}.\n\n\
         Then, on each storage node of {region}, one at a time: take [pair] out of its configuration and restart it.\n\
         On its gateways: take [pair] out as well. Stop the witness last, if there is one.\n\
         {other} holds a copy of everything: end its processes, and destroy its disks and its operator's folder.\n\
         Another standby: `twinkeep init DIR --standby-of {}`.\n",
        kept.display(),
        kept.parent().unwrap_or(kept).display()
    )
}

fn verify(common: &Common, arguments: &VerifyArguments, output: &Output) -> Result<(), ClientError> {
    let own = match (&arguments.file, &common.data) {
        (Some(_), None) => None,
        _ => common.deployment()?.region,
    };
    let path = match (&arguments.file, &own) {
        (Some(path), _) => path.clone(),
        (None, Some(own)) => own.pair_descriptor(),
        (None, None) => {
            return Err(ClientError::usage(
                "which pair descriptor?",
                "name the file, or a folder with --data DIR",
            ));
        }
    };
    if arguments.file.is_none() && !path.exists() {
        let advice = "make a pair with `twinkeep init --standby-of`, or try `twinkeep dev --pair`";
        return Err(ClientError::state(
            format!("{} is not there: the region has no pair", path.display()),
            advice,
        ));
    }
    let check = match &own {
        _ if !arguments.ca_file.is_empty() => PairCheck::Authorities(&arguments.ca_file),
        Some(own) => PairCheck::Region(own),
        None => PairCheck::Itself,
    };
    let known = !matches!(check, PairCheck::Itself);
    let shown = shown(path.clone(), &region::verify_pair(&path, &check)?, known);
    output.either(&shown, || page(&shown))?;
    if known {
        return Ok(());
    }
    let problem =
        "not verified: give the certificates of both regions' authorities with --ca-file".to_owned();
    Err(ClientError::Drilled { problem, exit_code: EXIT_NOT_VERIFIED })
}

fn folder(data: &Path) -> Result<RegionFolder, ClientError> {
    let found = Deployment::find(data)?;
    found.region.ok_or_else(|| {
        ClientError::state(format!("{} holds no region", data.display()), "name an operator's folder")
    })
}

fn shown(file: PathBuf, pair: &VerifiedPair, authorities_known: bool) -> Shown {
    let PairDescriptor { deployment, environment, jurisdiction, serial, issued_at, regions } =
        pair.descriptor();
    Shown {
        file,
        deployment: deployment.to_string(),
        environment: environment.clone(),
        jurisdiction: jurisdiction.clone(),
        serial: *serial,
        issued_at: *issued_at,
        sha256: pair.hello().sha256.to_string(),
        regions: regions
            .iter()
            .map(|region| ShownRegion {
                name: region.name.clone(),
                authority_sha256: trust::key_fingerprint(&region.key).to_string(),
                members_since: region.members_since,
            })
            .collect(),
        authorities_known,
    }
}

fn page(shown: &Shown) -> String {
    let mut text = format!(
        "jurisdiction  {}\nenvironment   {}\ndeployment    {}\nserial        {} of {}\n",
        shown.jurisdiction,
        shown.environment,
        shown.deployment,
        shown.serial,
        utc(shown.issued_at)
    );
    for ShownRegion { name, authority_sha256, members_since } in &shown.regions {
        let _ = writeln!(text, "region        {name}, authority's key {authority_sha256}");
        if let Some(since) = members_since {
            let _ = writeln!(text, "              its nodes' certificates count from {} on", utc(*since));
        }
    }
    text.push_str(if shown.authorities_known {
        "\nBoth regions' authorities signed it.\n"
    } else {
        "\nNOT VERIFIED: it is signed under the keys in it, and anybody can make such a file. Whose keys they are is not known here: give both authorities with --ca-file.\n"
    });
    text
}

fn refused(common: &Common, output: &Output) -> Result<(), ClientError> {
    let own = common.deployment()?;
    let pair = own.pair().ok();
    let (mut processes, mut unreachable) = (Vec::new(), Vec::new());
    for region in std::iter::once(&own).chain(&pair) {
        for address in &region.addresses {
            let one = Deployment { addresses: vec![address.clone()], ..region.clone() };
            match Session::new(&one, PATIENCE)?.ask(&AdminRequest::RefusedPeers) {
                Ok(AdminResponse::RefusedPeers(report)) => processes.push(report),
                Ok(_) => unreachable.push(format!("{address}: not understood")),
                Err(error) => unreachable.push(format!("{address}: {error}")),
            }
        }
    }
    if processes.is_empty() {
        let region = own.descriptor.region;
        return Err(ClientError::Unreachable { region, tried: unreachable.join("; ") });
    }
    let refused = Refused { processes, unreachable };
    output.either(&refused, || refused_page(&refused))
}

fn refused_page(refused: &Refused) -> String {
    let peers =
        refused.processes.iter().flat_map(|process| process.peers.iter().map(move |peer| (process, peer)));
    let mut peers: Vec<(&RefusedPeersReport, &RefusedPeerRecord)> = peers.collect();
    peers.sort_by_key(|(_, peer)| std::cmp::Reverse(peer.at));
    let rows: Vec<Vec<String>> =
        peers.iter().take(SHOWN_MAX).map(|(process, peer)| row(process, peer)).collect();
    let mut text = if rows.is_empty() {
        "No peer was turned away.\n".to_owned()
    } else {
        table(&["at", "by", "address", ">times", "reason", "certificate", "claims to be"], &rows)
    };
    if let Some(more) = peers.len().checked_sub(SHOWN_MAX).filter(|more| *more > 0) {
        let _ = writeln!(text, "and {more} more; --json shows all");
    }
    let unwritten: u64 = refused.processes.iter().map(|process| process.unwritten).sum();
    if unwritten > 0 {
        let _ = writeln!(text, "{unwritten} found no room in the records; the processes' logs have them");
    }
    for process in &refused.unreachable {
        let _ = writeln!(text, "not asked: {process}");
    }
    text
}

fn row(process: &RefusedPeersReport, peer: &RefusedPeerRecord) -> Vec<String> {
    let certificate = peer.certificate_sha256.as_deref().unwrap_or_default();
    vec![
        utc(peer.at),
        format!("{} {}", process.region, process.answered_by),
        peer.address.clone(),
        if peer.left_out == 0 {
            peer.times.to_string()
        } else {
            format!("{} (+{})", peer.times, peer.left_out)
        },
        printable(&peer.detail),
        certificate.chars().take(16).collect(),
        peer.claimed.as_deref().map(printable).unwrap_or_default(),
    ]
}
