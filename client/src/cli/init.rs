//! `twinkeep init`: makes a region's folder and says what goes where.

use super::output::Output;
use crate::region::{self, GatewayPlan, NodePlan, PairPlan, RegionFolder, RegionPlan, RootPlan};
use crate::{ClientError, files};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::SystemTime;
use wire::descriptor::{REPLICATION_FACTOR, RaftTimings, RegionDescriptor, TokenRole};
use zeroize::Zeroizing;

/// The name of a region that is given none.
const REGION_DEFAULT: &str = "twin-1";

/// Where `init` looks for the passphrase of the root key.
const PASSPHRASE_VARIABLE: &str = "TWINKEEP_ROOT_PASSPHRASE";

#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// The folder to make
    folder: PathBuf,
    /// The region's name, also the S3 region; an invented one [default: twin-1, or as --pair-plan has it]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// The environment: production, test and the like; a pair is of one
    #[arg(long, value_name = "NAME", required_unless_present_any = ["standby_of", "pair_plan"])]
    environment: Option<String>,
    /// The jurisdiction that the data stays in, such as eu, uk or us; a pair is inside one
    #[arg(long, value_name = "NAME", required_unless_present_any = ["standby_of", "pair_plan"])]
    jurisdiction: Option<String>,
    /// The file that says which two regions are to be a pair, where and in which environment
    #[arg(long, value_name = "FILE", conflicts_with_all = ["environment", "jurisdiction"])]
    pair_plan: Option<PathBuf>,
    /// The folder of the region that this one begins as the standby of; both folders get each other's identities
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["passphrase_file", "pkcs11"])]
    standby_of: Option<PathBuf>,
    /// A storage node; repeat for each, at least three
    #[arg(long, value_name = "ID=HOST:PORT[,zone=Z]", required = true, value_parser = NodePlan::parse)]
    node: Vec<NodePlan>,
    /// A gateway apart from the nodes; without any, every node is a gateway too
    #[arg(long, value_name = "ID=HOST:PORT", value_parser = GatewayPlan::parse)]
    gateway: Vec<GatewayPlan>,
    /// Data groups, a power of two, fixed for good [default: 64 up to 6 nodes, 256 up to 30, then 1024]
    #[arg(long, value_name = "COUNT")]
    groups: Option<u32>,
    /// A further name or address for the S3 certificate; repeat for each
    #[arg(long, value_name = "NAME")]
    s3_name: Vec<String>,
    /// The file with the root key's passphrase [default: TWINKEEP_ROOT_PASSPHRASE, else one is generated]
    #[arg(long, value_name = "FILE", conflicts_with = "pkcs11")]
    passphrase_file: Option<PathBuf>,
    /// Make no root key: it lives in a PKCS#11 token
    #[arg(long)]
    pkcs11: bool,
    /// How often a leader is heard from, milliseconds
    #[arg(long, value_name = "MS", default_value_t = RaftTimings::default().heartbeat_ms)]
    heartbeat_ms: u32,
    /// Silence after which the first follower stands for election, milliseconds
    #[arg(long, value_name = "MS", default_value_t = RaftTimings::default().election_min_ms)]
    election_min_ms: u32,
    /// Silence after which every follower has stood, milliseconds
    #[arg(long, value_name = "MS", default_value_t = RaftTimings::default().election_max_ms)]
    election_max_ms: u32,
}

#[derive(Serialize)]
struct InitReport {
    folder: PathBuf,
    deployment: String,
    environment: String,
    jurisdiction: String,
    region: String,
    groups: u32,
    tokens: Vec<TokenReport>,
    ca_file: PathBuf,
    root_key: Option<PathBuf>,
    generated_passphrase: Option<PathBuf>,
    pair: Option<PathBuf>,
    #[serde(skip)]
    is_standby: bool,
}

#[derive(Serialize)]
struct TokenReport {
    member: String,
    peer_address: String,
    file: PathBuf,
}

pub(super) fn run(arguments: &InitArguments, output: &Output) -> Result<(), ClientError> {
    let folder =
        std::path::absolute(&arguments.folder).map_err(ClientError::file("finding", &arguments.folder))?;
    let place = place(arguments)?;
    let plan = RegionPlan {
        region: place.region,
        environment: place.environment,
        jurisdiction: place.jurisdiction,
        groups: arguments.groups,
        nodes: arguments.node.clone(),
        gateways: arguments.gateway.clone(),
        s3_names: arguments.s3_name.clone(),
        timings: RaftTimings {
            heartbeat_ms: arguments.heartbeat_ms,
            election_min_ms: arguments.election_min_ms,
            election_max_ms: arguments.election_max_ms,
        },
        root: root_plan(arguments)?,
        standby_of: None,
    };
    let made = RegionFolder::new(&folder);
    let now = SystemTime::now();
    let descriptor = match &arguments.standby_of {
        None => region::init(&folder, &plan, now)?,
        Some(primary) => {
            let primary = RegionFolder::new(primary);
            let descriptor = region::init(&folder, &region::standby_plan(&primary, plan)?, now)?;
            region::introduce(&made, &primary, now)?;
            descriptor
        }
    };
    let nodes = descriptor.nodes.iter().map(|node| {
        (TokenRole::Node { id: node.id, incarnation: node.incarnation }, node.peer_address.clone())
    });
    let gateways = descriptor.gateways.iter();
    let gateways = gateways.map(|it| (TokenRole::Gateway { id: it.id }, it.peer_address.clone()));
    let tokens = nodes.chain(gateways).map(|(role, peer_address)| TokenReport {
        member: role.to_string(),
        peer_address,
        file: made.token(role),
    });
    let report = InitReport {
        deployment: descriptor.deployment.to_string(),
        environment: descriptor.environment.clone(),
        jurisdiction: descriptor.jurisdiction.clone(),
        region: descriptor.region.clone(),
        groups: descriptor.groups,
        tokens: tokens.collect(),
        ca_file: made.authority_certificate(),
        root_key: Some(made.root_key()).filter(|path| path.exists()),
        generated_passphrase: Some(made.root_passphrase()).filter(|path| path.exists()),
        pair: Some(made.pair()).filter(|path| path.exists()),
        is_standby: descriptor.standby_of.is_some(),
        folder,
    };
    output.either(&report, || page(&report))?;
    if let Some(warning) = few_zones(&descriptor) {
        eprintln!("twinkeep: {warning}");
    }
    Ok(())
}

/// Which region it is, of what.
struct Place {
    region: String,
    environment: String,
    jurisdiction: String,
}

fn place(arguments: &InitArguments) -> Result<Place, ClientError> {
    let primary = arguments.standby_of.as_deref().map(|folder| RegionFolder::new(folder).read_descriptor());
    let primary = primary.transpose()?;
    if let Some(path) = &arguments.pair_plan {
        let plan = PairPlan::read(path)?;
        let region =
            plan.region(arguments.region.as_deref(), primary.as_ref().map(|primary| &*primary.region))?;
        return Ok(Place { region, environment: plan.environment, jurisdiction: plan.jurisdiction });
    }
    let region = arguments.region.clone().unwrap_or_else(|| REGION_DEFAULT.to_owned());
    let environment = arguments.environment.clone().unwrap_or_default();
    // EU is what people write
    let jurisdiction = arguments.jurisdiction.as_deref().unwrap_or_default().to_ascii_lowercase();
    Ok(Place { region, environment, jurisdiction })
}

/// What is said of nodes that do not stand in three zones.
fn few_zones(descriptor: &RegionDescriptor) -> Option<String> {
    let zones: BTreeSet<&str> = descriptor.nodes.iter().map(|node| node.zone.as_str()).collect();
    (zones.len() < usize::from(REPLICATION_FACTOR)).then(|| {
        let names = zones.iter().copied().collect::<Vec<_>>().join(", ");
        format!(
            "warning: all nodes are in {} ({names}): what takes down one zone can take down two copies of an object and more; give each failure zone its own name with --node ID=HOST:PORT,zone=Z",
            if zones.len() == 1 { "one zone" } else { "two zones" }
        )
    })
}

fn root_plan(arguments: &InitArguments) -> Result<RootPlan, ClientError> {
    if arguments.pkcs11 {
        return Ok(RootPlan::Hardware);
    }
    let passphrase = match &arguments.passphrase_file {
        Some(path) => Some(Zeroizing::new(files::read(path)?.trim_end_matches(['\r', '\n']).to_owned())),
        None => std::env::var(PASSPHRASE_VARIABLE).ok().map(Zeroizing::new),
    };
    match passphrase {
        Some(passphrase) if passphrase.is_empty() => Err(ClientError::usage(
            "the passphrase is empty",
            "give one, or leave it out to have one generated",
        )),
        Some(passphrase) => Ok(RootPlan::Passphrase(passphrase)),
        None => Ok(RootPlan::GeneratedPassphrase),
    }
}

fn page(report: &InitReport) -> String {
    let folder = report.folder.display();
    let mut text = format!(
        "Region {} ({}, jurisdiction {}) is made in {folder}: {} data groups, deployment {}.\n\nWhat goes where:\n",
        report.region, report.environment, report.jurisdiction, report.groups, report.deployment
    );
    for token in &report.tokens {
        let _ = writeln!(
            text,
            "  {:10} {}  ->  its join_token_file on {}",
            token.member,
            token.file.display(),
            token.peer_address
        );
    }
    let _ = writeln!(
        text,
        "  ca/        keep offline; needed again only for `twinkeep node add` and `node replace`"
    );
    if let Some(path) = &report.generated_passphrase {
        let _ =
            writeln!(text, "  {}  store it apart from root.key, give it to gateways only", path.display());
    }
    if report.root_key.is_some() {
        text.push_str("  root.key   back it up: without it and its passphrase nothing can ever be read\n");
    }
    if report.pair.is_some() {
        text.push_str(
            "  pair/      one folder per node, also in the primary's folder: its pair.folder on its host\n",
        );
    }
    let _ = write!(
        text,
        "\nOn each host: store-node --config FILE with data, join_token_file and peer.listen (docs/configuration.md).\n"
    );
    let _ = if report.is_standby {
        writeln!(
            text,
            "Then here: twinkeep check --data {folder}; twinkeep lag --data {folder}\nIts users and keys come from the primary."
        )
    } else {
        writeln!(text, "Then here: twinkeep check --data {folder}; twinkeep user add NAME --data {folder}")
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(zones: [&str; 3]) -> RegionDescriptor {
        let node =
            |(id, zone): (u16, &&str)| NodePlan::parse(&format!("{id}=h{id}:7600,zone={zone}")).unwrap();
        let plan = RegionPlan {
            region: "twin-1".into(),
            environment: "test".into(),
            jurisdiction: "eu".into(),
            groups: None,
            nodes: (1..).zip(&zones).map(node).collect(),
            gateways: Vec::new(),
            s3_names: Vec::new(),
            timings: RaftTimings::default(),
            root: RootPlan::Hardware,
            standby_of: None,
        };
        let folder = tempfile::tempdir().unwrap();
        region::init(&folder.path().join("region"), &plan, SystemTime::now()).unwrap()
    }

    #[test]
    fn fewer_zones_than_copies_are_warned_of() {
        assert_eq!(few_zones(&descriptor(["a", "b", "c"])), None);
        assert!(few_zones(&descriptor(["a", "b", "a"])).unwrap().contains("two zones (a, b)"));
        assert!(few_zones(&descriptor(["a", "a", "a"])).unwrap().contains("one zone (a)"));
    }

    #[test]
    fn a_standby_is_not_told_to_add_users() {
        let report = |is_standby| InitReport {
            folder: "/f".into(),
            deployment: String::new(),
            environment: "test".into(),
            jurisdiction: "eu".into(),
            region: "twin-2".into(),
            groups: 8,
            tokens: Vec::new(),
            ca_file: "/f/ca.pem".into(),
            root_key: None,
            generated_passphrase: None,
            pair: None,
            is_standby,
        };
        assert!(page(&report(false)).ends_with("twinkeep user add NAME --data /f\n"));
        let standby = page(&report(true));
        assert!(!standby.contains("user add") && standby.contains("twinkeep lag --data /f"), "{standby}");
    }
}
