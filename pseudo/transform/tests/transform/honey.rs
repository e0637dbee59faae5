//! Made-up persons: the same every time, in the form of real ones, and in no vault.

use std::collections::HashSet;
use std::sync::Arc;

use custody::{ClassName, PersonKey, PersonSalt, Purpose, Scope};
use proptest::prelude::*;
use transform::*;

use crate::given::*;

/// A vault that has everybody, and must never be asked for who is made up.
struct Everybody(bool);

impl People for Everybody {
    fn with_salt(
        &self,
        _: &ClassName,
        _: &str,
        take: &mut dyn FnMut(&PersonSalt),
    ) -> Result<(), TransformError> {
        assert!(self.0, "a made-up person was looked for in the vault");
        let person = PersonKey::generate(|bytes| {
            bytes.fill(2);
            Ok::<(), ()>(())
        });
        take(&person.unwrap().salt());
        Ok(())
    }
}

/// Every technique that makes tokens.
fn techniques(scope: Scope, vault_is_asked: bool) -> Vec<Technique> {
    let token = |form| Technique::Token(Box::new(Token::new(&key(Purpose::Token, scope), form)));
    let vault = |form| {
        let (class, people) = (ClassName::new("person.email").unwrap(), Arc::new(Everybody(vault_is_asked)));
        Technique::Vault(Box::new(VaultToken::new(&key(Purpose::Vault, scope), form, class, people).unwrap()))
    };
    let alphabet = Alphabet::new("A-Z0-9").unwrap();
    let ff1 = FormatPreserving::new(&key(Purpose::FormatPreserving, scope), alphabet, b"x", DOMAIN_MIN);
    vec![
        token(TokenForm::Text),
        token(TokenForm::Uuid),
        vault(TokenForm::Text),
        vault(TokenForm::Uuid),
        Technique::Siv(SivToken::new(&key(Purpose::Siv, scope)).unwrap()),
        Technique::FormatPreserving(Box::new(ff1.unwrap())),
    ]
}

fn honey() -> Honey {
    Honey::new(&key(Purpose::Honey, Scope::Dataset))
}

/// What all tokens of a technique share, as far as somebody without keys sees: length, and where which kind of character stands.
fn form(token: &str) -> (usize, Vec<usize>, Option<String>) {
    let dashes = token.match_indices('-').map(|(at, _)| at).filter(|_| token.len() == 36).collect();
    let head = token.split_once('_').map(|(head, _)| head.to_owned()).filter(|head| head.starts_with('v'));
    (token.len(), dashes, head)
}

proptest! {
    #[test]
    fn a_made_up_token_has_the_form_of_the_one_in_whose_stead_it_is(value in "[A-Z0-9]{5,30}", person in 0_u32..32, export in "[a-z]{1,20}") {
        for scope in [Scope::Domain, Scope::Dataset] {
            for (real, made) in techniques(scope, true).iter().zip(&techniques(scope, false)) {
                let like = text(|out| real.apply(&Clear::Text(&value), &place(1), out)).unwrap().1;
                let made_up = honey().made_up(&export, person, 0);
                let token = text(|out| made.apply_made_up(&made_up, like.as_bytes(), &place(2), out)).unwrap();
                prop_assert_eq!(token.0, Kind::Text);
                prop_assert_eq!(form(&token.1), form(&like));
                prop_assert_ne!(&token.1, &like);
                let again = text(|out| made.apply_made_up(&made_up, like.as_bytes(), &place(3), out)).unwrap();
                prop_assert_eq!(token, again);
            }
        }
    }
}

#[test]
fn export_person_and_number_each_make_another_identity_and_keys_are_apart() {
    let (honey, mut seen) = (honey(), HashSet::new());
    let token = Token::new(&key(Purpose::Token, Scope::Domain), TokenForm::Text);
    for export in ["a", "ab", "b"] {
        for person in 0..32 {
            for number in 0..8 {
                let made = honey.made_up(export, person, number);
                assert!(seen.insert(made.token(&token)));
                assert!(seen.insert(
                    made.vault_token(&Token::new(&key(Purpose::Vault, Scope::Domain), TokenForm::Text))
                ));
            }
        }
    }
    let other = Name { version: 4, ..Name::golden() };
    let other = Honey::new(&other.key(Purpose::Honey, Scope::Dataset));
    assert!(!seen.contains(&other.made_up("a", 0, 0).token(&token)));
    assert_ne!(honey.draw(&RUN, b"t"), honey.draw(&RunSeed([8; 16]), b"t"));
    assert_ne!(honey.lot(&RUN, 0), honey.lot(&RUN, 1));
}

#[test]
fn what_makes_no_tokens_makes_nobody_up() {
    let made_up = honey().made_up("a", 0, 0);
    assert!(text(|out| Technique::Keep.apply_made_up(&made_up, b"x", &place(0), out)).is_err());
}

#[test]
fn made_up_tokens_are_what_they_were() {
    let token = Token::new(&key(Purpose::Token, Scope::Domain), TokenForm::Text);
    let made = honey().made_up("usage-1", 2, 0);
    let golden = |name: &str| {
        let lines = include_str!("../fixtures/golden.txt").lines();
        lines.filter_map(|line| line.split_once(' ')).find(|(found, _)| *found == name).unwrap().1
    };
    assert_eq!(String::from_utf8(made.token(&token)).unwrap(), golden("honey_domain"));
    let vault = Token::new(&key(Purpose::Vault, Scope::Domain), TokenForm::Text);
    assert_eq!(String::from_utf8(made.vault_token(&vault)).unwrap(), golden("honey_vault_domain"));
}
