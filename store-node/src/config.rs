//! A process's configuration: one TOML file, checked as a whole before anything starts.
//!
//! It promises that a [`Config`] is complete and consistent: unknown keys, wrong values and combinations that would
//! leave data unprotected are refused with file, line, key and what to do. Every key is documented once, in
//! [`keys::KEYS`]; `config explain`, `config list` and `docs/configuration.md` come from there.
//! It leaves reading secrets to the moment they are needed ([`SecretSource::read`]).

mod endpoint;
mod error;
mod file;
pub mod join;
pub mod keys;
mod secret;

pub use endpoint::Endpoint;
pub use error::ConfigError;
pub use pkcs11::TokenName;
pub use secret::{SecretError, SecretSource};

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use wire::NodeId;

/// A configuration file, bytes. The longest sensible one has a few kilobytes.
pub const CONFIG_BYTES_MAX: u64 = 256 << 10;

/// A checked configuration; all paths are absolute or relative to the working directory of the process.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// What the process is.
    pub roles: Roles,
    /// Where everything it writes lives.
    pub data: PathBuf,
    /// Where its certificates and the region's descriptor live.
    pub identity: PathBuf,
    /// The token it joins with when `identity` does not exist yet.
    pub join_token_file: Option<PathBuf>,
    /// End when standard input ends: the process belongs to a supervisor.
    pub exit_on_stdin_eof: bool,
    /// Threads that serve requests; one for each processor when absent.
    pub worker_threads: Option<usize>,
    /// The port for peers and the command line.
    pub peer: PeerConfig,
    /// Metrics and health.
    pub health: HealthConfig,
    /// The other region of the pair.
    pub pair: Option<PairConfig>,
    /// Present with the storage role.
    pub storage: Option<StorageConfig>,
    /// Present with the gateway role.
    pub gateway: Option<GatewayConfig>,
    /// Bounds on memory and connections.
    pub limits: Limits,
    /// Logging.
    pub log: LogConfig,
}

/// The other region of the pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairConfig {
    /// The folder with this process's identity there.
    pub folder: PathBuf,
    /// What may come from it in a second.
    pub bytes_per_second_max: Option<u64>,
    /// Acknowledge writes only while the witness or the other region vouches for this one.
    pub witness: bool,
}

/// What a process is; at least one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// It keeps replicas.
    pub storage: bool,
    /// It speaks S3 and holds keys.
    pub gateway: bool,
}

/// The port for peers and the command line.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// Metrics and health over plain HTTP.
#[derive(Clone, Debug)]
pub struct HealthConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

/// The storage role.
#[derive(Clone, Debug)]
pub struct StorageConfig {
    /// Size of one preallocated segment file.
    pub segment_bytes: u64,
}

/// The gateway role.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where S3 is served over TLS.
    pub listen_tls: Option<SocketAddr>,
    /// Where S3 is served in the clear; always a loopback address.
    pub listen_plain: Option<SocketAddr>,
    /// Certificate chain of the S3 endpoint, PEM.
    pub tls_certificate: PathBuf,
    /// Private key of the S3 endpoint, PEM.
    pub tls_private_key: PathBuf,
    /// Buckets are also names below this domain.
    pub domain: Option<String>,
    /// And below this one, which is the other region's.
    pub pair_domain: Option<String>,
    /// Where requests go that this region does not serve.
    pub forward: Option<ForwardConfig>,
    /// Data folders of storage nodes on this host, read for large objects.
    pub local_nodes: BTreeMap<NodeId, PathBuf>,
    /// Where the root key comes from.
    pub root_key: RootKeyConfig,
}

/// Where requests go that this region does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardConfig {
    /// Reads go there too.
    pub reads: bool,
    /// The other region's S3 endpoints, at least one.
    pub endpoints: Vec<Endpoint>,
    /// Who signed their certificates, PEM; there when one of them speaks TLS.
    pub authority: Option<PathBuf>,
}

/// Where the root key comes from.
#[derive(Clone, Debug)]
pub enum RootKeyConfig {
    /// A file, sealed under a passphrase.
    File {
        /// The sealed file.
        file: PathBuf,
        /// Its passphrase.
        passphrase: SecretSource,
    },
    /// A key that never leaves a PKCS#11 token.
    Pkcs11 {
        /// The token's driver, a shared library.
        module: PathBuf,
        /// Which token.
        token: TokenName,
        /// Which key on it.
        key_label: String,
        /// The user PIN.
        pin: SecretSource,
    },
}

impl fmt::Display for RootKeyConfig {
    /// What it names: a file, or a key on a token. Never a secret, nor where it comes from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, .. } => write!(f, "root key {}", file.display()),
            Self::Pkcs11 { token, key_label, .. } => write!(f, "root key {key_label} on the token {token}"),
        }
    }
}

/// Bounds on what a process takes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Memory for recently written and read bodies.
    pub cache_bytes: u64,
    /// Memory for bodies on their way in, over all connections.
    pub ingest_bytes: u64,
    /// S3 connections at once.
    pub connections: u32,
}

/// Logging, on standard error.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// A level, or a filter such as `info,store_node::s3=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

impl Config {
    /// Reads and checks a file; paths inside it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(read_error)?.len();
        if length > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLong { path: path.to_owned(), limit: CONFIG_BYTES_MAX });
        }
        let text = std::fs::read_to_string(path).map_err(read_error)?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file that lies (or would lie) at `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        file::resolve(path, text)
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
