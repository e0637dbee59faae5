//! Keys: agreed on by gateways, rotated, objects moved to new versions.

use std::sync::Arc;

use envelope::{KeyVersion, RegionName, RootKey};
use replication::region::Region;
use replication::solo::SoloRegion;
use store_node::gateway::keyring::{Keyring, KeyringOptions};
use store_node::gateway::rewrap::RewrapError;
use wire::{DeploymentId, TenantId};

use crate::multipart::begin;
use crate::objects::bytes;
use crate::server::Server;
use crate::signer::Request;

fn options() -> KeyringOptions {
    KeyringOptions {
        deployment: DeploymentId([1; 16]),
        region: RegionName::parse("home").unwrap(),
        tenant: TenantId(1),
    }
}

#[tokio::test]
async fn gateways_that_start_together_agree_on_the_keys() {
    let region: Arc<dyn Region> = Arc::new(SoloRegion::new(2).unwrap());
    let root = RootKey::generate(getrandom::fill).unwrap();
    let open = || Keyring::open(region.clone(), &root, options());
    let (one, two) = tokio::join!(open(), open());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.versions(), two.versions()), (vec![KeyVersion(1)], vec![KeyVersion(1)]));
    one.rotate().await.unwrap();
    two.reload().await.unwrap();
    assert_eq!(two.current_version(), KeyVersion(2));
}

#[tokio::test]
async fn another_root_does_not_open_the_keys() {
    let region: Arc<dyn Region> = Arc::new(SoloRegion::new(2).unwrap());
    let root = RootKey::generate(getrandom::fill).unwrap();
    Keyring::open(region.clone(), &root, options()).await.unwrap();
    let other = RootKey::generate(getrandom::fill).unwrap();
    assert!(Keyring::open(region, &other, options()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_moved_to_a_new_key_version_and_stay_readable() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    crate::versions::set_versioning(&server, "Enabled").await;
    let first = server.put("/bucket/small", "one").await.header("x-amz-version-id").unwrap().to_owned();
    server.put("/bucket/small", "two").await;
    server.put("/bucket/large", bytes(2 << 20)).await;
    server.call(Request::new("DELETE", "/bucket/gone")).await;
    let upload = begin(&server, Request::new("POST", "/bucket/upload?uploads=")).await;
    assert_eq!(server.gateway.rewrap().await.unwrap().rewrapped, 0);
    server.gateway.keyring().rotate().await.unwrap();
    server.put("/bucket/new", "three").await;
    let report = server.gateway.rewrap().await.unwrap();
    assert_eq!((report.to, report.complete), (KeyVersion(2), true));
    assert_eq!((report.counted, report.rewrapped, report.skipped, report.remaining), (5, 4, 1, 0));
    assert_eq!(server.gateway.rewrap_report().await.unwrap(), Some(report));
    let again = server.gateway.rewrap().await.unwrap();
    assert_eq!((again.rewrapped, again.skipped), (0, 5));
    assert_eq!(server.get(&format!("/bucket/small?versionId={first}")).await.body, b"one");
    assert_eq!(server.get("/bucket/small").await.body, b"two");
    assert!(server.get("/bucket/large").await.body == bytes(2 << 20));
    let target = format!("/bucket/upload?partNumber=1&uploadId={upload}");
    assert_eq!(server.call(Request::new("PUT", &target).body("abc")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn walks_to_a_new_key_version_at_once_move_every_object_once() {
    let server = Server::start().await;
    server.make_bucket("bucket").await;
    for number in 0..100 {
        server.put(&format!("/bucket/{number}"), "content").await;
    }
    server.gateway.keyring().rotate().await.unwrap();
    let walk = |_| {
        let gateway = server.gateway.clone();
        tokio::spawn(async move { gateway.rewrap().await })
    };
    let walks: Vec<_> = (0..4).map(walk).collect();
    let mut reports = Vec::new();
    for walk in walks {
        match walk.await.unwrap() {
            Ok(report) => reports.push(report),
            Err(error) => assert!(matches!(error, RewrapError::TakenOver), "{error:?}"),
        }
    }
    let moved: u64 = reports.iter().map(|report| report.rewrapped).sum();
    assert_eq!(moved, 100, "{reports:?}");
    assert_eq!(server.gateway.rewrap().await.unwrap().rewrapped, 0, "the next one may run again");
}
