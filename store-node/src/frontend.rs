//! The gateway's part of a process: opens the root key, the region's keys and the directory, then serves S3.

use crate::{
    config::{ForwardConfig, GatewayConfig, Limits, join},
    gateway::{
        Gateway, GatewayOptions,
        directory::{Directory, DirectoryStale},
        forward::{ForwardOptions, ForwardWaits},
        keyring::{Keyring, KeyringError, KeyringOptions},
        serve,
    },
    root_key::{self, RootKeyError},
};
use envelope::{RegionName, RootWrap};
use replication::{
    region::{Region, RegionError},
    router::Router,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};
use wire::TenantId;

/// Pause before a standby looks for its primary's keys again.
const KEYS_PAUSE: Duration = Duration::from_millis(100);

/// Why a gateway did not start.
#[derive(Debug, Error)]
pub enum FrontendError {
    /// The root key is not to be had.
    #[error("the root key cannot be opened")]
    RootKey(#[from] RootKeyError),
    /// The region's keys are not to be had.
    #[error("the region's keys cannot be opened")]
    Keyring(#[from] KeyringError),
    /// Principals and buckets cannot be read.
    #[error("the region's directory cannot be read")]
    Directory(#[from] DirectoryStale),
    /// The region's name cannot stand in a key.
    #[error("the region's name cannot stand in a key")]
    RegionName,
    /// The S3 certificate or key cannot be used.
    #[error("the S3 certificate {} or its key {} cannot be used", certificate.display(), key.display())]
    Certificate {
        /// The certificate chain.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The authority of the other region's endpoints cannot be used.
    #[error("the authority of the other region's S3 endpoints, {}, cannot be used", path.display())]
    Authority {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An address cannot be listened on.
    #[error("cannot serve S3 on {address}: is another process using it?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A task ended before its time.
    #[error("a start-up task was cut short")]
    Cut,
}

/// A running gateway.
pub(crate) struct Frontend {
    pub(crate) gateway: Gateway,
}

impl Frontend {
    /// Opens everything and serves until `stop`.
    pub(crate) async fn start(
        config: &GatewayConfig,
        limits: &Limits,
        identity: &join::MemberIdentity,
        router: Arc<Router>,
        tracker: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, FrontendError> {
        let tls = config.listen_tls.map(|_| tls(config)).transpose()?;
        let forward = config.forward.as_ref().map(forward).transpose()?;
        let root_config = config.root_key.clone();
        // argon2 takes its time on purpose, and a token may be slow
        let root = tokio::task::spawn_blocking(move || root_key::open(&root_config))
            .await
            .map_err(|_| FrontendError::Cut)??;
        let region: Arc<dyn Region> = router;
        let options = KeyringOptions {
            deployment: identity.descriptor.deployment,
            region: RegionName::parse(identity.descriptor.key_region()).ok_or(FrontendError::RegionName)?,
            tenant: TenantId(1),
        };
        let keyring = Arc::new(open_keyring(&region, &*root, options).await?);
        let directory = Arc::new(Directory::open(region.clone(), keyring.clone()).await?);
        let mut options = GatewayOptions::new(identity.descriptor.region.clone());
        options.domain = config.domain.clone();
        options.pair_domain = config.pair_domain.clone();
        options.forward = forward;
        options.body_bytes_max = usize::try_from(limits.ingest_bytes).unwrap_or(usize::MAX);
        options.connections_max = limits.connections as usize;
        let gateway = Gateway::new(region, keyring, directory, options);
        let background = gateway.clone();
        let background_stop = stop.clone();
        tracker.spawn(async move { background.run_background(background_stop).await });
        let listeners = [(config.listen_plain, None), (config.listen_tls, tls)];
        for (address, tls) in listeners {
            let Some(address) = address else { continue };
            let listener = TcpListener::bind(address)
                .await
                .map_err(|source| FrontendError::Listen { address, source })?;
            let (gateway, stop) = (gateway.clone(), stop.clone());
            tracker.spawn(async move {
                if let Err(error) = serve::serve(listener, tls, gateway, stop).await {
                    error!(%address, error = &error as &dyn std::error::Error, "S3 is no longer served");
                }
            });
        }
        Ok(Arc::new(Self { gateway }))
    }
}

/// Opens the region's keys; a standby waits until its primary's have come.
async fn open_keyring(
    region: &Arc<dyn Region>,
    root: &dyn RootWrap,
    options: KeyringOptions,
) -> Result<Keyring, KeyringError> {
    let mut told = false;
    loop {
        match Keyring::open(region.clone(), root, options.clone()).await {
            Err(KeyringError::Region { source: RegionError::NotPrimary { .. }, .. }) => {
                if !std::mem::replace(&mut told, true) {
                    info!("waits for the keys of the other region");
                }
                tokio::time::sleep(KEYS_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

fn tls(config: &GatewayConfig) -> Result<Arc<ServerConfig>, FrontendError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| FrontendError::Certificate {
        certificate: config.tls_certificate.clone(),
        key: config.tls_private_key.clone(),
        source,
    };
    let chain = CertificateDer::pem_file_iter(&config.tls_certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(Box::new(error)))?;
    let key =
        PrivateKeyDer::from_pem_file(&config.tls_private_key).map_err(|error| failed(Box::new(error)))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| failed(Box::new(error)))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| failed(Box::new(error)))?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(server))
}

fn forward(config: &ForwardConfig) -> Result<ForwardOptions, FrontendError> {
    let tls = config.authority.as_deref().map(trusting).transpose()?;
    let (endpoints, waits) = (config.endpoints.clone(), ForwardWaits::default());
    Ok(ForwardOptions { reads: config.reads, endpoints, tls: tls.map(Arc::new), waits })
}

/// TLS towards servers whose certificates one of the authorities in the file signed.
fn trusting(path: &Path) -> Result<ClientConfig, FrontendError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| FrontendError::Authority {
        path: path.to_owned(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| failed(Box::new(error)))? {
        let certificate = certificate.map_err(|error| failed(Box::new(error)))?;
        roots.add(certificate).map_err(|error| failed(Box::new(error)))?;
    }
    if roots.is_empty() {
        return Err(failed("there is no certificate in it".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| failed(Box::new(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(client)
}
