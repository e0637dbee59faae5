//! Who gets a line in the record of refused peers, and when: pure, the time is passed in.
//!
//! A minute has room for so many lines, an address for few of each kind of reason, and half of the minute's room is kept for
//! those that had none in it yet: somebody who knocks without end keeps nobody else out. What finds no room is counted,
//! and the count is in the next line of that address and kind, which comes when the minute is over if it does not come before.
//! Places are kept for addresses with a line in this minute only, so there are never more of them than lines.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;
use tokio::time::Instant;
use wire::admin::RefusedPeerRecord;

/// How long a budget lasts.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Lines in a minute: whoever knocks from ever new addresses does not push out in an hour what was there before, and costs
/// a flush a second.
const LINES_MAX: u32 = 60;

/// Lines of those that had one already, out of these. Half: then as many newcomers find room.
const REPEATED_MAX: u32 = 30;

/// Lines of one address and kind. 4: enough to see that it goes on and under which certificates.
const LINES_OF_ONE_MAX: u32 = 4;

/// What is left of a minute's room.
#[derive(Default)]
pub(super) struct Room {
    began: Option<Instant>,
    lines: u32,
    repeated: u32,
    places: BTreeMap<(String, IpAddr), Place>,
    unwritten: u64,
}

/// One address and kind of reason.
#[derive(Default)]
struct Place {
    lines: u32,
    left_out: u64,
    /// The last one that found no room.
    latest: Option<RefusedPeerRecord>,
}

impl Room {
    /// What is to be written now that `record` came from `address`: it, if there is room, and before it what a minute that
    /// ended left over.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        address: IpAddr,
        record: RefusedPeerRecord,
    ) -> Vec<RefusedPeerRecord> {
        let mut lines = self.turn(now);
        self.began.get_or_insert(now);
        let key = (record.reason.clone(), network(address));
        let is_full = self.lines >= LINES_MAX;
        match self.places.get_mut(&key) {
            None if is_full => self.unwritten += 1,
            Some(place) if is_full || self.repeated >= REPEATED_MAX || place.lines >= LINES_OF_ONE_MAX => {
                place.left_out += 1;
                place.latest = Some(record);
                self.unwritten += 1;
            }
            known => {
                self.lines += 1;
                self.repeated += u32::from(known.is_some());
                let place = self.places.entry(key).or_default();
                place.lines += 1;
                let left_out = std::mem::take(&mut place.left_out);
                place.latest = None;
                lines.push(RefusedPeerRecord { left_out, ..record });
            }
        }
        lines
    }

    /// What is to be written if the minute is over: for each address and kind that was left out, the last of its records with the
    /// count of the others, those with the most first.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<RefusedPeerRecord> {
        match self.began {
            Some(began) if now.duration_since(began) >= MINUTE => self.settle(),
            _ => Vec::new(),
        }
    }

    /// The same whenever it is, and begins a minute anew.
    pub(super) fn settle(&mut self) -> Vec<RefusedPeerRecord> {
        let places = std::mem::take(&mut self.places);
        let mut owed: Vec<(u64, RefusedPeerRecord)> =
            places.into_values().filter_map(|place| Some((place.left_out, place.latest?))).collect();
        owed.sort_by_key(|(left_out, _)| std::cmp::Reverse(*left_out));
        owed.truncate(REPEATED_MAX as usize);
        let count = u32::try_from(owed.len()).unwrap_or(REPEATED_MAX);
        (self.began, self.lines, self.repeated) = (None, count, count);
        self.unwritten -= u64::from(count);
        owed.into_iter()
            .map(|(left_out, latest)| RefusedPeerRecord { left_out: left_out - 1, ..latest })
            .collect()
    }

    /// How many were left out since the process began.
    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten
    }
}

/// What one may take for a single host: an IPv4 address, or the network of 64 bits that an IPv6 host chooses its addresses from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::UnixMillis;
    use wire::admin::ConnectionOpener;

    fn record(reason: &str, number: u64) -> RefusedPeerRecord {
        RefusedPeerRecord {
            at: UnixMillis(number),
            opened_by: ConnectionOpener::Peer,
            address: "192.0.2.1:7600".into(),
            reason: reason.into(),
            detail: String::new(),
            certificate_sha256: None,
            claimed: None,
            times: 1,
            left_out: 0,
        }
    }

    fn host(number: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, number])
    }

    fn said(lines: &[RefusedPeerRecord]) -> Vec<(u64, u64)> {
        lines.iter().map(|line| (line.at.0, line.left_out)).collect()
    }

    #[test]
    fn a_flood_from_one_address_leaves_room_for_all_others_and_is_counted() {
        let (mut room, now) = (Room::default(), Instant::now());
        let mut of_flood = Vec::new();
        for number in 0..10_000 {
            of_flood.extend(room.admit(now, host(1), record("certificate", number)));
        }
        assert_eq!(said(&of_flood), [(0, 0), (1, 0), (2, 0), (3, 0)]);
        assert_eq!(room.unwritten(), 9_996);
        for other in 2..40 {
            assert_eq!(room.admit(now, host(other), record("certificate", 7)).len(), 1, "{other}");
        }
        // another kind from the same address is another place
        assert_eq!(room.admit(now, host(1), record("pair", 8)).len(), 1);
        // the minute is over: what was left out has a line, and then everything is as before
        assert_eq!(said(&room.turn(now + MINUTE - Duration::from_millis(1))), []);
        assert_eq!(said(&room.turn(now + MINUTE)), [(9_999, 9_995)]);
        assert_eq!(room.unwritten(), 9_995);
        assert_eq!(said(&room.admit(now + MINUTE, host(1), record("certificate", 1))), [(1, 0)]);
    }

    #[test]
    fn a_count_that_is_owed_comes_with_the_first_refusal_after_the_minute() {
        let (mut room, now) = (Room::default(), Instant::now());
        for number in 0..6 {
            room.admit(now, host(1), record("certificate", number));
        }
        let lines = room.admit(now + MINUTE, host(2), record("certificate", 9));
        assert_eq!(said(&lines), [(5, 1), (9, 0)]);
        assert_eq!(said(&room.settle()), []);
    }

    #[test]
    fn floods_from_many_addresses_take_half_of_the_room_and_memory_stays_bounded() {
        let (mut room, now) = (Room::default(), Instant::now());
        let mut written = 0;
        for number in 0..1_000_u64 {
            for one in 0..12 {
                written += room.admit(now, host(one), record("certificate", number)).len();
            }
        }
        assert_eq!(written, 12 + REPEATED_MAX as usize);
        for other in 100..=255 {
            written += room.admit(now, host(other), record("certificate", 1)).len();
        }
        assert_eq!((written, room.places.len()), (LINES_MAX as usize, 30));
        let owed = room.turn(now + MINUTE);
        assert_eq!(owed.len(), 12);
        assert!(owed.is_sorted_by_key(|line| std::cmp::Reverse(line.left_out)));
        assert_eq!(room.places.len(), 0);
    }

    #[test]
    fn a_host_with_a_network_of_its_own_is_one_host() {
        let mut room = Room::default();
        let now = Instant::now();
        let written = (0..100_u128).map(|number| {
            let address = Ipv6Addr::from_bits(0x2001_0db8 << 96 | number);
            room.admit(now, address.into(), record("certificate", 1)).len()
        });
        assert_eq!(written.sum::<usize>(), LINES_OF_ONE_MAX as usize);
        let other: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        assert_eq!(room.admit(now, other, record("certificate", 1)).len(), 1);
        assert_eq!(network("::ffff:192.0.2.9".parse().unwrap()), host(9));
    }
}
