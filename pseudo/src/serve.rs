//! The running service: makes exports by schedule and deletes them when their day has come.
//!
//! It keeps no state of its own. Which exports there are, what they hold and what was begun is read from the drafts, where it is signed; so
//! whatever is killed is gone on with, and two copies of one record cannot differ. A worker thread makes one export after another; another
//! thread tells health and metrics and takes shares. Keys are only in memory ([`opening`]).

mod check;
mod config;
mod control;
mod health;
mod job;
mod known;
mod metrics;
mod opening;
mod schedule;
mod state;
mod telemetry;
mod worker;

pub(crate) use check::{Checked, check};
pub(crate) use config::Config;
pub(crate) use config::keys::{as_json as keys_as_json, as_text as keys_as_text};
pub(crate) use control::unlock;

use crate::PseudoError;
use crate::keys::gather_shares;
use control::Control;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use sd_notify::NotifyState;
use state::Shared;
use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

/// Runs the service until SIGTERM or SIGINT, or until standard input ends if it is to end then. What it is doing then is left as a kill leaves it, and gone on with at the next start.
pub(crate) fn run(config: Config, exit_on_stdin_eof: bool) -> Result<(), PseudoError> {
    telemetry::start(config.log);
    // keys are in this memory from here on
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| system("keeping memory out of core files")(error.into()))?;
    config.connection.who()?;
    let shared = Arc::new(Shared::new(config)?);
    for share in gather_shares(&shared.config.share_files)? {
        shared.bring(share)?;
    }
    if let Some(token) = &shared.config.token {
        // whoever starts it again and again would try a wrong PIN until the token locks itself
        if let Err(error) = shared.open_by_token(token) {
            error!(
                error = &error as &dyn std::error::Error,
                "the token does not open the keys; the service stays locked"
            );
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(system("starting"))?.block_on(serve(shared, exit_on_stdin_eof))
}

async fn serve(shared: Arc<Shared>, exit_on_stdin_eof: bool) -> Result<(), PseudoError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(system("catching signals"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system("catching signals"))?;
    let control = Control::bind(&shared.config.control)?;
    let listener = listen(shared.config.listen).await?;
    let (tracker, stop) = (TaskTracker::new(), CancellationToken::new());
    tracker.spawn(health::serve(listener, Arc::clone(&shared), tracker.clone(), stop.clone()));
    tracker.spawn(control.serve(Arc::clone(&shared), stop.clone()));
    let (ended, mut end_of_work) = oneshot::channel();
    let working = Arc::clone(&shared);
    let worker = thread::Builder::new().name("worker".to_owned()).spawn(move || {
        let done = worker::run(&working);
        // who waits may have ended before
        let _ = ended.send(());
        done
    });
    let worker = worker.map_err(system("starting threads"))?;
    let listen = shared.config.listen;
    info!(%listen, jobs = shared.config.jobs.len(), open = shared.opened().is_some(), "the service runs");
    let (alone, mut is_alone) = oneshot::channel();
    // kept, or it would look like an end
    let _kept = if exit_on_stdin_eof {
        end_with_input(alone);
        None
    } else {
        Some(alone)
    };
    tell(NotifyState::Ready);
    let watchdog = sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |limit| limit / 3);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = &mut end_of_work => break,
            _ = &mut is_alone => break,
            () = tokio::time::sleep(watchdog) => tell(NotifyState::Watchdog),
        }
    }
    info!("the service ends");
    tell(NotifyState::Stopping);
    shared.end();
    stop.cancel();
    tracker.close();
    tracker.wait().await;
    // the worker stops at the next record, or when what it waits for has answered
    match worker.join() {
        Ok(done) => done,
        Err(_) => {
            error!("the worker ended by a defect");
            Err(system("working")(std::io::Error::other("the worker ended by a defect")))
        }
    }
}

/// Whoever holds the other end of standard input is gone when it ends.
fn end_with_input(alone: oneshot::Sender<()>) {
    // a thread of its own: a runtime would wait for the read when it ends
    thread::spawn(move || {
        let mut byte = [0];
        while std::io::stdin().read(&mut byte).is_ok_and(|count| count > 0) {}
        // who waits may have ended before
        let _ = alone.send(());
    });
}

async fn listen(address: SocketAddr) -> Result<TcpListener, PseudoError> {
    let place = address.to_string();
    TcpListener::bind(address).await.map_err(PseudoError::file("listening at", Path::new(&place)))
}

fn system(operation: &'static str) -> impl FnOnce(std::io::Error) -> PseudoError {
    PseudoError::file(operation, Path::new("the service"))
}

fn tell(state: NotifyState<'_>) {
    // outside systemd there is nobody to tell
    let _ = sd_notify::notify(&[state]);
}
