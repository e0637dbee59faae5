//! Four eyes on policies: where a domain needs them, nothing is made under a policy that two people did not agree to as it is.

use std::fs;

use serde_json::Value;

use crate::desk::{Desk, POLICY};
use crate::fill;
use crate::service::configure;

const OPENED: &str = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";

/// The policy's hash now.
fn hash(desk: &Desk) -> String {
    let shown = desk.json(&desk.maker, &format!("policy show @policy.toml --key {}", desk.public_key));
    shown["hash"].as_str().unwrap().to_owned()
}

fn agree(desk: &Desk, who: &str, hash: &str) -> String {
    let key = &desk.public_key;
    format!("policy agree @policy.toml --sha256 {hash} --key {key} --operator @{who}.operator")
}

#[test]
fn a_policy_counts_once_two_people_agreed_to_it_as_it_is() {
    let desk = Desk::new("export-agreed", false);
    fill(&desk, 60);
    desk.json(&desk.maker, &desk.export("before", ""));
    let asked = desk.json(&desk.maker, &format!("keys four-eyes {OPENED}"));
    assert_eq!(asked["four_eyes"], true);
    let said = desk.refused(&desk.maker, &desk.export("nobody", ""));
    assert!(said.contains("takes 2 people") && said.contains("nobody agreed"), "{said}");

    // one person, twice and with two keys, is one person
    let first = hash(&desk);
    let agreed = desk.json(&desk.maker, &agree(&desk, "maker", &first));
    assert_eq!((&agreed["enough"], agreed["agreed"].as_array().unwrap().len()), (&false.into(), 1));
    let again = desk.json(&desk.maker, &agree(&desk, "maker", &first));
    assert_eq!(again["agreed"], agreed["agreed"]);
    desk.json(&desk.maker, "keys operator maker -o @again.operator");
    desk.json(&desk.maker, &format!("keys enrol @again.operator {OPENED}"));
    assert_eq!(desk.json(&desk.maker, &agree(&desk, "again", &first))["enough"], false);
    let said = desk.refused(&desk.maker, &desk.export("alone", ""));
    assert!(said.contains("maker") && said.contains("pseudo policy agree"), "{said}");
    let run = format!("run @policy.toml @policy.toml -o @said/out.ndjson {OPENED}");
    assert!(
        desk.refused(&desk.maker, &run).contains("takes 2 people"),
        "files are made no more than exports"
    );
    configure(&desk, "daily_at = \"00:00\"", "");
    let check = desk.pseudo(&desk.analyst, "serve --config @service.toml --check");
    let found = String::from_utf8(check.stdout).unwrap();
    assert!(!check.status.success() && found.contains("job.policy of usage"), "{found}");

    assert_eq!(desk.json(&desk.approver, &agree(&desk, "approver", &first))["enough"], true);
    let made = desk.json(&desk.maker, &desk.export("agreed", ""));
    assert_eq!(made["counts"]["records_out"], 60);

    // a change of any kind asks for both anew, and nobody agrees to what they did not read
    fs::write(desk.path("policy.toml"), format!("{POLICY}# not what was read\n")).unwrap();
    let said = desk.refused(&desk.maker, &desk.export("changed", ""));
    assert!(said.contains("nobody agreed"), "{said}");
    let said = desk.refused(&desk.approver, &agree(&desk, "approver", &first));
    assert!(said.contains("not the policy of that hash"), "{said}");
    let second = hash(&desk);
    for who in ["maker", "approver"] {
        desk.json(&desk.maker, &agree(&desk, who, &second));
    }
    desk.json(&desk.maker, &desk.export("changed", ""));

    // who was revoked agreed to nothing; what is added by hand is no agreement
    desk.json(&desk.maker, &format!("keys revoke approver --reason left --nothing-stands {OPENED}"));
    let said = desk.refused(&desk.maker, &desk.export("revoked", ""));
    assert!(said.contains("and maker agreed"), "{said}");
    let shown = format!("policy show @policy.toml --key {} --revoked @keys/revoked.json", desk.public_key);
    let shown: Value = desk.json(&desk.maker, &shown);
    let counts: Vec<&Value> = shown["agreed"].as_array().unwrap().iter().map(|one| &one["counts"]).collect();
    assert_eq!((counts, &shown["enough"]), (vec![&false.into(), &true.into()], &false.into()));
    let of_approver = fs::read_to_string(desk.path("policy.toml.approver.agreed")).unwrap();
    fs::write(desk.path("policy.toml.grace.agreed"), of_approver.replace(&second, &first)).unwrap();
    let said = desk.refused(&desk.maker, &desk.export("forged", ""));
    assert!(said.contains("policy.toml.grace.agreed does not count"), "{said}");
    assert!(said.contains("the signature of this agreement does not fit"), "{said}");

    // it is asked whatever domain a policy names
    desk.json(&desk.maker, &format!("keys domain elsewhere {OPENED}"));
    fs::write(desk.path("elsewhere.toml"), POLICY.replace("\"team-usage\"", "\"elsewhere\"")).unwrap();
    let run = format!("run @elsewhere.toml @policy.toml -o @said/out.ndjson {OPENED}");
    assert!(desk.refused(&desk.maker, &run).contains("takes 2 people"), "another domain");

    // ending it is in the log, as beginning it was
    desk.json(&desk.maker, &format!("keys four-eyes --end {OPENED}"));
    desk.json(&desk.maker, &desk.export("ended", ""));
    let log = desk.json(&desk.maker, &format!("keys log --keys @keys --key {}", desk.public_key));
    let events: Vec<&str> =
        log["entries"].as_array().unwrap().iter().filter_map(|entry| entry["event"].as_str()).collect();
    assert!(events.contains(&"four-eyes") && events.contains(&"two-eyes"), "{events:?}");
    assert_eq!(log["four_eyes"], false);
    assert_eq!(desk.leaks("said"), []);
}
