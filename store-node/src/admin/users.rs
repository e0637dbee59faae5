//! Principals, access keys, grants, and the tenant's key.

use super::{Admin, Answer};
use crate::gateway::{
    directory::admin::{AdminError as DirectoryError, GrantInfo, NewAccessKey as NewKey, PrincipalInfo},
    records::Rights,
    rewrap::{RewrapError, RewrapReport as Walk},
};
use tracing::{error, warn};
use wire::admin::{
    AccessKeySummary, AdminError, AdminErrorCode, AdminResponse, GrantSummary, NewAccessKey, RewrapReport,
    Right, SecretText, UserSummary,
};

impl Admin {
    pub(super) async fn user_add(&self, name: &str, admin: bool, create_buckets: bool) -> Answer {
        let directory = self.frontend()?.gateway.directory();
        directory.create_principal(name, admin, create_buckets).await.map_err(explain)?;
        let key = directory.add_key(name).await.map_err(explain)?;
        let user = self.principals().await?.into_iter().find(|user| user.name == name);
        let user = user.map(summary).ok_or_else(|| AdminError {
            code: AdminErrorCode::Unavailable,
            message: "the user was removed again meanwhile".to_owned(),
            advice: String::new(),
        })?;
        Ok(AdminResponse::UserAdded { user, key: shown(name, key) })
    }

    pub(super) async fn user_list(&self) -> Answer {
        Ok(AdminResponse::Users { users: self.principals().await?.into_iter().map(summary).collect() })
    }

    pub(super) async fn user_remove(&self, name: &str) -> Answer {
        self.frontend()?.gateway.directory().remove_principal(name).await.map_err(explain)?;
        Ok(AdminResponse::Done)
    }

    pub(super) async fn key_add(&self, user: &str) -> Answer {
        let key = self.frontend()?.gateway.directory().add_key(user).await.map_err(explain)?;
        Ok(AdminResponse::KeyAdded { key: shown(user, key) })
    }

    pub(super) async fn key_list(&self, user: Option<&str>) -> Answer {
        let mut keys: Vec<AccessKeySummary> = self
            .principals()
            .await?
            .into_iter()
            .filter(|principal| user.is_none_or(|user| principal.name == user))
            .flat_map(|principal| {
                let name = principal.name;
                principal.access_keys.into_iter().map(move |(access_key, created)| AccessKeySummary {
                    user: name.clone(),
                    access_key,
                    created,
                })
            })
            .collect();
        keys.sort_by(|a, b| a.access_key.cmp(&b.access_key));
        Ok(AdminResponse::Keys { keys })
    }

    pub(super) async fn key_remove(&self, access_key: &str) -> Answer {
        self.frontend()?.gateway.directory().remove_key(access_key).await.map_err(explain)?;
        Ok(AdminResponse::Done)
    }

    pub(super) async fn grant_add(&self, principal: &str, bucket: &str, rights: &[Right]) -> Answer {
        let rights = rights.iter().fold(Rights::NONE, |all, right| all.with(to_rights(*right)));
        self.frontend()?.gateway.directory().grant(principal, bucket, rights).await.map_err(explain)?;
        Ok(AdminResponse::Done)
    }

    pub(super) async fn grant_remove(&self, principal: &str, bucket: &str) -> Answer {
        self.frontend()?.gateway.directory().revoke(principal, bucket, Rights::OWN).await.map_err(explain)?;
        Ok(AdminResponse::Done)
    }

    pub(super) async fn grant_list(&self, principal: Option<&str>, bucket: Option<&str>) -> Answer {
        let grants = self.frontend()?.gateway.directory().list_grants().await.map_err(explain)?;
        let wanted = |grant: &GrantInfo| {
            principal.is_none_or(|name| grant.principal == name)
                && bucket.is_none_or(|name| grant.bucket == name)
        };
        let grants = grants
            .into_iter()
            .filter(wanted)
            .map(|grant| GrantSummary {
                principal: grant.principal,
                bucket: grant.bucket,
                rights: from_rights(grant.rights),
            })
            .collect();
        Ok(AdminResponse::Grants { grants })
    }

    pub(super) async fn tenant_key_rotate(&self) -> Answer {
        let version =
            self.frontend()?.gateway.keyring().rotate().await.map_err(|error| unavailable(&error))?;
        Ok(AdminResponse::TenantKey { version: version.0 })
    }

    pub(super) async fn rewrap_start(&self) -> Answer {
        let gateway = self.frontend()?.gateway.clone();
        let walking = gateway.clone();
        tokio::spawn(async move {
            match walking.rewrap().await {
                Ok(_) | Err(RewrapError::TakenOver) => {}
                Err(error) => error!(
                    error = &error as &dyn std::error::Error,
                    "re-wrapping stopped; it goes on when started again"
                ),
            }
        });
        self.rewrap_progress().await
    }

    pub(super) async fn rewrap_progress(&self) -> Answer {
        let gateway = &self.frontend()?.gateway;
        let walk = gateway.rewrap_report().await.map_err(|error| unavailable(&error))?;
        let version = gateway.keyring().current_version().0;
        let report = walk
            .map_or(RewrapReport { version, ..RewrapReport::default() }, |walk| to_report(version, &walk));
        Ok(AdminResponse::Rewrap(report))
    }

    async fn principals(&self) -> Result<Vec<PrincipalInfo>, AdminError> {
        self.frontend()?.gateway.directory().list_principals().await.map_err(explain)
    }
}

fn to_report(version: u32, walk: &Walk) -> RewrapReport {
    RewrapReport {
        version,
        done: walk.complete && walk.remaining == 0 && walk.to.0 == version,
        objects_seen: walk.counted,
        objects_rewrapped: walk.rewrapped,
        objects_failed: walk.remaining,
        ..RewrapReport::default()
    }
}

fn summary(principal: PrincipalInfo) -> UserSummary {
    UserSummary {
        keys: u32::try_from(principal.access_keys.len()).unwrap_or(u32::MAX),
        name: principal.name,
        admin: principal.admin,
        created: principal.created,
    }
}

fn shown(user: &str, key: NewKey) -> NewAccessKey {
    NewAccessKey {
        user: user.to_owned(),
        access_key: key.id,
        secret_key: SecretText::new(key.secret.to_string()),
    }
}

/// Managing is owning.
fn to_rights(right: Right) -> Rights {
    match right {
        Right::Read => Rights::READ,
        Right::Write => Rights::WRITE,
        Right::Delete => Rights::DELETE,
        Right::List => Rights::LIST,
        Right::Manage => Rights::OWN,
    }
}

fn from_rights(rights: Rights) -> Vec<Right> {
    Right::ALL.into_iter().filter(|right| rights.includes(to_rights(*right))).collect()
}

fn explain(error: DirectoryError) -> AdminError {
    let code = match &error {
        DirectoryError::InvalidName | DirectoryError::TooManyKeys | DirectoryError::OwnsBuckets { .. } => {
            AdminErrorCode::Invalid
        }
        DirectoryError::PrincipalExists | DirectoryError::BucketExists => AdminErrorCode::AlreadyExists,
        DirectoryError::NoSuchPrincipal | DirectoryError::NoSuchKey | DirectoryError::NoSuchBucket => {
            AdminErrorCode::NotFound
        }
        DirectoryError::BucketChanged => AdminErrorCode::Busy,
        DirectoryError::System { .. } => AdminErrorCode::Unavailable,
        DirectoryError::Seal { .. } => AdminErrorCode::Internal,
    };
    if matches!(code, AdminErrorCode::Unavailable | AdminErrorCode::Internal) {
        warn!(error = &error as &dyn std::error::Error, "admin request failed");
    }
    AdminError { code, message: error.to_string(), advice: String::new() }
}

fn unavailable(error: &(dyn std::error::Error + 'static)) -> AdminError {
    warn!(error, "admin request failed");
    AdminError {
        code: AdminErrorCode::Unavailable,
        message: error.to_string(),
        advice: "ask again".to_owned(),
    }
}
