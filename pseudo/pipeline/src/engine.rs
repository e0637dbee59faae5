//! A run: every record of every input, once.

use std::io::{self, Read, Write};

use custody::MasterKey;
use policy::{Format, OnBadRecord, OnUnknown, Policy};
use transform::{RareCounter, RareValues, TransformError};

use crate::array::{Broken, Elements};
use crate::csv::Rows;
use crate::encode::Encoder;
use crate::honey::Planting;
use crate::input::Input;
use crate::json::Scanner;
use crate::lines::{Lines, Piece};
use crate::packed::Unpacked;
use crate::parquet::input as parquet;
use crate::parts::{Files, Observe, One, Parts};
use crate::plan::{Plan, scanner, stopped};
use crate::row::Row;
use crate::shuffle::{Shuffle, Spill};
use crate::slots::Slots;
use crate::treat::{Bench, normalised};
use crate::{Fault, PipelineError, Position, Report};

/// Runs a plan.
pub struct Engine<'a> {
    plan: Plan<'a>,
    shuffle_memory_bytes: usize,
}

/// What was counted for rules that leave out rare values, by the place of their column.
#[derive(Clone, Default)]
pub struct Rare(pub(crate) Vec<Option<RareValues>>);

/// What each record is handed to: where it begins, and its text or what is wrong with it.
type Visit<'a> = dyn FnMut(&mut Slots, u64, Result<&str, Fault>) -> Result<(), PipelineError> + 'a;

impl<'a> Engine<'a> {
    /// An engine that keeps so many bytes of rows in memory to put them in order.
    pub fn new(plan: Plan<'a>, shuffle_memory_bytes: usize) -> Self {
        Self { plan, shuffle_memory_bytes }
    }

    /// Reads all inputs and writes one output. After an error the output is to be thrown away.
    pub fn run<'i, W: Write + Send>(
        &self,
        inputs: impl IntoIterator<Item = Input<'i>>,
        output: W,
        spill: &mut dyn Spill,
    ) -> Result<(Report, W), PipelineError> {
        let mut one = One { writer: Some(output) };
        let report = self.run_parts(inputs.into_iter().map(Ok), &mut one, spill, &mut |_| Ok(true))?;
        Ok((report, one.writer.expect("a part that was opened was closed")))
    }

    /// Reads all inputs, each opened when its turn comes, and writes parts; `observe` sees each treated record, and says whether it is
    /// written. After an error no part is worth anything.
    pub fn run_parts<'i, P: Parts>(
        &self,
        inputs: impl IntoIterator<Item = io::Result<Input<'i>>>,
        parts: &mut P,
        spill: &mut dyn Spill,
        observe: &mut Observe<'_>,
    ) -> Result<Report, PipelineError> {
        let policy = self.plan.policy;
        let encoder = Encoder::new(policy);
        let mut files = Files::new(parts, policy, &encoder)?;
        let mut shuffle = policy.target.shuffle.then(|| Shuffle::new(self.shuffle_memory_bytes, spill));
        let mut line = Vec::new();
        let mut patterns = self.plan.planting.as_ref().map(Planting::patterns);
        let mut report = self.each(inputs, &mut |number, row| {
            if !observe(&mut row.cells()).map_err(PipelineError::io("measuring"))? {
                return Ok(false);
            }
            if let Some(patterns) = &mut patterns {
                patterns.see(row, &self.plan.run);
            }
            match &mut shuffle {
                Some(shuffle) => {
                    line.clear();
                    encoder.encode(row, &mut line);
                    shuffle.add(self.plan.rank(number), &line)?;
                }
                None => files.row_of(row)?,
            }
            Ok(true)
        })?;
        if let (Some(patterns), Some(shuffle)) = (patterns, &mut shuffle) {
            patterns.plant(&self.plan, &mut report, &mut |number, row| {
                line.clear();
                encoder.encode(row, &mut line);
                shuffle.add(self.plan.rank(number), &line)
            })?;
        }
        if let Some(shuffle) = shuffle {
            report.spilled = shuffle.finish(&mut |row| files.row(row))?;
        }
        report.bytes_out = files.finish()?;
        Ok(report)
    }

    /// Reads all inputs and writes nothing; `observe` sees each treated record.
    pub fn look<'i>(
        &self,
        inputs: impl IntoIterator<Item = io::Result<Input<'i>>>,
        observe: &mut Observe<'_>,
    ) -> Result<Report, PipelineError> {
        self.each(inputs, &mut |_, row| observe(&mut row.cells()).map_err(PipelineError::io("measuring")))
    }

    /// Treats every record of all inputs; `take` gets its number and what became of it, and says whether it stays.
    fn each<'i>(
        &self,
        inputs: impl IntoIterator<Item = io::Result<Input<'i>>>,
        take: &mut dyn FnMut(u64, &Row) -> Result<bool, PipelineError>,
    ) -> Result<Report, PipelineError> {
        let (mut report, mut bench, mut row) = (Report::default(), Bench::default(), Row::default());
        let mut source = Source::new(self.plan.policy);
        for (input, reader) in (1..).zip(inputs) {
            let reader = reader.map_err(PipelineError::io("opening an input"))?;
            let mut record = 0;
            let mut bytes = 0;
            source.read(reader, input, &mut bytes, &mut |slots, offset, text| {
                record += 1;
                report.records_in += 1;
                let number = report.records_in;
                let treated = text
                    .and_then(|text| bench.treat(&self.plan, (slots, text), number, &mut row, &mut report));
                if let Err(fault) = treated {
                    let position = Position { input, record, offset, field: fault.field() };
                    return self.bad(fault, position, &mut report);
                }
                report.records_out += u64::from(take(number, &row)?);
                Ok(())
            })?;
            report.bytes_in += bytes;
        }
        report.unknown_fields_dropped = source.dropped();
        Ok(report)
    }

    fn bad(&self, fault: Fault, position: Position, report: &mut Report) -> Result<(), PipelineError> {
        let policy = self.plan.policy;
        report.note(fault.kind(), position);
        let is_ours = matches!(fault, Fault::Value { error: TransformError::Vault { .. }, .. });
        if is_ours || policy.on_bad_record == OnBadRecord::Stop {
            return Err(self.plan.stopped(fault, position));
        }
        report.records_dropped += 1;
        if report.records_dropped > policy.bad_records_max {
            return Err(PipelineError::TooManyBadRecords { most: policy.bad_records_max });
        }
        Ok(())
    }
}

/// The first pass that rules with `null-if-rare` need: counts their values in all inputs. Bad records are left to the second pass.
pub fn count_rare<'i>(
    policy: &Policy,
    master: &MasterKey,
    inputs: impl IntoIterator<Item = io::Result<Input<'i>>>,
) -> Result<Rare, PipelineError> {
    let technique = |path: String| move |source| PipelineError::Technique { path, source };
    let mut counters: Vec<Option<RareCounter>> = Vec::new();
    for rule in policy.columns() {
        counters.push(rule.counter(master, &policy.dataset).map_err(technique(rule.path.to_string()))?);
    }
    let fields: Vec<usize> =
        policy.columns().map(|rule| policy.field_at(&rule.path).expect("the policy checked it")).collect();
    let mut source = Source::new(policy);
    let (mut room, mut other) = (String::new(), String::new());
    for (input, reader) in (1..).zip(inputs) {
        let reader = reader.map_err(PipelineError::io("opening an input"))?;
        source.read(reader, input, &mut 0, &mut |slots, _, text| {
            let Ok(text) = text else { return Ok(()) };
            for ((rule, counter), field) in policy.columns().zip(&mut counters).zip(&fields) {
                let Some(counter) = counter else { continue };
                let Ok(value) =
                    normalised(&rule.normalisers, slots.value(*field, text), &mut room, &mut other)
                else {
                    continue;
                };
                counter.count(&value).map_err(technique(rule.path.to_string()))?;
            }
            Ok(())
        })?;
    }
    Ok(Rare(counters.into_iter().map(|counter| counter.map(RareCounter::finish)).collect()))
}

/// Reads inputs of the policy's format, record by record.
pub(crate) struct Source<'a> {
    policy: &'a Policy,
    scanner: Scanner,
    slots: Slots,
    dropped: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn new(policy: &'a Policy) -> Self {
        Self { policy, scanner: scanner(policy), slots: Slots::new(policy.fields.len()), dropped: 0 }
    }

    /// Fields without a rule that were left out so far.
    fn dropped(&self) -> u64 {
        self.dropped + self.scanner.dropped
    }

    pub(crate) fn read(
        &mut self,
        reader: Input<'_>,
        input: u32,
        bytes: &mut u64,
        visit: &mut Visit<'_>,
    ) -> Result<(), PipelineError> {
        if self.policy.source.format == Format::Parquet {
            let Some(file) = reader.random() else {
                let problem = "Parquet is read from a file, not from a stream".to_owned();
                return Err(PipelineError::Header { input, problem });
            };
            return self.parquet(parquet::Rows::new(file, self.policy, input)?, visit);
        }
        let reader =
            Unpacked::new(reader, self.policy.source.compression).map_err(PipelineError::io("reading"))?;
        match self.policy.source.format {
            Format::Ndjson => self.lines(Lines::new(reader), bytes, visit),
            Format::JsonArray => self.elements(Elements::new(reader), input, bytes, visit),
            Format::Csv => self.rows(Rows::new(reader, self.policy, input)?, bytes, visit),
            Format::Parquet => unreachable!("Parquet was read above"),
        }
    }

    fn lines<R: Read>(
        &mut self,
        mut lines: Lines<R>,
        bytes: &mut u64,
        visit: &mut Visit<'_>,
    ) -> Result<(), PipelineError> {
        while let Some(piece) = lines.next().map_err(PipelineError::io("reading"))? {
            let offset = lines.feed.offset();
            let text = match piece {
                Piece::TooLong => Err(Fault::RecordTooLong),
                Piece::Record(length) => self.scan(&lines.feed.window()[..length]),
            };
            visit(&mut self.slots, offset, text)?;
        }
        *bytes += lines.feed.offset();
        Ok(())
    }

    fn elements<R: Read>(
        &mut self,
        mut elements: Elements<R>,
        input: u32,
        bytes: &mut u64,
        visit: &mut Visit<'_>,
    ) -> Result<(), PipelineError> {
        let mut record = 0;
        loop {
            record += 1;
            let piece = match elements.next().map_err(PipelineError::io("reading"))? {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                // where the array is broken nobody knows what a record is: whatever the policy says, this is the end
                Err(Broken) => {
                    let position = Position { input, record, offset: elements.feed.offset(), field: None };
                    return Err(stopped(self.policy, Fault::Malformed, position));
                }
            };
            let offset = elements.feed.offset();
            let text = match piece {
                Piece::TooLong => Err(Fault::RecordTooLong),
                Piece::Record(length) => self.scan(&elements.feed.window()[..length]),
            };
            visit(&mut self.slots, offset, text)?;
        }
        *bytes += elements.feed.offset();
        Ok(())
    }

    fn rows<R: Read>(
        &mut self,
        mut rows: Rows<R>,
        bytes: &mut u64,
        visit: &mut Visit<'_>,
    ) -> Result<(), PipelineError> {
        let unknown = if self.policy.on_unknown == OnUnknown::Drop { rows.unknown() } else { 0 };
        loop {
            let before = rows.offset();
            let Some(row) = rows.next(&mut self.slots)? else { break };
            self.dropped += unknown;
            visit(&mut self.slots, before, row)?;
        }
        *bytes += rows.offset();
        Ok(())
    }

    fn parquet(&mut self, mut rows: parquet::Rows, visit: &mut Visit<'_>) -> Result<(), PipelineError> {
        let unknown = rows.unknown();
        while let Some(text) = rows.next(&mut self.slots)? {
            self.dropped += unknown;
            visit(&mut self.slots, 0, text)?;
        }
        Ok(())
    }

    fn scan<'b>(&mut self, record: &'b [u8]) -> Result<&'b str, Fault> {
        let text = std::str::from_utf8(record).map_err(|_| Fault::NotUtf8)?;
        self.scanner.scan(text, &mut self.slots)?;
        Ok(text)
    }
}
