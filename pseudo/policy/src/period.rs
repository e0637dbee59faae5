//! Lengths of time as ISO 8601 writes them: `P24M`, `P3Y6M`, `P90D`, `PT4H`.

/// Months and seconds; days count as seconds. What a month is long depends on when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Whole months.
    pub months: u32,
    /// Seconds beside them.
    pub seconds: u64,
}

const SECONDS_PER_DAY: u64 = 86_400;
/// A hundred years of twelve months of 30 days: nobody plans further.
const DAYS_MAX: u64 = 36_000;

impl Period {
    /// Reads a period above zero and below a hundred years.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text
            .strip_prefix('P')?
            .split_once('T')
            .map_or((text.get(1..)?, None), |(date, time)| (date, Some(time)));
        let (years, months, weeks, days) = match units(date, "YMWD")?[..] {
            [years, months, weeks, days] => (years, months, weeks, days),
            _ => return None,
        };
        let time = match time {
            Some("") => return None,
            Some(time) => units(time, "HMS")?,
            None => vec![0; 3],
        };
        let seconds = (weeks * 7 + days) * SECONDS_PER_DAY + time[0] * 3600 + time[1] * 60 + time[2];
        let months = u32::try_from(years * 12 + months).ok()?;
        let period = Self { months, seconds };
        (1..=DAYS_MAX * SECONDS_PER_DAY).contains(&period.about_seconds()).then_some(period)
    }

    /// About how long it is; a month counts as 30 days.
    pub fn about_seconds(self) -> u64 {
        u64::from(self.months) * 30 * SECONDS_PER_DAY + self.seconds
    }
}

/// Numbers with their letters, in the order of the letters, each once at most.
fn units(text: &str, letters: &str) -> Option<Vec<u64>> {
    let mut found = vec![0; letters.len()];
    let (mut rest, mut next) = (text, 0);
    while !rest.is_empty() {
        let end = rest.find(|digit: char| !digit.is_ascii_digit())?;
        let (number, tail) = rest.split_at(end);
        let at = letters.find(tail.chars().next()?).filter(|at| *at >= next)?;
        // six digits are far beyond the limit of any unit but seconds, which nobody counts that high
        found[at] = number.parse().ok().filter(|_| number.len() <= 6)?;
        next = at + 1;
        rest = &tail[1..];
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read() {
        for (text, months, seconds) in [
            ("P24M", 24, 0),
            ("P3Y6M", 42, 0),
            ("P90D", 0, 90 * 86_400),
            ("PT4H", 0, 14_400),
            ("P1DT1M", 0, 86_460),
        ] {
            assert_eq!(Period::parse(text), Some(Period { months, seconds }), "{text}");
        }
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "24M",
            "P0D",
            "P-1D",
            "P1M1Y",
            "P1D1D",
            "P1.5Y",
            "P101Y",
            "P9999999D",
            "P1H",
            "PT1D",
            "Pä",
        ] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }
}
