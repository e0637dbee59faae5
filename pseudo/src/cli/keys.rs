//! `pseudo keys`: ceremonies at which a root is split, and the domain keys under it.

use super::output::Output;
use super::revoke;
use super::verify::Known;
use crate::custody_log::{self, Event, Said};
use crate::keys::{KeyFolder, gather, hex};
use crate::operators::{self, Passphrase};
use crate::s3::{Connection, Place};
use crate::token::RootToken;
use crate::{PseudoError, files};
use clap::{Args, Subcommand};
use custody::{CustodyError, DomainName, KeyVersion, RootKey};
use serde_json::json;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a root, split it into shares, and make the folder for keys under it
    Create {
        /// The folder to make
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// Where to write share-1.txt and so on; each goes to another person, none stays
        #[arg(long, value_name = "DIR", required_unless_present = "token")]
        shares: Option<PathBuf>,
        /// How many shares
        #[arg(long, value_name = "NUMBER", default_value_t = 5)]
        count: u8,
        /// How many of them give the root
        #[arg(long, value_name = "NUMBER", default_value_t = 3)]
        threshold: u8,
        /// A file that names a PKCS#11 token, which is to seal the root; without --shares nothing else opens it
        #[arg(long, value_name = "FILE")]
        token: Option<PathBuf>,
    },
    /// Have a PKCS#11 token seal the root too; from then on it opens the keys without shares
    Token {
        /// A file that names the token
        #[arg(value_name = "FILE")]
        seal: PathBuf,
        #[command(flatten)]
        opened: Opened,
    },
    /// Make a domain's first key, or its next one
    Domain {
        /// The domain
        domain: String,
        #[command(flatten)]
        opened: Opened,
    },
    /// From now on two people have to agree to each policy, and to each change of one (`pseudo policy agree`)
    FourEyes {
        /// From now on nobody has to
        #[arg(long)]
        end: bool,
        #[command(flatten)]
        opened: Opened,
    },
    /// Make the key that manifests are signed with, and print its public half
    Signing {
        #[command(flatten)]
        opened: Opened,
    },
    /// Make an operator's own key, sealed under a passphrase
    Operator {
        /// Who it is
        name: String,
        /// The file to make; it stays with its operator
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Let an operator make and release exports: signs a certificate of their key
    Enrol {
        /// The operator's file; its passphrase is not asked for
        #[arg(value_name = "FILE")]
        operator: PathBuf,
        #[command(flatten)]
        opened: Opened,
    },
    /// Make an operator's second factor and print it once, for their authenticator
    Totp {
        /// The operator's file; its passphrase is not asked for
        #[arg(value_name = "FILE")]
        operator: PathBuf,
        #[command(flatten)]
        opened: Opened,
    },
    /// Revoke an operator's key: from now on nothing that is signed with it counts
    Revoke {
        /// The operator
        operator: String,
        /// Which of their keys, for one that the custody log does not know [default: all that it says were enrolled]
        #[arg(long, value_name = "KEY")]
        public_key: Option<String>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// A place of drafts; what they decided about the exports there stands. As often as there are
        #[arg(long, value_name = "S3://BUCKET/PREFIX", value_parser = Place::parse, required_unless_present = "nothing_stands")]
        drafts: Vec<Place>,
        /// Say that nothing stands of what they decided before
        #[arg(long, conflicts_with = "drafts")]
        nothing_stands: bool,
        #[command(flatten)]
        opened: Opened,
        #[command(flatten)]
        connection: Connection,
    },
    /// Print the custody log, every entry checked
    Log {
        /// The folder
        #[arg(long, value_name = "DIR", env = "PSEUDO_KEYS")]
        keys: PathBuf,
        #[command(flatten)]
        known: Known,
    },
    /// List the keys of a folder; needs no shares
    List {
        /// The folder
        #[arg(long, value_name = "DIR", env = "PSEUDO_KEYS")]
        keys: PathBuf,
    },
    /// See whether shares or the token give the root, and open every key once
    Verify {
        #[command(flatten)]
        opened: Opened,
    },
    /// Remove a key: its tokens can never again be made or linked with others. Copies elsewhere stay
    Destroy {
        /// The domain
        domain: String,
        /// Which of its keys
        #[arg(long, value_name = "NUMBER")]
        version: u32,
        /// The folder
        #[arg(long, value_name = "DIR", env = "PSEUDO_KEYS")]
        keys: PathBuf,
        /// Say that it is meant
        #[arg(long)]
        yes: bool,
    },
}

/// What people must know who have a token seal a root.
const ALONE: &str =
    "Whoever has it and its PIN opens all keys alone: the token's own rules are what demands several people.";

/// What opens keys.
#[derive(Debug, Args)]
pub(super) struct Opened {
    /// The folder of keys
    #[arg(long, value_name = "DIR", env = "PSEUDO_KEYS", required = true)]
    pub(super) keys: Option<PathBuf>,
    /// A share of the root; as often as the root needs
    #[arg(long, value_name = "FILE", required_unless_present = "token")]
    pub(super) share: Vec<PathBuf>,
    /// A file that names the PKCS#11 token which opens the root, instead of shares
    #[arg(long, value_name = "FILE", conflicts_with = "share")]
    pub(super) token: Option<PathBuf>,
}

impl Opened {
    /// The folder and its root.
    pub(super) fn open(&self) -> Result<(KeyFolder, RootKey), PseudoError> {
        let Some(keys) = &self.keys else {
            return Err(PseudoError::usage("no folder of keys is named", "name it with --keys"));
        };
        let folder = KeyFolder::open(keys)?;
        let root = match &self.token {
            Some(token) => RootToken::load(token)?.open(&folder)?,
            None => gather(&self.share)?,
        };
        folder.check(&root)?;
        Ok((folder, root))
    }
}

pub(super) fn run(command: &KeysCommand, output: &Output) -> Result<(), PseudoError> {
    match command {
        KeysCommand::Create { keys, shares, count, threshold, token } => {
            create(keys, shares.as_deref(), (*count, *threshold), token.as_deref(), output)
        }
        KeysCommand::Token { seal, opened } => {
            let (folder, root) = opened.open()?;
            folder.add_token_root(&RootToken::load(seal)?.seal(&root)?)?;
            noted(&folder, &root, Said::of(Event::Token, "root"))?;
            let check = hex(&folder.root().0);
            output.either(json!({ "root": check, "token": true }), || {
                format!("root {check}: the token opens it too. {ALONE}\n")
            })
        }
        KeysCommand::Domain { domain, opened } => {
            let (folder, root) = opened.open()?;
            let master = folder.add(&root, &domain_name(domain)?)?;
            let subject = format!("{domain}.{}", master.version());
            noted(&folder, &root, Said::of(Event::DomainKey, &subject))?;
            let (version, id) = (master.version().get(), hex(&master.id()));
            output.either(json!({ "domain": domain, "version": version, "key_id": id }), || {
                format!("key {version} of domain {domain}, id {id}\n")
            })
        }
        KeysCommand::FourEyes { end, opened } => {
            let (folder, root) = opened.open()?;
            let event = if *end { Event::TwoEyes } else { Event::FourEyes };
            let head = custody_log::note(&folder, &folder.signing(&root)?, Said::of(event, ""))?;
            output.either(json!({ "four_eyes": !end, "log_head": head }), || {
                let whom = if *end { "nobody has to" } else { "two people have to" };
                format!("from now on {whom} agree to each policy\nlog head {head}\n")
            })
        }
        KeysCommand::Signing { opened } => {
            let (folder, root) = opened.open()?;
            let public = hex(&folder.add_signing(&root)?.public().0);
            let key = Some(public.clone());
            noted(&folder, &root, Said { key, ..Said::of(Event::Signing, "service") })?;
            output.either(json!({ "public_key": public }), || {
                format!("manifests are signed with the key {public}\nGive this to whoever checks them.\n")
            })
        }
        KeysCommand::Operator { name, output: path, passphrase } => {
            let public = operators::create(name, path, &passphrase.read()?)?;
            output.either(json!({ "operator": name, "public_key": hex(&public.0) }), || {
                format!("operator {name} signs with the key {}\n", hex(&public.0))
            })
        }
        KeysCommand::Enrol { operator, opened } => {
            let (folder, root) = opened.open()?;
            let (certificate, path) = operators::enrol(operator, &folder, &folder.signing(&root)?)?;
            let path = path.display().to_string();
            let value = json!({ "operator": certificate.operator, "public_key": certificate.key, "certificate": path });
            output.either(value, || {
                format!("operator {} with the key {}: {path}\n", certificate.operator, certificate.key)
            })
        }
        KeysCommand::Totp { operator, opened } => {
            let seal = operators::seal_of(operator)?;
            let (folder, root) = opened.open()?;
            let totp = folder.add_totp(&root, &seal.name)?;
            noted(&folder, &root, Said::of(Event::SecondFactor, seal.name.as_str()))?;
            output.either(json!({ "operator": seal.name.as_str(), "uri": &**totp.uri() }), || {
                format!(
                    "{}\nTake this into {}'s authenticator; it is not shown again.\n",
                    *totp.uri(),
                    seal.name
                )
            })
        }
        KeysCommand::Revoke { operator, public_key, reason, drafts, opened, connection, .. } => {
            let (folder, root) = opened.open()?;
            let service = folder.signing(&root)?;
            drop(root);
            revoke::run(
                &folder,
                &service,
                operator,
                public_key.as_deref(),
                reason,
                (&drafts[..], connection),
                output,
            )
        }
        KeysCommand::Log { keys, known } => revoke::log(&KeyFolder::open(keys)?, &known.trust()?, output),
        KeysCommand::List { keys } => {
            let folder = KeyFolder::open(keys)?;
            let names = folder.list()?;
            let rows: Vec<_> = names
                .iter()
                .map(|name| json!({ "domain": name.domain.as_str(), "version": name.version.get() }))
                .collect();
            let public = folder.signing_public()?.map(|public| hex(&public.0));
            output.either(
                json!({ "root": hex(&folder.root().0), "keys": rows, "public_key": public, "token": folder.has_token() }),
                || {
                    let lines = names.iter().map(|name| format!("{} {}\n", name.domain, name.version));
                    let signing = public.as_ref().map(|public| format!("signing {public}\n"));
                    format!(
                        "root {}{}\n{}{}",
                        hex(&folder.root().0),
                        if folder.has_token() { ", sealed by a token" } else { "" },
                        lines.collect::<String>(),
                        signing.unwrap_or_default()
                    )
                },
            )
        }
        KeysCommand::Verify { opened } => {
            let (folder, root) = opened.open()?;
            let names = folder.list()?;
            for name in &names {
                folder.master(&root, &name.domain, Some(name.version))?;
            }
            let public = match folder.signing_public()? {
                Some(_) => Some(hex(&folder.signing(&root)?.public().0)),
                None => None,
            };
            let value = json!({ "root": hex(&root.check().0), "opened": names.len(), "public_key": public });
            output.either(value, || {
                let signing =
                    public.as_ref().map(|public| format!("manifests are signed with the key {public}\n"));
                format!(
                    "what was given opens the root, and it opens all {} keys\n{}",
                    names.len(),
                    signing.unwrap_or_default()
                )
            })
        }
        KeysCommand::Destroy { domain, version, keys, yes } => {
            if !yes {
                let advice = "say --yes if that is meant; keep in mind copies and backups of the folder";
                return Err(PseudoError::usage("a destroyed key cannot be made again", advice));
            }
            let number = KeyVersion::new(*version).map_err(PseudoError::custody("--version"))?;
            KeyFolder::open(keys)?.destroy(&domain_name(domain)?, number)?;
            output.either(json!({ "domain": domain, "version": version, "destroyed": true }), || {
                format!("key {version} of domain {domain} is removed from this folder\n")
            })
        }
    }
}

fn create(
    keys: &Path,
    shares: Option<&Path>,
    (count, threshold): (u8, u8),
    token: Option<&Path>,
    output: &Output,
) -> Result<(), PseudoError> {
    if shares == Some(keys) {
        return Err(PseudoError::usage("shares would lie beside the keys they open", "name another folder"));
    }
    let root = RootKey::generate(files::random)?;
    let sealed = token.map(|token| RootToken::load(token)?.seal(&root)).transpose()?;
    let written = shares.map(|shares| split(&root, shares, count, threshold)).transpose()?;
    let folder = KeyFolder::create(keys, root.check())?;
    if let Some(sealed) = &sealed {
        folder.add_token_root(sealed)?;
    }
    let check = hex(&folder.root().0);
    let needed = written.as_ref().map(|_| threshold);
    let value = json!({ "root": check, "threshold": needed, "shares": written, "token": sealed.is_some() });
    output.either(value, || {
        let mut text = String::new();
        if let Some(written) = &written {
            let list: String = written.iter().map(|path| format!("  {path}\n")).collect();
            text.push_str(&format!(
                "root {check}: any {threshold} of these {count} shares give it\n{list}\
                 Give each to another person and leave none here: the root itself is kept nowhere.\n"
            ));
        }
        if sealed.is_some() {
            text.push_str(&format!("root {check}: the token opens it. {ALONE}\n"));
        }
        if written.is_none() {
            text.push_str(
                "Nothing else does: without the token, or its own backup, all keys here are lost.\n",
            );
        }
        text
    })
}

/// Writes the shares of a root; where they are.
fn split(root: &RootKey, shares: &Path, count: u8, threshold: u8) -> Result<Vec<String>, PseudoError> {
    let split = root.split::<SplitError>(threshold, count, |bytes| Ok(files::random(bytes)?));
    let split = split.map_err(|SplitError(error)| error)?;
    files::make_folder(shares)?;
    let mut written = Vec::new();
    for share in &split {
        let path = shares.join(format!("share-{}.txt", share.index()));
        files::write(&path, share.to_text().as_bytes())?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

/// Splitting fails for want of random bytes or of sense.
struct SplitError(PseudoError);

impl From<CustodyError> for SplitError {
    fn from(error: CustodyError) -> Self {
        Self(PseudoError::custody("splitting the root")(error))
    }
}

impl From<PseudoError> for SplitError {
    fn from(error: PseudoError) -> Self {
        Self(error)
    }
}

/// Writes into the custody log, once there is a key that signs it.
fn noted(folder: &KeyFolder, root: &RootKey, said: Said<'_>) -> Result<(), PseudoError> {
    match folder.signing_public()? {
        Some(_) => custody_log::note(folder, &folder.signing(root)?, said).map(|_| ()),
        None => Ok(()),
    }
}

fn domain_name(text: &str) -> Result<DomainName, PseudoError> {
    DomainName::new(text).map_err(PseudoError::custody("domain"))
}
