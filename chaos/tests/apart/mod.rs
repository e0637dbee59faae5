//! Regions that are far from each other.

use std::time::Duration;

use bench::pair::lengthen;
use bench::pair::link::Link;
use chaos::dev::Dev;
use tokio::runtime::{Builder, Runtime};

/// Between two regions of one continent.
const ROUND_TRIP: Duration = Duration::from_millis(60);

/// Puts the regions of a pair so far apart, for as long as what is given lives.
pub(crate) fn apart(dev: &mut Dev) -> (Runtime, Vec<Link>) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (data, mut links) = (dev.data().to_owned(), Vec::new());
    dev.restart_after(|| links = runtime.block_on(lengthen(&data, ROUND_TRIP / 2)).unwrap()).unwrap();
    (runtime, links)
}
