//! The lost changes of buckets: one that only the old primary has is made again, with the versioning that it has there.

use super::keys::{Outcome, State, entry};
use super::objects::{self, Clients};
use super::plan::Choice;
use super::report::{Action, Entry};
use crate::s3::{Refusal, S3};
use wire::admin::LostWrite;

/// The lost changes of one bucket.
pub(super) struct Bucket<'a> {
    pub(super) name: &'a str,
    /// Their places in the list, in order.
    pub(super) entries: Vec<(usize, &'a LostWrite, Choice)>,
    /// How often the new primary changed it since the switch.
    pub(super) changed: usize,
}

/// Judges a bucket, and changes it unless nothing shall be; gives what became of each of its entries.
pub(super) fn act(clients: &mut Clients, bucket: &Bucket<'_>, changes: bool) -> Vec<Outcome> {
    let is_wanted = bucket.entries.iter().any(|(_, _, choice)| *choice == Choice::Keep);
    let outcome = if is_wanted {
        judge(clients, bucket).and_then(|(action, why, step)| {
            if let Some(status) = step.as_ref().filter(|_| changes) {
                change(&mut clients.to, bucket.name, action, status)?;
            }
            let state = match (step.is_some(), changes) {
                (false, _) => State::Quiet,
                (true, false) => State::Pending,
                (true, true) => State::Changed,
            };
            Ok((action, why, state))
        })
    } else {
        Ok((Action::GivenUp, "given up by decision", State::Quiet))
    };
    let each = bucket.entries.iter().enumerate().map(|(place, (at, write, _))| {
        let (entry, state) = match &outcome {
            Err(refusal) => {
                let failed = entry(write, Action::Failed, "the bucket could not be asked for or changed");
                (Entry { error: Some(refusal.reason.clone()), ..failed }, State::Pending)
            }
            Ok((action, why, state)) if place == 0 => (entry(write, *action, why), *state),
            Ok(_) => (entry(write, Action::Superseded, "with the first change of this bucket"), State::Quiet),
        };
        Outcome { at: *at, entry, state }
    });
    each.collect()
}

/// What is to be done, and the versioning that the bucket shall have.
fn judge(
    clients: &mut Clients,
    bucket: &Bucket<'_>,
) -> Result<(Action, &'static str, Option<String>), Refusal> {
    let from = objects::versioning(&mut clients.from, bucket.name)?;
    let to = objects::versioning(&mut clients.to, bucket.name)?;
    Ok(match (from, to) {
        (Some(from), None) if bucket.changed == 0 => {
            (Action::BucketCreated, "the new primary never had it", Some(from))
        }
        (Some(_), None) => (Action::ByHand, "it was removed in the new primary since", None),
        (None, Some(_)) => {
            (Action::ByHand, "it was removed in the old primary: remove it if it shall go", None)
        }
        (None, None) => (Action::AlreadyThere, "neither region has it any more", None),
        (Some(from), Some(to)) if from == to => {
            (Action::AlreadyThere, "it has the same versioning in both regions", None)
        }
        // it was made there since, and nothing else: perhaps by a run that was ended then
        (Some(from), Some(to)) if bucket.changed == 0 || (to.is_empty() && bucket.changed == 1) => {
            (Action::BucketChanged, "nobody changed its versioning since", Some(from))
        }
        _ => (Action::ByHand, "its versioning was changed in the new primary since", None),
    })
}

fn change(to: &mut S3, name: &str, action: Action, status: &str) -> Result<(), Refusal> {
    if action == Action::BucketCreated {
        to.create_bucket(name)?;
    }
    if status.is_empty() { Ok(()) } else { objects::set_versioning(to, name, status) }
}
