//! The sections of a policy beside its fields.

use custody::ClassName;
use transform::TransformError;

use crate::file::{GateFile, ReidentifyFile, RetentionFile, SourceFile, TargetFile};
use crate::{Path, Period, PolicyError};

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// One JSON array of objects.
    JsonArray,
    /// Comma-separated values with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// What happens with a field that no rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    /// The run stops.
    Stop,
    /// The field is left out, and counted.
    Drop,
}

/// What happens with a record that cannot be read or treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBadRecord {
    /// The run stops.
    Stop,
    /// The record is left out, and counted.
    Drop,
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The bucket, for runs over stored objects.
    pub bucket: Option<String>,
    /// What names of objects begin with.
    pub prefix: Option<String>,
    /// How records are written.
    pub format: Format,
    /// What the owner calls the form of the records.
    pub schema: Option<String>,
    /// How files are packed; `None` tells it from their first bytes.
    pub compression: Option<Compression>,
    /// What separates the values of CSV.
    pub delimiter: u8,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The bucket, for runs over stored objects.
    pub bucket: Option<String>,
    /// What names of objects begin with.
    pub prefix: Option<String>,
    /// How records are written.
    pub format: Format,
    /// How files are packed.
    pub compression: Compression,
    /// Whether the order of records is that of a keyed permutation instead of the source's.
    pub shuffle: bool,
}

/// How long data are pseudonymised data, and how long they are at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// When identities are destroyed.
    pub anonymise_after: Period,
    /// When the export is deleted.
    pub delete_after: Period,
}

/// What the release gate measures and demands.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Fields that others might know too.
    pub quasi_identifiers: Vec<Path>,
    /// Fields that others must not learn.
    pub sensitive: Vec<Path>,
    /// Least size of a class.
    pub k: u32,
    /// Least diversity of a class.
    pub l: Option<f64>,
    /// Greatest distance of a class from the whole.
    pub t: Option<f64>,
    /// Greatest average risk.
    pub max_avg_risk: Option<f64>,
    /// Greatest share of unique records.
    pub max_unique: Option<f64>,
    /// Greatest share of records with one token.
    pub max_token_top_share: Option<f64>,
    /// What happens below the demands.
    pub on_fail: OnFail,
    /// Greatest share of records that may be left out.
    pub max_suppressed: f64,
}

/// What happens with an export whose rows are not as its gate demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFail {
    /// It is held.
    Block,
    /// Quasi-identifiers climb their hierarchies, as far as they have to, and what is still too rare is left out.
    Generalise,
    /// What is too rare is left out.
    Suppress,
}

impl OnFail {
    /// As policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Generalise => "generalise",
            Self::Suppress => "suppress",
        }
    }
}

/// Under which conditions people may be identified again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reidentify {
    /// People who agree, besides the one who asks.
    pub approvers: u32,
    /// Whether both show a second factor.
    pub second_factor: bool,
    /// Reasons that count.
    pub reasons: Vec<String>,
    /// How long a grant lasts.
    pub window: Period,
    /// Rows that one grant opens.
    pub max_rows: u64,
}

pub(crate) fn format(place: &str, name: &str) -> Result<Format, PolicyError> {
    match name {
        "ndjson" => Ok(Format::Ndjson),
        "json" => Ok(Format::JsonArray),
        "csv" => Ok(Format::Csv),
        "parquet" => Ok(Format::Parquet),
        _ => Err(PolicyError::value(place, "format is one of ndjson, json, csv, parquet")),
    }
}

fn compression(place: &str, name: &str) -> Result<Compression, PolicyError> {
    match name {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err(PolicyError::value(place, "compression is one of none, gzip, zstd")),
    }
}

pub(crate) fn source(file: SourceFile) -> Result<Source, PolicyError> {
    let place = "source";
    let delimiter = match file.delimiter.as_deref().map(str::as_bytes) {
        None => b',',
        Some(&[byte @ (b',' | b';' | b'\t' | b'|')]) => byte,
        Some(_) => return Err(PolicyError::value(place, "delimiter is a comma, semicolon, tab or bar")),
    };
    Ok(Source {
        format: format(place, &file.format)?,
        compression: file.compression.map(|name| compression(place, &name)).transpose()?,
        delimiter,
        bucket: file.bucket,
        prefix: file.prefix,
        schema: file.schema,
    })
}

pub(crate) fn target(file: TargetFile) -> Result<Target, PolicyError> {
    let place = "target";
    let format = format(place, &file.format)?;
    if format == Format::JsonArray {
        return Err(PolicyError::value(place, "format is one of ndjson, csv, parquet"));
    }
    let compression = file.compression.map_or(Ok(Compression::None), |name| compression(place, &name))?;
    if format == Format::Parquet && compression == Compression::Gzip {
        return Err(PolicyError::value(place, "Parquet is packed with zstd or not at all"));
    }
    Ok(Target { format, compression, shuffle: file.shuffle, bucket: file.bucket, prefix: file.prefix })
}

pub(crate) fn retention(file: &RetentionFile) -> Result<Retention, PolicyError> {
    let period = |text: &str| {
        Period::parse(text)
            .ok_or(PolicyError::value("retention", "a period is written like P24M, P90D or P1Y6M"))
    };
    Ok(Retention {
        anonymise_after: period(&file.anonymise_after)?,
        delete_after: period(&file.delete_after)?,
    })
}

pub(crate) fn gate(file: GateFile) -> Result<Gate, PolicyError> {
    let place = "gate";
    let paths = |texts: Vec<String>| columns(place, &texts);
    let shares = [file.t, file.max_avg_risk, file.max_unique, file.max_token_top_share, file.max_suppressed];
    if shares.iter().flatten().any(|share| !(0.0..=1.0).contains(share))
        || file.l.is_some_and(|l| l.is_nan() || l < 1.0)
    {
        return Err(PolicyError::value(place, "shares are from 0 to 1, and l is 1 or more"));
    }
    let on_fail = match file.on_fail.as_deref() {
        None | Some("block") => OnFail::Block,
        Some("generalise") => OnFail::Generalise,
        Some("suppress") => OnFail::Suppress,
        Some(_) => return Err(PolicyError::value(place, "on_fail is one of block, generalise, suppress")),
    };
    Ok(Gate {
        quasi_identifiers: paths(file.quasi_identifiers)?,
        sensitive: paths(file.sensitive)?,
        k: file.k,
        l: file.l,
        t: file.t,
        max_avg_risk: file.max_avg_risk,
        max_unique: file.max_unique,
        max_token_top_share: file.max_token_top_share,
        on_fail,
        max_suppressed: file.max_suppressed.unwrap_or(0.0),
    })
}

/// Columns of the export, which may be written without the beginning that all have.
pub(crate) fn columns(place: &str, texts: &[String]) -> Result<Vec<Path>, PolicyError> {
    let path = |text: &String| {
        let text = if text.starts_with('$') { text.clone() } else { format!("$.{text}") };
        Path::parse(&text).map_err(|problem| PolicyError::value(place, problem))
    };
    texts.iter().map(path).collect()
}

pub(crate) fn reidentify(file: ReidentifyFile) -> Result<Reidentify, PolicyError> {
    let place = "reidentify";
    let window =
        Period::parse(&file.window).ok_or(PolicyError::value(place, "window is written like PT4H"))?;
    let ReidentifyFile { approvers, second_factor, reasons, max_rows, .. } = file;
    Ok(Reidentify { approvers, second_factor, reasons, window, max_rows })
}

pub(crate) fn class(place: &str, name: &str) -> Result<ClassName, PolicyError> {
    ClassName::new(name).map_err(|error| PolicyError::value(place, error))
}

pub(crate) fn parameter(place: &str, error: TransformError) -> PolicyError {
    PolicyError::value(place, error)
}
