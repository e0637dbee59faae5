//! `pseudo erase`: destroys the keys of people, and signs a certificate.

use super::grant::{self, Agreed, Asked, Shown, Used};
use super::output::Output;
use crate::grant::Action;
use crate::{PseudoError, erase};
use clap::Subcommand;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum EraseCommand {
    /// Ask for people to be erased
    Request(Box<Asked>),
    /// Show what is asked for, to whoever may agree to it
    Show(Box<Shown>),
    /// Agree, as another person than who asked, to what was shown
    Approve(Box<Agreed>),
    /// Destroy the keys of these people and write a certificate; an interrupted one is gone on with
    Run(Box<Used>),
}

pub(super) fn run(command: &EraseCommand, output: &Output) -> Result<(), PseudoError> {
    match command {
        EraseCommand::Request(asked) => grant::request(asked, Action::Erase, output),
        EraseCommand::Show(shown) => grant::show(shown, Action::Erase, output),
        EraseCommand::Approve(agreed) => grant::approve(agreed, Action::Erase, output),
        EraseCommand::Run(used) => erase(used, output),
    }
}

fn erase(used: &Used, output: &Output) -> Result<(), PseudoError> {
    let mut desk = used.at.open()?;
    let done = erase::run(&mut desk, &used.grant, &used.code, &used.output)?;
    let certificate = &done.certificate;
    let value = json!({
        "grant": used.grant,
        "erased": certificate.erased,
        "unknown": certificate.unknown,
        "epoch": certificate.epoch_after,
        "tables_destroyed": done.tables_destroyed,
        "places_not_destroyed": certificate.places_not_destroyed,
        "buckets": done.buckets,
        "certificate": used.output.display().to_string(),
        "log_head": desk.journal.head(),
    });
    output.either(value, || {
        format!(
            "{} people erased, {} of {} asked for are not in the vault; epoch {}; certificate in {}\n{}",
            certificate.erased,
            certificate.unknown,
            certificate.asked,
            certificate.epoch_after,
            used.output.display(),
            certificate.not_destroyed()
        )
    })
}
