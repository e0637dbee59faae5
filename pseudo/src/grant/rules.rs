//! Who may ask, agree and use a grant, and when. Pure: the time and the log are arguments.

use super::{Action, Grant, Who};
use crate::journal::{Entry, Event};
use policy::Reidentify;

/// Requests of one person in an hour, refused ones too: more is trying out.
pub(crate) const REQUESTS_PER_HOUR_MAX: usize = 10;
/// Tokens that one person may ask about in a day.
pub(crate) const ROWS_PER_DAY_MAX: u64 = 500;
/// Tokens or people of one request, whatever a policy says: a person reads and agrees to them.
pub(crate) const ROWS_MAX: u64 = 1000;
/// Tokens of one request that are nobody's, beside those of people whom an export made up; with more of them it is guessing, and the grant
/// is frozen.
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

/// What the log calls a wrong or used code.
pub(crate) const CODE: &str = "the code is wrong, out of its time, or was used before";
const USED: &str = "this grant was used: each opens once";
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
    if grant.approvals.iter().any(|other| other.name == who.name || other.key == who.key) {
        return Err((format!("{} has agreed already", who.name), ""));
    }
    if now > grant.request.at + REQUEST_SECONDS {
        return Err(("the request is older than seven days".to_owned(), "ask again"));
    }
    unused(log, grant)
}

/// Who agreed to a grant, with a second factor, and since when that is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// Their names, in order.
    pub(crate) names: Vec<String>,
    /// How the erasure began that this finishes: it was interrupted, and has happened.
    pub(crate) settled: Option<Entry>,
}

/// Whether a person may use a grant now.
pub(crate) fn may_use(
    log: &[Entry],
    grant: &Grant,
    who: &Who,
    terms: &Reidentify,
    now: i64,
) -> Result<Agreed, Against> {
    let requester = &grant.requester;
    let settled = interrupted(log, &grant.request.grant).filter(|begun| has_happened(log, begun)).cloned();
    // what has happened is certified also when the key of who asked is lost: by them with another one, or by who agreed
    let has_agreed = || logged(log, grant, Event::Approved, &who.name).is_some();
    let may_finish = settled.is_some() && (requester.name == who.name || has_agreed());
    if *requester != *who && !may_finish {
        return Err((format!("this grant is {}'s", requester.name), "who asked for it uses it"));
    }
    unused(log, grant)?;
    if logged(log, grant, Event::Requested, &requester.name).is_none() {
        return Err(("the log does not have this request".to_owned(), "ask again, with `request`"));
    }
    let mut others: Vec<(&Who, i64)> = Vec::new();
    for other in &grant.approvals {
        let known = others.iter().map(|(known, _)| *known).chain([requester]);
        let is_known = known.into_iter().any(|known| known.name == other.name || known.key == other.key);
        // what is not in the log was signed without a second factor; and when it was, is for the log to say
        let at = logged(log, grant, Event::Approved, &other.name);
        others.extend(at.filter(|_| !is_known).map(|at| (other, at)));
    }
    let mut names: Vec<String> = others.iter().map(|(other, _)| other.name.clone()).collect();
    names.sort_unstable();
    // an erasure that has happened was allowed to: it is finished whatever has changed since. One that was dropped has erased nobody and
    // lends its grant nothing: what was agreed to is agreed to for as long as that of any other grant
    if settled.is_some() {
        return Ok(Agreed { names, settled });
    }
    not_frozen(log, who, now)?;
    let needed = terms.approvers.max(1) as usize;
    others.sort_by_key(|(_, at)| *at);
    // counted from when enough had agreed: one more who agrees later does not lengthen it
    let Some((_, agreed)) = others.get(needed - 1) else {
        return Err((
            format!("{} have agreed, {needed} are needed", others.len()),
            "`approve` is what they do",
        ));
    };
    let seconds = terms.window.about_seconds().min(WINDOW_SECONDS_MAX);
    let until = agreed.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
    if now < *agreed {
        return Err(("this clock is behind the log".to_owned(), "set it right"));
    }
    if now > until {
        return Err(("the time in which this grant could be used is over".to_owned(), "ask again"));
    }
    Ok(Agreed { names, settled: None })
}

/// Why a grant opens nothing any more, by the log.
pub(crate) fn ended(log: &[Entry], grant: &str) -> Option<&'static str> {
    let mut ours = log.iter().rev().filter(|entry| entry.said.grant.as_deref() == Some(grant));
    ours.find_map(|entry| match entry.event {
        Event::Frozen => Some("this grant was frozen"),
        Event::Identified | Event::Reported | Event::Erased => Some(USED),
        // an erasure is over when it is done: to find who is to be erased is not yet to erase them
        Event::Used if entry.said.action.as_deref() != Some(Action::Erase.name()) => Some(USED),
        _ => None,
    })
}

/// Whether nobody can use a grant any more, so that nothing of it has to be kept.
pub(crate) fn is_over(log: &[Entry], grant: &str, now: i64) -> bool {
    let is_asked =
        |entry: &&Entry| entry.event == Event::Requested && entry.said.grant.as_deref() == Some(grant);
    let most = REQUEST_SECONDS + i64::try_from(WINDOW_SECONDS_MAX).unwrap_or(i64::MAX / 2);
    let is_late = log.iter().find(is_asked).is_none_or(|entry| now > entry.at.saturating_add(most));
    let is_begun = interrupted(log, grant).is_some_and(|begun| outcome(log, begun) != Some(Event::Dropped));
    ended(log, grant).is_some() || (is_late && !is_begun)
}

/// The last entry that says that the erasure of a grant begins, if none says that it is done.
pub(crate) fn interrupted<'a>(log: &'a [Entry], grant: &str) -> Option<&'a Entry> {
    let ours = log.iter().rev().filter(|entry| entry.said.grant.as_deref() == Some(grant));
    let mut ours = ours.filter(|entry| matches!(entry.event, Event::Erasing | Event::Erased));
    ours.next().filter(|entry| entry.event == Event::Erasing)
}

/// Whether an erasure that was interrupted has happened: whoever opened the vault next found its table in a place.
pub(crate) fn has_happened(log: &[Entry], begun: &Entry) -> bool {
    outcome(log, begun) == Some(Event::Settled)
}

/// What the log says next of how an erasure ended.
fn outcome(log: &[Entry], begun: &Entry) -> Option<Event> {
    let is_outcome = |entry: &&Entry| {
        entry.number > begun.number && matches!(entry.event, Event::Settled | Event::Dropped | Event::Erased)
    };
    log.iter().find(is_outcome).map(|entry| entry.event)
}

/// Whether so many unknown tokens look like guessing, of which so many may be of people whom an export made up.
pub(crate) fn is_guessing(unknown: u64, made_up: u64) -> bool {
    unknown > UNKNOWN_MAX + made_up
}

/// When the log last has this of the grant and the person.
fn logged(log: &[Entry], grant: &Grant, event: Event, who: &str) -> Option<i64> {
    let is = |entry: &&Entry| {
        entry.event == event
            && entry.who == who
            && entry.said.grant.as_deref() == Some(&*grant.request.grant)
            && entry.said.sha256.as_deref() == Some(&*grant.sha256)
    };
    log.iter().rev().find(is).map(|entry| entry.at)
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
    ended(log, &grant.request.grant).map_or(Ok(()), |problem| Err((problem.to_owned(), "ask again")))
}

#[cfg(test)]
mod tests;
