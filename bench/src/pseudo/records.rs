//! Print jobs and people, made by arithmetic: the same on every machine, and as much alike as records of one company are.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::BenchError;
use crate::pseudo::policy::Format;

/// People who print.
const PEOPLE: u64 = 50_000;
/// Devices that they print on.
const DEVICES: u64 = 700;
/// Computers that they print from.
const HOSTS: u64 = 9_000;

/// The quasi-identifiers of [`write_people`].
pub const QUASI: [&str; 6] = ["birth_year", "postcode", "sex", "nationality", "department", "role"];

/// A print job; whatever is not here follows from these.
struct Job {
    number: u64,
    person: u64,
    host: u64,
    device: u64,
    pages: u64,
}

impl Job {
    fn new(number: u64) -> Self {
        let drawn = mixed(number);
        // a few people print much: the smaller of two draws
        let person = (drawn % PEOPLE).min((drawn >> 20) % PEOPLE);
        Self {
            number,
            person,
            host: mixed(person) % HOSTS,
            device: (drawn >> 40) % DEVICES,
            pages: 1 + (drawn >> 50) % 120,
        }
    }

    fn title(&self) -> String {
        match self.number % 8 {
            0 => format!("Jahresübersicht {} für den Vorstand.pdf", self.number % 977),
            _ => format!("Quarterly report {} of the northern region.docx", self.number % 977),
        }
    }

    fn colour(&self) -> bool {
        self.number.is_multiple_of(3)
    }

    fn department(&self) -> &'static str {
        ["research and development", "accounting", "sales and service", "production"]
            [(self.person % 4) as usize]
    }

    fn ndjson(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { number, person, host, device, pages } = self;
        writeln!(
            out,
            concat!(
                r#"{{"job":{{"id":"job-2026-11-{:010}","title":"{}","pages":{},"colour":{},"media":"iso_a4_210x297mm"}},"#,
                r#""user":{{"email":"person.number.{}@mail.example.org","login":"EXAMPLE\\u{:06}","department":"{}"}},"#,
                r#""client":{{"host":"workstation-{:05}.office.example.org","agent":"driver/7.3.1 (universal; pcl6)"}},"#,
                r#""device":{{"serial":"SN{:010}","model":"Imageprinter Pro 4500 MFP","firmware":"2026.07.1-b{}"}},"#,
                r#""state":"completed","note":"held for release at the device, then printed after badge, duplex long edge"}}"#,
            ),
            number,
            self.title(),
            pages,
            self.colour(),
            person,
            person,
            self.department(),
            host,
            device,
            device % 40
        )
    }

    fn csv(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { number, person, host, device, pages } = self;
        writeln!(
            out,
            concat!(
                "job-2026-11-{:010},{},{},{},iso_a4_210x297mm,",
                "person.number.{}@mail.example.org,EXAMPLE\\u{:06},{},",
                "workstation-{:05}.office.example.org,driver/7.3.1 (universal; pcl6),",
                "SN{:010},Imageprinter Pro 4500 MFP,2026.07.1-b{},",
                "completed,\"held for release at the device, then printed after badge, duplex long edge\"",
            ),
            number,
            self.title(),
            pages,
            self.colour(),
            person,
            person,
            self.department(),
            host,
            device,
            device % 40
        )
    }
}

/// Writes so many print jobs.
pub fn write_jobs(path: &Path, format: Format, records: u64) -> Result<(), BenchError> {
    written(path, |out| {
        if format == Format::Csv {
            writeln!(out, "{}", super::policy::columns().join(","))?;
        }
        (0..records).map(Job::new).try_for_each(|job| match format {
            Format::Csv => job.csv(out),
            Format::Ndjson | Format::Parquet => job.ndjson(out),
        })
    })
}

/// Writes a table of so many people, most of whom are alone with what they are.
pub fn write_people(path: &Path, rows: u64) -> Result<(), BenchError> {
    written(path, |out| {
        writeln!(out, "record,{}", QUASI.join(","))?;
        (0..rows).try_for_each(|row| person(row, out))
    })
}

fn person(row: u64, out: &mut impl Write) -> io::Result<()> {
    let drawn = mixed(row);
    let birth_year = 1940 + drawn % 65;
    let postcode = 10_000 + 11 * ((drawn >> 8) % 8_000);
    let sex = match (drawn >> 24) % 50 {
        0 => "x",
        other if other % 2 == 0 => "f",
        _ => "m",
    };
    let nationality = ["DE", "AT", "PL", "TR", "IT", "RO", "SY", "UA"]
        [((drawn >> 32) % 64).trailing_zeros().min(7) as usize];
    let department = (drawn >> 40) % 40;
    let role = (drawn >> 48) % 12;
    writeln!(out, "{row},{birth_year},{postcode},{sex},{nationality},department {department},role {role}")
}

/// Writes, for each quasi-identifier, what its values become level by level: the files that `pseudo risk --hierarchies` reads.
pub fn write_hierarchies(folder: &Path) -> Result<(), BenchError> {
    let years = (1940..2005).map(|year| format!("{year};{}-{};*", year / 10 * 10, year / 10 * 10 + 9));
    let postcodes = (0..8_000)
        .map(|step| 10_000 + 11 * step)
        .map(|code| format!("{code};{};{};*", code / 1_000, code / 10_000));
    let flat = |values: Vec<String>| values.into_iter().map(|value| format!("{value};*")).collect::<Vec<_>>();
    let words = |list: &[&str]| flat(list.iter().map(|word| (*word).to_owned()).collect());
    let numbered =
        |word: &str, count: u32| flat((0..count).map(|number| format!("{word} {number}")).collect());
    let columns = [
        years.collect(),
        postcodes.collect(),
        words(&["f", "m", "x"]),
        words(&["DE", "AT", "PL", "TR", "IT", "RO", "SY", "UA"]),
        numbered("department", 40),
        numbered("role", 12),
    ];
    for (name, lines) in QUASI.iter().zip(columns) {
        written(&folder.join(format!("{name}.csv")), |out| {
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))
        })?;
    }
    Ok(())
}

fn written(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), BenchError> {
    let made = || {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        write(&mut out)?;
        out.flush()
    };
    made().map_err(BenchError::file("write", path))
}

/// A number as good as random (the finaliser of SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut value = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pseudo::policy::columns;
    use serde_json::Value;

    fn lines(write: impl FnOnce(&Path) -> Result<(), BenchError>) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path).unwrap();
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    fn leaf<'a>(record: &'a Value, column: &str) -> &'a Value {
        column.split('.').fold(record, |value, name| &value[name])
    }

    #[test]
    fn both_formats_have_the_same_records_under_the_names_of_the_policy() {
        let ndjson = lines(|path| write_jobs(path, Format::Ndjson, 50));
        let csv = lines(|path| write_jobs(path, Format::Csv, 50));
        assert_eq!(csv[0], columns().join(","));
        assert_eq!((ndjson.len(), csv.len()), (50, 51));
        for (line, row) in ndjson.iter().zip(&csv[1..]) {
            let record: Value = serde_json::from_str(line).unwrap();
            let cells: Vec<&str> = row.splitn(columns().len(), ',').collect();
            for (column, cell) in columns().iter().zip(cells) {
                let value = match leaf(&record, column) {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                assert_eq!(cell.trim_matches('"'), value, "{column}");
            }
        }
    }

    #[test]
    fn records_are_the_same_every_time_and_differ_among_each_other() {
        let first = lines(|path| write_jobs(path, Format::Ndjson, 200));
        assert_eq!(first, lines(|path| write_jobs(path, Format::Ndjson, 200)));
        let different: std::collections::HashSet<&String> = first.iter().collect();
        assert_eq!(different.len(), 200);
    }

    #[test]
    fn every_person_has_a_value_that_the_hierarchies_know() {
        let rows = lines(|path| write_people(path, 2_000));
        let folder = tempfile::tempdir().unwrap();
        write_hierarchies(folder.path()).unwrap();
        for (place, name) in QUASI.iter().enumerate() {
            let text = std::fs::read_to_string(folder.path().join(format!("{name}.csv"))).unwrap();
            let known: std::collections::HashSet<&str> =
                text.lines().map(|line| line.split(';').next().unwrap()).collect();
            for row in &rows[1..] {
                assert!(known.contains(row.split(',').nth(place + 1).unwrap()), "{name}: {row}");
            }
        }
    }
}
