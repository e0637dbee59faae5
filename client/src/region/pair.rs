//! Two regions as a pair: each gives the other's storage nodes and operator an identity of its own, and both sign what
//! the pair is.

use super::{
    Authority, FIRST_OPERATOR, IssuedCertificate, RegionFolder, RegionPlan, RootPlan, descriptor_text,
    identity,
};
use crate::{ClientError, files};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use trust::VerifiedPair;
use wire::UnixMillis;
use wire::descriptor::{
    PAIR_DESCRIPTOR_BYTES_MAX, PAIR_DESCRIPTOR_FILE, PairDescriptor, PairedRegion, PeerRole,
    RegionDescriptor, SignedPair,
};

/// What the folder `pair` is called once the pair has ended; the descriptor's serial follows.
const ENDED: &str = "pair.ended-";

/// Turns a plan into one for a standby of the region in `primary`: its deployment, its groups, its root key.
pub fn standby_plan(primary: &RegionFolder, plan: RegionPlan) -> Result<RegionPlan, ClientError> {
    let descriptor = primary.read_descriptor()?;
    // both authorities sign what makes them a pair: without this one nothing is begun
    if !Authority::load(primary, &descriptor)?.is_whole() {
        return Err(other_key(&descriptor.region));
    }
    if plan.groups.is_some_and(|groups| groups != descriptor.groups) {
        let problem = format!("the primary has {} data groups", descriptor.groups);
        return Err(ClientError::usage(problem, "leave --groups out: both regions of a pair have the same"));
    }
    let jurisdiction = as_primary("jurisdiction", plan.jurisdiction, &descriptor.jurisdiction)?;
    let environment = as_primary("environment", plan.environment, &descriptor.environment)?;
    if primary.pair_descriptor().exists() {
        let problem = format!("{} is one of a pair already", descriptor.region);
        let data = primary.root().display();
        return Err(ClientError::state(problem, format!("`twinkeep pair end --data {data}` ends that")));
    }
    let root = if primary.root_key().exists() {
        let passphrase = primary.root_passphrase();
        RootPlan::Copied {
            sealed: files::read_bytes(&primary.root_key())?,
            passphrase: if passphrase.exists() { Some(files::read(&passphrase)?) } else { None },
        }
    } else {
        RootPlan::Hardware
    };
    Ok(RegionPlan {
        environment,
        jurisdiction,
        groups: Some(descriptor.groups),
        root,
        standby_of: Some(descriptor),
        ..plan
    })
}

/// What holds for both regions of a pair: said of the standby, if at all, as of its primary.
fn as_primary(what: &str, planned: String, primary: &str) -> Result<String, ClientError> {
    if planned.is_empty() || planned == primary {
        return Ok(primary.to_owned());
    }
    let problem = format!("the primary is of {what} {primary}, this region is to be of {what} {planned}");
    Err(ClientError::usage(
        problem,
        format!("a pair is of one {what}: make the standby elsewhere, or another pair"),
    ))
}

/// What a new pair descriptor is to say beyond the one before it.
#[derive(Clone, Debug, Default)]
pub struct Renewal {
    /// Regions whose nodes' certificates in the other one count only if they were issued since.
    pub members_since: Vec<(String, UnixMillis)>,
    /// A serial that was used already, though neither folder may know of it.
    pub serial_above: u64,
}

/// Lets the members of two regions know each other, under a descriptor that both regions' authorities sign; what was
/// there before is replaced.
pub fn introduce(
    one: &RegionFolder,
    other: &RegionFolder,
    now: SystemTime,
) -> Result<PairDescriptor, ClientError> {
    introduce_anew(one, other, &Renewal::default(), now)
}

/// The same, with a descriptor that says what `renewal` asks for. What the one before made worthless stays so.
pub fn introduce_anew(
    one: &RegionFolder,
    other: &RegionFolder,
    renewal: &Renewal,
    now: SystemTime,
) -> Result<PairDescriptor, ClientError> {
    let (first, second) = (one.read_descriptor()?, other.read_descriptor()?);
    check_pair(&first, &second)?;
    let [first_authority, second_authority] =
        [Authority::load(one, &first)?, Authority::load(other, &second)?];
    let sides = [(one, &first, &first_authority), (other, &second, &second_authority)];
    let signed = sign(sides, renewal, now)?;
    let text = signed.to_text();
    // before anything is written: a key that is not that of its certificate signs nothing that holds
    verify(&text, &first_authority, &first, &second_authority, &second)?;
    let pair = (&signed.descriptor, text.as_str());
    give(one, &first, &second_authority, &second, pair, now)?;
    give(other, &second, &first_authority, &first, pair, now)?;
    Ok(signed.descriptor)
}

/// Two regions that may be a pair: both inside one jurisdiction, of one environment, and made for each other.
fn check_pair(one: &RegionDescriptor, other: &RegionDescriptor) -> Result<(), ClientError> {
    let (first, second) = (&one.region, &other.region);
    for (what, of_one, of_other) in [
        ("jurisdiction", &one.jurisdiction, &other.jurisdiction),
        ("environment", &one.environment, &other.environment),
    ] {
        if of_one != of_other {
            let problem = format!("{first} is of {what} {of_one}, {second} of {what} {of_other}");
            return Err(ClientError::usage(problem, format!("a pair is of one {what}")));
        }
    }
    if first == second || one.deployment != other.deployment {
        let problem = format!("{first} and {second} are not the two regions of a pair");
        let advice = "make the second with `twinkeep init --standby-of`: both need one root key";
        return Err(ClientError::usage(problem, advice));
    }
    Ok(())
}

fn sign(
    sides: [(&RegionFolder, &RegionDescriptor, &Authority); 2],
    renewal: &Renewal,
    now: SystemTime,
) -> Result<SignedPair, ClientError> {
    let mut sides = sides;
    sides.sort_by_key(|(_, region, _)| region.region.clone());
    let before = sides.iter().flat_map(|(folder, ..)| std::iter::once(folder.pair()).chain(ended(folder)));
    // one that cannot be read is replaced, too
    let before = before.filter_map(|pair| {
        Some(SignedPair::parse(&read_pair(&pair.join(PAIR_DESCRIPTOR_FILE)).ok()?).ok()?.descriptor)
    });
    let before: Vec<PairDescriptor> = before.collect();
    let used = before.iter().map(|pair| pair.serial).max().unwrap_or(0).max(renewal.serial_above);
    let serial = used.checked_add(1).ok_or_else(|| {
        ClientError::usage("there is no serial above that one", "name the highest one that a node knows")
    })?;
    let (_, region, _) = sides[0];
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let issued_at = UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    let since = sides.map(|(_, region, _)| region.region.as_str());
    let [first_since, second_since] = members_since(since, &before, renewal, issued_at)?;
    let side = |(_, region, authority): (&RegionFolder, &RegionDescriptor, &Authority), members_since| {
        let keys = trust::public_keys(authority.certificate().as_bytes());
        let key = keys.and_then(|keys| keys.into_iter().next()).ok_or(ClientError::Crypto {
            what: "reading the authority's certificate",
            problem: "it holds no public key".to_owned(),
        })?;
        Ok::<_, ClientError>(PairedRegion { name: region.region.clone(), key, members_since })
    };
    let descriptor = PairDescriptor {
        deployment: region.deployment,
        environment: region.environment.clone(),
        jurisdiction: region.jurisdiction.clone(),
        serial,
        issued_at,
        regions: [side(sides[0], first_since)?, side(sides[1], second_since)?],
    };
    let statement = descriptor.statement();
    let [(.., first), (.., second)] = sides;
    let signatures = [first.sign(statement.as_bytes())?, second.sign(statement.as_bytes())?];
    Ok(SignedPair { descriptor, signatures })
}

/// Since when the certificates of each region's nodes in the other one count: as asked for now or before, whichever is later.
fn members_since(
    regions: [&str; 2],
    before: &[PairDescriptor],
    renewal: &Renewal,
    now: UnixMillis,
) -> Result<[Option<UnixMillis>; 2], ClientError> {
    if let Some((name, _)) = renewal.members_since.iter().find(|(name, _)| !regions.contains(&name.as_str()))
    {
        let problem = format!("{name} is neither of the two regions");
        return Err(ClientError::usage(problem, format!("they are {} and {}", regions[0], regions[1])));
    }
    let known = before.iter().flat_map(|pair| &pair.regions);
    let known: Vec<(&str, UnixMillis)> =
        known.filter_map(|region| Some((region.name.as_str(), region.members_since?))).collect();
    let asked = renewal.members_since.iter().map(|(name, since)| (name.as_str(), *since));
    let all: Vec<(&str, UnixMillis)> = known.into_iter().chain(asked).collect();
    if let Some((name, _)) = all.iter().find(|(_, since)| *since > now) {
        let problem = format!("the certificates of {name} are to count from a time on that has not come");
        return Err(ClientError::usage(
            problem,
            "name a time up to now, and see that this machine's clock is right",
        ));
    }
    Ok(regions.map(|region| {
        let of_region = all.iter().filter(|(name, _)| *name == region);
        // certificates know whole seconds
        of_region.map(|(_, since)| UnixMillis(since.0 / 1000 * 1000)).max()
    }))
}

fn verify(
    text: &str,
    one: &Authority,
    first: &RegionDescriptor,
    other: &Authority,
    second: &RegionDescriptor,
) -> Result<(), ClientError> {
    let sides = [(first, one.certificate().as_bytes()), (second, other.certificate().as_bytes())];
    VerifiedPair::verify(text)
        .and_then(|pair| pair.admits(sides[0], sides[1]))
        .map_err(|error| ClientError::state(error.to_string(), OTHER_KEY))
}

const OTHER_KEY: &str =
    "the folder `ca` of a region holds another key than its certificate's: bring both back from the backup";

fn other_key(region: &str) -> ClientError {
    ClientError::state(format!("the authority of {region} cannot sign"), OTHER_KEY)
}

/// The authority of the host makes identities for the members of `guest`.
fn give(
    guest: &RegionFolder,
    members: &RegionDescriptor,
    authority: &Authority,
    host: &RegionDescriptor,
    (pair, text): (&PairDescriptor, &str),
    now: SystemTime,
) -> Result<(), ClientError> {
    let since = pair.sides(&members.region).and_then(|(side, _)| side.members_since);
    for node in &members.nodes {
        let folder = guest.pair_node(node.id);
        let role = PeerRole::Pair(node.id.0);
        let issued = authority.issue_member_since(&identity(host, role), now, since)?;
        write_issued(&folder, host, authority, &issued)?;
        files::write(&folder.join(PAIR_DESCRIPTOR_FILE), text.as_bytes())?;
    }
    let role = PeerRole::Operator(FIRST_OPERATOR.to_owned());
    write_identity(&guest.pair_operator(), host, authority, role, now)?;
    files::write(&guest.pair_descriptor(), text.as_bytes())
}

/// Takes the identities in the other region and what both signed out of the region's folder; they are kept beside it, so that no serial is given
/// twice. What it was, and where it is kept.
pub fn end_pair(folder: &RegionFolder) -> Result<(PairDescriptor, PathBuf), ClientError> {
    let path = folder.pair_descriptor();
    let refuse = |problem: String| ClientError::Content { path: path.clone(), problem };
    let pair = SignedPair::parse(&read_pair(&path)?).map_err(|error| refuse(error.to_string()))?.descriptor;
    let kept = folder.root().join(format!("{ENDED}{}", pair.serial));
    std::fs::rename(folder.pair(), &kept).map_err(|source| ClientError::File {
        operation: "putting the pair's folder away",
        path: kept.clone(),
        source,
    })?;
    Ok((pair, kept))
}

/// Pairs that the region was one of.
fn ended(folder: &RegionFolder) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.root()).into_iter().flatten().flatten();
    let is_one = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(ENDED.as_bytes()))
    };
    entries.map(|entry| entry.path()).filter(is_one).collect()
}

/// The text of a pair descriptor.
pub fn read_pair(path: &Path) -> Result<String, ClientError> {
    let bytes = files::read_bytes_to(path, PAIR_DESCRIPTOR_BYTES_MAX as u64)?;
    let problem = "it is no text".to_owned();
    String::from_utf8(bytes).map_err(|_| ClientError::Content { path: path.to_owned(), problem })
}

/// What a pair descriptor's signatures are held against.
#[derive(Debug)]
pub enum PairCheck<'a> {
    /// Only the keys in it: says that nothing was changed, not by whom it was made.
    Itself,
    /// These authorities, each of which is one of its regions'.
    Authorities(&'a [PathBuf]),
    /// An operator's folder: its region, its authority, and those of the other region as the folder has them.
    Region(&'a RegionFolder),
}

/// Reads a pair descriptor and checks it, offline.
pub fn verify_pair(path: &Path, against: &PairCheck<'_>) -> Result<VerifiedPair, ClientError> {
    let refuse = |problem: String| ClientError::Content { path: path.to_owned(), problem };
    let pair = VerifiedPair::verify(&read_pair(path)?).map_err(|error| refuse(error.to_string()))?;
    match against {
        PairCheck::Itself => {}
        PairCheck::Authorities(authorities) => {
            let mut trusted = Vec::new();
            for path in *authorities {
                let keys = trust::public_keys(&files::read_bytes(path)?);
                let problem = || "it holds no certificate that can be read".to_owned();
                trusted.extend(
                    keys.ok_or_else(|| ClientError::Content { path: path.clone(), problem: problem() })?,
                );
            }
            let stranger = pair.descriptor().regions.iter().find(|region| !trusted.contains(&region.key));
            if let Some(region) = stranger {
                return Err(refuse(format!(
                    "it is signed for {} by another authority than those given",
                    region.name
                )));
            }
        }
        PairCheck::Region(folder) => {
            let own = folder.read_descriptor()?;
            let theirs = folder.pair_operator();
            let other = super::read_descriptor(&theirs.join("region.toml"))?;
            let own_authority = files::read_bytes(&folder.authority_certificate())?;
            let other_authority = files::read_bytes(&theirs.join("ca.pem"))?;
            pair.admits((&own, &own_authority), (&other, &other_authority))
                .map_err(|error| refuse(error.to_string()))?;
        }
    }
    Ok(pair)
}

/// The authority of `host` makes an identity for a witness, in `folder`.
pub fn write_witness(
    folder: &Path,
    host: &RegionFolder,
    descriptor: &RegionDescriptor,
    name: &str,
    now: SystemTime,
) -> Result<(), ClientError> {
    let authority = Authority::load(host, descriptor)?;
    write_identity(folder, descriptor, &authority, PeerRole::Witness(name.to_owned()), now)
}

/// Writes what a member needs to speak for itself.
pub(super) fn write_identity(
    folder: &Path,
    descriptor: &RegionDescriptor,
    authority: &Authority,
    role: PeerRole,
    now: SystemTime,
) -> Result<(), ClientError> {
    let issued = authority.issue_member(&identity(descriptor, role), now)?;
    write_issued(folder, descriptor, authority, &issued)
}

fn write_issued(
    folder: &Path,
    descriptor: &RegionDescriptor,
    authority: &Authority,
    issued: &IssuedCertificate,
) -> Result<(), ClientError> {
    files::make_folder(folder)?;
    files::write(&folder.join("region.toml"), descriptor_text(descriptor)?.as_bytes())?;
    files::write(&folder.join("ca.pem"), authority.certificate().as_bytes())?;
    files::write(&folder.join("member.pem"), issued.certificate.as_bytes())?;
    files::write(&folder.join("member.key"), issued.private_key.as_bytes())
}

#[cfg(test)]
#[path = "pair/tests.rs"]
mod tests;
