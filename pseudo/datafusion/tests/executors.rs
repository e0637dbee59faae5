//! Several executors, each with a part of a table, make what one engine makes of the whole.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use custody::{DomainName, KeyVersion, MasterKey, RootKey};
use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{DataFrame, JsonReadOptions, ParquetReadOptions, SessionContext};
use pipeline::{Engine, Input, PipelineError, Plan, Rare, functions};
use policy::Policy;
use pseudo_datafusion::Transforms;
use tempfile::TempDir;
use transform::RunSeed;

const RECORDS: u64 = 12_000;
const PARTS: u64 = 6;
const EXECUTORS: usize = 3;
const POLICY: &str = r#"
policy = "jobs"
version = 1
domain = "team-usage"
purpose = "capacity planning"
legal_basis = "Art. 6(1)(f)"
owner = "privacy office"
recipient = "team usage"
unknown_field = "stop"
bad_record = "stop"

[source]
bucket = "jobs"
prefix = "in/"
format = "ndjson"

[target]
bucket = "analytics"
prefix = "usage"
format = "csv"
shuffle = false

[retention]
anonymise_after = "P24M"
delete_after = "P36M"

[gate]
quasi_identifiers = ["site"]
k = 5

[[field]]
path = "$.user.email"
technique = "prf"
class = "person.email"
normalise = ["nfc", "email"]

[[field]]
path = "$.user.name"
technique = "drop"

[[field]]
path = "$.site"
technique = "keep"
because = "three sites"

[[field]]
path = "$.printed"
technique = "date-shift"
by = "$.user.email"
max_days = 30

[[field]]
path = "$.pages"
technique = "top-code"
most = 200
type = "integer"
"#;

/// What a test has: a policy, a key under shares, and the same records as NDJSON and as Parquet in parts.
struct Setting {
    folder: TempDir,
    policy: Policy,
    master: MasterKey,
    records: String,
    shares: String,
    parts: Vec<String>,
}

fn fill(seed: u8) -> impl FnOnce(&mut [u8]) -> Result<(), custody::CustodyError> {
    move |bytes| {
        bytes.iter_mut().zip(seed..).for_each(|(byte, value)| *byte = value.wrapping_mul(31));
        Ok(())
    }
}

fn record(number: u64) -> String {
    let person = number * 7919 % 700;
    let name = if number.is_multiple_of(11) { "null".to_owned() } else { format!("\"Person {person}\"") };
    let pages = if number.is_multiple_of(13) { "null".to_owned() } else { (number % 450).to_string() };
    format!(
        "{{\"user\":{{\"email\":\"Person.{person}@Example.org\",\"name\":{name}}},\"site\":\"site {}\",\"printed\":\"2026-0{}-1{}\",\"pages\":{pages}}}\n",
        number % 3,
        number % 9 + 1,
        number % 10
    )
}

impl Setting {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        std::fs::write(path("policy.toml"), POLICY).unwrap();
        let policy = Policy::parse(POLICY).unwrap();
        let root = RootKey::generate(fill(1)).unwrap();
        let domain = DomainName::new("team-usage").unwrap();
        let master = MasterKey::generate(domain, KeyVersion::new(1).unwrap(), fill(2)).unwrap();
        std::fs::write(path("team-usage.1.key"), root.wrap(&master)).unwrap();
        let mut seed = 3;
        let shares = root
            .split(2, 3, |bytes: &mut [u8]| {
                seed += 1;
                fill(seed)(bytes)
            })
            .unwrap();
        let shares: Vec<String> = shares
            .iter()
            .take(2)
            .map(|share| {
                let place = path(&format!("share-{}", share.index()));
                std::fs::write(&place, share.to_text().as_str()).unwrap();
                place
            })
            .collect();
        let session = SessionContext::new();
        let (mut records, mut parts) = (String::new(), Vec::new());
        for part in 0..PARTS {
            let text: String =
                (0..RECORDS / PARTS).map(|number| record(part * RECORDS / PARTS + number)).collect();
            let (source, place) = (path(&format!("{part}.json")), path(&format!("{part}.parquet")));
            std::fs::write(&source, &text).unwrap();
            let table = session.read_json(&source, JsonReadOptions::default()).await.unwrap();
            let one_file = DataFrameWriteOptions::new().with_single_file_output(true);
            table.write_parquet(&place, one_file, None).await.unwrap();
            records += &text;
            parts.push(place);
        }
        Setting { policy, master, records, shares: shares.join(","), parts, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Rows that one engine makes of all records, as CSV writes them.
    fn expected(&self) -> BTreeMap<String, usize> {
        let plan = Plan::new(&self.policy, &self.master, RunSeed([7; 16]), Rare::default()).unwrap();
        let engine = Engine::new(plan, 1 << 20);
        let input = Input::stream(self.records.as_bytes());
        let mut no_spill = || Err(std::io::Error::other("nothing is put in order here"));
        let (report, csv) = engine.run([input], Vec::new(), &mut no_spill).unwrap();
        assert_eq!(report.records_out, RECORDS);
        let text = String::from_utf8(csv).unwrap();
        count(text.lines().skip(1).map(str::to_owned))
    }

    fn begin(&self, executor: usize, parts: &[String]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
        command.arg(self.path("policy.toml")).arg(self.path("team-usage.1.key"));
        command.arg(self.path(&format!("out-{executor}.parquet"))).arg(&self.shares).args(parts);
        command.stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn count(rows: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    rows.for_each(|row| *counts.entry(row).or_default() += 1);
    counts
}

/// All rows of a table, values with commas between them.
async fn rows(table: DataFrame) -> Vec<String> {
    let mut rows = Vec::new();
    let options = FormatOptions::default();
    for batch in table.collect().await.unwrap() {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| {
            columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(",")
        }));
    }
    rows
}

#[tokio::test]
async fn executors_make_together_what_one_engine_makes() {
    let setting = Setting::new().await;
    let of_each = setting.parts.len() / EXECUTORS;
    let begun: Vec<Child> = setting
        .parts
        .chunks(of_each)
        .enumerate()
        .map(|(executor, parts)| setting.begin(executor, parts))
        .collect();
    for child in begun {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let outputs: Vec<String> = (0..EXECUTORS)
        .map(|executor| setting.path(&format!("out-{executor}.parquet")).to_string_lossy().into_owned())
        .collect();
    let session = SessionContext::new();
    let table = session.read_parquet(outputs, ParquetReadOptions::default()).await.unwrap();
    let names: Vec<String> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["user.email", "site", "printed", "pages"], "the policy's columns and nothing else");
    assert_eq!(count(rows(table).await.into_iter()), setting.expected());
}

#[tokio::test]
async fn an_executor_with_too_few_shares_makes_nothing() {
    let setting = Setting::new().await;
    let (first, _) = setting.shares.split_once(',').unwrap();
    let few = Setting { shares: first.to_owned(), ..setting };
    let output = few.begin(0, &few.parts).wait_with_output().unwrap();
    assert!(!output.status.success() && !few.path("out-0.parquet").exists());
    assert!(String::from_utf8_lossy(&output.stderr).contains("shares"), "{output:?}");
}

#[tokio::test]
async fn a_key_of_another_domain_or_root_makes_nothing() {
    let setting = Setting::new().await;
    let other =
        MasterKey::generate(DomainName::new("other").unwrap(), KeyVersion::new(1).unwrap(), fill(9)).unwrap();
    for (key, problem) in [
        (RootKey::generate(fill(1)).unwrap().wrap(&other), "another domain's"),
        (RootKey::generate(fill(2)).unwrap().wrap(&setting.master), "root"),
    ] {
        std::fs::write(setting.path("team-usage.1.key"), key).unwrap();
        let output = setting.begin(0, &setting.parts).wait_with_output().unwrap();
        assert!(!output.status.success() && !setting.path("out-0.parquet").exists());
        assert!(String::from_utf8_lossy(&output.stderr).contains(problem), "{output:?}");
    }
}

#[tokio::test]
async fn what_a_table_does_not_have_is_null_and_groups_that_are_null_hold_nothing() {
    let setting = Setting::new().await;
    let transforms = Transforms::new(&setting.policy, &setting.master).unwrap();
    let text = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let member = Field::new("email", DataType::Utf8, true);
    // the second group is null, and its column holds something all the same
    let around = NullBuffer::from(vec![true, false]);
    let users = StructArray::new(
        vec![member].into(),
        vec![text(["ada@example.org", "bob@example.org"])],
        Some(around),
    );
    let batch = RecordBatch::try_from_iter([
        ("user", Arc::new(users) as ArrayRef),
        ("site", text(["here", "there"])),
    ]);
    let session = SessionContext::new();
    let table = transforms.select(session.read_batch(batch.unwrap()).unwrap()).unwrap();
    let rows = rows(table).await;
    assert!(rows[0].starts_with("v1_") && rows[0].ends_with(",here,,"), "{rows:?}");
    assert_eq!(rows[1], ",there,,");
}

#[tokio::test]
async fn sql_joins_and_counts_by_token_and_names_what_is_wrong() {
    let setting = Setting::new().await;
    let transforms = Transforms::new(&setting.policy, &setting.master).unwrap();
    let session = SessionContext::new();
    session.register_udf(transforms.function());
    let table = session.read_parquet(setting.parts.clone(), ParquetReadOptions::default()).await.unwrap();
    session.register_table("jobs", table.into_view()).unwrap();
    let by_person = "SELECT count(*) FROM jobs GROUP BY get_field(\"user\", 'email')";
    let by_token =
        "SELECT count(*) FROM jobs GROUP BY pseudonymise('user.email', get_field(\"user\", 'email'))";
    let by_cast = "SELECT count(*) FROM jobs GROUP BY pseudonymise('user.email', arrow_cast(get_field(\"user\", 'email'), 'Dictionary(Int32, Utf8)'))";
    let counts = |sql: &'static str| {
        let session = session.clone();
        async move { count(rows(session.sql(sql).await.unwrap()).await.into_iter()) }
    };
    let expected = counts(by_person).await;
    assert_eq!(expected.values().sum::<usize>(), 700);
    assert_eq!(counts(by_token).await, expected);
    assert_eq!(counts(by_cast).await, expected);
    for (sql, problem) in [
        ("SELECT pseudonymise('user.name', site) FROM jobs", "no column of this name"),
        ("SELECT pseudonymise(site, site) FROM jobs", "in quotes"),
        ("SELECT pseudonymise('printed', printed) FROM jobs", "'printed', printed, user.email"),
        ("SELECT pseudonymise('site', site, site) FROM jobs", "'site', site)"),
        ("SELECT pseudonymise('printed', 'the day of Ada', 'ada@example.org')", "column printed"),
    ] {
        let failed = match session.sql(sql).await {
            Ok(table) => table.collect().await.unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(failed.contains(problem), "{sql}: {failed}");
        assert!(!failed.contains("Ada"), "{failed}");
    }
}

#[tokio::test]
async fn a_column_that_no_rule_names_never_passes() {
    let setting = Setting::new().await;
    let read = || async {
        let session = SessionContext::new();
        let table = session.read_parquet(setting.parts.clone(), ParquetReadOptions::default()).await.unwrap();
        table.with_column("secret_of_ada", datafusion::prelude::lit(1)).unwrap()
    };
    let stops = Transforms::new(&setting.policy, &setting.master).unwrap();
    let refused = stops.select(read().await).unwrap_err().to_string();
    assert!(refused.contains("named by no rule") && !refused.contains("ada"), "{refused}");
    let drops =
        Policy::parse(&POLICY.replace("unknown_field = \"stop\"", "unknown_field = \"drop\"")).unwrap();
    let drops = Transforms::new(&drops, &setting.master).unwrap();
    assert_eq!(count(rows(drops.select(read().await).unwrap()).await.into_iter()), setting.expected());
}

#[tokio::test]
async fn columns_that_depend_on_the_whole_run_are_refused() {
    let setting = Setting::new().await;
    let field = "technique = \"prf\"\nclass = \"person.email\"";
    for (instead, problem) in [
        ("technique = \"prf+vault\"\nclass = \"person.email\"", "vault"),
        ("technique = \"prf\"\nscope = \"record\"\nclass = \"person.email\"", "scope record"),
        ("technique = \"null-if-rare\"\nmin_records = 5\nbecause = \"test\"", "counts all records"),
    ] {
        let policy = Policy::parse(&POLICY.replace(field, instead)).unwrap();
        let refused = functions(&policy, &setting.master).err().unwrap();
        assert!(matches!(&refused, PipelineError::NoFunction { .. }));
        assert!(refused.to_string().contains(problem), "{refused}");
    }
    for (from, to, problem) in [
        ("bad_record = \"stop\"", "bad_record = \"drop\"", "leave its record out"),
        (
            "path = \"$.site\"\ntechnique = \"keep\"\nbecause = \"three sites\"",
            "path = \"$.email\"\ntechnique = \"keep\"",
            "$.email",
        ),
    ] {
        let policy = Policy::parse(&POLICY.replace(from, to).replace("[\"site\"]", "[\"pages\"]")).unwrap();
        let refused = functions(&policy, &setting.master).err().unwrap();
        assert!(refused.to_string().contains(problem), "{refused}");
    }
}
