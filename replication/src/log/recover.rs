//! Opening what a stopped, killed or unplugged node left behind.
//!
//! Finds the newest segment that was begun, settles its tail, and replays from its floor. Nothing that was acknowledged
//! is ever cut: what is bad before the last known sync is reported as rot, and the groups it may have hit are marked.

use super::{
    error::LogError,
    group::GroupCore,
    header::{SegmentHeader, VERSION, file_name, parse_file_name},
    replay::Replay,
    report::{Finding, FindingKind, GroupRecovery, Recovery, findings_of},
    scan::{Scanned, Scanner, is_zero},
    spare::Spare,
    tail::{Judged, Tail},
    types::{LogOptions, SegmentId},
    writer::{Active, PROLOGUE_BYTES_MAX},
};
use crate::disk::{BLOCK_BYTES, DiskFile};
use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::Arc,
    time::Instant,
};
use wire::GroupId;

/// What the log goes on from.
pub(super) struct Recovered {
    pub(super) cores: Vec<(GroupId, GroupCore)>,
    pub(super) active: Option<Active>,
    pub(super) spares: VecDeque<Spare>,
    pub(super) known: Vec<SegmentId>,
    pub(super) next_segment: SegmentId,
    pub(super) next_sequence: u64,
    pub(super) recovery: Recovery,
}

/// Reads the log in `options.disk`. Blocks.
pub(super) fn recover(options: &LogOptions) -> Result<Recovered, LogError> {
    let started = Instant::now();
    let mut recoverer = Recoverer { options, files: BTreeMap::new(), recovery: Recovery::default() };
    let (spares, next_segment) = recoverer.inspect()?;
    let mut replay = Replay::default();
    let mut active = None;
    let newest = recoverer.newest()?;
    let mut next_sequence = newest.synced + 1;
    if let Some((segment, tail)) = newest.tail {
        let before = tail.before();
        let judged = tail.judge();
        recoverer.replay_before(segment, &mut replay)?;
        let last = recoverer.replay_tail(segment, before, &judged, &mut replay);
        if last < newest.synced {
            recoverer.miss_end(segment, &judged, newest.synced - last, &mut replay);
        }
        next_sequence = next_sequence.max(last + 1);
        active = recoverer.settle(segment, &judged)?;
    }
    let mut recovery = recoverer.recovery;
    let mut cores = Vec::new();
    for rebuilt in replay.finish() {
        let (group, state) = (rebuilt.group, rebuilt.core.state());
        recovery.groups.push(GroupRecovery { group, state, rotten: rebuilt.rotten });
        cores.push((group, rebuilt.core));
    }
    let known: Vec<_> = recoverer.files.into_keys().collect();
    recovery.segments = known.len();
    recovery.elapsed = started.elapsed();
    tell(&recovery);
    Ok(Recovered { cores, active, spares, known, next_segment, next_sequence, recovery })
}

struct Recoverer<'a> {
    options: &'a LogOptions,
    /// Segments that were begun, with their headers if those are intact.
    files: BTreeMap<SegmentId, Option<SegmentHeader>>,
    recovery: Recovery,
}

struct Newest {
    tail: Option<(SegmentId, Tail)>,
    /// Everything up to here is known to be synced.
    synced: u64,
}

impl Recoverer<'_> {
    /// Looks at every file's beginning. Gives the spares and the number of the next segment.
    fn inspect(&mut self) -> Result<(VecDeque<Spare>, SegmentId), LogError> {
        let names = self.options.disk.list().map_err(|source| self.io("listing segments", source))?;
        let mut segments: Vec<_> = names.iter().filter_map(|name| parse_file_name(name)).collect();
        segments.sort_unstable();
        let next = SegmentId(segments.last().map_or(1, |last| last.0 + 1));
        let mut blank = Vec::new();
        for segment in segments {
            let file = self.open(segment)?;
            match self.look(segment, &*file)? {
                Look::Blank => blank.push(segment),
                Look::Header(header) => drop(self.files.insert(segment, Some(header))),
                Look::Other => drop(self.files.insert(segment, None)),
            }
        }
        let newest = self.files.keys().next_back().copied();
        let mut spares = VecDeque::new();
        for segment in blank {
            let length = self.open(segment)?.length();
            let length = length.map_err(|source| self.io("asking for a segment's size", source))?;
            if Some(segment) > newest && length == self.options.segment_bytes {
                let file = self.options.disk.open(&file_name(segment));
                let file = file.map_err(|source| self.io("opening a spare segment", source))?;
                spares.push_back(Spare { segment, file });
            } else {
                self.remove(segment)?;
            }
        }
        Ok((spares, next))
    }

    fn look(&self, segment: SegmentId, file: &dyn DiskFile) -> Result<Look, LogError> {
        let read = |source| self.io("reading a segment's header", source);
        let length = file.length().map_err(read)?;
        let mut block = vec![0; (BLOCK_BYTES as u64).min(length) as usize];
        file.read_at(&mut block, 0).map_err(read)?;
        if let Ok(header) = SegmentHeader::decode(&block) {
            self.check_identity(segment, &header)?;
            return Ok(if header.segment == segment { Look::Header(header) } else { Look::Other });
        }
        if !is_zero(&block) {
            return Ok(Look::Other);
        }
        // a spare, unless the header alone is missing of a first write that was torn
        let mut prologue = vec![0; ((BLOCK_BYTES + PROLOGUE_BYTES_MAX) as u64).min(length) as usize];
        file.read_at(&mut prologue, 0).map_err(read)?;
        Ok(if is_zero(&prologue) { Look::Blank } else { Look::Other })
    }

    fn check_identity(&self, segment: SegmentId, header: &SegmentHeader) -> Result<(), LogError> {
        if header.version != VERSION {
            let found = u64::from(header.version);
            return Err(LogError::Unsupported { what: "segment version", found });
        }
        let foreign = |what| Err(LogError::Foreign { segment, what });
        if header.deployment != self.options.deployment {
            return foreign("deployment");
        }
        if header.node != self.options.node {
            return foreign("node");
        }
        if header.incarnation != self.options.incarnation {
            return foreign("incarnation");
        }
        Ok(())
    }

    /// The newest segment that was begun; later ones are removed.
    fn newest(&mut self) -> Result<Newest, LogError> {
        let mut synced = 0;
        while let Some((segment, header)) = self.files.last_key_value().map(|(id, header)| (*id, *header)) {
            let file = self.open(segment)?;
            let scan = file
                // what the cache has may never have reached the device
                .forget(0, self.options.segment_bytes)
                .and_then(|()| Tail::scan(Arc::clone(&file), segment, header.as_ref(), synced));
            let tail = scan.map_err(|source| self.io("reading the newest segment", source))?;
            synced = tail.synced();
            if tail.begun(header.as_ref()) {
                return Ok(Newest { tail: Some((segment, tail)), synced });
            }
            self.recovery.findings.push(Finding::at(FindingKind::TornSegment, segment, 0));
            self.files.remove(&segment);
            self.remove(segment)?;
        }
        Ok(Newest { tail: None, synced })
    }

    /// Replays the segments from the floor up to the newest one, without it.
    fn replay_before(&mut self, newest: SegmentId, replay: &mut Replay) -> Result<(), LogError> {
        let floor = self.files.values().rev().flatten().next().map_or(SegmentId(0), |header| header.floor);
        let range: Vec<_> = self.files.range(floor.min(newest)..newest).map(|(id, h)| (*id, *h)).collect();
        let mut last_sequence = 0;
        for (segment, header) in range {
            if header.is_none() {
                self.recovery.findings.push(Finding::at(FindingKind::RottenHeader, segment, 0));
            }
            replay.begin_segment(header.map(|header| header.prologue_records));
            let follows = self.files.contains_key(&SegmentId(segment.0.wrapping_sub(1)));
            let before = if follows { last_sequence } else { 0 };
            last_sequence = self.replay_sealed(segment, header.as_ref(), before, replay)?;
            self.recovery.segments_replayed += 1;
            let next = self.files.get(&SegmentId(segment.0 + 1)).copied().flatten();
            let lost = next.map_or(0, |next| next.first_sequence.saturating_sub(last_sequence + 1));
            if lost > 0 {
                let finding = Finding::at(FindingKind::LostRecords, segment, self.options.segment_bytes);
                self.recovery.findings.push(Finding { records_lost: lost, ..finding });
            }
        }
        Ok(())
    }

    /// Gives the sequence of its last record. `before` is that of the segment before it, 0 when that is not there.
    fn replay_sealed(
        &mut self,
        segment: SegmentId,
        header: Option<&SegmentHeader>,
        before: u64,
        replay: &mut Replay,
    ) -> Result<u64, LogError> {
        let file = self.open(segment)?;
        // without a header its records are read as they were when it was the newest: whatever comes before them
        let (expected_from, before) = match header {
            Some(header) => (header.first_sequence.saturating_sub(1), 0),
            None => (0, before),
        };
        let scanner = Scanner::new(file, segment, expected_from, self.options.verify_all);
        let mut scanner = scanner.map_err(|source| self.io("reading a segment", source))?;
        loop {
            let last = scanner.last_sequence().max(before);
            let next = scanner.next().map_err(|source| self.io("reading a segment", source))?;
            let Some(scanned) = next else { return Ok(last) };
            self.recovery.findings.extend(findings_of(segment, last, &scanned));
            if let Scanned::Record(record) = &scanned {
                self.recovery.records += 1;
                // a checkpoint that cannot be used is restated by the next segment
                replay.apply(record);
            }
        }
    }

    /// Replays the newest segment. Gives the sequence of its last record.
    fn replay_tail(&mut self, segment: SegmentId, before: u64, judged: &Judged, replay: &mut Replay) -> u64 {
        let mut last = before;
        let mut lost = false;
        let header = self.files.get(&segment).copied().flatten();
        if header.is_none() {
            self.recovery.findings.push(Finding::at(FindingKind::RottenHeader, segment, 0));
        }
        replay.begin_segment(header.map(|header| header.prologue_records));
        for item in &judged.kept {
            self.recovery.findings.extend(findings_of(segment, last, item));
            let Scanned::Record(record) = item else { continue };
            // without its header nobody knows whether the first records are missing, unless they begin behind it
            let first_unknown = last == 0 && record.header.sequence > 1 && record.offset > BLOCK_BYTES as u64;
            lost |= first_unknown || (last > 0 && record.header.sequence > last + 1);
            last = record.header.sequence;
            self.recovery.records += 1;
            if !replay.apply(record) {
                replay.doubt(record.header.group);
            }
        }
        if lost {
            replay.doubt_all();
        }
        self.recovery.segments_replayed += 1;
        last
    }

    /// Records at the end that are known to have been synced are not there.
    fn miss_end(&mut self, segment: SegmentId, judged: &Judged, records_lost: u64, replay: &mut Replay) {
        let finding = Finding::at(FindingKind::LostRecords, segment, judged.end);
        self.recovery.findings.push(Finding { records_lost, ..finding });
        replay.doubt_all();
    }

    /// Makes the newest segment's tail durable and ready to be written on.
    fn settle(&mut self, segment: SegmentId, judged: &Judged) -> Result<Option<Active>, LogError> {
        let settled = self.options.disk.open(&file_name(segment)).and_then(|file| {
            let torn_bytes = judged.settle(&*file)?;
            let length = file.length()?;
            Ok((file, torn_bytes, length))
        });
        let (file, torn_bytes, length) =
            settled.map_err(|source| self.io("settling the end of the log", source))?;
        if let Some(cut) = judged.cut.filter(|_| torn_bytes > 0) {
            self.recovery.findings.push(Finding::at(FindingKind::TornTail, segment, cut));
        }
        let intact = self.files.get(&segment).copied().flatten().is_some();
        let offset = judged.end.next_multiple_of(BLOCK_BYTES as u64);
        // one with a rotten header is not written on: the next one restates everything
        let usable = intact && length == self.options.segment_bytes;
        Ok(usable.then_some(Active { segment, file, offset }))
    }

    fn open(&self, segment: SegmentId) -> Result<Arc<dyn DiskFile>, LogError> {
        let opened = self.options.disk.open_to_read(&file_name(segment));
        opened.map_err(|source| self.io("opening a segment", source))
    }

    fn remove(&self, segment: SegmentId) -> Result<(), LogError> {
        let removed = self.options.disk.remove(&file_name(segment));
        removed.map_err(|source| self.io("removing a segment that was never begun", source))
    }

    fn io(&self, operation: &'static str, source: io::Error) -> LogError {
        LogError::Io { operation, path: self.options.disk.path(), source: Arc::new(source) }
    }
}

enum Look {
    Blank,
    Header(SegmentHeader),
    Other,
}

fn tell(recovery: &Recovery) {
    for finding in &recovery.findings {
        tracing::warn!(?finding, "log recovery");
    }
    tracing::info!(
        segments = recovery.segments,
        replayed = recovery.segments_replayed,
        records = recovery.records,
        groups = recovery.groups.len(),
        elapsed_ms = recovery.elapsed.as_millis(),
        "log opened"
    );
}
