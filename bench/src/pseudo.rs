//! Speed of the pseudonymisation engine: the program `pseudo` over files, its techniques alone, and what others take for the same.
//!
//! Everything runs on one core. A program's figure is the CPU time of its process, start and end included, from the first byte read to the
//! output under its name; wall time stands beside it. Rounds are repeated, and bars are judged by the best one: on a machine that others use
//! too it is the one that was disturbed least.

pub mod findings;
pub mod peers;
pub mod policy;
pub mod program;
pub mod rates;
pub mod records;

use std::path::{Path, PathBuf};

use crate::error::BenchError;
use crate::scratch::Scratch;
use findings::{Cell, Findings, Round};
use policy::Format;
use program::{Keys, Program};
use records::QUASI;

/// The memory of the measurement that shows what happens when rows do not fit into it.
const RISK_MEMORY_SMALL: &str = "64MiB";
/// The memory that a measurement of risk gets otherwise: the program's own default.
const RISK_MEMORY: &str = "1GiB";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Records of the files that are pseudonymised.
    pub records: u64,
    /// Rows of the table whose risk is measured.
    pub rows: u64,
    /// Times that each cell is measured.
    pub rounds: u32,
    /// Where other programs are installed, and how many records they get; nothing when they are not asked for.
    pub peers: Option<peers::Plan>,
}

/// Measures everything; each cell is on standard error once it is done.
pub async fn measure(program: &Program, parent: Option<&Path>, plan: &Plan) -> Result<Findings, BenchError> {
    let scratch = Scratch::new(parent, "pseudo")?;
    scratch.check_space()?;
    let keys = program.make_keys(&scratch).await?;
    let run = Run { program, scratch: &scratch, keys: &keys, rounds: plan.rounds.max(1) };
    let mut findings = Findings::begin();
    for (name, rate) in [("prf tokens", rates::tokens as fn() -> rates::Rate), ("ff1, 16 digits", rates::ff1)]
    {
        let rounds = (0..run.rounds).map(|_| program.core().hold(rate)).collect::<Result<Vec<_>, _>>()?;
        findings.add(Cell::of_rates(name, &rounds));
    }
    let ndjson = run.file("jobs.ndjson", |path| records::write_jobs(path, Format::Ndjson, plan.records))?;
    let csv = run.file("jobs.csv", |path| records::write_jobs(path, Format::Csv, plan.records))?;
    let parquet = run.as_parquet(&ndjson).await?;
    for (name, format, source, shuffles) in [
        ("ndjson, 5 tokens", Format::Ndjson, &ndjson, false),
        ("ndjson, 5 tokens, keyed order", Format::Ndjson, &ndjson, true),
        ("csv, 5 tokens", Format::Csv, &csv, false),
        ("parquet, 5 tokens", Format::Parquet, &parquet, false),
    ] {
        findings.add(run.pseudonymise(name, format, source, plan.records, shuffles).await?);
    }
    for path in [ndjson, csv, parquet] {
        std::fs::remove_file(&path).map_err(BenchError::file("remove", path))?;
    }
    let people = run.file("people.csv", |path| records::write_people(path, plan.rows))?;
    for (name, memory) in
        [("risk, 6 quasi-identifiers", RISK_MEMORY), ("risk, 6 quasi-identifiers, 64 MiB", RISK_MEMORY_SMALL)]
    {
        findings.add(run.risk(name, &people, plan.rows, memory).await?);
    }
    std::fs::remove_file(&people).map_err(BenchError::file("remove", people))?;
    if let Some(peers) = &plan.peers {
        findings.peers = peers::measure(&run, peers).await?;
    }
    Ok(findings)
}

/// What all cells of one run share.
pub(crate) struct Run<'a> {
    pub(crate) program: &'a Program,
    pub(crate) scratch: &'a Scratch,
    pub(crate) keys: &'a Keys,
    pub(crate) rounds: u32,
}

impl Run<'_> {
    pub(crate) fn file(
        &self,
        name: &str,
        write: impl FnOnce(&Path) -> Result<(), BenchError>,
    ) -> Result<PathBuf, BenchError> {
        let path = self.scratch.path().join(name);
        write(&path)?;
        Ok(path)
    }

    /// The same records as Parquet: the program writes it, every field as it is.
    async fn as_parquet(&self, ndjson: &Path) -> Result<PathBuf, BenchError> {
        let policy = self.scratch.file("keep.toml", &policy::keep_all(Format::Ndjson, Format::Parquet))?;
        let path = self.scratch.path().join("jobs.parquet");
        self.program.run(&self.keys.arguments(&policy, ndjson, &path)).await?;
        Ok(path)
    }

    /// A file through `pseudo run`, once and then round by round: what was read first is in memory from then on.
    pub(crate) async fn pseudonymise(
        &self,
        name: &str,
        format: Format,
        source: &Path,
        records: u64,
        shuffles: bool,
    ) -> Result<Cell, BenchError> {
        let policy = self.scratch.file("policy.toml", &policy::five_tokens(format, shuffles))?;
        let output = self.scratch.path().join("output");
        let arguments = self.keys.arguments(&policy, source, &output);
        let mut rounds = Vec::new();
        for round in 0..=self.rounds {
            let spent = self.program.run(&arguments).await?;
            program::expect_count(&spent.output, "records_out", records)?;
            std::fs::remove_file(&output).map_err(BenchError::file("remove", &output))?;
            if round > 0 {
                rounds.push(Round::of(&spent));
            }
        }
        Ok(Cell::of_program(name, records, bytes_of(source)?, rounds))
    }

    /// What `pseudo risk` takes for a table.
    pub(crate) async fn risk(
        &self,
        name: &str,
        table: &Path,
        rows: u64,
        memory: &str,
    ) -> Result<Cell, BenchError> {
        let quasi = QUASI.join(",");
        let (table_text, temporary) = (program::text(table), program::text(self.scratch.path()));
        let arguments =
            ["risk", &table_text, "--quasi", &quasi, "--memory", memory, "--temporary", &temporary];
        let mut rounds = Vec::new();
        for _ in 0..self.rounds {
            let spent = self.program.run(&arguments.map(str::to_owned)).await?;
            program::expect_count(&spent.output, "records", rows)?;
            rounds.push(Round::of(&spent));
        }
        Ok(Cell::of_program(name, rows, bytes_of(table)?, rounds))
    }
}

fn bytes_of(path: &Path) -> Result<u64, BenchError> {
    Ok(std::fs::metadata(path).map_err(BenchError::file("look at", path))?.len())
}
