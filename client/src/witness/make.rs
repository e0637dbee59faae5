//! Making a witness: an identity in each region of a pair, signed by that region's own authority.

use super::WitnessFolder;
use crate::region::{RegionFolder, read_descriptor, write_witness};
use crate::{ClientError, files};
use std::fs;
use std::time::SystemTime;
use wire::descriptor::{RegionDescriptor, check_name};

/// Makes the witness of two regions in `folder`, which is new, empty, or that of their witness: the latter gets new
/// identities and hears of nodes that came since, and keeps what it remembers.
pub fn make(
    folder: &WitnessFolder,
    regions: [&RegionFolder; 2],
    name: &str,
    now: SystemTime,
) -> Result<(), ClientError> {
    check_name("witness", name)
        .map_err(|error| ClientError::usage(error.to_string(), "name it with --name NAME"))?;
    let descriptors = [regions[0].read_descriptor()?, regions[1].read_descriptor()?];
    check_pair(&descriptors)?;
    check_folder(folder, &descriptors)?;
    files::make_folder(folder.root())?;
    for (position, region) in regions.into_iter().enumerate() {
        write_witness(&folder.identity(position), region, &descriptors[position], name, now)?;
    }
    Ok(())
}

fn check_pair([one, other]: &[RegionDescriptor; 2]) -> Result<(), ClientError> {
    let together = |region: &RegionDescriptor| (region.deployment, region.environment.clone());
    if one.region != other.region && together(one) == together(other) {
        return Ok(());
    }
    let problem = format!("{} and {} are not the two regions of a pair", one.region, other.region);
    Err(ClientError::usage(problem, "name the folders of both with --data and --other"))
}

fn check_folder(folder: &WitnessFolder, regions: &[RegionDescriptor; 2]) -> Result<(), ClientError> {
    if !folder.exists() {
        let taken = fs::read_dir(folder.root()).is_ok_and(|mut entries| entries.next().is_some());
        if taken && !folder.identity(0).exists() {
            let problem = format!("{} is not empty, and no witness's", folder.root().display());
            return Err(ClientError::state(problem, "name a new folder with --output DIR"));
        }
        return Ok(());
    }
    for (position, region) in regions.iter().enumerate() {
        let found = read_descriptor(&folder.identity(position).join("region.toml"))?;
        if (found.deployment, &found.region) != (region.deployment, &region.region) {
            let problem = format!(
                "{} holds the witness of another pair, or of this one in the other order",
                folder.root().display()
            );
            return Err(ClientError::state(problem, "name the regions as before, or a new folder"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::{self, DevFolder, DevOptions};
    use crate::testing::dev_options;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use wire::descriptor::PeerRole;

    #[test]
    fn a_witness_has_a_name_in_both_regions_and_keeps_its_memory_when_made_again() {
        let base = tempfile::tempdir().unwrap();
        let one = DevOptions { region: Some("twin-1"), ..dev_options(&base.path().join("twin-1")) };
        let two = DevOptions {
            region: Some("twin-2"),
            standby_of: Some(one.data.clone()),
            ..dev_options(&base.path().join("twin-2"))
        };
        dev::prepare(&one).unwrap();
        dev::prepare(&two).unwrap();
        let regions = [&one, &two].map(|options| DevFolder::new(&options.data).region());
        let folder = WitnessFolder::new(&base.path().join("witness"));
        assert!(!folder.exists());
        make(&folder, [&regions[0], &regions[1]], "hill", SystemTime::now()).unwrap();
        assert!(folder.exists());
        fs::write(folder.memory(), "kept").unwrap();
        make(&folder, [&regions[0], &regions[1]], "hill", SystemTime::now()).unwrap();
        assert_eq!(fs::read_to_string(folder.memory()).unwrap(), "kept");
        for (position, region) in ["twin-1", "twin-2"].into_iter().enumerate() {
            let identity = folder.identity(position);
            let pem = fs::read(identity.join("member.pem")).unwrap();
            let found = trust::identity_of(&CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
            assert_eq!((found.region.as_str(), found.role), (region, PeerRole::Witness("hill".into())));
        }
        let refused = |regions: [&RegionFolder; 2], name: &str| {
            make(&folder, regions, name, SystemTime::now()).unwrap_err().exit_code()
        };
        assert_eq!(refused([&regions[0], &regions[1]], "Not a name"), 2);
        assert_eq!(refused([&regions[0], &regions[0]], "hill"), 2, "one region is no pair");
        assert_eq!(refused([&regions[1], &regions[0]], "hill"), 1, "the folder's order is the other one");
    }
}
