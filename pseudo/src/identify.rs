//! Whose tokens these are: every person's token is made again and compared, since no table leads from a token to a person.

use crate::PseudoError;
use crate::desk::Desk;
use crate::grant::Request;
use crate::keys::unhex;
use custody::{ClassName, Handle, Identity, KeyVersion, PersonSalt, Purpose, Scope};
use policy::Spec;
use std::collections::{BTreeSet, HashMap, HashSet};
use transform::{Token, TokenForm, person_token};
use zeroize::Zeroizing;

/// The random part of a token as text; a token as UUID.
const TEXT_CHARS: usize = 22;
const UUID_CHARS: usize = 36;

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
    /// Tokens that are nobody's.
    pub(crate) unknown_tokens: u64,
    /// People who are not in the vault.
    pub(crate) unknown_people: u64,
    /// Tokens whose key was destroyed: nobody can tell whose they are.
    pub(crate) without_key: u64,
    /// Everybody in the vault.
    pub(crate) people: u64,
}

impl Search {
    /// Everything that led to nobody.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown_tokens + self.unknown_people + self.without_key
    }
}

/// How the tokens of one class are made in one version.
struct Maker {
    class: ClassName,
    token: Token,
}

/// How a token is made: key version, whether it is a UUID, whether it is of a data set alone.
type Made = (KeyVersion, bool, bool);

/// Reads the whole vault once.
pub(crate) fn search(desk: &Desk, request: &Request) -> Result<Search, PseudoError> {
    desk.vault.sound()?;
    let mut without_key = 0;
    let mut makers = Vec::new();
    let versions: HashSet<Made> = request.tokens.iter().filter_map(|token| parsed(token)).collect();
    for made in versions {
        match makers_of(desk, made)? {
            Some(more) => makers.extend(more),
            None => without_key += request.tokens.iter().filter(|token| parsed(token) == Some(made)).count(),
        }
    }
    let tokens: HashSet<&[u8]> = request.tokens.iter().map(String::as_bytes).collect();
    let forms = request.people.iter().enumerate();
    let forms = forms.flat_map(|(place, forms)| forms.iter().map(move |form| (form, place)));
    let handles: HashMap<Handle, usize> =
        forms.filter_map(|(form, place)| unhex(form).map(|handle| (Handle(handle), place))).collect();
    let (mut found, mut met, mut named) = (Vec::new(), HashSet::new(), HashSet::new());
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
        if let Some(place) = handles.get(&person.handle) {
            named.insert(*place);
            add(None);
        }
        let salt = person.key.salt();
        for maker in makers.iter().filter(|maker| maker.class == identity.class) {
            let token = person_token(&maker.token, &salt, &identity.value);
            if tokens.contains(&token[..]) {
                add(Some(String::from_utf8_lossy(&token).into_owned()));
                met.insert(token);
            }
        }
        Ok(())
    })?;
    let before = desk.journal.people();
    if people < before {
        let problem =
            format!("{people} people are in the vault and {before} were: it was cut, or is an older copy");
        return Err(PseudoError::Signed { place: "the vault".to_owned(), problem });
    }
    let unknown_tokens = tokens.len().saturating_sub(met.len() + without_key) as u64;
    let unknown_people = request.people.len().saturating_sub(named.len()) as u64;
    Ok(Search { found, unknown_tokens, unknown_people, without_key: without_key as u64, people })
}

/// A token as exports have it, if it can be one of a person.
pub(crate) fn is_token(text: &str) -> bool {
    parsed(text).is_some()
}

/// The classes that a policy keeps in the vault.
pub(crate) fn classes(policy: &policy::Policy) -> BTreeSet<ClassName> {
    policy
        .columns()
        .filter(|rule| matches!(rule.spec, Spec::Vault(_)))
        .map(|rule| rule.class.clone())
        .collect()
}

/// One maker for each class that the tokens can be of; nothing when their key is not there any more.
fn makers_of(desk: &Desk, (version, is_uuid, is_set): Made) -> Result<Option<Vec<Maker>>, PseudoError> {
    let policy = &desk.policy;
    let Some(master) = desk.keys.master_if_there(&desk.root, &policy.domain, version)? else {
        return Ok(None);
    };
    let scope = if is_set { Scope::Dataset } else { Scope::Domain };
    let form = if is_uuid { TokenForm::Uuid } else { TokenForm::Text };
    let maker = |class: ClassName| {
        let key = master.field_key(Purpose::Vault, &class, scope, &policy.dataset);
        Maker { class, token: Token::new(&key, form) }
    };
    Ok(Some(classes(policy).into_iter().map(maker).collect()))
}

/// How a token was made; `None` for what is no token of a person.
fn parsed(token: &str) -> Option<Made> {
    if let Some((head, bits)) = token.strip_prefix('v').and_then(|rest| rest.split_once('_')) {
        let is_bits = bits.len() == TEXT_CHARS
            && bits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        let (number, is_set) = head.strip_suffix('s').map_or((head, false), |number| (number, true));
        let version = KeyVersion::new(number.parse().ok()?).ok()?;
        return (is_bits && number == version.to_string()).then_some((version, false, is_set));
    }
    let is_uuid = token.len() == UUID_CHARS
        && token.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        });
    let head = u16::from_str_radix(token.get(..4).filter(|_| is_uuid)?, 16).ok()?;
    let version = KeyVersion::new(u32::from(head & 0x3fff)).ok()?;
    (head >> 14 < 2).then_some((version, true, head >> 14 == 1))
}
