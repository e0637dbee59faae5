//! What is held about a person: since when, in which exports, for whom and why, and when each is to be deleted.
//!
//! Which exports may have them is told by the dictionaries that lie with the drafts: a column of the person's class with `prf+vault`. What
//! the person's tokens are there is said too, so that rows can be looked up by whoever may; the exports' data are not read.

use crate::desk::Desk;
use crate::identify::{Found, Search};
use crate::keys::hex;
use crate::register;
use crate::release::Stand;
use crate::s3::{Place, S3};
use crate::{PseudoError, clock};
use custody::{DatasetName, DomainName, KeyVersion, Purpose, Scope};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use transform::{Token, TokenForm, person_token};

const DICTIONARY: &str = "dictionary.json";
/// A dictionary of as many columns as a policy has, bytes.
const DICTIONARY_BYTES_MAX: u64 = 4 << 20;

/// The people who were found with the exports that have their class, and how many exports could not be relied on.
pub(crate) fn report(
    desk: &Desk,
    search: &Search,
    drafts: Option<(&S3, &Place)>,
) -> Result<Value, PseudoError> {
    let entries = match drafts {
        Some((s3, place)) => register::read(s3, place, &desk.keys.trust(desk.service.public())?)?.exports,
        None => Vec::new(),
    };
    let mut unreadable = 0;
    let mut exports: Vec<(&Stand, Vec<Value>)> = Vec::new();
    for entry in &entries {
        match (&entry.stand, drafts) {
            (Ok(stand), Some((s3, place))) => match columns(s3, &place.below(&entry.name), stand)? {
                Some(columns) => exports.push((stand, columns)),
                None => unreadable += 1,
            },
            _ => unreadable += 1,
        }
    }
    let mut people: BTreeMap<_, &Found> = BTreeMap::new();
    search.found.iter().for_each(|found| {
        people.insert(found.handle, found);
    });
    let mut subjects = Vec::new();
    for (handle, found) in people {
        let mut held = Vec::new();
        for (stand, columns) in &exports {
            if let Some(export) = export(desk, found, stand, columns)? {
                held.push(export);
            }
        }
        subjects.push(json!({
            "handle": hex(&handle.0),
            "class": found.class.as_str(),
            "value": &*found.value,
            "in_the_vault_since": clock::text(i64::try_from(found.created).unwrap_or(i64::MAX)),
            "exports": held,
        }));
    }
    Ok(json!({
        "subjects": subjects,
        "unknown": search.unknown(),
        "tokens_without_key": search.without_key,
        "register_looked_through": drafts.is_some(),
        "exports_looked_through": entries.len(),
        "exports_that_cannot_be_relied_on": unreadable,
    }))
}

/// The columns of an export as its dictionary has them; `None` if that is not as it was signed.
fn columns(s3: &S3, export: &Place, stand: &Stand) -> Result<Option<Vec<Value>>, PseudoError> {
    let Some(signed) = stand.manifest.documents.iter().find(|file| file.name == DICTIONARY) else {
        return Ok(None);
    };
    let bytes = s3.get(&export.bucket, &export.key(DICTIONARY), DICTIONARY_BYTES_MAX)?;
    let bytes = bytes.filter(|bytes| hex(&Sha256::digest(bytes)) == signed.sha256);
    let dictionary = bytes.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    Ok(dictionary.and_then(|dictionary| dictionary["columns"].as_array().cloned()))
}

/// An export, if it has columns of the person's class.
fn export(
    desk: &Desk,
    found: &Found,
    stand: &Stand,
    columns: &[Value],
) -> Result<Option<Value>, PseudoError> {
    let (manifest, terms) = (&stand.manifest, &stand.manifest.terms);
    let of_class = |column: &&Value| {
        column["technique"] == "prf+vault" && column["class"].as_str() == Some(found.class.as_str())
    };
    let columns: Vec<&Value> = columns.iter().filter(of_class).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let place = || format!("export {}", manifest.export);
    let domain = DomainName::new(&terms.domain).map_err(PseudoError::custody(place()))?;
    let dataset = DatasetName::new(&terms.dataset).map_err(PseudoError::custody(place()))?;
    let mut tokens = Vec::new();
    for key in &manifest.keys {
        let version = KeyVersion::new(key.version).map_err(PseudoError::custody(place()))?;
        // tokens of a destroyed key are nobody's any more
        let Some(master) = desk.keys.master_if_there(&desk.root, &domain, version)? else { continue };
        for column in &columns {
            let scope = if column["scope"] == "dataset" { Scope::Dataset } else { Scope::Domain };
            let key = master.field_key(Purpose::Vault, &found.class, scope, &dataset);
            for form in [TokenForm::Text, TokenForm::Uuid] {
                let token = person_token(&Token::new(&key, form), &found.salt, &found.value);
                let token = String::from_utf8_lossy(&token).into_owned();
                tokens.push(json!({ "column": column["column"], "token": token }));
            }
        }
    }
    let mut value = register::as_json(stand);
    value["columns"] = columns.iter().map(|column| column["column"].clone()).collect();
    value["tokens"] = tokens.into();
    // figures and decisions are about everybody, not about this person
    for key in ["figures", "decision", "records"] {
        value.as_object_mut().and_then(|object| object.remove(key));
    }
    Ok(Some(value))
}
