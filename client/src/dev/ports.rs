//! Which port each process of a development region has, and who holds one that is taken.

use super::{DEV_NODES_MAX, Member};
use crate::ClientError;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// How long ports may take to become free that no living process holds. 3 s: the end of a process with much memory on a
/// busy machine.
const DYING_WAIT: Duration = Duration::from_secs(3);

/// Pause between two looks.
const DYING_POLL: Duration = Duration::from_millis(20);

/// The pseudonymisation service's port comes after those of the largest region.
const PSEUDO_OFFSET: u16 = 4 + 2 * DEV_NODES_MAX;

/// The ports of a region, counted from its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    base: u16,
}

impl Ports {
    /// Ports from `base` on; it must leave room for the most nodes.
    pub fn new(base: u16) -> Result<Self, ClientError> {
        let last = u32::from(base) + u32::from(PSEUDO_OFFSET);
        if base < 1024 || last > u32::from(u16::MAX) {
            let problem = format!("--port-base {base} leaves no room");
            return Err(ClientError::usage(problem, "choose 1024 to 65499"));
        }
        Ok(Self { base })
    }

    /// S3 over plain HTTP.
    pub fn s3_plain(self) -> SocketAddr {
        loopback(self.base)
    }

    /// S3 over TLS.
    pub fn s3_tls(self) -> SocketAddr {
        loopback(self.base + 1)
    }

    /// The port for peers and the command line.
    pub fn peer(self, member: Member) -> SocketAddr {
        loopback(self.base + 2 + 2 * offset(member))
    }

    /// Health and metrics.
    pub fn health(self, member: Member) -> SocketAddr {
        loopback(self.base + 3 + 2 * offset(member))
    }

    /// Health and metrics of the pseudonymisation service beside it.
    pub fn pseudo(self) -> SocketAddr {
        loopback(self.base + PSEUDO_OFFSET)
    }

    /// Every port of a region with these processes.
    pub fn all(self, members: &[Member]) -> Vec<SocketAddr> {
        let members = members.iter().flat_map(|member| [self.peer(*member), self.health(*member)]);
        [self.s3_plain(), self.s3_tls()].into_iter().chain(members).collect()
    }

    /// Fails when one of them is taken, naming the port and, where it can be seen, the process that has it. A port that
    /// nobody is seen to hold is waited for: a process that was just killed gives its ports up a moment later.
    pub fn check_free(self, members: &[Member]) -> Result<(), ClientError> {
        check_free(&self.all(members))
    }

    /// The same for the pseudonymisation service.
    pub(super) fn check_pseudo_free(self) -> Result<(), ClientError> {
        check_free(&[self.pseudo()])
    }
}

fn check_free(addresses: &[SocketAddr]) -> Result<(), ClientError> {
    let deadline = Instant::now() + DYING_WAIT;
    for address in addresses {
        while let Err(error) = TcpListener::bind(address) {
            let holder = port_holder(address.port());
            if holder.is_none() && Instant::now() < deadline {
                thread::sleep(DYING_POLL);
                continue;
            }
            let holder = holder.map_or_else(|| error.to_string(), |holder| format!("by {holder}"));
            let problem = format!("port {} is taken ({holder})", address.port());
            return Err(ClientError::state(
                problem,
                "end that process, or use another folder with --data DIR --port-base N",
            ));
        }
    }
    Ok(())
}

/// The process that listens on a port, as `NAME (pid PID)`; `None` when none does or it belongs to someone else.
pub fn port_holder(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_inode(table, port))?;
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else { continue };
        if open
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))
        {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim()));
        }
    }
    None
}

fn listening_inode(table: &str, port: u16) -> Option<String> {
    const LISTENING: &str = "0A";
    let suffix = format!(":{port:04X}");
    fs::read_to_string(table).ok()?.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let inode = fields.nth(5)?;
        (local.ends_with(&suffix) && state == LISTENING).then(|| inode.to_owned())
    })
}

fn offset(member: Member) -> u16 {
    match member {
        Member::Gateway => 0,
        Member::Node(id) => id,
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
