//! `pseudo keys`, `lint`, `init` and `run` from outside: what works, what is refused, and that nothing clear comes out anywhere.
#![allow(clippy::unwrap_used, reason = "tests")]

mod here;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use here::pseudo;
use rustix::process::Signal;
use serde_json::Value;

const POLICY: &str = include_str!("../policy/tests/fixtures/printjobs.toml");
/// A name, an address and a number that must never be seen again.
const SECRETS: [&str; 4] = ["lovelace", "example.org", "10.1.2.3", "sn0041773"];

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(place.path("policy.toml"), POLICY).unwrap();
        fs::write(place.path("jobs.ndjson"), (0..20).map(record).collect::<String>()).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file for its owner alone.
    fn secret(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        let owner_alone = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(self.path(name), owner_alone).unwrap();
    }

    /// Runs `pseudo`, words that begin with `@` standing for files here.
    fn run(&self, line: &str) -> Output {
        let mut command = pseudo(self.folder.path(), line);
        command.stdin(Stdio::null()).env_remove("PSEUDO_KEYS");
        let output = command.output().unwrap();
        let said = [&output.stdout[..], &output.stderr].concat();
        clean(&String::from_utf8_lossy(&said), line);
        output
    }

    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().count(), 1, "{line}: {text} {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).unwrap()
    }

    /// A root of which two of three shares are needed, and a key of the policy's domain.
    fn with_keys(self) -> Self {
        let made = self.json("keys create --keys @keys --shares @shares --count 3 --threshold 2");
        assert_eq!(made["shares"].as_array().unwrap().len(), 3);
        let key = self.json(
            "keys domain team-usage --keys @keys --share @shares/share-1.txt --share @shares/share-2.txt",
        );
        assert_eq!(key["version"], 1);
        self
    }

    fn error(&self, line: &str) -> (i32, String) {
        let output = self.run(line);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

const OPENED: &str = "--keys @keys --share @shares/share-3.txt --share @shares/share-1.txt";

fn record(number: u32) -> String {
    format!(
        "{{\"user\":{{\"email\":\"Ada.Lovelace{}@Example.org\",\"name\":\"Ada Lovelace\"}},\"client\":{{\"ip\":\"10.1.2.3\"}},\
         \"device\":{{\"serial\":\"SN0041773{}\",\"site\":\"berlin-3\"}},\"submitted_at\":\"2026-11-22T13:45:10Z\",\
         \"department\":\"research\",\"pages\":{number},\"colour\":true}}\n",
        number % 4,
        number % 10
    )
}

fn clean(text: &str, what: &str) {
    let text = text.to_lowercase();
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} shows {secret}: {text}");
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_file_is_pseudonymised_and_nothing_clear_is_left_anywhere() {
    let place = Place::new().with_keys();
    let output = place.run(&format!("run @policy.toml @jobs.ndjson -o @out.ndjson {OPENED} --json"));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("[gate] is judged by `export` only"),
        "{output:?}"
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["records_in"], &report["records_out"], &report["key_version"]),
        (&20.into(), &20.into(), &1.into())
    );
    assert_eq!(report["normalisers"]["$.user.email"][1], "email@1");
    let output = read(&place.path("out.ndjson"));
    clean(&output, "the output");
    let rows: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut pages: Vec<u64> = rows.iter().map(|row| row["pages"].as_u64().unwrap()).collect();
    assert!(!pages.is_sorted(), "rows are in another order");
    pages.sort_unstable();
    assert_eq!(pages, (0..20).collect::<Vec<_>>());
    let tokens: std::collections::HashSet<&str> =
        rows.iter().map(|row| row["user"]["email"].as_str().unwrap()).collect();
    assert!(tokens.len() == 4 && tokens.iter().all(|token| token.starts_with("v1_")), "{tokens:?}");
    // nothing but what was named is left in the folder
    let mut left: Vec<String> = fs::read_dir(place.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["jobs.ndjson", "keys", "out.ndjson", "policy.toml", "shares"]);
    // a run can be repeated, byte for byte
    let seed = report["run"].as_str().unwrap();
    place.json(&format!("run @policy.toml @jobs.ndjson -o @again.ndjson --repeat {seed} {OPENED}"));
    assert_eq!(read(&place.path("again.ndjson")), output);
    // what exists is left alone
    let (code, said) = place.error(&format!("run @policy.toml @jobs.ndjson -o @out.ndjson {OPENED}"));
    assert!(code == 1 && said.contains("exists"), "{said}");
}

#[test]
fn tokens_of_the_next_key_say_so_and_an_old_one_can_be_named() {
    let place = Place::new().with_keys();
    place.json(&format!("keys domain team-usage {OPENED}"));
    for (extra, prefix) in [("", "v2_"), (" --key-version 1", "v1_")] {
        let out = format!("out{prefix}.ndjson");
        place.json(&format!("run @policy.toml @jobs.ndjson -o @{out} {OPENED}{extra}"));
        assert!(read(&place.path(&out)).contains(&format!("\"email\":\"{prefix}")));
    }
    let (code, _) = place.error("keys destroy team-usage --version 1 --keys @keys");
    assert_eq!(code, 2, "destroying has to be meant");
    place.json("keys destroy team-usage --version 1 --keys @keys --yes");
    let listed = place.json("keys list --keys @keys");
    assert_eq!(listed["keys"].as_array().unwrap().len(), 1);
    let (code, _) =
        place.error(&format!("run @policy.toml @jobs.ndjson -o @x.ndjson {OPENED} --key-version 1"));
    assert_eq!(code, 2);
}

#[test]
fn what_somebody_ends_leaves_nothing_of_its_output() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let place = Place::new().with_keys();
        // an input that has no end as long as nobody closes it
        assert!(Command::new("mkfifo").arg(place.path("endless.ndjson")).status().unwrap().success());
        let line = format!("run @policy.toml @endless.ndjson -o @out.ndjson {OPENED}");
        let mut command = pseudo(place.folder.path(), &line);
        let running = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let endless = fs::OpenOptions::new().write(true).open(place.path("endless.ndjson")).unwrap();
        let left = || {
            let names = fs::read_dir(place.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().starts_with("out.ndjson")).count()
        };
        assert_eq!(left(), 1, "it is being made");
        let id = rustix::process::Pid::from_raw(running.id().cast_signed()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
        let output = running.wait_with_output().unwrap();
        drop(endless);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), left()), (Some(code), 0), "{said}");
        assert!(said.contains("ended before it was whole"), "{said}");
    }
}

#[test]
fn too_few_wrong_and_foreign_shares_open_nothing() {
    let place = Place::new().with_keys();
    place.json("keys create --keys @other --shares @foreign --count 2 --threshold 2");
    place.secret("typo.txt", &read(&place.path("shares/share-1.txt")).replacen('5', "6", 1));
    for (shares, says) in [
        ("--share @shares/share-1.txt", "1 shares are here, 2 are needed"),
        ("--share @shares/share-1.txt --share @shares/share-1.txt", "given twice"),
        ("--share @shares/share-1.txt --share @foreign/share-2.txt", "not all of one root"),
        ("--share @foreign/share-1.txt --share @foreign/share-2.txt", "another root"),
        ("--share @shares/share-2.txt --share @typo.txt", "share"),
        ("--share @shares/share-2.txt --share @absent.txt", "reading failed"),
    ] {
        for line in ["keys verify", "keys domain team-usage", "run @policy.toml @jobs.ndjson -o @out.ndjson"]
        {
            let (code, said) = place.error(&format!("{line} --keys @keys {shares}"));
            assert!(code == 1 && said.contains(says), "{line} {shares}: {said}");
        }
    }
    assert!(!place.path("out.ndjson").exists());
    assert_eq!(place.json(&format!("keys verify {OPENED}"))["opened"], 1);
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(place.path("shares/share-1.txt")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn operators_are_enrolled_by_enough_shares_and_open_their_key_with_their_own_passphrase() {
    let place = Place::new().with_keys();
    let public = place.json(&format!("keys signing {OPENED}"))["public_key"].as_str().unwrap().to_owned();
    for line in ["keys list --keys @keys".to_owned(), format!("keys verify {OPENED}")] {
        assert_eq!(place.json(&line)["public_key"], public.as_str(), "{line}");
    }
    let (code, said) = place.error(&format!("keys signing {OPENED}"));
    assert!(code == 1 && said.contains("exists"), "there is one for a folder: {said}");
    assert!(said.contains("left alone"), "{said}");
    place.secret("pass.txt", "a long passphrase\n");
    place.secret("other.txt", "another passphrase\n");
    let made = place.json("keys operator ada -o @ada.key --passphrase-file @pass.txt");
    assert_eq!(made["operator"], "ada");
    let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(place.path("ada.key")).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(place.error("keys operator ada -o @bob.key").0, 2, "without a passphrase");
    assert_eq!(
        place.error("keys operator Ada -o @bob.key --passphrase-file @pass.txt").0,
        1,
        "a name it cannot have"
    );
    let (code, said) = place.error("keys enrol @ada.key --keys @keys --share @shares/share-1.txt");
    assert!(code == 1 && said.contains("2 are needed"), "{said}");
    let status = |passphrase: &str| {
        let line = "release refuse s3://drafts/x --reason no --endpoint http://127.0.0.1:9 --credentials @access.txt";
        place.error(&format!("{line} --key {public} --operator @ada.key --passphrase-file @{passphrase}"))
    };
    place.secret("access.txt", "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n");
    let (code, said) = status("other.txt");
    assert!(code == 1 && said.contains("the passphrase is another"), "{said}");
    let (code, said) = status("pass.txt");
    assert!(code == 1 && said.contains("ada.key.certificate"), "nobody vouches for ada yet: {said}");
    place.json(&format!("keys enrol @ada.key {OPENED}"));
    assert_eq!(place.json(&format!("keys verify {OPENED}"))["opened"], 1, "what signs is no domain key");
    // a certificate counts under the service's key alone
    let foreign = "00".repeat(32);
    let line = "release status s3://drafts/x --endpoint http://10.1.1.1 --credentials @access.txt";
    let (code, said) = place.error(&format!("{line} --key {foreign}"));
    assert!(code == 2 && said.contains("plain http to another machine"), "{said}");
}

#[test]
fn a_run_that_stops_leaves_no_output_and_says_where() {
    let place = Place::new().with_keys();
    let mut jobs: String = (0..3).map(record).collect();
    jobs.push_str(
        "{\"user\":{\"email\":\"ada.lovelace@example.org\",\"email\":\"ada.lovelace@example.org\"}}\n",
    );
    fs::write(place.path("jobs.ndjson"), &jobs).unwrap();
    let stopping = POLICY.replace("bad_record = \"drop\"", "bad_record = \"stop\"");
    fs::write(place.path("stop.toml"), stopping).unwrap();
    let (code, said) = place.error(&format!("run @stop.toml @jobs.ndjson -o @out.ndjson {OPENED}"));
    assert!(code == 1 && said.contains("input 1, record 4, byte") && said.contains("field twice"), "{said}");
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 5, "no output, whole or in part");
    let report = place.json(&format!("run @policy.toml @jobs.ndjson -o @out.ndjson {OPENED}"));
    assert_eq!(
        (&report["records_dropped"], &report["faults"][0]["first"][0]["record"]),
        (&1.into(), &4.into())
    );
}

#[test]
fn a_sample_in_parquet_is_refused_with_what_to_give_instead() {
    let place = Place::new();
    fs::write(place.path("jobs.parquet"), "PAR1").unwrap();
    let (code, said) = place.error("init @jobs.parquet");
    assert!(code == 2 && said.contains("as NDJSON, JSON or CSV") && !said.contains("--format"), "{said}");
    assert!(place.error("init @policy.toml").1.contains("--format"));
}

#[test]
fn a_dry_run_needs_no_keys_and_shows_no_value_that_is_not_let_through() {
    let place = Place::new();
    let shown = place.json("run @policy.toml @jobs.ndjson --dry-run");
    let first = &shown["records"][0]["columns"][0];
    assert_eq!(
        (first["path"].as_str(), first["before"].as_str()),
        (Some("$.user.email"), Some("text of 17 to 32 bytes"))
    );
    assert_eq!(
        (shown["records"].as_array().unwrap().len(), &shown["dropped"][0]),
        (5, &"$.user.name".into())
    );
    let text = String::from_utf8(place.run("run @policy.toml @jobs.ndjson --dry-run").stdout).unwrap();
    assert!(text.contains("record 5") && text.contains("dropped: $.user.name"), "{text}");
}

#[test]
fn nothing_runs_under_a_policy_with_errors() {
    let place = Place::new();
    assert_eq!(place.json("lint @policy.toml --sample @jobs.ndjson")["errors"], 0);
    fs::write(place.path("policy.toml"), POLICY.replace("k = 10", "k = 1")).unwrap();
    let found = place.json("lint @policy.toml");
    assert_eq!((&found["errors"], &found["findings"][0]["rule"]), (&1.into(), &"gate-k".into()));
    assert_eq!(place.run("lint @policy.toml").status.code(), Some(1));
    assert_eq!(place.error("run @policy.toml @jobs.ndjson --dry-run").0, 2);
    fs::write(place.path("policy.toml"), "policy = \"ada.lovelace@example.org").unwrap();
    let (code, said) = place.error("lint @policy.toml");
    assert!(code == 1 && said.contains("line 1"), "{said}");
}

#[test]
fn a_proposal_becomes_a_policy_once_a_person_has_filled_it_in() {
    let place = Place::new();
    let text = place.json("init @jobs.ndjson --name jobs")["policy"].as_str().unwrap().to_owned();
    clean(&text, "the proposal");
    fs::write(place.path("policy.toml"), &text).unwrap();
    assert_eq!(
        place.run("lint @policy.toml").status.code(),
        Some(1),
        "purpose, legal basis and owner are missing"
    );
    let mut filled = text;
    for key in ["purpose", "legal_basis", "owner"] {
        filled = filled.replace(&format!("{key} = \"\""), &format!("{key} = \"x\""));
    }
    fs::write(place.path("policy.toml"), filled).unwrap();
    assert_eq!(place.json("lint @policy.toml --sample @jobs.ndjson")["errors"], 0);
    let shown = place.run("run @policy.toml @jobs.ndjson --dry-run");
    assert_eq!(shown.status.code(), Some(0));
    assert_eq!(place.error("init @policy.toml").0, 2, "a format that cannot be told is asked for");
}

#[test]
fn csv_packed_with_gzip_becomes_csv() {
    let place = Place::new().with_keys();
    let csv: String =
        (0..30).map(|number| format!("ada.lovelace{number}@example.org,{}\n", number % 3)).collect();
    fs::write(place.path("jobs.csv"), format!("user.email,pages\n{csv}")).unwrap();
    assert!(Command::new("gzip").arg(place.path("jobs.csv")).status().unwrap().success());
    let policy = POLICY.replace("format = \"ndjson\"", "format = \"csv\"");
    fs::write(place.path("policy.toml"), policy).unwrap();
    let report = place.json(&format!("run @policy.toml @jobs.csv.gz -o @out.csv {OPENED}"));
    // dates need the person's address alone; what is absent is null
    assert_eq!(report["records_out"], 30, "{report}");
    let output = read(&place.path("out.csv"));
    clean(&output, "the output");
    assert!(output.starts_with("user.email,client.ip,"), "{output}");
}

/// Writes a nested Parquet file as another program does, and reads ours back.
const PYARROW: &str = r#"
import datetime, json, sys
import pyarrow as pa, pyarrow.parquet as pq

if sys.argv[1] == "write":
    rows = [json.loads(line) for line in open(sys.argv[2])]
    for row in rows:
        row["submitted_at"] = datetime.datetime.fromisoformat(row["submitted_at"])
    table = pa.Table.from_pylist(rows)
    for unit, codec in [("ms", "snappy"), ("ns", "zstd"), ("us", "none")]:
        place = table.schema.get_field_index("submitted_at")
        cast = table.set_column(place, "submitted_at", table["submitted_at"].cast(pa.timestamp(unit, "UTC")))
        pq.write_table(cast, f"{sys.argv[3]}.{unit}.parquet", compression=codec, row_group_size=7)
else:
    table = pq.read_table(sys.argv[2])
    statistics = pq.ParquetFile(sys.argv[2]).metadata.row_group(0).column(0).statistics
    assert statistics.has_min_max and statistics.has_null_count
    print(json.dumps(table.to_pylist()))
"#;

#[test]
fn parquet_of_another_program_is_read_and_ours_is_read_by_it() {
    let place = Place::new().with_keys();
    let programs = chaos::tools::python_environment("venv-figures", "pseudo/tests/requirements.txt").unwrap();
    let python = |arguments: [&str; 3]| {
        let words = arguments.iter().filter(|word| !word.is_empty());
        let output =
            Command::new(programs.join("python")).args(["-c", PYARROW]).args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    python(["write", &path("jobs.ndjson"), &path("jobs")]);
    let from_json = place.json(&format!("run @policy.toml @jobs.ndjson -o @out.ndjson {OPENED}"));
    let seed = from_json["run"].as_str().unwrap();
    let expected: Vec<Value> =
        read(&place.path("out.ndjson")).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    fs::write(place.path("policy.toml"), POLICY.replace("format = \"ndjson\"", "format = \"parquet\""))
        .unwrap();
    for unit in ["ms", "ns", "us"] {
        place.json(&format!(
            "run @policy.toml @jobs.{unit}.parquet -o @out.{unit}.parquet --repeat {seed} {OPENED}"
        ));
        let read: Vec<Value> =
            serde_json::from_slice(&python(["read", &path(&format!("out.{unit}.parquet")), ""])).unwrap();
        // the same run gives the same rows in the same order, whatever they are written in
        assert_eq!(read, expected, "{unit}");
    }
}

#[test]
fn the_record_of_processing_says_what_the_policy_says_and_what_it_does_not() {
    let place = Place::new();
    fs::write(place.path("policy.toml"), POLICY.replace("dpo@example.org", "the privacy office")).unwrap();
    let record = place.json("processing-record @policy.toml");
    assert_eq!(record["b_purposes"]["purpose"], "capacity planning");
    assert_eq!(record["a_responsible"]["owner"], "the privacy office");
    assert_eq!(record["d_recipients"], serde_json::json!(["team usage"]));
    assert_eq!(record["f_erasure"]["deleted_after"], "36 months");
    assert_eq!(record["e_transfers"]["places"][0], "from s3://jobs/cust-12/");
    assert!(record["exports"].is_null(), "nobody looked");
    let fields = record["c_categories"]["fields"].as_array().unwrap();
    assert_eq!(fields.len(), 10);
    let department = fields.iter().find(|field| field["field"] == "$.department").unwrap();
    assert_eq!((&department["sensitive"], &department["technique"]), (&true.into(), &"null-if-rare".into()));
    let page = String::from_utf8(place.run("processing-record @policy.toml").stdout).unwrap();
    assert!(page.contains("holders of the domain's key: device.serial"), "{page}");
    for section in ["(a)", "(b)", "(c)", "(d)", "(e)", "(f)", "(g)", "to be filled in"] {
        assert!(page.contains(section), "{section}: {page}");
    }
    let (code, said) = place.error("processing-record @policy.toml --drafts s3://drafts/usage");
    assert!(code == 2 && said.contains("--key"), "{said}");
}
