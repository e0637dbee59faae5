//! Two development regions as a pair, each with its own folder below one, its own ports and its own supervisor.
//!
//! ```text
//! twin-1/     the region that begins as the primary, as `twinkeep dev` makes one
//! twin-2/     its standby, on ports 40 further
//! witness/    their witness, a process of its own (see `witness`)
//! pseudo/     the pseudonymisation service, if asked for (see `pseudo`): it speaks to the first region
//! logs/ run/  their logs and pids
//! ```

use super::pseudo::{self, PseudoReady};
use super::{
    Credentials, DevFolder, DevForward, DevOptions, DevReady, ForwardMode, find_store_node, prepare, setup,
    witness,
};
use crate::witness::Mode;
use crate::{ClientError, signals};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc;

/// The regions' names, and those of their folders.
pub const REGIONS: [&str; 2] = ["twin-1", "twin-2"];

/// From the first port of one region to that of the other: the largest region takes 37.
const PORTS_APART: u16 = 40;

/// The first port, unless another is asked for.
const PORT_BASE_DEFAULT: u16 = 9000;

/// A development pair that serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairReady {
    /// Version of this object.
    pub schema_version: u32,
    /// Both regions, the one that began as the primary first.
    pub regions: Vec<RegionReady>,
    /// Their witness, if it runs.
    pub witness: Option<WitnessReady>,
    /// The pseudonymisation service beside them, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pseudo: Option<PseudoReady>,
}

/// One region of a development pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionReady {
    /// Its name.
    pub name: String,
    /// Its part when the pair was made: `primary` or `standby`. `twinkeep lag` says what it is now.
    pub role: String,
    /// Everything else.
    #[serde(flatten)]
    pub region: DevReady,
}

/// The witness of a development pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessReady {
    /// Its pid.
    pub pid: u32,
    /// Its folder.
    pub data: PathBuf,
    /// `manual` or `automatic`.
    pub mode: Mode,
}

/// Whether `data` holds a pair.
pub fn is_pair(data: &Path) -> bool {
    REGIONS.iter().all(|name| DevFolder::new(&data.join(name)).exists())
}

/// Runs a development pair until SIGTERM, SIGINT or SIGHUP; `on_ready` is called once, when both regions serve. The
/// witness may do by itself what `mode` says; gateways pass on what `forward` says.
pub fn run(
    options: &DevOptions,
    mode: Mode,
    forward: ForwardMode,
    on_ready: impl FnOnce(&PairReady) -> Result<(), ClientError>,
) -> Result<(), ClientError> {
    let data = std::path::absolute(&options.data).map_err(ClientError::file("finding", &options.data))?;
    if DevFolder::new(&data).exists() {
        let problem = format!("{} holds a single region", data.display());
        return Err(ClientError::usage(problem, "name another folder with --data DIR"));
    }
    let folders = REGIONS.map(|name| data.join(name));
    let base = options.port_base.unwrap_or(PORT_BASE_DEFAULT);
    let second_base = base.checked_add(PORTS_APART).ok_or_else(|| {
        ClientError::usage(
            format!("--port-base {base} leaves no room for the second region"),
            "choose a lower one",
        )
    })?;
    let found = folders.iter().all(|folder| DevFolder::new(folder).exists());
    let ports = [base, second_base].map(|base| (!found || options.port_base.is_some()).then_some(base));
    let one = DevOptions {
        data: folders[0].clone(),
        port_base: ports[0],
        region: Some(REGIONS[0]),
        standby_of: None,
        pseudo: false,
        ..options.clone()
    };
    let two = DevOptions {
        data: folders[1].clone(),
        port_base: ports[1],
        region: Some(REGIONS[1]),
        standby_of: Some(folders[0].clone()),
        pseudo: false,
        ..options.clone()
    };
    let ending = signals::catch("twinkeep dev")?;
    let to = |other: &DevOptions| {
        let endpoint = setup::judge(other)?.ports()?.s3_plain();
        Ok::<_, ClientError>((forward != ForwardMode::None).then_some(DevForward { mode: forward, endpoint }))
    };
    let (forward_two, forward_one) = (to(&one)?, to(&two)?);
    // once for both, before the time runs that their processes get
    let program = match find_store_node(options.store_node.as_deref()) {
        Err(_) if ending.load(Ordering::Relaxed) => return Ok(()),
        found => Some(found?),
    };
    let one = DevOptions { store_node: program.clone(), forward: forward_one, ..one };
    let two = DevOptions { store_node: program, forward: forward_two, ..two };
    let first_ports = setup::judge(&one)?.ports()?;
    let service = match options.pseudo.then(|| pseudo::Service::find(&data, first_ports)).transpose() {
        Err(_) if ending.load(Ordering::Relaxed) => return Ok(()),
        found => found?,
    };
    // both are made before either runs: each node's configuration names its identity in the other region
    prepare(&one)?;
    prepare(&two)?;
    let keeper = witness::Keeper::begin(&data, mode);
    std::thread::scope(|scope| {
        let keeper = keeper.as_ref();
        if let Some(keeper) = keeper {
            scope.spawn(|| keeper.keep(&ending));
        }
        let (ready, regions) = mpsc::channel();
        let first_ready = ready.clone();
        let first = scope.spawn(move || ended(super::run(&one, |region| send(&first_ready, region))));
        let Ok(primary) = regions.recv() else {
            let outcome = first.join().unwrap_or(Ok(()));
            ending.store(true, Ordering::Relaxed);
            return outcome;
        };
        let copied = Credentials::copy(&DevFolder::new(&folders[0]), &DevFolder::new(&folders[1]));
        let second =
            scope.spawn(move || ended(copied.and_then(|()| super::run(&two, |region| send(&ready, region)))));
        let told = match regions.recv() {
            Ok(standby) => {
                let said = service.map(|service| {
                    let (told, said) = mpsc::channel();
                    let (region, until) = (primary.clone(), &*ending);
                    scope.spawn(move || service.run(&region, until, |service| drop(told.send(service))));
                    // one that goes without a word was told to end
                    said.recv().ok()
                });
                let ready = pair_ready(primary, standby, keeper.and_then(witness::Keeper::ready));
                match said {
                    None => on_ready(&ready),
                    Some(None) => Ok(()),
                    Some(Some(said)) => {
                        said.and_then(|service| on_ready(&PairReady { pseudo: Some(service), ..ready }))
                    }
                }
            }
            // one of them ended, and says why below
            Err(_) => Ok(()),
        };
        let told = ended(told);
        let outcomes = [first, second].map(|thread| thread.join().unwrap_or(Ok(())));
        // whatever ended them, the witness does not go on alone
        ending.store(true, Ordering::Relaxed);
        outcomes.into_iter().chain([told]).find(Result::is_err).unwrap_or(Ok(()))
    })
}

fn send(ready: &mpsc::Sender<DevReady>, region: &DevReady) -> Result<(), ClientError> {
    // nobody listens any more when the pair is ending
    let _gone = ready.send(region.clone()).is_err();
    Ok(())
}

/// Neither region goes on when the other cannot.
fn ended(outcome: Result<(), ClientError>) -> Result<(), ClientError> {
    if outcome.is_err() {
        // the supervisors end on it, and this process with them
        let _ = kill_process(getpid(), Signal::TERM);
    }
    outcome
}

fn pair_ready(primary: DevReady, standby: DevReady, witness: Option<WitnessReady>) -> PairReady {
    let region = |region: DevReady, role: &str| RegionReady {
        name: region.region.clone(),
        role: role.to_owned(),
        region,
    };
    let regions = vec![region(primary, "primary"), region(standby, "standby")];
    PairReady { schema_version: 1, regions, witness, pseudo: None }
}

impl PairReady {
    /// The page for people.
    pub fn page(&self) -> String {
        let mut text = String::from("Twinkeep serves: two regions, the second follows the first.\n\n");
        for region in &self.regions {
            let RegionReady { name, role, region } = region;
            let _ =
                writeln!(text, "  {name:8} {role:8} {}  data in {}", region.endpoint, region.data.display());
        }
        if let Some(WitnessReady { data, mode, .. }) = &self.witness {
            let does = match mode {
                Mode::Manual => "says when a switch is due",
                Mode::Automatic => "switches by itself",
            };
            let _ = writeln!(text, "  witness  {does}  data in {}", data.display());
        }
        if let Some(RegionReady { region, .. }) = self.regions.first() {
            let folder = region.data.parent().map_or_else(PathBuf::new, Path::to_owned);
            let folder = folder.display();
            let _ = writeln!(text, "\n  access key  {}", region.access_key);
            let _ = writeln!(text, "  secret key  {}", region.secret_key.reveal());
            let _ = write!(
                text,
                "\nTry:\n\n  eval \"$(twinkeep env --data {folder}/twin-1)\" && aws s3 mb s3://jobs\n  twinkeep lag --data {folder}\n  twinkeep failover --planned --data {folder}\n\n"
            );
        }
        text.extend(self.pseudo.as_ref().map(PseudoReady::section));
        text.push_str("Ctrl-C ends all of it; the data stays.\n");
        text
    }
}
