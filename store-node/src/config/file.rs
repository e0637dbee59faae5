//! The file's shape as serde reads it, and the step from there to a checked [`Config`].

use super::{
    Config, ConfigError, Endpoint, ForwardConfig, GatewayConfig, HealthConfig, Limits, LogConfig, LogFormat,
    PairConfig, PeerConfig, Roles, RootKeyConfig, SecretSource, StorageConfig, TokenName,
};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use replication::nearby::NODES_MAX as NEARBY_NODES_MAX;
use wire::NodeId;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// 64 MiB: a mostly-dead segment is cheap to rewrite, and a thousand of them hold 64 GiB.
const SEGMENT_BYTES_DEFAULT: u64 = 64 * MIB;
/// 16 MiB holds the largest frame several times over; above 4 GiB offsets would not fit the index.
const SEGMENT_BYTES_RANGE: (u64, u64) = (16 * MIB, 4 * GIB);
const CACHE_BYTES_DEFAULT: u64 = 128 * MIB;
/// Below 8 MiB a single window of chunks per group would stall.
const CACHE_BYTES_RANGE: (u64, u64) = (8 * MIB, 1 << 40);
const INGEST_BYTES_DEFAULT: u64 = 64 * MIB;
const INGEST_BYTES_RANGE: (u64, u64) = (8 * MIB, 1 << 40);
const CONNECTIONS_DEFAULT: u32 = 1024;
/// From a link that takes a second for the largest command on.
const PAIR_RATE_RANGE: (u64, u64) = (MIB, 100 * GIB);
const WORKER_THREADS_RANGE: std::ops::RangeInclusive<usize> = 1..=1024;
const PEER_PORT_DEFAULT: u16 = 7600;
/// A region has a handful of gateways, or a load balancer before many.
const FORWARD_ENDPOINTS_MAX: usize = 16;
const HEALTH_PORT_DEFAULT: u16 = 9100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    roles: Option<Vec<RoleName>>,
    data: PathBuf,
    identity: Option<PathBuf>,
    join_token_file: Option<PathBuf>,
    exit_on_stdin_eof: Option<bool>,
    worker_threads: Option<usize>,
    peer: Option<PeerTable>,
    pair: Option<PairTable>,
    s3: Option<S3Table>,
    health: Option<HealthTable>,
    root_key: Option<RootKeyTable>,
    storage: Option<StorageTable>,
    limits: Option<LimitsTable>,
    log: Option<LogTable>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RoleName {
    Storage,
    Gateway,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerTable {
    listen: Option<SocketAddr>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairTable {
    folder: Option<PathBuf>,
    bytes_per_second_max: Option<Size>,
    witness: Option<bool>,
    forward: Option<ForwardName>,
    endpoints: Option<Vec<String>>,
    authority: Option<PathBuf>,
    domain: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ForwardName {
    None,
    Writes,
    All,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct S3Table {
    listen_tls: Option<SocketAddr>,
    listen_plain: Option<SocketAddr>,
    tls_certificate: Option<PathBuf>,
    tls_private_key: Option<PathBuf>,
    domain: Option<String>,
    local_nodes: Option<BTreeMap<String, PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HealthTable {
    listen: Option<SocketAddr>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootKeyTable {
    file: Option<PathBuf>,
    passphrase_env: Option<String>,
    passphrase_file: Option<PathBuf>,
    passphrase_credential: Option<String>,
    pkcs11: Option<Pkcs11Table>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pkcs11Table {
    module: PathBuf,
    token_label: Option<String>,
    slot: Option<u64>,
    key_label: String,
    pin_env: Option<String>,
    pin_file: Option<PathBuf>,
    pin_credential: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StorageTable {
    segment_bytes: Option<Size>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    cache_bytes: Option<Size>,
    ingest_bytes: Option<Size>,
    connections: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    level: Option<String>,
    format: Option<LogFormatName>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LogFormatName {
    Json,
    Text,
}

/// Reads `text` as the file at `path` and checks all of it.
pub(super) fn resolve(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let file: ConfigFile =
        toml::from_str(text).map_err(|error| ConfigError::from_toml(path, text, &error))?;
    let context = Context { path, text };
    let roles = context.roles(file.roles.as_deref())?;
    let data = context.absolute(&file.data);
    let identity =
        file.identity.as_deref().map_or_else(|| data.join("identity"), |path| context.absolute(path));
    let storage = context.storage(roles, file.storage)?;
    let pair = context.pair(roles, file.pair.as_ref())?;
    let mut gateway = context.gateway(roles, &identity, file.s3, file.root_key)?;
    if let (Some(gateway), Some(table)) = (&mut gateway, file.pair) {
        gateway.forward = context.forward(&table)?;
        gateway.pair_domain = table.domain.map(|domain| context.domain("pair.domain", domain)).transpose()?;
    }
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (peer, health) = (file.peer.unwrap_or_default(), file.health.unwrap_or_default());
    let log = file.log.unwrap_or_default();
    Ok(Config {
        file: path.to_owned(),
        roles,
        data,
        identity,
        join_token_file: file.join_token_file.as_deref().map(|path| context.absolute(path)),
        exit_on_stdin_eof: file.exit_on_stdin_eof.unwrap_or(false),
        worker_threads: context.worker_threads(file.worker_threads)?,
        peer: PeerConfig { listen: peer.listen.unwrap_or(SocketAddr::new(any, PEER_PORT_DEFAULT)) },
        health: HealthConfig {
            listen: health.listen.unwrap_or(SocketAddr::new(loopback, HEALTH_PORT_DEFAULT)),
        },
        pair,
        storage,
        gateway,
        limits: context.limits(file.limits.unwrap_or_default())?,
        log: LogConfig {
            level: log.level.unwrap_or_else(|| "info".to_owned()),
            format: match log.format {
                Some(LogFormatName::Text) => LogFormat::Text,
                Some(LogFormatName::Json) | None => LogFormat::Json,
            },
        },
    })
}

/// The file that is being checked, for errors and relative paths.
struct Context<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Context<'_> {
    fn error(&self, key: &str, problem: &str, advice: &str) -> ConfigError {
        ConfigError::key(self.path, self.text, key, problem, advice)
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    fn roles(&self, names: Option<&[RoleName]>) -> Result<Roles, ConfigError> {
        let names = names.unwrap_or(&[RoleName::Storage, RoleName::Gateway]);
        if names.is_empty() {
            return Err(self.error("roles", "the list is empty", "name storage, gateway or both"));
        }
        Ok(Roles { storage: names.contains(&RoleName::Storage), gateway: names.contains(&RoleName::Gateway) })
    }

    /// What storage nodes need to know of the other region; the rest of the table is for gateways.
    fn pair(&self, roles: Roles, table: Option<&PairTable>) -> Result<Option<PairConfig>, ConfigError> {
        let Some(table) = table else { return Ok(None) };
        let for_storage = [
            ("pair.folder", table.folder.is_some()),
            ("pair.bytes_per_second_max", table.bytes_per_second_max.is_some()),
            ("pair.witness", table.witness.is_some()),
        ];
        let for_gateways = [
            ("pair.forward", table.forward.is_some()),
            ("pair.endpoints", table.endpoints.is_some()),
            ("pair.authority", table.authority.is_some()),
            ("pair.domain", table.domain.is_some()),
        ];
        if let Some((key, _)) = for_storage.iter().find(|(_, is_there)| *is_there && !roles.storage) {
            return Err(self.error(key, "this process has no storage role", "remove it: storage nodes ship"));
        }
        if let Some((key, _)) = for_gateways.iter().find(|(_, is_there)| *is_there && !roles.gateway) {
            let advice = "remove it: gateways pass requests on";
            return Err(self.error(key, "this process has no gateway role", advice));
        }
        match &table.folder {
            Some(folder) => {
                let rate = table.bytes_per_second_max.map(|rate| {
                    self.size("pair.bytes_per_second_max", Some(rate), u64::MAX, PAIR_RATE_RANGE)
                });
                Ok(Some(PairConfig {
                    folder: self.absolute(folder),
                    bytes_per_second_max: rate.transpose()?,
                    witness: table.witness.unwrap_or(false),
                }))
            }
            None if roles.storage => {
                let advice = "name the folder that `twinkeep init --standby-of` made for this node";
                Err(self.error("pair.folder", "missing, and this process is a storage node", advice))
            }
            None => Ok(None),
        }
    }

    fn forward(&self, table: &PairTable) -> Result<Option<ForwardConfig>, ConfigError> {
        let key = "pair.endpoints";
        let named = table.endpoints.as_deref().unwrap_or_default();
        if named.len() > FORWARD_ENDPOINTS_MAX {
            let problem = format!("{} endpoints are more than {FORWARD_ENDPOINTS_MAX}", named.len());
            return Err(self.error(key, &problem, "name some of them, or a load balancer"));
        }
        let mut endpoints = Vec::new();
        for text in named {
            let wrong = |problem: &str| {
                let advice = "write it as in \"https://s3.twin-2.example.org:9000\"";
                self.error(key, &format!("{text:?}: {problem}"), advice)
            };
            let endpoint: Endpoint = text.parse().map_err(wrong)?;
            if !endpoint.tls && !endpoint.is_loopback() {
                return Err(wrong("plain HTTP would send data and signatures readable over the network"));
            }
            endpoints.push(endpoint);
        }
        let speaks_tls = endpoints.iter().any(|endpoint| endpoint.tls);
        let reads = match table.forward {
            None | Some(ForwardName::None) => return Ok(None),
            Some(ForwardName::Writes) => false,
            Some(ForwardName::All) => true,
        };
        if endpoints.is_empty() {
            let advice = "name the other region's S3 endpoints, for example endpoints = [\"https://s3.twin-2.example.org:9000\"] under [pair]";
            return Err(self.error(key, "missing, and requests are to be forwarded", advice));
        }
        let in_folder =
            || table.folder.as_ref().map(|folder| folder.join(super::join::AUTHORITY_CERTIFICATE));
        let authority = table.authority.clone().or_else(in_folder).filter(|_| speaks_tls);
        let authority = authority.map(|path| self.absolute(&path));
        if speaks_tls && authority.is_none() {
            let advice = "name the file with the authority that signed the endpoints' certificates: ca.pem of the other region, or that of your own authority";
            return Err(self.error("pair.authority", "missing, and an endpoint speaks TLS", advice));
        }
        Ok(Some(ForwardConfig { reads, endpoints, authority }))
    }

    fn storage(
        &self,
        roles: Roles,
        table: Option<StorageTable>,
    ) -> Result<Option<StorageConfig>, ConfigError> {
        if !roles.storage {
            return match table {
                Some(_) => Err(self.error("storage", "this process has no storage role", "remove the table")),
                None => Ok(None),
            };
        }
        let bytes = table.and_then(|table| table.segment_bytes);
        let segment_bytes =
            self.size("storage.segment_bytes", bytes, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_RANGE)?;
        if segment_bytes % MIB != 0 {
            return Err(self.error("storage.segment_bytes", "not a whole number of MiB", "round it up"));
        }
        Ok(Some(StorageConfig { segment_bytes }))
    }

    fn gateway(
        &self,
        roles: Roles,
        identity: &Path,
        s3: Option<S3Table>,
        root_key: Option<RootKeyTable>,
    ) -> Result<Option<GatewayConfig>, ConfigError> {
        if !roles.gateway {
            // a key beside the ciphertext would undo the separation that the roles are for
            let advice =
                "remove the table: a process without the gateway role holds no keys and serves no S3";
            return match (root_key, s3) {
                (Some(_), _) => Err(self.error("root_key", "this process has no gateway role", advice)),
                (_, Some(_)) => Err(self.error("s3", "this process has no gateway role", advice)),
                (None, None) => Ok(None),
            };
        }
        let s3 = s3.unwrap_or_default();
        if s3.listen_tls.is_none() && s3.listen_plain.is_none() {
            return Err(self.error(
                "s3.listen_tls",
                "a gateway must listen somewhere",
                "add it, for example listen_tls = \"0.0.0.0:9000\" under [s3]",
            ));
        }
        if let Some(address) = s3.listen_plain.filter(|address| !address.ip().is_loopback()) {
            let problem = format!("{address} is not a loopback address");
            let advice = "plain HTTP would send data and signatures readable over the network: use s3.listen_tls there";
            return Err(self.error("s3.listen_plain", &problem, advice));
        }
        let file_or = |path: Option<PathBuf>, name: &str| {
            path.as_deref().map_or_else(|| identity.join(name), |path| self.absolute(path))
        };
        Ok(Some(GatewayConfig {
            listen_tls: s3.listen_tls,
            listen_plain: s3.listen_plain,
            tls_certificate: file_or(s3.tls_certificate, super::join::S3_CERTIFICATE),
            tls_private_key: file_or(s3.tls_private_key, super::join::S3_PRIVATE_KEY),
            domain: s3.domain.map(|domain| self.domain("s3.domain", domain)).transpose()?,
            pair_domain: None,
            forward: None,
            local_nodes: self.local_nodes(s3.local_nodes.unwrap_or_default())?,
            root_key: self.root_key(identity, root_key.unwrap_or_default())?,
        }))
    }

    fn local_nodes(
        &self,
        table: BTreeMap<String, PathBuf>,
    ) -> Result<BTreeMap<NodeId, PathBuf>, ConfigError> {
        if table.len() > NEARBY_NODES_MAX {
            let problem = format!("{} nodes, more than the {NEARBY_NODES_MAX} possible", table.len());
            return Err(self.error("s3.local_nodes", &problem, "name those of this host only"));
        }
        let entry = |(node, data): (String, PathBuf)| match node.parse() {
            Ok(id) if id > 0 => Ok((NodeId(id), self.absolute(&data))),
            _ => {
                let problem = format!("{node:?} is not the number of a node");
                Err(self.error("s3.local_nodes", &problem, "write it as in { 1 = \"/var/lib/twinkeep\" }"))
            }
        };
        table.into_iter().map(entry).collect()
    }

    fn domain(&self, key: &str, domain: String) -> Result<String, ConfigError> {
        let lowered = domain.trim_end_matches('.').to_ascii_lowercase();
        match wire::descriptor::check_address(&format!("{lowered}:1")) {
            Ok(()) if !lowered.starts_with('[') => Ok(lowered),
            _ => Err(self.error(key, "not a domain name", "write it as in s3.example.org")),
        }
    }

    fn root_key(&self, identity: &Path, table: RootKeyTable) -> Result<RootKeyConfig, ConfigError> {
        let passphrase = [
            table.passphrase_env.map(SecretSource::Environment),
            table.passphrase_file.as_deref().map(|path| SecretSource::File(self.absolute(path))),
            table.passphrase_credential.map(SecretSource::Credential),
        ];
        let Some(pkcs11) = table.pkcs11 else {
            let file = table.file.as_deref().map(|path| self.absolute(path));
            let file = file.unwrap_or_else(|| identity.join(super::join::ROOT_KEY));
            let passphrase = self.one_source("root_key.passphrase_env", passphrase)?;
            return Ok(RootKeyConfig::File { file, passphrase });
        };
        if table.file.is_some() || passphrase.iter().any(Option::is_some) {
            return Err(self.error(
                "root_key.pkcs11",
                "a root key file is named as well",
                "keep one of the two",
            ));
        }
        let token = match (pkcs11.token_label, pkcs11.slot) {
            (Some(label), None) => TokenName::Label(label),
            (None, Some(slot)) => TokenName::Slot(slot),
            _ => {
                let problem = "exactly one of token_label and slot is needed";
                return Err(self.error(
                    "root_key.pkcs11.token_label",
                    problem,
                    "name the token by its label",
                ));
            }
        };
        let pin = [
            pkcs11.pin_env.map(SecretSource::Environment),
            pkcs11.pin_file.as_deref().map(|path| SecretSource::File(self.absolute(path))),
            pkcs11.pin_credential.map(SecretSource::Credential),
        ];
        Ok(RootKeyConfig::Pkcs11 {
            module: self.absolute(&pkcs11.module),
            token,
            key_label: pkcs11.key_label,
            pin: self.one_source("root_key.pkcs11.pin_env", pin)?,
        })
    }

    fn one_source(&self, key: &str, sources: [Option<SecretSource>; 3]) -> Result<SecretSource, ConfigError> {
        let stem = key.trim_end_matches("_env");
        let mut named = sources.into_iter().flatten();
        match (named.next(), named.next()) {
            (Some(source), None) => Ok(source),
            (None, _) => Err(self.error(
                key,
                "no source is named",
                &format!("name one of {stem}_env, {stem}_file and {stem}_credential"),
            )),
            (Some(_), Some(_)) => Err(self.error(
                key,
                "more than one source is named",
                &format!("keep one of {stem}_env, {stem}_file and {stem}_credential"),
            )),
        }
    }

    fn worker_threads(&self, threads: Option<usize>) -> Result<Option<usize>, ConfigError> {
        match threads {
            Some(count) if !WORKER_THREADS_RANGE.contains(&count) => {
                Err(self.error("worker_threads", &format!("{count} is out of range"), "give 1 to 1024"))
            }
            threads => Ok(threads),
        }
    }

    fn limits(&self, table: LimitsTable) -> Result<Limits, ConfigError> {
        let connections = table.connections.unwrap_or(CONNECTIONS_DEFAULT);
        if connections == 0 {
            return Err(self.error("limits.connections", "0 would refuse everyone", "give at least 1"));
        }
        Ok(Limits {
            cache_bytes: self.size(
                "limits.cache_bytes",
                table.cache_bytes,
                CACHE_BYTES_DEFAULT,
                CACHE_BYTES_RANGE,
            )?,
            ingest_bytes: self.size(
                "limits.ingest_bytes",
                table.ingest_bytes,
                INGEST_BYTES_DEFAULT,
                INGEST_BYTES_RANGE,
            )?,
            connections,
        })
    }

    fn size(
        &self,
        key: &str,
        size: Option<Size>,
        default: u64,
        range: (u64, u64),
    ) -> Result<u64, ConfigError> {
        let bytes = size.map_or(default, |size| size.0);
        if (range.0..=range.1).contains(&bytes) {
            return Ok(bytes);
        }
        let advice = format!("give {} MiB to {} MiB", range.0 / MIB, range.1 / MIB);
        Err(self.error(key, &format!("{bytes} bytes is out of range"), &advice))
    }
}

/// Bytes: a number, or text such as `"256 MiB"`.
#[derive(Clone, Copy)]
struct Size(u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes, or text such as \"256 MiB\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Size, E> {
                u64::try_from(value).map(Size).map_err(|_| E::custom("a size cannot be negative"))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Size, E> {
                Ok(Size(value))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
                let unit = match text[digits.len()..].trim() {
                    "" | "B" => 1,
                    "KiB" => KIB,
                    "MiB" => MIB,
                    "GiB" => GIB,
                    _ => return Err(E::custom("the unit must be B, KiB, MiB or GiB")),
                };
                let number: u64 = digits.trim().parse().map_err(|_| E::custom("not a number with a unit"))?;
                number.checked_mul(unit).map(Size).ok_or_else(|| E::custom("the size is too large"))
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}
