//! The clocks of one connection, looked at a few times per limit rather than once per frame.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::PeerOptions;

#[derive(Debug)]
pub(super) struct Clocks {
    ticks: Interval,
    heard_at: Instant,
    /// Set whenever a frame comes in.
    pub(super) heard: bool,
    options: PeerOptions,
}

/// What the clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing to do.
    Fine,
    /// The other end has been silent for a while.
    Silent,
    /// The connection is to be given up.
    Dead(&'static str),
}

impl Clocks {
    pub(super) fn new(options: PeerOptions) -> Self {
        let tick = options.tick().max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + tick, tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, heard_at: Instant::now(), heard: false, options }
    }

    /// Looks at the clocks if it is time to; `stuck` are the moments since when a read or a write has not moved on.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, stuck: [Option<Instant>; 2]) -> Verdict {
        let mut verdict = Verdict::Fine;
        while let Poll::Ready(now) = self.ticks.poll_tick(context) {
            if std::mem::take(&mut self.heard) {
                self.heard_at = now;
            }
            let silence = now.saturating_duration_since(self.heard_at);
            let over = |since: Instant| now.saturating_duration_since(since) > self.options.frame;
            verdict = match stuck {
                [Some(read), _] if over(read) => Verdict::Dead("a frame did not arrive in time"),
                [_, Some(write)] if over(write) => Verdict::Dead("the other end does not read"),
                _ if silence > self.options.silence => Verdict::Dead("no sign of life"),
                _ if silence > self.options.probe => Verdict::Silent,
                _ => Verdict::Fine,
            };
        }
        verdict
    }
}
