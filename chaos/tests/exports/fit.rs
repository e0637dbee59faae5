//! What a policy has done about rows that are not as its gate demands: they climb their hierarchies, or are left out.

use std::fs;

use serde_json::{Value, json};

use crate::desk::{Desk, POLICY, records};

/// 60 records of three sites, 20 to a class; and 5 of a fourth one.
fn fill(desk: &Desk) {
    let mut client = desk.dev.client().unwrap();
    client.put("jobs", "in/many.ndjson", &records(0..60)).unwrap();
    let few = String::from_utf8(records(0..15)).unwrap();
    let few: String =
        few.lines().filter(|line| line.contains("\"lyon\"")).map(|line| format!("{line}\n")).collect();
    client.put("jobs", "in/few.ndjson", few.replace("\"lyon\"", "\"bergen\"").as_bytes()).unwrap();
}

/// The policy with other gate keys, and rows that can be read here.
fn policy(desk: &Desk, gate: &str, site: &str) {
    let text = POLICY
        .replace("format = \"parquet\"\ncompression = \"zstd\"", "format = \"ndjson\"")
        .replace("k = 10\nl = 2\nt = 0.4\nmax_avg_risk = 0.1\nmax_token_top_share = 0.1\n", gate)
        .replace("technique = \"keep\"\nbecause = \"three sites\"\n", site);
    fs::write(desk.path("policy.toml"), text).unwrap();
}

/// How many rows of an export there are of each site.
fn sites(desk: &Desk, export: &str) -> Value {
    let mut client = desk.dev.client().unwrap();
    let mut counts = serde_json::Map::new();
    for name in desk.names("drafts", &format!("usage/{export}/data/")) {
        let part = String::from_utf8(client.get("drafts", &name).unwrap().unwrap()).unwrap();
        for line in part.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let count = counts.entry(row["site"].as_str().unwrap()).or_insert(json!(0));
            *count = json!(count.as_u64().unwrap() + 1);
        }
    }
    counts.into()
}

#[test]
fn rows_that_are_too_rare_are_left_out_as_far_as_the_policy_allows() {
    let desk = Desk::new("export-suppress", false);
    fill(&desk);
    let keep = "technique = \"keep\"\nbecause = \"four sites\"\n";
    let gate = |share: &str| format!("k = 10\nl = 2\non_fail = \"suppress\"\nmax_suppressed = {share}\n");
    policy(&desk, &gate("0.1"), keep);
    let made = desk.json(&desk.maker, &desk.export("fewer", ""));
    let fitted = json!({ "on_fail": "suppress", "levels": {}, "records_left_out": 5 });
    assert_eq!((&made["fitted"], &made["gate_misses"]), (&fitted, &json!([])), "{made}");
    assert_eq!((&made["counts"]["records_in"], &made["counts"]["records_out"]), (&65.into(), &60.into()));
    assert_eq!((&made["figures"]["records"], &made["figures"]["k"]), (&60.into(), &20.into()));
    assert_eq!(sites(&desk, "fewer"), json!({ "berlin": 20, "lyon": 20, "oslo": 20 }));
    // who decides is told, and readers are
    let said = desk.pseudo(&desk.approver, &desk.release("status", "fewer", ""));
    assert!(String::from_utf8(said.stdout).unwrap().contains("5 records were too rare and are left out"));
    assert_eq!(desk.json(&desk.approver, &desk.release("approve", "fewer", "approver"))["state"], "released");
    let release = desk.dev.client().unwrap().get("analytics", "usage/fewer/release.json").unwrap().unwrap();
    assert!(String::from_utf8(release).unwrap().contains("records_left_out"));

    policy(&desk, &gate("0.05"), keep);
    let made = desk.json(&desk.maker, &desk.export("all", ""));
    assert_eq!((&made["fitted"], &made["counts"]["records_out"]), (&Value::Null, &65.into()));
    let misses = made["gate_misses"].as_array().unwrap();
    assert!(misses[0].as_str().unwrap().starts_with("k is 5"), "{misses:?}");
    assert!(
        misses[1].as_str().unwrap().contains("5 of 65 records would have to be left out, 3 may be"),
        "{misses:?}"
    );
}

#[test]
fn quasi_identifiers_climb_their_hierarchies_as_far_as_they_have_to() {
    let desk = Desk::new("export-generalise", false);
    fill(&desk);
    let site = "technique = \"hierarchy\"\nhierarchy = \"site\"\nlevel = 1\n";
    let hierarchy = "\n[[hierarchy]]\nname = \"site\"\nrows = [\"berlin;berlin;de;eu\", \"lyon;lyon;fr;eu\", \"oslo;oslo;no;eu\", \"bergen;bergen;no;eu\"]\n";
    let gate = |k: u64, share: &str| {
        format!("k = {k}\nl = 2\non_fail = \"generalise\"\nmax_suppressed = {share}\n{hierarchy}\n")
    };
    let fitted = |level: u64, left_out: u64| json!({ "on_fail": "generalise", "levels": { "site": level }, "records_left_out": left_out });
    // what is as demanded stays as the policy has it
    policy(&desk, &gate(5, "0"), site);
    let made = desk.json(&desk.maker, &desk.export("as-it-is", ""));
    assert_eq!(
        (&made["fitted"], &made["figures"]["k"], &made["gate_misses"]),
        (&Value::Null, &5.into(), &json!([]))
    );

    policy(&desk, &gate(10, "0"), site);
    let made = desk.json(&desk.maker, &desk.export("countries", ""));
    assert_eq!((&made["fitted"], &made["gate_misses"]), (&fitted(2, 0), &json!([])), "{made}");
    assert_eq!(sites(&desk, "countries"), json!({ "de": 20, "fr": 20, "no": 25 }));

    policy(&desk, &gate(21, "0"), site);
    let made = desk.json(&desk.maker, &desk.export("continent", ""));
    assert_eq!((&made["fitted"], &made["figures"]["k"]), (&fitted(3, 0), &65.into()), "{made}");

    // leaving some out may cost less than making all coarser
    policy(&desk, &gate(21, "0.65"), site);
    let made = desk.json(&desk.maker, &desk.export("one-country", ""));
    assert_eq!((&made["fitted"], &made["figures"]["k"]), (&fitted(2, 40), &25.into()), "{made}");
    assert_eq!(sites(&desk, "one-country"), json!({ "no": 25 }));

    policy(&desk, &gate(66, "0"), site);
    let made = desk.json(&desk.maker, &desk.export("nobody", ""));
    let misses = made["gate_misses"].as_array().unwrap();
    assert!(
        misses.iter().any(|miss| miss.as_str().unwrap().contains("no combination of levels reaches k=66")),
        "{misses:?}"
    );
    assert_eq!(made["fitted"], Value::Null);
}
