//! What a name after `dev kill|stop|start` stands for: one process, or all of a region.
//!
//! ```text
//! 2, gateway           a process of the only region
//! twin-1/2             a process of one region of a pair
//! twin-1               every process of that region
//! ```

use super::control::ControlReport;
use super::{DevFolder, Member, control, pair};
use crate::ClientError;
use std::path::Path;

/// Processes of one region.
pub struct Target {
    /// Their region's name, when that was said.
    pub region: Option<String>,
    /// Its folder.
    pub folder: DevFolder,
    /// Which.
    pub members: Vec<Member>,
}

/// A region below a data folder.
pub struct Found {
    /// Its name.
    pub region: String,
    /// Its folder.
    pub folder: DevFolder,
}

/// The regions in `data`: two when it holds a pair.
pub fn regions(data: &Path) -> Result<Vec<Found>, ClientError> {
    let folders: Vec<DevFolder> = if pair::is_pair(data) {
        pair::REGIONS.iter().map(|name| DevFolder::new(&data.join(name))).collect()
    } else {
        vec![DevFolder::new(data)]
    };
    folders
        .into_iter()
        .map(|folder| {
            control::ensure_exists(&folder)?;
            Ok(Found { region: folder.region().read_descriptor()?.region, folder })
        })
        .collect()
}

impl Target {
    /// What `name` stands for in `data`.
    pub fn find(data: &Path, name: &str) -> Result<Self, ClientError> {
        let mut regions = regions(data)?;
        let (region, member) = match name.split_once('/') {
            Some((region, member)) => (Some(region), Some(member)),
            None if regions.iter().any(|found| found.region == name) => (Some(name), None),
            None => (None, Some(name)),
        };
        let position = match region {
            Some(region) => regions.iter().position(|found| found.region == region),
            None => (regions.len() == 1).then_some(0),
        };
        let Some(position) = position else {
            let names: Vec<&str> = regions.iter().map(|found| found.region.as_str()).collect();
            let (problem, advice) = match region {
                Some(region) => {
                    (format!("there is no region {region} here"), format!("there is {}", names.join(" and ")))
                }
                None => (
                    format!("{name} of which region?"),
                    format!("say {}/{name} or {}/{name}", names[0], names[names.len() - 1]),
                ),
            };
            return Err(ClientError::usage(problem, advice));
        };
        let folder = regions.swap_remove(position).folder;
        let members = match member {
            Some(member) => vec![Member::parse(member)?],
            None => control::members(&folder)?,
        };
        Ok(Self { region: region.map(str::to_owned), folder, members })
    }

    /// Does the same to all of them at once: a region is lost as a whole, not process by process.
    pub fn each(
        &self,
        action: fn(&control::Process) -> Result<ControlReport, ClientError>,
    ) -> Result<Vec<ControlReport>, ClientError> {
        std::thread::scope(|scope| {
            let one =
                |member: Member| scope.spawn(move || action(&control::Process::find(&self.folder, member)?));
            let running: Vec<_> = self.members.iter().map(|member| one(*member)).collect();
            let ended = running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            ended.collect()
        })
    }
}
