//! How keys come into the service: shares that people bring one by one, kept in memory until they are enough.
//!
//! The root is there for as long as it takes to open what the jobs need: what signs, the domains' masters, the maker's own key. Root and
//! shares are then wiped. What is left dies with the process, so after every start the people with shares are asked again.

use crate::PseudoError;
use crate::keys::{KeyFolder, hex};
use crate::manifest::KeyName;
use crate::operators::{Acting, Operator};
use crate::revoked::Trust;
use custody::{CustodyError, DomainName, KeyVersion, MasterKey, RootCheck, RootKey, Share, SigningKey};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// Shares wait for the others this long: people agree on an hour, and none lies in memory overnight.
const WAIT: Duration = Duration::from_secs(3600);

/// What the service works with once it is open.
pub(crate) struct Opened {
    pub(crate) service: SigningKey,
    pub(crate) maker: Operator,
    masters: Vec<MasterKey>,
}

impl Opened {
    /// Opens what the jobs need, and nothing else.
    pub(crate) fn open(
        folder: &Path,
        root: &RootKey,
        domains: &BTreeSet<DomainName>,
        acting: &Acting,
    ) -> Result<Self, PseudoError> {
        let folder = KeyFolder::open(folder)?;
        let service = folder.signing(root)?;
        let maker = acting.open(&folder.trust(service.public())?)?;
        let mut masters = Vec::new();
        for name in folder.list()? {
            if domains.contains(&name.domain) {
                masters.push(folder.master(root, &name.domain, Some(name.version))?);
            }
        }
        let opened = Self { service, maker, masters };
        match domains.iter().find(|domain| opened.newest(domain).is_none()) {
            None => Ok(opened),
            Some(domain) => Err(no_key(domain)),
        }
    }

    /// Whether all keys are still in the folder: one that was destroyed there is to make no more tokens. Nor may an operator who was revoked. Whose
    /// word counts by now.
    pub(crate) fn are_there(&self, folder: &Path) -> Result<Trust, PseudoError> {
        let folder = KeyFolder::open(folder)?;
        let trust = folder.trust(self.service.public())?;
        if trust.revoked(self.maker.key.public()).is_some() {
            let problem = format!("the key of {}, as whom exports are made, is revoked", self.maker.name);
            return Err(PseudoError::usage(problem, "name another operator with operator.file"));
        }
        let there = folder.list()?;
        let is_gone = |master: &&MasterKey| {
            !there.iter().any(|name| name.domain == *master.domain() && name.version == master.version())
        };
        let Some(gone) = self.masters.iter().find(is_gone) else { return Ok(trust) };
        let problem =
            format!("version {} of the key of {} is destroyed", gone.version().get(), gone.domain());
        let advice = "`pseudo unlock`, or a restart where a token opens it: the service goes on with the keys that are left";
        Err(PseudoError::usage(problem, advice))
    }

    /// The newest key of a domain.
    pub(crate) fn newest(&self, domain: &DomainName) -> Option<&MasterKey> {
        self.masters.iter().filter(|master| master.domain() == domain).max_by_key(|master| master.version())
    }

    /// The key that an order names, unless it is destroyed.
    pub(crate) fn named(&self, domain: &DomainName, name: &KeyName) -> Option<&MasterKey> {
        let version = KeyVersion::new(name.version).ok()?;
        let is_it = |master: &&MasterKey| {
            master.domain() == domain && master.version() == version && hex(&master.id()) == name.id
        };
        self.masters.iter().find(is_it)
    }
}

/// What is said of a domain that a job is of.
pub(super) fn no_key(domain: &DomainName) -> PseudoError {
    let advice = format!("`pseudo keys domain {domain}` makes one, with enough shares");
    PseudoError::usage(format!("there is no key of domain {domain}"), advice)
}

/// Shares that were brought and are not enough yet.
pub(crate) struct Gathering {
    root: RootCheck,
    shares: Vec<Share>,
    since: Option<Instant>,
}

/// What a share that was brought led to.
pub(crate) enum Brought {
    /// More are needed.
    Waiting,
    /// They give the root.
    Whole(RootKey),
}

impl Gathering {
    /// For the root that a folder's keys are under.
    pub(crate) fn new(root: RootCheck) -> Self {
        Self { root, shares: Vec::new(), since: None }
    }

    /// How many shares are there, and how many are needed, as far as that is known.
    pub(crate) fn count(&self) -> (usize, Option<u8>) {
        (self.shares.len(), self.shares.first().map(Share::threshold))
    }

    /// Wipes shares that have waited too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.since.is_some_and(|since| now.saturating_duration_since(since) >= WAIT) {
            self.clear();
        }
    }

    /// Takes a share. Which of several is wrong cannot be told, so all of them are wiped when they give no root.
    pub(crate) fn bring(&mut self, share: Share, now: Instant) -> Result<Brought, PseudoError> {
        self.expire(now);
        let failed = PseudoError::custody("this share");
        if share.root() != self.root {
            return Err(failed(CustodyError::OtherRoot { what: "share" }));
        }
        if self.shares.iter().any(|known| known.index() == share.index()) {
            return Err(failed(CustodyError::ShareTwice { index: share.index() }));
        }
        self.since.get_or_insert(now);
        self.shares.push(share);
        match RootKey::combine(&self.shares) {
            Err(CustodyError::TooFewShares { .. }) => Ok(Brought::Waiting),
            done => {
                self.clear();
                done.map(Brought::Whole).map_err(PseudoError::custody("these shares"))
            }
        }
    }

    fn clear(&mut self) {
        self.shares.clear();
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    fn shares(root: &RootKey) -> Vec<Share> {
        struct Failed;
        impl From<CustodyError> for Failed {
            fn from(_: CustodyError) -> Self {
                Self
            }
        }
        let split = root.split::<Failed>(2, 3, |bytes| files::random(bytes).map_err(|_| Failed));
        split.ok().unwrap()
    }

    #[test]
    fn enough_shares_of_the_right_root_give_it_once_and_wait_an_hour() {
        let root = RootKey::generate(files::random).unwrap();
        let other = RootKey::generate(files::random).unwrap();
        let (mut gathering, now) = (Gathering::new(root.check()), Instant::now());
        let mut given = shares(&root);
        let again = Share::from_text(&given[0].to_text()).unwrap();
        assert!(gathering.bring(shares(&other).remove(0), now).is_err());
        assert_eq!(gathering.count(), (0, None));
        assert!(matches!(gathering.bring(given.remove(0), now), Ok(Brought::Waiting)));
        assert!(gathering.bring(again, now).is_err(), "one share is not two");
        assert_eq!(gathering.count(), (1, Some(2)));
        let Ok(Brought::Whole(found)) = gathering.bring(given.remove(0), now) else { panic!("no root") };
        assert_eq!((found.check(), gathering.count()), (root.check(), (0, None)));

        assert!(matches!(gathering.bring(given.remove(0), now), Ok(Brought::Waiting)));
        gathering.expire(now + WAIT);
        assert_eq!(gathering.count(), (0, None));
    }

    #[test]
    fn wrong_shares_of_the_right_root_are_all_wiped() {
        let root = RootKey::generate(files::random).unwrap();
        let (mut gathering, now) = (Gathering::new(root.check()), Instant::now());
        // two ways of splitting one root: each share is right, together they give nothing
        let (one, other) = (shares(&root).remove(0), shares(&root).remove(1));
        assert!(matches!(gathering.bring(one, now), Ok(Brought::Waiting)));
        assert!(gathering.bring(other, now).is_err());
        assert_eq!(gathering.count(), (0, None));
    }
}
