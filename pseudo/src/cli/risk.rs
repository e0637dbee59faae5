//! `pseudo risk`: what it takes, and from there to measuring.

use super::output::Output;
use crate::measure::{self, Plan, Quasi};
use crate::table::Table;
use crate::{PseudoError, hierarchies, report};
use clap::Args;
use risk::Hierarchy;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

/// Memory that a measurement takes when nothing else is said.
const MEMORY_DEFAULT: &str = "1GiB";
/// Less than this leaves no room to merge in.
const MEMORY_BYTES_MIN: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct RiskArguments {
    /// The table: CSV with a header line; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Between fields: one character, or tab
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = parse_delimiter)]
    delimiter: u8,
    /// Columns that somebody outside may know about a person
    #[arg(long, value_name = "COLUMN,...", required = true, value_delimiter = ',')]
    quasi: Vec<String>,
    /// Columns that nobody may learn about a person
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    sensitive: Vec<String>,
    /// A folder of generalisation hierarchies: COLUMN.csv or ..._COLUMN.csv, fields separated by semicolons
    #[arg(long, value_name = "DIR")]
    hierarchies: Option<PathBuf>,
    /// How coarse to make each column before measuring; 0 leaves it as it is
    #[arg(long, value_name = "COLUMN=LEVEL,...", value_delimiter = ',', value_parser = parse_level)]
    levels: Vec<(String, usize)>,
    /// Memory to work in; what does not fit goes through a temporary file
    #[arg(long, value_name = "SIZE", default_value = MEMORY_DEFAULT, value_parser = parse_bytes)]
    memory: u64,
    /// Where temporary files go [default: the system's folder for them]
    #[arg(long, value_name = "DIR")]
    temporary: Option<PathBuf>,
}

pub(super) fn run(arguments: &RiskArguments, output: &Output) -> Result<(), PseudoError> {
    let plan = plan(arguments)?;
    let measured = measure::measure(&plan)?;
    output.either(Value::Object(report::object(&measured)), || report::text(&measured))
}

fn plan(arguments: &RiskArguments) -> Result<Plan, PseudoError> {
    let memory_bytes = arguments.memory.max(MEMORY_BYTES_MIN);
    let named: Vec<&String> = arguments.quasi.iter().chain(&arguments.sensitive).collect();
    if let Some((index, name)) = named.iter().enumerate().find(|(index, name)| named[..*index].contains(name))
    {
        let kind = if index < arguments.quasi.len() { "--quasi" } else { "--sensitive" };
        return Err(PseudoError::usage(
            format!("column {name:?} is named again by {kind}"),
            "name each column once",
        ));
    }
    let levels = levels(arguments)?;
    let mut quasi = Vec::new();
    for name in &arguments.quasi {
        let level = levels.get(name.as_str()).copied().unwrap_or(0);
        let hierarchy = if level > 0 { Some(hierarchy(arguments, name, level)?) } else { None };
        quasi.push(Quasi { name: name.clone(), level, hierarchy });
    }
    Ok(Plan {
        table: Table { path: arguments.file.clone(), delimiter: arguments.delimiter },
        quasi,
        sensitive: arguments.sensitive.clone(),
        class_records_min: 1,
        memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
        temporary: arguments.temporary.clone().unwrap_or_else(std::env::temp_dir),
    })
}

fn levels(arguments: &RiskArguments) -> Result<HashMap<&str, usize>, PseudoError> {
    let mut levels = HashMap::new();
    for (name, level) in &arguments.levels {
        if !arguments.quasi.contains(name) {
            let problem = format!("--levels names {name:?}, which is no quasi-identifier");
            return Err(PseudoError::usage(problem, "name it with --quasi as well"));
        }
        if levels.insert(name.as_str(), *level).is_some() {
            return Err(PseudoError::usage(
                format!("--levels names {name:?} twice"),
                "give each column one level",
            ));
        }
    }
    Ok(levels)
}

fn hierarchy(arguments: &RiskArguments, name: &str, level: usize) -> Result<Rc<Hierarchy>, PseudoError> {
    let Some(folder) = &arguments.hierarchies else {
        let problem = format!("level {level} of column {name:?} needs a hierarchy");
        return Err(PseudoError::usage(problem, "name the folder of hierarchies with --hierarchies DIR"));
    };
    let hierarchy = hierarchies::read(folder, name)?.ok_or_else(|| {
        let problem = format!("{} has no hierarchy of column {name:?}", folder.display());
        PseudoError::usage(problem, format!("its file is {name}.csv or ends with _{name}.csv"))
    })?;
    if level > hierarchy.height() {
        let problem = format!("column {name:?} has no level {level}");
        return Err(PseudoError::usage(
            problem,
            format!("its hierarchy has levels 0 to {}", hierarchy.height()),
        ));
    }
    Ok(Rc::new(hierarchy))
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" | "\t" => Ok(b'\t'),
        _ => match text.as_bytes() {
            [one] if one.is_ascii() && !matches!(one, b'"' | b'\r' | b'\n' | 0) => Ok(*one),
            _ => {
                Err("a delimiter is one ASCII character other than a quote or a line end, or tab".to_owned())
            }
        },
    }
}

fn parse_level(text: &str) -> Result<(String, usize), String> {
    let pair = text.rsplit_once('=').filter(|(name, _)| !name.is_empty());
    let (name, level) = pair.ok_or("a level is given as COLUMN=LEVEL")?;
    let level = level.parse().map_err(|_| "a level is a whole number from 0 on".to_owned())?;
    Ok((name.to_owned(), level))
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].trim().to_ascii_lowercase().trim_end_matches("ib") {
        "" | "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err("a size is a number with KiB, MiB, GiB or TiB".to_owned()),
    };
    let number: Option<u64> = text[..digits].parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "a size is a number of bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_levels_and_delimiters_are_read() {
        assert_eq!(parse_bytes("512"), Ok(512));
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("2G"), Ok(2 << 30));
        assert!(
            parse_bytes("a lot").is_err() && parse_bytes("99999999TiB").is_err() && parse_bytes("").is_err()
        );
        assert_eq!(parse_level("a=b=3"), Ok(("a=b".to_owned(), 3)));
        assert!(parse_level("a").is_err() && parse_level("=1").is_err() && parse_level("a=-1").is_err());
        assert_eq!(parse_delimiter(";"), Ok(b';'));
        assert_eq!(parse_delimiter("tab"), Ok(b'\t'));
        assert!(
            parse_delimiter("\"").is_err() && parse_delimiter("ab").is_err() && parse_delimiter("ä").is_err()
        );
    }
}
