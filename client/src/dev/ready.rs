//! What `twinkeep dev` says once it serves: one line of JSON for programs, a page for people.

use super::pseudo::PseudoReady;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::PathBuf;
use wire::admin::SecretText;

/// A development region that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevReady {
    /// Version of this object.
    pub schema_version: u32,
    /// S3 over plain HTTP.
    pub endpoint: String,
    /// S3 over TLS.
    pub endpoint_tls: String,
    /// The authority that signed the endpoint's certificate.
    pub ca_file: PathBuf,
    /// The first access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: SecretText,
    /// The region's name.
    pub region: String,
    /// The development folder.
    pub data: PathBuf,
    /// The supervisor's pid.
    pub supervisor_pid: u32,
    /// The gateway.
    pub gateway: MemberReady,
    /// The storage nodes.
    pub nodes: Vec<MemberReady>,
    /// From when its program was there to the first answer, milliseconds.
    pub started_in_ms: u64,
    /// The pseudonymisation service beside it, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pseudo: Option<PseudoReady>,
}

/// One process of a development region.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberReady {
    /// Its number.
    pub id: u16,
    /// Its pid.
    pub pid: u32,
    /// Its data folder.
    pub data: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// `host:port` for peers and the command line.
    pub peer_address: String,
    /// `host:port` of health and metrics.
    pub health_address: String,
}

impl DevReady {
    /// The page for people.
    pub fn page(&self, is_default_folder: bool) -> String {
        let data = self.data.display();
        let argument = if is_default_folder { String::new() } else { format!(" --data {data}") };
        let mut text = format!(
            "Twinkeep serves: {} nodes, three copies, data in {data} (ready in {} ms).\n\n",
            self.nodes.len(),
            self.started_in_ms
        );
        let ca = self.ca_file.display();
        let _ = writeln!(text, "  endpoint    {}", self.endpoint);
        let _ = writeln!(text, "  over TLS    {}  (authority: {ca})", self.endpoint_tls);
        let _ = writeln!(text, "  access key  {}", self.access_key);
        let _ = writeln!(text, "  secret key  {}", self.secret_key.reveal());
        let _ = writeln!(text, "  region      {}\n", self.region);
        let _ = write!(text, "For ~/.aws/config:\n\n{}\n", self.aws_profile("twinkeep-dev"));
        let _ = write!(
            text,
            "Try:\n\n  eval \"$(twinkeep env{argument})\"\n  aws s3 mb s3://jobs && echo hello | aws s3 cp - s3://jobs/hello\n  twinkeep dev kill 1{argument} && aws s3 cp s3://jobs/hello - && twinkeep dev start 1{argument}\n\n"
        );
        text.extend(self.pseudo.as_ref().map(PseudoReady::section));
        text.push_str("Ctrl-C ends it; the data stays.\n");
        text
    }

    /// A profile for `~/.aws/config`.
    pub fn aws_profile(&self, name: &str) -> String {
        aws_profile(name, &self.endpoint, &self.region, &self.access_key, self.secret_key.reveal())
    }
}

/// A profile for `~/.aws/config`.
pub(crate) fn aws_profile(
    name: &str,
    endpoint: &str,
    region: &str,
    access_key: &str,
    secret_key: &str,
) -> String {
    format!(
        "[profile {name}]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\nregion = {region}\nendpoint_url = {endpoint}\n"
    )
}
