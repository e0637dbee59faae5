//! When an export is due, and what it is called: pure, so that a repeated run asks for the same export.
//!
//! Times are those of UTC. A job has one export for each time of its schedule at most, named after that time. Of times that passed while
//! the service could not work the newest counts.

use crate::clock;

const DAY_SECONDS: i64 = 86_400;
/// Characters of a time in a name: `20261123t023000z`.
const STAMP_CHARACTERS: usize = 16;

/// When something is due, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Every so many seconds, counted from 1970, so that it does not matter when the service began.
    Every(i64),
    /// Each day at this second.
    DailyAt(i64),
}

impl Schedule {
    /// Reads `HH:MM`.
    pub(crate) fn daily(text: &str) -> Option<Self> {
        let (hours, minutes) = text.split_once(':')?;
        let number = |text: &str, below: i64| {
            let is_two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i64>().ok().filter(|number| is_two_digits && *number < below)
        };
        Some(Self::DailyAt(number(hours, 24)? * 3600 + number(minutes, 60)? * 60))
    }

    /// The newest time that is not after `now`.
    pub(crate) fn latest(self, now: i64) -> i64 {
        let (period, offset) = match self {
            Self::Every(seconds) => (seconds.max(1), 0),
            Self::DailyAt(second) => (DAY_SECONDS, second),
        };
        now - (now - offset).rem_euclid(period)
    }

    /// Whether what is due then is to be done now; also when the clock was set back, which makes what was planned too late.
    /// What failed is planned `again` seconds on at most.
    pub(crate) fn has_come(self, due: i64, now: i64, again: i64) -> bool {
        due <= now || due > self.next(now).max(now + again)
    }

    /// The first time after `now`.
    pub(crate) fn next(self, now: i64) -> i64 {
        let period = match self {
            Self::Every(seconds) => seconds.max(1),
            Self::DailyAt(_) => DAY_SECONDS,
        };
        self.latest(now) + period
    }
}

/// What the export of a job for a time is called. Names of one job are in the order of their times.
pub(crate) fn export_name(job: &str, time: i64) -> String {
    format!("{job}-{}", clock::text(time).to_ascii_lowercase().replace([':', '-'], ""))
}

/// Whether an export is called as one of this job.
pub(crate) fn is_of_job(job: &str, name: &str) -> bool {
    let stamp = name.strip_prefix(job).and_then(|rest| rest.strip_prefix('-')).unwrap_or_default();
    let is_right = |(at, byte): (usize, u8)| match at {
        8 => byte == b't',
        15 => byte == b'z',
        _ => byte.is_ascii_digit(),
    };
    stamp.len() == STAMP_CHARACTERS && stamp.bytes().enumerate().all(is_right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::is_export_name;

    /// 2026-11-22T06:00:00Z.
    const SIX: i64 = 1_795_327_200;

    #[test]
    fn a_time_of_the_schedule_is_the_same_whoever_asks_when() {
        let hourly = Schedule::Every(3600);
        assert!((SIX..SIX + 3600).step_by(59).all(|now| hourly.latest(now) == SIX));
        assert_eq!((hourly.latest(SIX - 1), hourly.next(SIX)), (SIX - 3600, SIX + 3600));
        let daily = Schedule::daily("02:30").unwrap();
        let half_past_two = SIX - 3600 * 7 / 2;
        assert_eq!((daily.latest(SIX), daily.latest(half_past_two)), (half_past_two, half_past_two));
        assert_eq!(daily.latest(half_past_two - 1), half_past_two - DAY_SECONDS);
        assert_eq!(daily.next(half_past_two), half_past_two + DAY_SECONDS);
        for wrong in ["2:30", "24:00", "02:60", "02.30", "+2:30", ""] {
            assert_eq!(Schedule::daily(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_are_those_of_one_job_alone_and_in_the_order_of_their_times() {
        let name = export_name("usage", SIX);
        assert_eq!(name, "usage-20261122t060000z");
        assert!(is_export_name(&name) && is_of_job("usage", &name));
        assert!(export_name("usage", SIX + 1) > name);
        for other in [
            "usage",
            "usage-20261122t060000",
            "usage-20261122t060000zz",
            "usage-20261122-060000z",
            "other-20261122t060000z",
        ] {
            assert!(!is_of_job("usage", other), "{other}");
        }
        // a job whose name is another's with a time takes none of its exports
        let nested = export_name(&name, SIX);
        assert!(!is_of_job("usage", &nested) && is_of_job(&name, &nested));
    }
}
