//! The commands: parse, start what is measured, measure, print, write files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::cell::{Cell, select};
use crate::compare::compare;
use crate::connection::Authority;
use crate::content::Content;
use crate::duel::{Side, fight};
use crate::error::BenchError;
use crate::failover::{self, Break};
use crate::measure::{Runner, Settings};
use crate::pair;
use crate::peer::{Peer, peers_folder};
use crate::picture::svg;
use crate::process::load_average;
use crate::pseudo;
use crate::pseudo::program::Program;
use crate::region::{self, Binaries};
use crate::report::Report;
use crate::scratch::Scratch;
use crate::server::Server;
use crate::sign::Credentials;
use crate::startup;
use crate::table::{cell_row, report_table};
use crate::target::Target;

/// Measures Twinkeep and other S3 servers on this machine.
#[derive(Parser)]
#[command(name = "bench")]
pub struct Arguments {
    /// Worker threads of the client.
    #[arg(long, global = true, default_value_t = 1)]
    pub client_threads: usize,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Start a region of three nodes and run the cells; with --endpoint, run them against another S3 server.
    Region {
        /// Cells and files.
        #[command(flatten)]
        matrix: Matrix,
        /// Where things are.
        #[command(flatten)]
        places: Places,
        /// A server that runs already, as http://host:port.
        #[arg(long, requires = "access_key", requires = "secret_key")]
        endpoint: Option<String>,
        /// Its access key.
        #[arg(long, env = "AWS_ACCESS_KEY_ID")]
        access_key: Option<String>,
        /// Its secret; better given in the environment.
        #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
        secret_key: Option<String>,
        /// The region it signs for.
        #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
        sign_region: String,
        /// Its processes on this host, for CPU, memory and writes.
        #[arg(long, value_delimiter = ',')]
        pids: Vec<u32>,
        /// Copies it keeps, for bytes written per byte stored.
        #[arg(long, default_value_t = 3)]
        copies: u32,
        /// Its name in the report.
        #[arg(long, default_value = "endpoint")]
        name: String,
    },
    /// Start another object store with three nodes and three copies and run the same cells.
    Peer {
        /// Which.
        peer: Peer,
        /// Install it first when it is missing.
        #[arg(long)]
        install: bool,
        /// Cells and files.
        #[command(flatten)]
        matrix: Matrix,
        /// Where things are.
        #[command(flatten)]
        places: Places,
    },
    /// Compare reports: ratios of the first to the others, distance to the floor, bars.
    Compare {
        /// Reports; the first is ours.
        #[arg(required = true)]
        reports: Vec<PathBuf>,
        /// Fail when a bar does not hold.
        #[arg(long)]
        strict: bool,
    },
    /// Time from `twinkeep dev` to the first answered PUT, and of `twinkeep check`.
    StartUp {
        /// New regions to start.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Where things are.
        #[command(flatten)]
        places: Places,
    },
    /// Time from the loss of a leader to the next acknowledged write.
    Failover {
        /// Leaders to lose.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// How a leader is lost.
        #[arg(long, value_enum, default_value_t = Break::Kill)]
        by: Break,
        /// Write 1 MiB objects over 16 connections all the while.
        #[arg(long)]
        load: bool,
        /// Write the result to this file.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        places: Places,
    },
    /// How far the standby of a pair is behind under load, how fast it catches up, and what that costs, over links of different lengths.
    Pair {
        /// Round trips between the regions, ms.
        #[arg(long, value_delimiter = ',', default_values_t = [0, 30, 100])]
        round_trips: Vec<u64>,
        /// Length of each loaded window.
        #[arg(long, default_value_t = 15.0)]
        seconds: f64,
        /// Where things are.
        #[command(flatten)]
        places: Places,
    },
    /// How long writes wait when the other region of a pair takes them, planned and by force, over links of different lengths.
    Switches {
        /// Round trips between the regions, ms.
        #[arg(long, value_delimiter = ',', default_values_t = [0, 30, 100])]
        round_trips: Vec<u64>,
        /// Planned switches over each.
        #[arg(long, default_value_t = 50)]
        planned: u32,
        /// Forced switches over each, after every process of the primary was killed.
        #[arg(long, default_value_t = 50)]
        forced: u32,
        /// Fail when a bar does not hold.
        #[arg(long)]
        strict: bool,
        /// Where things are.
        #[command(flatten)]
        places: Places,
    },
    /// Speed of the pseudonymisation engine on one core: files through `pseudo run`, techniques alone, the risk of a table.
    Pseudo {
        /// Records of the files that are pseudonymised.
        #[arg(long, default_value_t = 500_000)]
        records: u64,
        /// Rows of the table whose risk is measured.
        #[arg(long, default_value_t = 10_000_000)]
        rows: u64,
        /// Times that each cell is measured.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Measure other programs too, on the same files.
        #[arg(long)]
        with_peers: bool,
        /// Install those that are missing first.
        #[arg(long, requires = "with_peers")]
        install: bool,
        /// Records of the files that other programs get.
        #[arg(long, default_value_t = 20_000)]
        peer_records: u64,
        /// Write the findings to this file.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Fail when a bar does not hold.
        #[arg(long)]
        strict: bool,
        /// Where things are.
        #[command(flatten)]
        places: Places,
    },
    /// Run two servers in turns and print ratios pair by pair.
    Duel {
        /// Pairs per cell.
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// region, region:FOLDER-OF-BINARIES, garage, garage-fsync, seaweed, or URL,ACCESS,SECRET[,PID+PID].
        first: String,
        /// The same for the other side.
        second: String,
        /// Cells and files.
        #[command(flatten)]
        matrix: Matrix,
        /// Where things are.
        #[command(flatten)]
        places: Places,
    },
}

/// Which cells, how long, and where the report goes.
#[derive(Args)]
pub struct Matrix {
    /// Cells, as in "put 4K, get c16"; all when empty.
    #[arg(long, default_value = "")]
    cells: String,
    /// Length of a cell's timed window.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Keys that LIST cells list.
    #[arg(long, default_value_t = 100_000)]
    list_keys: u64,
    /// Write the report to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw the report into this file.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// Where binaries, peers and data are.
#[derive(Args)]
pub struct Places {
    /// Folder for the servers' data; a new folder in it is removed afterwards. Default: in the build folder.
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Folder of `twinkeep` and `store-node`; beside this program when absent.
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Folder in which peers are installed. Default: `peers` in the build folder.
    #[arg(long)]
    peers: Option<PathBuf>,
}

/// Runs a command to its end.
pub async fn run(arguments: Arguments) -> Result<(), BenchError> {
    match arguments.command {
        Command::Region {
            matrix,
            places,
            endpoint,
            access_key,
            secret_key,
            sign_region,
            pids,
            copies,
            name,
        } => {
            let server = match endpoint {
                Some(endpoint) => Server::foreign(Target {
                    name,
                    authority: Authority::parse(&endpoint)?,
                    credentials: Arc::new(Credentials::new(
                        &access_key.unwrap_or_default(),
                        &secret_key.unwrap_or_default(),
                    )),
                    region: sign_region,
                    processes: pids,
                    metrics: Vec::new(),
                    copies,
                }),
                None => start("region", &places, 'a').await?,
            };
            run_matrix(server, &matrix).await
        }
        Command::Peer { peer, install, matrix, places } => {
            if install {
                peer.install(&peers_folder(places.peers.as_deref())?)?;
            }
            run_matrix(start(peer.name(), &places, 'a').await?, &matrix).await
        }
        Command::Compare { reports, strict } => compare_files(&reports, strict),
        Command::StartUp { rounds, places } => {
            let binaries = Binaries::find(places.binaries.as_deref())?;
            let (text, all_hold) = startup::measure(&binaries, places.scratch.as_deref(), rounds).await?;
            print!("{text}");
            verdict(all_hold, "a start or a check took too long")
        }
        Command::Failover { kills, by, load, json, places } => {
            let binaries = Binaries::find(places.binaries.as_deref())?;
            let scratch = Scratch::new(places.scratch.as_deref(), "failover")?;
            let plan = failover::Plan { losses: kills, by, with_load: load };
            let result = failover::measure(&binaries, scratch, plan).await?;
            print!("{}", result.table());
            if let Some(path) = json {
                result.write(&path)?;
            }
            verdict(result.holds(), "the election bars do not hold")
        }
        Command::Pair { round_trips, seconds, places } => {
            let binaries = Binaries::find(places.binaries.as_deref())?;
            let window = Duration::from_secs_f64(seconds.clamp(1.0, 600.0));
            let plan = pair::Plan { round_trips_ms: round_trips, window };
            let findings = pair::measure(&binaries, places.scratch.as_deref(), &plan).await?;
            print!("{}", pair::table(&findings));
            Ok(())
        }
        Command::Switches { round_trips, planned, forced, strict, places } => {
            let binaries = Binaries::find(places.binaries.as_deref())?;
            let plan = pair::switches::Plan { planned, forced };
            let scratch = places.scratch.as_deref();
            let findings = pair::switches::measure(&binaries, scratch, &round_trips, plan).await?;
            print!("{}", pair::switches::table(&findings));
            verdict(!strict || pair::switches::holds(&findings), "a bar on switches does not hold")
        }
        Command::Pseudo {
            records,
            rows,
            rounds,
            with_peers,
            install,
            peer_records,
            json,
            strict,
            places,
        } => {
            let program = Program::find(places.binaries.as_deref())?;
            let peers = if with_peers {
                let folder = peers_folder(places.peers.as_deref())?;
                Some(pseudo::peers::Plan { folder, installs: install, records: peer_records })
            } else {
                None
            };
            let plan = pseudo::Plan { records, rows, rounds, peers };
            let findings = pseudo::measure(&program, places.scratch.as_deref(), &plan).await?;
            print!("{}", findings.table());
            if let Some(path) = json {
                findings.write(&path)?;
            }
            verdict(!strict || findings.holds(), "a bar does not hold")
        }
        Command::Duel { rounds, first, second, matrix, places } => {
            let cells = matrix.cells()?;
            let mut sides = Vec::new();
            for (what, letter) in [(first, 'a'), (second, 'b')] {
                let server = start(&what, &places, letter).await?;
                let runner =
                    Runner::new(server.target.clone(), Content::default(), matrix.settings()).await?;
                sides.push(Side { server, runner });
            }
            let [first, second] = &mut sides[..] else { return Ok(()) };
            print!("{}", fight(first, second, &cells, rounds).await?);
            Ok(())
        }
    }
}

/// Starts or names a server: the words of `duel`.
async fn start(what: &str, places: &Places, letter: char) -> Result<Server, BenchError> {
    let scratch = |name: &str| Scratch::new(places.scratch.as_deref(), &format!("{name}-{letter}"));
    if let Some(peer) =
        [Peer::Garage, Peer::GarageFsync, Peer::Seaweed].into_iter().find(|peer| peer.name() == what)
    {
        return peer.start(&peers_folder(places.peers.as_deref())?, scratch(what)?).await;
    }
    if what == "region" {
        return region::start(&Binaries::find(places.binaries.as_deref())?, scratch("region")?);
    }
    if let Some(folder) = what.strip_prefix("region:") {
        let mut server = region::start(&Binaries::find(Some(Path::new(folder)))?, scratch("region")?)?;
        server.target.name = what.to_owned();
        return Ok(server);
    }
    endpoint(what).map(Server::foreign)
}

/// Reads `URL,ACCESS,SECRET[,PID+PID]`.
fn endpoint(text: &str) -> Result<Target, BenchError> {
    let bad = |detail: &str| BenchError::Argument {
        what: "server",
        detail: format!(
            "{detail}; write region, region:FOLDER, garage, garage-fsync, seaweed or URL,ACCESS,SECRET[,PID+PID]"
        ),
    };
    let parts: Vec<&str> = text.split(',').collect();
    let (url, access_key, secret_key, pids) = match parts[..] {
        [url, access_key, secret_key] => (url, access_key, secret_key, ""),
        [url, access_key, secret_key, pids] => (url, access_key, secret_key, pids),
        _ => return Err(bad("not a server this program knows")),
    };
    let pids =
        pids.split('+').filter(|word| !word.is_empty()).map(str::parse).collect::<Result<Vec<u32>, _>>();
    Ok(Target {
        name: url.to_owned(),
        authority: Authority::parse(url)?,
        credentials: Arc::new(Credentials::new(access_key, secret_key)),
        region: "us-east-1".to_owned(),
        processes: pids.map_err(|_| bad("a process id is not a number"))?,
        metrics: Vec::new(),
        copies: 3,
    })
}

impl Matrix {
    fn settings(&self) -> Settings {
        let seconds = self.seconds.clamp(0.1, 3_600.0);
        Settings { window: Duration::from_secs_f64(seconds), listed_keys: self.list_keys }
    }

    fn cells(&self) -> Result<Vec<Cell>, BenchError> {
        select(&self.cells)
    }
}

async fn run_matrix(server: Server, matrix: &Matrix) -> Result<(), BenchError> {
    let cells = matrix.cells()?;
    let mut runner = Runner::new(server.target.clone(), Content::default(), matrix.settings()).await?;
    let mut report = runner.begin_report();
    for cell in cells {
        server.check()?;
        let result = runner.cell(cell).await?;
        eprintln!("{}", cell_row(&result)[..6].join("  "));
        report.cells.push(result);
        // Written after every cell: a run that is cut short keeps what it has found.
        if let Some(path) = &matrix.json {
            report.write(path)?;
        }
    }
    print!("{}", report_table(&report));
    println!("load average now {:.1}", load_average());
    if let Some(path) = &matrix.svg {
        std::fs::write(path, svg(&report)).map_err(BenchError::file("write", path))?;
    }
    verdict(report.cells.iter().all(|cell| cell.different == 0), "answers differ from what was stored")
}

fn compare_files(paths: &[PathBuf], strict: bool) -> Result<(), BenchError> {
    let reports = paths.iter().map(|path| Report::read(path)).collect::<Result<Vec<_>, _>>()?;
    let Some((ours, peers)) = reports.split_first() else { return Ok(()) };
    let comparison = compare(ours, peers);
    print!("{}", comparison.text);
    let missed = comparison.verdicts.iter().any(|verdict| verdict.holds() == Some(false));
    verdict(!strict || !missed, "a bar does not hold")
}

fn verdict(holds: bool, detail: &str) -> Result<(), BenchError> {
    if holds { Ok(()) } else { Err(BenchError::Verdict { detail: detail.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_foreign_server_is_read_with_its_processes() {
        let target = endpoint("http://127.0.0.1:9000,a,s,11+12").unwrap();
        assert_eq!(target.processes, [11, 12]);
        assert!(endpoint("http://127.0.0.1:9000").is_err());
        assert!(endpoint("http://127.0.0.1:9000,a,s,x").is_err());
    }
}
