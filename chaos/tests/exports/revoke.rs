//! Operators who are revoked: what they had decided stands, what they decide afterwards does not, whoever tells them nothing.

use crate::desk::Desk;
use crate::fill;

const OPENED: &str = "--keys @keys --share @shares/share-1.txt --share @shares/share-2.txt";

#[test]
fn decisions_of_a_revoked_operator_stand_if_they_were_there_and_no_later_one_does() {
    let desk = Desk::new("export-revoked", false);
    fill(&desk, 60);
    for name in ["before", "after", "never"] {
        desk.json(&desk.maker, &desk.export(name, ""));
    }
    desk.json(&desk.approver, &desk.release("approve", "before", "approver"));
    desk.json(&desk.maker, "keys operator second -o @second.operator");
    desk.json(&desk.maker, &format!("keys enrol @second.operator {OPENED}"));
    let revoke = |who: &str, more: &str| format!("keys revoke {who} --reason left {more} {OPENED}");
    let done = desk.json(&desk.maker, &revoke("approver", "--drafts s3://drafts/usage"));
    assert_eq!(done["revoked"][0]["decisions_that_stand"], 1);

    // nobody told their program, and their rights at the store were not taken
    desk.json(&desk.approver, &desk.release("approve", "after", "approver"));
    let listed = |line: String| format!("{line} --revoked @keys/revoked.json");
    let state = |name: &str| {
        desk.json(&desk.approver, &listed(desk.release("status", name, "")))["state"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(
        (state("before"), state("after"), state("never")),
        ("released".into(), "void".into(), "draft".into())
    );
    let said = desk.refused(&desk.approver, &listed(desk.release("approve", "after", "second")));
    assert!(said.contains("which does not count"), "{said}");
    let said = desk.refused(&desk.approver, &listed(desk.release("approve", "never", "approver")));
    assert!(said.contains("this key of approver was revoked at"), "{said}");
    desk.json(&desk.approver, &listed(desk.release("approve", "never", "second")));
    assert_eq!(state("never"), "released");

    // readers who have the list are not taken in
    let verify = |name: &str| {
        desk.download("analytics", &format!("usage/{name}"), &format!("said/{name}"));
        listed(format!("verify @said/{name}/release.json --key {}", desk.public_key))
    };
    assert_eq!(desk.json(&desk.analyst, &verify("before"))["approved_by"], "approver");
    let said = desk.refused(&desk.analyst, &verify("after"));
    assert!(said.contains("a key that was revoked at"), "{said}");
    let register = listed(format!("register s3://drafts/usage --key {}", desk.public_key));
    let register = desk.json(&desk.approver, &register);
    assert_eq!(
        (&register["exports"][0]["state"], &register["exports"][1]["state"]),
        (&"void".into(), &"released".into())
    );

    // who makes exports makes none any more; what they made is what it was
    desk.json(&desk.maker, &revoke("maker", "--nothing-stands"));
    let said = desk.refused(&desk.maker, &desk.export("late", ""));
    assert!(said.contains("this key of maker was revoked at"), "{said}");
    assert_eq!((state("before"), state("never")), ("released".into(), "released".into()));
}
