//! Who may ask, agree and use: each rule by itself, with a clock and a log that are made up.

use super::*;
use crate::grant::{Action, Request};
use crate::journal::Said;
use custody::PublicKey;
use policy::Period;

const NOW: i64 = 1_795_327_200;

fn terms() -> Reidentify {
    Reidentify {
        approvers: 1,
        second_factor: true,
        reasons: vec!["security-incident".to_owned()],
        window: Period::parse("PT4H").unwrap(),
        max_rows: 50,
    }
}

fn who(name: &str, key: u8) -> Who {
    Who { name: name.to_owned(), key: PublicKey([key; 32]) }
}

fn entry(who: &str, event: Event, at: i64, said: Said) -> Entry {
    Entry {
        version: 1,
        number: 1,
        at,
        time: String::new(),
        previous: String::new(),
        vault: String::new(),
        event,
        who: who.to_owned(),
        said,
    }
}

fn of_grant(who: &str, event: Event) -> Entry {
    let said = Said { grant: Some("g".to_owned()), sha256: Some("s".to_owned()), ..Said::default() };
    entry(who, event, NOW, said)
}

/// A grant that ada asked for and these people agreed to.
fn grant(approvals: &[(&str, u8)]) -> Grant {
    let request = Request {
        version: 1,
        grant: "g".to_owned(),
        vault: String::new(),
        action: Action::Reidentify,
        at: NOW,
        requester: String::new(),
        policy: String::new(),
        policy_sha256: String::new(),
        purpose: String::new(),
        reason: String::new(),
        ticket: String::new(),
        tokens: Vec::new(),
        people: Vec::new(),
        nonce: String::new(),
    };
    let approvals = approvals.iter().map(|(name, key)| who(name, *key)).collect();
    Grant { request, sha256: "s".to_owned(), requester: who("ada", 1), approvals }
}

fn uses(log: &[Entry], grant: &Grant, now: i64) -> Result<(), String> {
    may_use(log, grant, &who("ada", 1), &terms(), now).map(|_| ()).map_err(|(problem, _)| problem)
}

#[test]
fn a_grant_opens_within_its_window_alone() {
    let log = [of_grant("ada", Event::Requested), of_grant("grace", Event::Approved)];
    let grant = grant(&[("grace", 2)]);
    for (now, may) in [(NOW - 1, false), (NOW, true), (NOW + 4 * 3600, true), (NOW + 4 * 3600 + 1, false)] {
        assert_eq!(uses(&log, &grant, now).is_ok(), may, "{now}");
    }
    let long = Reidentify { window: Period::parse("P1Y").unwrap(), ..terms() };
    let (day, ada) = (i64::try_from(WINDOW_SECONDS_MAX).unwrap(), who("ada", 1));
    assert!(may_use(&log, &grant, &ada, &long, NOW + day).is_ok());
    assert!(may_use(&log, &grant, &ada, &long, NOW + day + 1).is_err(), "no policy allows more than a day");
}

#[test]
fn when_and_who_agreed_is_what_the_log_says_of_those_who_count() {
    let agreed = |who: &str, at| Entry { at, ..of_grant(who, Event::Approved) };
    let hours = |hours: i64| NOW + hours * HOUR;
    // grace agreed at once; kurt's file lies there and the log has it not; ada's own is nobody's
    let log = [of_grant("ada", Event::Requested), agreed("grace", NOW), agreed("ada", hours(3))];
    let three = grant(&[("grace", 2), ("kurt", 3), ("ada", 1)]);
    let may = |log: &[Entry], terms: &Reidentify, now| may_use(log, &three, &who("ada", 1), terms, now);
    assert_eq!(may(&log, &terms(), hours(4)).unwrap().names, ["grace"]);
    assert!(may(&log, &terms(), hours(4) + 1).is_err(), "another approval does not lengthen the window");
    // once kurt's counts he is named, and the window is still that of the first, who was enough
    let log = [log[0].clone(), log[1].clone(), agreed("kurt", hours(2))];
    assert_eq!(may(&log, &terms(), hours(4)).unwrap().names, ["grace", "kurt"]);
    assert!(may(&log, &terms(), hours(4) + 1).is_err());
    let two = Reidentify { approvers: 2, ..terms() };
    assert!(may(&log, &two, hours(6)).is_ok() && may(&log, &two, hours(6) + 1).is_err(), "the second of two");
}

#[test]
fn a_grant_opens_once_but_an_interrupted_erasure_is_finished_whatever_changed() {
    let mut log = vec![of_grant("ada", Event::Requested), of_grant("grace", Event::Approved)];
    let mut grant = grant(&[("grace", 2)]);
    assert_eq!(uses(&log, &grant, NOW), Ok(()));
    log.push(of_grant("ada", Event::Used));
    assert!(uses(&log, &grant, NOW).unwrap_err().contains("each opens once"));
    assert!(may_approve(&log, &grant, &who("mary", 3), NOW).is_err());
    grant.request.action = Action::Erase;
    log[2].said.action = Some("erase".to_owned());
    assert_eq!(uses(&log, &grant, NOW), Ok(()), "nobody was erased yet");
    assert!(uses(&log, &grant, NOW + 5 * HOUR).is_err(), "and the window counts");
    log.push(of_grant("ada", Event::Erasing));
    log.push(Entry { number: 2, ..of_grant("service", Event::Settled) });
    log.push(entry("ada", Event::Frozen, NOW, Said::default()));
    let strict = Reidentify { approvers: 2, ..terms() };
    let late = may_use(&log, &grant, &who("ada", 1), &strict, NOW + 30 * DAY).unwrap();
    assert!(late.settled.is_some() && late.names == ["grace"]);
    assert!(may_use(&log, &grant, &who("eve", 4), &strict, NOW).is_err(), "by nobody else");
    log.push(of_grant("ada", Event::Erased));
    assert!(uses(&log, &grant, NOW).is_err());
}

#[test]
fn an_erasure_that_was_dropped_lends_its_grant_nothing_that_others_lack() {
    let numbered = |events: &[(&str, Event)]| -> Vec<Entry> {
        let entry = |(number, (who, event)): (u64, &(&str, Event))| Entry { number, ..of_grant(who, *event) };
        (1..).zip(events).map(entry).collect()
    };
    let begun = [("ada", Event::Requested), ("grace", Event::Approved), ("ada", Event::Erasing)];
    let dropped = numbered(&[&begun[..], &[("service", Event::Dropped)]].concat());
    let mut grant = grant(&[("grace", 2)]);
    grant.request.action = Action::Erase;
    let may = |log: &[Entry], terms: &Reidentify, now| may_use(log, &grant, &who("ada", 1), terms, now);
    // nobody was erased, and what was agreed to still is, as long as it was agreed for
    assert!(may(&dropped, &terms(), NOW + 4 * HOUR).unwrap().settled.is_none());
    assert!(may(&dropped, &terms(), NOW + 4 * HOUR + 1).is_err(), "the window is over");
    let strict = Reidentify { approvers: 2, ..terms() };
    assert!(may(&dropped, &strict, NOW).is_err(), "the policy asks for more by now");
    let mut frozen = dropped.clone();
    frozen.push(entry("ada", Event::Frozen, NOW, Said::default()));
    assert!(may(&frozen, &terms(), NOW).is_err());
    let most = REQUEST_SECONDS + i64::try_from(WINDOW_SECONDS_MAX).unwrap();
    assert!(is_over(&dropped, "g", NOW + most + 1), "and what names people is not kept for it");
    // begun once more and done, it is finished whatever has changed
    let again =
        [&begun[..], &[("service", Event::Dropped), ("ada", Event::Erasing), ("service", Event::Settled)]];
    let again = numbered(&again.concat());
    assert!(may(&again, &strict, NOW + 30 * DAY).unwrap().settled.is_some());
    assert!(!is_over(&again, "g", NOW + 2 * most));
}

#[test]
fn what_became_of_an_interrupted_erasure_is_the_next_thing_that_the_log_says_of_any() {
    let numbered = |events: &[Event]| -> Vec<Entry> {
        let entry = |(number, event): (u64, &Event)| Entry { number, ..of_grant("ada", *event) };
        (1..).zip(events).map(entry).collect()
    };
    let happened = |events: &[Event]| {
        let log = numbered(events);
        interrupted(&log, "g").map(|begun| has_happened(&log, begun))
    };
    assert_eq!(happened(&[Event::Requested]), None);
    assert_eq!(happened(&[Event::Erasing]), Some(false));
    assert_eq!(happened(&[Event::Erasing, Event::Settled]), Some(true));
    assert_eq!(happened(&[Event::Erasing, Event::Dropped, Event::Settled]), Some(false));
    assert_eq!(happened(&[Event::Erasing, Event::Dropped, Event::Erasing, Event::Settled]), Some(true));
    assert_eq!(happened(&[Event::Erasing, Event::Settled, Event::Erased]), None);
}

#[test]
fn what_is_left_of_a_grant_is_kept_as_long_as_somebody_can_use_it() {
    let asked = of_grant("ada", Event::Requested);
    let most = REQUEST_SECONDS + i64::try_from(WINDOW_SECONDS_MAX).unwrap();
    let over = |events: &[Event], now| {
        let rest = events.iter().map(|event| of_grant("ada", *event));
        is_over(&[asked.clone()].into_iter().chain(rest).collect::<Vec<_>>(), "g", now)
    };
    assert!(!over(&[Event::Approved], NOW + most) && over(&[Event::Approved], NOW + most + 1));
    for event in [Event::Used, Event::Identified, Event::Reported, Event::Frozen, Event::Erased] {
        assert!(over(&[event], NOW), "{event:?}");
    }
    assert!(!over(&[Event::Erasing], NOW + 2 * most), "an erasure that is to be finished");
    assert!(is_over(&[], "g", NOW), "what the log does not have");
    let used = Said { grant: Some("g".to_owned()), action: Some("erase".to_owned()), ..Said::default() };
    assert!(!is_over(&[asked.clone(), entry("ada", Event::Used, NOW, used)], "g", NOW));
}

#[test]
fn agreeing_takes_others_who_are_in_the_log() {
    let asked = of_grant("ada", Event::Requested);
    let agreed = of_grant("grace", Event::Approved);
    let mary = of_grant("mary", Event::Approved);
    let two = Reidentify { approvers: 2, ..terms() };
    let may = |log: &[Entry], approvals: &[(&str, u8)]| {
        may_use(log, &grant(approvals), &who("ada", 1), &two, NOW).is_ok()
    };
    let log = [asked.clone(), agreed.clone(), mary];
    assert!(may(&log, &[("grace", 2), ("mary", 3)]));
    assert!(!may(&log, &[("grace", 2)]), "one of two");
    assert!(!may(&log, &[("grace", 2), ("grace", 2)]), "one person twice");
    assert!(!may(&log, &[("grace", 2), ("mary", 2)]), "one key under two names");
    assert!(!may(&log, &[("grace", 2), ("ada", 3)]), "who asked");
    assert!(!may(&log, &[("grace", 2), ("mary", 1)]), "the key of who asked");
    assert!(!may(&log[..2], &[("grace", 2), ("mary", 3)]), "signed beside the log");
    assert!(!may(&log[1..], &[("grace", 2), ("mary", 3)]), "asked for beside the log");
    let zero = Reidentify { approvers: 0, ..terms() };
    assert!(may_use(&[asked], &grant(&[]), &who("ada", 1), &zero, NOW).is_err(), "never nobody");
    let mut other = agreed;
    other.said.sha256 = Some("other".to_owned());
    assert!(!may(&[of_grant("ada", Event::Requested), other], &[("grace", 2)]), "another request");
}

#[test]
fn who_asked_agrees_under_no_name_and_nobody_agrees_twice_or_late() {
    let may = |name, key, now| may_approve(&[], &grant(&[("grace", 2)]), &who(name, key), now).is_ok();
    assert!(may("mary", 3, NOW));
    for (name, key, now) in [
        ("ada", 3, NOW),
        ("mary", 1, NOW),
        ("grace", 3, NOW),
        ("mary", 2, NOW),
        ("mary", 3, NOW + REQUEST_SECONDS + 1),
    ] {
        assert!(!may(name, key, now), "{name} {key} {now}");
    }
}

#[test]
fn asking_is_bounded_by_the_hour_the_day_the_reason_and_the_rows() {
    let ask = |log: &[Entry], reason: &str, rows: u64| {
        may_request(log, &who("ada", 1), &terms(), reason, rows, NOW).map_err(|(problem, _)| problem)
    };
    let reason = "security-incident";
    assert_eq!(ask(&[], reason, 50), Ok(()));
    assert!(ask(&[], "curiosity", 1).unwrap_err().contains("does not know this reason"));
    for rows in [0, 51] {
        assert!(ask(&[], reason, rows).unwrap_err().contains("from 1 to 50 are allowed"));
    }
    let asked = |at, rows| entry("ada", Event::Requested, at, Said { rows: Some(rows), ..Said::default() });
    let refused =
        |at| entry("ada", Event::Refused, at, Said { action: Some("request".into()), ..Said::default() });
    let mut log: Vec<Entry> = (0..REQUESTS_PER_HOUR_MAX).map(|_| refused(NOW - 10)).collect();
    assert!(ask(&log, reason, 1).unwrap_err().contains("times within an hour"));
    log[0].at = NOW - HOUR;
    assert_eq!(ask(&log, reason, 1), Ok(()), "an hour ago");
    log[0] = entry("grace", Event::Requested, NOW, Said::default());
    assert_eq!(ask(&log, reason, 1), Ok(()), "somebody else");
    let day = [asked(NOW - 2 * HOUR, ROWS_PER_DAY_MAX - 1)];
    assert_eq!(ask(&day, reason, 1), Ok(()));
    assert!(ask(&day, reason, 2).unwrap_err().contains("rows in a day"));
    let frozen = [entry("ada", Event::Frozen, NOW - FROZEN_SECONDS + 1, Said::default())];
    assert!(ask(&frozen, reason, 1).unwrap_err().contains("frozen"));
    let log = [of_grant("ada", Event::Requested), of_grant("grace", Event::Approved), frozen[0].clone()];
    assert!(uses(&log, &grant(&[("grace", 2)]), NOW).unwrap_err().contains("frozen"), "an older grant too");
}

#[test]
fn wrong_codes_lock_for_a_while_and_the_last_step_is_remembered() {
    let wrong =
        |at| entry("ada", Event::Refused, at, Said { problem: Some(CODE.to_owned()), ..Said::default() });
    let ada = who("ada", 1);
    let mut log: Vec<Entry> = (0..CODES_MAX).map(|_| wrong(NOW - 5)).collect();
    assert!(may_show_code(&log, &ada, NOW).is_err());
    assert!(may_show_code(&log, &who("grace", 2), NOW).is_ok());
    assert!(may_show_code(&log, &ada, NOW - 5 + CODE_SECONDS).is_ok(), "later");
    log.truncate(2);
    for (name, step) in [("ada", 7), ("grace", 9), ("ada", 6)] {
        log.push(entry(name, Event::Approved, NOW, Said { code_step: Some(step), ..Said::default() }));
    }
    assert_eq!(may_show_code(&log, &ada, NOW).unwrap(), Some(7));
}
