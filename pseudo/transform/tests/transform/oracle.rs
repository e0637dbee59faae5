//! A second implementation asked at random: Python with `cryptography` (HKDF, AES-SIV) and `libffx` (FF1).

use std::io::Write;
use std::process::{Command, Stdio};

use custody::{Purpose, Scope};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use transform::*;

use crate::given::Name;

const QUESTIONS: usize = 400;
const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

#[test]
fn another_implementation_gives_the_same_tokens() {
    let mut runner = TestRunner::deterministic();
    let strategy = (
        any::<[u8; 32]>(),
        "[a-z][a-z0-9._-]{0,30}",
        "[a-z][a-z0-9._-]{0,30}",
        "[a-z][a-z0-9._-]{0,30}",
        1_u32..=16_383,
        (any::<[u8; 16]>(), any::<u64>(), 1_u32..=SHIFT_DAYS_MAX),
        (0_usize..3, 0_usize..5),
        ("\\PC{0,60}", "[A-Z0-9]{4,36}", "(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"),
    );
    let (mut questions, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..QUESTIONS {
        let drawn = strategy.new_tree(&mut runner).unwrap().current();
        let (master, domain, class, dataset, version, (run, record, days_max), choice, values) = drawn;
        let name = Name { master, domain: &domain, version, class: &class, dataset: &dataset };
        let (technique, scope) = (["token", "uuid", "siv", "ff1", "date-shift"][choice.1], choice.0);
        let scope = if technique == "siv" { scope % 2 } else { scope };
        let (scope, scope_name) =
            [(Scope::Domain, "domain"), (Scope::Dataset, "dataset"), (Scope::Record, "record")][scope];
        let value = match technique {
            "ff1" => &values.1,
            "date-shift" => &values.2,
            _ => &values.0,
        };
        let seed = RunSeed(run);
        let place = Place { run: &seed, record, person: Clear::Text(&values.0) };
        let clear = Clear::Text(value);
        let mut out = Vec::new();
        let done =
            match technique {
                "token" => Token::new(&name.key(Purpose::Token, scope), TokenForm::Text)
                    .apply(&clear, &place, &mut out),
                "uuid" => Token::new(&name.key(Purpose::Token, scope), TokenForm::Uuid)
                    .apply(&clear, &place, &mut out),
                "siv" => SivToken::new(&name.key(Purpose::Siv, scope)).unwrap().apply(&clear, &mut out),
                "ff1" => {
                    let key = name.key(Purpose::FormatPreserving, scope);
                    let alphabet = Alphabet::new(ALPHABET).unwrap();
                    FormatPreserving::new(&key, alphabet, class.as_bytes(), DOMAIN_MIN)
                        .unwrap()
                        .apply(&clear, &mut out)
                }
                _ => DateShift::new(&name.key(Purpose::DateShift, scope), days_max, TimeUnit::Day)
                    .unwrap()
                    .apply(&clear, &place, &mut out),
            };
        done.unwrap();
        ours.push(String::from_utf8(out).unwrap());
        questions.push(json!({
            "technique": technique, "scope": scope_name, "master": hex(&master), "domain": domain, "class": class,
            "dataset": dataset, "version": version, "run": hex(&run), "record": record, "days_max": days_max,
            "value": value, "person": values.0, "alphabet": ALPHABET,
        }));
    }
    let theirs = ask(&questions);
    assert_eq!(theirs.len(), ours.len());
    for ((question, theirs), ours) in questions.iter().zip(theirs).zip(ours) {
        assert_eq!(theirs, ours, "{question}");
    }
}

fn ask(questions: &[Value]) -> Vec<String> {
    let python = chaos::tools::python_environment("venv-tokens", "pseudo/transform/tests/requirements.txt")
        .unwrap()
        .join("python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/reference.py");
    let mut child = Command::new(python)
        .args([script, "answer"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
