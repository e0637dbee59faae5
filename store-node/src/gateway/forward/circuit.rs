//! Whether an endpoint is asked. Pure: times are passed in, and what is to be done comes back.
//!
//! ```text
//!           no connection, or silence                       a probe is answered
//! asked ────────────────────────────▶ left out, one probe ─────────────────────▶ asked
//!                                     at a time
//! ```
//! A probe also tells requests that wait for a late answer whether anybody is still there: silence ends them, and so does
//! nothing else here. Who turns a probe away is there, and whether it takes new requests is another question.

use std::time::Duration;

use tokio::time::Instant;

/// How long an endpoint that does not answer is left alone between two probes. 1 s: as long as clients are told to wait.
pub(super) const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// What is known of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    heard_at: Option<Instant>,
    open: Option<Open>,
    probing: bool,
}

/// An endpoint that is left out.
#[derive(Debug)]
struct Open {
    probe_at: Instant,
    /// A probe had no answer at all.
    silent: bool,
}

/// Whether a request may go to the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Ask,
    LeaveOut,
    /// The same, and a probe is to be sent.
    Probe,
}

/// What a request that waits for its answer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// Nothing until then.
    Until(Instant),
    /// Sends a probe.
    Probe,
    /// Waits for the verdict of the probe that is under way.
    Wait,
    /// Gives up: nobody is there.
    GiveUp,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Answered,
    /// Somebody is there who takes no requests.
    TurnedAway,
    Silent,
}

impl Circuit {
    /// Whether a request may go there.
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        match &self.open {
            None => Admission::Ask,
            Some(open) if self.probing || now < open.probe_at => Admission::LeaveOut,
            Some(_) => {
                self.probing = true;
                Admission::Probe
            }
        }
    }

    /// What a request does that was sent at `since`; `patience` is how long nothing may be heard of the endpoint.
    pub(super) fn watch(&mut self, since: Instant, patience: Duration, now: Instant) -> Watch {
        if self.open.as_ref().is_some_and(|open| open.silent) {
            return Watch::GiveUp;
        }
        let due = self.heard_at.map_or(since, |heard| heard.max(since)) + patience;
        if now < due {
            Watch::Until(due)
        } else if self.probing {
            Watch::Wait
        } else {
            self.probing = true;
            Watch::Probe
        }
    }

    /// The endpoint answered a request. Whether it had been left out.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        self.heard_at = Some(now);
        self.open.take().is_some()
    }

    /// The endpoint took no connection. Whether it had not been left out.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.leave_out(now, false)
    }

    /// A probe ended.
    pub(super) fn probed(&mut self, verdict: Verdict, now: Instant) -> bool {
        self.probing = false;
        match verdict {
            Verdict::Answered => self.answered(now),
            Verdict::TurnedAway => {
                self.heard_at = Some(now);
                self.leave_out(now, false)
            }
            Verdict::Silent => self.leave_out(now, true),
        }
    }

    fn leave_out(&mut self, now: Instant, silent: bool) -> bool {
        self.open.replace(Open { probe_at: now + PROBE_PAUSE, silent }).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn seconds(from: Instant, seconds: u64) -> Instant {
        from + Duration::from_secs(seconds)
    }

    #[test]
    fn an_endpoint_that_fails_is_left_out_until_a_probe_is_answered_and_one_is_sent_at_a_time() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        assert_eq!(circuit.admit(now), Admission::Ask);
        assert!(circuit.failed(now), "that is news");
        assert!(!circuit.failed(now), "that is none");
        assert_eq!(circuit.admit(now), Admission::LeaveOut);
        let later = now + PROBE_PAUSE;
        assert_eq!(circuit.admit(later), Admission::Probe);
        assert_eq!(circuit.admit(seconds(later, 9)), Admission::LeaveOut, "one is under way");
        assert!(!circuit.probed(Verdict::Silent, later));
        assert_eq!(circuit.admit(later), Admission::LeaveOut, "the next one has its pause, too");
        assert_eq!(circuit.admit(later + PROBE_PAUSE), Admission::Probe);
        assert!(circuit.probed(Verdict::Answered, later + PROBE_PAUSE), "that is news");
        assert_eq!(circuit.admit(later), Admission::Ask);
    }

    #[test]
    fn requests_wait_for_as_long_as_somebody_is_there_and_share_one_probe() {
        let (mut circuit, sent) = (Circuit::default(), Instant::now());
        let due = sent + PATIENCE;
        assert_eq!(circuit.watch(sent, PATIENCE, sent), Watch::Until(due));
        assert_eq!(circuit.watch(sent, PATIENCE, due), Watch::Probe);
        assert_eq!(circuit.watch(sent, PATIENCE, due), Watch::Wait);
        circuit.probed(Verdict::Answered, due);
        assert_eq!(circuit.watch(sent, PATIENCE, due), Watch::Until(due + PATIENCE));
        // who turns it away is there, but is not asked
        assert_eq!(circuit.watch(sent, PATIENCE, due + PATIENCE), Watch::Probe);
        assert!(circuit.probed(Verdict::TurnedAway, due + PATIENCE));
        assert_eq!(circuit.watch(sent, PATIENCE, due + PATIENCE), Watch::Until(due + 2 * PATIENCE));
        assert_eq!(circuit.admit(due + PATIENCE), Admission::LeaveOut);
        // an answer to any of them is a sign, too
        assert!(circuit.answered(due + 2 * PATIENCE));
        assert_eq!(circuit.watch(sent, PATIENCE, due + 2 * PATIENCE), Watch::Until(due + 3 * PATIENCE));
    }

    #[test]
    fn silence_ends_all_who_wait() {
        let (mut circuit, sent) = (Circuit::default(), Instant::now());
        let due = sent + PATIENCE;
        assert_eq!(circuit.watch(sent, PATIENCE, due), Watch::Probe);
        assert!(circuit.probed(Verdict::Silent, seconds(due, 5)));
        for since in [sent, seconds(due, 4)] {
            assert_eq!(circuit.watch(since, PATIENCE, seconds(due, 5)), Watch::GiveUp);
        }
        // no connection for a new request is no silence: those under way find out for themselves
        let mut circuit = Circuit::default();
        circuit.failed(sent);
        assert_eq!(circuit.watch(sent, PATIENCE, sent), Watch::Until(due));
        assert_eq!(circuit.watch(sent, PATIENCE, due), Watch::Probe);
        assert_eq!(circuit.admit(due), Admission::LeaveOut, "the same one");
    }
}
