//! What a configuration may say, and that each key is documented.

use super::keys::{KEYS, markdown};
use super::*;
use std::fs;

const POLICY: &str = include_str!("../../../tests/fixtures/service-policy.toml");
const WHOLE: &str = include_str!("../../../../deploy/pseudo/service.toml");

fn load(text: &str) -> Result<Config, PseudoError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("usage.toml"), POLICY).unwrap();
    let path = folder.path().join("service.toml");
    fs::write(&path, text.replace("/etc/twinkeep-pseudo/usage.toml", "usage.toml")).unwrap();
    Config::load(&path)
}

fn refused(text: &str) -> String {
    let Err(error) = load(text) else { panic!("accepted: {text}") };
    format!("{error} {}", error.advice())
}

#[test]
fn the_shipped_example_is_accepted() {
    let config = load(WHOLE).unwrap();
    let job = &config.jobs[0];
    assert!(config.listen.ip().is_loopback() && config.share_files.is_empty() && config.retention.is_some());
    assert_eq!((job.name.as_str(), job.incremental, job.schedule), ("usage", true, Schedule::Every(3600)));
}

#[test]
fn what_cannot_be_meant_is_refused_by_its_key() {
    let change = |from: &str, to: &str| {
        assert!(WHOLE.contains(from), "{from}");
        refused(&WHOLE.replacen(from, to, 1))
    };
    for (from, to, says) in [
        ("control =", "contorl =", "unknown field `contorl`"),
        ("name = \"usage\"", "name = \"Usage\"", "job.name"),
        ("every = \"PT1H\"", "every = \"PT1S\"", "job.every"),
        ("every = \"PT1H\"", "every = \"P1M\"", "job.every"),
        ("every = \"PT1H\"", "daily_at = \"2:30\"", "job.daily_at"),
        ("every = \"PT1H\"", "every = \"PT1H\"\ndaily_at = \"02:30\"", "either"),
        ("every = \"PT1H\"\n", "", "either"),
        ("listen = \"127.0.0.1:9110\"", "listen = \"10.0.0.1:9110\"", "service.listen"),
        ("drafts = \"s3://drafts/usage\"", "drafts = \"drafts/usage\"", "job.drafts"),
        ("drafts = \"s3://drafts/usage\"", "drafts = \"s3://analytics/usage\"", "drafts would lie"),
        ("incremental = true", "incremental = true\nsources = [\"s3://other/\"]", "elsewhere"),
        ("incremental = true", "incremental = true\npart_rows = 0", "job.part_rows"),
        ("https://s3.example.org", "http://s3.example.org", "plain http"),
    ] {
        let said = change(from, to);
        assert!(said.contains(says), "{to}: {said}");
    }
    let job = &WHOLE[WHOLE.find("[[job]]").unwrap()..];
    assert!(refused(&format!("{WHOLE}\n{job}")).contains("two jobs are called usage"));
    let vault = POLICY.replace("technique = \"prf\"", "technique = \"prf+vault\"")
        + "\n[reidentify]\napprovers = 1\nsecond_factor = true\nreasons = [\"incident\"]\nwindow = \"PT4H\"\nmax_rows = 50\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("usage.toml"), vault).unwrap();
    let path = folder.path().join("service.toml");
    fs::write(&path, WHOLE.replace("/etc/twinkeep-pseudo/usage.toml", "usage.toml")).unwrap();
    let error = Config::load(&path).err().unwrap();
    assert!(error.to_string().contains("prf+vault"), "{error}");
}

#[test]
fn the_documentation_has_the_table_of_the_code() {
    for doc in KEYS {
        assert!(toml::from_str::<toml::Table>(&format!("example = {}", doc.example)).is_ok(), "{}", doc.key);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pseudonymisation.md");
    let page = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- keys: written from serve/config/keys.rs -->\n", "<!-- end of keys -->");
    let (head, rest) = page.split_once(begin).unwrap();
    let (table, tail) = rest.split_once(end).unwrap();
    if std::env::var_os("TWINKEEP_UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{head}{begin}{}{end}{tail}", markdown())).unwrap();
        return;
    }
    assert_eq!(table, markdown(), "run the test with TWINKEEP_UPDATE_DOCS=1 to write {}", path.display());
}
