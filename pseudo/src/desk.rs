//! Where people ask for grants, agree to them and use them: with their own key, a code of their authenticator, and enough shares beside.
//!
//! Everything that is refused here is in the log before it is answered; so is everything that is granted.

use crate::grant::rules::{self, Against};
use crate::grant::{self, Action, Approval, Grant, Request, Who};
use crate::journal::{Event, Journal, Said};
use crate::keys::{KeyFolder, hex};
use crate::manifest::VERSION;
use crate::operators::Operator;
use crate::signed::{self, Kind};
use crate::vault::Vault;
use crate::{PseudoError, clock, files};
use custody::{RootKey, SigningKey};
use policy::{Policy, Reidentify};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// What is needed to act on a vault.
pub(crate) struct Desk {
    pub(crate) policy: Policy,
    pub(crate) terms: Reidentify,
    pub(crate) keys: KeyFolder,
    pub(crate) root: RootKey,
    pub(crate) service: SigningKey,
    pub(crate) operator: Operator,
    pub(crate) path: PathBuf,
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
    pub(crate) people: Vec<String>,
}

impl Desk {
    /// Signs a request. The grant's name.
    pub(crate) fn request(&mut self, wish: Wish, code: &str) -> Result<String, PseudoError> {
        let rows = (wish.tokens.len() + wish.people.len()) as u64;
        let mut name = [0; 8];
        files::random(&mut name)?;
        let grant = hex(&name);
        let (now, who, terms) = (clock::now(), self.who(), self.terms.clone());
        let allowed = rules::may_request(&self.journal.entries, &who, &terms, &wish.reason, rows, now);
        self.held("request", None, allowed)?;
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
        };
        let sealed = signed::seal(Kind::Request, &request, &self.operator.key);
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
                sha256: Some(hex(&Sha256::digest(&sealed))),
                ..Said::default()
            },
        )?;
        grant::write_request(&self.path, &grant, &sealed)?;
        Ok(grant)
    }

    /// Signs that a person agrees to a request.
    pub(crate) fn approve(&mut self, name: &str, action: Action, code: &str) -> Result<Grant, PseudoError> {
        let grant = self.grant(name, action)?;
        let (now, who) = (clock::now(), self.who());
        let allowed = rules::may_approve(&self.journal.entries, &grant, &who, now);
        self.held("approve", Some(name), allowed)?;
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
        grant::write_approval(&self.path, name, &who.name, &sealed)?;
        self.grant(name, action)
    }

    /// Uses a grant up.
    pub(crate) fn consume(&mut self, name: &str, action: Action, code: &str) -> Result<Grant, PseudoError> {
        let grant = self.grant(name, action)?;
        let (now, who, terms) = (clock::now(), self.who(), self.terms.clone());
        let allowed = rules::may_use(&self.journal.entries, &grant, &who, &terms, now);
        self.held("run", Some(name), allowed)?;
        let step = self.code("run", Some(name), code, now)?;
        let said = Said {
            grant: Some(name.to_owned()),
            action: Some(action.name().to_owned()),
            code_step: Some(step),
            ..Said::default()
        };
        self.log(Event::Used, said)?;
        Ok(grant)
    }

    /// Ends a grant that asks for too many tokens that are nobody's.
    pub(crate) fn judge(&mut self, name: &str, unknown: u64) -> Result<(), PseudoError> {
        if !rules::is_guessing(unknown) {
            return Ok(());
        }
        let said = Said { grant: Some(name.to_owned()), rows: Some(unknown), ..Said::default() };
        self.log(Event::Frozen, said)?;
        Err(PseudoError::Gate {
            problem: format!(
                "{unknown} of these tokens are nobody's, {} may be: the grant is frozen",
                rules::UNKNOWN_MAX
            ),
            advice: "nothing is shown, and who asked gets no other grant for a day".to_owned(),
        })
    }

    /// Writes down what the operator did.
    pub(crate) fn log(&mut self, event: Event, said: Said) -> Result<(), PseudoError> {
        self.journal.append(&self.service, &self.operator.name, event, said)
    }

    fn grant(&mut self, name: &str, action: Action) -> Result<Grant, PseudoError> {
        let grant = grant::read(&self.path, name, self.service.public())?;
        let request = &grant.request;
        let problem = if request.action != action {
            "this grant is for something else"
        } else if request.policy_sha256 != self.policy.hash_text() {
            "this grant was asked for under another policy"
        } else if request.vault != hex(&self.vault.id().0) {
            "this grant is for another vault"
        } else {
            return Ok(grant);
        };
        self.held("use", Some(name), Err((problem.to_owned(), "")))?;
        Ok(grant)
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
