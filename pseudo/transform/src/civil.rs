//! Dates and times of RFC 3339, and making them coarser. What comes out is in UTC where the value names its offset: the
//! offset would tell where someone is.

use std::io::Write;

use crate::{Clear, Kind, TransformError};

const WANTED: &str = "a date or time of RFC 3339";
const SECONDS_PER_DAY: i64 = 86_400;
/// 0001-01-01 and 9999-12-31, days from 1970-01-01: the years that four digits write.
const DAY_MIN: i64 = -719_162;
const DAY_MAX: i64 = 2_932_896;

/// How exact a time is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeUnit {
    /// `2026-11-22T13:45:10Z`
    Second,
    /// `2026-11-22T13:45:00Z`
    Minute,
    /// `2026-11-22T13:00:00Z`
    Hour,
    /// `2026-11-22`
    Day,
    /// `2026-11`
    Month,
    /// `2026-Q4`
    Quarter,
    /// `2026`
    Year,
}

/// A day, perhaps with a time of day. Fractions of a second are read and dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Days from 1970-01-01.
    days: i64,
    /// Seconds of the day, in UTC if `zoned`; `None` for a date.
    seconds: Option<i64>,
    zoned: bool,
}

impl TimeUnit {
    /// Appends the value, no more exact than this unit.
    pub fn apply(self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        match value {
            Clear::Null => Ok(Kind::Null),
            Clear::Text(text) => {
                Moment::parse(text)?.write(self, out);
                Ok(Kind::Text)
            }
            _ => Err(TransformError::Type { technique: "truncate" }),
        }
    }
}

impl Moment {
    /// Reads `2026-11-22`, `2026-11-22T13:45`, with seconds, with a fraction, with `Z` or an offset; a space for the `T` too.
    pub fn parse(text: &str) -> Result<Self, TransformError> {
        parse(text.as_bytes()).ok_or(TransformError::Form { wanted: WANTED })
    }

    /// The same time of day, so many days later.
    pub fn plus_days(self, days: i64) -> Result<Self, TransformError> {
        let days = self.days + days;
        if (DAY_MIN..=DAY_MAX).contains(&days) {
            return Ok(Self { days, ..self });
        }
        Err(TransformError::Form { wanted: WANTED })
    }

    /// Days from 1970-01-01.
    pub fn days(self) -> i64 {
        self.days
    }

    /// Appends it, no more exact than `unit`.
    pub fn write(self, unit: TimeUnit, out: &mut Vec<u8>) {
        let (year, month, day) = civil(self.days);
        // writing into memory does not fail
        let _ = match unit {
            TimeUnit::Year => write!(out, "{year:04}"),
            TimeUnit::Quarter => write!(out, "{year:04}-Q{}", (month + 2) / 3),
            TimeUnit::Month => write!(out, "{year:04}-{month:02}"),
            _ => write!(out, "{year:04}-{month:02}-{day:02}"),
        };
        let Some(seconds) = self.seconds else { return };
        let coarse = match unit {
            TimeUnit::Second => seconds,
            TimeUnit::Minute => seconds - seconds % 60,
            TimeUnit::Hour => seconds - seconds % 3600,
            _ => return,
        };
        let (hour, minute, second) = (coarse / 3600, coarse / 60 % 60, coarse % 60);
        let zone = if self.zoned { "Z" } else { "" };
        let _ = write!(out, "T{hour:02}:{minute:02}:{second:02}{zone}");
    }
}

fn parse(text: &[u8]) -> Option<Moment> {
    let (date, time) = text.split_at_checked(10)?;
    let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?);
    if date[4] != b'-' || date[7] != b'-' || !(1..=12).contains(&month) || year == 0 {
        return None;
    }
    if day == 0 || day > days_in(year, month) {
        return None;
    }
    let days = days_from_civil(year, month, day);
    let Some((b'T' | b't' | b' ', time)) = time.split_first() else {
        return time.is_empty().then_some(Moment { days, seconds: None, zoned: false });
    };
    let (seconds, rest) = time_of_day(time)?;
    let offset = match rest {
        [] => None,
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), hour @ .., b':', m1, m2] => {
            let (hours, minutes) = (number(hour)?, number(&[*m1, *m2])?);
            if hour.len() != 2 || hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            Some(if *sign == b'-' { -offset } else { offset })
        }
        _ => return None,
    };
    let total = days * SECONDS_PER_DAY + seconds - offset.unwrap_or(0);
    let days = total.div_euclid(SECONDS_PER_DAY);
    let within = (DAY_MIN..=DAY_MAX).contains(&days);
    let seconds = Some(total.rem_euclid(SECONDS_PER_DAY));
    within.then_some(Moment { days, seconds, zoned: offset.is_some() })
}

/// `13:45`, `13:45:10`, `13:45:10.123`: seconds of the day, and what follows. A leap second counts as the one before it.
fn time_of_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, minute) = (number(text.get(..2)?)?, number(text.get(3..5)?)?);
    if text[2] != b':' || hour > 23 || minute > 59 {
        return None;
    }
    let mut rest = &text[5..];
    let mut second = 0;
    if let Some(tail) = rest.strip_prefix(b":") {
        second = number(tail.get(..2)?)?.min(if tail.starts_with(b"60") { 59 } else { i64::MAX });
        rest = &tail[2..];
        if second > 59 {
            return None;
        }
        if let Some(fraction) = rest.strip_prefix(b".") {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return None;
            }
            rest = &fraction[digits..];
        }
    }
    Some((hour * 3600 + minute * 60 + second, rest))
}

fn number(digits: &[u8]) -> Option<i64> {
    let fold = |number, digit: &u8| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'));
    digits.iter().try_fold(0, fold)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01, proleptic Gregorian. Years begin in March here, so that the leap day is a year's last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The reverse of [`days_from_civil`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, unit: TimeUnit) -> String {
        let mut out = Vec::new();
        Moment::parse(text).unwrap().write(unit, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_day_of_all_years_is_itself_again() {
        let mut expected = (1, 1, 1);
        for days in DAY_MIN..=DAY_MAX {
            assert_eq!(civil(days), expected);
            let (year, month, day) = expected;
            assert_eq!(days_from_civil(year, month, day), days);
            expected = match (month, day == days_in(year, month)) {
                (12, true) => (year + 1, 1, 1),
                (_, true) => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
        assert_eq!(expected, (10_000, 1, 1));
    }

    #[test]
    fn each_unit_leaves_what_it_says() {
        let text = "2026-11-22T13:45:10.987+02:00";
        for (unit, expected) in [
            (TimeUnit::Second, "2026-11-22T11:45:10Z"),
            (TimeUnit::Minute, "2026-11-22T11:45:00Z"),
            (TimeUnit::Hour, "2026-11-22T11:00:00Z"),
            (TimeUnit::Day, "2026-11-22"),
            (TimeUnit::Month, "2026-11"),
            (TimeUnit::Quarter, "2026-Q4"),
            (TimeUnit::Year, "2026"),
        ] {
            assert_eq!(written(text, unit), expected);
        }
        assert_eq!(written("2024-02-29 23:59", TimeUnit::Hour), "2024-02-29T23:00:00");
        assert_eq!(written("2026-12-31T23:30:00-01:00", TimeUnit::Day), "2027-01-01");
        assert_eq!(written("2026-11-22", TimeUnit::Hour), "2026-11-22");
        assert_eq!(written("2016-12-31T23:59:60Z", TimeUnit::Second), "2016-12-31T23:59:59Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-01-00",
            "0000-01-01",
            "2026-1-1",
            "2026-01-01T",
            "2026-01-01T24:00",
            "2026-01-01T10:60",
            "2026-01-01T10:00:61",
            "2026-01-01T10:00:00.",
            "2026-01-01T10:00:00+2:00",
            "2026-01-01T10:00:00+24:00",
            "2026-01-01T10:00Zx",
            "2026-01-01x",
            "9999-12-31T23:00:00-02:00",
            "ä026-01-01",
            "2026-01-0ä",
        ] {
            assert!(Moment::parse(text).is_err(), "{text}");
        }
    }
}
