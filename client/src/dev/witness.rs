//! The witness of a development pair: makes it, keeps it running, and ends it with the pair.
//!
//! A witness that cannot be made or does not start keeps no region from serving: it is said, and that is all. Nodes are told
//! that there is one as soon as its folder is there.

use super::DevFolder;
use super::control::Process;
use super::keeper::{self, Start};
use super::pair::{REGIONS, WitnessReady};
use crate::ClientError;
use crate::region::read_descriptor;
use crate::witness::{self, Memory, Mode, NAME_DEFAULT, WitnessFolder};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

/// The witness's folder below that of its pair.
pub fn folder(data: &Path) -> WitnessFolder {
    WitnessFolder::new(&data.join("witness"))
}

/// The witness as a process, below the folder of its pair.
pub fn process(data: &Path) -> Result<Process, ClientError> {
    if !folder(data).exists() {
        let problem = format!("{} has no witness", data.display());
        return Err(ClientError::state(problem, "`twinkeep dev --pair` makes one when it starts"));
    }
    Ok(files_of(data))
}

/// Whether the region in a development folder has a witness beside it.
pub(super) fn is_made_for(region: &DevFolder) -> bool {
    region.root().parent().is_some_and(|data| folder(data).exists())
}

fn files_of(data: &Path) -> Process {
    Process {
        name: "witness".to_owned(),
        record: data.join("run/witness.json"),
        held: data.join("run/witness.held"),
        log: data.join("logs/witness.log"),
        supervisor: data.join("run/supervisor.json"),
        command: format!("twinkeep dev --pair --data {}", data.display()),
    }
}

/// Keeps the witness of one pair.
pub(super) struct Keeper {
    folder: WitnessFolder,
    keeper: keeper::Keeper,
    mode: Mode,
}

impl Keeper {
    /// Makes the witness, or brings it up to date with its regions; nothing, and why is said, if that fails.
    pub(super) fn begin(data: &Path, mode: Mode) -> Option<Self> {
        let begun = || {
            let folder = folder(data);
            make(data, &folder)?;
            let program =
                std::env::current_exe().map_err(ClientError::file("finding", Path::new("twinkeep")))?;
            let mut arguments = vec!["witness".into(), "run".into(), folder.root().into()];
            arguments.push("--exit-on-stdin-eof".into());
            if mode == Mode::Automatic {
                arguments.push("--automatic".into());
            }
            let start = Start {
                title: "the witness",
                program,
                arguments,
                folder: folder.root().to_owned(),
                environment: &[],
            };
            Ok(Self { keeper: keeper::Keeper::begin(start, files_of(data))?, folder, mode })
        };
        begun().map_err(|error: ClientError| eprintln!("twinkeep: the witness is not run: {error}")).ok()
    }

    /// Runs it until the end.
    pub(super) fn keep(&self, ending: &AtomicBool) {
        self.keeper.keep(ending);
    }

    /// What the pair says of it when it is ready.
    pub(super) fn ready(&self) -> Option<WitnessReady> {
        let pid = self.keeper.started()?;
        Some(WitnessReady { pid, data: self.folder.root().to_owned(), mode: self.mode })
    }
}

/// Makes the witness unless it knows its regions as they are.
fn make(data: &Path, folder: &WitnessFolder) -> Result<(), ClientError> {
    let regions = REGIONS.map(|name| DevFolder::new(&data.join(name)).region());
    let knows = |position: usize| {
        let own = read_descriptor(&folder.identity(position).join("region.toml")).ok();
        own.is_some() && own == regions[position].read_descriptor().ok()
    };
    if folder.exists() && knows(0) && knows(1) {
        return Ok(());
    }
    let never_ran = |name: &str| !DevFolder::new(&data.join(name)).credentials().exists();
    let is_new = !folder.exists() && REGIONS.into_iter().all(never_ran);
    witness::make(folder, [&regions[0], &regions[1]], NAME_DEFAULT, SystemTime::now())?;
    if is_new && !folder.memory().exists() {
        // no region that was relieved is to be told from another: the first to serve need not wait for the other one
        Memory { is_informed: true, ..Memory::default() }.write(&folder.memory())?;
    }
    Ok(())
}
