//! How long a region may acknowledge writes on the word of its witness or of its standby, judged from clocks that run at
//! slightly different rates.
//!
//! The holder gives a stamp with each answer; who hears it gives it back with the next question, and that is a lease
//! for [`TERM`] since the stamp was given. So no message's time on its way counts, and no clock is compared with
//! another: the granter heard the stamp after it was given, and waits [`WAIT`] since then before anybody else may reign.
//! Times are readings of the own clock since some moment of its own; the clock goes on while a machine sleeps.

use std::time::Duration;

/// A lease, by the holder's clock, since the stamp that it rests on was given.
pub const TERM: Duration = Duration::from_millis(3_000);

/// How far a clock's rate may be off, percent. Crystals are off by 0.02, and a clock that is slewed by 0.05.
pub const CLOCK_RATE_ERROR_MAX_PERCENT: u32 = 5;

/// What a granter waits, by its own clock, since it last heard a stamp: the slowest holder's term as the fastest granter
/// sees it, `TERM * 1.05 / 0.95`, and 84 ms.
pub const WAIT: Duration = Duration::from_millis(3_400);

/// The side that needs leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    issued: Option<(u64, Duration)>,
    until: Option<Duration>,
}

/// The side that gives leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granter {
    stamp: Option<u64>,
    heard: Duration,
}

impl Holder {
    /// A stamp goes out now that no earlier one of this process is like, nor one of its earlier lives.
    pub fn issue(&mut self, stamp: u64, now: Duration) {
        self.issued = Some((stamp, now));
    }

    /// Takes a lease, if it rests on the stamp that went out last.
    pub fn grant(&mut self, stamp: u64) {
        if let Some((issued, at)) = self.issued
            && issued == stamp
        {
            self.until = self.until.max(Some(at + TERM));
        }
    }

    /// Whether a lease is held.
    pub fn holds(&self, now: Duration) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

impl Granter {
    /// One that may have given a lease just before, under an earlier life.
    pub fn new(now: Duration) -> Self {
        Self { stamp: None, heard: now }
    }

    /// The holder answered with this stamp.
    pub fn hear(&mut self, stamp: u64, now: Duration) {
        (self.stamp, self.heard) = (Some(stamp), now);
    }

    /// The stamp to give back, which is a lease; each once.
    pub fn grant(&mut self) -> Option<u64> {
        self.stamp.take()
    }

    /// How long ago the holder was heard, or could have been.
    pub fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard)
    }

    /// Whether no lease of this granter is left, however the holder's clock runs.
    pub fn is_over(&self, now: Duration) -> bool {
        self.silence(now) >= WAIT
    }
}

#[cfg(test)]
#[path = "lease/tests.rs"]
mod tests;
