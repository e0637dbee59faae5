//! The register of exports: read from the manifests and decisions that lie with the drafts, so that it cannot say anything else.

use crate::manifest::MANIFEST;
use crate::release::{self, Stand};
use crate::s3::{Place, S3};
use crate::{PseudoError, clock};
use custody::PublicKey;
use serde_json::{Value, json};

/// Objects below the place of drafts that are looked through, at most.
const LISTED_MAX: usize = 1_000_000;

/// One line of the register.
pub(crate) struct Entry {
    /// The export's folder.
    pub(crate) name: String,
    /// The export; or why it cannot be read.
    pub(crate) stand: Result<Stand, PseudoError>,
}

/// All exports below a place, by name.
pub(crate) fn read(s3: &S3, drafts: &Place, service: PublicKey) -> Result<Vec<Entry>, PseudoError> {
    let mut entries = Vec::new();
    for key in s3.list(drafts, LISTED_MAX)? {
        let below = key.strip_prefix(&drafts.key("")).unwrap_or_default();
        let Some((name, rest)) = below.split_once('/') else { continue };
        if rest != MANIFEST {
            continue;
        }
        let stand = release::look(s3, &drafts.below(name), service).and_then(|stand| {
            // a manifest in another export's folder would be listed as what it is not
            if stand.manifest.export == name {
                return Ok(stand);
            }
            let problem = "it is the manifest of another export".to_owned();
            Err(PseudoError::Signed { place: "the manifest".to_owned(), problem })
        });
        entries.push(Entry { name: name.to_owned(), stand });
    }
    Ok(entries)
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
        "created": manifest.created,
        "made_by": stand.maker,
        "policy": terms.policy,
        "policy_version": terms.policy_version,
        "policy_sha256": terms.policy_sha256,
        "domain": terms.domain,
        "dataset": terms.dataset,
        "records": manifest.counts.records_out,
        "figures": manifest.figures,
        "decision": decision,
    })
}

/// Whether the day by which it was to be deleted is over.
fn is_overdue(stand: &Stand) -> bool {
    clock::text(clock::now()).split('T').next() > Some(stand.manifest.terms.delete_on.as_str())
}
