//! The first principal of a development region and its access key, made once through the admin connection.

use super::DevFolder;
use crate::admin::AdminClient;
use crate::{ClientError, files};
use serde::{Deserialize, Serialize};
use wire::admin::{AdminErrorCode, AdminRequest, AdminResponse, NewAccessKey, SecretText};

/// The first principal's name.
pub const DEV_USER: &str = "dev";

/// An access key with its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Whose it is.
    pub user: String,
    /// Its id.
    pub access_key: String,
    /// Its secret.
    pub secret_key: SecretText,
}

impl Credentials {
    /// Those of a folder; `None` when there are none yet.
    pub fn read(folder: &DevFolder) -> Result<Option<Self>, ClientError> {
        let path = folder.credentials();
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read(&path)?;
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|error| ClientError::Content { path, problem: error.to_string() })
    }

    /// Those of another region of the same pair: its principals come here with everything else.
    pub(super) fn copy(from: &DevFolder, to: &DevFolder) -> Result<(), ClientError> {
        if !to.credentials().exists() {
            files::write(&to.credentials(), files::read(&from.credentials())?.as_bytes())?;
        }
        Ok(())
    }

    /// Those of a folder; asks the region for the first ones when there are none.
    pub(super) fn ensure(folder: &DevFolder, client: &AdminClient) -> Result<Self, ClientError> {
        if let Some(credentials) = Self::read(folder)? {
            return Ok(credentials);
        }
        let add = AdminRequest::UserAdd { name: DEV_USER.to_owned(), admin: true, create_buckets: true };
        let key = match client.ask(&add) {
            Ok(AdminResponse::UserAdded { key, .. }) => key,
            // made by a start that ended before it could keep the key
            Err(ClientError::Refused { error }) if error.code == AdminErrorCode::AlreadyExists => {
                match client.ask(&AdminRequest::KeyAdd { user: DEV_USER.to_owned() })? {
                    AdminResponse::KeyAdded { key } => key,
                    other => return Err(client.unexpected(&other)),
                }
            }
            Ok(other) => return Err(client.unexpected(&other)),
            Err(error) => return Err(error),
        };
        let NewAccessKey { user, access_key, secret_key } = key;
        let credentials = Self { user, access_key, secret_key };
        let text = serde_json::to_string(&credentials).expect("three texts always have a JSON form");
        files::write(&folder.credentials(), text.as_bytes())?;
        Ok(credentials)
    }
}
