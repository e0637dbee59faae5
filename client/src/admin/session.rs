//! Asks one process again and again over one connection.
//!
//! It promises that every request goes out once at most, and that after any failure the next one goes over a new
//! connection: an answer that came too late is never taken for that to a later question.

use super::{AskError, Stream, exchange, open, set_timeouts, tls};
use crate::ClientError;
use crate::deployment::Deployment;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use wire::admin::{AdminRequest, AdminResponse};

/// How long the steps of a question may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection is accepted.
    pub connect: Duration,
    /// Until a handshake's next message, or an answer, is there.
    pub answer: Duration,
}

/// A connection to one process, made when it is needed.
pub struct Session {
    config: Arc<ClientConfig>,
    region: String,
    address: String,
    patience: Patience,
    stream: Option<Stream>,
    calls: u64,
}

impl Session {
    /// To the first address of `deployment`; connects only when asked something.
    pub fn new(deployment: &Deployment, patience: Patience) -> Result<Self, ClientError> {
        let config = Arc::new(tls::client_config(&deployment.identity, &deployment.descriptor)?);
        let address = deployment.addresses.first().cloned().unwrap_or_default();
        let region = deployment.descriptor.region.clone();
        Ok(Self { config, region, address, patience, stream: None, calls: 0 })
    }

    /// Asks; what the process refuses is an error.
    pub fn ask(&mut self, request: &AdminRequest) -> Result<AdminResponse, ClientError> {
        let answer = self.try_ask(request);
        match answer {
            Ok(AdminResponse::Error(error)) => Err(ClientError::Refused { error }),
            Ok(answer) => Ok(answer),
            Err(error) => {
                self.stream = None;
                Err(match error {
                    AskError::Refused(error) => ClientError::Refused { error },
                    AskError::Connect(error) => {
                        let tried = format!("{}: {error}", self.address);
                        ClientError::Unreachable { region: self.region.clone(), tried }
                    }
                    AskError::Broken(problem) => {
                        ClientError::Protocol { address: self.address.clone(), problem }
                    }
                })
            }
        }
    }

    fn try_ask(&mut self, request: &AdminRequest) -> Result<AdminResponse, AskError> {
        let Patience { connect, answer } = self.patience;
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = open(&self.config, &self.address, connect, answer)?;
                set_timeouts(&stream.sock, answer).map_err(AskError::Connect)?;
                none.insert(stream)
            }
        };
        self.calls += 1;
        exchange(stream, request, self.calls)
    }
}
