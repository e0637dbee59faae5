//! The times of one run of a drill or a reconciliation: read from the system once and counted on from there, so that none goes back while it is set.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use wire::UnixMillis;

/// The clock of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
    began_at: UnixMillis,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { began: Instant::now(), began_at: system_now() }
    }

    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis(self.began_at.0.saturating_add(millis(self.began.elapsed())))
    }
}

/// The system's clock.
pub(crate) fn system_now() -> UnixMillis {
    UnixMillis(millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

/// `2026-11-22T10:49:46.123Z`, as reports have it.
pub fn utc(at: UnixMillis) -> String {
    let [year, month, day, hour, minute, second] = civil(at);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", at.0 % 1000)
}

/// The time in `2026-11-22T10:49:46Z` or `2026-11-22T10:49:46.123Z` (RFC 3339 in UTC); `None` when it is not one.
pub(crate) fn parse_utc(text: &str) -> Option<UnixMillis> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "000"));
    let number = |text: &str| text.parse::<u64>().ok();
    let [year, month, day] = <[&str; 3]>::try_from(date.splitn(3, '-').collect::<Vec<_>>()).ok()?;
    let [hour, minute, second] = <[&str; 3]>::try_from(time.splitn(3, ':').collect::<Vec<_>>()).ok()?;
    let (year, month, day) = (number(year)?, number(month)?, number(day)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // the other way round than in `civil`
    let (march_year, march_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let days = march_year * 365 + march_year / 4 - march_year / 100 + march_year / 400 + day_of_year;
    let seconds = (days - 719_468) * 86_400 + number(hour)?.min(99) * 3_600 + number(minute)?.min(99) * 60;
    let at = UnixMillis((seconds + number(second)?.min(99)) * 1000 + number(fraction)?.min(999));
    // a day that the month has not, 25 o'clock, a digit too few
    (utc(at) == format!("{date}T{time}.{fraction}Z")).then_some(at)
}

/// `20261122T104946Z`, as signatures and the names of folders have it.
pub(crate) fn utc_compact(at: UnixMillis) -> String {
    let [year, month, day, hour, minute, second] = civil(at);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn civil(at: UnixMillis) -> [u64; 6] {
    let seconds = at.0 / 1000;
    // years that begin in March have their leap day last; 719,468 days lie between the first of them and 1970
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    [year, month, day, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60]
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_dates_of_the_calendar() {
        assert_eq!(utc(UnixMillis(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(UnixMillis(951_782_400_007)), "2000-02-29T00:00:00.007Z");
        for at in [0, 951_782_400_007, 951_868_799_999, 1_795_293_965_999, 4_107_542_399_000] {
            assert_eq!(parse_utc(&utc(UnixMillis(at))), Some(UnixMillis(at)));
        }
        assert_eq!(parse_utc("2026-11-21T20:46:05Z"), Some(UnixMillis(1_795_293_965_000)));
        for wrong in [
            "",
            "2026-11-21",
            "2026-11-21T20:46:05",
            "2026-11-21T20:46Z",
            "2026-02-29T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T20:46:05.1Z",
            "2026-11-21T20:46:05+01:00",
            "1969-12-31T23:59:59Z",
            "99999-01-01T00:00:00Z",
            "2026-1-21T20:46:05Z",
            "2026-11-21T99999999999999999999:00:00Z",
        ] {
            assert_eq!(parse_utc(wrong), None, "{wrong}");
        }
        assert_eq!(utc_compact(UnixMillis(1_795_293_965_999)), "20261121T204605Z");
    }
}
