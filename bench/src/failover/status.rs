//! What `twinkeep status --json` says about groups, as far as a failover run needs it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::BenchError;
use crate::region::Binaries;

/// Longest wait until a region is whole after a node came back.
const WHOLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Pause between questions: each is a process and a TLS handshake.
const POLL: Duration = Duration::from_millis(150);

/// Leaders and terms of all groups at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    leaders: BTreeMap<u64, Option<u64>>,
    terms: BTreeMap<u64, u64>,
    missing_groups: u64,
}

impl Status {
    /// Asks the region.
    pub(super) fn read(binaries: &Binaries, data: &Path) -> Result<Self, BenchError> {
        let json = binaries.run(&["status", "--json"], data)?;
        Self::parse(&json).ok_or_else(|| BenchError::Process {
            program: "twinkeep status".to_owned(),
            detail: "its answer has no groups".to_owned(),
        })
    }

    fn parse(json: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(json).ok()?;
        let value = if value["groups"].is_array() { &value } else { &value["status"] };
        let mut status = Self::default();
        for group in value["groups"].as_array()? {
            let id = number(&group["id"])?;
            let leader = number(&group["leader"]);
            let lacks_copies = group["replicas"]
                .as_array()
                .is_some_and(|replicas| replicas.iter().any(|replica| replica["good"] == Value::Bool(false)));
            status.missing_groups += u64::from(leader.is_none() || lacks_copies);
            status.leaders.insert(id, leader);
            status.terms.insert(id, number(&group["term"]).unwrap_or(0));
        }
        Some(status)
    }

    /// Whether every group has a leader and all its replicas are good.
    fn is_whole(&self) -> bool {
        self.missing_groups == 0 && !self.leaders.is_empty()
    }

    /// Growth of all groups' terms since an earlier moment.
    pub(super) fn terms_since(&self, earlier: &Status) -> u64 {
        let growth = |(group, term): (&u64, &u64)| {
            earlier.terms.get(group).map_or(0, |before| term.saturating_sub(*before))
        };
        self.terms.iter().map(growth).sum()
    }

    /// The node that leads most groups, with their number.
    pub(super) fn busiest_leader(&self) -> Option<(u64, usize)> {
        let mut led: BTreeMap<u64, usize> = BTreeMap::new();
        for node in self.leaders.values().flatten() {
            *led.entry(*node).or_default() += 1;
        }
        led.into_iter().max_by_key(|(_, groups)| *groups)
    }
}

/// Waits until every group has a leader and all its replicas are good.
pub(super) async fn when_whole(binaries: &Binaries, data: &Path) -> Result<Status, BenchError> {
    let begin = Instant::now();
    loop {
        // A status that cannot be read yet is one that is not whole.
        let status = Status::read(binaries, data);
        match status {
            Ok(status) if status.is_whole() => return Ok(status),
            Err(error) if begin.elapsed() > WHOLE_TIMEOUT => return Err(error),
            Ok(_) if begin.elapsed() > WHOLE_TIMEOUT => {
                let what = "a whole region".to_owned();
                return Err(BenchError::Late { what, limit_s: WHOLE_TIMEOUT.as_secs() });
            }
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// A number, or a text that ends in one, such as `node-3`.
fn number(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let text = value.as_str()?;
    let digits = text.len() - text.bytes().rev().take_while(u8::is_ascii_digit).count();
    text[digits..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = r#"{"schema_version":1,"groups":[
        {"id":0,"leader":2,"term":3,"replicas":[{"node":1,"good":true}]},
        {"id":1,"leader":"node-2","term":5,"replicas":[{"node":1,"good":true}]},
        {"id":2,"leader":1,"term":1,"replicas":[]}]}"#;

    #[test]
    fn leaders_terms_and_health_are_read() {
        let status = Status::parse(STATUS).unwrap();
        assert_eq!(status.busiest_leader(), Some((2, 2)));
        assert!(status.is_whole());
        let later = Status::parse(&STATUS.replace("\"term\":5", "\"term\":7")).unwrap();
        assert_eq!(later.terms_since(&status), 2);
    }

    #[test]
    fn a_group_without_leader_or_with_a_bad_replica_is_not_whole() {
        for (from, to) in [("\"leader\":1", "\"leader\":null"), ("\"good\":true", "\"good\":false")] {
            assert!(!Status::parse(&STATUS.replace(from, to)).unwrap().is_whole(), "{to}");
        }
        assert!(!Status::parse(r#"{"groups":[]}"#).unwrap().is_whole());
        assert!(Status::parse("{}").is_none());
    }
}
