//! What stands in the way of a service before it is started. Nothing is changed; whether an object could be made is asked by beginning an upload that is
//! given up at once. Keys are not opened: that takes people, or a token whose PIN may be tried only so often.

use super::config::Config;
use super::opening::no_key;
use crate::keys::{KeyFolder, gather_shares};
use crate::s3::S3;
use crate::{PseudoError, agreement, clock};
use serde::Serialize;

/// An object that nobody makes: whether it could be made is asked.
const PROBE: &str = "may-be-written";

/// One thing that was looked at.
#[derive(Serialize)]
pub(crate) struct Checked {
    /// The key of the configuration, or the job.
    pub(crate) what: String,
    pub(crate) problem: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) advice: String,
}

/// Looks at all that a configuration names.
pub(crate) fn check(config: &Config) -> Vec<Checked> {
    let mut found = Findings(Vec::new());
    let temporary = tempfile::tempfile_in(&config.temporary);
    found.note(
        "service.temporary",
        temporary.map(drop).map_err(PseudoError::file("making a temporary file", &config.temporary)),
    );
    found.note("keys.share_files", gather_shares(&config.share_files).map(drop));
    match KeyFolder::open(&config.keys) {
        Ok(folder) => found.keys(config, &folder),
        Err(error) => found.note("keys.folder", Err(error)),
    }
    match config.connection.who().and_then(|credentials| S3::new(config.connection.clone(), credentials)) {
        Ok(s3) => found.places(config, &s3),
        Err(error) => found.note("s3.credentials_file", Err(error)),
    }
    found.0
}

struct Findings(Vec<Checked>);

impl Findings {
    fn note(&mut self, what: &str, found: Result<(), PseudoError>) {
        let (problem, advice) = match found {
            Ok(()) => (None, String::new()),
            Err(error) => (Some(error.chain()), error.advice().to_owned()),
        };
        self.0.push(Checked { what: what.to_owned(), problem, advice });
    }

    fn keys(&mut self, config: &Config, folder: &KeyFolder) {
        for job in &config.jobs {
            let domain = &job.policy.domain;
            let has_key = folder.list().map(|keys| keys.iter().any(|key| key.domain == *domain));
            let found = has_key.and_then(|has_key| if has_key { Ok(()) } else { Err(no_key(domain)) });
            self.note(&format!("keys.folder, for job {}", job.name), found);
            // as far as the folder says by itself whose key signs: the service, which opens that key, is not content with it
            let agreed = folder.signing_public().and_then(|public| match public {
                Some(public) => agreement::check(&job.policy_file, &job.policy, folder, public),
                None => Ok(()),
            });
            self.note(&format!("job.policy of {}", job.name), agreed);
        }
        let public = folder.signing_public().and_then(|public| {
            let advice = "`pseudo keys signing` makes one, with enough shares";
            public.ok_or_else(|| PseudoError::usage("there is no key that signs exports", advice))
        });
        let acting = public
            .and_then(|public| folder.trust(public))
            .and_then(|trust| config.acting.open(&trust).map(drop));
        self.note("operator.file", acting);
    }

    fn places(&mut self, config: &Config, s3: &S3) {
        self.note("s3.endpoint", s3.check_clock(clock::now()));
        for job in &config.jobs {
            let sources = job.wanted().sources();
            let sources = sources.and_then(|places| places.iter().try_for_each(|place| s3.may_list(place)));
            self.note(&format!("job.sources of {}", job.name), sources);
            let drafts = s3
                .may_list(&job.drafts)
                .and_then(|()| s3.may_create(&job.drafts.bucket, &job.drafts.key(PROBE)));
            self.note(&format!("job.drafts of {}", job.name), drafts);
        }
    }
}
