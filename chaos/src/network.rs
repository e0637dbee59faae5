//! Network namespaces: threads and the processes that they start see a network of their own, which can lose packets.
//!
//! Removed when dropped. What runs in one has to be ended before.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::tools;
use crate::trouble::{Outcome, Trouble};

/// What our namespaces' names begin with.
const PREFIX: &str = "tk";

static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// Where the system keeps namespaces' names.
const NAMES: &str = "/run/netns";

/// What names of namespaces begin with that no other run has. Those that a killed run left are removed.
pub fn fresh_name() -> Outcome<String> {
    tools::require_root("network namespaces")?;
    tools::debian(&[("ip", "iproute2"), ("nft", "nftables")])?;
    let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
    if number == 0 {
        remove_abandoned();
    }
    Ok(format!("{PREFIX}{}x{number}", std::process::id()))
}

/// Removes namespaces of processes that are gone, and of an earlier one that was called as this one is.
fn remove_abandoned() {
    let names = std::fs::read_dir(NAMES).into_iter().flatten().flatten();
    for name in names.filter_map(|entry| entry.file_name().into_string().ok()) {
        let maker = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('x'));
        let Some(maker) = maker.and_then(|(maker, _)| maker.parse::<u32>().ok()) else { continue };
        if maker == std::process::id() || !Path::new("/proc").join(maker.to_string()).exists() {
            remove(&name);
        }
    }
}

/// A network that is one loopback interface, with packets as long as on an ordinary link.
#[derive(Debug)]
pub struct Loopback {
    name: String,
}

impl Loopback {
    /// Makes one.
    pub fn new() -> Outcome<Self> {
        let name = fresh_name()?;
        set_up(&format!("netns add {name}"))?;
        let network = Loopback { name };
        // loopback hands over 64 KiB at a time otherwise, whatever its packets may take
        set_up(&format!("-n {} link set lo gso_max_segs 1", network.name))?;
        set_up(&format!("-n {} link set lo mtu 1500 up", network.name))?;
        Ok(network)
    }

    /// Runs a closure in it, with all threads and processes that it starts.
    pub fn within<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Outcome<T> {
        within(&self.name, task)
    }

    /// From now on loses so many of a thousand packets to and from these ports, chosen at random.
    pub fn lose(&self, ports: &[u16], per_mille: u32) -> Outcome<()> {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let ports = ports.join(", ");
        let lossy = format!("numgen random mod 1000 < {per_mille} counter name lost drop");
        let rules = format!(
            "add table inet link; add counter inet link lost; add chain inet link in {{ type filter hook input priority 0; }}; \
             add rule inet link in tcp dport {{ {ports} }} {lossy}; add rule inet link in tcp sport {{ {ports} }} {lossy}"
        );
        tools::expect_success(self.nft().arg(rules), "make a link lose packets").map(drop)
    }

    /// Packets lost so far.
    pub fn lost(&self) -> Outcome<u64> {
        let listed = tools::expect_success(
            self.nft().args(["--json", "list", "counters"]),
            "count the packets that a link lost",
        )?;
        let listed: Value = serde_json::from_slice(&listed.stdout)
            .map_err(|error| Trouble::new(format!("`nft` counts in another form: {error}")))?;
        let counters = listed["nftables"].as_array().into_iter().flatten();
        Ok(counters.filter_map(|entry| entry["counter"]["packets"].as_u64()).sum())
    }

    fn nft(&self) -> Command {
        command_in(&self.name, Path::new("nft"))
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Runs `ip` with these words.
pub fn set_up(line: &str) -> Outcome<()> {
    tools::expect_success(ip().args(line.split(' ')), &format!("make a network: ip {line}")).map(drop)
}

/// Removes a namespace, if it is there.
pub fn remove(name: &str) {
    let _ = ip().args(["netns", "delete", name]).stderr(Stdio::null()).status();
}

/// A program in a namespace.
pub fn command_in(name: &str, program: &Path) -> Command {
    let mut command = ip();
    command.args(["netns", "exec", name]).arg(program);
    command
}

/// Runs a closure on a thread in a namespace.
pub fn within<T: Send>(name: &str, task: impl FnOnce() -> T + Send) -> Outcome<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            enter(name)?;
            Ok(task())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn ip() -> Command {
    let mut command = Command::new("ip");
    // Debian keeps these programs where a user's path may not look.
    command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
    command
}

/// Moves this thread, and no other, into a network namespace.
fn enter(name: &str) -> Outcome<()> {
    let path = Path::new(NAMES).join(name);
    let file = File::open(&path).map_err(|error| Trouble::file("open", &path, &error))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| Trouble::new(format!("cannot enter the namespace {name}: {error}")))
}
