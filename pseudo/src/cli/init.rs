//! `pseudo init`: a first policy from a sample. A proposal: it has to be read, and filled in, before anything runs under it.

use super::lint::{SAMPLE_RECORDS, profile};
use super::output::Output;
use crate::PseudoError;
use clap::Args;
use policy::Format;
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct InitArguments {
    /// A file as those that are to be pseudonymised
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its format: ndjson, json, csv [default: told from its name]
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    format: Option<Format>,
    /// Between the values of CSV
    #[arg(long, value_name = "CHARACTER", default_value_t = ',')]
    delimiter: char,
    /// What to call the policy
    #[arg(long, value_name = "NAME", default_value = "proposal")]
    name: String,
    /// How many records to look at
    #[arg(long, value_name = "NUMBER", default_value_t = SAMPLE_RECORDS)]
    records: u64,
}

pub(super) fn run(arguments: &InitArguments, output: &Output) -> Result<(), PseudoError> {
    let told = || by_name(&arguments.file).ok_or_else(|| not_told(&arguments.file));
    let format = arguments.format.map_or_else(told, Ok)?;
    let delimiter = u8::try_from(arguments.delimiter).map_err(|_| {
        PseudoError::usage("a delimiter is one ASCII character", "name a comma, semicolon, tab or bar")
    })?;
    custody::DatasetName::new(&arguments.name).map_err(PseudoError::custody("--name"))?;
    let profile = profile(&arguments.file, format, delimiter, arguments.records)?;
    if profile.records() == 0 {
        return Err(PseudoError::table(&arguments.file, "no record of it can be read"));
    }
    let text = policy::propose(&arguments.name, format, &profile);
    output.either(json!({ "records": profile.records(), "policy": text }), || text.clone())
}

/// Why the format of a sample is not known.
fn not_told(path: &Path) -> PseudoError {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
        let advice = "give some of its records as NDJSON, JSON or CSV, and write format = \"parquet\" under [source] of the proposal";
        return PseudoError::usage("a sample in Parquet is not read", advice);
    }
    PseudoError::usage(
        "the format cannot be told from the name",
        "say which with --format: ndjson, json or csv",
    )
}

fn parse_format(name: &str) -> Result<Format, String> {
    match name {
        "ndjson" => Ok(Format::Ndjson),
        "json" => Ok(Format::JsonArray),
        "csv" => Ok(Format::Csv),
        _ => Err("one of ndjson, json, csv".to_owned()),
    }
}

fn by_name(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    parse_format(name.rsplit('.').next()?).ok().or_else(|| name.ends_with(".jsonl").then_some(Format::Ndjson))
}
