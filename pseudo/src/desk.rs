//! Where people ask for grants, agree to them and use them: with their own key, a code of their authenticator, and enough shares beside.
//!
//! Everything that is refused here is in the log before it is answered; so is everything that is granted.

use crate::grant::rules::{self, Against, Agreed};
use crate::grant::{self, Action, Approval, Grant, Request, Who};
use crate::journal::{Event, Journal, Said};
use crate::keys::{KeyFolder, hex};
use crate::manifest::VERSION;
use crate::operators::Operator;
use crate::plain::is_plain;
use crate::signed::{self, Kind};
use crate::vault::Vault;
use crate::{PseudoError, clock, files};
use custody::{RootKey, SigningKey};
use policy::{Policy, Reidentify};
use sha2::{Digest, Sha256};

/// What is said of a request in words, bytes.
const WORDS_BYTES_MAX: usize = 1024;
/// Random bytes of a request.
const NONCE_BYTES: usize = 16;

/// What to do about a policy to which people have not agreed.
const NOT_AGREED: &str = "`pseudo policy agree`, once they have read it";

/// What is needed to act on a vault.
pub(crate) struct Desk {
    pub(crate) policy: Policy,
    /// Who has not agreed to the policy, where people have to.
    pub(crate) lacks: Option<String>,
    pub(crate) terms: Reidentify,
    pub(crate) keys: KeyFolder,
    pub(crate) root: RootKey,
    pub(crate) service: SigningKey,
    pub(crate) operator: Operator,
    pub(crate) vault: Vault,
    pub(crate) journal: Journal,
}

/// What somebody asks for, in their words.
pub(crate) struct Wish {
    pub(crate) action: Action,
    pub(crate) purpose: String,
    pub(crate) reason: String,
    pub(crate) ticket: String,
    pub(crate) tokens: Vec<String>,
    /// Each with a handle for every form of their identifier.
    pub(crate) people: Vec<Vec<String>>,
}

/// A grant that may be used now: everything was checked, and nothing is used up yet.
pub(crate) struct Opened {
    pub(crate) grant: Grant,
    pub(crate) agreed: Agreed,
    step: u64,
}

impl Desk {
    /// Signs a request. The grant's name, and the hash of what was signed.
    pub(crate) fn request(&mut self, wish: Wish, code: &str) -> Result<(String, String), PseudoError> {
        for words in [&wish.purpose, &wish.reason, &wish.ticket] {
            if words.trim().is_empty() || words.len() > WORDS_BYTES_MAX || !is_plain(words) {
                let problem = "purpose, reason and ticket have 1 to 1024 bytes each, in one line, of characters that show as themselves";
                return Err(PseudoError::usage(problem, "say it shorter, or at all"));
            }
        }
        // the log and the certificate say how many people were erased: of a token and a person together that would say whether it is theirs
        if wish.action == Action::Erase && !wish.tokens.is_empty() && !wish.people.is_empty() {
            let problem = "an erasure is asked for by tokens or by people";
            return Err(PseudoError::usage(problem, "ask for the tokens and for the people, each by itself"));
        }
        let rows = (wish.tokens.len() + wish.people.len()) as u64;
        let (mut name, mut nonce) = ([0; 8], [0; NONCE_BYTES]);
        files::random(&mut name)?;
        files::random(&mut nonce)?;
        let grant = hex(&name);
        let (now, who, terms) = (clock::now(), self.who(), self.terms.clone());
        let allowed = rules::may_request(&self.journal.entries, &who, &terms, &wish.reason, rows, now);
        let lacks = self.lacks.clone().map(|problem| (problem, NOT_AGREED));
        self.held("request", None, lacks.map_or(allowed, Err))?;
        let step = self.code("request", None, code, now)?;
        let request = Request {
            version: VERSION,
            grant: grant.clone(),
            vault: hex(&self.vault.id().0),
            action: wish.action,
            at: now,
            requester: self.operator.certificate.clone(),
            policy: self.policy.name.clone(),
            policy_sha256: self.policy.hash_text(),
            purpose: wish.purpose.clone(),
            reason: wish.reason.clone(),
            ticket: wish.ticket.clone(),
            tokens: wish.tokens,
            people: wish.people,
            nonce: hex(&nonce),
        };
        let sealed = signed::seal(Kind::Request, &request, &self.operator.key);
        let sha256 = hex(&Sha256::digest(&sealed));
        if sealed.len() > grant::GRANT_BYTES_MAX {
            return Err(PseudoError::usage("this request is too long", "ask for fewer people at once"));
        }
        self.log(
            Event::Requested,
            Said {
                grant: Some(grant.clone()),
                action: Some(wish.action.name().to_owned()),
                purpose: Some(wish.purpose),
                reason: Some(wish.reason),
                ticket: Some(wish.ticket),
                code_step: Some(step),
                rows: Some(rows),
                sha256: Some(sha256.clone()),
                ..Said::default()
            },
        )?;
        grant::write_request(&self.vault.places.grants(), &grant, &sealed)?;
        Ok((grant, sha256))
    }

    /// What a request says, for who may agree to it. The log has that it was looked at.
    pub(crate) fn show(&mut self, name: &str, action: Action) -> Result<Grant, PseudoError> {
        let grant = self.grant(name, action)?;
        let said = Said {
            grant: Some(name.to_owned()),
            action: Some(action.name().to_owned()),
            sha256: Some(grant.sha256.clone()),
            ..Said::default()
        };
        self.log(Event::Shown, said)?;
        Ok(grant)
    }

    /// Signs that a person agrees to the request of this hash, which is what they were shown.
    pub(crate) fn approve(
        &mut self,
        name: &str,
        action: Action,
        sha256: &str,
        code: &str,
    ) -> Result<Grant, PseudoError> {
        let grant = self.grant(name, action)?;
        let (now, who) = (clock::now(), self.who());
        let is_same = grant.sha256 == sha256;
        let other = || ("this is not the request that was shown".to_owned(), "look at it with `show`");
        let allowed = rules::may_approve(&self.journal.entries, &grant, &who, now);
        self.held("approve", Some(name), allowed.and_then(|()| is_same.then_some(()).ok_or_else(other)))?;
        let step = self.code("approve", Some(name), code, now)?;
        let approval = Approval {
            version: VERSION,
            grant: name.to_owned(),
            request_sha256: grant.sha256.clone(),
            at: now,
            approver: self.operator.certificate.clone(),
        };
        let sealed = signed::seal(Kind::Approval, &approval, &self.operator.key);
        let said = Said {
            grant: Some(name.to_owned()),
            action: Some(action.name().to_owned()),
            code_step: Some(step),
            sha256: Some(grant.sha256),
            ..Said::default()
        };
        self.log(Event::Approved, said)?;
        grant::write_approval(&self.vault.places.grants(), name, &who.name, &sealed)?;
        self.grant(name, action)
    }

    /// Checks everything about the use of a grant, and uses nothing up: what stands in its way afterwards costs nobody their grant.
    pub(crate) fn open(&mut self, name: &str, action: Action, code: &str) -> Result<Opened, PseudoError> {
        let grant = self.grant(name, action)?;
        if let Err(error) = self.ready(action) {
            let (grant, action) = (Some(name.to_owned()), Some("run".to_owned()));
            self.log(
                Event::Refused,
                Said { grant, action, problem: Some(error.to_string()), ..Said::default() },
            )?;
            return Err(error);
        }
        let (now, who, terms) = (clock::now(), self.who(), self.terms.clone());
        let allowed = rules::may_use(&self.journal.entries, &grant, &who, &terms, now);
        let agreed = self.held("run", Some(name), allowed)?;
        let step = self.code("run", Some(name), code, now)?;
        Ok(Opened { grant, agreed, step })
    }

    /// Finds out what a grant is for, and uses the grant up once that is known. Nothing is shown yet; what fails costs nobody their grant.
    pub(crate) fn attempt<T>(
        &mut self,
        opened: &Opened,
        find: impl FnOnce(&Self, &Request) -> Result<T, PseudoError>,
    ) -> Result<T, PseudoError> {
        let request = &opened.grant.request;
        let said = Said {
            grant: Some(request.grant.clone()),
            action: Some(request.action.name().to_owned()),
            code_step: Some(opened.step),
            ..Said::default()
        };
        let found = find(self, request);
        match &found {
            Ok(_) => self.log(Event::Used, said)?,
            Err(error) => {
                let problem = Some(format!("it failed: {}", error.kind()));
                self.log(Event::Refused, Said { problem, ..said })?;
            }
        }
        found
    }

    /// Destroys what is left of a grant that is over.
    pub(crate) fn close(&self, name: &str) -> Result<(), PseudoError> {
        grant::remove(&self.vault.places.grants(), name)
    }

    /// Ends a grant that asks for too many tokens that are nobody's.
    pub(crate) fn judge(&mut self, name: &str, unknown: u64) -> Result<(), PseudoError> {
        let made_up = self.policy.made_up_in_vault();
        if !rules::is_guessing(unknown, made_up) {
            return Ok(());
        }
        let said = Said { grant: Some(name.to_owned()), rows: Some(unknown), ..Said::default() };
        self.log(Event::Frozen, said)?;
        self.close(name)?;
        Err(PseudoError::Gate {
            problem: format!(
                "{unknown} of these tokens are nobody's, {} may be: the grant is frozen",
                rules::UNKNOWN_MAX + made_up
            ),
            advice: "nothing is shown, and who asked gets no other grant for a day".to_owned(),
        })
    }

    /// Writes down what the operator did.
    pub(crate) fn log(&mut self, event: Event, said: Said) -> Result<(), PseudoError> {
        self.journal.append(&self.service, &self.operator.name, event, said)
    }

    fn grant(&mut self, name: &str, action: Action) -> Result<Grant, PseudoError> {
        let log = &self.journal.entries;
        let found = grant::read(&self.vault.places.grants(), name, log, self.service.public())?;
        let Some(grant) = found else {
            let problem =
                rules::ended(log, name).unwrap_or("there is no such grant, or nobody can use it any more");
            return self.held("use", Some(name), Err((problem.to_owned(), "ask again")));
        };
        let mut grant = grant;
        let trust = self.keys.trust(self.service.public())?;
        // what was agreed to before the key was revoked counts no more, unless it has happened
        let has_happened = rules::interrupted(log, name).is_some_and(|begun| rules::has_happened(log, begun));
        if !has_happened {
            grant.approvals.retain(|who| trust.revoked(who.key).is_none());
        }
        if let (false, Some(problem)) = (has_happened, self.lacks.clone()) {
            return self.held("use", Some(name), Err((problem, NOT_AGREED)));
        }
        let request = &grant.request;
        // who was erased is known by then, and what the policy says now changes nothing
        let problem = if !has_happened && trust.revoked(grant.requester.key).is_some() {
            "who asked for this grant was revoked"
        } else if request.action != action {
            "this grant is for something else"
        } else if request.policy_sha256 != self.policy.hash_text() && !has_happened {
            "this grant was asked for under another policy"
        } else if request.vault != hex(&self.vault.id().0) {
            "this grant is for another vault"
        } else {
            return Ok(grant);
        };
        self.held("use", Some(name), Err((problem.to_owned(), "")))?;
        Ok(grant)
    }

    /// Whether the vault is whole, with every place of its table: one alone may have been put back, with the vault, from before an erasure,
    /// and whoever was erased would be handed over.
    fn ready(&self, action: Action) -> Result<(), PseudoError> {
        self.vault.sound()?;
        self.vault.places.whole()?;
        if action == Action::Erase { self.vault.places.clean() } else { Ok(()) }
    }

    fn who(&self) -> Who {
        Who { name: self.operator.name.clone(), key: self.operator.key.public() }
    }

    fn code(&mut self, attempt: &str, grant: Option<&str>, code: &str, now: i64) -> Result<u64, PseudoError> {
        let allowed = rules::may_show_code(&self.journal.entries, &self.who(), now);
        let used = self.held(attempt, grant, allowed)?;
        let totp = self.keys.totp(&self.root, &self.operator.name)?;
        let step = totp.accept(code, u64::try_from(now).unwrap_or_default(), used);
        let step = step.ok_or((rules::CODE.to_owned(), "wait for the next code; each counts once"));
        self.held(attempt, grant, step)
    }

    /// Writes down what is refused, and then refuses it.
    fn held<T>(
        &mut self,
        attempt: &str,
        grant: Option<&str>,
        allowed: Result<T, Against>,
    ) -> Result<T, PseudoError> {
        let (problem, advice) = match allowed {
            Ok(allowed) => return Ok(allowed),
            Err(against) => against,
        };
        let said = Said {
            grant: grant.map(str::to_owned),
            action: Some(attempt.to_owned()),
            problem: Some(problem.clone()),
            ..Said::default()
        };
        self.log(Event::Refused, said)?;
        Err(PseudoError::Gate { problem, advice: advice.to_owned() })
    }
}

#[cfg(test)]
mod tests;
