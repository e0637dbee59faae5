//! The register of exports: read from the manifests and decisions that lie with the drafts, so that it cannot say anything else.

use crate::manifest::{DELETION, Deletion, MANIFEST};
use crate::release::{self, Stand};
use crate::revoked::Trust;
use crate::s3::{Place, S3};
use crate::{PseudoError, clock, retention};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Objects below the place of drafts that are looked through, at most.
const LISTED_MAX: usize = 1_000_000;

/// One line of the register.
pub(crate) struct Entry {
    /// The export's folder.
    pub(crate) name: String,
    /// The export; or why it cannot be read.
    pub(crate) stand: Result<Stand, PseudoError>,
}

/// An export that was deleted, or is being deleted.
pub(crate) struct Gone {
    pub(crate) name: String,
    /// Whether nothing but the record is left among the drafts.
    pub(crate) is_over: bool,
    /// The record; or why it cannot be read.
    pub(crate) record: Result<Deletion, PseudoError>,
}

/// All that is known of the exports of a place.
pub(crate) struct Register {
    pub(crate) exports: Vec<Entry>,
    pub(crate) deleted: Vec<Gone>,
}

/// All exports below a place, by name.
pub(crate) fn read(s3: &S3, drafts: &Place, trust: &Trust) -> Result<Register, PseudoError> {
    let keys = s3.list(drafts, LISTED_MAX)?;
    let parts = |key: &String| {
        let (name, rest) = key.strip_prefix(&drafts.key(""))?.split_once('/')?;
        Some((name.to_owned(), rest.to_owned()))
    };
    let all: Vec<(String, String)> = keys.iter().filter_map(parts).collect();
    let named = |wanted: &str| -> BTreeSet<&str> {
        all.iter().filter(|(_, rest)| rest == wanted).map(|(name, _)| name.as_str()).collect()
    };
    let gone = named(DELETION);
    let mut entries = Vec::new();
    for name in named(MANIFEST).difference(&gone).copied() {
        let stand = release::look(s3, &drafts.below(name), trust).and_then(|stand| {
            // a manifest in another export's folder would be listed as what it is not
            if stand.manifest.export == name {
                return Ok(stand);
            }
            let problem = "it is the manifest of another export".to_owned();
            Err(PseudoError::Signed { place: "the manifest".to_owned(), problem })
        });
        entries.push(Entry { name: name.to_owned(), stand });
    }
    let deleted = gone.into_iter().filter_map(|name| {
        let is_over = all.iter().filter(|(other, _)| other == name).count() == 1;
        let record = retention::record(s3, &drafts.below(name), name, trust.key).transpose()?;
        Some(Gone { name: name.to_owned(), is_over, record })
    });
    let deleted = deleted.collect();
    Ok(Register { exports: entries, deleted })
}

impl Register {
    /// Fails if some of the exports cannot be relied on.
    pub(crate) fn check(&self) -> Result<(), PseudoError> {
        let damaged = self.exports.iter().filter(|entry| entry.stand.is_err()).count()
            + self.deleted.iter().filter(|gone| gone.record.is_err()).count();
        if damaged == 0 {
            return Ok(());
        }
        let all = self.exports.len() + self.deleted.len();
        let problem = format!("{damaged} of {all} exports cannot be relied on");
        Err(PseudoError::Signed { place: "the register".to_owned(), problem })
    }
}

impl Gone {
    /// The record as JSON.
    pub(crate) fn as_json(&self) -> Value {
        let state = if self.is_over { "deleted" } else { "being deleted" };
        match &self.record {
            Ok(Deletion { begun, created, terms, records, released_to, replaced_by, .. }) => json!({
                "export": self.name,
                "state": state,
                "recipient": terms.recipient,
                "purpose": terms.purpose,
                "legal_basis": terms.legal_basis,
                "delete_on": terms.delete_on,
                "deleted": begun,
                "replaced_by": replaced_by,
                "created": created,
                "records": records,
                "released_to": released_to,
            }),
            Err(error) => {
                json!({ "export": self.name, "state": "damaged", "problem": error.to_string() })
            }
        }
    }

    /// The cells of a line for people, as [`Entry::cells`] has them.
    pub(crate) fn cells(&self) -> [String; 8] {
        let state = if self.is_over { "deleted" } else { "being deleted" };
        let Ok(Deletion { terms, records, .. }) = &self.record else {
            return [self.name.as_str(), "damaged", "", "", "", "", "", ""].map(str::to_owned);
        };
        [
            self.name.clone(),
            state.to_owned(),
            terms.recipient.clone(),
            terms.purpose.clone(),
            terms.legal_basis.clone(),
            terms.delete_on.clone(),
            records.to_string(),
            "-".to_owned(),
        ]
    }
}

impl Entry {
    /// The entry as JSON.
    pub(crate) fn as_json(&self) -> Value {
        match &self.stand {
            Ok(stand) => as_json(stand),
            Err(error) => json!({ "export": self.name, "state": "damaged", "problem": error.to_string() }),
        }
    }

    /// The entry's cells for people: export, state, recipient, purpose, legal basis, deletion, records, k.
    pub(crate) fn cells(&self) -> [String; 8] {
        let Ok(stand) = &self.stand else {
            return [
                self.name.clone(),
                "damaged".into(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ];
        };
        let terms = &stand.manifest.terms;
        let overdue = if is_overdue(stand) { " (overdue)" } else { "" };
        [
            self.name.clone(),
            stand.state.name().to_owned(),
            terms.recipient.clone(),
            terms.purpose.clone(),
            terms.legal_basis.clone(),
            format!("{}{overdue}", terms.delete_on),
            stand.manifest.counts.records_out.to_string(),
            stand.manifest.figures.as_ref().map_or("-".into(), |figures| figures.k.to_string()),
        ]
    }
}

/// An export with its state, as JSON.
pub(crate) fn as_json(stand: &Stand) -> Value {
    let (manifest, terms) = (&stand.manifest, &stand.manifest.terms);
    let decision = stand.decision.as_ref().map(|(decision, by)| {
        json!({ "verdict": decision.verdict, "by": by, "decided": decision.decided, "reason": decision.reason, "released_to": decision.released_to })
    });
    json!({
        "export": manifest.export,
        "state": stand.state.name(),
        "recipient": terms.recipient,
        "purpose": terms.purpose,
        "legal_basis": terms.legal_basis,
        "owner": terms.owner,
        "delete_on": terms.delete_on,
        "anonymise_on": terms.anonymise_on,
        "overdue": is_overdue(stand),
        "replaces": manifest.replaces.as_ref().map(|replaces| &replaces.export),
        "key_version": manifest.keys.first().map(|key| key.version),
        "created": manifest.created,
        "made_by": stand.maker,
        "policy": terms.policy,
        "policy_version": terms.policy_version,
        "policy_sha256": terms.policy_sha256,
        "domain": terms.domain,
        "dataset": terms.dataset,
        "records": manifest.counts.records_out,
        "counts": manifest.counts,
        "fitted": manifest.fitted,
        "rows_planted": manifest.planted.as_ref().map(|planted| planted.rows),
        "figures": manifest.figures,
        "decision": decision,
    })
}

/// Whether the day by which it was to be deleted is over.
fn is_overdue(stand: &Stand) -> bool {
    clock::text(clock::now()).split('T').next() > Some(stand.manifest.terms.delete_on.as_str())
}
