//! A whole region on this machine: real processes, real mutual TLS, real disks below one folder.
//!
//! ```text
//! dev.json            settings chosen at the first start: nodes, groups, port base
//! dev.lock            held while a supervisor runs
//! region/             what `twinkeep init` makes (see `region`)
//! credentials         the first access key, JSON
//! node-1/ ...         config.toml and data/ of each storage node
//! gateway/            config.toml and data/ of the gateway
//! logs/               one log per process
//! run/NAME.json       pid of each process; run/NAME.held marks one that was ended on purpose
//! pseudo/             the pseudonymisation service, if asked for (see `pseudo`)
//! ```
//!
//! It promises that its processes end with it, that data survives its end however it comes, and that two folders with
//! ports of their own never meet.

pub mod control;
mod credentials;
mod health;
mod keeper;
pub mod pair;
mod ports;
mod process;
pub mod pseudo;
mod ready;
mod setup;
mod supervisor;
pub mod target;
pub mod witness;

pub use credentials::{Credentials, DEV_USER};
pub(crate) use health::get as http_get;
pub use ports::{Ports, port_holder};
pub use process::{ProcessRecord, ProcessState};
pub(crate) use ready::aws_profile;
pub use ready::{DevReady, MemberReady};
pub use setup::{DevSettings, find_store_node, prepare};
pub use supervisor::run;

use crate::ClientError;
use crate::region::RegionFolder;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Nodes that one machine is asked to run, at most: each is a process with its own disk thread and connections.
pub const DEV_NODES_MAX: u16 = 16;

/// What `twinkeep dev` is asked.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// The folder; made when it does not exist.
    pub data: PathBuf,
    /// First port; what the folder was made with when absent, 9000 in a new one.
    pub port_base: Option<u16>,
    /// Storage nodes; what the folder was made with when absent, 3 in a new one.
    pub nodes: Option<u16>,
    /// Data groups; what the folder was made with when absent, 8 in a new one.
    pub groups: Option<u32>,
    /// The server's binary; found beside this one when absent.
    pub store_node: Option<PathBuf>,
    /// The region's name in a new folder, when it is not the usual one.
    pub region: Option<&'static str>,
    /// The development folder of the region as whose standby this one begins.
    pub standby_of: Option<PathBuf>,
    /// Where the gateway passes requests on to.
    pub forward: Option<DevForward>,
    /// Whether a pseudonymisation service runs beside it.
    pub pseudo: bool,
}

/// What a gateway passes on while the other region is the primary, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DevForward {
    /// What is passed on.
    pub mode: ForwardMode,
    /// The other region's gateway, over plain HTTP.
    pub endpoint: SocketAddr,
}

/// What a gateway passes on while the other region is the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ForwardMode {
    /// Nothing: clients are to go there.
    #[default]
    None,
    /// All but reads.
    Writes,
    /// Everything.
    All,
}

impl ForwardMode {
    /// As the configuration has it.
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Writes => "writes",
            Self::All => "all",
        }
    }
}

/// The paths inside a development folder.
#[derive(Clone, Debug)]
pub struct DevFolder {
    root: PathBuf,
}

/// A process of a development region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// Storage node of this number.
    Node(u16),
    /// The gateway.
    Gateway,
}

impl DevFolder {
    /// The folder at `root`; nothing is read.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The settings.
    pub fn settings(&self) -> PathBuf {
        self.root.join("dev.json")
    }

    /// The lock that a running supervisor holds.
    pub fn lock(&self) -> PathBuf {
        self.root.join("dev.lock")
    }

    /// The operator's folder of the region.
    pub fn region(&self) -> RegionFolder {
        RegionFolder::new(&self.root.join("region"))
    }

    /// The first access key.
    pub fn credentials(&self) -> PathBuf {
        self.root.join("credentials")
    }

    /// A process's folder.
    pub fn member(&self, member: Member) -> PathBuf {
        self.root.join(member.name())
    }

    /// A process's configuration.
    pub fn config(&self, member: Member) -> PathBuf {
        self.member(member).join("config.toml")
    }

    /// A process's data.
    pub fn data(&self, member: Member) -> PathBuf {
        self.member(member).join("data")
    }

    /// A process's log.
    pub fn log(&self, member: Member) -> PathBuf {
        self.root.join("logs").join(format!("{}.log", member.name()))
    }

    /// Where a process's pid stands.
    pub fn record(&self, member: Member) -> PathBuf {
        self.root.join("run").join(format!("{}.json", member.name()))
    }

    /// Marks a process that was ended on purpose.
    pub fn held(&self, member: Member) -> PathBuf {
        self.root.join("run").join(format!("{}.held", member.name()))
    }

    /// Where the supervisor's own pid stands.
    pub fn supervisor(&self) -> PathBuf {
        self.root.join("run/supervisor.json")
    }

    /// Whether a region was made here.
    pub fn exists(&self) -> bool {
        self.settings().exists() && self.region().descriptor().exists()
    }
}

impl Member {
    /// `node-1` or `gateway`.
    pub fn name(self) -> String {
        match self {
            Self::Node(id) => format!("node-{id}"),
            Self::Gateway => "gateway".to_owned(),
        }
    }

    /// Reads `1`, `node-1` or `gateway`.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        if text == "gateway" {
            return Ok(Self::Gateway);
        }
        match text.strip_prefix("node-").unwrap_or(text).parse::<u16>() {
            Ok(id) if id != 0 => Ok(Self::Node(id)),
            _ => Err(ClientError::usage(format!("{text:?} is no node"), "write its number, or gateway")),
        }
    }
}

/// The folder used when none is named: `$XDG_DATA_HOME/twinkeep/dev`, else `~/.local/share/twinkeep/dev`.
pub fn default_folder() -> Result<PathBuf, ClientError> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = named("XDG_DATA_HOME").or_else(|| named("HOME").map(|home| home.join(".local/share")));
    base.map(|base| base.join("twinkeep/dev")).ok_or_else(|| {
        ClientError::usage("neither XDG_DATA_HOME nor HOME is set", "name a folder with --data DIR")
    })
}

#[cfg(test)]
#[path = "dev/tests.rs"]
mod tests;
