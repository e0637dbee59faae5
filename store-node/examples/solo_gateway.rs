//! Serves the gateway on an in-process region without durability, for tests with real clients.
//!
//! `cargo run --release -p store-node --example solo_gateway -- 127.0.0.1:9000 [CERTIFICATE.pem KEY.pem]` prints the
//! credentials of a principal that may do everything, and of two that may do nothing yet.

use std::error::Error;
use std::sync::Arc;

use envelope::{RegionName, RootKey};
use replication::region::Region;
use replication::solo::SoloRegion;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use store_node::gateway::directory::Directory;
use store_node::gateway::keyring::{Keyring, KeyringOptions};
use store_node::gateway::serve::serve;
use store_node::gateway::{Gateway, GatewayOptions};
use tokio_util::sync::CancellationToken;
use wire::{DeploymentId, TenantId};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // the protocol layer logs whole requests: it stays silent
    let filter = tracing_subscriber::EnvFilter::from_default_env().add_directive("s3s=off".parse()?);
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".into());
    let tls = match (arguments.next(), arguments.next()) {
        (Some(certificate), Some(key)) => Some(tls(&certificate, &key)?),
        _ => None,
    };
    let region: Arc<dyn Region> = Arc::new(SoloRegion::new(8)?);
    let root = RootKey::generate(getrandom::fill)?;
    let options = KeyringOptions {
        deployment: DeploymentId([1; 16]),
        region: RegionName::parse("home").ok_or("a region's name")?,
        tenant: TenantId(1),
    };
    let keyring = Arc::new(Keyring::open(region.clone(), &root, options).await?);
    let directory = Arc::new(Directory::open(region.clone(), keyring.clone()).await?);
    for (name, admin) in [("main", true), ("other", false), ("third", false)] {
        directory.create_principal(name, admin, true).await?;
        let key = directory.add_key(name).await?;
        println!("{name} {} {}", key.id, *key.secret);
    }
    let mut options = GatewayOptions::new("home");
    options.domain = Some("localhost".into());
    let gateway = Gateway::new(region, keyring, directory, options);
    let stop = CancellationToken::new();
    let (background, background_stop) = (gateway.clone(), stop.clone());
    tokio::spawn(async move { background.run_background(background_stop).await });
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("listening {}", listener.local_addr()?);
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    serve(listener, tls, gateway, stop).await?;
    Ok(())
}

fn tls(certificate: &str, key: &str) -> Result<Arc<rustls::ServerConfig>, Box<dyn Error>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}
