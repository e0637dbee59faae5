//! `twinkeep node add|drain|remove|replace|progress`: membership of a live region, and a bar for who waits.

use super::Common;
use super::output::Output;
use super::status::state_name;
use crate::membership::{Admitted, Membership};
use crate::{ClientError, EXIT_UNREACHABLE};
use clap::{Args, Subcommand};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use wire::NodeId;
use wire::admin::NodeProgress;

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// Admit a new node: makes its join token; in a development region starts it as well
    Add {
        /// Its number, never used before
        id: u16,
        /// Where peers reach it; in a development region chosen when left out
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        /// Its failure zone [default: zone-ID]
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Move all replicas and leaders off a node
    Drain {
        /// Its number
        id: u16,
        #[command(flatten)]
        wait: Wait,
    },
    /// Forget a drained node
    Remove {
        /// Its number
        id: u16,
        /// Also when it still holds replicas: its disk is lost for good
        #[arg(long)]
        lost: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// Give a node an empty disk under its next incarnation: makes its join token
    Replace {
        /// Its number
        id: u16,
        /// Its new address, if that changed
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Show how far a change is
    Progress {
        /// Its number
        id: u16,
        #[command(flatten)]
        wait: Wait,
    },
}

#[derive(Debug, Args)]
pub(super) struct Wait {
    /// Wait until it is done, with a progress bar
    #[arg(long)]
    wait: bool,
    /// Give up waiting after this long; the change itself goes on
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
}

#[derive(Serialize)]
struct Change {
    #[serde(flatten)]
    progress: NodeProgress,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_token_file: Option<PathBuf>,
}

struct Session<'a> {
    membership: Membership,
    output: &'a Output,
}

pub(super) fn run(common: &Common, command: &NodeCommand, output: &Output) -> Result<(), ClientError> {
    let session = Session { membership: Membership::of(common.deployment()?)?, output };
    let membership = &session.membership;
    match command {
        NodeCommand::Add { id, address, zone, wait } => {
            session.admitted(membership.add(NodeId(*id), address.as_deref(), zone.as_deref())?, wait)
        }
        NodeCommand::Drain { id, wait } => session.finish(membership.drain(NodeId(*id))?, None, wait),
        NodeCommand::Remove { id, lost, wait } => {
            session.finish(membership.remove(NodeId(*id), *lost)?, None, wait)
        }
        NodeCommand::Replace { id, address, wait } => {
            session.admitted(membership.replace(NodeId(*id), address.as_deref())?, wait)
        }
        NodeCommand::Progress { id, wait } => session.finish(membership.progress(NodeId(*id))?, None, wait),
    }
}

impl Session<'_> {
    fn admitted(&self, admitted: Admitted, wait: &Wait) -> Result<(), ClientError> {
        if self.membership.has_pair() {
            eprintln!(
                "twinkeep: the region has a pair: `twinkeep pair make` gives the node its identity there; until it has it, groups that it leads are not shipped"
            );
        }
        self.finish(admitted.progress, Some(admitted.token), wait)
    }

    fn finish(&self, progress: NodeProgress, token: Option<PathBuf>, wait: &Wait) -> Result<(), ClientError> {
        if let Some(path) = token.as_ref().filter(|_| !self.membership.is_dev()) {
            eprintln!("twinkeep: give {} to the node as its join_token_file and start it", path.display());
        }
        let progress = if wait.wait { self.wait_done(progress, wait.timeout)? } else { progress };
        let change = Change { progress, join_token_file: token };
        self.output.either(&change, || format!("{}\n", line(&change.progress)))
    }

    fn wait_done(
        &self,
        mut progress: NodeProgress,
        timeout_seconds: Option<u64>,
    ) -> Result<NodeProgress, ClientError> {
        const AGAIN_AFTER: Duration = Duration::from_millis(500);
        let deadline = timeout_seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let mut bar = Bar::new();
        let mut most = Most::default();
        most.count(&mut progress);
        while !progress.done {
            if deadline.is_some_and(|deadline| Instant::now() > deadline) {
                bar.end();
                return Err(ClientError::Degraded {
                    problem: format!("not done in time: {}", line(&progress)),
                });
            }
            bar.show(&progress);
            std::thread::sleep(AGAIN_AFTER);
            match self.membership.progress(progress.node) {
                Ok(next) => {
                    progress = next;
                    most.count(&mut progress);
                }
                // the change goes on without us; the region may just be electing
                Err(error) if error.exit_code() == EXIT_UNREACHABLE => bar.note(&error),
                Err(error) => return Err(error),
            }
        }
        bar.end();
        Ok(progress)
    }
}

fn line(progress: &NodeProgress) -> String {
    let waiting = if progress.waiting_for.is_empty() {
        String::new()
    } else {
        format!(", waiting for {}", progress.waiting_for)
    };
    format!(
        "node {} {}: {} of {} replicas{waiting}",
        progress.node,
        if progress.done { "is done" } else { state_name(progress.state) },
        progress.replicas_moved,
        progress.replicas_total,
    )
}

/// The most there was to do: the region says what is left, and what was done counts from the first look on.
#[derive(Default)]
struct Most {
    replicas: u32,
}

impl Most {
    fn count(&mut self, progress: &mut NodeProgress) {
        let left = progress.replicas_total.saturating_sub(progress.replicas_moved);
        self.replicas = self.replicas.max(progress.replicas_total);
        (progress.replicas_total, progress.replicas_moved) = (self.replicas, self.replicas - left);
    }
}

/// A bar on a terminal; elsewhere a line now and then.
struct Bar {
    terminal: bool,
    last: Option<Instant>,
}

impl Bar {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: None }
    }

    fn show(&mut self, progress: &NodeProgress) {
        const WIDTH: u64 = 24;
        const LINE_EVERY: Duration = Duration::from_secs(10);
        let (moved, total) = (u64::from(progress.replicas_moved), u64::from(progress.replicas_total));
        let filled = (WIDTH * moved.min(total)).checked_div(total).unwrap_or(0) as usize;
        let text = line(progress);
        let mut stderr = std::io::stderr().lock();
        if self.terminal {
            let _ = write!(
                stderr,
                "\r\u{1b}[K[{}{}] {text}",
                "#".repeat(filled),
                ".".repeat(WIDTH as usize - filled)
            );
            let _ = stderr.flush();
        } else if self.last.is_none_or(|last| last.elapsed() > LINE_EVERY) {
            let _ = writeln!(stderr, "twinkeep: {text}");
            self.last = Some(Instant::now());
        }
    }

    fn note(&mut self, error: &ClientError) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K{error}");
        }
    }

    fn end(&self) {
        if self.terminal && self.last.is_none() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::admin::NodeState;

    #[test]
    fn what_was_done_counts_though_the_region_says_only_what_is_left() {
        let mut most = Most::default();
        let shown = [(0, 9), (0, 5), (1, 4), (0, 0)].map(|(replicas_moved, replicas_total)| {
            let state = NodeState::Draining;
            let (node, waiting_for) = (NodeId(1), String::new());
            let mut progress =
                NodeProgress { node, state, done: false, replicas_total, replicas_moved, waiting_for };
            most.count(&mut progress);
            (progress.replicas_moved, progress.replicas_total)
        });
        assert_eq!(shown, [(0, 9), (4, 9), (6, 9), (9, 9)]);
    }
}
