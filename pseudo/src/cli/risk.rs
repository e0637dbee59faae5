//! `pseudo risk`: what it takes, and from there to measuring.

use super::output::Output;
use crate::limits::Limits;
use crate::measure::{self, Plan, Quasi};
use crate::search::{self, Metric, Question, Suppression};
use crate::table::Table;
use crate::{PseudoError, hierarchies, report};
use clap::Args;
use risk::Hierarchy;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

/// Memory that a measurement takes when nothing else is said.
const MEMORY_DEFAULT: &str = "1GiB";
/// Less than this leaves no room to merge in.
const MEMORY_BYTES_MIN: u64 = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct RiskArguments {
    /// The table: CSV with a header line; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Between fields: one character, or tab
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = parse_delimiter)]
    delimiter: u8,
    /// Columns that somebody outside may know about a person
    #[arg(long, value_name = "COLUMN,...", required = true, value_delimiter = ',')]
    quasi: Vec<String>,
    /// Columns that nobody may learn about a person
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    sensitive: Vec<String>,
    /// A folder of generalisation hierarchies: COLUMN.csv or ..._COLUMN.csv, fields separated by semicolons
    #[arg(long, value_name = "DIR")]
    hierarchies: Option<PathBuf>,
    /// How coarse to make each column before measuring; 0 leaves it as it is
    #[arg(long, value_name = "COLUMN=LEVEL,...", value_delimiter = ',', value_parser = parse_level)]
    levels: Vec<(String, usize)>,
    /// Find the best levels instead of being given them: k=N and suppress=N records or a share such as 4% or 0.04, also
    /// l=N different sensitive values and t=N distance at most
    #[arg(long, value_name = "NAME=VALUE,...", value_delimiter = ',', value_parser = parse_criterion, requires = "hierarchies")]
    search: Vec<Criterion>,
    /// By what the best levels are chosen
    #[arg(long, value_enum, default_value_t, requires = "search")]
    metric: Metric,
    /// People in the population that the table is a random sample of: estimates how many of them are unique
    #[arg(long, value_name = "PEOPLE")]
    population: Option<u64>,
    /// Memory to work in; what does not fit goes through a temporary file
    #[arg(long, value_name = "SIZE", default_value = MEMORY_DEFAULT, value_parser = parse_bytes)]
    memory: u64,
    /// Where temporary files go [default: the system's folder for them]
    #[arg(long, value_name = "DIR")]
    temporary: Option<PathBuf>,
}

pub(super) fn run(arguments: &RiskArguments, output: &Output) -> Result<(), PseudoError> {
    let plan = plan(arguments)?;
    if arguments.search.is_empty() {
        let measured = measure::measure(&plan)?;
        return output.either(Value::Object(report::object(&measured)), || report::text(&measured));
    }
    if plan.table.is_stream() {
        return Err(PseudoError::usage("a search reads the table twice, standard input once", "name a file"));
    }
    let question = question(arguments, plan)?;
    let found = search::search(&question)?;
    let measured = search::measure(&question, &found)?;
    let mut object = report::object(&measured);
    report::add_search(&mut object, &question, &found);
    output.either(Value::Object(object), || {
        format!("{}\n{}", report::search_text(&question, &found), report::text(&measured))
    })
}

/// What is searched: hierarchies of all quasi-identifiers that have one, and the limits.
fn question(arguments: &RiskArguments, plan: Plan) -> Result<Question, PseudoError> {
    let mut question = Question {
        hierarchies: Vec::new(),
        fixed: Vec::new(),
        limits: Limits::NONE,
        suppression: Suppression::Count(0),
        metric: arguments.metric,
        plan,
    };
    let levels = levels(arguments)?;
    for name in &arguments.quasi {
        let folder = arguments.hierarchies.as_deref();
        let found = folder.map(|folder| hierarchies::read(folder, name)).transpose()?.flatten();
        if let Some((path, hierarchy)) = &found {
            let nested = hierarchy.check_nested();
            nested.map_err(|source| PseudoError::Hierarchy { path: path.clone(), source })?;
        }
        question.fixed.push(levels.contains_key(name.as_str()));
        question.hierarchies.push(found.map(|(_, hierarchy)| Rc::new(hierarchy)));
    }
    for criterion in &arguments.search {
        match *criterion {
            Criterion::K(k) => question.limits.k = k,
            Criterion::L(l) => question.limits.l = l,
            Criterion::T(t) => question.limits.t = t,
            Criterion::Suppress(suppression) => question.suppression = suppression,
        }
    }
    let Limits { l, t, .. } = question.limits;
    if (l > 1 || t < 1.0) && question.plan.sensitive.is_empty() {
        return Err(PseudoError::usage("l and t are about sensitive columns", "name them with --sensitive"));
    }
    if t < 1.0 && !matches!(question.suppression, Suppression::Count(0)) {
        let problem = "t cannot be searched for while records may be left out";
        return Err(PseudoError::usage(problem, "leave suppress out, or t"));
    }
    Ok(question)
}

fn plan(arguments: &RiskArguments) -> Result<Plan, PseudoError> {
    let memory_bytes = arguments.memory.max(MEMORY_BYTES_MIN);
    let named: Vec<&String> = arguments.quasi.iter().chain(&arguments.sensitive).collect();
    if let Some((index, name)) = named.iter().enumerate().find(|(index, name)| named[..*index].contains(name))
    {
        let kind = if index < arguments.quasi.len() { "--quasi" } else { "--sensitive" };
        return Err(PseudoError::usage(
            format!("column {name:?} is named again by {kind}"),
            "name each column once",
        ));
    }
    let levels = levels(arguments)?;
    let mut quasi = Vec::new();
    for name in &arguments.quasi {
        let level = levels.get(name.as_str()).copied().unwrap_or(0);
        let hierarchy = if level > 0 { Some(hierarchy(arguments, name, level)?) } else { None };
        quasi.push(Quasi { name: name.clone(), level, hierarchy });
    }
    Ok(Plan {
        table: Table { path: arguments.file.clone(), delimiter: arguments.delimiter },
        quasi,
        sensitive: arguments.sensitive.clone(),
        limits: Limits::NONE,
        population: arguments.population,
        memory_bytes: usize::try_from(memory_bytes).unwrap_or(usize::MAX),
        temporary: arguments.temporary.clone().unwrap_or_else(std::env::temp_dir),
    })
}

fn levels(arguments: &RiskArguments) -> Result<HashMap<&str, usize>, PseudoError> {
    let mut levels = HashMap::new();
    for (name, level) in &arguments.levels {
        if !arguments.quasi.contains(name) {
            let problem = format!("--levels names {name:?}, which is no quasi-identifier");
            return Err(PseudoError::usage(problem, "name it with --quasi as well"));
        }
        if levels.insert(name.as_str(), *level).is_some() {
            return Err(PseudoError::usage(
                format!("--levels names {name:?} twice"),
                "give each column one level",
            ));
        }
    }
    Ok(levels)
}

fn hierarchy(arguments: &RiskArguments, name: &str, level: usize) -> Result<Rc<Hierarchy>, PseudoError> {
    let Some(folder) = &arguments.hierarchies else {
        let problem = format!("level {level} of column {name:?} needs a hierarchy");
        return Err(PseudoError::usage(problem, "name the folder of hierarchies with --hierarchies DIR"));
    };
    let (_, hierarchy) = hierarchies::read(folder, name)?.ok_or_else(|| {
        let problem = format!("{} has no hierarchy of column {name:?}", folder.display());
        PseudoError::usage(problem, format!("its file is {name}.csv or ends with _{name}.csv"))
    })?;
    if level > hierarchy.height() {
        let problem = format!("column {name:?} has no level {level}");
        return Err(PseudoError::usage(
            problem,
            format!("its hierarchy has levels 0 to {}", hierarchy.height()),
        ));
    }
    Ok(Rc::new(hierarchy))
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" | "\t" => Ok(b'\t'),
        _ => match text.as_bytes() {
            [one] if one.is_ascii() && !matches!(one, b'"' | b'\r' | b'\n' | 0) => Ok(*one),
            _ => {
                Err("a delimiter is one ASCII character other than a quote or a line end, or tab".to_owned())
            }
        },
    }
}

fn parse_level(text: &str) -> Result<(String, usize), String> {
    let pair = text.rsplit_once('=').filter(|(name, _)| !name.is_empty());
    let (name, level) = pair.ok_or("a level is given as COLUMN=LEVEL")?;
    let level = level.parse().map_err(|_| "a level is a whole number from 0 on".to_owned())?;
    Ok((name.to_owned(), level))
}

/// One limit of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Criterion {
    K(u64),
    L(u64),
    T(f64),
    Suppress(Suppression),
}

fn parse_criterion(text: &str) -> Result<Criterion, String> {
    let (name, value) = text.split_once('=').ok_or("a limit is given as NAME=VALUE")?;
    let whole =
        || value.parse().ok().filter(|number| *number > 0).ok_or("k and l are whole numbers from 1 on");
    let share = |text: &str| text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    match name {
        "k" => Ok(Criterion::K(whole()?)),
        "l" => Ok(Criterion::L(whole()?)),
        "t" => Ok(Criterion::T(share(value).ok_or("t is a number from 0 to 1")?)),
        "suppress" => {
            let percent = value.strip_suffix('%').and_then(|percent| percent.parse::<f64>().ok());
            let percent = percent.map(|percent| percent / 100.0).filter(|share| (0.0..=1.0).contains(share));
            let count = value.parse().ok().map(Suppression::Count);
            let share = || percent.or_else(|| share(value)).map(Suppression::Share);
            let advice = "suppress is a whole number of records, or a share such as 4% or 0.04";
            Ok(Criterion::Suppress(count.or_else(share).ok_or(advice)?))
        }
        _ => Err("the limits of a search are k, l, t and suppress".to_owned()),
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[digits..].trim().to_ascii_lowercase().trim_end_matches("ib") {
        "" | "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err("a size is a number with KiB, MiB, GiB or TiB".to_owned()),
    };
    let number: Option<u64> = text[..digits].parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "a size is a number of bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_levels_and_delimiters_are_read() {
        assert_eq!(parse_bytes("512"), Ok(512));
        assert_eq!(parse_bytes("64MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("2G"), Ok(2 << 30));
        assert!(
            parse_bytes("a lot").is_err() && parse_bytes("99999999TiB").is_err() && parse_bytes("").is_err()
        );
        assert_eq!(parse_level("a=b=3"), Ok(("a=b".to_owned(), 3)));
        assert!(parse_level("a").is_err() && parse_level("=1").is_err() && parse_level("a=-1").is_err());
        assert_eq!(parse_criterion("k=5"), Ok(Criterion::K(5)));
        assert_eq!(parse_criterion("suppress=1"), Ok(Criterion::Suppress(Suppression::Count(1))));
        assert_eq!(parse_criterion("suppress=1.0"), Ok(Criterion::Suppress(Suppression::Share(1.0))));
        assert_eq!(parse_criterion("suppress=4%"), Ok(Criterion::Suppress(Suppression::Share(0.04))));
        for wrong in
            ["k", "k=0", "l=1.5", "t=2", "t=NaN", "suppress=-1", "suppress=101%", "suppress=2.5", "m=1"]
        {
            assert!(parse_criterion(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_delimiter(";"), Ok(b';'));
        assert_eq!(parse_delimiter("tab"), Ok(b'\t'));
        assert!(
            parse_delimiter("\"").is_err() && parse_delimiter("ab").is_err() && parse_delimiter("ä").is_err()
        );
    }
}
