//! Persons who do not exist, for rows that are planted in an export so that a leak of it can be told.
//!
//! Everything about them follows from a key of the domain, the export's name and their number in it, so that they need no table: who
//! has the key makes them again and finds them. Their tokens are those that the technique makes of a value, here of one that nobody
//! has, so whoever has no key cannot tell them from others. In a vault they are not.

use custody::FieldKey;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::keyed::Keyed;
use crate::{Clear, Kind, Place, RUN_SEED_BYTES, RunSeed, Technique, Token, TransformError};

/// What a code is about: no two kinds have a message in common.
const DRAW: u8 = 1;
const IDENTITY: u8 = 2;
const LOT: u8 = 3;
/// What tells which run, and which donors.
const DRAW_BYTES: usize = 16;
const TECHNIQUE: &str = "honey";

/// Makes persons up under one key.
pub struct Honey {
    keyed: Keyed,
}

/// Something of a made-up person that stands for an identifier.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MadeUp([u8; 32]);

impl Honey {
    /// Under this key (of purpose [`custody::Purpose::Honey`]).
    pub fn new(key: &FieldKey) -> Self {
        Self { keyed: Keyed::new(key.expose_half()) }
    }

    /// By what those are chosen whose rows are the pattern: the people of a run with the smallest draws.
    pub fn draw(&self, run: &RunSeed, token: &[u8]) -> [u8; DRAW_BYTES] {
        let mut before = [DRAW; 1 + RUN_SEED_BYTES];
        before[1..].copy_from_slice(&run.0);
        *self.keyed.code(&before, token).first_chunk().expect("an HMAC-SHA-256 has 32 bytes")
    }

    /// A number that a person of a run has: what else is chosen follows from it.
    pub fn lot(&self, run: &RunSeed, person: u32) -> u64 {
        let mut before = [LOT; 1 + RUN_SEED_BYTES];
        before[1..].copy_from_slice(&run.0);
        let code = self.keyed.code(&before, &person.to_le_bytes());
        u64::from_le_bytes(*code.first_chunk().expect("an HMAC-SHA-256 has 32 bytes"))
    }

    /// What a person of an export has in the stead of an identifier; number 0 is their own, others are of what belongs to them.
    pub fn made_up(&self, export: &str, person: u32, number: u32) -> MadeUp {
        let mut before = [IDENTITY; 9];
        before[1..5].copy_from_slice(&person.to_le_bytes());
        before[5..].copy_from_slice(&number.to_le_bytes());
        MadeUp(self.keyed.code(&before, export.as_bytes()))
    }
}

impl MadeUp {
    fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The token of it in a column whose tokens are `prf`, of scope domain or data set; `token` is of the key of that purpose.
    pub fn token(&self, token: &Token) -> Vec<u8> {
        let mut out = Vec::new();
        token.write_salted(&[], &self.text(), &mut out);
        out
    }

    /// The token of it in a column whose tokens are `prf+vault`; `token` is of the key of that purpose.
    pub fn vault_token(&self, token: &Token) -> Vec<u8> {
        let mut out = Vec::new();
        token.write_salted(&self.0, &self.text(), &mut out);
        out
    }
}

impl Technique {
    /// Appends the token of something made up, in the form of a token that stands in the same column.
    pub fn apply_made_up(
        &self,
        made_up: &MadeUp,
        like: &[u8],
        place: &Place<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Kind, TransformError> {
        let text = made_up.text();
        match self {
            Self::Token(token) => token.apply(&Clear::Text(&text), place, out),
            Self::Vault(token) => {
                token.write_made_up(&made_up.0, &text, out);
                Ok(Kind::Text)
            }
            Self::Siv(siv) => {
                let value: String = text.chars().cycle().take(siv.value_bytes(like).max(1)).collect();
                siv.apply(&Clear::Text(&value), out)
            }
            Self::FormatPreserving(ff1) => {
                let value = ff1.value_of(&made_up.0, like.len());
                ff1.apply(&Clear::Text(&value), out)
            }
            _ => Err(TransformError::Parameter { technique: TECHNIQUE, problem: "its values are no tokens" }),
        }
    }
}
