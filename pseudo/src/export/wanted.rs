//! What is asked for before an export begins: whether its policy allows these sources, this recipient, this day and this place.

use crate::manifest::Terms;
use crate::s3::Place;
use crate::{PseudoError, clock};
use policy::Policy;

/// A recipient's name, bytes.
const RECIPIENT_BYTES_MAX: usize = 512;

/// An export as it is asked for, by a person or a schedule.
pub(crate) struct Wanted<'a> {
    pub(crate) policy: &'a Policy,
    /// What to read; the policy's source if nothing is named.
    pub(crate) sources: &'a [Place],
    /// Where drafts lie.
    pub(crate) drafts: &'a Place,
    /// Who gets it; else the policy says it.
    pub(crate) recipient: Option<&'a str>,
    /// The day by which it is to be deleted, earlier than the policy has it.
    pub(crate) delete_on: Option<&'a str>,
}

impl Wanted<'_> {
    /// What is read. Drafts among it would be read as data by the next export.
    pub(crate) fn sources(&self) -> Result<Vec<Place>, PseudoError> {
        let sources = self.named_sources()?;
        let meets = |source: &&Place| source.is_within(self.drafts) || self.drafts.is_within(source);
        if let Some(source) = sources.iter().find(meets) {
            let problem = format!("drafts would lie in {}, among the sources in {source}", self.drafts);
            return Err(PseudoError::usage(problem, "choose a place for drafts of its own"));
        }
        let target = self.policy.target.bucket.as_ref();
        if let Some(source) = sources.iter().find(|source| Some(&source.bucket) == target) {
            let problem = format!(
                "readers of released exports would be let in to bucket {}, where sources are",
                source.bucket
            );
            return Err(PseudoError::usage(problem, "have the policy's target name a bucket of its own"));
        }
        Ok(sources)
    }

    fn named_sources(&self) -> Result<Vec<Place>, PseudoError> {
        let source = &self.policy.source;
        let wrong = |problem: String| PseudoError::usage(format!("the policy's source: {problem}"), "");
        let allowed = source.bucket.as_deref();
        let allowed = allowed.map(|bucket| Place::new(bucket, source.prefix.as_deref().unwrap_or("")));
        let allowed = allowed.transpose().map_err(wrong)?;
        if let (Some(allowed), false) = (&allowed, self.sources.is_empty()) {
            if self.sources.iter().all(|place| place.is_within(allowed)) {
                return Ok(self.sources.to_vec());
            }
            let problem = format!("the policy is for objects below {allowed}, and a source is elsewhere");
            return Err(PseudoError::usage(problem, "name sources within it, or change the policy"));
        }
        match allowed {
            Some(allowed) => Ok(vec![Place { is_folder: true, ..allowed }]),
            None if self.sources.is_empty() => {
                Err(PseudoError::usage("there is no source", "name it, or have the policy name it"))
            }
            None => Ok(self.sources.to_vec()),
        }
    }

    /// Under what it is made, if it is made then.
    pub(crate) fn terms(&self, created: i64) -> Result<Terms, PseudoError> {
        let policy = self.policy;
        let recipient = self.recipient.map(str::to_owned).or_else(|| policy.recipient.clone());
        let recipient = recipient.filter(|recipient| !recipient.trim().is_empty()).ok_or_else(|| {
            PseudoError::usage(
                "nobody is named who gets this export",
                "name them, or have the policy name them",
            )
        })?;
        if recipient.len() > RECIPIENT_BYTES_MAX || recipient.chars().any(char::is_control) {
            let advice = "512 bytes at most, in one line, without control characters";
            return Err(PseudoError::usage("the recipient cannot be called so", advice));
        }
        let latest = clock::day_after(created, policy.retention.delete_after);
        let delete_on = match self.delete_on {
            None => latest,
            Some(day) => {
                let today = clock::day_of(created);
                clock::day(day).filter(|day| (&today..=&latest).contains(&day)).ok_or_else(|| {
                    let advice = format!("a day as YYYY-MM-DD, from {today} to {latest}");
                    PseudoError::usage(
                        "--delete-on is no day, is over, or is later than the policy allows",
                        advice,
                    )
                })?
            }
        };
        let target = policy.target.bucket.as_deref();
        let target = target.map(|bucket| Place::new(bucket, policy.target.prefix.as_deref().unwrap_or("")));
        let target =
            target.transpose().map_err(|problem| PseudoError::usage(problem, "mend the policy's target"))?;
        if target.as_ref().is_some_and(|target| self.drafts.bucket == target.bucket) {
            let advice = "choose a bucket for drafts that readers of the target are not let into";
            let problem = "drafts would lie in the bucket that the policy has exports released to";
            return Err(PseudoError::usage(problem, advice));
        }
        Ok(Terms {
            policy: policy.name.clone(),
            policy_version: policy.version,
            policy_sha256: policy.hash_text(),
            domain: policy.domain.to_string(),
            dataset: policy.dataset.to_string(),
            purpose: policy.purpose.clone(),
            legal_basis: policy.legal_basis.clone(),
            owner: policy.owner.clone(),
            recipient,
            anonymise_on: clock::day_after(created, policy.retention.anonymise_after),
            delete_on,
            released_to: target.map(|target| target.to_string()),
        })
    }
}
