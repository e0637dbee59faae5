//! A region of real processes on loopback, started by `twinkeep dev` and broken by `twinkeep dev kill | stop | start`.
//!
//! Exactly what a user's script would do: one line of JSON says when the region serves. It promises that the region ends
//! with this value: SIGTERM first, and SIGKILL for what this value started and is still there after the grace time.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::ports::PortBlock;
use crate::run::Run;
use crate::s3::S3;
use crate::sign::Credentials;
use crate::tools::{self, Binaries};
use crate::trouble::{Outcome, Trouble};

/// How long a region may take until it serves; seconds on an idle machine, far more on a crowded one.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a region may take to end after SIGTERM.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// What `twinkeep dev --json` said when it was ready.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The plain HTTP endpoint.
    pub endpoint: String,
    /// The same gateway over TLS.
    pub endpoint_tls: Option<String>,
    /// The certificate authority that signed the gateway's certificate.
    pub ca_file: Option<String>,
    /// The access key id.
    pub access_key: String,
    /// The secret.
    pub secret_key: String,
    /// The region's name.
    pub region: String,
    /// The storage nodes.
    pub nodes: Vec<Node>,
    /// What was said of the pseudonymisation service; of a pair, beside the region that began as the primary.
    pub pseudo: Option<Value>,
}

impl Ready {
    /// A client with the region's first credentials.
    pub fn client(&self) -> Outcome<S3> {
        Ok(S3::new(address_of(&self.endpoint)?, self.credentials()))
    }

    /// One that waits for an answer no longer than this: what is asked may be halted.
    pub fn client_waiting(&self, timeout: Duration) -> Outcome<S3> {
        Ok(S3::with_timeout(address_of(&self.endpoint)?, self.credentials(), timeout))
    }

    /// The first credentials.
    pub fn credentials(&self) -> Credentials {
        Credentials {
            access_key: self.access_key.clone(),
            secret_key: self.secret_key.clone(),
            region: self.region.clone(),
        }
    }
}

/// One storage node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its id, as the command line takes it.
    pub id: String,
    /// Its process when the region became ready.
    pub pid: u32,
    /// Its data folder.
    pub data: PathBuf,
}

/// A running region.
pub struct Dev {
    /// What it said when it was ready; of a pair, what the region said that began as the primary.
    pub ready: Ready,
    /// Of a pair: what its other region said.
    pub other: Option<Ready>,
    data: PathBuf,
    child: Child,
    binaries: Binaries,
    environment: Vec<(String, String)>,
    /// What `twinkeep dev` is asked beside the usual.
    arguments: Vec<String>,
    ports: PortBlock,
    log: PathBuf,
}

impl Dev {
    /// Starts a region of three nodes with its data in the run's folder.
    pub fn start(run: &Run) -> Outcome<Self> {
        Self::start_with(run, &[])
    }

    /// The same, with further environment variables for all its processes.
    pub fn start_with(run: &Run, environment: &[(&str, &str)]) -> Outcome<Self> {
        Self::start_asked(run, environment, &[])
    }

    /// The same, with further arguments of `twinkeep dev`.
    pub fn start_asked(run: &Run, environment: &[(&str, &str)], further: &[&str]) -> Outcome<Self> {
        let binaries = tools::binaries()?;
        let arguments: Vec<String> = further.iter().map(|word| (*word).to_owned()).collect();
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (data, log, ports) = (run.path("region"), run.path("dev.log"), PortBlock::take()?);
        let (child, mut regions) = launch(&binaries, &data, &ports, &log, &environment, &arguments)?;
        let ready = regions.remove(0);
        Ok(Dev { ready, other: None, data, child, binaries, environment, arguments, ports, log })
    }

    /// Starts two regions that are a pair, the second following the first.
    pub fn start_pair(run: &Run) -> Outcome<Self> {
        Self::start_pair_with(run, &[])
    }

    /// The same, with further arguments of `twinkeep dev`.
    pub fn start_pair_with(run: &Run, further: &[&str]) -> Outcome<Self> {
        let binaries = tools::binaries()?;
        let (data, log, ports) = (run.path("pair"), run.path("dev.log"), PortBlock::take()?);
        let arguments: Vec<String> =
            std::iter::once(&"--pair").chain(further).map(|word| (*word).to_owned()).collect();
        let (child, mut regions) = launch(&binaries, &data, &ports, &log, &[], &arguments)?;
        if regions.len() != 2 {
            return Err(Trouble::new("`twinkeep dev --pair` did not say two regions"));
        }
        let (ready, other) = (regions.remove(0), Some(regions.remove(0)));
        Ok(Dev { ready, other, data, child, binaries, environment: Vec::new(), arguments, ports, log })
    }

    /// Ends the whole region and starts it again on its data; `kill` ends every process by SIGKILL at once.
    pub fn restart(&mut self, kill: bool) -> Outcome<()> {
        if kill {
            self.kill_everything();
        } else {
            self.end()?;
        }
        self.launch_again()
    }

    /// Ends the whole region, does something to its data, and starts it again.
    pub fn restart_after(&mut self, meanwhile: impl FnOnce()) -> Outcome<()> {
        self.end()?;
        meanwhile();
        self.launch_again()
    }

    fn launch_again(&mut self) -> Outcome<()> {
        let (child, mut regions) =
            launch(&self.binaries, &self.data, &self.ports, &self.log, &self.environment, &self.arguments)?;
        (self.child, self.ready) = (child, regions.remove(0));
        self.other = regions.pop();
        Ok(())
    }

    /// SIGKILLs a node.
    pub fn kill(&self, node: &Node) -> Outcome<()> {
        self.twinkeep(&["dev", "kill", &node.id]).map(drop)
    }

    /// SIGSTOPs a node: it holds its connections and answers nothing.
    pub fn stop(&self, node: &Node) -> Outcome<()> {
        self.twinkeep(&["dev", "stop", &node.id]).map(drop)
    }

    /// Starts a killed node or continues a stopped one.
    pub fn resume(&self, node: &Node) -> Outcome<()> {
        self.twinkeep(&["dev", "start", &node.id]).map(drop)
    }

    /// Runs the command line against this region, or this pair, and returns what it printed.
    pub fn twinkeep(&self, arguments: &[&str]) -> Outcome<String> {
        self.twinkeep_in(&self.data, arguments)
    }

    /// The same for one region of a pair.
    pub fn twinkeep_of(&self, ready: &Ready, arguments: &[&str]) -> Outcome<String> {
        self.twinkeep_in(&self.data.join(&ready.region), arguments)
    }

    /// Runs the command line against this region, or this pair, and returns its exit code and what it printed.
    pub fn twinkeep_code(&self, arguments: &[&str]) -> Outcome<(i32, String)> {
        let mut command = Command::new(&self.binaries.twinkeep);
        command.args(arguments).arg("--data").arg(&self.data).stderr(Stdio::inherit());
        let output = command.output();
        let output = output.map_err(|error| Trouble::file("run", &self.binaries.twinkeep, &error))?;
        let code = output.status.code();
        let code = code.ok_or_else(|| Trouble::new(format!("`twinkeep {arguments:?}` was ended")))?;
        Ok((code, String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// Begins the command line against this region, or this pair; what it says can be read while it runs.
    pub fn twinkeep_begin(&self, arguments: &[&str]) -> Outcome<Child> {
        let mut command = Command::new(&self.binaries.twinkeep);
        command.args(arguments).arg("--data").arg(&self.data);
        let begun = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        begun.map_err(|error| Trouble::file("run", &self.binaries.twinkeep, &error))
    }

    fn twinkeep_in(&self, data: &Path, arguments: &[&str]) -> Outcome<String> {
        let mut command = Command::new(&self.binaries.twinkeep);
        command.args(arguments).arg("--data").arg(data);
        let output = tools::expect_success(&mut command, &format!("twinkeep {}", arguments.join(" ")))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The region's status as JSON.
    pub fn status(&self) -> Outcome<Value> {
        let (code, text) = self.twinkeep_code(&["status", "--json"])?;
        // 3: something is degraded, as when a node is down
        if code != 0 && code != 3 {
            return Err(Trouble::new(format!("`status --json` ended with {code}\n{text}")));
        }
        serde_json::from_str(&text)
            .map_err(|error| Trouble::new(format!("`status --json` is not JSON: {error}\n{text}")))
    }

    /// A client with the region's first credentials.
    pub fn client(&self) -> Outcome<S3> {
        self.ready.client()
    }

    /// The region's first credentials.
    pub fn credentials(&self) -> Credentials {
        self.ready.credentials()
    }

    /// The socket address of the plain endpoint.
    pub fn address(&self) -> Outcome<SocketAddr> {
        address_of(&self.ready.endpoint)
    }

    /// The folder with all the region's data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the region's processes printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The ports the region listens on are within this block.
    pub fn ports(&self) -> &PortBlock {
        &self.ports
    }

    /// Ends the region by SIGTERM; an error when a process of it is left after the grace time.
    pub fn end(&mut self) -> Outcome<()> {
        let family = descendants(self.child.id());
        signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + END_TIMEOUT;
        while Instant::now() < deadline {
            let ended = self
                .child
                .try_wait()
                .map_err(|error| Trouble::new(format!("cannot wait for dev: {error}")))?;
            if ended.is_some() && !family.iter().any(|pid| is_alive(*pid)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let left: Vec<u32> = family.into_iter().filter(|pid| is_alive(*pid)).collect();
        self.kill_everything();
        Err(Trouble::new(format!(
            "`twinkeep dev` and processes {left:?} did not end within {END_TIMEOUT:?} of SIGTERM"
        )))
    }

    /// SIGKILLs every process of the region, the launcher first so that it restarts nothing.
    pub fn kill_everything(&mut self) {
        let family = descendants(self.child.id());
        signal(self.child.id(), Signal::KILL);
        for pid in &family {
            signal(*pid, Signal::KILL);
        }
        let _ = self.child.wait();
        let deadline = Instant::now() + END_TIMEOUT;
        while family.iter().any(|pid| is_alive(*pid)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let has_ended = matches!(self.child.try_wait(), Ok(Some(_)));
        if !has_ended && let Err(trouble) = self.end() {
            eprintln!("{trouble}");
        }
    }
}

/// The socket address in an endpoint such as `http://127.0.0.1:10240`.
pub fn address_of(endpoint: &str) -> Outcome<SocketAddr> {
    let authority = endpoint.split("://").nth(1).unwrap_or(endpoint).trim_end_matches('/');
    let authority = authority.replace("localhost", "127.0.0.1");
    authority
        .parse()
        .map_err(|error| Trouble::new(format!("no socket address in the endpoint {endpoint}: {error}")))
}

/// Sends a signal to a process; a process that is gone needs none.
pub fn signal(pid: u32, which: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, which);
    }
}

/// Whether a process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    let exists =
        i32::try_from(pid).ok().and_then(Pid::from_raw).is_some_and(|pid| test_kill_process(pid).is_ok());
    exists && state_and_parent(pid).is_some_and(|(state, _)| state != 'Z')
}

/// All processes below one, found by their parents.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in
        entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()))
    {
        if let Some((_, parent)) = state_and_parent(pid) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let of = found[next];
        found.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        next += 1;
    }
    found.remove(0);
    found
}

/// The state letter and parent of a process, from its stat line; the command name in it may hold spaces and brackets.
fn state_and_parent(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn launch(
    binaries: &Binaries,
    data: &Path,
    ports: &PortBlock,
    log: &Path,
    environment: &[(String, String)],
    arguments: &[String],
) -> Outcome<(Child, Vec<Ready>)> {
    let errors = File::options().create(true).append(true).open(log);
    let errors = errors.map_err(|error| Trouble::file("open", log, &error))?;
    let mut command = Command::new(&binaries.twinkeep);
    command.args(["dev", "--nodes", "3", "--json", "--port-base"]).arg(ports.base().to_string());
    command.args(arguments);
    command.arg("--data").arg(data).envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
    let mut child = command.spawn().map_err(|error| Trouble::file("start", &binaries.twinkeep, &error))?;
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The receiver goes once the region is ready; the pipe must still be drained so that no process blocks on it.
            let _ = sender.send(line);
        }
    });
    let line = receiver.recv_timeout(READY_TIMEOUT);
    let ready = line.map_err(|error| error.to_string()).and_then(|line| read_regions(&line));
    match ready {
        Ok(ready) => Ok((child, ready)),
        Err(reason) => {
            for pid in descendants(child.id()) {
                signal(pid, Signal::KILL);
            }
            let _ = child.kill();
            let _ = child.wait();
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let from = said.char_indices().rev().nth(3000).map_or(0, |(index, _)| index);
            Err(Trouble::new(format!("`twinkeep dev --json` did not get ready: {reason}\n{}", &said[from..])))
        }
    }
}

fn read_regions(line: &str) -> Result<Vec<Ready>, String> {
    let json: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}: {line}"))?;
    match json["regions"].as_array() {
        Some(regions) => {
            let mut regions: Vec<Ready> = regions.iter().map(read_ready).collect::<Result<_, _>>()?;
            if let Some(first) = regions.first_mut() {
                first.pseudo = json.get("pseudo").cloned();
            }
            Ok(regions)
        }
        None => Ok(vec![read_ready(&json)?]),
    }
}

fn read_ready(json: &Value) -> Result<Ready, String> {
    let line = json;
    let text = |name: &str| json[name].as_str().map(str::to_owned);
    let wanted = |name: &str| text(name).ok_or_else(|| format!("no `{name}` in {line}"));
    let mut nodes = Vec::new();
    for node in json["nodes"].as_array().ok_or_else(|| format!("no `nodes` in {line}"))? {
        let id = node["id"].as_str().map_or_else(|| node["id"].to_string(), str::to_owned);
        let pid = node["pid"].as_u64().ok_or_else(|| format!("a node without `pid` in {line}"))? as u32;
        let data = node["data"].as_str().ok_or_else(|| format!("a node without `data` in {line}"))?.into();
        nodes.push(Node { id, pid, data });
    }
    Ok(Ready {
        endpoint: wanted("endpoint")?,
        endpoint_tls: text("endpoint_tls"),
        ca_file: text("ca_file"),
        access_key: wanted("access_key")?,
        secret_key: wanted("secret_key")?,
        region: wanted("region")?,
        nodes,
        pseudo: json.get("pseudo").cloned(),
    })
}
