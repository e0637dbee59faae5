//! Tests of what is said and written about a service, without one.

use super::*;

#[test]
fn policy_configuration_and_rights_speak_of_the_same_places() {
    let policy: toml::Table = toml::from_str(POLICY).unwrap();
    assert_eq!(policy["domain"].as_str(), Some(DOMAIN));
    assert_eq!(policy["source"]["bucket"].as_str(), Some(SOURCE));
    assert_eq!(policy["source"]["prefix"].as_str(), Some(SOURCE_PREFIX));
    assert_eq!(policy["target"]["bucket"].as_str(), Some(RELEASED));
    assert_eq!(policy["target"]["prefix"].as_str(), Some(PREFIX));
    let config: toml::Table = toml::from_str(SERVICE_CONFIG).unwrap();
    let job = &config["job"][0];
    assert_eq!(job["name"].as_str(), Some(JOB));
    assert_eq!(job["drafts"].as_str(), Some(format!("s3://{DRAFTS}/{PREFIX}").as_str()));
}

#[test]
fn the_page_has_commands_that_a_shell_takes_as_they_are() {
    let ready = PseudoReady {
        pid: 7,
        data: "/it's here/pseudo".into(),
        log: "/it's here/logs/pseudo.log".into(),
        health_address: "127.0.0.1:9036".into(),
        job: JOB.into(),
        policy: "/it's here/pseudo/policy.toml".into(),
        source: "s3://a/jobs/".into(),
        drafts: "s3://b/usage".into(),
        released: "s3://c/usage".into(),
        public_key: "00".into(),
        export: Some("print-usage-20261123t023000z".into()),
        second_person: "/it's here/pseudo/second-person.env".into(),
        analyst: "/it's here/pseudo/analyst.env".into(),
    };
    let page = ready.section();
    let file = r"(. '/it'\''s here/pseudo/second-person.env'; ";
    let command = "twinkeep pseudo release approve s3://b/usage/print-usage-20261123t023000z)";
    assert!(page.contains(&format!("{file}{command}")), "{page}");
    assert!(!page.contains("There is no draft yet"), "{page}");
    let page = PseudoReady { export: None, ..ready }.section();
    assert!(page.contains("There is no draft yet") && page.contains("s3://b/usage/EXPORT"), "{page}");
}

#[test]
fn a_folder_without_a_service_says_how_to_make_one() {
    let base = tempfile::tempdir().unwrap();
    let error = process(base.path()).unwrap_err();
    assert!(error.to_string().contains("no pseudonymisation service"), "{error}");
    assert!(error.advice().contains("dev --pseudo"), "{}", error.advice());
}
