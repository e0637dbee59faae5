//! Regions that are far from each other.

use bench::pair::lengthen;
use bench::pair::link::{Link, Shape};
use chaos::dev::Dev;
use tokio::runtime::{Builder, Runtime};

/// Puts links before every node of both regions of a pair, for as long as what is given lives.
pub(crate) fn apart(dev: &mut Dev, shape: Shape) -> (Runtime, Vec<Link>) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (data, mut links) = (dev.data().to_owned(), Vec::new());
    dev.restart_after(|| links = runtime.block_on(lengthen(&data, shape)).unwrap()).unwrap();
    (runtime, links)
}
