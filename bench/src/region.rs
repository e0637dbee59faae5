//! A Twinkeep region under test, started through its own command line as a user would.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde::Deserialize;

use crate::connection::Authority;
use crate::error::BenchError;
use crate::metrics::MetricsAddress;
use crate::scratch::{Scratch, free_ports, program_folder};
use crate::server::{Server, ServerProcess};
use crate::sign::Credentials;
use crate::target::Target;

/// Ports of a region: two for S3 and two for each of four processes, rounded up.
const PORTS: u16 = 50;
/// The longest line it may say before it is ready, in bytes.
const READY_LINE_BYTES_MAX: u64 = 64 << 10;

/// The command line's exit code for an answer that is complete and says that something is degraded.
pub const EXIT_DEGRADED: i32 = 3;

/// The command line's exit code for a command that failed, and for a check that found failures.
pub const EXIT_FAILED: i32 = 1;

/// The programs of a build.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The command line.
    pub twinkeep: PathBuf,
}

/// What `twinkeep dev --json` says when it is ready; other fields are left alone.
#[derive(Deserialize)]
struct Ready {
    endpoint: String,
    access_key: String,
    secret_key: String,
    region: String,
    nodes: Vec<Member>,
    gateway: Option<Member>,
}

/// What `twinkeep dev --pair --json` says.
#[derive(Deserialize)]
struct PairReady {
    regions: [Ready; 2],
}

#[derive(Deserialize)]
struct Member {
    pid: u32,
    metrics: Option<String>,
    health_address: Option<String>,
}

impl Binaries {
    /// Those in `folder`, or beside this program; when cargo runs us, it first brings the latter up to date: figures of
    /// an older build would be taken for this one's.
    pub fn find(folder: Option<&Path>) -> Result<Self, BenchError> {
        let folder = match folder {
            Some(folder) => folder.canonicalize().map_err(BenchError::file("find", folder))?,
            None => {
                build(&["client", "store-node"])?;
                program_folder()?
            }
        };
        let twinkeep = folder.join("twinkeep");
        if twinkeep.exists() {
            return Ok(Self { twinkeep });
        }
        let detail = format!(
            "not found in {}; build it with `cargo build --release -p client -p store-node`",
            folder.display()
        );
        Err(BenchError::Process { program: "twinkeep".to_owned(), detail })
    }

    /// Runs a command of the command line to its end; returns what it printed.
    pub fn run(&self, arguments: &[&str], data: &Path) -> Result<String, BenchError> {
        self.run_accepting(arguments, data, &[0, EXIT_DEGRADED])
    }

    /// The same, for a command whose exit code is part of its answer.
    pub fn run_accepting(
        &self,
        arguments: &[&str],
        data: &Path,
        exit_codes: &[i32],
    ) -> Result<String, BenchError> {
        let failed = |detail: String| BenchError::Process {
            program: format!("twinkeep {}", arguments.join(" ")),
            detail,
        };
        let output = Command::new(&self.twinkeep)
            .args(arguments)
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.code().is_some_and(|code| exit_codes.contains(&code)) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(format!("{}: {}", output.status, said.trim())))
    }
}

/// Starts a region of three nodes in a new folder.
pub fn start(binaries: &Binaries, scratch: Scratch) -> Result<Server, BenchError> {
    let data = scratch.folder("region")?;
    let port_base = free_ports(PORTS)?;
    let (target, process) = start_in(binaries, &data, port_base)?;
    Ok(Server::new(target, vec![process], scratch))
}

/// Starts a region in a folder that may hold one already; returns when it is ready to serve.
pub fn start_in(
    binaries: &Binaries,
    data: &Path,
    port_base: u16,
) -> Result<(Target, ServerProcess), BenchError> {
    let (line, process) = start_dev(binaries, data, port_base, &[])?;
    let ready = said(&line).and_then(|ready: Ready| ready.target());
    Ok((ready.map_err(not_started)?, process))
}

/// Starts both regions of a pair, and their witness, in a folder that may hold them already.
pub fn start_pair_in(
    binaries: &Binaries,
    data: &Path,
    port_base: u16,
) -> Result<([Target; 2], ServerProcess), BenchError> {
    let (line, process) = start_dev(binaries, data, port_base, &["--pair"])?;
    let regions = said(&line).and_then(|ready: PairReady| {
        let [one, other] = ready.regions;
        Ok([one.target()?, other.target()?])
    });
    Ok((regions.map_err(not_started)?, process))
}

/// Starts `twinkeep dev`, and waits for the line that it says when it is ready.
fn start_dev(
    binaries: &Binaries,
    data: &Path,
    port_base: u16,
    arguments: &[&str],
) -> Result<(String, ServerProcess), BenchError> {
    let failed = not_started;
    let mut child = Command::new(&binaries.twinkeep)
        .arg("dev")
        .args(arguments)
        .arg("--data")
        .arg(data)
        .args(["--port-base", &port_base.to_string(), "--nodes", "3", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let output = child.stdout.take();
    let process = ServerProcess::new("twinkeep dev", child);
    let mut line = String::new();
    if let Some(output) = output {
        BufReader::new(output.take(READY_LINE_BYTES_MAX))
            .read_line(&mut line)
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok((line, process))
}

fn not_started(detail: String) -> BenchError {
    BenchError::Process { program: "twinkeep dev".to_owned(), detail }
}

fn said<T: for<'de> Deserialize<'de>>(line: &str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| {
        if line.is_empty() { "it ended before it was ready".to_owned() } else { error.to_string() }
    })
}

impl Ready {
    fn target(self) -> Result<Target, String> {
        let mut metrics = Vec::new();
        for node in &self.nodes {
            let address = node.health_address.as_ref().map(|address| format!("http://{address}/metrics"));
            if let Some(url) = node.metrics.clone().or(address) {
                metrics.push(MetricsAddress::parse(&url).map_err(|error| error.to_string())?);
            }
        }
        Ok(Target {
            name: "twinkeep".to_owned(),
            authority: Authority::parse(&self.endpoint).map_err(|error| error.to_string())?,
            credentials: Arc::new(Credentials::new(&self.access_key, &self.secret_key)),
            region: self.region,
            processes: self.nodes.iter().chain(&self.gateway).map(|member| member.pid).collect(),
            metrics,
            copies: 3,
        })
    }
}

/// Brings the programs of these packages up to date when cargo runs us.
pub(crate) fn build(packages: &[&str]) -> Result<(), BenchError> {
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(()) };
    let mut command = Command::new(cargo);
    command.args(["build", "--release"]).args(packages.iter().flat_map(|package| ["-p", package]));
    command.stdin(Stdio::null());
    if let Some(folder) = std::env::var_os("CARGO_MANIFEST_DIR") {
        command.current_dir(folder);
    }
    let variables = std::env::vars_os().map(|(variable, _)| variable);
    for variable in variables.filter(|variable| variable.to_str().is_some_and(is_about_this_package)) {
        command.env_remove(variable);
    }
    eprintln!(
        "bench: `cargo build --release -p {}` brings what is measured up to date",
        packages.join(" -p ")
    );
    let failed = |detail: String| BenchError::Process { program: "cargo build".to_owned(), detail };
    let status = command.status().map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// Whether cargo sets a variable for the package that it builds or runs: build scripts that look at one of these run
/// again when it changes, and everything above them is built again.
fn is_about_this_package(variable: &str) -> bool {
    const FAMILIES: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CFG_"];
    const SINGLE: [&str; 4] = ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "CARGO_TARGET_TMPDIR", "OUT_DIR"];
    FAMILIES.iter().any(|family| variable.starts_with(family)) || SINGLE.contains(&variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_learns_nothing_of_the_package_that_runs() {
        assert!(["CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "OUT_DIR"].into_iter().all(is_about_this_package));
        let kept = ["CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_TOOLCHAIN", "PATH"];
        assert!(!kept.into_iter().any(is_about_this_package));
    }

    #[test]
    fn the_ready_line_is_read_with_fields_we_do_not_know() {
        let line = r#"{"schema_version":1,"endpoint":"http://127.0.0.1:9000","access_key":"a","secret_key":"s",
            "region":"home","nodes":[{"id":1,"pid":11,"data":"/d","metrics":"http://127.0.0.1:9/m"},
            {"id":2,"pid":12,"data":"/d","health_address":"127.0.0.1:10"}],"gateway":{"pid":14}}"#;
        let target = said::<Ready>(line).unwrap().target().unwrap();
        assert_eq!(target.processes, [11, 12, 14]);
        assert_eq!(target.region, "home");
        let expected = ["http://127.0.0.1:9/m", "http://127.0.0.1:10/metrics"];
        assert_eq!(target.metrics, expected.map(|url| MetricsAddress::parse(url).unwrap()));
    }

    #[test]
    fn an_early_end_is_told_from_a_strange_line() {
        assert_eq!(said::<Ready>("").err().unwrap(), "it ended before it was ready");
        assert!(said::<Ready>("starting…").is_err());
    }
}
