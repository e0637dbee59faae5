//! Numbers made coarser: buckets of one width or between edges, and coding at the top and bottom.

use std::io::Write;

use crate::{Clear, Decimal, Kind, TransformError};

/// Edges of one field: as many bands as anyone reads.
pub const BUCKET_EDGES_MAX: usize = 1000;

const TECHNIQUE: &str = "bucket";

/// What a number falls into: the text `[20,30)`, which includes 20 and not 30.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bucket {
    /// Buckets of one width, from zero in both directions.
    Width(Decimal),
    /// Buckets between edges, open below the first and above the last.
    Edges(Vec<Decimal>),
}

/// Numbers beyond a limit become the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clamp {
    least: Option<Decimal>,
    most: Option<Decimal>,
}

impl Bucket {
    /// Buckets of one width.
    pub fn width(width: Decimal) -> Result<Self, TransformError> {
        if width.is_positive() {
            return Ok(Self::Width(width));
        }
        Err(TransformError::Parameter { technique: TECHNIQUE, problem: "the width is above zero" })
    }

    /// Buckets between ascending edges.
    pub fn edges(edges: Vec<Decimal>) -> Result<Self, TransformError> {
        let ascending = edges.windows(2).all(|pair| pair[0] < pair[1]);
        if ascending && (1..=BUCKET_EDGES_MAX).contains(&edges.len()) {
            return Ok(Self::Edges(edges));
        }
        Err(TransformError::Parameter { technique: TECHNIQUE, problem: "1 to 1,000 edges ascend, each once" })
    }

    /// Appends the bucket of a number.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        let Some(number) = decimal(TECHNIQUE, value)? else { return Ok(Kind::Null) };
        // writing into memory does not fail
        let _ = match self {
            Self::Width(width) => {
                let from = number.floor_to(*width);
                write!(out, "[{from},{})", from.plus(*width))
            }
            Self::Edges(edges) => {
                let after = edges.partition_point(|edge| *edge <= number);
                match (after.checked_sub(1).map(|before| edges[before]), edges.get(after)) {
                    (Some(from), Some(to)) => write!(out, "[{from},{to})"),
                    (Some(from), None) => write!(out, "[{from},)"),
                    (None, Some(to)) => write!(out, "(,{to})"),
                    (None, None) => unreachable!("there is an edge"),
                }
            }
        };
        Ok(Kind::Text)
    }
}

impl Clamp {
    /// Limits, of which one may be absent.
    pub fn new(least: Option<Decimal>, most: Option<Decimal>) -> Result<Self, TransformError> {
        let ordered = match (least, most) {
            (Some(least), Some(most)) => least <= most,
            (None, None) => false,
            _ => true,
        };
        if ordered {
            return Ok(Self { least, most });
        }
        let problem = "one limit at least, and the lower one first";
        Err(TransformError::Parameter { technique: "top-code", problem })
    }

    /// Appends the number, or the limit beyond which it is.
    pub fn apply(&self, value: &Clear<'_>, out: &mut Vec<u8>) -> Result<Kind, TransformError> {
        let Some(mut number) = decimal("top-code", value)? else { return Ok(Kind::Null) };
        number = self.least.map_or(number, |least| number.max(least));
        number = self.most.map_or(number, |most| number.min(most));
        let _ = write!(out, "{number}");
        Ok(Kind::Number)
    }
}

fn decimal(technique: &'static str, value: &Clear<'_>) -> Result<Option<Decimal>, TransformError> {
    match value {
        Clear::Null => Ok(None),
        // CSV has text only
        Clear::Number(text) | Clear::Text(text) => Decimal::parse(text).map(Some),
        Clear::Boolean(_) => Err(TransformError::Type { technique }),
    }
}
