//! Whose tokens these are: every person's token is made again and compared, since no table leads from a token to a person.

use crate::PseudoError;
use crate::desk::Desk;
use crate::grant::Request;
use crate::keys::unhex;
use custody::{ClassName, Handle, Identity, KeyVersion, PersonSalt, Purpose, Scope};
use policy::Spec;
use std::collections::{BTreeSet, HashSet};
use transform::{Token, TokenForm, person_token};
use zeroize::Zeroizing;

/// A person who was asked for.
pub(crate) struct Found {
    pub(crate) handle: Handle,
    /// The token that led to them; nothing when they were named.
    pub(crate) token: Option<String>,
    pub(crate) class: ClassName,
    pub(crate) value: Zeroizing<String>,
    /// What their tokens are made with.
    pub(crate) salt: PersonSalt,
    /// Seconds since 1970 at which they came into the vault.
    pub(crate) created: u64,
}

/// Who was found, and who was not.
pub(crate) struct Search {
    pub(crate) found: Vec<Found>,
    /// Tokens that are nobody's, and people who are not in the vault.
    pub(crate) unknown: u64,
    /// Everybody in the vault.
    pub(crate) people: u64,
    /// Buckets that could not be read, since their key is destroyed.
    pub(crate) stale: usize,
}

/// How the tokens of one class are made in one version.
struct Maker {
    class: ClassName,
    token: Token,
}

/// Reads the whole vault once.
pub(crate) fn search(desk: &Desk, request: &Request) -> Result<Search, PseudoError> {
    let makers = makers(desk, &request.tokens)?;
    let tokens: HashSet<&[u8]> = request.tokens.iter().map(String::as_bytes).collect();
    let handles: HashSet<Handle> = request.people.iter().filter_map(|text| unhex(text).map(Handle)).collect();
    let mut found = Vec::new();
    let people = desk.vault.each(&mut |person, identity: &Identity| {
        let mut add = |token: Option<String>| {
            found.push(Found {
                handle: person.handle,
                token,
                class: identity.class.clone(),
                value: identity.value.clone(),
                salt: person.key.salt(),
                created: person.created,
            });
        };
        if handles.contains(&person.handle) {
            add(None);
        }
        let salt = person.key.salt();
        for maker in makers.iter().filter(|maker| maker.class == identity.class) {
            let token = person_token(&maker.token, &salt, &identity.value);
            if tokens.contains(&token[..]) {
                add(Some(String::from_utf8_lossy(&token).into_owned()));
            }
        }
        Ok(())
    })?;
    let stale = desk.vault.stale();
    let before = desk.journal.people();
    if people < before && stale == 0 {
        let problem =
            format!("{people} people are in the vault and {before} were: it was cut, or is an older copy");
        return Err(PseudoError::Signed { place: "the vault".to_owned(), problem });
    }
    let unknown = (tokens.len() + handles.len()).saturating_sub(found.len()) as u64;
    Ok(Search { found, unknown, people, stale })
}

/// The classes that a policy keeps in the vault.
pub(crate) fn classes(policy: &policy::Policy) -> BTreeSet<ClassName> {
    policy
        .columns()
        .filter(|rule| matches!(rule.spec, Spec::Vault(_)))
        .map(|rule| rule.class.clone())
        .collect()
}

/// One maker for each class, scope, form and version that the tokens can have.
fn makers(desk: &Desk, tokens: &[String]) -> Result<Vec<Maker>, PseudoError> {
    let policy = &desk.policy;
    let versions: HashSet<(KeyVersion, bool, bool)> =
        tokens.iter().filter_map(|token| parsed(token)).collect();
    let mut makers = Vec::new();
    for (version, is_uuid, is_set) in versions {
        let master = desk.keys.master(&desk.root, &policy.domain, Some(version))?;
        let scope = if is_set { Scope::Dataset } else { Scope::Domain };
        let form = if is_uuid { TokenForm::Uuid } else { TokenForm::Text };
        for class in classes(policy) {
            let key = master.field_key(Purpose::Vault, &class, scope, &policy.dataset);
            makers.push(Maker { class, token: Token::new(&key, form) });
        }
    }
    Ok(makers)
}

/// Key version, whether it is a UUID, whether it is of a data set alone; `None` for what is no token.
fn parsed(token: &str) -> Option<(KeyVersion, bool, bool)> {
    if let Some((head, _)) = token.strip_prefix('v').and_then(|rest| rest.split_once('_')) {
        let (number, is_set) = head.strip_suffix('s').map_or((head, false), |number| (number, true));
        return Some((KeyVersion::new(number.parse().ok()?).ok()?, false, is_set));
    }
    let head = token.get(..4).filter(|_| token.len() == 36)?;
    let head = u16::from_str_radix(head, 16).ok()?;
    Some((KeyVersion::new(u32::from(head & 0x3fff)).ok()?, true, head >> 14 == 1))
}
