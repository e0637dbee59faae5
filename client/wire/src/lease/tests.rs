//! Two regions, a witness and three clocks: nobody is promoted while another may still acknowledge.

use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// A clock that began somewhere and runs at `rate` percent of the true one.
#[derive(Clone, Copy)]
struct Clock {
    began: u64,
    rate: u64,
}

impl Clock {
    fn new(random: &mut Random, error_percent: u64) -> Self {
        let rate = 100 - error_percent + random.below(2 * error_percent + 1);
        Self { began: random.below(1_000_000), rate }
    }

    fn at(self, true_ms: u64) -> Duration {
        Duration::from_millis(self.began + true_ms * self.rate / 100)
    }
}

/// A stamp or a lease on its way.
enum Message {
    /// Question: the lease that comes with it.
    Ask(Option<u64>),
    /// Answer: the stamp.
    Answer(u64),
}

/// For how many true ms after the granter let go the holder still acknowledged, in one history of losses and delays.
fn overlap(seed: u64, error_percent: u64) -> u64 {
    let mut random = Random(seed);
    let (holder_clock, granter_clock) =
        (Clock::new(&mut random, error_percent), Clock::new(&mut random, error_percent));
    let mut holder = Holder::default();
    let mut granter = Granter::new(granter_clock.at(0));
    let mut on_way: Vec<(u64, Message)> = Vec::new();
    let cut = 2_000 + random.below(6_000);
    let mut released: Option<u64> = None;
    for now in 0..40_000 {
        let (arrived, rest): (Vec<_>, Vec<_>) = on_way.into_iter().partition(|(at, _)| *at <= now);
        on_way = rest;
        // late ones may come at any time, also after the granter let go
        let delay = |random: &mut Random| {
            now + 1 + if random.below(8) == 0 { random.below(9_000) } else { random.below(40) }
        };
        for (_, message) in arrived {
            match message {
                Message::Ask(lease) => {
                    if let Some(stamp) = lease {
                        holder.grant(stamp);
                    }
                    let stamp = random.next();
                    holder.issue(stamp, holder_clock.at(now));
                    if random.below(5) != 0 && (now < cut || random.below(4) == 0) {
                        on_way.push((delay(&mut random), Message::Answer(stamp)));
                    }
                }
                Message::Answer(stamp) if released.is_none() => granter.hear(stamp, granter_clock.at(now)),
                Message::Answer(_) => {}
            }
        }
        if released.is_none() && now % 500 == 0 {
            // before it asks: what it gives from here on it counts
            if now > cut && granter.is_over(granter_clock.at(now)) {
                released = Some(now);
            } else {
                on_way.push((delay(&mut random), Message::Ask(granter.grant())));
            }
        }
        if let Some(released) = released
            && !holder.holds(holder_clock.at(now))
            && now > released + 10_000
        {
            return 0;
        }
        if released.is_some_and(|released| now >= released) && holder.holds(holder_clock.at(now)) {
            return 1;
        }
    }
    0
}

#[test]
fn whatever_is_lost_or_late_nobody_holds_a_lease_once_its_granter_let_go() {
    let error = u64::from(CLOCK_RATE_ERROR_MAX_PERCENT);
    for seed in 0..3_000 {
        assert_eq!(overlap(seed, error), 0, "seed {seed}");
    }
}

#[test]
fn clocks_beyond_the_bound_are_what_the_wait_does_not_cover() {
    assert!((0..3_000).any(|seed| overlap(seed, 25) > 0), "the test above would see two reigns");
}

#[test]
fn a_lease_rests_on_the_last_stamp_alone_and_ends() {
    let ms = Duration::from_millis;
    let mut holder = Holder::default();
    assert!(!holder.holds(ms(0)), "one that just began holds nothing");
    holder.issue(7, ms(1_000));
    holder.grant(8);
    assert!(!holder.holds(ms(1_000)), "a stamp that never went out");
    holder.grant(7);
    assert!(holder.holds(ms(1_000) + TERM - ms(1)) && !holder.holds(ms(1_000) + TERM));
    holder.issue(9, ms(5_000));
    holder.grant(7);
    assert!(!holder.holds(ms(5_000)), "an older stamp");
}

#[test]
fn the_wait_covers_the_bound_on_clock_rates() {
    let error = CLOCK_RATE_ERROR_MAX_PERCENT;
    assert!(WAIT * (100 - error) > TERM * (100 + error));
}
