//! Bytes that never change. The fixture was written by `tests/fixtures/reference.py`, a second implementation.

use std::sync::Arc;

use custody::{ClassName, PersonKey, PersonSalt, Purpose, Scope};
use transform::*;

use crate::given::*;

const GOLDEN: &str = include_str!("../fixtures/golden.txt");

fn golden(name: &str) -> &'static str {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("the fixture has the line")
}

fn named(what: &str, scope: Scope) -> &'static str {
    let scope = match scope {
        Scope::Domain => "domain",
        Scope::Dataset => "dataset",
        Scope::Record => "record",
    };
    golden(&format!("{what}_{scope}"))
}

#[test]
fn tokens_are_what_they_were() {
    for scope in [Scope::Domain, Scope::Dataset, Scope::Record] {
        let key = key(Purpose::Token, scope);
        let hex: String = key.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, named("key", scope));
        for (form, what) in [(TokenForm::Text, "token"), (TokenForm::Uuid, "uuid")] {
            let token = Token::new(&key, form);
            let written = text(|out| token.apply(&Clear::Text(EMAIL), &place(41), out)).unwrap();
            assert_eq!(written, (Kind::Text, named(what, scope).to_owned()));
            assert!(written.1.len() <= TOKEN_TEXT_BYTES_MAX);
        }
    }
}

#[test]
fn reversible_tokens_are_what_they_were() {
    for scope in [Scope::Domain, Scope::Dataset] {
        let siv = SivToken::new(&key(Purpose::Siv, scope)).unwrap();
        let written = text(|out| siv.apply(&Clear::Text(EMAIL), out)).unwrap();
        assert_eq!(written.1, named("siv", scope));
        assert_eq!(*siv.open(named("siv", scope)).unwrap(), EMAIL);
    }
}

#[test]
fn format_preserving_encryption_is_what_it_was() {
    let key = key(Purpose::FormatPreserving, Scope::Domain);
    let alphabet = Alphabet::new("A-Z0-9").unwrap();
    let ff1 = FormatPreserving::new(&key, alphabet, b"person.email", DOMAIN_MIN).unwrap();
    let written = text(|out| ff1.apply(&Clear::Text("SN00417733"), out)).unwrap();
    assert_eq!(written.1, golden("ff1"));
    let mut back = Vec::new();
    ff1.open(golden("ff1"), &mut back).unwrap();
    assert_eq!(back, b"SN00417733");
}

#[test]
fn the_shift_of_dates_is_what_it_was() {
    let shift = DateShift::new(&key(Purpose::DateShift, Scope::Domain), 15, TimeUnit::Day).unwrap();
    let written = text(|out| shift.apply(&Clear::Text("2026-11-22"), &place(0), out)).unwrap();
    assert_eq!(written.1, golden("date_shift"));
}

/// A vault in which everybody has one secret.
struct OneSecret(PersonKey);

impl People for OneSecret {
    fn with_salt(
        &self,
        _: &ClassName,
        _: &str,
        take: &mut dyn FnMut(&PersonSalt),
    ) -> Result<(), TransformError> {
        take(&self.0.salt());
        Ok(())
    }
}

#[test]
fn tokens_of_people_are_what_they_were_and_take_the_persons_secret() {
    let token = |scope, form, secret| {
        let person = PersonKey::generate(|bytes| {
            bytes.fill(secret);
            Ok::<(), ()>(())
        });
        let people = Arc::new(OneSecret(person.unwrap()));
        let class = ClassName::new("person.email").unwrap();
        let token = VaultToken::new(&key(Purpose::Vault, scope), form, class, people)?;
        text(|out| token.apply(&Clear::Text(EMAIL), out)).map(|(_, token)| token)
    };
    for scope in [Scope::Domain, Scope::Dataset] {
        for (form, what) in [(TokenForm::Text, "vault"), (TokenForm::Uuid, "vault_uuid")] {
            assert_eq!(token(scope, form, 2).unwrap(), named(what, scope));
            assert_ne!(token(scope, form, 3).unwrap(), named(what, scope), "another secret");
        }
    }
    assert!(token(Scope::Record, TokenForm::Text, 2).is_err());
}
