//! Printing: one JSON object or text for people; a closed pipe is no error.

use crate::PseudoError;
use serde_json::Value;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Version of every JSON object that is printed; fields may be added under one version, never change meaning.
const SCHEMA_VERSION: u64 = 1;

/// How this command prints.
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints the object with `--json`, else the text.
    pub(super) fn either(&self, value: Value, text: impl FnOnce() -> String) -> Result<(), PseudoError> {
        if self.json { self.object(value) } else { self.text(&text()) }
    }

    /// Says what went wrong and what to do, and gives the exit code.
    pub(super) fn failure(&self, error: &PseudoError) -> ExitCode {
        if let PseudoError::File { source, .. } = error
            && source.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::SUCCESS;
        }
        let (message, advice) = (error.chain(), error.advice());
        // the findings were printed already
        if self.json && !matches!(error, PseudoError::Unsound { .. }) {
            let object = serde_json::json!({
                "error": { "kind": error.kind(), "message": message, "advice": advice, "exit_code": error.exit_code() }
            });
            let _ = self.object(object);
        }
        let mut stderr = io::stderr().lock();
        let _ = writeln!(stderr, "pseudo: {message}");
        if !advice.is_empty() {
            let _ = writeln!(stderr, "  {advice}");
        }
        ExitCode::from(error.exit_code())
    }

    fn text(&self, text: &str) -> Result<(), PseudoError> {
        let mut out = io::stdout().lock();
        let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        printed.map_err(PseudoError::file("printing", Path::new("standard output")))
    }

    fn object(&self, mut value: Value) -> Result<(), PseudoError> {
        if let Some(object) = value.as_object_mut() {
            object.entry("schema_version").or_insert_with(|| SCHEMA_VERSION.into());
        }
        self.text(&format!("{value}\n"))
    }
}
