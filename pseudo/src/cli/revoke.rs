//! `pseudo keys revoke` and `pseudo keys log`: keys of operators that count no more, and what the custody log says.

use super::output::Output;
use crate::custody_log::CustodyLog;
use crate::keys::{KeyFolder, hex};
use crate::operators;
use crate::plain::{escaped, is_plain};
use crate::register;
use crate::revoked::{Revoked, Trust};
use crate::s3::{Connection, Place, S3};
use crate::verify;
use crate::{PseudoError, clock};
use custody::{OperatorName, SigningKey};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// Why somebody is revoked, bytes.
const REASON_BYTES_MAX: usize = 1024;

pub(super) fn run(
    folder: &KeyFolder,
    service: &SigningKey,
    operator: &str,
    public_key: Option<&str>,
    reason: &str,
    (drafts, connection): (&[Place], &Connection),
    output: &Output,
) -> Result<(), PseudoError> {
    OperatorName::new(operator).map_err(PseudoError::custody("operator"))?;
    if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX || !is_plain(reason) {
        let problem = "a reason has 1 to 1024 bytes, in one line, of characters that show as themselves";
        return Err(PseudoError::usage(problem, "say it shorter, or at all"));
    }
    let keys = match public_key {
        Some(text) => BTreeSet::from([hex(&verify::public_key(text)?.0)]),
        None => CustodyLog::read(folder, service.public())?.keys_of(operator),
    };
    if keys.is_empty() {
        let advice = "name the key with --public-key: their certificate and every decision of theirs has it";
        return Err(PseudoError::usage(format!("the custody log knows no key of {operator}"), advice));
    }
    let (mut rows, mut head) = (Vec::new(), String::new());
    for key in keys {
        let decisions = standing(service, &key, drafts, connection)?;
        let count = decisions.len();
        let (operator, reason) = (operator.to_owned(), reason.to_owned());
        let revoked = clock::text(clock::now());
        head = folder.revoke(service, Revoked { operator, key: key.clone(), revoked, reason, decisions })?;
        rows.push((key, count));
    }
    let list: Vec<_> =
        rows.iter().map(|(key, count)| json!({ "public_key": key, "decisions_that_stand": count })).collect();
    output.either(json!({ "operator": operator, "revoked": list, "log_head": head }), || {
        let lines = rows.iter().map(|(key, count)| {
            format!("key {key} of {operator} counts no more; {count} decisions of it stand\n")
        });
        format!(
            "{}Give revoked.json of the folder to whoever checks, and take their rights at the store.\n",
            lines.collect::<String>()
        )
    })
}

/// Hashes of what was decided with a key, as it lies in these places.
fn standing(
    service: &SigningKey,
    key: &str,
    drafts: &[Place],
    connection: &Connection,
) -> Result<Vec<String>, PseudoError> {
    let mut decisions = BTreeSet::new();
    if drafts.is_empty() {
        return Ok(Vec::new());
    }
    let s3 = S3::new(connection.clone(), connection.who()?)?;
    for place in drafts {
        for entry in register::read(&s3, place, &Trust::of(service.public()))?.exports {
            let stand = match entry.stand {
                Ok(stand) => stand,
                // one that cannot be relied on has nothing that could stand
                Err(PseudoError::Signed { .. }) => continue,
                // what cannot be seen now may stand: nobody is revoked before it was looked at
                Err(error) => return Err(error),
            };
            let Some(((decision, _), bytes)) = stand.decision.as_ref().zip(stand.decision_bytes()) else {
                continue;
            };
            let signer = operators::vouched(&decision.approver, service.public());
            let (_, by) = signer.map_err(PseudoError::signed("who decided"))?;
            if hex(&by.0) == key {
                decisions.insert(hex(&Sha256::digest(bytes)));
            }
        }
    }
    Ok(decisions.into_iter().collect())
}

pub(super) fn log(folder: &KeyFolder, trust: &Trust, output: &Output) -> Result<(), PseudoError> {
    let log = CustodyLog::read(folder, trust.key)?;
    let (head, four_eyes) = (log.head(), log.needs_four_eyes());
    output.either(json!({ "entries": log.entries, "four_eyes": four_eyes, "log_head": head }), || {
        let line = |entry: &crate::custody_log::Entry| {
            let key = entry.key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
            let reason =
                entry.reason.as_ref().map(|reason| format!(": {}", escaped(reason))).unwrap_or_default();
            let (time, event, subject) = (&entry.time, entry.event.name(), escaped(&entry.subject));
            format!("{} {time} {event} {subject}{key}{reason}\n", entry.number)
        };
        let lines: String = log.entries.iter().map(line).collect();
        let asked = if four_eyes { "two people have to agree to each policy\n" } else { "" };
        format!("{lines}{asked}log head {head}\n")
    })
}
