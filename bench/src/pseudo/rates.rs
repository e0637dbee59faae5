//! How many values a technique treats in a second of processor time, called the way the engine calls it.

use std::time::Duration;

use custody::{ClassName, DatasetName, DomainName, KeyVersion, MasterKey, Purpose, Scope};
use rustix::time::{ClockId, clock_gettime};
use transform::{Alphabet, Clear, DOMAIN_MIN, FormatPreserving, Place, RunSeed, Technique, Token, TokenForm};

/// Values that are treated over and over: as many as fit into the nearest caches, as a record's do.
const VALUES: u64 = 1_000;
/// Processor time that a rate is taken from, at least: thousands of times what reading the clock takes.
const TIME_MIN: Duration = Duration::from_millis(300);

/// So many values in so much processor time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Values treated.
    pub count: u64,
    /// Processor time of the thread.
    pub cpu_s: f64,
}

/// Tokens of e-mail addresses, as text.
pub fn tokens() -> Rate {
    let token = Token::new(&key(Purpose::Token), TokenForm::Text);
    let values = (0..VALUES).map(|number| format!("person.number.{number:06}@mail.example.org"));
    rate(&Technique::Token(Box::new(token)), &values.collect::<Vec<_>>())
}

/// Serial numbers of 16 digits, encrypted.
pub fn ff1() -> Rate {
    let digits = Alphabet::new("0-9").expect("ten digits are an alphabet");
    let ff1 = FormatPreserving::new(&key(Purpose::FormatPreserving), digits, b"device", DOMAIN_MIN);
    let ff1 = ff1.expect("sixteen digits are domain enough");
    let values = (0..VALUES).map(|number| format!("{:016}", number * 9_876_543_210_123));
    rate(&Technique::FormatPreserving(Box::new(ff1)), &values.collect::<Vec<_>>())
}

fn rate(technique: &Technique, values: &[String]) -> Rate {
    let (run, mut out, mut count) = (RunSeed([1; 16]), Vec::new(), 0);
    let begin = cpu_time();
    loop {
        out.clear();
        for (record, value) in (0..).zip(values) {
            let place = Place { run: &run, record, person: Clear::Null };
            let done = technique.apply(&Clear::Text(value), &place, &mut out);
            assert!(done.is_ok(), "these values are of the technique's form");
        }
        std::hint::black_box(&out);
        count += values.len() as u64;
        let spent = cpu_time().saturating_sub(begin);
        if spent >= TIME_MIN {
            return Rate { count, cpu_s: spent.as_secs_f64() };
        }
    }
}

/// Processor time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn key(purpose: Purpose) -> custody::FieldKey {
    let domain = DomainName::new("bench").expect("the name is right");
    let Ok(master) = MasterKey::generate(domain, KeyVersion::FIRST, |key| {
        key.fill(1);
        Ok::<(), std::convert::Infallible>(())
    });
    let class = ClassName::new("bench").expect("the name is right");
    let dataset = DatasetName::new("bench").expect("the name is right");
    master.field_key(purpose, &class, Scope::Domain, &dataset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_whole_rounds_over_enough_time() {
        for rate in [tokens(), ff1()] {
            assert!(rate.count > 0 && rate.count.is_multiple_of(VALUES));
            assert!(rate.cpu_s >= TIME_MIN.as_secs_f64());
        }
    }
}
