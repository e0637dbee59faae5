//! Real clients against a real region, each over HTTP and HTTPS: they send different forms of the same request on each.
//!
//! The Python scripts under `chaos/clients` hold the checks and print one verdict each; this file gives each a region of its own.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;
use std::sync::Arc;

use chaos::clients;
use chaos::dev::Dev;
use chaos::run::Run;
use chaos::tools;

/// Objects in the listing test: many pages for every client.
const LISTED_OBJECTS: usize = 100_000;
/// Writers of these objects: more than enough to keep a three-node region's group commit busy.
const LISTING_WRITERS: usize = 64;

/// The two ways to reach a region: endpoint, and the certificate authority to trust.
fn endpoints(dev: &Dev) -> [(String, Option<String>); 2] {
    let tls = dev.ready.endpoint_tls.clone().expect("`dev --json` names endpoint_tls");
    let authority = dev.ready.ca_file.clone().expect("`dev --json` names ca_file");
    [(dev.ready.endpoint.clone(), None), (tls, Some(authority))]
}

fn both_transports(test: &str, script: &str) {
    let run = Run::new(test).unwrap();
    let mut dev = Dev::start(&run).unwrap();
    for (endpoint, authority) in endpoints(&dev) {
        clients::run_script(&dev.ready, script, &endpoint, authority.as_deref(), &[]);
    }
    dev.end().unwrap();
}

#[test]
fn boto3_with_its_default_integrity_settings() {
    both_transports("boto3", "boto.py");
}

#[test]
fn the_aws_command_line() {
    both_transports("awscli", "awscli.py");
}

#[test]
fn rclone() {
    both_transports("rclone", "rclone.py");
}

#[test]
fn restic_backs_up_checks_and_restores() {
    tools::debian(&[("restic", "restic")]).unwrap();
    both_transports("restic", "restic.py");
}

#[test]
fn pyarrow_file_system() {
    both_transports("pyarrow", "arrow.py");
}

#[test]
fn a_hundred_thousand_objects_are_listed() {
    let run = Run::new("listing").unwrap();
    let mut dev = Dev::start(&run).unwrap();
    let bucket = "many";
    dev.client().unwrap().create_bucket(bucket).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..LISTING_WRITERS {
            let mut client = dev.client().unwrap();
            scope.spawn(move || {
                for number in (writer..LISTED_OBJECTS).step_by(LISTING_WRITERS) {
                    let key = format!("{:02}/{number:06}", number % 100);
                    client.put(bucket, &key, b"").unwrap_or_else(|failure| panic!("{key}: {failure:?}"));
                }
            });
        }
    });
    let count = LISTED_OBJECTS.to_string();
    let further = [("LISTING_BUCKET", bucket), ("LISTING_COUNT", count.as_str())];
    for (endpoint, authority) in endpoints(&dev) {
        clients::run_script(&dev.ready, "listing.py", &endpoint, authority.as_deref(), &further);
    }
    dev.end().unwrap();
}

#[test]
fn object_store_from_rust() {
    let run = Run::new("object-store").unwrap();
    let mut dev = Dev::start(&run).unwrap();
    dev.client().unwrap().create_bucket("rust").unwrap();
    // One provider for the process; the client library leaves the choice to the application.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (endpoint, authority) in endpoints(&dev) {
        let store = object_store_client(&dev, &endpoint, authority.as_deref());
        runtime.block_on(use_object_store(store)).unwrap_or_else(|error| panic!("{endpoint}: {error}"));
    }
    dev.end().unwrap();
}

fn object_store_client(
    dev: &Dev,
    endpoint: &str,
    authority: Option<&str>,
) -> Arc<dyn object_store::ObjectStore> {
    use object_store::{Certificate, ClientOptions, aws::AmazonS3Builder, aws::S3ConditionalPut};
    let mut options = ClientOptions::new().with_allow_http(true);
    if let Some(path) = authority {
        let pem = std::fs::read(Path::new(path)).unwrap();
        options = options.with_root_certificate(Certificate::from_pem(&pem).unwrap());
    }
    let builder = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_region(&dev.ready.region)
        .with_bucket_name("rust")
        .with_access_key_id(&dev.ready.access_key)
        .with_secret_access_key(&dev.ready.secret_key)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(options);
    Arc::new(builder.build().unwrap())
}

async fn use_object_store(store: Arc<dyn object_store::ObjectStore>) -> object_store::Result<()> {
    use futures_util::{StreamExt, TryStreamExt};
    use object_store::{ObjectStoreExt, PutMode, PutPayload, WriteMultipart, path::Path};
    for size in [0_usize, 1, 65_537, 3 << 20] {
        let (path, body) = (Path::from(format!("size/{size}")), vec![7_u8; size]);
        store.put(&path, PutPayload::from(body.clone())).await?;
        assert_eq!(store.get(&path).await?.bytes().await?, body);
        assert_eq!(store.head(&path).await?.size, size as u64);
    }
    let odd = Path::from("odd/with space+plus%2F ä");
    store.put(&odd, "odd".into()).await?;
    assert_eq!(store.get(&odd).await?.bytes().await?, "odd");
    assert_eq!(store.get_range(&odd, 1..3).await?, "dd");

    let large = Path::from("large");
    let mut upload = WriteMultipart::new(store.put_multipart(&large).await?);
    let body: Vec<u8> = (0..23_u32 << 20).map(|place| (place / 7) as u8).collect();
    upload.write(&body);
    upload.finish().await?;
    assert_eq!(store.get(&large).await?.bytes().await?, body);

    let once = Path::from("once");
    let made = store.put_opts(&once, "one".into(), PutMode::Create.into()).await?;
    let again = store.put_opts(&once, "two".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(object_store::Error::AlreadyExists { .. })), "{again:?}");
    let updated = store.put_opts(&once, "three".into(), PutMode::Update(made.clone().into()).into()).await?;
    let stale = store.put_opts(&once, "four".into(), PutMode::Update(made.into()).into()).await;
    assert!(matches!(stale, Err(object_store::Error::Precondition { .. })), "{stale:?}");
    assert_eq!(updated.e_tag, store.head(&once).await?.e_tag);

    store.copy(&once, &Path::from("copy")).await?;
    let listed: Vec<_> = store.list(None).map_ok(|meta| meta.location).try_collect().await?;
    assert_eq!(listed.len(), 8, "{listed:?}");
    let grouped = store.list_with_delimiter(None).await?;
    assert_eq!(grouped.common_prefixes.len(), 2);
    let paths = futures_util::stream::iter(listed).map(Ok).boxed();
    store.delete_stream(paths).try_collect::<Vec<_>>().await?;
    assert_eq!(store.list(None).count().await, 0);
    Ok(())
}
