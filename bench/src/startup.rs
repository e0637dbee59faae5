//! How long a region takes from the command to its first answered PUT, and how long `twinkeep check` takes.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;

use crate::error::BenchError;
use crate::region::{Binaries, EXIT_DEGRADED, EXIT_FAILED, start_in};
use crate::scratch::{Scratch, free_ports};
use crate::statistics::median;
use crate::table::{Table, figure};

/// The bar for a first PUT and for a check, in seconds (`docs/performance.md`, section "Bars").
const LIMIT_S: f64 = 2.0;
/// Ports of a region, as in a benchmark run.
const PORTS: u16 = 50;

/// What is timed, in the order of a [`Round`].
const PARTS: [&str; 3] = ["first PUT, new folder", "first PUT, second start", "check"];

/// Times of one round in seconds, one for each of [`PARTS`].
type Round = [f64; PARTS.len()];

/// Measures so many new regions; returns a table, and whether all bars hold.
pub async fn measure(
    binaries: &Binaries,
    parent: Option<&Path>,
    rounds: u32,
) -> Result<(String, bool), BenchError> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        times.push(round(binaries, &Scratch::new(parent, "start-up")?).await?);
    }
    let mut table = Table::new(&["from command to answer", "median s", "longest s", "limit s", "holds"]);
    let mut all_hold = true;
    for (part, name) in PARTS.into_iter().enumerate() {
        let values: Vec<f64> = times.iter().map(|round| round[part]).collect();
        let longest = values.iter().copied().fold(0.0, f64::max);
        let holds = longest <= LIMIT_S;
        all_hold &= holds;
        table.row(vec![
            name.to_owned(),
            figure(median(&values).unwrap_or(0.0)),
            figure(longest),
            figure(LIMIT_S),
            if holds { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    Ok((table.render(), all_hold))
}

async fn round(binaries: &Binaries, scratch: &Scratch) -> Result<Round, BenchError> {
    let data = scratch.folder("region")?;
    let port_base = free_ports(PORTS)?;
    let first = first_put(binaries, &data, port_base, false).await?;
    let second = first_put(binaries, &data, port_base, true).await?;
    Ok([first.0, second.0, second.1])
}

/// Seconds to the first PUT, and seconds that a check then takes when one is wanted.
async fn first_put(
    binaries: &Binaries,
    data: &Path,
    port_base: u16,
    with_check: bool,
) -> Result<(f64, f64), BenchError> {
    let begin = Instant::now();
    let (target, _process) = start_in(binaries, data, port_base)?;
    target.make_bucket().await?;
    target.put_once("first", Bytes::from_static(b"first")).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let begin = Instant::now();
    if with_check {
        // Asked this early it may find groups that are not whole yet; only its time is of interest here.
        binaries.run_accepting(&["check", "--json"], data, &[0, EXIT_FAILED, EXIT_DEGRADED])?;
    }
    Ok((seconds, begin.elapsed().as_secs_f64()))
}
