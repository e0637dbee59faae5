//! Sessions on one PKCS#11 token: found by label or slot, logged in, with the key in hand.
//!
//! A session lives for one call, so that a token which was pulled out, restarted or moved to another slot is found
//! again by the next one; keys are opened at start and at rotation only, so this costs nothing that counts.
//! The driver is started once per process and never shut down: another user of it in this process may be at work.

use crate::TokenError;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use std::fmt;
use std::path::Path;

/// AES-256.
const KEY_BYTES: u64 = 32;

/// How a token is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenName {
    /// By its label.
    Label(String),
    /// By its slot's number.
    Slot(u64),
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "called {label}"),
            Self::Slot(slot) => write!(f, "in slot {slot}"),
        }
    }
}

/// A token. The PIN is given with each call, so that whoever calls can wipe it.
pub struct Token {
    driver: Pkcs11,
    name: TokenName,
}

impl Token {
    /// Starts the driver.
    pub fn load(module: &Path, name: &TokenName) -> Result<Self, TokenError> {
        let failed = |source| TokenError::Module { path: module.to_owned(), source };
        let driver = Pkcs11::new(module).map_err(failed)?;
        match driver.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(source) => return Err(failed(source)),
        }
        Ok(Self { driver, name: name.clone() })
    }

    /// Whether the key of this label is there and fit for use.
    pub fn check_key(&self, pin: &str, label: &str) -> Result<(), TokenError> {
        self.session(pin, label).map(|_| ())
    }

    /// A session in which the key of this label can be used.
    pub(crate) fn session(&self, pin: &str, label: &str) -> Result<(Session, ObjectHandle), TokenError> {
        let slot = self.slot()?;
        let offered = self.driver.get_mechanism_list(slot).map_err(failed("list its mechanisms"))?;
        if !offered.contains(&MechanismType::AES_GCM) {
            return Err(TokenError::NoMechanism);
        }
        let session = self.driver.open_ro_session(slot).map_err(failed("open a session"))?;
        login(&session, pin)?;
        let keys = find(&session, label)?;
        match keys[..] {
            [] => Err(TokenError::NoKey { label: label.to_owned() }),
            [key] => {
                check(&session, key, label)?;
                Ok((session, key))
            }
            _ => Err(TokenError::ManyKeys { label: label.to_owned(), count: keys.len() }),
        }
    }

    /// Makes a key of this label: AES-256, neither readable nor exportable. One that is there is left alone: a second key would hide it.
    pub fn create_key(&self, pin: &str, label: &str) -> Result<(), TokenError> {
        let slot = self.slot()?;
        let session = self.driver.open_rw_session(slot).map_err(failed("open a session"))?;
        login(&session, pin)?;
        if !find(&session, label)?.is_empty() {
            return Err(TokenError::KeyExists { label: label.to_owned() });
        }
        let key = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(KEY_BYTES.into()),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Modifiable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            // one use per key: what it seals can only be opened as what it is
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Sign(false),
            Attribute::Verify(false),
            Attribute::Derive(false),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &key).map_err(failed("make a key"))?;
        Ok(())
    }

    fn slot(&self) -> Result<Slot, TokenError> {
        let slots = self.driver.get_slots_with_token().map_err(failed("list its slots"))?;
        let mut labels = Vec::new();
        let mut matching = Vec::new();
        for slot in slots {
            // a token that was pulled out in between is not the one wanted
            let Ok(information) = self.driver.get_token_info(slot) else { continue };
            if !information.token_initialized() {
                continue;
            }
            let label = information.label().trim_end().to_owned();
            let wanted = match &self.name {
                TokenName::Label(wanted) => *wanted == label,
                TokenName::Slot(wanted) => *wanted == slot.id(),
            };
            if wanted {
                matching.push(slot);
            }
            labels.push(label);
        }
        match (&matching[..], &self.name) {
            ([slot], _) => Ok(*slot),
            ([_, _, ..], TokenName::Label(label)) => {
                Err(TokenError::ManyTokens { label: label.clone(), count: matching.len() })
            }
            _ => Err(TokenError::NoToken { wanted: self.name.clone(), found: labels }),
        }
    }
}

fn login(session: &Session, pin: &str) -> Result<(), TokenError> {
    let pin = AuthPin::from(pin);
    match session.login(UserType::User, Some(&pin)) {
        // the login belongs to the process: another session's is ours
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::PinLocked),
        Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
            Err(TokenError::WrongPin)
        }
        Err(source) => Err(failed("log in")(source)),
    }
}

fn find(session: &Session, label: &str) -> Result<Vec<ObjectHandle>, TokenError> {
    let wanted = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(label.as_bytes().to_vec())];
    session.find_objects(&wanted).map_err(failed("look for the key"))
}

/// A root key that could be exported would make the token pointless; one of another kind would not work.
fn check(session: &Session, key: ObjectHandle, label: &str) -> Result<(), TokenError> {
    let asked = [
        AttributeType::KeyType,
        AttributeType::ValueLen,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Encrypt,
        AttributeType::Decrypt,
    ];
    let answers = session.get_attributes(key, &asked).map_err(failed("describe the key"))?;
    let has = |wanted: Attribute| answers.contains(&wanted);
    let problem = if !has(Attribute::KeyType(KeyType::AES)) || !has(Attribute::ValueLen(KEY_BYTES.into())) {
        "it is not an AES key of 256 bits"
    } else if !has(Attribute::Sensitive(true)) {
        "the token would show it (CKA_SENSITIVE is not set)"
    } else if !has(Attribute::Extractable(false)) {
        "it may leave the token (CKA_EXTRACTABLE is set)"
    } else if !has(Attribute::Encrypt(true)) || !has(Attribute::Decrypt(true)) {
        "it may not encrypt and decrypt (CKA_ENCRYPT, CKA_DECRYPT)"
    } else {
        return Ok(());
    };
    Err(TokenError::UnfitKey { label: label.to_owned(), problem })
}

/// For `map_err`: the token could not do `operation`.
pub(crate) fn failed(operation: &'static str) -> impl Fn(Error) -> TokenError {
    move |source| TokenError::Token { operation, source }
}
