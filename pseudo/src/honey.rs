//! Which exports a file comes from: the persons who were made up for each export are made up again, and looked for in it.
//!
//! Who they are follows from the domain's key and what is signed about the export, so that no table leads from them to it, and nobody
//! without keys can look. What is said is which exports, and of how many of their made-up persons something was met: never which rows or
//! tokens, so that whoever looks does not learn which to take out.

use crate::keys::{KeyFolder, hex};
use crate::manifest::{Planted, Terms};
use crate::register::{self, Register};
use crate::revoked::Trust;
use crate::s3::{Place, S3};
use crate::{PseudoError, table};
use custody::{ClassName, DatasetName, DomainName, KeyVersion, MasterKey, Purpose, RootKey, Scope};
use policy::HONEY_PERSONS_MAX;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use transform::{Honey, Token, TokenForm};

/// The longest token of a person, bytes; what is longer is passed over.
const TOKEN_BYTES_MAX: usize = transform::TOKEN_TEXT_BYTES_MAX;

/// An export in which somebody may have been planted.
struct Suspect {
    value: Value,
    planted: u64,
}

/// All made-up persons of some places.
#[derive(Default)]
pub(crate) struct Suspects {
    exports: Vec<Suspect>,
    /// Which person of which exports a token is: of more than one where two exports of one data set are called alike.
    tokens: HashMap<Vec<u8>, Vec<(usize, u32)>>,
    /// Exports whose key was destroyed: nobody can tell who was made up for them.
    pub(crate) without_key: Vec<String>,
    /// Exports that cannot be relied on.
    pub(crate) damaged: Vec<String>,
    /// Exports that were looked at, with or without made-up persons.
    pub(crate) looked_at: usize,
}

/// What was met in a file.
pub(crate) struct Traced {
    /// The exports, each with how many of its made-up persons were met; those with most first.
    pub(crate) exports: Vec<(String, Value)>,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
}

/// Opens keys, each once.
struct Masters<'a> {
    folder: &'a KeyFolder,
    root: &'a RootKey,
    known: BTreeMap<(DomainName, KeyVersion), Option<MasterKey>>,
}

impl Suspects {
    /// Makes up again who was made up for the exports of a place, deleted ones included.
    pub(crate) fn add(
        &mut self,
        s3: &S3,
        drafts: &Place,
        trust: &Trust,
        (folder, root): (&KeyFolder, &RootKey),
    ) -> Result<(), PseudoError> {
        let Register { exports, deleted } = register::read(s3, drafts, trust)?;
        self.looked_at += exports.len() + deleted.len();
        let mut masters = Masters { folder, root, known: BTreeMap::new() };
        for entry in &exports {
            match &entry.stand {
                Err(_) => self.damaged.push(entry.name.clone()),
                Ok(stand) => {
                    let Some(planted) = &stand.manifest.planted else { continue };
                    let terms = &stand.manifest.terms;
                    self.export(&mut masters, &entry.name, terms, planted, entry.as_json())?;
                }
            }
        }
        for gone in &deleted {
            match &gone.record {
                Err(_) => self.damaged.push(gone.name.clone()),
                Ok(record) => {
                    let Some(planted) = &record.planted else { continue };
                    self.export(&mut masters, &gone.name, &record.terms, planted, gone.as_json())?;
                }
            }
        }
        Ok(())
    }

    fn export(
        &mut self,
        masters: &mut Masters<'_>,
        name: &str,
        terms: &Terms,
        planted: &Planted,
        said: Value,
    ) -> Result<(), PseudoError> {
        let unknown = || PseudoError::Signed {
            place: format!("export {name}"),
            problem: "it says of its made-up persons what this release does not know".to_owned(),
        };
        let place = || format!("export {name}");
        let domain = DomainName::new(&terms.domain).map_err(PseudoError::custody(place()))?;
        let dataset = DatasetName::new(&terms.dataset).map_err(PseudoError::custody(place()))?;
        let class = ClassName::new(&planted.class).map_err(PseudoError::custody(place()))?;
        let purpose = match planted.technique.as_str() {
            "prf" => Purpose::Token,
            "prf+vault" => Purpose::Vault,
            _ => return Err(unknown()),
        };
        let scope = match planted.scope.as_str() {
            "domain" => Scope::Domain,
            "dataset" => Scope::Dataset,
            _ => return Err(unknown()),
        };
        let form = [TokenForm::Text, TokenForm::Uuid].into_iter().find(|form| form.name() == planted.form);
        let form = form.ok_or_else(unknown)?;
        let persons = u32::try_from(planted.persons).ok().filter(|persons| *persons <= HONEY_PERSONS_MAX);
        let persons = persons.ok_or_else(unknown)?;
        let version = KeyVersion::new(planted.key_version).map_err(PseudoError::custody(place()))?;
        let Some(master) = masters.get(&domain, version)? else {
            self.without_key.push(name.to_owned());
            return Ok(());
        };
        let honey = Honey::new(&master.field_key(Purpose::Honey, &class, Scope::Dataset, &dataset));
        let token = Token::new(&master.field_key(purpose, &class, scope, &dataset), form);
        for person in 0..persons {
            let made_up = honey.made_up(name, person, 0);
            let token = match purpose {
                Purpose::Vault => made_up.vault_token(&token),
                _ => made_up.token(&token),
            };
            self.tokens.entry(token).or_default().push((self.exports.len(), person));
        }
        self.exports.push(Suspect { value: said, planted: planted.persons });
        Ok(())
    }

    /// Exports with people who were made up and can be looked for.
    pub(crate) fn planted(&self) -> usize {
        self.exports.len()
    }

    /// Looks for all of them in a file.
    pub(crate) fn trace(&self, path: &Path) -> Result<Traced, PseudoError> {
        let (mut met, mut hasher) = (HashSet::new(), Sha256::new());
        let mut words = Words::default();
        let mut hash = |bytes: &[u8]| hasher.update(bytes);
        table::texts(path, &mut hash, &mut |piece, is_end| {
            words.read(piece, is_end, &mut |word| {
                met.extend(self.tokens.get(word).into_iter().flatten().copied());
            });
        })?;
        let mut counts: BTreeMap<usize, u64> = BTreeMap::new();
        met.iter().for_each(|(export, _)| *counts.entry(*export).or_default() += 1);
        let mut found: Vec<(usize, u64)> = counts.into_iter().collect();
        found.sort_by_key(|(export, count)| (std::cmp::Reverse(*count), *export));
        let told = |(export, count): (usize, u64)| {
            let Suspect { value, planted } = &self.exports[export];
            let said = |name: &str| value[name].clone();
            let name = said("export");
            let value = json!({
                "export": name,
                "state": said("state"),
                "recipient": said("recipient"),
                "purpose": said("purpose"),
                "created": said("created"),
                "delete_on": said("delete_on"),
                "released_to": if value["released_to"].is_string() { said("released_to") } else { value["decision"]["released_to"].clone() },
                "persons_met": count,
                "persons_planted": planted,
            });
            (name.as_str().unwrap_or_default().to_owned(), value)
        };
        let exports = found.into_iter().map(told).collect();
        Ok(Traced { exports, sha256: hex(&hasher.finalize()) })
    }
}

impl Masters<'_> {
    /// A key, unless it was destroyed.
    fn get(&mut self, domain: &DomainName, version: KeyVersion) -> Result<Option<&MasterKey>, PseudoError> {
        let name = (domain.clone(), version);
        if !self.known.contains_key(&name) {
            let master = self.folder.master_if_there(self.root, domain, version)?;
            self.known.insert(name.clone(), master);
        }
        Ok(self.known.get(&name).and_then(Option::as_ref))
    }
}

/// Takes words out of a text that comes in pieces: runs of the characters that tokens are of, whatever stands between them.
#[derive(Default)]
struct Words {
    word: Vec<u8>,
    is_too_long: bool,
}

impl Words {
    fn read(&mut self, piece: &[u8], is_end: bool, give: &mut dyn FnMut(&[u8])) {
        for byte in piece {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                self.is_too_long |= self.word.len() == TOKEN_BYTES_MAX;
                if !self.is_too_long {
                    self.word.push(*byte);
                }
            } else if *byte != 0 {
                // every other byte of what a spreadsheet saved as UTF-16 is a zero
                self.end(give);
            }
        }
        if is_end {
            self.end(give);
        }
    }

    fn end(&mut self, give: &mut dyn FnMut(&[u8])) {
        if !self.is_too_long && !self.word.is_empty() {
            give(&self.word);
        }
        self.word.clear();
        self.is_too_long = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_however_a_text_is_cut_and_between_whatever() {
        let text = b"{\"a\":\"v1_ab-c\"},'v2_x';\tv3_y\n0001aaaa-0000|v1_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz end";
        let whole = ["a", "v1_ab-c", "v2_x", "v3_y", "0001aaaa-0000", "end"];
        for step in 1..text.len() {
            let (mut words, mut found) = (Words::default(), Vec::new());
            let mut give = |word: &[u8]| found.push(String::from_utf8(word.to_vec()).unwrap());
            text.chunks(step).for_each(|piece| words.read(piece, false, &mut give));
            words.read(&[], true, &mut give);
            assert_eq!(found, whole, "in pieces of {step}");
        }
    }

    #[test]
    fn words_are_found_in_utf_16() {
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let text: Vec<u8> = "\u{feff}v1_ab\t7\n".encode_utf16().flat_map(bytes).collect();
            let (mut words, mut found) = (Words::default(), Vec::new());
            words.read(&text, true, &mut |word| found.push(String::from_utf8(word.to_vec()).unwrap()));
            assert_eq!(found, ["v1_ab", "7"]);
        }
    }
}
