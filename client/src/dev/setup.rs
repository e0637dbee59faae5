//! The first start of a development region, and what every later start checks and writes again.

use super::{DEV_NODES_MAX, DevFolder, DevForward, DevOptions, Member, Ports};
use crate::region::{self, GatewayPlan, NodePlan, RegionPlan, RootPlan};
use crate::{ClientError, files, programs};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use toml::{Table, Value};
use wire::descriptor::{GROUPS_MAX, RaftTimings, TokenRole};
use wire::{Incarnation, NodeId};

/// An invented name: with `us-east-1` some clients presign with an outdated signature.
const REGION_NAME: &str = "twin-1";
const ENVIRONMENT: &str = "dev";
/// Development data stays where it is.
const JURISDICTION: &str = "dev";
const PORT_BASE_DEFAULT: u16 = 9000;
const NODES_DEFAULT: u16 = 3;
const GROUPS_DEFAULT: u32 = 8;
const GATEWAY_ID: u16 = 1;
/// What a node takes up before it holds anything, bytes. 416 MiB: six segments (one in use, one ready, a reserve) and
/// what its index reserves.
const NODE_BYTES_MIN: u64 = 416 << 20;

/// Settings that a development region keeps from its first start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevSettings {
    /// Version of this file.
    pub schema_version: u32,
    /// Storage nodes at the first start; later ones are in the region's descriptor.
    pub nodes: u16,
    /// Data groups.
    pub groups: u32,
    /// First port.
    pub port_base: u16,
}

impl DevSettings {
    /// Reads the settings of a folder; `None` when it has none.
    pub fn read(folder: &DevFolder) -> Result<Option<Self>, ClientError> {
        let path = folder.settings();
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read(&path)?;
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|error| {
            let problem = format!("{}: {error}", path.display());
            let advice = "bring it back from a backup; or write it anew, as {\"schema_version\":1,\"nodes\":3,\"groups\":8,\"port_base\":9000} with the numbers the region was made with (region/region.toml has nodes and groups); or begin with another folder, --data DIR";
            ClientError::state(problem, advice)
        })
    }

    /// The ports of the region.
    pub fn ports(&self) -> Result<Ports, ClientError> {
        Ports::new(self.port_base)
    }

    fn choose(found: Option<Self>, options: &DevOptions) -> Result<Self, ClientError> {
        let Some(found) = found else {
            let nodes = options.nodes.unwrap_or(NODES_DEFAULT);
            if !(3..=DEV_NODES_MAX).contains(&nodes) {
                let problem = format!("--nodes {nodes}: three copies need three nodes");
                return Err(ClientError::usage(problem, format!("choose 3 to {DEV_NODES_MAX}")));
            }
            let groups = options.groups.unwrap_or(GROUPS_DEFAULT);
            if !groups.is_power_of_two() || groups > GROUPS_MAX {
                let problem = format!("--groups {groups} is not a power of two up to {GROUPS_MAX}");
                return Err(ClientError::usage(problem, format!("leave it out for {GROUPS_DEFAULT}")));
            }
            let port_base = options.port_base.unwrap_or(PORT_BASE_DEFAULT);
            return Ok(Self { schema_version: 1, nodes, groups, port_base });
        };
        let kept = [
            ("--nodes", options.nodes.map(u32::from), u32::from(found.nodes)),
            ("--groups", options.groups, found.groups),
            ("--port-base", options.port_base.map(u32::from), u32::from(found.port_base)),
        ];
        for (name, asked, kept) in kept {
            if asked.is_some_and(|asked| asked != kept) {
                let problem = format!("this folder was made with {name} {kept}, which cannot change");
                let advice = format!("leave {name} out, or name another folder with --data DIR");
                return Err(ClientError::usage(problem, advice));
            }
        }
        Ok(found)
    }
}

/// Whether the folder could be made, or run, with these options: settings, ports, room. Nothing is made.
pub(super) fn judge(options: &DevOptions) -> Result<DevSettings, ClientError> {
    let folder = DevFolder::new(&options.data);
    let found = DevSettings::read(&folder)?;
    let settings = DevSettings::choose(found, options)?;
    let ports = settings.ports()?;
    if found.is_none() {
        // a folder keeps its ports for good: better none than one that can never start
        let members: Vec<Member> = (1..=settings.nodes).map(Member::Node).chain([Member::Gateway]).collect();
        ports.check_free(&members)?;
        if options.pseudo {
            ports.check_pseudo_free()?;
        }
        check_room(&options.data, settings.nodes)?;
    }
    Ok(settings)
}

/// Makes what is missing in the folder and writes every process's configuration. Call it under the folder's lock.
pub fn prepare(options: &DevOptions) -> Result<(DevFolder, DevSettings), ClientError> {
    let settings = judge(options)?;
    let ports = settings.ports()?;
    let folder = DevFolder::new(&options.data);
    for name in ["", "logs", "run"] {
        files::make_folder(&folder.root().join(name))?;
    }
    if !folder.settings().exists() {
        let text = serde_json::to_string(&settings).expect("four numbers always have a JSON form");
        files::write(&folder.settings(), text.as_bytes())?;
    }
    if !folder.region().descriptor().exists() {
        make_region(&folder, plan(&settings, ports, options.region), options.standby_of.as_deref())?;
    }
    for (member, incarnation) in members(&folder)? {
        prepare_member(&folder, ports, member, incarnation, options.forward)?;
    }
    Ok((folder, settings))
}

/// Fails when a new region could not even begin on the disk that `data` will be on.
fn check_room(data: &Path, nodes: u16) -> Result<(), ClientError> {
    let existing = data.ancestors().find(|path| path.exists());
    // what cannot be measured is left to the nodes, which say so themselves
    let Some(disk) = existing.and_then(|path| rustix::fs::statvfs(path).ok()) else { return Ok(()) };
    room(disk.f_bavail.saturating_mul(disk.f_frsize), nodes).map_err(|problem| {
        let problem = format!("{}: {problem}", data.display());
        ClientError::state(problem, "free some, or name a folder on another disk with --data DIR")
    })
}

fn room(free_bytes: u64, nodes: u16) -> Result<(), String> {
    let needed_bytes = u64::from(nodes) * NODE_BYTES_MIN;
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    let [free, needed] = [free_bytes, needed_bytes].map(|bytes| bytes >> 20);
    Err(format!("{free} MiB are free, and {nodes} nodes need {needed} MiB to begin with"))
}

/// Every process of the region as its descriptor has it now, the gateway last.
pub(super) fn members(folder: &DevFolder) -> Result<Vec<(Member, Incarnation)>, ClientError> {
    let descriptor = folder.region().read_descriptor()?;
    let nodes = descriptor.nodes.iter().map(|node| (Member::Node(node.id.0), node.incarnation));
    Ok(nodes.chain([(Member::Gateway, Incarnation(1))]).collect())
}

/// Makes a process's folder and writes its configuration.
pub(super) fn prepare_member(
    folder: &DevFolder,
    ports: Ports,
    member: Member,
    incarnation: Incarnation,
    forward: Option<DevForward>,
) -> Result<(), ClientError> {
    files::make_folder(&folder.member(member))?;
    let nodes: Vec<Member> = match member {
        Member::Gateway => members(folder)?.into_iter().map(|(member, _)| member).collect(),
        Member::Node(_) => Vec::new(),
    };
    let mut config = config(folder, ports, member, incarnation, &nodes);
    if let (Member::Gateway, Some(forward)) = (member, forward) {
        config.insert("pair".into(), Value::Table(forward_table(forward)));
    }
    let text = format!("# Written by `twinkeep dev` at every start.\n{config}");
    files::write(&folder.config(member), text.as_bytes())
}

/// A region of its own, or the standby of another.
fn make_region(folder: &DevFolder, plan: RegionPlan, standby_of: Option<&Path>) -> Result<(), ClientError> {
    let (own, now) = (folder.region(), SystemTime::now());
    let Some(primary) = standby_of else {
        return region::init(own.root(), &plan, now).map(drop);
    };
    let primary = DevFolder::new(primary).region();
    region::init(own.root(), &region::standby_plan(&primary, plan)?, now)?;
    region::introduce(&own, &primary, now).map(drop)
}

fn plan(settings: &DevSettings, ports: Ports, region: Option<&str>) -> RegionPlan {
    let node = |id: u16| NodePlan {
        id: NodeId(id),
        peer_address: ports.peer(Member::Node(id)).to_string(),
        zone: format!("zone-{id}"),
    };
    RegionPlan {
        region: region.unwrap_or(REGION_NAME).to_owned(),
        environment: ENVIRONMENT.to_owned(),
        jurisdiction: JURISDICTION.to_owned(),
        groups: Some(settings.groups),
        nodes: (1..=settings.nodes).map(node).collect(),
        gateways: vec![GatewayPlan { id: GATEWAY_ID, peer_address: ports.peer(Member::Gateway).to_string() }],
        s3_names: Vec::new(),
        timings: RaftTimings::default(),
        root: RootPlan::GeneratedPassphrase,
        standby_of: None,
    }
}

/// A process's share of the machine: everything passes through the gateway, a node's work is spread over the nodes.
fn worker_threads(member: Member) -> i64 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if member == Member::Gateway { processors } else { processors / 4 };
    i64::try_from(threads).unwrap_or(1).max(1)
}

/// A process's configuration, paths relative to its folder; `nodes` are those whose disks it may read.
fn config(
    folder: &DevFolder,
    ports: Ports,
    member: Member,
    incarnation: Incarnation,
    nodes: &[Member],
) -> Table {
    let (role, token) = match member {
        Member::Node(id) => ("storage", TokenRole::Node { id: NodeId(id), incarnation }),
        Member::Gateway => ("gateway", TokenRole::Gateway { id: GATEWAY_ID }),
    };
    let token = folder.region().token(token);
    let above = |path: &Path| {
        let inside = path.strip_prefix(folder.root()).unwrap_or(path);
        Value::String(Path::new("..").join(inside).display().to_string())
    };
    let listen = |address: std::net::SocketAddr| Value::String(address.to_string());
    let table = |entries: Vec<(&str, Value)>| {
        Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    };
    let mut config = Table::new();
    config.insert("roles".into(), Value::Array(vec![Value::String(role.into())]));
    config.insert("data".into(), Value::String("data".into()));
    config.insert("join_token_file".into(), above(&token));
    config.insert("exit_on_stdin_eof".into(), Value::Boolean(true));
    config.insert("worker_threads".into(), Value::Integer(worker_threads(member)));
    // four processes on one machine: half of what one that has a host to itself takes
    config.insert("limits".into(), table(vec![("cache_bytes", Value::String("64 MiB".into()))]));
    config.insert("peer".into(), table(vec![("listen", listen(ports.peer(member)))]));
    if let Member::Node(id) = member
        && folder.region().pair_node(NodeId(id)).exists()
    {
        let identity = above(&folder.region().pair_node(NodeId(id)));
        let mut pair = vec![("folder", identity)];
        if super::witness::is_made_for(folder) {
            pair.push(("witness", Value::Boolean(true)));
        }
        config.insert("pair".into(), table(pair));
    }
    config.insert("health".into(), table(vec![("listen", listen(ports.health(member)))]));
    if member == Member::Gateway {
        let data = |node: &Member| match node {
            Member::Node(id) => Some((id.to_string(), above(&folder.member(*node).join("data")))),
            Member::Gateway => None,
        };
        let local_nodes = Value::Table(nodes.iter().filter_map(data).collect());
        let s3 = vec![
            ("listen_plain", listen(ports.s3_plain())),
            ("listen_tls", listen(ports.s3_tls())),
            ("local_nodes", local_nodes),
        ];
        config.insert("s3".into(), table(s3));
        let passphrase = above(&folder.region().root_passphrase());
        config.insert("root_key".into(), table(vec![("passphrase_file", passphrase)]));
    }
    config
}

/// Where the gateway passes requests on to that it does not serve.
fn forward_table(forward: DevForward) -> Table {
    let mut table = Table::new();
    table.insert("forward".into(), Value::String(forward.mode.name().into()));
    let endpoint = Value::String(format!("http://{}", forward.endpoint));
    table.insert("endpoints".into(), Value::Array(vec![endpoint]));
    table
}

/// The server's binary: the one named, else the one beside this program; under `cargo run` it is built when missing.
pub fn find_store_node(named: Option<&Path>) -> Result<PathBuf, ClientError> {
    let advice = "build it with `cargo build --release -p store-node`, or name it with --store-node FILE";
    programs::find("store-node", named, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_refused_with_what_is_needed() {
        let needed = 3 * NODE_BYTES_MIN;
        assert!(room(needed, 3).is_ok());
        let problem = room(needed - 1, 3).unwrap_err();
        assert!(
            problem.contains("1247 MiB are free") && problem.contains("3 nodes need 1248 MiB"),
            "{problem}"
        );
    }
}
