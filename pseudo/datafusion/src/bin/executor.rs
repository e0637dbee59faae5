//! One executor of several: opens the domain's key for itself, and pseudonymises its part of a table.
//!
//! ```sh
//! executor POLICY KEY OUT.parquet SHARES IN.parquet...
//! ```
//!
//! `KEY` is `DOMAIN.VERSION.key` of the folder that `pseudo keys create` made, `SHARES` names the files with shares of its root,
//! with commas between them.

use std::error::Error;
use std::process::ExitCode;

use custody::{RootKey, Share};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use policy::Policy;
use pseudo_datafusion::Transforms;

/// Partitions that are worked on at once.
const PARTITIONS: usize = 4;

fn open(policy: &Policy, key: &str, shares: &str) -> Result<Transforms, Box<dyn Error>> {
    let share = |path: &str| -> Result<Share, Box<dyn Error>> {
        Ok(Share::from_text(&std::fs::read_to_string(path)?)?)
    };
    let shares = shares.split(',').map(share).collect::<Result<Vec<_>, _>>()?;
    let master = RootKey::combine(&shares)?.unwrap(&std::fs::read(key)?)?;
    Ok(Transforms::new(policy, &master)?)
}

async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [policy, key, out, shares, inputs @ ..] = arguments else {
        return Err("executor POLICY KEY OUT.parquet SHARES IN.parquet...".into());
    };
    let policy = Policy::parse(&std::fs::read_to_string(policy)?)?;
    let transforms = open(&policy, key, shares)?;
    let session = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(PARTITIONS));
    let table = session.read_parquet(inputs.to_vec(), ParquetReadOptions::default()).await?;
    let one_file = DataFrameWriteOptions::new().with_single_file_output(true);
    transforms.select(table)?.write_parquet(out, one_file, None).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("executor: {error}");
            ExitCode::FAILURE
        }
    }
}
