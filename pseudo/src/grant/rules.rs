//! Who may ask, agree and use a grant, and when. Pure: the time and the log are arguments.

use super::{Grant, Who};
use crate::journal::{Entry, Event};
use policy::Reidentify;

/// Requests of one person in an hour, refused ones too: more is trying out.
pub(crate) const REQUESTS_PER_HOUR_MAX: usize = 10;
/// Tokens that one person may ask about in a day.
pub(crate) const ROWS_PER_DAY_MAX: u64 = 500;
/// Tokens or people of one request, whatever a policy says: a person reads and agrees to them.
pub(crate) const ROWS_MAX: u64 = 1000;
/// Tokens of one request that are nobody's; with more of them it is guessing, and the grant is frozen.
pub(crate) const UNKNOWN_MAX: u64 = 3;
/// Wrong codes of one person within [`CODE_SECONDS`], after which none is taken.
pub(crate) const CODES_MAX: usize = 5;
/// For which wrong codes count, seconds.
pub(crate) const CODE_SECONDS: i64 = 900;
/// For which a person whose grant was frozen gets no other, seconds.
pub(crate) const FROZEN_SECONDS: i64 = 86_400;
/// For which a request waits to be agreed to, seconds.
pub(crate) const REQUEST_SECONDS: i64 = 7 * 86_400;
/// Longest window, whatever a policy says, seconds.
pub(crate) const WINDOW_SECONDS_MAX: u64 = 86_400;
/// Files of a grant that are looked at.
pub(crate) const APPROVALS_MAX: usize = 64;

/// What the log calls a wrong or used code.
pub(crate) const CODE: &str = "the code is wrong, out of its time, or was used before";
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// Why not, in a sentence; and what to do.
pub(crate) type Against = (String, &'static str);

/// Whether a person may ask about so many rows now.
pub(crate) fn may_request(
    log: &[Entry],
    who: &Who,
    terms: &Reidentify,
    reason: &str,
    rows: u64,
    now: i64,
) -> Result<(), Against> {
    not_frozen(log, who, now)?;
    let asked = |entry: &&Entry| {
        entry.who == who.name
            && entry.at > now - HOUR
            && (entry.event == Event::Requested || entry.said.action.as_deref() == Some("request"))
    };
    if log.iter().filter(asked).count() >= REQUESTS_PER_HOUR_MAX {
        return Err((
            format!("{} has asked {REQUESTS_PER_HOUR_MAX} times within an hour", who.name),
            "ask for everything that belongs together at once, later",
        ));
    }
    if !terms.reasons.iter().any(|known| known == reason) {
        return Err(("the policy does not know this reason".to_owned(), "its section reidentify lists them"));
    }
    let most = terms.max_rows.min(ROWS_MAX);
    if rows == 0 || rows > most {
        return Err((format!("{rows} rows are asked for, from 1 to {most} are allowed"), "ask for fewer"));
    }
    let day: u64 = log
        .iter()
        .filter(|entry| entry.who == who.name && entry.event == Event::Requested && entry.at > now - DAY)
        .filter_map(|entry| entry.said.rows)
        .sum();
    if day + rows > ROWS_PER_DAY_MAX {
        return Err((
            format!("{} would ask about more than {ROWS_PER_DAY_MAX} rows in a day", who.name),
            "ask again tomorrow",
        ));
    }
    Ok(())
}

/// Whether a code of this person is looked at at all, and the last step that they used.
pub(crate) fn may_show_code(log: &[Entry], who: &Who, now: i64) -> Result<Option<u64>, Against> {
    let wrong = |entry: &&Entry| {
        entry.who == who.name && entry.at > now - CODE_SECONDS && entry.said.problem.as_deref() == Some(CODE)
    };
    if log.iter().filter(wrong).count() >= CODES_MAX {
        let problem = format!("{} has shown {CODES_MAX} wrong codes within 15 minutes", who.name);
        return Err((problem, "wait; if it was somebody else, tell the holders of shares"));
    }
    Ok(log.iter().filter(|entry| entry.who == who.name).filter_map(|entry| entry.said.code_step).max())
}

/// Whether a person may agree to a request.
pub(crate) fn may_approve(log: &[Entry], grant: &Grant, who: &Who, now: i64) -> Result<(), Against> {
    let requester = &grant.requester;
    if requester.name == who.name || requester.key == who.key {
        return Err((
            format!("{} asked for this and cannot agree to it", who.name),
            "a second person has to",
        ));
    }
    if grant.approvals.iter().any(|(other, _)| other.name == who.name || other.key == who.key) {
        return Err((format!("{} has agreed already", who.name), ""));
    }
    if now > grant.request.at + REQUEST_SECONDS {
        return Err(("the request is older than seven days".to_owned(), "ask again"));
    }
    unused(log, grant)
}

/// Whether a person may use a grant now.
pub(crate) fn may_use(
    log: &[Entry],
    grant: &Grant,
    who: &Who,
    terms: &Reidentify,
    now: i64,
) -> Result<(), Against> {
    let requester = &grant.requester;
    if *requester != *who {
        return Err((format!("this grant is {}'s", requester.name), "who asked for it uses it"));
    }
    not_frozen(log, who, now)?;
    unused(log, grant)?;
    if !is_logged(log, grant, Event::Requested, &who.name) {
        return Err(("the log does not have this request".to_owned(), "ask again, with `request`"));
    }
    let mut others: Vec<&Who> = Vec::new();
    for (other, _) in &grant.approvals {
        let is_known =
            others.iter().chain([&who]).any(|known| known.name == other.name || known.key == other.key);
        // what is not in the log was signed without a second factor
        if !is_known && is_logged(log, grant, Event::Approved, &other.name) {
            others.push(other);
        }
    }
    let needed = terms.approvers.max(1) as usize;
    if others.len() < needed {
        return Err((
            format!("{} have agreed, {needed} are needed", others.len()),
            "`approve` is what they do",
        ));
    }
    let agreed = grant.approvals.iter().map(|(_, at)| *at).max().unwrap_or_default();
    let seconds = terms.window.about_seconds().min(WINDOW_SECONDS_MAX);
    let until = agreed.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
    if now < agreed || now > until {
        return Err(("the time in which this grant could be used is over".to_owned(), "ask again"));
    }
    Ok(())
}

/// Whether so many unknown tokens look like guessing.
pub(crate) fn is_guessing(unknown: u64) -> bool {
    unknown > UNKNOWN_MAX
}

fn is_logged(log: &[Entry], grant: &Grant, event: Event, who: &str) -> bool {
    log.iter().any(|entry| {
        entry.event == event
            && entry.who == who
            && entry.said.grant.as_deref() == Some(&*grant.request.grant)
            && entry.said.sha256.as_deref() == Some(&*grant.sha256)
    })
}

fn not_frozen(log: &[Entry], who: &Who, now: i64) -> Result<(), Against> {
    let frozen = |entry: &Entry| {
        entry.who == who.name && entry.event == Event::Frozen && entry.at > now - FROZEN_SECONDS
    };
    if log.iter().any(frozen) {
        let problem = format!("a grant of {} was frozen within the last day", who.name);
        return Err((problem, "whoever answers for the vault looks into the log first"));
    }
    Ok(())
}

fn unused(log: &[Entry], grant: &Grant) -> Result<(), Against> {
    let is = |event: Event| {
        let ours = move |entry: &&Entry| entry.said.grant.as_deref() == Some(&*grant.request.grant);
        log.iter().filter(ours).any(|entry| entry.event == event)
    };
    // an erasure that began is finished, whatever interrupted it
    let is_interrupted = is(Event::Erasing) && !is(Event::Erased);
    if is(Event::Used) && !is_interrupted {
        return Err(("this grant was used: each opens once".to_owned(), "ask again"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
