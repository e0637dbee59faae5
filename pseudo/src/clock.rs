//! What time it is, and what time it will be after a period.

use chrono::{DateTime, Months, TimeDelta, Timelike as _, Utc};
use policy::Period;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    #[cfg(test)]
    if let Some(now) = made_up::get() {
        return now;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The time as RFC 3339 writes it, in UTC.
pub(crate) fn text(seconds: i64) -> String {
    let moment: DateTime<Utc> = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let (date, time) = (moment.date_naive(), moment.time());
    format!("{date}T{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
}

/// The day of a time, in UTC.
pub(crate) fn day_of(seconds: i64) -> String {
    text(seconds).split('T').next().unwrap_or_default().to_owned()
}

/// The day on which a period that begins now ends.
pub(crate) fn day_after(seconds: i64, period: Period) -> String {
    let begin: DateTime<Utc> = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let rest = TimeDelta::seconds(i64::try_from(period.seconds).unwrap_or(0));
    let end =
        begin.checked_add_months(Months::new(period.months)).and_then(|end| end.checked_add_signed(rest));
    end.unwrap_or(DateTime::<Utc>::MAX_UTC).date_naive().to_string()
}

/// A day as it is written here; `None` for anything else.
pub(crate) fn day(text: &str) -> Option<String> {
    let day: chrono::NaiveDate = text.parse().ok()?;
    (day.to_string() == text && text.len() == 10).then(|| text.to_owned())
}

/// A test's own time.
#[cfg(test)]
pub(crate) mod made_up {
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<Option<i64>> = const { Cell::new(None) };
    }

    /// Stops the clock of this thread at a time.
    pub(crate) fn set(now: i64) {
        NOW.set(Some(now));
    }

    pub(super) fn get() -> Option<i64> {
        NOW.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_periods_are_those_of_the_calendar() {
        assert_eq!(text(1_795_327_200), "2026-11-22T06:00:00Z");
        let day_of = |period| day_after(1_795_327_200, Period::parse(period).unwrap());
        assert_eq!((day_of("P24M").as_str(), day_of("P10D").as_str()), ("2028-11-22", "2026-12-02"));
        assert_eq!(day("2026-11-22"), Some("2026-11-22".to_owned()));
        assert!(day("2026-11-31").is_none() && day("2026-1-1").is_none() && day("soon").is_none());
    }
}
