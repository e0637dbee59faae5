//! What holds for every value: one property or more for each technique.

use std::collections::HashSet;
use std::net::IpAddr;

use custody::{Purpose, Scope};
use proptest::prelude::*;
use transform::*;

use crate::given::*;

fn token(scope: Scope, form: TokenForm) -> Token {
    Token::new(&key(Purpose::Token, scope), form)
}

fn apply(technique: &Technique, value: &Clear<'_>) -> Result<(Kind, String), TransformError> {
    text(|out| technique.apply(value, &place(1), out))
}

fn normalised(name: &str, value: &str) -> Option<String> {
    let mut out = String::new();
    Normaliser::parse(name).unwrap().apply(value, &mut out).ok().map(|()| out)
}

proptest! {
    #[test]
    fn tokens_are_equal_for_equal_values_alone(a in ".*", b in ".*", record in any::<u64>()) {
        for scope in [Scope::Domain, Scope::Dataset] {
            let token = token(scope, TokenForm::Text);
            let of = |value: &str, record| text(|out| token.apply(&Clear::Text(value), &place(record), out)).unwrap().1;
            prop_assert_eq!(of(&a, 1) == of(&b, record), a == b);
            prop_assert_eq!(of(&a, 1).len(), of(&b, 1).len());
        }
        let token = token(Scope::Record, TokenForm::Text);
        let of = |value: &str, record| text(|out| token.apply(&Clear::Text(value), &place(record), out)).unwrap().1;
        prop_assert_eq!(of(&a, 1) == of(&a, record), record == 1);
    }

    #[test]
    fn a_uuid_says_its_version_and_variant(value in ".*") {
        for (scope, head) in [(Scope::Domain, "0003"), (Scope::Dataset, "4003"), (Scope::Record, "8003")] {
            let (_, uuid) = text(|out| token(scope, TokenForm::Uuid).apply(&Clear::Text(&value), &place(1), out)).unwrap();
            prop_assert_eq!((&uuid[..4], &uuid[14..15], uuid.len()), (head, "8", 36));
            prop_assert!("89ab".contains(&uuid[19..20]));
        }
    }

    #[test]
    fn nothing_of_a_title_comes_out(title in "\\PC{0,200}", class in "[a-z]{3,8}") {
        let classes = Title::classes(&[("named".to_owned(), vec![class.clone()])]).unwrap();
        let said = |title: Title, text: &str| apply(&Technique::Title(Box::new(title)), &Clear::Text(text)).unwrap().1;
        prop_assert!(["named", "other"].contains(&said(classes.clone(), &title).as_str()));
        prop_assert_eq!(said(classes, &format!("{title} {class}.{title}")), "named");
        let ending = said(Title::Extension, &title);
        let dotted = [".", &ending].concat();
        prop_assert!(ending == "none" || ending == "other" || title.to_lowercase().contains(&dotted));
        prop_assert!(said(Title::Length, &title).len() <= 6);
    }

    #[test]
    fn a_number_has_the_token_of_its_text(number in any::<i64>()) {
        let technique = Technique::Token(Box::new(token(Scope::Domain, TokenForm::Text)));
        let digits = number.to_string();
        prop_assert_eq!(apply(&technique, &Clear::Number(&digits)), apply(&technique, &Clear::Text(&digits)));
    }

    #[test]
    fn reversible_tokens_open_under_their_key_alone(value in "\\PC{0,200}", at in any::<prop::sample::Index>()) {
        let siv = SivToken::new(&key(Purpose::Siv, Scope::Domain)).unwrap();
        let other = SivToken::new(&key(Purpose::Siv, Scope::Dataset)).unwrap();
        let (_, sealed) = text(|out| siv.apply(&Clear::Text(&value), out)).unwrap();
        prop_assert_eq!(&*siv.open(&sealed).unwrap(), &value);
        prop_assert!(other.open(&sealed).is_err());
        prop_assert!(other.open(&sealed.replace("v3_", "v3s_")).is_err());
        let mut changed = sealed.into_bytes();
        let index = at.index(changed.len());
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        prop_assert!(siv.open(&String::from_utf8(changed).unwrap()).is_err());
    }

    #[test]
    fn no_text_makes_opening_a_token_fail_otherwise_than_with_an_error(text in ".{0,100}") {
        let siv = SivToken::new(&key(Purpose::Siv, Scope::Domain)).unwrap();
        prop_assert!(siv.open(&text).is_err());
        let prefixed = format!("v3_{text}");
        prop_assert!(siv.open(&prefixed).is_err());
    }

    #[test]
    fn encrypted_values_keep_their_form_and_come_back(value in "[A-Z0-9]{4,36}", other in "[A-Z0-9]{4,36}") {
        let alphabet = Alphabet::new("A-Z0-9").unwrap();
        let ff1 = FormatPreserving::new(&key(Purpose::FormatPreserving, Scope::Domain), alphabet, b"", DOMAIN_MIN).unwrap();
        let of = |value: &str| text(|out| ff1.apply(&Clear::Text(value), out)).unwrap().1;
        let sealed = of(&value);
        prop_assert_eq!(sealed.len(), value.len());
        prop_assert!(sealed.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
        let mut back = Vec::new();
        ff1.open(&sealed, &mut back).unwrap();
        prop_assert_eq!(back, value.as_bytes());
        prop_assert_eq!(sealed == of(&other), value == other);
    }

    #[test]
    fn distances_between_the_dates_of_a_person_stay(first in 0_i64..20_000, distance in 0_i64..5_000, person in ".+") {
        let shift = DateShift::new(&key(Purpose::DateShift, Scope::Domain), 15, TimeUnit::Day).unwrap();
        let epoch = Moment::parse("1970-01-01").unwrap();
        let moved = |days: i64| {
            let mut date = Vec::new();
            epoch.plus_days(days).unwrap().write(TimeUnit::Day, &mut date);
            let date = String::from_utf8(date).unwrap();
            let place = Place { person: Clear::Text(&person), ..place(1) };
            let (_, date) = text(|out| shift.apply(&Clear::Text(&date), &place, out)).unwrap();
            Moment::parse(&date).unwrap().days()
        };
        prop_assert_eq!(moved(first + distance) - moved(first), distance);
        prop_assert!((-15..=15).contains(&(moved(first) - first)));
    }

    #[test]
    fn a_truncated_time_is_the_beginning_of_its_unit(seconds in 0_i64..4_000_000_000) {
        let unit = TechniqueTimes::new(seconds);
        for (coarse, length) in [(TimeUnit::Year, 4), (TimeUnit::Month, 7), (TimeUnit::Day, 10), (TimeUnit::Hour, 20)] {
            let (_, written) = apply(&Technique::TruncateTime(coarse), &Clear::Text(&unit.text)).unwrap();
            prop_assert_eq!(written.len(), length);
            let same = if coarse == TimeUnit::Hour { 13 } else { length };
            prop_assert_eq!(&written[..same], &unit.text[..same]);
        }
    }

    #[test]
    fn a_number_lies_in_its_bucket(cents in any::<i64>(), width in 1_i64..1_000_000) {
        let shown = |cents: i64| format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
        let number = shown(cents);
        let value = Decimal::parse(&number).unwrap();
        let by_width = Bucket::width(Decimal::parse(&shown(width)).unwrap()).unwrap();
        let by_edges = Bucket::edges(["-1000000", "-1", "0", "0.5", "7e9"].map(|edge| Decimal::parse(edge).unwrap()).to_vec()).unwrap();
        for bucket in [by_width, by_edges] {
            let (_, written) = apply(&Technique::Bucket(bucket), &Clear::Number(&number)).unwrap();
            let (from, to) = written[1..written.len() - 1].split_once(',').unwrap();
            prop_assert!(from.is_empty() || Decimal::parse(from).unwrap() <= value, "{} {}", number, written);
            prop_assert!(to.is_empty() || value < Decimal::parse(to).unwrap(), "{} {}", number, written);
        }
    }

    #[test]
    fn a_coded_number_is_within_its_limits(number in any::<i32>(), a in any::<i32>(), b in any::<i32>()) {
        let (least, most) = (a.min(b), a.max(b));
        let decimal = |number: i32| Decimal::parse(&number.to_string()).unwrap();
        let clamp = Clamp::new(Some(decimal(least)), Some(decimal(most))).unwrap();
        let (kind, written) = apply(&Technique::Clamp(clamp), &Clear::Number(&number.to_string())).unwrap();
        prop_assert_eq!((kind, written), (Kind::Number, number.clamp(least, most).to_string()));
    }

    #[test]
    fn addresses_of_one_network_and_no_others_look_alike(a in any::<u128>(), flip in 0_u32..128, keep in 0_u8..128) {
        let technique = Technique::IpPrefix(IpPrefix::new(keep.min(31), keep).unwrap());
        let of = |address: IpAddr| apply(&technique, &Clear::Text(&address.to_string())).unwrap().1;
        // not in the part of IPv6 that means IPv4
        let a = a | 1 << 127;
        let b = a ^ (1 << flip);
        let same = u32::from(keep) <= 127 - flip;
        if flip < 127 {
            prop_assert_eq!(of(IpAddr::V6(a.into())) == of(IpAddr::V6(b.into())), same);
        }
        let v4 = u32::try_from(a >> 96).unwrap();
        let other = v4 ^ (1 << (flip % 32));
        let same = u32::from(keep.min(31)) <= 31 - flip % 32;
        prop_assert_eq!(of(IpAddr::V4(v4.into())) == of(IpAddr::V4(other.into())), same);
    }

    #[test]
    fn a_mask_shows_its_ends_and_half_at_most(value in "[^*\\p{C}]{0,30}", first in 0_usize..4, last in 0_usize..4) {
        let (_, written) = apply(&Technique::Mask(Mask::new(first, last).unwrap()), &Clear::Text(&value)).unwrap();
        let (front, back) = written.split_once("***").unwrap();
        prop_assert!(value.starts_with(front) && value.ends_with(back));
        prop_assert!(2 * (written.chars().count() - 3) <= value.chars().count().max(1));
    }

    #[test]
    fn a_prefix_is_never_the_whole_value(value in "\\PC{0,12}", characters in 1_usize..=8) {
        match apply(&Technique::TruncateText(TextPrefix::new(characters).unwrap()), &Clear::Text(&value)) {
            Ok((_, written)) => {
                prop_assert!(value.starts_with(&written) && written.len() < value.len());
                prop_assert_eq!(written.chars().count(), characters);
            }
            Err(_) => prop_assert!(value.chars().count() <= characters),
        }
    }

    #[test]
    fn a_constant_tells_nothing_of_its_value(value in ".*") {
        let technique = Technique::Constant("x".into());
        prop_assert_eq!(apply(&technique, &Clear::Text(&value)), apply(&technique, &Clear::Null));
    }

    #[test]
    fn values_that_are_kept_are_kept(value in ".*", number in any::<f64>()) {
        prop_assert_eq!(apply(&Technique::Keep, &Clear::Text(&value)), Ok((Kind::Text, value)));
        let number = number.to_string();
        prop_assert_eq!(apply(&Technique::Keep, &Clear::Number(&number)), Ok((Kind::Number, number)));
    }

    #[test]
    fn a_value_is_kept_if_enough_records_have_it(values in prop::collection::vec(0_u8..12, 0..100), least in 2_u32..8) {
        let mut counter = RareCounter::new(&key(Purpose::Count, Scope::Dataset), least).unwrap();
        let texts: Vec<String> = values.iter().map(|value| format!("site {value}")).collect();
        texts.iter().for_each(|text| counter.count(&Clear::Text(text)).unwrap());
        let technique = Technique::NullIfRare(Box::new(counter.finish()));
        for text in &texts {
            let often = texts.iter().filter(|other| *other == text).count() >= least as usize;
            prop_assert_eq!(apply(&technique, &Clear::Text(text)).unwrap().0 == Kind::Text, often);
        }
        prop_assert_eq!(apply(&technique, &Clear::Text("never counted")).unwrap().0, Kind::Null);
    }

    #[test]
    fn what_a_hierarchy_gives_is_in_its_column(rows in prop::collection::btree_map("[a-z ]{0,6}", ("[A-Z]{1,3}", "[A-Z]{0,2}"), 1..20)) {
        let table: String = rows.iter().map(|(value, (first, second))| format!("{value};{first};{second}\n")).collect();
        for (level, pick) in [(1, 0), (2, 1)] {
            let technique = Technique::Hierarchy(Box::new(Hierarchy::parse(&table, level).unwrap()));
            for (value, names) in &rows {
                let name = if pick == 0 { &names.0 } else { &names.1 };
                prop_assert_eq!(&apply(&technique, &Clear::Text(value)).unwrap().1, name);
            }
            prop_assert_eq!(apply(&technique, &Clear::Text("Unlisted")), Err(TransformError::Unlisted));
        }
        prop_assert!(Hierarchy::parse(&table, 3).is_err());
    }

    #[test]
    fn a_normal_form_is_its_own(value in "\\PC{0,40}") {
        for name in NORMALISERS {
            if let Some(once) = normalised(name, &value) {
                prop_assert_eq!(normalised(name, &once), Some(once.clone()), "{}", name);
            }
        }
    }

    #[test]
    fn telephone_numbers_meet_however_they_are_grouped(number in "[1-9][0-9]{6,9}", cuts in prop::collection::vec(0_usize..10, 0..4)) {
        let mut grouped = number.clone();
        for cut in cuts {
            grouped.insert(cut.min(grouped.len()), '-');
        }
        let expected = normalised("e164:49", &format!("+49{number}")).unwrap();
        for spelling in [format!("0{grouped}"), format!("+49 (0){grouped}"), format!("0049{grouped}"), format!(" +49/{grouped} ")] {
            prop_assert_eq!(normalised("e164:49", &spelling).unwrap(), expected.clone(), "{}", spelling);
        }
    }
}

/// A time as RFC 3339 writes it.
struct TechniqueTimes {
    text: String,
}

impl TechniqueTimes {
    fn new(seconds: i64) -> Self {
        let mut text = Vec::new();
        let epoch = Moment::parse("1970-01-01").unwrap();
        epoch.plus_days(seconds / 86_400).unwrap().write(TimeUnit::Day, &mut text);
        let (day, rest) = (String::from_utf8(text).unwrap(), seconds % 86_400);
        Self { text: format!("{day}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60) }
    }
}

#[test]
fn two_domains_have_no_token_in_common() {
    let other = Name { domain: "team-billing", ..Name::golden() };
    let here = token(Scope::Domain, TokenForm::Text);
    let there = Token::new(&other.key(Purpose::Token, Scope::Domain), TokenForm::Text);
    let mut seen = HashSet::new();
    for number in 0_u32..1_000_000 {
        let value = number.to_le_bytes();
        assert!(seen.insert(here.bits(&value, &place(0))), "two values have one token");
        assert!(seen.insert(there.bits(&value, &place(0))), "two domains share a token");
    }
}

#[test]
fn the_shifts_of_many_persons_are_even() {
    let shift = DateShift::new(&key(Purpose::DateShift, Scope::Domain), 15, TimeUnit::Day).unwrap();
    let mut counts = [0_u32; 31];
    (0_u32..31_000)
        .for_each(|person| counts[usize::try_from(shift.days(&person.to_le_bytes()) + 15).unwrap()] += 1);
    // a thousand each, give or take five standard deviations
    assert!(counts.iter().all(|count| (840..1160).contains(count)), "{counts:?}");
}

#[test]
fn null_stays_null_and_types_that_are_not_meant_are_refused() {
    let decimal = |text| Decimal::parse(text).unwrap();
    let techniques = [
        (Technique::Token(Box::new(token(Scope::Domain, TokenForm::Text))), true),
        (Technique::Siv(SivToken::new(&key(Purpose::Siv, Scope::Domain)).unwrap()), true),
        (Technique::TruncateTime(TimeUnit::Day), true),
        (Technique::TruncateText(TextPrefix::new(2).unwrap()), true),
        (Technique::Bucket(Bucket::width(decimal("5")).unwrap()), true),
        (Technique::Clamp(Clamp::new(None, Some(decimal("90"))).unwrap()), true),
        (Technique::IpPrefix(IpPrefix::new(16, 32).unwrap()), true),
        (Technique::Mask(Mask::new(1, 0).unwrap()), true),
        (Technique::Hierarchy(Box::new(Hierarchy::parse("a;b", 1).unwrap())), true),
        (Technique::Keep, false),
    ];
    for (technique, refuses_booleans) in techniques {
        assert_eq!(apply(&technique, &Clear::Null), Ok((Kind::Null, String::new())));
        assert_eq!(apply(&technique, &Clear::Boolean(true)).is_err(), refuses_booleans);
    }
    assert!(apply(&Technique::IpPrefix(IpPrefix::new(16, 32).unwrap()), &Clear::Text("10.0.0.1/8")).is_err());
    assert_eq!(
        apply(&Technique::IpPrefix(IpPrefix::new(16, 32).unwrap()), &Clear::Text("::ffff:10.1.2.3"))
            .unwrap()
            .1,
        "10.1.0.0/16"
    );
    assert!(IpPrefix::new(32, 0).is_err() && Mask::new(9, 0).is_err() && TextPrefix::new(0).is_err());
    assert!(SivToken::new(&key(Purpose::Siv, Scope::Record)).is_err());
}
