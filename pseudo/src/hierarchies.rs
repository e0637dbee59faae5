//! A folder of hierarchies in ARX's form: one CSV file per attribute, fields separated by semicolons, no header.
//!
//! The file of attribute `age` is `age.csv`, or the one file whose name ends with `_age.csv`.

use crate::PseudoError;
use crate::table::csv::Records;
use risk::Hierarchy;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Bytes of a hierarchy file, at most: it is kept in memory.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Between the fields of a hierarchy file.
const DELIMITER: u8 = b';';

/// Reads the hierarchy of an attribute and says where it is; `None` when the folder has none.
pub(crate) fn read(folder: &Path, attribute: &str) -> Result<Option<(PathBuf, Hierarchy)>, PseudoError> {
    let Some(path) = find(folder, attribute)? else { return Ok(None) };
    let file = File::open(&path).map_err(PseudoError::file("opening", &path))?;
    let size = file.metadata().map_err(PseudoError::file("reading", &path))?.len();
    if size > FILE_BYTES_MAX {
        return Err(PseudoError::table(&path, format!("a hierarchy has at most {FILE_BYTES_MAX} bytes")));
    }
    let mut records = Records::new(Box::new(file.take(FILE_BYTES_MAX)), &path, DELIMITER);
    let mut rows: Vec<Vec<Box<[u8]>>> = Vec::new();
    while records.next()? {
        rows.push((0..records.fields()).map(|index| records.field(index).into()).collect());
    }
    if let Some(first) = rows.first_mut().and_then(|row| row.first_mut())
        && let Some(rest) = first.strip_prefix("\u{feff}".as_bytes())
    {
        *first = rest.into();
    }
    drop(records);
    match Hierarchy::new(rows) {
        Ok(hierarchy) => Ok(Some((path, hierarchy))),
        Err(source) => Err(PseudoError::Hierarchy { path, source }),
    }
}

fn find(folder: &Path, attribute: &str) -> Result<Option<PathBuf>, PseudoError> {
    let (exact, suffix) = (format!("{attribute}.csv"), format!("_{attribute}.csv"));
    let entries = std::fs::read_dir(folder).map_err(PseudoError::file("listing", folder))?;
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(PseudoError::file("listing", folder))?.file_name();
        let Some(name) = name.to_str() else { continue };
        if name == exact {
            return Ok(Some(folder.join(name)));
        }
        if name.ends_with(&suffix) {
            found.push(folder.join(name));
        }
    }
    if found.len() > 1 {
        let problem = format!("{} files of {} end with {suffix:?}", found.len(), folder.display());
        return Err(PseudoError::usage(problem, format!("name the right one {exact:?}")));
    }
    Ok(found.pop())
}
