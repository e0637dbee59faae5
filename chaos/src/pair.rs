//! What tests of two regions share: how far they are apart, and waiting until that is as it should be.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::dev::Dev;
use crate::trouble::{Outcome, Trouble};

/// Longer than anything between two regions takes here, also where several pairs share two cores; only a failing test waits for it.
const LONG: Duration = Duration::from_secs(180);

/// What `twinkeep lag` says.
pub fn lag(dev: &Dev) -> Outcome<Value> {
    let said = dev.twinkeep(&["lag", "--json"])?;
    serde_json::from_str(&said).map_err(|error| Trouble::new(format!("`lag` said {said:?}: {error}")))
}

/// Waits until something holds; panics when it takes too long.
pub fn wait_for(what: &str, holds: impl FnMut() -> bool) {
    assert!(comes_true(holds), "{what} takes too long");
}

/// Waits until something holds, and says whether it came to that.
pub fn comes_true(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + LONG;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Waits until the standby has everything that was acknowledged before now.
pub fn wait_synced(dev: &Dev) -> Outcome<()> {
    let now = unix_millis();
    let mut asked = Ok(());
    wait_for("the standby", || match lag(dev) {
        Ok(lag) => lag["last_sync_time"].as_u64().is_some_and(|synced| synced >= now),
        Err(trouble) => {
            asked = Err(trouble);
            true
        }
    });
    asked
}

/// Whether a region that was the primary takes no more writes, in all of its groups.
pub fn is_fenced(dev: &Dev, region: &str) -> bool {
    let regions = lag(dev).ok().and_then(|lag| lag["regions"].as_array().cloned()).unwrap_or_default();
    let region = regions.into_iter().find(|found| found["region"] == region);
    let groups = region.and_then(|region| region["groups"].as_array().cloned()).unwrap_or_default();
    !groups.is_empty() && groups.iter().all(|group| group["role"] == "sealed")
}

/// Keys in the list of what a forced switch lost; panics unless the list is whole.
pub fn manifest(dev: &Dev) -> BTreeSet<String> {
    let said =
        dev.twinkeep(&["failover", "manifest", "--json"]).unwrap_or_else(|trouble| panic!("{trouble}"));
    let manifest: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(manifest["complete"], true, "{manifest}");
    let entries = manifest["entries"].as_array().into_iter().flatten();
    entries.filter_map(|entry| entry["key"].as_str().map(str::to_owned)).collect()
}

/// Milliseconds since 1970.
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
