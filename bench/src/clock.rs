//! Wall-clock time as the two texts that S3 and reports need. Leaves measuring to `std::time::Instant`.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    unix_s: i64,
}

impl Moment {
    /// The moment that many seconds after 1970.
    pub fn from_unix(unix_s: i64) -> Self {
        Self { unix_s }
    }

    /// Now, by the host's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        Self { unix_s: i64::try_from(since).unwrap_or(i64::MAX) }
    }

    /// `20130524T000000Z`, the form in which S3 signs it.
    pub fn compact(self) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// `2013-05-24T00:00:00Z`, for people.
    pub fn readable(self) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time();
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }

    fn time(self) -> (i64, i64, i64) {
        let second_of_day = self.unix_s.rem_euclid(86_400);
        (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60)
    }

    /// Gregorian date, counted in years that begin on 1 March so that the leap day comes last.
    fn date(self) -> (i64, i64, i64) {
        let days = self.unix_s.div_euclid(86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        (year, month, day)
    }
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn dates_around_leap_days_are_right() {
        for (unix_s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_369_353_600, "2013-05-24T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Moment::from_unix(unix_s).readable(), text);
        }
    }

    #[test]
    fn the_signed_form_has_no_separators() {
        assert_eq!(Moment::from_unix(1_369_353_600).compact(), "20130524T000000Z");
    }
}
