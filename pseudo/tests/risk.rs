//! `pseudo risk` as it is run: the keys it prints, published figures, and every kind of broken input.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Runs `pseudo risk`; arguments are split at spaces.
fn pseudo(file: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pseudo"));
    command.arg("risk").arg(file).args(arguments.split_whitespace()).stdin(Stdio::null());
    command.output().unwrap()
}

fn figures(file: &Path, arguments: &str) -> Value {
    let output = pseudo(file, &format!("{arguments} --json"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The error of a run that must fail with this exit code, printed as JSON and as text alike.
fn refusal(file: &Path, arguments: &str, exit_code: i32) -> String {
    let output = pseudo(file, &format!("{arguments} --json"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(exit_code), "{said}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = object["error"]["message"].as_str().unwrap().to_owned();
    assert!(said.contains(&message) && object["error"]["exit_code"] == exit_code, "{said}");
    message
}

/// The 4-anonymous table of the l-diversity paper (its figure 3), which is what figure 2 becomes: zip code, age and
/// nationality generalised, condition sensitive.
const FOUR_ANONYMOUS: &str = "zip,age,nationality,condition
130**,<30,*,heart disease
130**,<30,*,heart disease
130**,<30,*,viral infection
130**,<30,*,viral infection
1485*,>=40,*,cancer
1485*,>=40,*,heart disease
1485*,>=40,*,viral infection
1485*,>=40,*,viral infection
130**,3*,*,cancer
130**,3*,*,cancer
130**,3*,*,cancer
130**,3*,*,cancer
";

#[test]
fn the_four_anonymous_table_of_the_l_diversity_paper() {
    let folder = Folder::new();
    let table = folder.write("table.csv", FOUR_ANONYMOUS);
    let found = figures(&table, "--quasi zip,age,nationality --sensitive condition");
    for (key, expected) in
        [("records", 12), ("classes", 3), ("k", 4), ("l_distinct", 1), ("discernibility", 48)]
    {
        assert_eq!(found[key], expected, "{key}");
    }
    for (key, expected) in [
        ("l_entropy", 1.0),
        ("t_equal", 7.0 / 12.0),
        ("unique_share", 0.0),
        ("average_risk", 0.25),
        ("highest_risk", 0.25),
    ] {
        assert!((found[key].as_f64().unwrap() - expected).abs() < 1e-12, "{key} is {}", found[key]);
    }
}

#[test]
fn without_a_sensitive_column_its_figures_are_null() {
    let folder = Folder::new();
    let table = folder.write("table.csv", FOUR_ANONYMOUS);
    let found = figures(&table, "--quasi zip,age");
    assert_eq!(
        (&found["l_distinct"], &found["t_equal"], &found["k"]),
        (&Value::Null, &Value::Null, &4.into())
    );
}

#[test]
fn with_several_sensitive_columns_the_worst_figures_come_first() {
    let folder = Folder::new();
    let table = folder.write("table.csv", "q,a,b\n1,x,x\n1,y,x\n2,x,x\n2,y,y\n");
    let found = figures(&table, "--quasi q --sensitive a,b");
    assert_eq!(found["l_distinct"], 1);
    assert_eq!(found["sensitive"]["a"]["l_distinct"], 2);
    assert_eq!(found["t_equal"], found["sensitive"]["b"]["t_equal"]);
}

#[test]
fn any_delimiter_quotes_line_ends_and_a_byte_order_mark_are_read() {
    let folder = Folder::new();
    let plain = folder.write("plain.csv", "q,s\na;b,1\na;b,2\n\"x\ny\",1\n");
    let quoted = folder.write("quoted.csv", "\u{feff}\"q\";s\r\n\"a;b\";\"1\"\r\n\"a;b\";2\r\n\"x\ny\";1");
    let tabs = folder.write("tabs.tsv", "q\ts\na;b\t1\na;b\t2\n\"x\ny\"\t1\n");
    let expected = figures(&plain, "--quasi q --sensitive s");
    assert_eq!((&expected["classes"], &expected["records"]), (&2.into(), &3.into()));
    assert_eq!(figures(&quoted, "--delimiter ; --quasi q --sensitive s"), expected);
    assert_eq!(figures(&tabs, "--delimiter tab --quasi q --sensitive s"), expected);
}

#[test]
fn standard_input_is_read_once() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pseudo"));
    command.args(["risk", "-", "--quasi", "zip,age", "--json"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(FOUR_ANONYMOUS.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["k"], 4);
    let folder = Folder::new();
    folder.write("zip.csv", "130**;*\n1485*;*\n");
    let arguments = format!("--quasi zip --hierarchies {} --search k=2", folder.path().display());
    assert!(refusal(Path::new("-"), &arguments, 2).contains("twice"));
}

#[test]
fn levels_are_taken_from_hierarchies_under_either_name() {
    let folder = Folder::new();
    let table = folder.write("table.csv", "age,zip\n1,10\n2,11\n3,20\n4,21\n");
    folder.write("h/age.csv", "1;low;*\n2;low;*\n3;high;*\n4;high;*\n");
    folder.write("h/example_hierarchy_zip.csv", "10;1*\n11;1*\n20;2*\n21;2*\n");
    let h = format!("--hierarchies {}", folder.path().join("h").display());
    assert_eq!(figures(&table, &format!("--quasi age,zip {h} --levels age=1,zip=1"))["k"], 2);
    assert_eq!(figures(&table, &format!("--quasi age,zip {h} --levels age=2,zip=0"))["k"], 1);
    assert_eq!(figures(&table, &format!("--quasi age {h} --levels age=2"))["k"], 4);
    // what is left out of --levels stays as it is
    assert_eq!(figures(&table, &format!("--quasi age,zip {h} --levels age=2"))["k"], 1);
}

#[test]
fn a_search_prints_levels_and_the_figures_at_them() {
    let folder = Folder::new();
    let table = folder.write("table.csv", "age,zip,s\n1,10,x\n2,11,y\n3,20,x\n4,21,y\n4,99,y\n");
    folder.write("h/age.csv", "1;low;*\n2;low;*\n3;high;*\n4;high;*\n");
    folder.write("h/zip.csv", "10;1*\n11;1*\n20;2*\n21;2*\n99;9*\n");
    let h = format!("--quasi age,zip --sensitive s --hierarchies {}", folder.path().join("h").display());
    let found = figures(&table, &format!("{h} --search k=2,suppress=1"));
    assert_eq!((&found["levels"]["age"], &found["levels"]["zip"]), (&1.into(), &1.into()));
    assert_eq!((&found["k"], &found["suppressed"], &found["records"]), (&2.into(), &1.into(), &4.into()));
    assert_eq!(found["discernibility"], 4 + 4 + 5);
    assert_eq!(found["search"]["minimal_count"], 1);
    assert_eq!(found["search"]["best"], found["search"]["minimal"][0]);
    let message = refusal(&table, &format!("{h} --search k=2,suppress=0"), 1);
    assert!(message.contains("no combination of levels"), "{message}");
    // a given level is kept
    let kept = figures(&table, &format!("{h} --search k=2,suppress=20% --levels age=2"));
    assert_eq!(kept["levels"]["age"], 2);
}

#[test]
fn a_small_memory_gives_the_same_figures_through_a_temporary_file() {
    let folder = Folder::new();
    let mut text = String::from("a,b,s\n");
    for record in 0..1_200_000_u32 {
        let mixed = record.wrapping_mul(2_654_435_761);
        text.push_str(&format!("{},{},{}\n", mixed >> 12, mixed % 3, record % 7));
    }
    let table = folder.write("table.csv", text);
    let mut small = figures(&table, "--quasi a,b --sensitive s --memory 16MiB");
    let mut large = figures(&table, "--quasi a,b --sensitive s --memory 1GiB");
    assert_eq!((small["temporary_file"].take(), large["temporary_file"].take()), (true.into(), false.into()));
    assert_eq!(small, large);
    assert_eq!(small["records"], 1_200_000);
}

/// A value that no message may hold.
const SECRET: &str = "Mara-Musterfrau";

#[test]
fn broken_tables_are_refused_by_place_and_never_by_value() {
    let folder = Folder::new();
    let wide = "x,".repeat(20_000);
    let huge = format!("q,s\n\"{}", SECRET.repeat(1_200_000));
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("empty", Vec::new(), "empty"),
        ("only a header", b"q,s\n".to_vec(), "no records"),
        ("a field too many", format!("q,s\n{SECRET},1\n{SECRET},1,2\n").into_bytes(), "record 2"),
        ("a field too few", format!("q,s\n{SECRET}\n").into_bytes(), "record 1"),
        ("a name twice", format!("q,s,q\n{SECRET},1,2\n").into_bytes(), "column 3"),
        ("a header that is no text", b"q,\xff\xfe\n1,2\n".to_vec(), "column 2 is not UTF-8"),
        ("UTF-16", b"q\0,\0s\0\n\0".to_vec(), "not UTF-8"),
        ("too many columns", wide.into_bytes(), "more than 16384 fields"),
        ("a quote that is not closed", huge.into_bytes(), "longer than"),
    ];
    for (name, content, expected) in cases {
        let table = folder.write("table.csv", content);
        let message = refusal(&table, "--quasi q --sensitive s", 1);
        assert!(message.contains(expected), "{name}: {message}");
        assert!(!message.contains(SECRET), "{name}: {message}");
    }
}

#[test]
fn odd_values_are_measured_and_counted() {
    let folder = Folder::new();
    let table =
        folder.write("table.csv", b"q,s\n\xff\xfe,1\n\xff\xfe,2\na\0b,1\na\0b,2\n,1\n,2\n".as_slice());
    let found = figures(&table, "--quasi q --sensitive s");
    assert_eq!(
        (&found["classes"], &found["k"], &found["values_not_utf8"]),
        (&3.into(), &2.into(), &2.into())
    );
    let long = format!("q,s\n{0},1\n{0},2\n", "v".repeat(3 << 20));
    assert_eq!(figures(&folder.write("long.csv", long), "--quasi q --sensitive s")["k"], 2);
}

#[test]
fn a_value_that_its_hierarchy_lacks_is_named_by_column_and_record() {
    let folder = Folder::new();
    let table = folder.write("table.csv", format!("q,s\na,1\n{SECRET},1\n"));
    folder.write("h/q.csv", "a;*\nb;*\n");
    let arguments = format!("--quasi q --hierarchies {}", folder.path().join("h").display());
    for more in ["--levels q=1", "--search k=2"] {
        let message = refusal(&table, &format!("{arguments} {more}"), 1);
        assert!(message.contains("\"q\"") && message.contains("record 2"), "{message}");
        assert!(!message.contains(SECRET), "{message}");
    }
}

#[test]
fn broken_hierarchies_are_refused_by_row() {
    let folder = Folder::new();
    let table = folder.write("table.csv", "q,s\na,1\n");
    let arguments = format!("--quasi q --hierarchies {} --levels q=1", folder.path().join("h").display());
    for (content, expected) in
        [("", "empty"), ("a;*\nb\n", "row 2 has 1 cells"), ("a;x\na;y\n", "rows 1 and 2")]
    {
        folder.write("h/q.csv", content);
        assert!(refusal(&table, &arguments, 1).contains(expected), "{content}");
    }
    folder.write("h/q.csv", "a;x;1\nb;x;2\n");
    let arguments = format!("--quasi q --hierarchies {} --search k=1", folder.path().join("h").display());
    assert!(refusal(&table, &arguments, 1).contains("cannot be used"));
}

#[test]
fn commands_that_contradict_the_table_are_usage_errors() {
    let folder = Folder::new();
    let table = folder.write("table.csv", "q,s\na,1\n");
    folder.write("h/q.csv", "a;*\n");
    folder.write("two/x_q.csv", "a;*\n");
    folder.write("two/y_q.csv", "a;*\n");
    let h = format!("--hierarchies {}", folder.path().join("h").display());
    let two = format!("--hierarchies {}", folder.path().join("two").display());
    for (arguments, expected) in [
        ("--quasi q,absent".to_owned(), "no column \"absent\""),
        ("--quasi q,q".to_owned(), "named again"),
        ("--quasi q --sensitive q".to_owned(), "named again"),
        ("--quasi q --levels s=1".to_owned(), "no quasi-identifier"),
        ("--quasi q --levels q=1".to_owned(), "needs a hierarchy"),
        (format!("--quasi q,s --levels s=1 {h}"), "no hierarchy"),
        (format!("--quasi q --levels q=2 {h}"), "no level 2"),
        (format!("--quasi q --levels q=1,q=0 {h}"), "twice"),
        (format!("--quasi q --levels q=1 {two}"), "2 files"),
        (format!("--quasi q {h} --search k=1,l=2"), "sensitive"),
        (format!("--quasi q --sensitive s {h} --search t=0.5,suppress=1"), "left out"),
        ("--quasi q --population 0".to_owned(), "population"),
    ] {
        let message = refusal(&table, &arguments, 2);
        assert!(message.contains(expected), "{arguments}: {message}");
    }
    let absent = refusal(&folder.path().join("absent.csv"), "--quasi q", 1);
    assert!(absent.contains("opening failed"), "{absent}");
}

#[test]
fn the_table_for_people_says_the_same() {
    let folder = Folder::new();
    let table = folder.write("table.csv", FOUR_ANONYMOUS);
    let output = pseudo(&table, "--quasi zip,age,nationality --sensitive condition");
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in ["records 12", "k 4", "sensitive \"condition\"", "l, entropy 1.0000", "t, equal 0.5833"] {
        assert!(words.contains(line), "{text}");
    }
}
