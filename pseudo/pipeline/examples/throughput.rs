//! How many records one core takes in a second of processor time: five fields of nested records to tokens, beside copying the same lines.
//!
//! `cargo run --release -p pipeline --example throughput [RECORDS]`

use std::io::{BufWriter, Cursor, Write};

use custody::{ClassName, DatasetName, DomainName, KeyVersion, MasterKey, Purpose, Scope};
use pipeline::{Engine, Input, PipelineError, Plan, Rare, SHUFFLE_MEMORY_BYTES, SpillFile};
use policy::Policy;
use transform::{Clear, Kind, Place, RunSeed, Token, TokenForm};

const POLICY: &str = r#"
policy = "throughput"
version = 1
domain = "bench"
purpose = "measuring"
legal_basis = "none"
owner = "nobody"
unknown_field = "stop"
source = { format = "ndjson" }
target = { format = "ndjson", shuffle = false }
retention = { anonymise_after = "P1M", delete_after = "P2M" }
field = [
  { path = "$.job.id", technique = "prf", class = "job" },
  { path = "$.job.title", technique = "drop" },
  { path = "$.job.pages", technique = "keep" },
  { path = "$.job.colour", technique = "keep" },
  { path = "$.job.media", technique = "keep" },
  { path = "$.user.email", technique = "prf", class = "person.email" },
  { path = "$.user.login", technique = "prf", class = "person.login" },
  { path = "$.user.department", technique = "keep" },
  { path = "$.client.host", technique = "prf", class = "host" },
  { path = "$.client.agent", technique = "keep" },
  { path = "$.device.serial", technique = "prf", class = "device" },
  { path = "$.device.model", technique = "keep" },
  { path = "$.device.firmware", technique = "keep" },
  { path = "$.state", technique = "keep" },
  { path = "$.note", technique = "keep" },
]
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let records: u32 = std::env::args().nth(1).map_or(Ok(200_000), |text| text.parse())?;
    let input: String = (0..records).map(record).collect();
    println!("{records} records, {} bytes each", input.len() / records as usize);
    for round in 1..=5 {
        let copied = timed(|| {
            let mut out = BufWriter::new(Counted(0));
            for line in input.lines() {
                let written = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n"));
                written.expect("counting does not fail");
            }
            Ok(out.get_ref().0)
        })?;
        let tokens = timed(|| Ok(tokens(5 * records)))?;
        let plain = timed(|| run(&input, POLICY))?;
        let shuffled = timed(|| run(&input, &POLICY.replace("shuffle = false", "shuffle = true")))?;
        let per_second = |seconds: f64| f64::from(records) / seconds;
        println!(
            "round {round}: copying lines {:.0}/s, five tokens alone {:.0}/s, records with five tokens {:.0}/s, and in keyed order {:.0}/s",
            per_second(copied),
            per_second(tokens),
            per_second(plain),
            per_second(shuffled)
        );
    }
    Ok(())
}

fn timed(work: impl FnOnce() -> Result<usize, PipelineError>) -> Result<f64, PipelineError> {
    let start = processor_seconds();
    std::hint::black_box(work()?);
    Ok(processor_seconds() - start)
}

/// Time this process had on a processor: on a machine shared with others wall time says little. Linux alone tells it here.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

fn run(input: &str, text: &str) -> Result<usize, PipelineError> {
    let policy = Policy::parse(text).expect("the policy is right");
    let plan = Plan::new(&policy, &master(), RunSeed([1; 16]), Rare::default())?;
    let mut spill = || Ok(Box::new(Cursor::new(Vec::new())) as Box<dyn SpillFile>);
    let engine = Engine::new(plan, SHUFFLE_MEMORY_BYTES);
    let (_, out) = engine.run([Input::stream(input.as_bytes())], Counted(0), &mut spill)?;
    Ok(out.0)
}

/// Takes bytes and counts them.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The work that no program with these tokens can go without.
fn tokens(count: u32) -> usize {
    let token =
        Token::new(&master().field_key(Purpose::Token, &class(), Scope::Domain, &dataset()), TokenForm::Text);
    let (run, mut out) = (RunSeed([1; 16]), Vec::new());
    let place = Place { run: &run, record: 0, person: Clear::Null };
    for _ in 0..count {
        out.clear();
        let done = token.apply(&Clear::Text("person.number.12345@mail.example.org"), &place, &mut out);
        assert_eq!(done, Ok(Kind::Text));
    }
    out.len()
}

fn master() -> MasterKey {
    let domain = DomainName::new("bench").expect("the name is right");
    let Ok(master) = MasterKey::generate(domain, KeyVersion::FIRST, |key| {
        key.fill(1);
        Ok::<(), std::convert::Infallible>(())
    });
    master
}

fn class() -> ClassName {
    ClassName::new("person.email").expect("the name is right")
}

fn dataset() -> DatasetName {
    DatasetName::new("throughput").expect("the name is right")
}

fn record(number: u32) -> String {
    let person = number.wrapping_mul(2_654_435_761) % 50_000;
    format!(
        concat!(
            r#"{{"job":{{"id":"job-2026-11-{:010}","title":"Quarterly report {} of the northern region.docx","#,
            r#""pages":{},"colour":{},"media":"iso_a4_210x297mm"}},"user":{{"email":"person.number.{}@mail.example.org","#,
            r#""login":"EXAMPLE\\u{:06}","department":"research and development"}},"client":{{"#,
            r#""host":"workstation-{:05}.office.example.org","agent":"driver/7.3.1 (universal; pcl6)"}},"#,
            r#""device":{{"serial":"SN{:010}","model":"Imageprinter Pro 4500 MFP","firmware":"2026.07.1-b{}"}},"#,
            r#""state":"completed","note":"held for release at the device, then printed after badge, duplex long edge"}}"#,
            "\n"
        ),
        number,
        number % 977,
        number % 120,
        number.is_multiple_of(3),
        person,
        person,
        person % 9000,
        person % 700,
        number % 40
    )
}
