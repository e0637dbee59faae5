//! The PKCS#11 token that seals a folder's root: named by a small file, asked with a PIN from another.
//!
//! The file is TOML: `module` (the driver), `token_label` or `slot`, `key_label`, `pin_file`; paths are relative to its folder. Nothing in it is
//! secret. The token's key never leaves the token; whoever has the token and its PIN has the root, alone, which is what shares are made to prevent.

use crate::keys::KeyFolder;
use crate::{PseudoError, files};
use custody::{CustodyError, RootKey, SealedRoot, TOKEN_NONCE_BYTES};
use pkcs11::{Sealed, Token, TokenError, TokenName};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The file, and that of the PIN, bytes: a few lines.
const SMALL_FILE_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    module: PathBuf,
    token_label: Option<String>,
    slot: Option<u64>,
    key_label: String,
    pin_file: PathBuf,
}

/// A token that can be asked.
pub(crate) struct RootToken {
    token: Token,
    key_label: String,
    pin_file: PathBuf,
}

/// What fails between a root and its token.
struct Failed(PseudoError);

impl RootToken {
    /// Reads what names it, and starts its driver.
    pub(crate) fn load(path: &Path) -> Result<Self, PseudoError> {
        let text = files::read_text(path, SMALL_FILE_BYTES_MAX)?;
        let file: TokenFile = toml::from_str(&text)
            .map_err(|error| PseudoError::table(path, error.message().replace('\n', " ")))?;
        let name = match (file.token_label, file.slot) {
            (Some(label), None) => TokenName::Label(label),
            (None, Some(slot)) => TokenName::Slot(slot),
            _ => return Err(PseudoError::table(path, "exactly one of token_label and slot is needed")),
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        let token = Token::load(&folder.join(&file.module), &name);
        let token = token.map_err(|source| PseudoError::Token { source })?;
        Ok(Self { token, key_label: file.key_label, pin_file: folder.join(&file.pin_file) })
    }

    /// Has the token seal a root, with a key that is made if there is none of this label.
    pub(crate) fn seal(&self, root: &RootKey) -> Result<Vec<u8>, PseudoError> {
        let pin = self.pin()?;
        match self.token.check_key(&pin, &self.key_label) {
            Err(TokenError::NoKey { .. }) => self.token.create_key(&pin, &self.key_label),
            checked => checked,
        }
        .map_err(|source| PseudoError::Token { source })?;
        let sealed = root.seal_on_token(|associated, plain| {
            let mut nonce = [0; TOKEN_NONCE_BYTES];
            files::random(&mut nonce).map_err(Failed)?;
            let Sealed { nonce, bytes } = self.token.seal(&pin, &self.key_label, nonce, associated, plain)?;
            Ok::<_, Failed>(SealedRoot { nonce, bytes })
        });
        sealed.map_err(|Failed(error)| error)
    }

    /// Has the token open a folder's root.
    pub(crate) fn open(&self, folder: &KeyFolder) -> Result<RootKey, PseudoError> {
        let (bytes, pin) = (folder.token_root()?, self.pin()?);
        let root = RootKey::open_on_token(&bytes, |associated, SealedRoot { nonce, bytes }| {
            let sealed = Sealed { nonce: *nonce, bytes: bytes.clone() };
            Ok::<_, Failed>(self.token.open(&pin, &self.key_label, &sealed, associated)?)
        });
        let root = root.map_err(|Failed(error)| error)?;
        folder.check(&root)?;
        Ok(root)
    }

    fn pin(&self) -> Result<Zeroizing<String>, PseudoError> {
        let text = files::secret::read_text(&self.pin_file, SMALL_FILE_BYTES_MAX)?;
        Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
    }
}

impl From<CustodyError> for Failed {
    fn from(error: CustodyError) -> Self {
        Self(PseudoError::custody("the root on the token")(error))
    }
}

impl From<TokenError> for Failed {
    fn from(source: TokenError) -> Self {
        Self(PseudoError::Token { source })
    }
}
