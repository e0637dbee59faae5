//! What is printed: one JSON object, or a table for people.

use crate::measure::Measured;
use crate::search::{Found, Node, Question};
use clap::ValueEnum as _;
use risk::AttributeFigures;
use risk::population::Model;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The object of `pseudo risk --json`.
pub(crate) fn object(measured: &Measured) -> Map<String, Value> {
    let identity = &measured.identity;
    let worst = Worst::of(measured);
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("records", identity.records.into());
    put("classes", identity.classes.into());
    put("k", identity.k.into());
    put("largest_class", identity.largest_class.into());
    put("l_distinct", json!(worst.as_ref().map(|worst| worst.l_distinct)));
    put("l_entropy", json!(worst.as_ref().map(|worst| worst.l_entropy)));
    put("t_equal", json!(worst.as_ref().map(|worst| worst.t_equal)));
    put("unique_share", identity.unique_share.into());
    put("average_risk", identity.average_risk.into());
    put("highest_risk", identity.highest_risk.into());
    put("prosecutor_risk", identity.highest_risk.into());
    put("journalist_risk_max", identity.highest_risk.into());
    put("marketer_risk", identity.average_risk.into());
    put("population_uniqueness", json!(measured.population.map(|found| found.share)));
    put("population_model", json!(measured.population.map(|found| model(found.model))));
    put("discernibility", whole(identity.discernibility));
    put("suppressed", identity.suppressed.into());
    put("temporary_file", measured.on_disk.into());
    put("values_not_utf8", measured.values_not_utf8.into());
    let attributes = measured.attributes.iter().map(|(name, figures)| (name.clone(), attribute(figures)));
    put("sensitive", Value::Object(attributes.collect()));
    object
}

/// Minimal nodes that are printed, at most: the best of them, in order.
const MINIMAL_PRINTED_MAX: usize = 1000;

/// Adds what a search found to the object of the table as the best levels make it.
pub(crate) fn add_search(object: &mut Map<String, Value>, question: &Question, found: &Found) {
    let node = |node: &Node| {
        json!({
            "levels": levels(question, node),
            "k": node.figures.k,
            "classes": node.figures.classes,
            "suppressed": node.figures.suppressed,
            "entropy_loss_bits": node.entropy,
            "precision": node.precision,
            "discernibility": whole(node.figures.discernibility),
        })
    };
    let minimal: Vec<Value> = found.minimal.iter().take(MINIMAL_PRINTED_MAX).map(node).collect();
    object.insert("levels".to_owned(), levels(question, &found.best));
    let search = json!({
        "metric": question.metric.to_possible_value().map(|value| value.get_name().to_owned()),
        "best": node(&found.best),
        "minimal": minimal,
        "minimal_count": found.minimal.len(),
        "nodes": found.nodes,
        "judged": found.judged,
        "suppressed_max": found.suppressed_max,
    });
    object.insert("search".to_owned(), search);
}

fn levels(question: &Question, node: &Node) -> Value {
    let names = question.plan.quasi.iter().map(|quasi| quasi.name.clone());
    Value::Object(names.zip(node.levels.iter().map(|level| Value::from(*level))).collect())
}

/// What a search found, for people.
pub(crate) fn search_text(question: &Question, found: &Found) -> String {
    let mut text = String::new();
    let names = question.plan.quasi.iter().zip(&question.hierarchies).zip(&found.best.levels);
    let lines: Vec<(&str, String, &str)> = names
        .map(|((quasi, hierarchy), level)| {
            let height = hierarchy.as_ref().map_or(0, |hierarchy| hierarchy.height());
            (quasi.name.as_str(), format!("{level} of {height}"), "")
        })
        .collect();
    let _ = writeln!(text, "best levels\n{}", aligned(&lines));
    let best = &found.best;
    let lines = [
        ("entropy loss", format!("{:.1}", best.entropy), "bits lost in all cells"),
        ("precision", decimal(best.precision), "1 is untouched, 0 is the top of every hierarchy"),
        ("minimal", found.minimal.len().to_string(), "combinations with none finer that will do"),
        ("judged", found.judged.to_string(), "combinations counted"),
        ("combinations", found.nodes.to_string(), "of levels"),
    ];
    text + &aligned(&lines)
}

/// A whole number, or the nearest floating-point number when JSON readers could not take it as one.
fn whole(number: u128) -> Value {
    u64::try_from(number).map_or_else(|_| Value::from(number as f64), Value::from)
}

fn model(model: Model) -> &'static str {
    match model {
        Model::Counted => "counted",
        Model::Zayatz => "zayatz",
        Model::Pitman => "pitman",
    }
}

fn attribute(figures: &AttributeFigures) -> Value {
    let recursive: Vec<Value> =
        figures.recursive_c.iter().zip(2..).map(|(c, l)| json!({ "l": l, "c_above": c })).collect();
    json!({
        "values": figures.values,
        "l_distinct": figures.l_distinct,
        "l_entropy": figures.l_entropy,
        "l_recursive": recursive,
        "t_equal": figures.t_equal,
        "t_ordered": figures.t_ordered,
        "alpha": figures.alpha,
        "beta": figures.beta,
        "delta": figures.delta,
    })
}

/// The worst figures over all sensitive attributes.
struct Worst {
    l_distinct: u64,
    l_entropy: f64,
    t_equal: f64,
}

impl Worst {
    fn of(measured: &Measured) -> Option<Self> {
        let figures = || measured.attributes.iter().map(|(_, figures)| figures);
        Some(Self {
            l_distinct: figures().map(|figures| figures.l_distinct).min()?,
            l_entropy: figures().map(|figures| figures.l_entropy).fold(f64::INFINITY, f64::min),
            t_equal: figures().map(|figures| figures.t_equal).fold(0.0, f64::max),
        })
    }
}

/// The same for people.
pub(crate) fn text(measured: &Measured) -> String {
    let identity = &measured.identity;
    let mut lines = vec![
        ("records", identity.records.to_string(), ""),
        ("classes", identity.classes.to_string(), "records that agree in every quasi-identifier"),
        ("k", identity.k.to_string(), "records in the smallest class"),
        ("unique share", share(identity.unique_share), "records alone in their class"),
        ("average risk", share(identity.average_risk), "classes / records"),
        ("highest risk", share(identity.highest_risk), "1 / k"),
        ("discernibility", identity.discernibility.to_string(), "sum of squares of class sizes"),
    ];
    if let Some(found) = &measured.population {
        lines.push(("population", share(found.share), "people alone in their class, estimated"));
    }
    if identity.suppressed > 0 {
        lines.push(("suppressed", identity.suppressed.to_string(), "records left out"));
    }
    if measured.values_not_utf8 > 0 {
        lines.push(("not UTF-8", measured.values_not_utf8.to_string(), "values compared as bytes"));
    }
    let mut text = aligned(&lines);
    for (name, figures) in &measured.attributes {
        let _ = write!(text, "\nsensitive {name:?}\n{}", aligned(&attribute_lines(figures)));
    }
    text
}

fn attribute_lines(figures: &AttributeFigures) -> Vec<(&'static str, String, &'static str)> {
    let mut lines = vec![
        ("l, distinct", figures.l_distinct.to_string(), "different values in the class with fewest"),
        ("l, entropy", decimal(figures.l_entropy), "e to the smallest entropy of a class"),
    ];
    if let Some(c) = figures.recursive_c.first() {
        lines.push(("c, recursive", decimal(*c), "(c, 2)-diverse for every c above"));
    }
    lines.push(("t, equal", decimal(figures.t_equal), "largest variational distance from the whole table"));
    if let Some(t) = figures.t_ordered {
        lines.push(("t, ordered", decimal(t), "largest earth mover's distance by rank"));
    }
    lines.push(("alpha", decimal(figures.alpha), "largest share of one value in a class"));
    lines
}

fn aligned(lines: &[(&str, String, &str)]) -> String {
    let width = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or(0);
    let names = width(&mut lines.iter().map(|line| line.0.chars().count()));
    let figures = width(&mut lines.iter().map(|line| line.1.chars().count()));
    let mut text = String::new();
    for (name, figure, note) in lines {
        let line = format!("{name:names$}  {figure:>figures$}  {note}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn share(share: f64) -> String {
    format!("{:.4} %", share * 100.0)
}

fn decimal(number: f64) -> String {
    format!("{number:.4}")
}
