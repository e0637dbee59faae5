//! Which two regions are to be a pair: a file that `twinkeep init` takes for both, such as those in `deploy/pairs/`.

use crate::{ClientError, files};
use serde::Deserialize;
use std::path::Path;
use wire::descriptor::check_name;

/// A planned place in words, bytes.
const PLACE_BYTES_MAX: usize = 128;

/// Two regions of one jurisdiction and environment. That they cannot be of two is what the file's shape is for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairPlan {
    /// The jurisdiction that the data of both stays in.
    pub jurisdiction: String,
    /// The environment of both.
    pub environment: String,
    /// The two, the one that is to begin as the primary first.
    pub regions: [PlannedRegion; 2],
}

/// One region of a planned pair.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRegion {
    /// Its name.
    pub name: String,
    /// Where it is, in words; for people only.
    pub place: String,
}

impl PairPlan {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let refuse = |problem: String| ClientError::Content { path: path.to_owned(), problem };
        let plan: Self =
            toml::from_str(&files::read(path)?).map_err(|error| refuse(error.message().to_owned()))?;
        plan.check().map_err(refuse)?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        let [first, second] = &self.regions;
        let names = [
            ("jurisdiction", &self.jurisdiction),
            ("environment", &self.environment),
            ("region", &first.name),
            ("region", &second.name),
        ];
        for (what, name) in names {
            check_name(what, name).map_err(|error| error.to_string())?;
        }
        if first.name == second.name {
            return Err(format!("both regions are called {}", first.name));
        }
        let far = self.regions.iter().find(|region| region.place.len() > PLACE_BYTES_MAX);
        far.map_or(Ok(()), |region| {
            Err(format!("the place of {} is over {PLACE_BYTES_MAX} bytes", region.name))
        })
    }

    /// The region to make: the one that is named, else the first, or the one that `primary` is not.
    pub fn region(&self, named: Option<&str>, primary: Option<&str>) -> Result<String, ClientError> {
        let [first, second] = [&self.regions[0].name, &self.regions[1].name];
        let advice = format!("it has {first} and {second}; plan other regions in a file of their own");
        let unknown =
            |name: &str| ClientError::usage(format!("{name} is no region of this pair plan"), &*advice);
        let known = |name: &str| name == first || name == second;
        if let Some(stranger) = [named, primary].into_iter().flatten().find(|name| !known(name)) {
            return Err(unknown(stranger));
        }
        match (named, primary) {
            (Some(name), Some(primary)) if name == primary => Err(ClientError::usage(
                format!("{name} is the primary already"),
                format!("leave --region out: the other one is made ({advice})"),
            )),
            (Some(name), _) => Ok(name.to_owned()),
            (None, Some(primary)) if primary == first => Ok(second.clone()),
            (None, _) => Ok(first.clone()),
        }
    }
}
