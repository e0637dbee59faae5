//! Keeps background work to a rate.

use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Rests shorter than this are saved up: timers are not finer.
const REST_MIN: Duration = Duration::from_millis(5);

/// Bytes that may pass per second.
pub(crate) struct Pace {
    /// Up to when the bytes that passed are paid for.
    paid: Instant,
}

impl Pace {
    /// Begins now.
    pub(crate) fn new() -> Self {
        Self { paid: Instant::now() }
    }

    /// Rests for as long as `bytes` take at a rate; not at all without one.
    pub(crate) async fn pass(&mut self, bytes: u64, bytes_per_second: Option<u64>) {
        let now = Instant::now();
        let Some(rate) = bytes_per_second else {
            self.paid = now;
            return;
        };
        let micros = bytes.saturating_mul(1_000_000) / rate.max(1);
        // time that was not used is not saved up
        self.paid = self.paid.max(now) + Duration::from_micros(micros);
        if self.paid - now >= REST_MIN {
            sleep_until(self.paid).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_takes_as_long_as_its_rate_says() {
        let began = Instant::now();
        let mut pace = Pace::new();
        for _ in 0..10 {
            pace.pass(1_000, Some(100_000)).await;
        }
        assert!(began.elapsed() >= Duration::from_millis(90));
        pace.pass(1 << 40, None).await;
    }
}
