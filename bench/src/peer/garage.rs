//! Garage: three nodes with replication factor 3 on LMDB, all else at its defaults or with both fsync settings on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::connection::Authority;
use crate::error::BenchError;
use crate::scratch::{Scratch, free_ports};
use crate::server::{Server, ServerProcess};
use crate::sign::Credentials;
use crate::target::{BUCKET, Target};

/// The version that the published figures are about.
const VERSION: &str = "2.5.0";
/// A key pair in the form Garage insists on; the server listens on loopback and ends with the run.
const ACCESS_KEY: &str = "GK62656e6368206f6e6c79203031";
const SECRET_KEY: &str = "62656e6368206f6e6c7920626f756e6420746f206c6f6f706261636b20302031";
/// The secret its nodes share, of the same reach.
const RPC_SECRET: &str = "6f6e6520736563726574206f662074687265652062656e6368206e6f64657321";
/// Time for a node to listen.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Ports of a node: one for its peers, one for S3.
const NODES: u16 = 3;

/// Builds it from its crate. It is large: one job at low priority leaves the machine usable.
pub(super) fn install(folder: &Path) -> Result<(), BenchError> {
    let root = folder.to_string_lossy();
    let arguments = [
        "-n",
        "19",
        "cargo",
        "install",
        "garage",
        "--version",
        VERSION,
        "--locked",
        "--no-default-features",
        "--features",
        "bundled-libs,lmdb",
        "--root",
        &root,
        "-j",
        "1",
    ];
    super::run_in_sight(Path::new("nice"), &arguments)
}

/// Starts three nodes and lays out the cluster.
pub(super) async fn start(
    name: &str,
    program: &Path,
    scratch: Scratch,
    is_synced: bool,
) -> Result<Server, BenchError> {
    let base = free_ports(2 * NODES)?;
    let mut processes = Vec::new();
    let mut configurations = Vec::new();
    for node in 0..NODES {
        let configuration = configure(&scratch, base, node, is_synced)?;
        let arguments = ["-c", &configuration.to_string_lossy(), "server"].map(str::to_owned);
        let process = ServerProcess::start(&scratch, &format!("garage-{node}"), program, &arguments)?;
        process.listens(&s3_address(base, node)?, LISTEN_TIMEOUT, &scratch).await?;
        processes.push(process);
        configurations.push(configuration);
    }
    lay_out(program, &configurations)?;
    let target = Target {
        name: name.to_owned(),
        authority: s3_address(base, 0)?,
        credentials: Arc::new(Credentials::new(ACCESS_KEY, SECRET_KEY)),
        region: "garage".to_owned(),
        processes: processes.iter().map(ServerProcess::pid).collect(),
        metrics: Vec::new(),
        copies: 3,
    };
    Ok(Server::new(target, processes, scratch))
}

fn s3_address(base: u16, node: u16) -> Result<Authority, BenchError> {
    Authority::parse(&format!("http://127.0.0.1:{}", base + NODES + node))
}

fn configure(scratch: &Scratch, base: u16, node: u16, is_synced: bool) -> Result<PathBuf, BenchError> {
    let data = scratch.folder(&format!("node-{node}/data"))?;
    let metadata = scratch.folder(&format!("node-{node}/metadata"))?;
    let synced = if is_synced { "metadata_fsync = true\ndata_fsync = true\n" } else { "" };
    let text = format!(
        "metadata_dir = {metadata:?}\ndata_dir = {data:?}\ndb_engine = \"lmdb\"\nreplication_factor = 3\n{synced}\
         rpc_bind_addr = \"127.0.0.1:{peers}\"\nrpc_public_addr = \"127.0.0.1:{peers}\"\n\
         rpc_secret = \"{RPC_SECRET}\"\n\n\
         [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{s3}\"\nroot_domain = \".s3.garage\"\n",
        peers = base + node,
        s3 = base + NODES + node,
    );
    scratch.file(&format!("node-{node}.toml"), &text)
}

/// Connects the nodes, gives each the same capacity, and makes the key and the bucket.
fn lay_out(program: &Path, configurations: &[PathBuf]) -> Result<(), BenchError> {
    let ask = |configuration: &Path, arguments: &[&str]| {
        let configuration = configuration.to_string_lossy();
        let mut all = vec!["-c", &configuration];
        all.extend_from_slice(arguments);
        super::run(program, &all)
    };
    let first = &configurations[0];
    for configuration in configurations {
        // The answer is the node's whole identity: id@address.
        let identity = ask(configuration, &["node", "id", "-q"])?;
        let identity = identity.trim();
        if configuration != first {
            ask(first, &["node", "connect", identity])?;
        }
        let id = identity.split('@').next().unwrap_or(identity);
        ask(first, &["layout", "assign", "-z", "here", "-c", "50GB", id])?;
    }
    ask(first, &["layout", "apply", "--version", "1"])?;
    ask(first, &["key", "import", "--yes", "-n", "bench", ACCESS_KEY, SECRET_KEY])?;
    ask(first, &["key", "allow", "--create-bucket", ACCESS_KEY])?;
    ask(first, &["bucket", "create", BUCKET])?;
    ask(first, &["bucket", "allow", "--read", "--write", "--owner", BUCKET, "--key", ACCESS_KEY])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_form_that_garage_takes() {
        let is_hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(ACCESS_KEY.len() == 26 + 2 && is_hexadecimal(ACCESS_KEY.trim_start_matches("GK")));
        assert!(SECRET_KEY.len() == 64 && is_hexadecimal(SECRET_KEY));
        assert!(RPC_SECRET.len() == 64 && is_hexadecimal(RPC_SECRET));
    }

    #[test]
    fn a_node_is_synced_only_when_asked() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(Some(parent.path()), "garage").unwrap();
        let read = |is_synced| {
            let path = configure(&scratch, 20_000, 1, is_synced).unwrap();
            std::fs::read_to_string(path).unwrap()
        };
        assert!(read(true).contains("data_fsync = true") && !read(false).contains("fsync"));
        assert!(read(true).contains("rpc_bind_addr = \"127.0.0.1:20001\""));
        assert!(read(true).contains("api_bind_addr = \"127.0.0.1:20004\""));
    }
}
