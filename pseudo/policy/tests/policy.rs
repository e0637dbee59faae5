//! Policies from outside: what is read, what is refused, what the linter finds.
#![allow(clippy::unwrap_used, reason = "tests")]

use policy::*;
use proptest::prelude::*;
use transform::Clear;

const PRINTJOBS: &str = include_str!("fixtures/printjobs.toml");

/// The policy with one piece of its text replaced.
fn with(from: &str, to: &str) -> Result<Policy, PolicyError> {
    assert!(PRINTJOBS.contains(from), "{from}");
    Policy::parse(&PRINTJOBS.replacen(from, to, 1))
}

fn rules(policy: &Policy, profile: Option<&Profile>) -> Vec<(&'static str, String)> {
    policy.lint(profile).into_iter().map(|finding| (finding.rule, finding.place)).collect()
}

fn sample(rows: &[(&str, &[&str])]) -> Profile {
    let mut profile = Profile::default();
    let most = rows.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    for record in 0..most {
        profile.begin_record();
        for (path, values) in rows {
            if let Some(value) = values.get(record) {
                profile.observe(&Path::parse(path).unwrap(), &Clear::Text(value));
            }
        }
    }
    profile
}

#[test]
fn a_whole_policy_is_read() {
    let policy = Policy::parse(PRINTJOBS).unwrap();
    assert_eq!((policy.fields.len(), policy.derived.len(), policy.columns().count()), (10, 3, 12));
    assert_eq!(policy.source.format, Format::Ndjson);
    assert_eq!(policy.hash_text().len(), 64);
    assert_eq!(rules(&policy, None), [("no-erasure", "$.device.serial".to_owned())]);
}

#[test]
fn every_change_of_the_text_changes_the_hash() {
    let hash = Policy::parse(PRINTJOBS).unwrap().hash;
    assert_ne!(with("capacity planning", "capacity planning!").unwrap().hash, hash);
    assert_ne!(with("berlin-3;berlin;de", "berlin-3;lyon;de").unwrap().hash, hash);
    assert_ne!(Policy::parse(&format!("{PRINTJOBS}# note\n")).unwrap().hash, hash);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (from, to, says) in [
        ("unknown_field = \"stop\"", "unknown_field = \"pass\"", "nothing passes unnamed"),
        ("unknown_field = \"stop\"\n", "", "missing field"),
        ("technique = \"keep\"", "technique = \"sha256\"", "use prf"),
        ("technique = \"keep\"", "technique = \"ff3-1\"", "use ff1"),
        ("technique = \"keep\"", "technique = \"prf+vault\"", "needs class"),
        ("technique = \"keep\"", "technique = \"shrug\"", "unknown"),
        ("technique = \"keep\"", "technique = \"keep\"\nkey = \"hunter2\"", "never in a policy"),
        ("technique = \"keep\"", "technique = \"keep\"\nwidth = 5", "does not take"),
        ("technique = \"keep\"", "technique = \"classify\"", "needs classes"),
        ("technique = \"keep\"", "technique = \"classify\"\nemit = \"words\"", "emit is one of"),
        ("technique = \"keep\"", "technique = \"classify\"\nclasses = [\"invoice\"]", "are lists"),
        ("technique = \"keep\"", "technique = \"classify\"\nclasses = [[\"invoice\"]]", "not from 1"),
        ("technique = \"keep\"", "technique = \"classify\"\nclasses = [[\"a\", \"b c\"]]", "a word has"),
        (
            "technique = \"keep\"",
            "technique = \"classify\"\nemit = \"length\"\nclasses = [[\"a\", \"bc\"]]",
            "are for",
        ),
        ("min_domain = 1_000_000", "min_domain = 10_000", "1,000,000"),
        ("by = \"$.user.email\"", "by = \"$.user.mail\"", "no field"),
        ("max_days = 15", "max_days = 0", "1 to 366"),
        ("max_days = 15", "max_days = 400", "1 to 366"),
        ("keep_v4 = 16", "keep_v4 = 32", "not from 0 to 31"),
        ("class = \"device.serial\"", "", "needs class"),
        ("hierarchy = \"site\"", "hierarchy = \"sight\"", "no hierarchy"),
        ("level = 1", "level = 3", "fewer levels"),
        ("most = 500", "", "one limit"),
        ("path = \"$.user.name\"", "path = \"$.user\"", "two rules"),
        ("path = \"$.user.name\"", "path = \"$.user.email\"", "two rules"),
        ("path = \"$.user.name\"", "path = \"user.name\"", "begins with $"),
        ("as = \"$.user.token_of_set\"", "as = \"$.user.email\"", "one place"),
        ("scope = \"dataset\"", "scope = \"world\"", "scope is one of"),
        ("technique = \"null-if-rare\"", "technique = \"null-if-rare\"\nscope = \"record\"", "prf alone"),
        ("normalise = [\"nfc\", \"email\"]", "normalise = [\"nfc\", \"email@9\"]", "normaliser"),
        ("format = \"ndjson\"", "format = \"xml\"", "format is one of"),
        ("anonymise_after = \"P24M\"", "anonymise_after = \"two years\"", "P24M"),
        ("domain = \"team-usage\"", "domain = \"Team Usage\"", "a-z"),
        ("owner = \"dpo@example.org\"", "owner = \" \"", "owner takes 1 to 512 bytes and is empty"),
        ("type = \"boolean\"", "type = \"blob\"", "type is one of"),
        ("class = \"person.email\"\n", "class = \"person.email\"\ntype = \"integer\"\n", "gives text"),
        ("t = 0.4", "t = 1.4", "from 0 to 1"),
        ("capacity planning", "capacity\\u001b[2Kplanning", "no control characters"),
        ("recipient = \"team usage\"", "recipient = \"team\\nusage\"", "no control characters"),
    ] {
        let error = with(from, to).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(says), "{to}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn an_error_names_its_line_and_never_shows_it() {
    let error = with("version = 4", "version = \"hunter2\"").map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("line 2:") && !error.contains("hunter2"), "{error}");
    let error = with("version = 4", "version = 4\n\"hunter2").map(|_| ()).unwrap_err().to_string();
    assert!(error.starts_with("line 3:") && !error.contains("hunter2"), "{error}");
}

#[test]
fn promises_that_nobody_could_keep_are_errors() {
    for (from, to, rule) in [
        ("anonymise_after = \"P24M\"", "anonymise_after = \"P48M\"", "retention-order"),
        ("second_factor = true", "second_factor = false", "single-control"),
        ("approvers = 2", "approvers = 0", "single-control"),
        ("k = 10", "k = 1", "gate-k"),
        ("\"device.site\"", "\"device.location\"", "gate-unknown"),
        ("\"device.site\"", "\"user.name\"", "gate-unknown"),
        ("\"device.site\"", "\"department\"", "gate-both"),
        ("berlin-4;berlin;de", "berlin-4;berlin;fr", "gate-not-nested"),
        ("berlin-4;berlin;de", "berlin-4;berlin", "gate-not-nested"),
        ("level = 1", "level = 2", "gate-no-hierarchy"),
        ("on_fail = \"generalise\"", "on_fail = \"suppress\"", "gate-suppress-none"),
        ("path = \"$.colour\"", "path = \"$.userName\"", "keep-identifying"),
        (
            "path = \"$.colour\"\ntechnique = \"keep\"\ntype = \"boolean\"",
            "path = \"$.comment\"\ntechnique = \"keep\"",
            "keep-free-text",
        ),
        ("bucket = \"analytics\"", "bucket = \"jobs\"", "target-among-sources"),
        ("shuffle = true", "shuffle = false", "source-order"),
        ("then = \"hour\"", "then = \"minute\"", "exact-time"),
        ("keep_v4 = 16", "keep_v4 = 28", "small-network"),
        ("class = \"person.email\"", "class = \"person.email\"\ncardinality = 40", "few-values"),
        ("unknown_field = \"stop\"", "unknown_field = \"drop\"", "unknown-dropped"),
    ] {
        let policy = with(from, to).unwrap();
        assert!(rules(&policy, None).iter().any(|(found, _)| *found == rule), "{to}: {rule}");
    }
    let start = PRINTJOBS.find("[gate]").unwrap();
    let end = PRINTJOBS.find("[reidentify]").unwrap();
    let without = Policy::parse(&format!("{}{}", &PRINTJOBS[..start], &PRINTJOBS[end..])).unwrap();
    assert!(rules(&without, None).contains(&("no-gate", "gate".to_owned())));
}

#[test]
fn a_sample_speaks_against_a_policy() {
    let policy = with(
        "path = \"$.colour\"\ntechnique = \"keep\"\ntype = \"boolean\"",
        "path = \"$.note\"\ntechnique = \"keep\"",
    )
    .unwrap();
    let profile = sample(&[
        ("$.note", &["ada@example.org", "bob@example.org"]),
        ("$.user.email", &["ada@example.org", "bob@example.org"]),
        ("$.user['Ada Lovelace']", &["1", "1"]),
    ]);
    let found = policy.lint(Some(&profile));
    let has =
        |rule: &str, place: &str| found.iter().any(|finding| finding.rule == rule && finding.place == place);
    assert!(has("keep-identifying", "$.note"));
    assert!(has("unlisted-field", "$.user"));
    assert!(has("absent-field", "$.pages"));
    assert!(!has("no-normaliser", "$.user.email"));
    assert!(found.iter().all(|finding| !finding.to_string().contains("Ada")), "{found:?}");
    assert!(found.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
}

#[test]
fn free_text_that_is_kept_when_frequent_is_warned_of() {
    let warned =
        |policy: &Policy, profile| rules(policy, profile).iter().any(|(rule, _)| *rule == "rare-free-text");
    let titled = with("path = \"$.department\"", "path = \"$.document_title\"").unwrap();
    assert!(warned(&titled, None));
    let plain = Policy::parse(PRINTJOBS).unwrap();
    let sentences = sample(&[("$.department", &["Notice to Ada Lovelace"; 20])]);
    let departments = sample(&[("$.department", &["human resources"; 20])]);
    assert!(warned(&plain, Some(&sentences)) && !warned(&plain, Some(&departments)) && !warned(&plain, None));
    let because = "technique = \"null-if-rare\"\nbecause = \"a fixed list\"";
    assert!(!warned(&with("technique = \"null-if-rare\"", because).unwrap(), Some(&sentences)));
}

#[test]
fn kept_texts_of_a_sample_are_looked_at() {
    let kept = |more: &str| {
        let to = format!("path = \"$.place\"\ntechnique = \"keep\"{more}");
        with("path = \"$.colour\"\ntechnique = \"keep\"\ntype = \"boolean\"", &to).unwrap()
    };
    let of_place = |policy: &Policy, values: &[&str]| {
        let profile = sample(&[("$.place", values)]);
        let found = rules(policy, Some(&profile)).into_iter();
        found.filter(|(_, place)| place == "$.place").map(|(rule, _)| rule).collect::<Vec<_>>()
    };
    let folders = ["/srv/lovelace7/x.pdf", "/srv/byron2/y.pdf", "/srv/babbage/z.pdf"];
    assert_eq!(of_place(&kept(""), &folders), ["keep-manifold"]);
    let sentences = ["Notice to Ada Lovelace of London"; 20];
    assert_eq!(of_place(&kept(""), &sentences), ["keep-free-text"]);
    assert_eq!(of_place(&kept("\nbecause = \"a fixed list of forms\""), &sentences), ["kept-by-reason"]);
    assert_eq!(of_place(&kept(""), &["north"; 20]), Vec::<&str>::new());
}

#[test]
fn a_finding_says_which_of_a_fields_columns_it_is_about() {
    let policy = with("output = \"uuid8\"\nnormalise = [\"nfc\", \"email\"]", "output = \"uuid8\"").unwrap();
    let profile = sample(&[("$.user.email", &["ada@example.org", "bob@example.org"])]);
    let found = rules(&policy, Some(&profile));
    let places: Vec<&str> =
        found.iter().filter(|(rule, _)| *rule == "no-normaliser").map(|(_, place)| place.as_str()).collect();
    assert_eq!(places, ["$.user.email as $.user.token_of_set"]);
}

#[test]
fn a_reason_answers_a_name_but_not_values() {
    let kept = "path = \"$.userName\"\ntechnique = \"keep\"\nbecause = \"names of printers\"";
    let policy = with("path = \"$.colour\"\ntechnique = \"keep\"\ntype = \"boolean\"", kept).unwrap();
    assert!(rules(&policy, None).contains(&("kept-by-reason", "$.userName".to_owned())));
    let profile = sample(&[("$.userName", &["Anna Schmidt", "Peter Meyer"])]);
    assert!(rules(&policy, Some(&profile)).contains(&("keep-identifying", "$.userName".to_owned())));
}

#[test]
fn a_proposal_passes_nothing_that_looks_like_a_person() {
    let emails: Vec<String> = (0..200).map(|number| format!("person{number}@example.org")).collect();
    let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
    let profile = sample(&[
        ("$.user.mail", &emails),
        ("$.user.label", &["Anna Schmidt"; 200]),
        ("$.ip", &["10.1.2.3"; 200]),
        ("$.at", &["2026-11-22T10:00:00Z"; 200]),
        ("$.media", &["A4"; 200]),
        ("$.document_title", &["Salary review"; 200]),
        ("$.reason", &["because it was needed"; 200]),
        ("$.remark", &emails.iter().map(|mail| &mail[..mail.len() - 12]).collect::<Vec<_>>()),
    ]);
    let text = propose("jobs", Format::Ndjson, &profile);
    assert!(Policy::parse(&text).is_err(), "purpose, legal basis and owner are for a person to write");
    let filled = text
        .replace("purpose = \"\"", "purpose = \"p\"")
        .replace("legal_basis = \"\"", "legal_basis = \"l\"");
    let policy = Policy::parse(&filled.replace("owner = \"\"", "owner = \"o\"")).unwrap();
    let of =
        |path: &str| policy.fields[policy.field_at(&Path::parse(path).unwrap()).unwrap()].technique.clone();
    assert_eq!(
        [
            "$.user.mail",
            "$.user.label",
            "$.ip",
            "$.at",
            "$.media",
            "$.document_title",
            "$.reason",
            "$.remark"
        ]
        .map(of),
        ["prf", "drop", "ip-prefix", "date-shift", "null-if-rare", "drop", "drop", "drop"]
    );
    let errors =
        policy.lint(Some(&profile)).into_iter().filter(|finding| finding.severity == Severity::Error);
    assert_eq!(errors.collect::<Vec<_>>(), []);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}", at in 0_usize..2000, cut in 0_usize..40) {
        let _ = Policy::parse(&text).is_ok();
        let letters: Vec<char> = PRINTJOBS.chars().collect();
        let (at, end) = (at.min(letters.len()), (at + cut).min(letters.len()));
        let changed: String = letters[..at].iter().chain(text.chars().take(3).collect::<Vec<_>>().iter()).chain(&letters[end..]).collect();
        if let Ok(policy) = Policy::parse(&changed) {
            let _ = policy.lint(None);
        }
    }

    #[test]
    fn any_value_looks_like_something_or_nothing(value in ".{0,60}", name in ".{0,30}") {
        let _ = (Looks::of(&value), identifying_name(&name));
    }
}

#[test]
fn a_policy_has_a_limit() {
    assert_eq!(
        Policy::parse(&" ".repeat(POLICY_BYTES_MAX + 1)).map(|_| ()),
        Err(PolicyError::TooLong { most: POLICY_BYTES_MAX })
    );
}

/// The policy with made-up persons.
fn with_honey(section: &str) -> Result<Policy, PolicyError> {
    with("[reidentify]", &format!("[honey]\n{section}\n\n[reidentify]"))
}

#[test]
fn made_up_persons_are_off_unless_a_policy_wants_them_and_it_is_said_what_that_means() {
    assert!(Policy::parse(PRINTJOBS).unwrap().honey.is_none());
    let policy = with_honey("persons = 3\nperson = \"user.email\"").unwrap();
    let found = policy.lint(None);
    let honey = found.iter().find(|finding| finding.rule == "honey-rows").unwrap();
    assert_eq!(honey.severity, Severity::Warning);
    assert!(
        honey.problem.contains("up to 3 made-up persons") && honey.problem.contains("release.json"),
        "{honey}"
    );
}

#[test]
fn made_up_persons_need_tokens_of_a_person_and_an_order_that_hides_them() {
    let person = "person = \"user.email\"";
    for (section, says) in [
        (format!("persons = 0\n{person}"), "from 1 to 32"),
        (format!("persons = 33\n{person}"), "from 1 to 32"),
        ("persons = 3".to_owned(), "missing field"),
        ("persons = 3\nperson = \"user.name\"".to_owned(), "nobody can be made up"),
        ("persons = 3\nperson = \"pages\"".to_owned(), "nobody can be made up"),
        ("persons = 3\nperson = \"device.serial\"".to_owned(), "nobody can be made up"),
        (format!("persons = 3\n{person}\nshared = [\"pages\"]"), "columns of tokens"),
        (format!("persons = 3\n{person}\nshared = [\"user.email\"]"), "not the person's"),
        (format!("persons = 3\n{person}\ntogether = [[\"pages\"]]"), "two or more columns"),
        (format!("persons = 3\n{person}\ntogether = [[\"pages\", \"nothing\"]]"), "two or more columns"),
        (format!("persons = 3\n{person}\nseed = 7"), "unknown field"),
        (
            format!(
                "persons = 3\n{person}\ntogether = [[\"submitted_at\", \"department\", \"pages\", \"colour\", \"document.class\"]]"
            ),
            "a real one under another token",
        ),
    ] {
        let said = with_honey(&section).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(says), "{section}: {said}");
    }
    let text = PRINTJOBS.replace("[reidentify]", &format!("[honey]\npersons = 3\n{person}\n\n[reidentify]"));
    for (from, to, says) in [
        ("shuffle = true", "shuffle = false", "shuffle = true"),
        ("scope = \"dataset\"", "scope = \"record\"", ""),
        ("\"device.site\", \"client.ip\"", "\"device.site\", \"device.serial\"", "alone in their class"),
        (
            "technique = \"prf\"\nclass = \"person.email\"\nnormalise",
            "technique = \"prf\"\nscope = \"record\"\nclass = \"person.email\"\nnormalise",
            "nobody can be made up",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        let done = Policy::parse(&text.replacen(from, to, 1)).map(|_| ());
        match done {
            Ok(()) => assert_eq!(says, "", "{to}"),
            Err(error) => assert!(!says.is_empty() && error.to_string().contains(says), "{to}: {error}"),
        }
    }
}

#[test]
fn parts_of_a_made_up_row_are_what_only_makes_sense_together() {
    let policy =
        with_honey("persons = 3\nperson = \"user.email\"\ntogether = [[\"pages\", \"colour\"]]").unwrap();
    let parts = policy.honey_parts();
    let part = |name: &str| {
        parts[policy.columns().position(|rule| rule.output_path.to_string() == format!("$.{name}")).unwrap()]
    };
    for token in ["user.email", "device.serial", "user.token_of_set"] {
        assert_eq!(part(token), 0, "{token}");
    }
    for alike in [
        ["submitted_at", "device.site"],
        ["device.site", "client.ip"],
        ["pages", "colour"],
        ["document.class", "document.ending"],
    ] {
        assert_eq!(part(alike[0]), part(alike[1]), "{alike:?}");
    }
    let apart: std::collections::BTreeSet<usize> =
        ["user.email", "device.site", "pages", "document.class", "department"]
            .into_iter()
            .map(part)
            .collect();
    assert_eq!(apart.len(), 5);
    let shared = with_honey("persons = 3\nperson = \"user.email\"\nshared = [\"device.serial\"]").unwrap();
    let at = shared.columns().position(|rule| rule.output_path.to_string() == "$.device.serial").unwrap();
    assert_ne!(shared.honey_parts()[at], 0);
}
