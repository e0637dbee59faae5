//! One field's rule: what becomes of it, with parameters that were checked.

use std::collections::HashMap;
use std::sync::Arc;

use custody::{ClassName, DatasetName, MasterKey, Purpose, Scope};
use transform::{
    Alphabet, Bucket, Clamp, DOMAIN_MIN, DateShift, Decimal, FormatPreserving, IpPrefix, Mask, Normaliser,
    People, RareCounter, RareValues, SHIFT_DAYS_MAX, SivToken, Technique, TextPrefix, TimeUnit, Title, Token,
    TokenForm, TransformError, VaultToken,
};

use crate::file::FieldFile;
use crate::sections::{class, parameter};
use crate::{Ladder, Path, PolicyError};

/// What a value is turned into, before keys are there.
#[derive(Clone)]
pub enum Spec {
    /// `prf`
    Token(TokenForm),
    /// `prf+vault`
    Vault(TokenForm),
    /// `aes-siv`
    Siv,
    /// `ff1`
    FormatPreserving {
        /// Its characters.
        alphabet: Alphabet,
        /// Fewest values of one length.
        domain_min: u64,
    },
    /// `date-shift`
    DateShift {
        /// The field that says whose record it is.
        by: Path,
        /// Most days to either side.
        days_max: u32,
        /// How exact the date stays.
        unit: TimeUnit,
    },
    /// `null-if-rare`
    NullIfRare {
        /// Records of a value that is kept.
        count_min: u32,
    },
    /// `truncate` to a unit of time
    TruncateTime(TimeUnit),
    /// `truncate` to a number of characters
    TruncateText(TextPrefix),
    /// `bucket`
    Bucket(Bucket),
    /// `top-code`
    Clamp(Clamp),
    /// `ip-prefix`
    IpPrefix(IpPrefix),
    /// `mask`
    Mask(Mask),
    /// `hierarchy`
    Hierarchy(Ladder),
    /// `classify`
    Title(Title),
    /// `constant`
    Constant(String),
    /// `keep`
    Keep,
    /// `drop`
    Drop,
}

impl Spec {
    /// Whether it makes tokens of values of a class.
    pub fn is_token(&self) -> bool {
        matches!(self, Self::Token(_) | Self::Vault(_) | Self::Siv | Self::FormatPreserving { .. })
    }
}

/// What happens with a null, and with a field that is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNull {
    /// It is null in the export.
    Keep,
    /// The record is bad.
    Refuse,
}

/// What happens with a value that its technique cannot treat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalid {
    /// The record is bad.
    Refuse,
    /// It is null in the export, and counted.
    Null,
}

/// What a column holds in formats that ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Text.
    Text,
    /// Whole numbers of 64 bits.
    Integer,
    /// Numbers of double precision.
    Number,
    /// True or false.
    Boolean,
}

/// One field's rule.
#[derive(Clone)]
pub struct Rule {
    /// Where the value is.
    pub path: Path,
    /// Where it goes.
    pub output_path: Path,
    /// What becomes of it.
    pub spec: Spec,
    /// The name of the technique.
    pub technique: String,
    /// The class whose key it takes.
    pub class: ClassName,
    /// How far equal values stay equal.
    pub scope: Scope,
    /// What comes before the technique.
    pub normalisers: Vec<Normaliser>,
    /// What happens with nulls.
    pub on_null: OnNull,
    /// What happens with values that are not as they should be.
    pub on_invalid: OnInvalid,
    /// What the column holds.
    pub column: Column,
    /// Longest value, bytes.
    pub bytes_max: usize,
    /// Why a field that looks identifying is kept.
    pub because: Option<String>,
    /// About how many values there are.
    pub cardinality: Option<u64>,
}

/// Longest value where a rule says nothing, bytes: four times the longest e-mail address.
const BYTES_DEFAULT: usize = 1024;
/// 64 KiB: what is longer is a document, not a field.
const BYTES_MAX: usize = 64 << 10;
const CONSTANT_BYTES_MAX: usize = 256;

/// Names, and what belongs to each.
type NamedLists = Vec<(String, Vec<String>)>;

/// The parameters of one rule, taken one by one.
struct Parameters<'a> {
    place: &'a str,
    table: toml::Table,
}

impl Parameters<'_> {
    fn text(&mut self, key: &str) -> Result<Option<String>, PolicyError> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(toml::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(PolicyError::value(self.place, format!("{key} is text"))),
        }
    }

    fn number<T: TryFrom<i64>>(&mut self, key: &str) -> Result<Option<T>, PolicyError> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(toml::Value::Integer(number)) => {
                let outside = || PolicyError::value(self.place, format!("{key} is out of range"));
                T::try_from(number).map(Some).map_err(|_| outside())
            }
            Some(_) => Err(PolicyError::value(self.place, format!("{key} is a whole number"))),
        }
    }

    fn decimal_of(&self, key: &str, value: &toml::Value) -> Result<Decimal, PolicyError> {
        let text = match value {
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            _ => return Err(PolicyError::value(self.place, format!("{key} is a number"))),
        };
        Decimal::parse(&text).map_err(|error| parameter(self.place, error))
    }

    fn decimal(&mut self, key: &str) -> Result<Option<Decimal>, PolicyError> {
        self.table.remove(key).map(|value| self.decimal_of(key, &value)).transpose()
    }

    fn decimals(&mut self, key: &str) -> Result<Option<Vec<Decimal>>, PolicyError> {
        match self.table.remove(key) {
            None => Ok(None),
            Some(toml::Value::Array(values)) => {
                values.iter().map(|value| self.decimal_of(key, value)).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(PolicyError::value(self.place, format!("{key} is a list of numbers"))),
        }
    }

    /// Lists of texts, each a name and what belongs to it.
    fn lists(&mut self, key: &str) -> Result<Option<NamedLists>, PolicyError> {
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        let wrong = |_| PolicyError::value(self.place, format!("{key} are lists: a name, then words"));
        let lists: Vec<Vec<String>> = value.try_into().map_err(wrong)?;
        let named = lists.into_iter().map(|mut list| {
            let words = list.split_off(list.len().min(1));
            (list.pop().unwrap_or_default(), words)
        });
        Ok(Some(named.collect()))
    }

    fn unit(&mut self, key: &str) -> Result<Option<TimeUnit>, PolicyError> {
        let Some(name) = self.text(key)? else { return Ok(None) };
        let unit = match name.as_str() {
            "second" => TimeUnit::Second,
            "minute" => TimeUnit::Minute,
            "hour" => TimeUnit::Hour,
            "day" => TimeUnit::Day,
            "month" => TimeUnit::Month,
            "quarter" => TimeUnit::Quarter,
            "year" => TimeUnit::Year,
            _ => {
                let units = "second, minute, hour, day, month, quarter, year";
                return Err(PolicyError::value(self.place, format!("{key} is one of {units}")));
            }
        };
        Ok(Some(unit))
    }

    fn missing(&self, key: &str) -> PolicyError {
        PolicyError::value(self.place, format!("this technique needs {key}"))
    }

    /// Refuses what no technique took.
    fn finish(self) -> Result<(), PolicyError> {
        let Some(key) = self.table.keys().next() else { return Ok(()) };
        if ["key", "secret", "salt", "password", "seed"].contains(&key.as_str()) {
            return Err(PolicyError::value(self.place, "keys are never in a policy: name a class instead"));
        }
        Err(PolicyError::value(self.place, format!("the technique does not take {key:?}")))
    }
}

impl Rule {
    pub(crate) fn read(file: FieldFile, hierarchies: &HashMap<String, String>) -> Result<Self, PolicyError> {
        let place = file.path.clone();
        let wrong = |problem: &str| PolicyError::value(&place, problem);
        let path = |text: &str| Path::parse(text).map_err(wrong);
        let mut parameters = Parameters { place: &place, table: file.parameters };
        let spec = spec(&file.technique, &mut parameters, hierarchies)?;
        parameters.finish()?;
        let named = spec.is_token();
        let class_name = match (&file.class, named) {
            (Some(name), _) => class(&place, name)?,
            (None, true) => return Err(wrong("this technique needs class: what kind of identifier this is")),
            (None, false) => class(&place, "none")?,
        };
        let scope = match file.scope.as_deref() {
            None | Some("domain") => Scope::Domain,
            Some("dataset") => Scope::Dataset,
            Some("record") => Scope::Record,
            Some(_) => return Err(wrong("scope is one of domain, dataset, record")),
        };
        if scope == Scope::Record && !matches!(spec, Spec::Token(_)) {
            return Err(wrong("scope record is for prf alone"));
        }
        let normaliser =
            |name: &String| Normaliser::parse(name).ok_or_else(|| wrong("a normaliser is unknown"));
        let bytes_max = file.max_bytes.unwrap_or(BYTES_DEFAULT);
        if !(1..=BYTES_MAX).contains(&bytes_max) {
            return Err(wrong("max_bytes is from 1 to 65536"));
        }
        let column = match file.column.as_deref() {
            None | Some("text") => Column::Text,
            Some("integer") => Column::Integer,
            Some("number") => Column::Number,
            Some("boolean") => Column::Boolean,
            Some(_) => return Err(wrong("type is one of text, integer, number, boolean")),
        };
        let plain = matches!(spec, Spec::Keep | Spec::Clamp(_) | Spec::NullIfRare { .. } | Spec::Drop);
        if column != Column::Text && !plain {
            return Err(wrong("this technique gives text"));
        }
        Ok(Self {
            output_path: path(file.output_path.as_deref().unwrap_or(&file.path))?,
            path: path(&file.path)?,
            spec,
            technique: file.technique,
            class: class_name,
            scope,
            normalisers: file.normalise.iter().map(normaliser).collect::<Result<_, _>>()?,
            on_null: match file.null.as_deref() {
                None | Some("keep") => OnNull::Keep,
                Some("refuse") => OnNull::Refuse,
                Some(_) => return Err(wrong("null is one of keep, refuse")),
            },
            on_invalid: match file.invalid.as_deref() {
                None | Some("refuse") => OnInvalid::Refuse,
                Some("null") => OnInvalid::Null,
                Some(_) => return Err(wrong("invalid is one of refuse, null")),
            },
            column,
            bytes_max,
            because: file.because.filter(|reason| !reason.trim().is_empty()),
            cardinality: file.cardinality,
        })
    }

    /// The technique under a domain's key. `rare` is what was counted for [`Spec::NullIfRare`], `people` the vault for
    /// [`Spec::Vault`]; `None` for [`Spec::Drop`].
    pub fn technique(
        &self,
        master: &MasterKey,
        dataset: &DatasetName,
        rare: Option<RareValues>,
        people: Option<&Arc<dyn People>>,
    ) -> Result<Option<Technique>, TransformError> {
        let key = |purpose| master.field_key(purpose, &self.class, self.scope, dataset);
        Ok(Some(match &self.spec {
            Spec::Token(form) => Technique::Token(Box::new(Token::new(&key(Purpose::Token), *form))),
            Spec::Vault(form) => {
                let missing =
                    TransformError::Parameter { technique: "prf+vault", problem: "there is no vault" };
                let (people, key) = (people.cloned().ok_or(missing)?, key(Purpose::Vault));
                Technique::Vault(Box::new(VaultToken::new(&key, *form, self.class.clone(), people)?))
            }
            Spec::Siv => Technique::Siv(SivToken::new(&key(Purpose::Siv))?),
            Spec::FormatPreserving { alphabet, domain_min } => {
                let (key, tweak) = (key(Purpose::FormatPreserving), self.class.as_str().as_bytes());
                let ff1 = FormatPreserving::new(&key, alphabet.clone(), tweak, *domain_min)?;
                Technique::FormatPreserving(Box::new(ff1))
            }
            Spec::DateShift { days_max, unit, .. } => {
                let shift = DateShift::new(&key(Purpose::DateShift), *days_max, *unit)?;
                Technique::DateShift(Box::new(shift))
            }
            Spec::NullIfRare { .. } => {
                let problem = "values are counted first";
                let missing = TransformError::Parameter { technique: "null-if-rare", problem };
                Technique::NullIfRare(Box::new(rare.ok_or(missing)?))
            }
            Spec::TruncateTime(unit) => Technique::TruncateTime(*unit),
            Spec::TruncateText(prefix) => Technique::TruncateText(*prefix),
            Spec::Bucket(bucket) => Technique::Bucket(bucket.clone()),
            Spec::Clamp(clamp) => Technique::Clamp(clamp.clone()),
            Spec::IpPrefix(prefix) => Technique::IpPrefix(*prefix),
            Spec::Mask(mask) => Technique::Mask(*mask),
            Spec::Hierarchy(ladder) => Technique::Hierarchy(Box::new(ladder.names().clone())),
            Spec::Title(title) => Technique::Title(Box::new(title.clone())),
            Spec::Constant(text) => Technique::Constant(text.clone()),
            Spec::Keep => Technique::Keep,
            Spec::Drop => return Ok(None),
        }))
    }

    /// A counter for [`Spec::NullIfRare`]; `None` for every other technique.
    pub fn counter(
        &self,
        master: &MasterKey,
        dataset: &DatasetName,
    ) -> Result<Option<RareCounter>, TransformError> {
        let Spec::NullIfRare { count_min } = self.spec else { return Ok(None) };
        let key = master.field_key(Purpose::Count, &self.class, Scope::Dataset, dataset);
        RareCounter::new(&key, count_min).map(Some)
    }
}

fn form(parameters: &mut Parameters<'_>) -> Result<TokenForm, PolicyError> {
    match parameters.text("output")?.as_deref() {
        None | Some("text") => Ok(TokenForm::Text),
        Some("uuid8") => Ok(TokenForm::Uuid),
        Some(_) => Err(PolicyError::value(parameters.place, "output is one of text, uuid8")),
    }
}

fn spec(
    technique: &str,
    parameters: &mut Parameters<'_>,
    hierarchies: &HashMap<String, String>,
) -> Result<Spec, PolicyError> {
    let place = parameters.place;
    let wrong = |error| parameter(place, error);
    Ok(match technique {
        "prf" => Spec::Token(form(parameters)?),
        "prf+vault" => Spec::Vault(form(parameters)?),
        "aes-siv" => Spec::Siv,
        "ff1" => {
            let alphabet = parameters.text("alphabet")?.ok_or_else(|| parameters.missing("alphabet"))?;
            let domain_min = parameters.number("min_domain")?.unwrap_or(DOMAIN_MIN);
            if domain_min < DOMAIN_MIN {
                return Err(PolicyError::value(
                    place,
                    "min_domain is 1,000,000 at least: less does not hide",
                ));
            }
            Spec::FormatPreserving { alphabet: Alphabet::new(&alphabet).map_err(wrong)?, domain_min }
        }
        "date-shift" => {
            let by = parameters.text("by")?.ok_or_else(|| parameters.missing("by"))?;
            let by = Path::parse(&by).map_err(|problem| PolicyError::value(place, problem))?;
            let days_max = parameters.number("max_days")?.ok_or_else(|| parameters.missing("max_days"))?;
            if !(1..=SHIFT_DAYS_MAX).contains(&days_max) {
                return Err(PolicyError::value(place, "max_days is from 1 to 366"));
            }
            Spec::DateShift { by, days_max, unit: parameters.unit("then")?.unwrap_or(TimeUnit::Day) }
        }
        "null-if-rare" => {
            let count_min =
                parameters.number("min_records")?.ok_or_else(|| parameters.missing("min_records"))?;
            if count_min < 2 {
                return Err(PolicyError::value(place, "min_records is 2 or more"));
            }
            Spec::NullIfRare { count_min }
        }
        "truncate" => match (parameters.unit("unit")?, parameters.number("characters")?) {
            (Some(unit), None) => Spec::TruncateTime(unit),
            (None, Some(characters)) => Spec::TruncateText(TextPrefix::new(characters).map_err(wrong)?),
            _ => return Err(parameters.missing("either unit or characters")),
        },
        "bucket" => match (parameters.decimal("width")?, parameters.decimals("edges")?) {
            (Some(width), None) => Spec::Bucket(Bucket::width(width).map_err(wrong)?),
            (None, Some(edges)) => Spec::Bucket(Bucket::edges(edges).map_err(wrong)?),
            _ => return Err(parameters.missing("either width or edges")),
        },
        "top-code" => {
            let (least, most) = (parameters.decimal("least")?, parameters.decimal("most")?);
            Spec::Clamp(Clamp::new(least, most).map_err(wrong)?)
        }
        "ip-prefix" => {
            let keep_v4 = parameters.number("keep_v4")?.ok_or_else(|| parameters.missing("keep_v4"))?;
            let keep_v6 = parameters.number("keep_v6")?.ok_or_else(|| parameters.missing("keep_v6"))?;
            Spec::IpPrefix(IpPrefix::new(keep_v4, keep_v6).map_err(wrong)?)
        }
        "mask" => {
            let keep_first = parameters.number("keep_first")?.unwrap_or(0);
            let keep_last = parameters.number("keep_last")?.unwrap_or(0);
            Spec::Mask(Mask::new(keep_first, keep_last).map_err(wrong)?)
        }
        "hierarchy" => {
            let name = parameters.text("hierarchy")?.ok_or_else(|| parameters.missing("hierarchy"))?;
            let level = parameters.number("level")?.ok_or_else(|| parameters.missing("level"))?;
            let unknown = || PolicyError::value(place, "there is no hierarchy of this name");
            let rows = hierarchies.get(&name).ok_or_else(unknown)?;
            Spec::Hierarchy(Ladder::new(rows.as_str().into(), level).map_err(wrong)?)
        }
        "classify" => {
            let (emit, classes) = (parameters.text("emit")?, parameters.lists("classes")?);
            match (emit.as_deref(), classes) {
                (None | Some("class"), Some(classes)) => {
                    Spec::Title(Title::classes(&classes).map_err(wrong)?)
                }
                (None | Some("class"), None) => return Err(parameters.missing("classes")),
                (Some("extension"), None) => Spec::Title(Title::Extension),
                (Some("length"), None) => Spec::Title(Title::Length),
                (Some("extension" | "length"), Some(_)) => {
                    return Err(PolicyError::value(place, "classes are for emit = \"class\""));
                }
                (Some(_), _) => {
                    return Err(PolicyError::value(place, "emit is one of class, extension, length"));
                }
            }
        }
        "constant" => {
            let value = parameters.text("value")?.ok_or_else(|| parameters.missing("value"))?;
            if value.len() > CONSTANT_BYTES_MAX {
                return Err(PolicyError::value(place, "value has 256 bytes at most"));
            }
            Spec::Constant(value)
        }
        "keep" => Spec::Keep,
        "drop" => Spec::Drop,
        "hash" | "sha256" | "sha1" | "md5" | "sha512" | "blake3" => {
            let problem = "a hash without a key can be turned back by trying values: use prf";
            return Err(PolicyError::value(place, problem));
        }
        "ff3" | "ff3-1" | "ff31" => return Err(PolicyError::value(place, "FF3 is broken: use ff1")),
        _ => return Err(PolicyError::value(place, "the technique is unknown")),
    })
}
