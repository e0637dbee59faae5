//! What is held about a person: since when, in which exports, for whom and why, and when each is to be deleted.
//!
//! Which exports may have them is told by the dictionaries that lie with the drafts: a column of the person's class with `prf+vault`. What
//! the person's tokens are there is said too, so that rows can be looked up by whoever may; the exports' data are not read.

use crate::desk::Desk;
use crate::identify::{Found, Search};
use crate::keys::hex;
use crate::register;
use crate::release::{self, Column, Stand};
use crate::s3::{Place, S3};
use crate::{PseudoError, clock};
use custody::{DatasetName, DomainName, KeyVersion, Purpose, Scope};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use transform::{Token, TokenForm, person_token};

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
    let mut exports: Vec<(&Stand, Vec<Column>)> = Vec::new();
    for entry in &entries {
        match (&entry.stand, drafts) {
            (Ok(stand), Some((s3, place))) => match release::columns(s3, &place.below(&entry.name), stand)? {
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

/// An export, if it has columns of the person's class.
fn export(
    desk: &Desk,
    found: &Found,
    stand: &Stand,
    columns: &[Column],
) -> Result<Option<Value>, PseudoError> {
    let (manifest, terms) = (&stand.manifest, &stand.manifest.terms);
    let of_class = |column: &&Column| {
        column.technique == "prf+vault" && column.class.as_deref() == Some(found.class.as_str())
    };
    let columns: Vec<&Column> = columns.iter().filter(of_class).collect();
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
            let scope =
                if column.scope.as_deref() == Some("dataset") { Scope::Dataset } else { Scope::Domain };
            let key = master.field_key(Purpose::Vault, &found.class, scope, &dataset);
            for form in [TokenForm::Text, TokenForm::Uuid] {
                let token = person_token(&Token::new(&key, form), &found.salt, &found.value);
                let token = String::from_utf8_lossy(&token).into_owned();
                tokens.push(json!({ "column": column.column, "token": token }));
            }
        }
    }
    let mut value = register::as_json(stand);
    value["columns"] = columns.iter().map(|column| column.column.clone()).collect();
    value["tokens"] = tokens.into();
    // figures and decisions are about everybody, not about this person
    for key in ["figures", "decision", "records"] {
        value.as_object_mut().and_then(|object| object.remove(key));
    }
    Ok(Some(value))
}
