//! The demo data: what a print service keeps of its jobs. Made by code from a fixed seed, the same each time, of people who
//! do not exist, at addresses that RFC 2606 and RFC 5737 set aside.

use std::fmt::Write;

/// Records in all.
pub(super) const RECORDS: usize = 3000;
/// Objects that they are in.
const OBJECTS: usize = 3;
/// Days that they are spread over, from the second of March on.
const DAYS: u64 = 20;
/// Devices at each site.
const DEVICES: u64 = 6;

const FIRST: [&str; 12] = [
    "Alwin", "Brida", "Corvin", "Dessa", "Elvar", "Fenja", "Gisbert", "Hedda", "Ivo", "Jorun", "Kaspian",
    "Linnea",
];
const LAST: [&str; 5] = ["Ambrecht", "Birkholt", "Coldwater", "Dunmore", "Eschenfeld"];
const DEPARTMENTS: [&str; 5] = ["accounting", "design", "legal", "research", "sales"];
/// Sites with their networks, which are for documentation.
const SITES: [(&str, &str); 4] =
    [("harbour", "192.0.2"), ("mill", "198.51.100"), ("north", "203.0.113"), ("annex", "192.0.2")];
const DOCUMENTS: [&str; 6] = ["Contract", "Invoice", "Minutes", "Payslip", "Plan", "Report"];
const HOSTS: [&str; 3] = ["example.com", "example.net", "example.org"];

/// Names and bodies of all objects.
pub(super) fn objects() -> Vec<(String, String)> {
    let mut draws = Draws(0x7072_696e_7465_7273);
    let each = RECORDS / OBJECTS;
    let object = |number: usize| {
        let body = (number * each..(number + 1) * each).map(|record| draws.record(record)).collect();
        (format!("part-{number}.ndjson"), body)
    };
    (0..OBJECTS).map(object).collect()
}

/// SplitMix64: even enough for a demo, and no dependency.
struct Draws(u64);

impl Draws {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// One job as a line of JSON. A person has a department and a site, and each site has people of every department.
    fn record(&mut self, number: usize) -> String {
        let person = self.below((FIRST.len() * LAST.len()) as u64) as usize;
        let (first, last) = (FIRST[person % FIRST.len()], LAST[person / FIRST.len()]);
        let host = HOSTS[person % HOSTS.len()];
        let mail = format!("{first}.{last}@{host}").to_ascii_lowercase();
        let department = DEPARTMENTS[person % DEPARTMENTS.len()];
        let place = person / DEPARTMENTS.len() % SITES.len();
        let (site, network) = SITES[place];
        let device = place as u64 * DEVICES + self.below(DEVICES);
        let (document, copy) = (self.one_of(&DOCUMENTS), self.below(900));
        let (pages, is_colour) = (1 + self.below(60), self.below(4) == 0);
        let (day, hour) = (2 + self.below(DAYS), 7 + self.below(12));
        let (minute, second) = (self.below(60), self.below(60));
        let mut line = String::new();
        let _ = write!(
            line,
            "{{\"job\":\"J-{number:06}\",\"user\":{{\"email\":\"{mail}\",\"name\":\"{first} {last}\"}}"
        );
        let _ = write!(line, ",\"department\":\"{department}\"");
        let _ = write!(
            line,
            ",\"document\":{{\"title\":\"{document} {copy} of {first} {last}\",\"pages\":{pages},\"colour\":{is_colour}}}"
        );
        let _ = write!(line, ",\"device\":{{\"serial\":\"PR-{device:04}\",\"site\":\"{site}\"}}");
        let _ = write!(line, ",\"client\":{{\"ip\":\"{network}.{}\"}}", 10 + person);
        let _ = writeln!(line, ",\"submitted_at\":\"2026-03-{day:02}T{hour:02}:{minute:02}:{second:02}Z\"}}");
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeMap;

    #[test]
    fn the_data_are_the_same_each_time_and_of_nobody() {
        let made = objects();
        assert_eq!(made, objects());
        let lines: Vec<Value> = made
            .iter()
            .flat_map(|(_, body)| body.lines())
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), RECORDS);
        for line in &lines {
            let mail = line["user"]["email"].as_str().unwrap();
            assert!(HOSTS.iter().any(|host| mail.ends_with(&format!("@{host}"))), "{mail}");
        }
        // so that the policy's gate lets them pass: enough people and departments for each day at each site
        let mut classes: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
        for line in &lines {
            let day = line["submitted_at"].as_str().unwrap()[..10].to_owned();
            let site = line["device"]["site"].as_str().unwrap().to_owned();
            classes.entry((day, site)).or_default().push(line["department"].as_str().unwrap());
        }
        for (class, mut departments) in classes {
            assert!(departments.len() >= 10, "{class:?}");
            departments.sort_unstable();
            departments.dedup();
            assert!(departments.len() >= 3, "{class:?}");
        }
    }
}
