//! The thread that works: jobs one after another, then what is to be deleted, then it waits for the next time.

use super::job::{Job, Tools};
use super::opening::Opened;
use super::schedule::Schedule;
use super::state::Shared;
use crate::keys::KeyFolder;
use crate::retention::{self, Due};
use crate::s3::{Place, S3};
use crate::{PseudoError, clock};
use std::time::Duration;
use tracing::{info, warn};

/// The clock is looked at as often at least: it may be set.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long after a pass of retention that failed the next one begins, seconds.
const RETENTION_AGAIN_SECONDS: i64 = 600;

/// Works until the service is to end.
pub(crate) fn run(shared: &Shared) -> Result<(), PseudoError> {
    let connection = shared.config.connection.clone();
    let credentials = connection.who()?;
    let s3 = S3::new(connection, credentials)?;
    let mut jobs: Vec<Job<'_>> =
        shared.config.jobs.iter().enumerate().map(|(number, job)| Job::new(number, job)).collect();
    let mut retention_due = 0;
    while !shared.is_ending() {
        let Some(opened) = shared.opened() else {
            shared.wait(LOOK_EVERY);
            continue;
        };
        let tools = Tools { s3: &s3, opened: &opened, shared };
        for job in &mut jobs {
            if job.is_due(clock::now()) && !shared.is_ending() {
                job.attempt(&tools);
            }
        }
        if let Some(schedule) = shared.config.retention
            && schedule.has_come(retention_due, clock::now(), RETENTION_AGAIN_SECONDS)
            && !shared.is_ending()
        {
            retention_due = delete(shared, &s3, &opened, schedule);
        }
        let mut next = jobs.iter().map(|job| job.due).min().unwrap_or(i64::MAX);
        if shared.config.retention.is_some() {
            next = next.min(retention_due);
        }
        let seconds = u64::try_from(next.saturating_sub(clock::now())).unwrap_or_default();
        shared.wait(Duration::from_secs(seconds).min(LOOK_EVERY));
    }
    Ok(())
}

/// One pass over all drafts of all jobs; when the next one is due.
fn delete(shared: &Shared, s3: &S3, opened: &Opened, schedule: Schedule) -> i64 {
    let mut places: Vec<&Place> = Vec::new();
    for job in &shared.config.jobs {
        if !places.contains(&&job.drafts) {
            places.push(&job.drafts);
        }
    }
    let (mut failed, mut last) = (0, None);
    let mut fail = |error: &PseudoError| {
        failed += 1;
        let why = error.chain();
        warn!(error = why, "exports whose day has come could not be deleted");
        last = Some(why);
    };
    for place in places {
        let public = opened.service.public();
        // a record says what was decided, so it has to be known whose word counts
        let trust = KeyFolder::open(&shared.config.keys).and_then(|folder| folder.trust(public));
        let due = trust.and_then(|trust| Ok((retention::due(s3, place, public, clock::now())?, trust)));
        let (due, trust) = match due {
            Ok(due) => due,
            Err(error) => {
                fail(&error);
                continue;
            }
        };
        for Due { name, state } in due {
            if shared.is_ending() {
                return 0;
            }
            match state.and_then(|_| retention::delete(s3, place, &name, None, &opened.service, &trust)) {
                Ok(deletion) => {
                    info!(export = name, delete_on = deletion.terms.delete_on, "an export is deleted");
                    shared.note_deleted(|deleted| deleted.exports += 1);
                }
                Err(error) => fail(&error),
            }
        }
    }
    let now = clock::now();
    shared.note_deleted(|deleted| {
        deleted.failed += failed;
        deleted.failing = last;
        if deleted.failing.is_none() {
            deleted.well = Some(now);
        }
    });
    let next = schedule.next(now);
    if failed == 0 { next } else { next.min(now + RETENTION_AGAIN_SECONDS) }
}
