//! The figures against a second implementation, pycanon, on generated tables, with and without hierarchies, in CSV and Parquet.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use chaos::tools;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// Writes the hierarchies that all tables share: values 0 to 11, halved level by level.
fn write_hierarchies(folder: &Path) {
    for column in ["a", "b", "c"] {
        let mut text = String::new();
        for value in 0..12 {
            let _ = writeln!(text, "{value};{}-;{}--;*", value / 3, value / 6);
        }
        std::fs::write(folder.join(format!("{column}.csv")), text).unwrap();
    }
}

/// Writes a table whose columns are skewed, so that classes differ in size.
fn write_table(path: &Path, random: &mut Random, numeric: bool) {
    let mut text = String::from("a,unused,b,s,c\n");
    let spread = 2 + random.below(10);
    for record in 0..20 + random.below(200) {
        let mut value = |below: u64| random.below(below).min(random.below(below));
        let (a, b, c, s) = (value(spread), value(spread), value(3), value(7));
        let s = if numeric { format!("{}", s as f64 * 2.5 - 4.0) } else { format!("condition {s}") };
        let _ = writeln!(text, "{a},{record},{b},{s},{c}");
    }
    std::fs::write(path, text).unwrap();
}

fn python(script: &str, input: &str) -> String {
    let programs = tools::python_environment("venv-figures", "pseudo/tests/requirements.txt").unwrap();
    let mut command = Command::new(programs.join("python"));
    command.args(["-W", "ignore", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn measured(case: &Value) -> Value {
    let text = |key: &str| case[key].as_str().unwrap().to_owned();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pseudo"));
    command.args(["risk", &text("table"), "--json", "--sensitive", &text("sensitive")]);
    command.args([
        "--quasi",
        &case["quasi"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect::<Vec<_>>()
            .join(","),
    ]);
    let levels = case["levels"].as_object().unwrap();
    if !levels.is_empty() {
        let levels: Vec<String> = levels.iter().map(|(name, level)| format!("{name}={level}")).collect();
        command.args(["--hierarchies", &text("hierarchies"), "--levels", &levels.join(",")]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn compare(case: &Value, ours: &Value, theirs: &Value) {
    let close = |key: &str, left: &Value, right: &Value| {
        let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
        assert!(
            (left - right).abs() <= 1e-9 * right.abs().max(1.0),
            "{key}: {left}, pycanon {right}: {case}"
        );
    };
    for key in [
        "records",
        "classes",
        "k",
        "l_distinct",
        "unique_share",
        "average_risk",
        "highest_risk",
        "discernibility",
    ] {
        close(key, &ours[key], &theirs[key]);
    }
    let attribute = &ours["sensitive"][case["sensitive"].as_str().unwrap()];
    for key in ["alpha", "beta", "delta"] {
        close(key, &attribute[key], &theirs[key]);
    }
    let t = if case["numeric"] == true { "t_ordered" } else { "t_equal" };
    close(t, &attribute[t], &theirs["t"]);
    // pycanon gives the whole number below; rounding may put a whole number on either side
    let (ours, floor) = (ours["l_entropy"].as_f64().unwrap(), theirs["l_entropy_floor"].as_f64().unwrap());
    assert!(ours >= floor - 1e-9 && ours < floor + 1.0 + 1e-9, "entropy l: {ours}, pycanon {floor}: {case}");
}

#[test]
fn figures_agree_with_pycanon() {
    let folder = tempfile::tempdir().unwrap();
    write_hierarchies(folder.path());
    let mut cases = Vec::new();
    for seed in 0..40 {
        let mut random = Random(seed);
        let numeric = seed % 2 == 0;
        let table = folder.path().join(format!("table-{seed}.csv"));
        write_table(&table, &mut random, numeric);
        let quasi: &[&str] = if seed % 3 == 0 { &["a", "b"] } else { &["c", "a", "b"] };
        let mut levels = serde_json::Map::new();
        for name in quasi.iter().filter(|_| seed % 4 > 0) {
            levels.insert((*name).to_owned(), random.below(4).into());
        }
        cases.push(json!({
            "table": table, "quasi": quasi, "sensitive": "s", "numeric": numeric,
            "hierarchies": folder.path(), "levels": levels,
        }));
    }
    let theirs = python(include_str!("figures.py"), &Value::from(cases.clone()).to_string());
    let theirs: Vec<Value> = serde_json::from_str(&theirs).unwrap();
    assert_eq!(theirs.len(), cases.len());
    for (case, theirs) in cases.iter().zip(&theirs) {
        compare(case, &measured(case), theirs);
    }
}

/// Turns a CSV file into Parquet with pyarrow, in small row groups and pages, under each compression.
const TO_PARQUET: &str = r#"
import json, sys
import pyarrow.csv, pyarrow.parquet
for case in json.load(sys.stdin):
    table = pyarrow.csv.read_csv(case["csv"])
    pyarrow.parquet.write_table(table, case["table"], compression=case["compression"], row_group_size=50,
        data_page_size=64, use_dictionary=case["dictionary"], data_page_version=case["version"])
"#;

#[test]
fn parquet_of_other_writers_gives_the_figures_of_its_csv() {
    let folder = tempfile::tempdir().unwrap();
    let (mut conversions, mut pairs) = (Vec::new(), Vec::new());
    for (seed, compression) in ["none", "snappy", "gzip", "zstd", "lz4"].iter().enumerate() {
        let csv = folder.path().join(format!("{seed}.csv"));
        let table = folder.path().join(format!("{seed}.parquet"));
        write_table(&csv, &mut Random(seed as u64), seed % 2 == 0);
        let version = if seed % 2 == 0 { "1.0" } else { "2.0" };
        conversions.push(json!({
            "csv": csv, "table": table, "compression": compression, "dictionary": seed % 3 == 0, "version": version,
        }));
        let case =
            |path: &Path| json!({ "table": path, "quasi": ["a", "b", "c"], "sensitive": "s", "levels": {} });
        pairs.push((case(&csv), case(&table)));
    }
    python(TO_PARQUET, &Value::from(conversions).to_string());
    for (csv, table) in &pairs {
        assert_eq!(measured(csv), measured(table));
    }
}
